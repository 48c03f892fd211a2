//! A save opened and read to its end: decrypted, unpacked, parsed as an archive of its engine, and counted as its backup was.

use serde_json::{Value, json};
use shared::inventory::{self, Inventory};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    process::ChildStdin,
};

use super::{
    super::{Attempt, Job, JobError, compare, pour, source::Source},
    Look, not_compared,
};
use crate::{
    engine::{
        ErrorCode, Exit, Restore,
        mongodb::inventory::Counting as Collections,
        postgres::{
            archive::outline::{Outline, Outlining},
            inventory::Counting as Tables,
        },
    },
    handler::mongo::MONGODB,
    record::reading::SavedCopy,
    stream::{self, Restored, StreamError},
};

/// Between the stream and whoever reads the archive.
const PIPE: usize = 1 << 20;
/// How much is read at once.
const PIECE: usize = 256 << 10;

/// A save that was read to its end.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) report: Value,
    /// What it would create; none of MongoDB, and of formats that are not known here.
    pub(super) outline: Option<Outline>,
}

/// Reads the first copy that can be opened.
pub(super) async fn once(job: &Job, source: &Source) -> Result<Look<Decoded>, JobError> {
    let mut tries = source.tries()?;
    let (parsed, restored) = loop {
        match read(job, source, tries.copy()).await {
            Ok(read) => break read,
            Err(attempt) => tries.failed(attempt)?,
        }
    };
    let (store, _) = tries.succeeded();
    if let Some(fault) = parsed.fault {
        return Ok(Look::Unusable(format!("the archive cannot be read to its end: {fault}")));
    }
    let compared = match (&source.manifest.inventory, parsed.counted) {
        (None, _) => not_compared("the save has no inventory"),
        (Some(saved), _) if saved.v > inventory::VERSION => not_compared("the save's inventory is of a newer version"),
        (Some(_), Err(why)) => not_compared(&why),
        (Some(saved), Ok(counted)) => {
            if let Some(what) = compare::mismatch(saved, &counted) {
                return Ok(Look::Unusable(format!(
                    "the archive does not hold what was counted when it was made: {what}"
                )));
            }
            let entries = saved.entries.len() as u64 + saved.rest.as_ref().map_or(0, |rest| rest.entries);
            json!({ "by": "digest", "tables": entries, "rows": saved.rows, "bytes": saved.bytes })
        }
    };
    let report = json!({
        "store": store, "raw_bytes": restored.raw_bytes, "compared": compared, "read_by": parsed.read_by,
        "objects": parsed.outline.as_ref().map(Outline::len),
    });
    Ok(Look::Fine(Decoded { report, outline: parsed.outline }))
}

/// What the bytes turned out to be.
struct Parsed {
    fault: Option<String>,
    counted: Result<Inventory, String>,
    outline: Option<Outline>,
    read_by: &'static str,
}

/// One copy, from its first byte to its last. The bytes are those that were saved, or it is the copy's fault: only then it says
/// something what was made of them.
async fn read(job: &Job, source: &Source, copy: &SavedCopy) -> Result<(Parsed, Restored), Attempt> {
    let cancel = &job.lease.cancel;
    let stored = pour::open(job, copy).await?;
    let expected = copy.expected().map_err(Attempt::Copy)?;
    let (writer, reader) = tokio::io::duplex(PIPE);
    let (progress, watched) = job.watch(Some(expected.raw_bytes));
    let streaming = stream::restore(stored, &expected, copy.decryption(), writer, progress, cancel);
    let parsing = async {
        if source.manifest.engine == MONGODB {
            Ok::<_, Attempt>((mongodb(reader).await?, None))
        } else {
            let tool = job.ctx.postgres.read_archive(&source.restorable(), cancel).await?;
            let (parsed, tool) = postgres(reader, tool).await?;
            Ok((parsed, Some(tool)))
        }
    };
    let (streamed, parsed) = tokio::join!(streaming, parsing);
    drop(watched);
    let (mut parsed, tool) = match (streamed, parsed) {
        (Err(StreamError::Cancelled), _) => return Err(JobError::Stopped.into()),
        (Err(error), _) if error.is_of_the_copy() => return Err(Attempt::Copy(error.into())),
        (_, Err(error)) => return Err(error),
        (Err(error), _) => return Err(error.into()),
        (Ok(restored), Ok((parsed, tool))) => ((parsed, restored), tool),
    };
    if let Some(tool) = tool
        && let Err(error) = tool.finish().await
    {
        let is_verdict = matches!(error.code(), ErrorCode::ToolFailed | ErrorCode::EmptyOrBadFormat)
            && matches!(error.exit(), Some(Exit::Code(_)));
        if !is_verdict {
            return Err(error.into());
        }
        let said = error.stderr().map(str::trim).unwrap_or_default();
        parsed.0.fault.get_or_insert_with(|| format!("{error}; it said: {said}"));
    }
    Ok(parsed)
}

async fn mongodb(mut reader: DuplexStream) -> Result<Parsed, JobError> {
    let counting = Collections::default();
    let mut piece = vec![0; PIECE];
    loop {
        let n = reader.read(&mut piece).await.map_err(broken_pipe)?;
        if n == 0 {
            break;
        }
        counting.feed(piece.get(..n).unwrap_or_default());
    }
    Ok(Parsed { fault: counting.fault(), counted: counting.result(), outline: None, read_by: "holdfast" })
}

async fn postgres(mut reader: DuplexStream, mut tool: Restore) -> Result<(Parsed, Restore), JobError> {
    let (counting, mut outlining) = (Tables::default(), Outlining::default());
    let mut input: Option<ChildStdin> = tool.writer();
    let mut piece = vec![0; PIECE];
    loop {
        let n = reader.read(&mut piece).await.map_err(broken_pipe)?;
        if n == 0 {
            break;
        }
        let bytes = piece.get(..n).unwrap_or_default();
        counting.feed(bytes);
        outlining.feed(bytes);
        // A tool that gave up says why at its end; the bytes are read to theirs all the same.
        if let Some(open) = &mut input
            && open.write_all(bytes).await.is_err()
        {
            input = None;
        }
    }
    drop(input);
    let (fault, outline) = (outlining.fault(), outlining.outline());
    Ok((Parsed { fault, counted: counting.result(), outline, read_by: "pg_restore" }, tool))
}

fn broken_pipe(error: std::io::Error) -> JobError {
    StreamError::Sink { raw_bytes: 0, source: error }.into()
}

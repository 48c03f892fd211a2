//! One stream from a good copy into a store that packs otherwise (another encryption, none, or shorter objects): unpacked,
//! proven by its raw length and BLAKE3, and packed anew on the way. Nothing becomes visible before all of it was proven.

use async_trait::async_trait;
use shared::{
    db::objects::{RawFacts, StoredFacts},
    id::ObjectId,
    manifest,
    name::StoreKey,
};
use tokio::io::DuplexStream;

use super::{Plan, Written, facts_object, place_of};
use crate::{
    handler::{Job, JobError},
    record::{
        copies::check,
        reading::{CopyObject, SavedCopy},
    },
    store::{StoreError, Upload, Whole},
    stream::{
        self, Destination, DumpPlan, Dumped, Expected, NextObject, Objects, StoredBytes, StreamError, WrittenObject,
    },
};

/// What may lie between the reading and the writing half, beside their own blocks.
const BETWEEN: usize = 1 << 20;

/// An object of the new copy, as rows and manifest say it.
pub(super) type Made = (ObjectId, String, StoreKey, StoredFacts);

/// Packs one stream anew. `objects` are those of the stream, in order.
pub(super) async fn pack(
    job: &Job,
    plan: &Plan,
    source: &SavedCopy,
    objects: &[CopyObject],
    number: i64,
    written: &Written,
) -> Result<Vec<Made>, JobError> {
    let Some((first, raw)) = objects.first().and_then(|first| Some((first, first.raw?))) else {
        let message = format!("the rows of the copy in store {} do not say what it unpacks to", source.name);
        return Err(JobError::abort("copy_unreadable", message, "Verify the save."));
    };
    let expected = Expected {
        objects: objects.iter().map(|object| object.stored).collect(),
        encodings: source.encodings.clone(),
        raw_bytes: raw.0,
        blake3: raw.1,
    };
    let is_dump = first.part.starts_with(manifest::DUMP);
    let bare = first.part.strip_suffix(".age").unwrap_or(&first.part);
    // As a backup names it: what is looked at by itself shall say its form.
    let part = if is_dump || plan.encryption.is_none() { bare.to_owned() } else { format!("{bare}.age") };
    let mut opening = Opening {
        job: job.clone(),
        plan: plan.clone(),
        directory: place_of(&first.key, number)?,
        written: written.clone(),
    };
    let upload = opening.open_part(&part).await?;
    let destination = Destination {
        name: plan.to.name().clone(),
        upload,
        more: if is_dump { Some(Box::new(opening)) } else { None },
        encryption: plan.encryption.clone(),
        max_object_bytes: plan.max_object_bytes,
    };
    let dumped = through(job, source, objects, &expected, destination).await?;
    commit(job, plan, dumped, RawFacts { bytes: raw.0, blake3: raw.1.0 }, &part, written).await
}

/// Reads and writes at once. The bytes all lie there afterwards, were what was saved, and are not visible.
async fn through(
    job: &Job,
    source: &SavedCopy,
    objects: &[CopyObject],
    expected: &Expected,
    destination: Destination,
) -> Result<Vec<WrittenObject>, JobError> {
    let cancel = &job.lease.cancel;
    let keys: Vec<StoreKey> = objects.iter().map(|object| object.key.clone()).collect();
    let opened = Objects::open(&source.store, keys, cancel).await;
    let opened = match opened {
        Ok(opened) => opened,
        Err(error) => {
            abort(destination.upload).await;
            return Err(error.into());
        }
    };
    let (sink, from_sink): (DuplexStream, DuplexStream) = tokio::io::duplex(BETWEEN);
    let (progress, watched) = job.watch(Some(expected.stored_bytes()));
    let plan =
        DumpPlan { level: job.ctx.settings.zstd_level, laggard: job.ctx.settings.laggard, ..DumpPlan::default() };
    let reading = stream::restore(opened, expected, source.decryption(), sink, std::sync::Arc::default(), cancel);
    let writing = stream::dump(from_sink, vec![destination], plan, progress, cancel);
    let (read, wrote) = tokio::join!(reading, writing);
    drop(watched);
    let fault = match (read, &wrote) {
        (Ok(_), Ok(dumped)) if !is_whole(dumped, expected) => Some(StreamError::Corrupt {
            what: "BLAKE3 of the raw bytes",
            expected: expected.blake3.to_string(),
            found: dumped.blake3.to_string(),
        }),
        // Where the writing half has ended, it says why itself.
        (Ok(_), _) | (Err(StreamError::Sink { .. }), Err(_)) => None,
        (Err(error), _) => Some(error),
    };
    let copy = match wrote {
        Ok(dumped) => dumped.copies.into_iter().next().map(|(_, copy)| copy),
        Err(error) => return Err(fault.unwrap_or(error).into()),
    };
    let written = match copy {
        Some(Ok(written)) => written,
        Some(Err(error)) => return Err(fault.map_or_else(|| error.into(), JobError::from)),
        None => Vec::new(),
    };
    match fault {
        None => Ok(written),
        Some(fault) => {
            for object in written {
                abort(object.upload).await;
            }
            Err(fault.into())
        }
    }
}

fn is_whole(dumped: &Dumped, expected: &Expected) -> bool {
    (dumped.raw_bytes, dumped.blake3) == (expected.raw_bytes, expected.blake3)
}

/// Makes the objects visible, in order, and has each read back.
async fn commit(
    job: &Job,
    plan: &Plan,
    objects: Vec<WrittenObject>,
    raw: RawFacts,
    first: &str,
    written: &Written,
) -> Result<Vec<Made>, JobError> {
    let mut made = Vec::new();
    let mut left = objects.into_iter().enumerate();
    while let Some((n, WrittenObject { upload, sent })) = left.next() {
        let part = if n == 0 { first.to_owned() } else { format!("{}{:04}", manifest::DUMP, n + 1) };
        let committed = async {
            let (id, key) = written.find(&part)?;
            let stored = upload.commit(&Whole::of_record(sent.bytes)).await?;
            check(job, plan.to.as_ref(), &key, stored, StoredBytes { bytes: sent.bytes, blake3: sent.blake3 }).await?;
            Ok::<_, JobError>((id, key))
        };
        match committed.await {
            Ok((id, key)) => made.push((id, part, key, facts_object((n == 0).then_some(raw), sent.bytes, sent.sha256))),
            Err(error) => {
                for (_, object) in left {
                    abort(object.upload).await;
                }
                return Err(error);
            }
        }
    }
    Ok(made)
}

async fn abort(upload: Box<dyn Upload>) {
    if let Err(error) = upload.abort().await {
        tracing::warn!(error = %shared::telemetry::Causes(&error), "aborting an upload failed; its bytes are left to gc");
    }
}

/// Opens the objects of the stream in the new copy.
#[derive(Debug)]
struct Opening {
    job: Job,
    plan: Plan,
    /// `<installation>/<service>/<target>/<save>/<number>`.
    directory: String,
    written: Written,
}

impl Opening {
    async fn open_part(&mut self, part: &str) -> Result<Box<dyn Upload>, JobError> {
        let key = StoreKey::parse(format!("{}/{part}", self.directory))
            .map_err(|error| JobError::abort("row_unreadable", error.to_string(), "Report this."))?;
        let (_, at) = self.written.name(&self.job, &self.plan, part, &key).await?;
        Ok(self.plan.to.upload(&key, &at, &self.job.lease.cancel).await?)
    }
}

#[async_trait]
impl NextObject for Opening {
    async fn open(&mut self, number: u32) -> Result<Box<dyn Upload>, StoreError> {
        let part = format!("{}{number:04}", manifest::DUMP);
        let opened = self.open_part(&part).await;
        opened.map_err(|error| StoreError::unnamed(self.plan.to.name(), &part, error))
    }
}

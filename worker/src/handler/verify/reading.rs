//! One reading of a copy: every object whole, its length and SHA-256, and the raw bytes of what is packed with zstd alone.

use std::{io::Write, sync::Arc};

use bytes::Bytes;
use futures_util::StreamExt;
use ring::digest::{Context, SHA256};
use shared::{db::objects::ObjectRow, job::Problem, manifest, name::StoreKey};
use tokio::{sync::mpsc, task::spawn_blocking};
use zstd::stream::write::Decoder;

use crate::{
    handler::{Job, JobError},
    store::{Fault, Store, StoreError},
    stream::{Progress, StreamError},
};

/// The first bytes of a zstd frame.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// What a reading found.
#[derive(Debug)]
pub(super) enum Finding {
    /// Everything matched.
    Good {
        /// The raw bytes too, of all that is packed.
        raw_checked: bool,
    },
    Differs(String),
    Gone(String),
    /// The store failed: nothing is known.
    Unreadable(Problem),
}

/// Reads the objects of one copy, in this order, to the first that is not as its row says.
pub(super) async fn read(job: &Job, store: &Arc<dyn Store>, objects: &[ObjectRow]) -> Result<Finding, JobError> {
    let (mut all_raw, mut rest) = (true, objects);
    while let Some(first) = rest.first() {
        // A dump is one stream, in as many objects as its store wants; anything else is a stream of its own.
        let is_dump = |object: &ObjectRow| object.part.starts_with("dump.");
        let length = if is_dump(first) { rest.iter().take_while(|object| is_dump(object)).count() } else { 1 };
        let (stream, after) = rest.split_at(length);
        match whole(job, store, stream).await? {
            Finding::Good { raw_checked } => all_raw &= raw_checked || first.part == manifest::PART,
            other => return Ok(other),
        }
        rest = after;
    }
    Ok(Finding::Good { raw_checked: all_raw })
}

/// Reads the objects of one stream.
async fn whole(job: &Job, store: &Arc<dyn Store>, objects: &[ObjectRow]) -> Result<Finding, JobError> {
    let Some(first) = objects.first() else { return Ok(Finding::Good { raw_checked: false }) };
    let raw = first.raw_bytes.and_then(|bytes| u64::try_from(bytes).ok()).zip(first.blake3.as_deref());
    let is_packed = raw.is_some() && first.part != manifest::PART;
    let mut unpack = if is_packed { Unpack::Undecided(Vec::new()) } else { Unpack::Off };
    for object in objects {
        let Ok(key) = StoreKey::parse(object.key.as_str()) else {
            let message = format!("the row of object {} cannot be used", object.id);
            return Err(JobError::abort("row_unreadable", message, "This is a fault of Holdfast: report it."));
        };
        let (progress, watched) = job.watch(object.stored_bytes.and_then(|bytes| u64::try_from(bytes).ok()));
        let read = measure(job, store, &key, unpack, progress).await;
        drop(watched);
        let measured = match read {
            Ok(measured) => measured,
            Err(JobOrStore::Job(error)) => return Err(error),
            Err(JobOrStore::Store(error)) => return failed(job, store, &key, error).await,
        };
        if let Some(differs) = judge(object, &key, &measured) {
            return Ok(differs);
        }
        unpack = measured.unpack;
    }
    let found = match unpack {
        Unpack::Off | Unpack::Undecided(_) => return Ok(Finding::Good { raw_checked: false }),
        Unpack::On(decoder) => end(*decoder),
        Unpack::Failed(why) => Err(why),
    };
    Ok(match found {
        Ok((bytes, hash)) if raw == Some((bytes, &hash.as_bytes()[..])) => Finding::Good { raw_checked: true },
        Ok(_) => Finding::Differs(format!("{} unpacks to other bytes than were dumped", first.part)),
        Err(why) => Finding::Differs(format!("{} cannot be unpacked: {why}", first.part)),
    })
}

/// A store that says "missing" is asked once more: a directory that is not mounted has no files either.
async fn failed(job: &Job, store: &Arc<dyn Store>, key: &StoreKey, error: StoreError) -> Result<Finding, JobError> {
    let error = match error.fault() {
        Fault::Corrupt { detail } => return Ok(Finding::Differs(format!("{key}: {detail}"))),
        Fault::Missing => match store.stat(key).await {
            Ok(None) => return Ok(Finding::Gone(format!("{key} is not there"))),
            Ok(Some(_)) => error,
            Err(error) => error,
        },
        _ => error,
    };
    if job.lease.cancel.is_cancelled() {
        return Err(JobError::Stopped);
    }
    match JobError::from(error) {
        JobError::Retry(problem) | JobError::Abort(problem) => Ok(Finding::Unreadable(problem)),
        JobError::Stopped => Err(JobError::Stopped),
    }
}

enum JobOrStore {
    Job(JobError),
    Store(StoreError),
}

/// What one reading counted.
struct Measured {
    bytes: u64,
    sha256: Vec<u8>,
    unpack: Unpack,
}

/// What becomes of the stored bytes beside their digest.
enum Unpack {
    /// Nothing: they are not packed, or cannot be unpacked here.
    Off,
    /// Their first bytes will tell.
    Undecided(Vec<u8>),
    On(Box<Decoder<'static, RawSum>>),
    Failed(String),
}

async fn measure(
    job: &Job,
    store: &Arc<dyn Store>,
    key: &StoreKey,
    unpack: Unpack,
    progress: Arc<Progress>,
) -> Result<Measured, JobOrStore> {
    let mut blocks = store.read(key, &job.lease.cancel).await.map_err(JobOrStore::Store)?;
    let (to_sums, blocks_in) = mpsc::channel(2);
    let summing = spawn_blocking(move || sums(blocks_in, unpack));
    while let Some(block) = blocks.next().await {
        let block = block.map_err(JobOrStore::Store)?;
        progress.stored(block.len());
        if to_sums.send(block).await.is_err() {
            break;
        }
    }
    drop(to_sums);
    summing.await.map_err(|_| JobOrStore::Job(StreamError::StageDied { stage: "verify" }.into()))
}

/// Counts and digests on a thread of its own.
fn sums(mut blocks: mpsc::Receiver<Bytes>, mut unpack: Unpack) -> Measured {
    let (mut bytes, mut sha) = (0, Context::new(&SHA256));
    while let Some(block) = blocks.blocking_recv() {
        bytes += block.len() as u64;
        sha.update(&block);
        unpack = unpack.take(&block);
    }
    Measured { bytes, sha256: sha.finish().as_ref().to_vec(), unpack }
}

impl Unpack {
    fn take(self, block: &[u8]) -> Self {
        match self {
            Self::Undecided(mut head) => {
                head.extend_from_slice(block);
                if head.len() < ZSTD_MAGIC.len() {
                    Self::Undecided(head)
                } else if head.starts_with(&ZSTD_MAGIC) {
                    match Decoder::new(RawSum::default()) {
                        Ok(decoder) => Self::On(Box::new(decoder)).take(&head),
                        Err(error) => Self::Failed(error.to_string()),
                    }
                } else {
                    Self::Off
                }
            }
            Self::On(mut decoder) => match decoder.write_all(block) {
                Ok(()) => Self::On(decoder),
                Err(error) => Self::Failed(error.to_string()),
            },
            other => other,
        }
    }
}

fn end(mut decoder: Decoder<'static, RawSum>) -> Result<(u64, blake3::Hash), String> {
    decoder.flush().map_err(|error| error.to_string())?;
    let sum = decoder.into_inner();
    Ok((sum.bytes, sum.hasher.finalize()))
}

#[derive(Default)]
struct RawSum {
    bytes: u64,
    hasher: blake3::Hasher,
}

impl Write for RawSum {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes += bytes.len() as u64;
        self.hasher.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn judge(object: &ObjectRow, key: &StoreKey, found: &Measured) -> Option<Finding> {
    let expected = object.stored_bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default();
    if found.bytes != expected {
        return Some(Finding::Differs(format!("{key} has {} bytes instead of {expected}", found.bytes)));
    }
    (object.sha256.as_deref() != Some(&found.sha256[..]))
        .then(|| Finding::Differs(format!("{key} has another SHA-256 than was recorded")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_stream_is_unpacked_across_its_objects_and_another_is_left_alone() {
        let raw: Vec<u8> = (0..300_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        let packed = zstd::stream::encode_all(&raw[..], 1).unwrap();
        let (one, two) = packed.split_at(packed.len() / 3);
        let mut unpack = Unpack::Undecided(Vec::new());
        for piece in [&one[..2], &one[2..], two] {
            unpack = unpack.take(piece);
        }
        let Unpack::On(decoder) = unpack else { panic!("it is packed") };
        assert_eq!(end(*decoder).unwrap(), (raw.len() as u64, blake3::hash(&raw)));
        assert!(matches!(Unpack::Undecided(Vec::new()).take(b"age-encryption.org/v1"), Unpack::Off));
        let mut damaged = packed.clone();
        damaged[packed.len() / 2] ^= 1;
        let found = match Unpack::Undecided(Vec::new()).take(&damaged) {
            Unpack::On(decoder) => end(*decoder),
            Unpack::Failed(why) => Err(why),
            _ => panic!("it is packed"),
        };
        assert!(found.map_or(true, |(bytes, hash)| (bytes, hash) != (raw.len() as u64, blake3::hash(&raw))));
    }
}

//! One reading of a copy: every object whole, its length and SHA-256, and the raw bytes of what is packed, decrypted first
//! where this worker holds an identity.

use std::{io::Write, sync::Arc};

use bytes::Bytes;
use futures_util::StreamExt;
use ring::digest::{Context, SHA256};
use shared::{
    db::objects::ObjectRow,
    job::Problem,
    manifest,
    name::{Slug, StoreKey},
};
use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
};
use zstd::stream::write::Decoder;

use crate::{
    handler::{Job, JobError},
    store::{Fault, Store, StoreError},
    stream::{CryptError, Encryption, Progress, StreamError},
};

/// The first bytes of a zstd frame.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Those of an age file; as many as decide what it is.
const AGE_MAGIC: &[u8] = b"age-";

/// What a reading found.
#[derive(Debug)]
pub(super) enum Finding {
    /// Everything matched.
    Good {
        raw: Raw,
    },
    Differs(String),
    Gone(String),
    /// The store failed: nothing is known.
    Unreadable(Problem),
}

/// Whether what a copy unpacks to was compared too.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Raw {
    Checked,
    /// It was not, for this reason.
    Not(String),
}

/// Where a copy lies, and what opens it if it is encrypted.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) store: Arc<dyn Store>,
    pub(super) encryption: Option<Arc<Encryption>>,
}

/// Reads the objects of one copy, in this order, to the first that is not as its row says.
pub(super) async fn read(job: &Job, place: &Place, objects: &[ObjectRow]) -> Result<Finding, JobError> {
    let (mut all, mut rest) = (Raw::Checked, objects);
    while let Some(first) = rest.first() {
        // A dump is one stream, in as many objects as its store wants; anything else is a stream of its own.
        let is_dump = |object: &ObjectRow| object.part.starts_with("dump.");
        let length = if is_dump(first) { rest.iter().take_while(|object| is_dump(object)).count() } else { 1 };
        let (stream, after) = rest.split_at(length);
        match whole(job, place, stream).await? {
            Finding::Good { raw: Raw::Not(why) } if first.part != manifest::PART => all = Raw::Not(why),
            Finding::Good { .. } => {}
            other => return Ok(other),
        }
        rest = after;
    }
    Ok(Finding::Good { raw: all })
}

/// Reads the objects of one stream.
async fn whole(job: &Job, place: &Place, objects: &[ObjectRow]) -> Result<Finding, JobError> {
    let not_packed = || Finding::Good { raw: Raw::Not("it is not packed".to_owned()) };
    let store = &place.store;
    let Some(first) = objects.first() else { return Ok(not_packed()) };
    let raw = first.raw_bytes.and_then(|bytes| u64::try_from(bytes).ok()).zip(first.blake3.as_deref());
    let is_packed = raw.is_some() && first.part != manifest::PART;
    let mut unpack = if is_packed { Unpack::undecided(place) } else { Unpack::Off };
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
        Unpack::Off | Unpack::Undecided { .. } => return Ok(not_packed()),
        Unpack::On(decoder) => end(*decoder),
        Unpack::Sealed { to_age, opening } => {
            drop(to_age);
            match opening.await.map_err(|_| StreamError::StageDied { stage: "age" })? {
                Ok(found) => Ok(found),
                Err(error @ (CryptError::IdentityMissing { .. } | CryptError::IdentityWrong { .. })) => {
                    return Ok(Finding::Good { raw: Raw::Not(format!("{}: {error}", error.code())) });
                }
                Err(error) => Err(error.to_string()),
            }
        }
        Unpack::Locked(why) => return Ok(Finding::Good { raw: Raw::Not(why) }),
        Unpack::Failed(why) => Err(why),
    };
    Ok(match found {
        Ok((bytes, hash)) if raw == Some((bytes, &hash.as_bytes()[..])) => Finding::Good { raw: Raw::Checked },
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
    Undecided {
        head: Vec<u8>,
        store: Slug,
        encryption: Option<Arc<Encryption>>,
    },
    On(Box<Decoder<'static, RawSum>>),
    /// They are encrypted, and a thread of its own opens them.
    Sealed {
        to_age: mpsc::Sender<Bytes>,
        opening: JoinHandle<Result<(u64, blake3::Hash), CryptError>>,
    },
    /// They are encrypted, and nothing here opens them.
    Locked(String),
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
    fn undecided(place: &Place) -> Self {
        Self::Undecided {
            head: Vec::new(),
            store: place.store.name().clone(),
            encryption: place.encryption.as_ref().map(Arc::clone),
        }
    }

    /// From a thread that may wait.
    fn take(self, block: &[u8]) -> Self {
        match self {
            Self::Undecided { mut head, store, encryption } => {
                head.extend_from_slice(block);
                if head.len() < ZSTD_MAGIC.len() {
                    return Self::Undecided { head, store, encryption };
                }
                if head.starts_with(&ZSTD_MAGIC) {
                    return match Decoder::new(RawSum::default()) {
                        Ok(decoder) => Self::On(Box::new(decoder)).take(&head),
                        Err(error) => Self::Failed(error.to_string()),
                    };
                }
                if !head.starts_with(AGE_MAGIC) {
                    return Self::Off;
                }
                let Some(encryption) = encryption.filter(|encryption| encryption.can_read()) else {
                    let missing = CryptError::missing(&store);
                    return Self::Locked(format!("{}: {missing}", missing.code()));
                };
                Self::sealed(encryption).take(&head)
            }
            Self::On(mut decoder) => match decoder.write_all(block) {
                Ok(()) => Self::On(decoder),
                Err(error) => Self::Failed(error.to_string()),
            },
            Self::Sealed { to_age, opening } => {
                // Closed means that the thread has found what is wrong, and says it at the end.
                to_age.blocking_send(Bytes::copy_from_slice(block)).ok();
                Self::Sealed { to_age, opening }
            }
            other => other,
        }
    }

    fn sealed(encryption: Arc<Encryption>) -> Self {
        let (to_age, from_store) = mpsc::channel(2);
        let opening = spawn_blocking(move || {
            let damaged = |error: std::io::Error| CryptError::Damaged { detail: error.to_string() };
            let mut decoder = Decoder::new(RawSum::default()).map_err(damaged)?;
            encryption.decrypt_to(from_store, &mut decoder)?;
            end(decoder).map_err(|detail| CryptError::Damaged { detail })
        });
        Self::Sealed { to_age, opening }
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
        let unread = || Unpack::Undecided { head: Vec::new(), store: Slug::parse("disk").unwrap(), encryption: None };
        let mut unpack = unread();
        for piece in [&one[..2], &one[2..], two] {
            unpack = unpack.take(piece);
        }
        let Unpack::On(decoder) = unpack else { panic!("it is packed") };
        assert_eq!(end(*decoder).unwrap(), (raw.len() as u64, blake3::hash(&raw)));
        assert!(matches!(unread().take(b"age-encryption.org/v1"), Unpack::Locked(why) if why.contains("identity")));
        assert!(matches!(unread().take(b"something else"), Unpack::Off));
        let mut damaged = packed.clone();
        damaged[packed.len() / 2] ^= 1;
        let found = match unread().take(&damaged) {
            Unpack::On(decoder) => end(*decoder),
            Unpack::Failed(why) => Err(why),
            _ => panic!("it is packed"),
        };
        assert!(found.map_or(true, |(bytes, hash)| (bytes, hash) != (raw.len() as u64, blake3::hash(&raw))));
    }
}

//! Make a copy whole again from a good one (design §3): the stored bytes, object by object, each proven by its
//! record on the way, under a key of their own; the manifest last. A store that packs otherwise gets the raw bytes, packed
//! anew, where this worker can read the good copy. What the copy had before stays until the record says that it is
//! replaced, and is gc's then.

mod anew;
mod transfer;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde_json::json;
use shared::{
    db::{
        objects::{self, RawFacts, StoredFacts},
        saves,
    },
    id::{ObjectId, SaveId},
    job::CopyJob,
    manifest::{self, Encoding, Manifest, ManifestObject, Sealing},
    name::{Slug, StoreKey},
    save::{CopyState, SaveState},
};

use super::{Done, Job, JobError};
use crate::{
    record::{
        copies::{check, name_object},
        manifests,
        reading::{CopyObject, SavedCopy},
    },
    store::{self, Store, UploadRef},
    stream::{self, Blake3, CryptError, Encryption, Sha256, StoredBytes},
};

/// A copy whose bytes all lie there, and which only lacks its record.
#[derive(Debug)]
pub struct Copied {
    pub save_id: SaveId,
    pub store: Slug,
    /// The store whose copy was read.
    pub from: Slug,
    pub encodings: Vec<Encoding>,
    /// To whom it is encrypted; none if it is not.
    pub sealing: Option<Sealing>,
    /// Whether the raw bytes were packed anew, as this store has it otherwise than the one that was read.
    pub anew: bool,
    pub objects: Vec<(ObjectId, StoredFacts)>,
}

impl Copied {
    pub fn stored_bytes(&self) -> u64 {
        self.objects.iter().map(|(_, facts)| facts.stored_bytes).sum()
    }

    pub fn result(&self) -> serde_json::Value {
        json!({ "save_id": self.save_id, "store": self.store, "from": self.from, "objects": self.objects.len(),
                "stored_bytes": self.stored_bytes(), "packed_anew": self.anew })
    }
}

/// What is to be done.
#[derive(Debug, Clone)]
struct Plan {
    save_id: SaveId,
    manifest: Manifest,
    to: Arc<dyn Store>,
    encryption: Option<Arc<Encryption>>,
    /// The most bytes of one object there.
    max_object_bytes: Option<u64>,
    /// The new objects' number: higher than that of any object of the save, so that no key is used twice.
    number: i64,
}

/// A good copy that can be read, and how it gets where it is wanted.
struct Source {
    copy: SavedCopy,
    /// Its stored bytes are not what the other store wants.
    anew: bool,
}

/// What was written, whether or not it became a copy. Clones are the same list.
#[derive(Debug, Default, Clone)]
struct Written(Arc<Mutex<Vec<Named>>>);

#[derive(Debug, Clone)]
struct Named {
    id: ObjectId,
    part: String,
    key: StoreKey,
    at: UploadRef,
}

/// Reads the good copies one after another until one could be copied whole.
pub async fn run(job: &Job, payload: &CopyJob) -> Result<Done, JobError> {
    job.phase("preparing").await?;
    let (plan, sources) = match load(job, payload).await? {
        Ok(plan) => plan,
        Err(done) => return Ok(done),
    };
    store::require_ours(plan.to.as_ref(), job.ctx.installation).await?;
    job.phase("copying").await?;
    let mut last = None;
    for (n, source) in sources.iter().enumerate() {
        let written = Written::default();
        let number = plan.number + i64::try_from(n).unwrap_or_default();
        match make(job, &plan, source, number, &written).await {
            Ok(copied) => return Ok(Done::Copied(Box::new(copied))),
            Err(error) => {
                written.discard(job, &plan).await;
                if matches!(error, JobError::Stopped) {
                    return Err(error);
                }
                tracing::warn!(from = %source.copy.name, to = %plan.to.name(), error = %shared::telemetry::Causes(&error), "this copy could not be copied");
                last = Some(error);
            }
        }
    }
    Err(last.unwrap_or_else(|| {
        JobError::abort(
            "no_copy",
            format!("save {} has no good copy in a store of this worker", plan.save_id),
            "Run the job on a worker that has a store with a good copy.",
        )
    }))
}

/// The plan, or that there is nothing to do.
async fn load(job: &Job, payload: &CopyJob) -> Result<Result<(Plan, Vec<Source>), Done>, JobError> {
    let mut conn = job.ctx.pool.acquire().await?;
    let save = saves::get(&mut conn, payload.save_id).await?.filter(|save| save.state == SaveState::Available);
    let Some(manifest) = save.and_then(|save| save.manifest) else {
        let message = format!("save {} is not available any more", payload.save_id);
        return Err(JobError::abort("save_not_available", message, "Choose another save."));
    };
    let manifest = manifest.0;
    let rows = saves::copies(&mut conn, payload.save_id).await?;
    let state = rows.iter().find(|row| row.store == payload.store.as_str()).map(|row| row.state);
    if !matches!(state, Some(CopyState::Missing | CopyState::Corrupt)) {
        return Ok(Err(Done::Plain(json!({ "save_id": payload.save_id, "store": payload.store, "copy": state }))));
    }
    let Some(to) = job.ctx.stores.get(&payload.store).map(Arc::clone) else {
        return Err(JobError::abort(
            "store_unknown",
            format!("this worker has no store named {}", payload.store),
            "Declare the store in the configuration of every worker of the target's group.",
        ));
    };
    let packing = job.ctx.packing.get(&payload.store).cloned().unwrap_or_default();
    let max_object_bytes = to.max_object_bytes().into_iter().chain(packing.object_bytes).min();
    let encryption = packing.encryption;
    let good = SavedCopy::good(&mut conn, &job.ctx, payload.save_id, &manifest).await?;
    let all = objects::of_save(&mut conn, payload.save_id).await?;
    let number = all.iter().filter_map(|row| number_of(&row.key)).max().unwrap_or_default() + 1;
    let plan = Plan { save_id: payload.save_id, manifest, to, encryption, max_object_bytes, number };
    let sources = sources(&plan, good)?;
    Ok(Ok((plan, sources)))
}

/// Those of the good copies that can be copied there, as they lie first. An error where all that there are need a key that
/// this worker does not have.
fn sources(plan: &Plan, good: Vec<SavedCopy>) -> Result<Vec<Source>, JobError> {
    let (mut sources, mut locked) = (Vec::new(), Vec::new());
    for copy in good {
        let is_same = match (copy.encodings.contains(&Encoding::Age), &plan.encryption, &copy.encryption) {
            (false, None, _) => true,
            (true, Some(to), Some(from)) => to.is_same_lock(from),
            _ => false,
        };
        let longest = copy.objects.iter().map(|object| object.stored.stored_bytes).max().unwrap_or_default();
        let anew = !is_same || plan.max_object_bytes.is_some_and(|most| longest > most);
        if anew && copy.require_readable().is_err() {
            locked.push(copy.name);
        } else {
            sources.push(Source { copy, anew });
        }
    }
    if let (true, Some(store)) = (sources.is_empty(), locked.first()) {
        let cause = CryptError::missing(store);
        return Err(JobError::abort(
            cause.code(),
            format!("{cause}; store {} has it otherwise, so it would have to be packed anew", plan.to.name()),
            format!(
                "Give the worker stores.{store}.encryption.identity_file, or run the job on a worker that has it. Stores \
                 that encrypt to the same recipients are copied without any."
            ),
        ));
    }
    sources.sort_by_key(|source| source.anew);
    Ok(sources)
}

/// The attempt's number in `<installation>/<service>/<target>/<save>/<number>/<part>`.
fn number_of(key: &str) -> Option<i64> {
    key.rsplit('/').nth(1)?.parse().ok()
}

/// `<installation>/<service>/<target>/<save>/<number>` of an object's key and another number.
fn place_of(key: &StoreKey, number: i64) -> Result<String, JobError> {
    let mut parts = key.as_str().rsplitn(3, '/');
    let (Some(_), Some(_), Some(save)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(unusable(format!("{key} is no key of an object of a save")));
    };
    Ok(format!("{save}/{number}"))
}

/// The same part under another number.
fn renumbered(key: &StoreKey, number: i64) -> Result<StoreKey, JobError> {
    let part = key.as_str().rsplit('/').next().unwrap_or_default();
    let place = place_of(key, number)?;
    StoreKey::parse(format!("{place}/{part}")).map_err(|error| unusable(error.to_string()))
}

fn unusable(why: String) -> JobError {
    JobError::abort("row_unreadable", why, "This is a fault of Holdfast: report it.")
}

async fn make(job: &Job, plan: &Plan, source: &Source, number: i64, written: &Written) -> Result<Copied, JobError> {
    let Source { copy, anew } = source;
    let (mut stored, mut described) = (Vec::new(), Vec::new());
    let Some(place) = copy.objects.iter().find(|object| object.part == manifest::PART) else {
        let message = format!("the rows of the copy in store {} name no manifest", copy.name);
        return Err(JobError::abort("copy_unreadable", message, "Verify the save."));
    };
    let key = renumbered(&place.key, number)?;
    let objects: Vec<CopyObject> =
        copy.objects.iter().filter(|object| object.part != manifest::PART).cloned().collect();
    let mut rest = objects.as_slice();
    while let Some(first) = rest.first() {
        let is_dump = |object: &CopyObject| object.part.starts_with(manifest::DUMP);
        let length = if *anew && is_dump(first) { rest.iter().take_while(|object| is_dump(object)).count() } else { 1 };
        let (stream, after) = rest.split_at(length);
        if *anew {
            for (id, part, key, facts) in anew::pack(job, plan, copy, stream, number, written).await? {
                stored.push((id, facts));
                described.push(describe(&part, key, &facts));
            }
        } else {
            let key = renumbered(&first.key, number)?;
            let (id, at) = written.name(job, plan, &first.part, &key).await?;
            transfer::transfer(job, copy, first, plan.to.as_ref(), (&key, &at)).await?;
            let raw = first.raw.map(|(bytes, blake3)| RawFacts { bytes, blake3: blake3.0 });
            let facts = facts_object(raw, first.stored.stored_bytes, first.stored.sha256);
            stored.push((id, facts));
            described.push(describe(&first.part, key, &facts));
        }
        rest = after;
    }
    let encodings = match (anew, &plan.encryption) {
        (false, _) => copy.encodings.clone(),
        (true, None) => vec![Encoding::Zstd],
        (true, Some(_)) => vec![Encoding::Zstd, Encoding::Age],
    };
    let manifest = Manifest { encodings: encodings.clone(), objects: described, ..plan.manifest.clone() };
    let text = manifests::text(&manifest)?;
    let bytes = manifests::write(&manifest, &text, plan.encryption.as_deref())?;
    let bytes = Bytes::from(job.ctx.signer.sign(bytes));
    let sent = StoredBytes { bytes: bytes.len() as u64, blake3: Blake3(*blake3::hash(&bytes).as_bytes()) };
    let raw = RawFacts { bytes: text.len() as u64, blake3: *blake3::hash(&text).as_bytes() };
    let of_manifest = facts_object(Some(raw), sent.bytes, stream::sha256(&bytes));
    let (id, at) = written.name(job, plan, manifest::PART, &key).await?;
    let put = store::put(plan.to.as_ref(), &key, &at, bytes, &job.lease.cancel).await?;
    check(job, plan.to.as_ref(), &key, put, sent).await?;
    stored.push((id, of_manifest));
    Ok(Copied {
        save_id: plan.save_id,
        store: plan.to.name().clone(),
        from: copy.name.clone(),
        encodings,
        sealing: plan.encryption.as_ref().map(|encryption| encryption.sealing()),
        anew: *anew,
        objects: stored,
    })
}

fn facts_object(raw: Option<RawFacts>, stored_bytes: u64, sha256: Sha256) -> StoredFacts {
    StoredFacts { raw, stored_bytes, sha256: sha256.0 }
}

fn describe(part: &str, key: StoreKey, facts: &StoredFacts) -> ManifestObject {
    ManifestObject {
        part: part.to_owned(),
        key,
        raw_bytes: facts.raw.map(|raw| raw.bytes),
        stored_bytes: facts.stored_bytes,
        blake3: facts.raw.map(|raw| hex::encode(raw.blake3)),
        sha256: hex::encode(facts.sha256),
    }
}

impl Written {
    /// Commits the row of an object before its first byte.
    async fn name(
        &self,
        job: &Job,
        plan: &Plan,
        part: &str,
        key: &StoreKey,
    ) -> Result<(ObjectId, UploadRef), JobError> {
        let at = plan.to.prepare(key).await?;
        let id = name_object(job, plan.save_id, plan.to.name(), part, key, &at).await?;
        let named = Named { id, part: part.to_owned(), key: key.clone(), at: at.clone() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(named);
        Ok((id, at))
    }

    /// The row and the key of what was named so.
    fn find(&self, part: &str) -> Result<(ObjectId, StoreKey), JobError> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let named = all.iter().find(|named| named.part == part).map(|named| (named.id, named.key.clone()));
        named.ok_or_else(|| JobError::abort("internal", format!("{part} was written and has no name"), "Report this."))
    }

    /// Takes away what did not become a copy. What cannot be reached now is left to gc, which finds it by its row.
    async fn discard(&self, job: &Job, plan: &Plan) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for Named { id, key, at, .. } in &all {
            let removal = async {
                plan.to.discard(key, at).await?;
                plan.to.delete(key).await?;
                objects::set_discarded(&mut *job.ctx.pool.acquire().await?, *id).await?;
                Ok::<_, JobError>(())
            };
            match tokio::time::timeout(std::time::Duration::from_secs(20), removal).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(store = %plan.to.name(), %key, error = %shared::telemetry::Causes(&error), "an object of a failed attempt is left to gc");
                }
                Err(_) => {
                    tracing::warn!(store = %plan.to.name(), %key, "removing an object of a failed attempt took too long; it is left to gc");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_number_is_all_that_differs_in_a_key() {
        let key = StoreKey::parse("i/items/main/s/7/dump.0001").unwrap();
        assert_eq!(number_of(key.as_str()), Some(7));
        assert_eq!(renumbered(&key, 12).unwrap().as_str(), "i/items/main/s/12/dump.0001");
        assert!(renumbered(&StoreKey::parse("a/b").unwrap(), 1).is_err());
    }
}

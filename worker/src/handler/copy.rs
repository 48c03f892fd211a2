//! Make a copy whole again from a good one (design §3): the stored bytes, object by object, each proven by its
//! record on the way, under a key of their own; the manifest last. What the copy had before stays until the record says
//! that it is replaced, and is gc's then.

mod transfer;

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use shared::{
    db::{
        objects::{self, RawFacts, StoredFacts},
        saves,
    },
    id::{ObjectId, SaveId},
    job::CopyJob,
    manifest::{self, Encoding, Manifest, ManifestObject},
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
    stream::{self, Blake3, Encryption, StoredBytes},
};

/// A copy whose bytes all lie there, and which only lacks its record.
#[derive(Debug)]
pub struct Copied {
    pub save_id: SaveId,
    pub store: Slug,
    /// The store whose copy was read.
    pub from: Slug,
    pub encodings: Vec<Encoding>,
    pub objects: Vec<(ObjectId, StoredFacts)>,
}

impl Copied {
    pub fn stored_bytes(&self) -> u64 {
        self.objects.iter().map(|(_, facts)| facts.stored_bytes).sum()
    }

    pub fn result(&self) -> serde_json::Value {
        json!({ "save_id": self.save_id, "store": self.store, "from": self.from, "objects": self.objects.len(),
                "stored_bytes": self.stored_bytes() })
    }
}

/// What is to be done.
struct Plan {
    save_id: SaveId,
    manifest: Manifest,
    sources: Vec<SavedCopy>,
    to: Arc<dyn Store>,
    encryption: Option<Arc<Encryption>>,
    /// The new objects' number: higher than that of any object of the save, so that no key is used twice.
    number: i64,
}

/// What was written, whether or not it became a copy.
#[derive(Default)]
struct Written(Vec<(ObjectId, StoreKey, UploadRef)>);

/// Reads the good copies one after another until one could be copied whole.
pub async fn run(job: &Job, payload: &CopyJob) -> Result<Done, JobError> {
    job.phase("preparing").await?;
    let plan = match load(job, payload).await? {
        Ok(plan) => plan,
        Err(done) => return Ok(done),
    };
    store::require_ours(plan.to.as_ref(), job.ctx.installation).await?;
    job.phase("copying").await?;
    let mut last = None;
    for (n, source) in plan.sources.iter().enumerate() {
        let mut written = Written::default();
        let number = plan.number + i64::try_from(n).unwrap_or_default();
        match make(job, &plan, source, number, &mut written).await {
            Ok(copied) => return Ok(Done::Copied(Box::new(copied))),
            Err(error) => {
                written.discard(job, &plan).await;
                if matches!(error, JobError::Stopped) {
                    return Err(error);
                }
                tracing::warn!(from = %source.name, to = %plan.to.name(), error = %shared::telemetry::Causes(&error), "this copy could not be copied");
                last = Some(error);
            }
        }
    }
    Err(last.unwrap_or_else(|| {
        JobError::abort(
            "no_copy",
            format!("save {} has no good copy that this worker can read and store {} may hold", plan.save_id, plan.to.name()),
            "Run the job on a worker that has a store with a good copy. Copies are not encrypted anew: both stores must \
             be plain, or encrypt to the same recipients.",
        )
    }))
}

/// The plan, or that there is nothing to do.
async fn load(job: &Job, payload: &CopyJob) -> Result<Result<Plan, Done>, JobError> {
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
    let encryption = job.ctx.encryption(&payload.store).map(Arc::clone);
    let fits = |source: &SavedCopy| match (source.encodings.contains(&Encoding::Age), &encryption, &source.encryption) {
        (false, None, _) => true,
        (true, Some(to), Some(from)) => to.is_same_lock(from),
        _ => false,
    };
    let sources = SavedCopy::good(&mut conn, &job.ctx, payload.save_id, &manifest).await?;
    let sources = sources.into_iter().filter(fits).collect();
    let all = objects::of_save(&mut conn, payload.save_id).await?;
    let number = all.iter().filter_map(|row| number_of(&row.key)).max().unwrap_or_default() + 1;
    Ok(Ok(Plan { save_id: payload.save_id, manifest, sources, to, encryption, number }))
}

/// The attempt's number in `<installation>/<service>/<target>/<save>/<number>/<part>`.
fn number_of(key: &str) -> Option<i64> {
    key.rsplit('/').nth(1)?.parse().ok()
}

/// The same part under another number.
fn renumbered(key: &StoreKey, number: i64) -> Result<StoreKey, JobError> {
    let unusable = |why: String| JobError::abort("row_unreadable", why, "This is a fault of Holdfast: report it.");
    let mut parts = key.as_str().rsplitn(3, '/');
    let (Some(part), Some(_), Some(save)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(unusable(format!("{key} is no key of an object of a save")));
    };
    StoreKey::parse(format!("{save}/{number}/{part}")).map_err(|error| unusable(error.to_string()))
}

async fn make(
    job: &Job,
    plan: &Plan,
    source: &SavedCopy,
    number: i64,
    written: &mut Written,
) -> Result<Copied, JobError> {
    let (mut stored, mut described) = (Vec::new(), Vec::new());
    let mut place = None;
    for object in &source.objects {
        let key = renumbered(&object.key, number)?;
        if object.part == manifest::PART {
            place = Some(key);
            continue;
        }
        let (id, at) = written.name(job, plan, &object.part, &key).await?;
        transfer::transfer(job, source, object, plan.to.as_ref(), (&key, &at)).await?;
        stored.push((id, facts(object)));
        described.push(describe(object, key));
    }
    let Some(key) = place else {
        let message = format!("the rows of the copy in store {} name no manifest", source.name);
        return Err(JobError::abort("copy_unreadable", message, "Verify the save."));
    };
    let manifest = Manifest { encodings: source.encodings.clone(), objects: described, ..plan.manifest.clone() };
    let text = manifests::text(&manifest)?;
    let bytes = manifests::write(&manifest, &text, plan.encryption.as_deref())?;
    let bytes = Bytes::from(job.ctx.signer.sign(bytes));
    let sent = StoredBytes { bytes: bytes.len() as u64, blake3: Blake3(*blake3::hash(&bytes).as_bytes()) };
    let raw = RawFacts { bytes: text.len() as u64, blake3: *blake3::hash(&text).as_bytes() };
    let of_manifest = StoredFacts { raw: Some(raw), stored_bytes: sent.bytes, sha256: stream::sha256(&bytes).0 };
    let (id, at) = written.name(job, plan, manifest::PART, &key).await?;
    let put = store::put(plan.to.as_ref(), &key, &at, bytes, &job.lease.cancel).await?;
    check(job, plan.to.as_ref(), &key, put, sent).await?;
    stored.push((id, of_manifest));
    Ok(Copied {
        save_id: plan.save_id,
        store: plan.to.name().clone(),
        from: source.name.clone(),
        encodings: source.encodings.clone(),
        objects: stored,
    })
}

fn facts(object: &CopyObject) -> StoredFacts {
    StoredFacts {
        raw: object.raw.map(|(bytes, blake3)| RawFacts { bytes, blake3: blake3.0 }),
        stored_bytes: object.stored.stored_bytes,
        sha256: object.stored.sha256.0,
    }
}

fn describe(object: &CopyObject, key: StoreKey) -> ManifestObject {
    ManifestObject {
        part: object.part.clone(),
        key,
        raw_bytes: object.raw.map(|(bytes, _)| bytes),
        stored_bytes: object.stored.stored_bytes,
        blake3: object.raw.map(|(_, blake3)| blake3.to_string()),
        sha256: object.stored.sha256.to_string(),
    }
}

impl Written {
    /// Commits the row of an object before its first byte.
    async fn name(
        &mut self,
        job: &Job,
        plan: &Plan,
        part: &str,
        key: &StoreKey,
    ) -> Result<(ObjectId, UploadRef), JobError> {
        let at = plan.to.prepare(key).await?;
        let id = name_object(job, plan.save_id, plan.to.name(), part, key, &at).await?;
        self.0.push((id, key.clone(), at.clone()));
        Ok((id, at))
    }

    /// Takes away what did not become a copy. What cannot be reached now is left to gc, which finds it by its row.
    async fn discard(&self, job: &Job, plan: &Plan) {
        for (id, key, at) in &self.0 {
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

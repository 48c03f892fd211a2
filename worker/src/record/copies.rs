//! The copies of one save while they are made: for each object a committed row before its first byte, the bytes to all
//! stores at once, the commit only with the tool's proof, the read-back, and the way back out of all of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use shared::{
    db::{objects, work::TargetWork},
    failpoint,
    id::{ObjectId, SaveId},
    job::Problem,
    manifest::{self, Manifest},
    name::{Slug, StoreKey},
};
use sqlx::Acquire;

use crate::{
    engine::{Dump, Running},
    handler::{Job, JobError, backup::CopyOutcome},
    lease::Stop,
    store::{self, ReadBack, Store, Stored, Upload, UploadRef, Whole},
    stream::{self, Blake3, DumpPlan, Progress, StageTime, StoredBytes, StreamError},
};

/// How long the removal of a failed attempt's bytes may take; what is left then is gc's, by its rows.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(20);

/// One object of the save, as it lies in every good copy.
#[derive(Debug)]
pub struct Part {
    pub name: &'static str,
    pub key: StoreKey,
    pub facts: objects::StoredFacts,
    pub stages: Vec<StageTime>,
    pub bottleneck: String,
}

#[derive(Debug)]
struct Copy {
    name: Slug,
    store: Option<Arc<dyn Store>>,
    named: Vec<Named>,
    lost: Option<Problem>,
}

#[derive(Debug)]
struct Named {
    id: ObjectId,
    key: StoreKey,
    at: UploadRef,
    facts: Option<objects::StoredFacts>,
}

/// All copies of a save under one attempt.
#[derive(Debug)]
pub struct Copies {
    save: SaveId,
    /// `<installation>/<service>/<target>/<save>/<epoch>`.
    prefix: String,
    required: usize,
    stores: Vec<Copy>,
}

impl Copies {
    /// Checks that each store is there and ours. A store that is not costs its copy; too few left is an error.
    pub async fn open(
        job: &Job,
        work: &TargetWork,
        save: SaveId,
        stores: Vec<(Slug, Option<Arc<dyn Store>>)>,
        required: usize,
    ) -> Result<Self, JobError> {
        let prefix =
            format!("{}/{}/{}/{save}/{}", job.ctx.installation, work.service, work.target, job.lease.fence.epoch);
        let mut this = Self { save, prefix, required, stores: Vec::new() };
        for (name, store) in stores {
            let lost = match &store {
                None => Some(Problem::permanent(
                    "store_unknown",
                    format!("this worker has no store named {name}"),
                    "Declare the store in the configuration of every worker of the target's group.",
                )),
                Some(store) => {
                    store::require_ours(store.as_ref(), job.ctx.installation).await.err().map(|e| problem(e.into()))
                }
            };
            this.stores.push(Copy { name, store, named: Vec::new(), lost });
        }
        this.enough()?;
        Ok(this)
    }

    pub fn required(&self) -> usize {
        self.required
    }

    /// How each store's objects are read back, for the manifest.
    pub fn read_back(&self) -> BTreeMap<Slug, String> {
        let word = |store: &dyn Store| match store.read_back() {
            ReadBack::Full => "full".to_owned(),
            ReadBack::Off => "off".to_owned(),
        };
        self.stores.iter().filter_map(|copy| Some((copy.name.clone(), word(copy.store.as_deref()?)))).collect()
    }

    /// Streams a dump into every copy and commits it there once the tool has proven it whole.
    pub async fn write(
        &mut self,
        job: &Job,
        name: &'static str,
        mut dump: Dump<Running>,
        plan: DumpPlan,
        estimate: Option<u64>,
    ) -> Result<Part, JobError> {
        let cancel = &job.lease.cancel;
        let key = self.key(name)?;
        let reader = dump
            .reader()
            .ok_or_else(|| JobError::abort("internal", "the dump's output was taken twice", "Report this."))?;
        let uploads = match self.begin(job, name, &key).await {
            Ok(uploads) => uploads,
            Err(error) => {
                drop(reader);
                dump.stop().await?;
                return Err(error);
            }
        };
        let (progress, watched) = job.watch(estimate);
        let dumped = match stream::dump(reader, uploads, plan, progress, cancel).await {
            Ok(dumped) => dumped,
            // The tool knows better than its reader why no dump came out of it.
            Err(error @ (StreamError::BadFormat { .. } | StreamError::Source { .. })) => {
                return Err(dump.finish().await.err().map_or_else(|| error.into(), JobError::from));
            }
            Err(error) => {
                dump.stop().await?;
                return Err(error.into());
            }
        };
        drop(watched);
        let exited = match dump.finish().await {
            Ok(exited) => exited,
            Err(error) => {
                for (_, upload) in dumped.uploads {
                    abort(upload).await;
                }
                return Err(error.into());
            }
        };
        failpoint!("backup.exited");
        job.phase("committing_copies").await?;
        let facts = objects::StoredFacts {
            raw_bytes: dumped.raw_bytes,
            stored_bytes: dumped.stored_bytes,
            blake3: dumped.blake3.0,
            sha256: dumped.sha256.0,
        };
        let whole = exited.whole();
        let sent = StoredBytes { bytes: dumped.stored_bytes, blake3: dumped.stored_blake3 };
        for (store, upload) in dumped.uploads {
            let outcome = match upload {
                Ok(upload) => self.commit(job, &store, upload, &whole, &key, sent).await,
                Err(error) => Err(error.into()),
            };
            self.settle(&store, &key, outcome.map(|()| facts))?;
        }
        self.enough()?;
        Ok(Part { name, key, facts, stages: dumped.stages, bottleneck: dumped.bottleneck })
    }

    /// Writes the manifest as the last object of each copy: a copy without it does not exist for a rebuilt catalogue.
    pub async fn write_manifest(&mut self, job: &Job, manifest: &Manifest) -> Result<(), JobError> {
        job.phase("writing_manifest").await?;
        let key = self.key(manifest::PART)?;
        let text = serde_json::to_vec_pretty(manifest).map_err(|error| {
            JobError::abort("internal", format!("the manifest cannot be written as JSON: {error}"), "Report this.")
        })?;
        let bytes = Bytes::from(job.ctx.signer.sign(text));
        let length = bytes.len() as u64;
        let facts = objects::StoredFacts {
            raw_bytes: length,
            stored_bytes: length,
            blake3: *blake3::hash(&bytes).as_bytes(),
            sha256: stream::sha256(&bytes).0,
        };
        for at in 0..self.stores.len() {
            let Some(store) = self.stores[at].alive() else { continue };
            let named = name(job, self.save, store.as_ref(), manifest::PART, &key).await?;
            let reference = named.at.clone();
            let store_name = self.stores[at].name.clone();
            self.stores[at].named.push(named);
            let written = async {
                let stored = store::put(store.as_ref(), &key, &reference, bytes.clone(), &job.lease.cancel).await?;
                let sent = StoredBytes { bytes: length, blake3: Blake3(facts.blake3) };
                check(job, store.as_ref(), &key, stored, sent).await
            };
            self.settle(&store_name, &key, written.await.map(|()| facts))?;
        }
        self.enough()
    }

    /// What the record says of each copy.
    pub fn into_outcomes(self) -> Vec<(Slug, CopyOutcome)> {
        let outcome = |copy: Copy| match copy.lost {
            Some(problem) => (copy.name, Err(problem)),
            None => {
                (copy.name, Ok(copy.named.into_iter().filter_map(|named| Some((named.id, named.facts?))).collect()))
            }
        };
        self.stores.into_iter().map(outcome).collect()
    }

    /// Takes away what this attempt wrote. What cannot be reached now is left to gc, which finds it by its row.
    pub async fn discard(&self, job: &Job) {
        for copy in &self.stores {
            let Some(store) = &copy.store else { continue };
            for named in &copy.named {
                let removal = async {
                    store.discard(&named.key, &named.at).await?;
                    store.delete(&named.key).await?;
                    let mut conn = job.ctx.pool.acquire().await?;
                    failpoint!("backup.discarded.before");
                    objects::set_discarded(&mut conn, named.id).await?;
                    failpoint!("backup.discarded.after");
                    Ok::<_, JobError>(())
                };
                match tokio::time::timeout(DISCARD_TIMEOUT, removal).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => {
                        tracing::warn!(store = %copy.name, key = %named.key, error = %shared::telemetry::Causes(&error), "an object of a failed attempt is left to gc");
                    }
                    Err(_) => {
                        tracing::warn!(store = %copy.name, key = %named.key, "removing an object of a failed attempt took too long; it is left to gc");
                    }
                }
            }
        }
    }

    async fn begin(&mut self, job: &Job, part: &str, key: &StoreKey) -> Result<Vec<(Slug, Box<dyn Upload>)>, JobError> {
        let mut uploads = Vec::new();
        for copy in &mut self.stores {
            let Some(store) = copy.alive() else { continue };
            let named = name(job, self.save, store.as_ref(), part, key).await?;
            let opened = store.upload(key, &named.at, &job.lease.cancel).await;
            copy.named.push(named);
            match opened {
                Ok(upload) => uploads.push((copy.name.clone(), upload)),
                Err(error) => copy.lost = Some(stopped_or(error.into())?),
            }
        }
        if let Err(error) = self.enough() {
            for (_, upload) in uploads {
                abort(Ok(upload)).await;
            }
            return Err(error);
        }
        Ok(uploads)
    }

    async fn commit(
        &self,
        job: &Job,
        store: &Slug,
        upload: Box<dyn Upload>,
        whole: &Whole,
        key: &StoreKey,
        sent: StoredBytes,
    ) -> Result<(), JobError> {
        let stored = upload.commit(whole).await?;
        match job.ctx.stores.get(store) {
            Some(store) => check(job, store.as_ref(), key, stored, sent).await,
            None => Ok(()),
        }
    }

    /// Notes how an object of a copy went. A stopped job ends; anything else costs only this copy.
    fn settle(
        &mut self,
        store: &Slug,
        key: &StoreKey,
        outcome: Result<objects::StoredFacts, JobError>,
    ) -> Result<(), JobError> {
        let Some(copy) = self.stores.iter_mut().find(|copy| copy.name == *store) else { return Ok(()) };
        match outcome {
            Ok(facts) => {
                if let Some(named) = copy.named.iter_mut().find(|named| named.key == *key) {
                    named.facts = Some(facts);
                }
            }
            Err(error) => copy.lost = Some(stopped_or(error)?),
        }
        Ok(())
    }

    /// Fails with the last lost copy's reason when fewer copies live than are required.
    fn enough(&self) -> Result<(), JobError> {
        let good = self.stores.iter().filter(|copy| copy.lost.is_none()).count();
        if good >= self.required.max(1) {
            return Ok(());
        }
        let lost = self.stores.iter().rev().find_map(|copy| copy.lost.clone());
        let problem = lost.unwrap_or_else(|| {
            Problem::permanent("too_few_copies", "the save has no store", "Give the target a store.")
        });
        Err(if problem.retryable { JobError::Retry(problem) } else { JobError::Abort(problem) })
    }

    fn key(&self, part: &str) -> Result<StoreKey, JobError> {
        StoreKey::parse(format!("{}/{part}", self.prefix))
            .map_err(|error| JobError::abort("target_unusable", error.to_string(), "Rename the service or the target."))
    }
}

impl Copy {
    fn alive(&self) -> Option<Arc<dyn Store>> {
        if self.lost.is_some() { None } else { self.store.clone() }
    }
}

/// Commits the row that names an object, before its first byte.
async fn name(job: &Job, save_id: SaveId, store: &dyn Store, part: &str, key: &StoreKey) -> Result<Named, JobError> {
    let at = store.prepare(key).await?;
    let id = ObjectId::generate();
    let object = objects::NewObject {
        id,
        save_id,
        store: store.name().to_string(),
        key: key.to_string(),
        part: part.to_owned(),
        upload_ref: at.to_string(),
    };
    let mut conn = job.ctx.pool.acquire().await?;
    let mut tx = conn.begin().await?;
    if !objects::insert(&mut tx, job.lease.fence, &object).await? {
        job.lease.stop(Stop::Lost);
        return Err(JobError::Stopped);
    }
    failpoint!("backup.name.before");
    tx.commit().await?;
    failpoint!("backup.name.after");
    Ok(Named { id, key: key.clone(), at, facts: None })
}

async fn check(
    job: &Job,
    store: &dyn Store,
    key: &StoreKey,
    stored: Stored,
    sent: StoredBytes,
) -> Result<(), JobError> {
    if store.read_back() == ReadBack::Off {
        return Ok(());
    }
    let progress = Arc::new(Progress::default());
    Ok(stream::read_back(store, key, stored, sent, progress, &job.lease.cancel).await?)
}

async fn abort(upload: stream::CopyResult) {
    if let Ok(upload) = upload
        && let Err(error) = upload.abort().await
    {
        tracing::warn!(error = %shared::telemetry::Causes(&error), "aborting an upload failed; its bytes are left to gc");
    }
}

fn stopped_or(error: JobError) -> Result<Problem, JobError> {
    match error {
        JobError::Stopped => Err(JobError::Stopped),
        JobError::Retry(problem) | JobError::Abort(problem) => Ok(problem),
    }
}

fn problem(error: JobError) -> Problem {
    match error {
        JobError::Retry(problem) | JobError::Abort(problem) => problem,
        JobError::Stopped => Problem::retryable("stopped", "the job was stopped", ""),
    }
}

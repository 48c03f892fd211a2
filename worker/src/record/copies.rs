//! The copies of one save while they are made: for each object a committed row before its first byte, the bytes to all
//! stores at once, the commit only with the tool's proof, the read-back, and the way back out of all of it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use shared::{
    db::{
        objects::{self, RawFacts, StoredFacts},
        work::TargetWork,
    },
    failpoint,
    id::{ObjectId, SaveId},
    job::Problem,
    manifest::{self, Encoding, Manifest, ManifestObject, Sealing},
    name::{Slug, StoreKey},
};
use sqlx::Acquire;

use super::manifests;
use crate::{
    engine::{Dump, Running},
    handler::{Job, JobError, backup::CopyOutcome},
    lease::Stop,
    store::{self, ReadBack, Store, StoreError, Stored, Upload, UploadRef, Whole},
    stream::{
        self, Blake3, Destination, DumpPlan, Encryption, NextObject, Progress, StageTime, StoredBytes, StreamError,
        WrittenObject,
    },
};

/// A longer name would not come after the others in `cat dump.*`.
const MOST_OBJECTS: u32 = 9999;

/// How long the removal of a failed attempt's bytes may take; what is left then is gc's, by its rows.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(20);

/// One stream of the save, which lies as one object or several in every good copy.
#[derive(Debug)]
pub struct Part {
    pub name: &'static str,
    pub raw: RawFacts,
    pub stages: Vec<StageTime>,
    pub bottleneck: String,
}

/// What the record says of a good copy.
#[derive(Debug, Clone)]
pub struct GoodCopy {
    pub encodings: Vec<Encoding>,
    /// To whom it is encrypted; none if it is not.
    pub sealing: Option<Sealing>,
    pub objects: Vec<(ObjectId, StoredFacts)>,
}

#[derive(Debug)]
struct Copy {
    name: Slug,
    store: Option<Arc<dyn Store>>,
    encryption: Option<Arc<Encryption>>,
    max_object_bytes: Option<u64>,
    named: NamedObjects,
    lost: Option<Problem>,
}

/// Everything that a copy has a row for; objects are added while bytes flow.
type NamedObjects = Arc<Mutex<Vec<Named>>>;

#[derive(Debug, Clone)]
struct Named {
    id: ObjectId,
    /// The stream it belongs to, by its name.
    of: &'static str,
    part: String,
    key: StoreKey,
    at: UploadRef,
    facts: Option<StoredFacts>,
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
            let packing = job.ctx.packing.get(&name).cloned().unwrap_or_default();
            let of_store = store.as_ref().and_then(|store| store.max_object_bytes());
            let max_object_bytes = of_store.into_iter().chain(packing.object_bytes).min();
            let (encryption, named) = (packing.encryption, NamedObjects::default());
            this.stores.push(Copy { name, store, encryption, max_object_bytes, named, lost });
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

    /// What there is to warn of: copies that were lost on the way.
    pub fn warnings(&self) -> Vec<String> {
        let warning = |copy: &Copy| {
            let lost = copy.lost.as_ref()?;
            Some(format!("there is no copy in store {}: {}", copy.name, lost.message))
        };
        self.stores.iter().filter_map(warning).collect()
    }

    /// Streams a dump into every copy and commits it there once the tool has proven it whole. A stream whose name begins as
    /// those of dumps do is cut into several objects where a store wants it.
    pub async fn write(
        &mut self,
        job: &Job,
        name: &'static str,
        mut dump: Dump<Running>,
        plan: DumpPlan,
        estimate: Option<u64>,
    ) -> Result<Part, JobError> {
        let cancel = &job.lease.cancel;
        let reader = dump
            .reader()
            .ok_or_else(|| JobError::abort("internal", "the dump's output was taken twice", "Report this."))?;
        let destinations = match self.begin(job, name).await {
            Ok(destinations) => destinations,
            Err(error) => {
                drop(reader);
                dump.stop().await?;
                return Err(error);
            }
        };
        let (progress, watched) = job.watch(estimate);
        let dumped = match stream::dump(reader, destinations, plan, progress, cancel).await {
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
                for (_, written) in dumped.copies {
                    abort(written.unwrap_or_default().into_iter().map(|object| object.upload)).await;
                }
                return Err(error.into());
            }
        };
        failpoint!("backup.exited");
        job.phase("committing_copies").await?;
        let raw = RawFacts { bytes: dumped.raw_bytes, blake3: dumped.blake3.0 };
        let whole = exited.whole();
        for (store, written) in dumped.copies {
            let outcome = match written {
                Ok(written) => self.commit(job, &store, name, written, &whole, raw).await,
                Err(error) => Err(error.into()),
            };
            self.settle(&store, outcome)?;
        }
        self.enough()?;
        Ok(Part { name, raw, stages: dumped.stages, bottleneck: dumped.bottleneck })
    }

    /// Writes the manifest as the last object of each copy, which it describes: a copy without it does not exist for a rebuilt
    /// catalogue. Returns that of the first good copy.
    pub async fn write_manifest(&mut self, job: &Job, common: &Manifest) -> Result<Manifest, JobError> {
        job.phase("writing_manifest").await?;
        let mut first = None;
        for at in 0..self.stores.len() {
            let Some(copy) = self.stores.get(at).filter(|copy| copy.alive().is_some()) else { continue };
            let name = copy.name.clone();
            let manifest = copy.describe(common);
            let outcome = self.write_one_manifest(job, at, &manifest).await;
            let written = outcome.is_ok();
            self.settle(&name, outcome)?;
            if written {
                first.get_or_insert(manifest);
            }
        }
        self.enough()?;
        first.ok_or_else(|| JobError::abort("internal", "no copy has a manifest", "Report this."))
    }

    async fn write_one_manifest(&mut self, job: &Job, at: usize, manifest: &Manifest) -> Result<(), JobError> {
        let key = self.key(manifest::PART)?;
        let Some(copy) = self.stores.get(at) else { return Ok(()) };
        let Some(store) = copy.alive() else { return Ok(()) };
        let text = manifests::text(manifest)?;
        let bytes = manifests::write(manifest, &text, copy.encryption.as_deref())?;
        let bytes = Bytes::from(job.ctx.signer.sign(bytes));
        let sent = StoredBytes { bytes: bytes.len() as u64, blake3: Blake3(*blake3::hash(&bytes).as_bytes()) };
        let facts = StoredFacts {
            raw: Some(RawFacts { bytes: text.len() as u64, blake3: *blake3::hash(&text).as_bytes() }),
            stored_bytes: sent.bytes,
            sha256: stream::sha256(&bytes).0,
        };
        let at = store.prepare(&key).await?;
        let id = name_object(job, self.save, store.name(), manifest::PART, &key, &at).await?;
        let (of, part) = (manifest::PART, manifest::PART.to_owned());
        copy.named().push(Named { id, of, part, key: key.clone(), at: at.clone(), facts: None });
        let stored = store::put(store.as_ref(), &key, &at, bytes, &job.lease.cancel).await?;
        check(job, store.as_ref(), &key, stored, sent).await?;
        copy.set_facts(&key, facts);
        Ok(())
    }

    /// What the record says of each copy.
    pub fn into_outcomes(self) -> Vec<(Slug, CopyOutcome)> {
        let outcome = |copy: Copy| {
            let objects = copy.named().iter().filter_map(|named| Some((named.id, named.facts?))).collect();
            let sealing = copy.encryption.as_ref().map(|encryption| encryption.sealing());
            let good = GoodCopy { encodings: copy.encodings(), sealing, objects };
            (copy.name, copy.lost.map_or(Ok(good), Err))
        };
        self.stores.into_iter().map(outcome).collect()
    }

    /// Takes away what this attempt wrote. What cannot be reached now is left to gc, which finds it by its row.
    pub async fn discard(&self, job: &Job) {
        for copy in &self.stores {
            let Some(store) = &copy.store else { continue };
            let all = copy.named().clone();
            for named in &all {
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

    /// Names and opens the first object of a stream in every copy.
    async fn begin(&mut self, job: &Job, of: &'static str) -> Result<Vec<Destination>, JobError> {
        let mut destinations = Vec::new();
        let (save, prefix) = (self.save, self.prefix.clone());
        for copy in &mut self.stores {
            let Some(store) = copy.alive() else { continue };
            let cut = of.starts_with(manifest::DUMP);
            // A dump's name says nothing of its form; what is looked at by itself shall say it.
            let part = if cut || copy.encryption.is_none() { of.to_owned() } else { format!("{of}.age") };
            let mut opening =
                Opening { job: job.clone(), save, prefix: prefix.clone(), of, store, named: Arc::clone(&copy.named) };
            match opening.name_and_open(part).await {
                Ok(upload) => destinations.push(Destination {
                    name: copy.name.clone(),
                    upload,
                    more: if cut { Some(Box::new(opening)) } else { None },
                    encryption: copy.encryption.clone(),
                    max_object_bytes: copy.max_object_bytes,
                }),
                Err(Opened::Not(error)) => copy.lost = Some(stopped_or(error.into())?),
                Err(Opened::Unnamed(error)) => return Err(error),
            }
        }
        if let Err(error) = self.enough() {
            abort(destinations.into_iter().map(|destination| destination.upload)).await;
            return Err(error);
        }
        Ok(destinations)
    }

    /// Commits the objects of a stream in one copy, in order, and has each read back.
    async fn commit(
        &self,
        job: &Job,
        store: &Slug,
        of: &'static str,
        written: Vec<WrittenObject>,
        whole: &Whole,
        raw: RawFacts,
    ) -> Result<(), JobError> {
        let Some(copy) = self.stores.iter().find(|copy| copy.name == *store) else { return Ok(()) };
        let keys: Vec<StoreKey> =
            copy.named().iter().filter(|named| named.of == of).map(|named| named.key.clone()).collect();
        if keys.len() != written.len() {
            let message = format!("{} objects are named and {} were written", keys.len(), written.len());
            return Err(JobError::abort("internal", message, "Report this."));
        }
        let mut left = written.into_iter().zip(keys).enumerate();
        while let Some((n, (WrittenObject { upload, sent }, key))) = left.next() {
            let committed = async {
                let stored = upload.commit(whole).await?;
                if let Some(store) = copy.alive() {
                    let sent = StoredBytes { bytes: sent.bytes, blake3: sent.blake3 };
                    check(job, store.as_ref(), &key, stored, sent).await?;
                }
                Ok::<_, JobError>(())
            };
            if let Err(error) = committed.await {
                abort(left.map(|(_, (object, _))| object.upload)).await;
                return Err(error);
            }
            let facts = StoredFacts { raw: (n == 0).then_some(raw), stored_bytes: sent.bytes, sha256: sent.sha256.0 };
            copy.set_facts(&key, facts);
        }
        Ok(())
    }

    /// Notes how a copy went. A stopped job ends; anything else costs only this copy.
    fn settle(&mut self, store: &Slug, outcome: Result<(), JobError>) -> Result<(), JobError> {
        let Some(copy) = self.stores.iter_mut().find(|copy| copy.name == *store) else { return Ok(()) };
        if let Err(error) = outcome {
            copy.lost = Some(stopped_or(error)?);
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
        key_of(&self.prefix, part)
    }
}

impl Copy {
    fn alive(&self) -> Option<Arc<dyn Store>> {
        if self.lost.is_some() { None } else { self.store.clone() }
    }

    fn named(&self) -> MutexGuard<'_, Vec<Named>> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_facts(&self, key: &StoreKey, facts: StoredFacts) {
        if let Some(named) = self.named().iter_mut().find(|named| named.key == *key) {
            named.facts = Some(facts);
        }
    }

    fn encodings(&self) -> Vec<Encoding> {
        match self.encryption {
            None => vec![Encoding::Zstd],
            Some(_) => vec![Encoding::Zstd, Encoding::Age],
        }
    }

    /// The manifest of this very copy.
    fn describe(&self, common: &Manifest) -> Manifest {
        let object = |named: &Named| {
            let facts = named.facts?;
            Some(ManifestObject {
                part: named.part.clone(),
                key: named.key.clone(),
                raw_bytes: facts.raw.map(|raw| raw.bytes),
                stored_bytes: facts.stored_bytes,
                blake3: facts.raw.map(|raw| hex::encode(raw.blake3)),
                sha256: hex::encode(facts.sha256),
            })
        };
        Manifest {
            encodings: self.encodings(),
            objects: self.named().iter().filter_map(object).collect(),
            ..common.clone()
        }
    }
}

/// Opens the objects of one stream in one copy.
#[derive(Debug)]
struct Opening {
    job: Job,
    save: SaveId,
    prefix: String,
    of: &'static str,
    store: Arc<dyn Store>,
    named: NamedObjects,
}

enum Opened {
    /// The store refused: this copy is lost.
    Not(StoreError),
    /// There is no row, which is no fault of the store.
    Unnamed(JobError),
}

impl Opening {
    async fn name_and_open(&mut self, part: String) -> Result<Box<dyn Upload>, Opened> {
        let key = key_of(&self.prefix, &part).map_err(Opened::Unnamed)?;
        // Some stores are asked for it, and may not answer.
        let at = self.store.prepare(&key).await.map_err(Opened::Not)?;
        let id = name_object(&self.job, self.save, self.store.name(), &part, &key, &at);
        let id = id.await.map_err(Opened::Unnamed)?;
        let named = Named { id, of: self.of, part, key: key.clone(), at: at.clone(), facts: None };
        self.named.lock().unwrap_or_else(PoisonError::into_inner).push(named);
        self.store.upload(&key, &at, &self.job.lease.cancel).await.map_err(Opened::Not)
    }
}

#[async_trait]
impl NextObject for Opening {
    async fn open(&mut self, number: u32) -> Result<Box<dyn Upload>, StoreError> {
        let part = format!("{}{number:04}", manifest::DUMP);
        let store = self.store.name().clone();
        if number > MOST_OBJECTS {
            let why = format!("a dump has at most {MOST_OBJECTS} objects: raise object_bytes of the store");
            return Err(StoreError::unnamed(&store, &part, why));
        }
        self.name_and_open(part.clone()).await.map_err(|opened| match opened {
            Opened::Not(error) => error,
            Opened::Unnamed(error) => StoreError::unnamed(&store, &part, error),
        })
    }
}

fn key_of(prefix: &str, part: &str) -> Result<StoreKey, JobError> {
    StoreKey::parse(format!("{prefix}/{part}"))
        .map_err(|error| JobError::abort("target_unusable", error.to_string(), "Rename the service or the target."))
}

/// Commits the row that names an object, before its first byte.
pub(crate) async fn name_object(
    job: &Job,
    save_id: SaveId,
    store: &Slug,
    part: &str,
    key: &StoreKey,
    at: &UploadRef,
) -> Result<ObjectId, JobError> {
    let id = ObjectId::generate();
    let object = objects::NewObject {
        id,
        save_id,
        store: store.to_string(),
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
    Ok(id)
}

/// Reads a committed object again, where its store is to be checked so.
pub(crate) async fn check(
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

async fn abort(uploads: impl Iterator<Item = Box<dyn Upload>>) {
    for upload in uploads {
        if let Err(error) = upload.abort().await {
            tracing::warn!(error = %shared::telemetry::Causes(&error), "aborting an upload failed; its bytes are left to gc");
        }
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

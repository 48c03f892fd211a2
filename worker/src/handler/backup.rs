//! Dump a target into its stores (design §3, steps 4 to 7). The last step, the record, is the runner's finish.

use std::{collections::BTreeMap, sync::Arc};

use chrono::Utc;
use shared::{
    db::{
        saves,
        work::{Purpose, TargetWork},
    },
    id::SaveId,
    inventory::Inventory,
    job::{BackupJob, Problem, TableName as WireTable},
    manifest::{self, Consistency, Manifest, MongoAddress, ServerAddress},
    name::Slug,
    save::{Mode, SaveState},
};

use super::{Done, Job, JobError};
use crate::{
    engine::{
        Connection, Dump, DumpMode, DumpOptions, EngineKind, Globals, ProbeReport, Running, TableName, mongodb,
        postgres,
    },
    record::copies::{Copies, GoodCopy, Part},
    stream::{DEFAULT_BLOCKS, DumpPlan, StageTime, Tap},
};

/// The dump itself, or its first object; `cat dump.*` in order of name gives the stored bytes.
const DUMP: &str = "dump.0001";
const GLOBALS: &str = "globals.sql.zst";

/// The objects of a good copy, or why it was lost.
pub type CopyOutcome = Result<GoodCopy, Problem>;

/// A save whose bytes all lie in their stores, and which only lacks its record.
#[derive(Debug)]
pub struct Saved {
    /// That of the first good copy.
    pub manifest: Manifest,
    pub raw_bytes: u64,
    /// Of the first good copy.
    pub stored_bytes: u64,
    pub stages: Vec<StageTime>,
    pub bottleneck: String,
    /// By store: the objects of a good copy, or why there is none.
    pub copies: Vec<(Slug, CopyOutcome)>,
}

/// Dumps the target.
pub async fn run(job: &Job, payload: &BackupJob) -> Result<Done, JobError> {
    Ok(Done::Backup(Box::new(make(job, payload).await?)))
}

/// Dumps the target into the stores of a pending save. On any error what was written is taken away again.
pub async fn make(job: &Job, payload: &BackupJob) -> Result<Saved, JobError> {
    job.phase("probing").await?;
    let started_at = Utc::now();
    let work = job.target(payload.target_id, Purpose::Backup).await?;
    let (save, stores) = load(job, payload.save_id).await?;
    let (at, database) = job.ctx.connection_to_any(&work, job.lease.fence)?;
    let engine = job.ctx.engine(at.engine);
    let cancel = &job.lease.cancel;
    engine.end_older_sessions(&at, &database, cancel).await?;
    let probe = engine.probe(&at, &database, cancel).await?;

    let mut copies =
        Copies::open(job, &work, payload.save_id, stores, usize::try_from(save.required_copies).unwrap_or(1)).await?;
    let written = async {
        job.phase("dumping").await?;
        let options = options(payload);
        let dump = engine.dump(&at, &database, &options, &probe, cancel).await?;
        let (tool, tool_version) = (dump.tool().0.to_owned(), dump.tool().1.to_owned());
        let mut warnings = warnings(&probe, dump.warnings());
        let (dump, tap, counting) = count(at.engine, dump);
        let plan = DumpPlan {
            level: job.ctx.settings.zstd_level,
            expect_magic: Some(magic(at.engine)),
            blocks: blocks(at.engine),
            required: copies.required(),
            laggard: job.ctx.settings.laggard,
            tap: Some(tap),
            bytes_per_s: payload.bytes_per_s,
        };
        let dumped = copies.write(job, DUMP, dump, plan, u64::try_from(probe.size_bytes).ok()).await?;
        let inventory = match counting() {
            Ok(inventory) => Some(inventory),
            Err(why) => {
                warnings.push(format!("the save has no inventory: {why}"));
                None
            }
        };
        match engine.dump_globals(&at, &probe, cancel).await? {
            Globals::None => {}
            Globals::Skipped(why) => warnings.push(why),
            Globals::Dump(dump) => {
                let plan = DumpPlan {
                    level: job.ctx.settings.zstd_level,
                    required: copies.required(),
                    laggard: job.ctx.settings.laggard,
                    ..DumpPlan::default()
                };
                copies.write(job, GLOBALS, *dump, plan, None).await?;
            }
        }
        warnings.extend(copies.warnings());
        let manifest = describe(
            job,
            payload,
            (&work, &at),
            &save,
            &probe,
            (tool, tool_version),
            (inventory, warnings),
            copies.read_back(),
            started_at,
        )?;
        let manifest = copies.write_manifest(job, &manifest).await?;
        Ok::<_, JobError>((dumped, manifest))
    }
    .await;
    match written {
        Ok((dumped, manifest)) => {
            let (raw_bytes, stored_bytes) = (manifest.raw_bytes(), manifest.stored_bytes());
            let Part { stages, bottleneck, .. } = dumped;
            Ok(Saved { manifest, raw_bytes, stored_bytes, stages, bottleneck, copies: copies.into_outcomes() })
        }
        Err(error) => {
            copies.discard(job).await;
            Err(error)
        }
    }
}

type Chosen = Vec<(Slug, Option<Arc<dyn crate::store::Store>>)>;

/// A pending save, and the stores that its copies are to lie in.
pub(super) async fn load(job: &Job, save_id: SaveId) -> Result<(saves::SaveRow, Chosen), JobError> {
    let mut conn = job.ctx.pool.acquire().await?;
    let save = saves::get(&mut conn, save_id).await?;
    let save = save.filter(|save| save.state == SaveState::Pending).ok_or_else(|| {
        JobError::abort("save_not_pending", format!("save {save_id} is not waiting to be made"), "Start a new backup.")
    })?;
    let mut stores = Vec::new();
    for copy in saves::copies(&mut conn, save_id).await? {
        let name = Slug::parse(copy.store)
            .map_err(|e| JobError::abort("store_unknown", e.to_string(), "Correct the target's stores."))?;
        let store = job.ctx.stores.get(&name).cloned();
        stores.push((name, store));
    }
    Ok((save, stores))
}

/// What the stream may hold. The driver of MongoDB holds each answer several times over while it reads it, for all collections
/// that are dumped at once: with half the blocks its worker keeps to 64 MiB.
fn blocks(engine: EngineKind) -> usize {
    match engine {
        EngineKind::Postgres => DEFAULT_BLOCKS,
        EngineKind::Mongodb => DEFAULT_BLOCKS / 2,
    }
}

/// The first bytes of a dump.
pub(crate) fn magic(engine: EngineKind) -> &'static [u8] {
    match engine {
        EngineKind::Postgres => b"PGDMP",
        EngineKind::Mongodb => &mongodb::archive::MAGIC,
    }
}

type Counting = Box<dyn FnOnce() -> Result<Inventory, String> + Send>;

/// Has what is in a dump counted while it passes. Of `MongoDB`'s archives, whose every version is known, what cannot be
/// counted is no dump.
fn count(engine: EngineKind, dump: Dump<Running>) -> (Dump<Running>, Tap, Counting) {
    match engine {
        EngineKind::Postgres => {
            let (tap, counting) = postgres::inventory::tap();
            (dump, tap, Box::new(|| counting.result()))
        }
        EngineKind::Mongodb => {
            let (tap, counting) = mongodb::inventory::tap();
            let judge = counting.clone();
            (dump.checked(move || judge.fault()), tap, Box::new(move || counting.result()))
        }
    }
}

fn options(payload: &BackupJob) -> DumpOptions {
    let tables = |list: &[WireTable]| {
        let one = |t: &WireTable| TableName { schema: Some(t.schema.to_string()), table: t.table.to_string() };
        list.iter().map(one).collect()
    };
    DumpOptions {
        mode: match payload.mode {
            Mode::All => DumpMode::All,
            Mode::Schema => DumpMode::Schema,
            Mode::Data => DumpMode::Data,
        },
        tables: tables(&payload.tables),
        exclude_tables: tables(&payload.exclude_tables),
        collections: payload.collections.clone(),
        exclude_collections: payload.exclude_collections.clone(),
        lock_wait_seconds: None,
    }
}

fn warnings(probe: &ProbeReport, of_tool: &[String]) -> Vec<String> {
    let mut all: Vec<String> = probe.warnings.iter().chain(of_tool).cloned().collect();
    if !probe.unreadable.is_empty() {
        all.push(format!("the backup role cannot read {} object(s); the probe lists them", probe.unreadable.len()));
    }
    all
}

/// Where the target's server is, for whoever has the save and no catalogue.
pub(super) fn address(work: &TargetWork, at: &Connection) -> ServerAddress {
    let mongodb = (at.engine == EngineKind::Mongodb).then_some(&at.mongodb);
    ServerAddress {
        host: work.host.clone(),
        port: u16::try_from(work.port).unwrap_or_default(),
        tls_mode: work.tls_mode.clone(),
        tls_ca_pem: work.tls_ca_pem.clone(),
        maintenance_database: work.maintenance_database.clone(),
        mongodb: mongodb.map(|at| MongoAddress { uri: at.uri.clone(), auth: at.auth, mode: at.mode }),
    }
}

#[expect(clippy::too_many_arguments, reason = "the manifest is where everything that is known of a save meets")]
fn describe(
    job: &Job,
    payload: &BackupJob,
    (work, at): (&TargetWork, &Connection),
    save: &saves::SaveRow,
    probe: &ProbeReport,
    (tool, tool_version): (String, String),
    (inventory, warnings): (Option<Inventory>, Vec<String>),
    read_back: BTreeMap<Slug, String>,
    started_at: chrono::DateTime<Utc>,
) -> Result<Manifest, JobError> {
    let engine = at.engine;
    let slug =
        |text: &str| Slug::parse(text).map_err(|e| JobError::abort("target_unusable", e.to_string(), "Rename it."));
    let tool_major = tool_version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or_default();
    Ok(Manifest {
        format: manifest::FORMAT,
        installation: job.ctx.installation,
        save: payload.save_id,
        version: save.version,
        service: slug(&work.service)?,
        target: slug(&work.target)?,
        engine: work.engine.clone(),
        server: Some(address(work, at)),
        database: shared::name::DatabaseName::parse(work.database.clone())
            .map_err(|e| JobError::abort("target_unusable", e.to_string(), "Correct the target."))?,
        server_version: probe.server_version.clone(),
        tool,
        tool_version,
        tool_major,
        holdfast_version: env!("CARGO_PKG_VERSION").to_owned(),
        scope: save.scope,
        origin: save.origin,
        mode: payload.mode,
        tables: payload.tables.clone(),
        exclude_tables: payload.exclude_tables.clone(),
        collections: payload.collections.clone(),
        exclude_collections: payload.exclude_collections.clone(),
        consistency: match engine {
            EngineKind::Postgres => Consistency::Snapshot,
            // Collections are read one after another, and documents change meanwhile.
            EngineKind::Mongodb => Consistency::None,
        },
        // These two each copy says of itself.
        encodings: Vec::new(),
        objects: Vec::new(),
        database_properties: match engine {
            EngineKind::Postgres => serde_json::to_value(&probe.properties).unwrap_or_default(),
            // It has none: what its collections are stands in the archive.
            EngineKind::Mongodb => serde_json::json!({}),
        },
        read_back,
        started_at,
        finished_at: Utc::now(),
        inventory,
        warnings,
    })
}

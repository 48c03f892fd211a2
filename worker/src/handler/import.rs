//! Take in a dump that somebody brings. Plain SQL makes a database: see `plain`. An archive becomes a save, the same way as
//! a backup, with the bytes of a request in the place of a tool's (guarantees A2, D6): they are read to the end of the archive
//! and never run.

mod plain;

use std::time::Duration;

use chrono::Utc;
use shared::{
    db::work::{Purpose, TargetWork},
    id::{SaveId, TargetId},
    job::{ImportInto, ImportJob},
    manifest::{self, Consistency, Manifest},
    name::{DatabaseName, Slug},
};

use super::{
    Done, Job, JobError,
    backup::{self, Saved},
};
use crate::{
    engine::{DatabaseProperties, EngineKind},
    record::copies::Copies,
    stream::DumpPlan,
    transfer::{
        import::{Facts, Receiving},
        upload::Upload,
    },
};

const DUMP: &str = "dump.0001";
/// How long the target may take to say what its database is like.
const PROBE: Duration = Duration::from_secs(10);

/// Takes the bytes in.
pub async fn run(job: &Job, payload: &ImportJob) -> Result<Done, JobError> {
    let upload = job.take_upload();
    match &payload.into {
        ImportInto::Database(wanted) => plain::run(job, upload, payload.target_id, wanted).await,
        ImportInto::Save(save) => archive(job, upload.ok_or_else(lost)?, payload.target_id, *save).await,
    }
}

/// Another worker had the bytes.
fn lost() -> JobError {
    JobError::abort("upload_lost", "the worker that received the bytes has let go of them", "Send them again.")
}

async fn archive(job: &Job, upload: Upload, target_id: TargetId, save_id: SaveId) -> Result<Done, JobError> {
    job.phase("importing").await?;
    let started_at = Utc::now();
    let work = job.target(target_id, Purpose::Backup).await?;
    let (save, stores) = backup::load(job, save_id).await?;
    let required = usize::try_from(save.required_copies).unwrap_or(1);
    let mut copies = Copies::open(job, &work, save_id, stores, required).await?;
    let written = async {
        let (receiving, dump, tap) = Receiving::start(upload, job.ctx.transfer.stall, &job.lease.cancel);
        let plan = DumpPlan {
            level: job.ctx.settings.zstd_level,
            required: copies.required(),
            laggard: job.ctx.settings.laggard,
            tap: Some(tap),
            ..DumpPlan::default()
        };
        let dumped = copies.write(job, DUMP, dump, plan, None).await.map_err(|error| receiving.explained(error))?;
        let facts = receiving.facts(&work.database).map_err(JobError::Abort)?;
        let (properties, mut warnings) = properties(job, &work, &facts).await;
        warnings.extend(facts.warnings.iter().cloned());
        warnings.extend(newer(job, &facts));
        warnings.extend(copies.warnings());
        let slug =
            |text: &str| Slug::parse(text).map_err(|e| JobError::abort("target_unusable", e.to_string(), "Rename it."));
        let described = Manifest {
            format: manifest::FORMAT,
            installation: job.ctx.installation,
            save: save_id,
            version: save.version,
            service: slug(&work.service)?,
            target: slug(&work.target)?,
            engine: work.engine.clone(),
            server: Some(backup::address(&work, &job.ctx.connection_to_any(&work, job.lease.fence)?.0)),
            database: DatabaseName::parse(facts.database.clone())
                .map_err(|e| JobError::abort("target_unusable", e.to_string(), "Correct the target."))?,
            server_version: facts.server_version.clone(),
            tool: facts.tool.to_owned(),
            tool_version: facts.tool_version.clone(),
            tool_major: facts.tool_major(),
            holdfast_version: env!("CARGO_PKG_VERSION").to_owned(),
            scope: save.scope,
            origin: save.origin,
            mode: save.mode,
            tables: Vec::new(),
            exclude_tables: Vec::new(),
            collections: Vec::new(),
            exclude_collections: Vec::new(),
            // What a dump of PostgreSQL's is by its making; of others nobody knows.
            consistency: match facts.kind {
                EngineKind::Postgres => Consistency::Snapshot,
                EngineKind::Mongodb => Consistency::None,
            },
            encodings: Vec::new(),
            objects: Vec::new(),
            database_properties: properties,
            read_back: copies.read_back(),
            started_at,
            finished_at: Utc::now(),
            inventory: facts.inventory,
            warnings,
        };
        let manifest = copies.write_manifest(job, &described).await?;
        Ok::<_, JobError>((dumped, manifest))
    }
    .await;
    match written {
        Ok((dumped, manifest)) => {
            let (raw_bytes, stored_bytes) = (manifest.raw_bytes(), manifest.stored_bytes());
            let (stages, bottleneck) = (dumped.stages, dumped.bottleneck);
            let copies = copies.into_outcomes();
            Ok(Done::Backup(Box::new(Saved { manifest, raw_bytes, stored_bytes, stages, bottleneck, copies })))
        }
        Err(error) => {
            copies.discard(job).await;
            Err(error)
        }
    }
}

/// What the target's database is like, which an archive does not say; a restore makes a new one so.
async fn properties(job: &Job, work: &TargetWork, facts: &Facts) -> (serde_json::Value, Vec<String>) {
    if facts.kind == EngineKind::Mongodb {
        return (serde_json::json!({}), Vec::new());
    }
    let probed = async {
        let (at, database) = job.ctx.connection_to_any(work, job.lease.fence)?;
        let probe = job.ctx.engine(at.engine).probe(&at, &database, &job.lease.cancel).await?;
        Ok::<_, JobError>(probe.properties)
    };
    let (properties, warnings) = match tokio::time::timeout(PROBE, probed).await {
        Ok(Ok(properties)) => (properties, Vec::new()),
        failed => {
            let why = failed.err().map_or("it answered with an error", |_| "it did not answer in time");
            let warning = format!(
                "owner, encoding and collation of the target's database are not known ({why}): a restore takes the server's, \
                 and needs owner \"none\""
            );
            (DatabaseProperties { connection_limit: -1, ..DatabaseProperties::default() }, vec![warning])
        }
    };
    (serde_json::to_value(properties).unwrap_or_default(), warnings)
}

/// Whether this worker has a client that could restore it.
fn newer(job: &Job, facts: &Facts) -> Option<String> {
    if facts.kind != EngineKind::Postgres {
        return None;
    }
    let newest = job.ctx.postgres.clients.all().iter().map(|client| client.major).max().unwrap_or_default();
    (facts.tool_major() > newest).then(|| {
        format!(
            "it was made by pg_dump {}, and the newest client of this worker is {newest}: no restore before a newer one is installed",
            facts.tool_version
        )
    })
}

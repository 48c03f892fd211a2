//! Into a MongoDB database: collections under staging names, compared and indexed, then renamed along a journal. One way for
//! new databases, for those that are replaced, and for some of their collections: they differ in what has to make way.

pub(super) mod drill;
mod stage;

use serde_json::json;
use shared::{
    db::work::TargetWork,
    job::{Method, RestoreJob},
    save::{Mode, Scope},
};

use self::stage::Staged;
use super::{
    super::{
        exchange::Exchanged,
        mongo::{Place, tidy},
        renames,
    },
    Attempt, Done, Job, JobError, safety,
    source::Source,
};
use crate::engine::mongodb::restore::{
    Chosen, Loaded, Survey,
    rename::{Base, plan, waiting},
    survey::drop_staged,
};

/// What restoring works with.
#[derive(Debug)]
struct Restoring<'a> {
    job: &'a Job,
    payload: &'a RestoreJob,
    place: Place,
    source: Source,
    chosen: Chosen,
}

/// Restores from the first copy that proves good.
pub(super) async fn run(job: &Job, payload: &RestoreJob, work: &TargetWork) -> Result<Done, JobError> {
    let source = Source::load(job, payload.save_id).await?;
    require_supported(payload, &source)?;
    let place = Place::open(job, work, &payload.database).await?;
    drop_staged(&place.database, job.lease.fence.job.0, Some(job.lease.fence.epoch)).await?;
    tidy(job, &place).await;
    let chosen = Chosen {
        database: source.manifest.database.as_str().to_owned(),
        only: payload.part.collections.iter().map(ToString::to_string).collect(),
        must_wait: payload.stands_by,
    };
    let restoring = Restoring { job, payload, place, source, chosen };
    let survey = Survey::of(&restoring.place.database).await?;
    restoring.require_place(&survey).await?;
    if let Some(save) = payload.safety_save_id
        && !survey.is_free()
    {
        safety::save(job, payload.target_id, save, safety::ADVICE).await?;
    }
    let staged = stage::stage(&restoring).await?;
    // What is there now, and no longer what was there when the work began.
    let ready = async {
        let survey = Survey::of(&restoring.place.database).await?;
        restoring.require_place(&survey).await?;
        Ok::<_, JobError>(plan(&restoring.place.at, &survey, &staged.loaded, restoring.base())?)
    };
    let plan = match ready.await {
        Ok(plan) => plan,
        Err(error) => {
            stage::discard(&restoring).await;
            return Err(error);
        }
    };
    let mut result = restoring.report(&staged);
    let committed = if payload.stands_by {
        let waits = waiting(&restoring.place.at, staged.loaded, restoring.base())?;
        result["waits"] = json!({ "id": waits.keep_id, "database": waits.database, "keep_s": waits.keep_old_s });
        renames::keep(job, waits, result).await
    } else {
        renames::commit(job, &restoring.place.database, plan, result).await
    };
    match committed {
        Ok(done) => Ok(done),
        Err(Exchanged::Not(error)) => {
            stage::discard(&restoring).await;
            Err(error)
        }
        Err(Exchanged::Unknown(error)) => Err(error),
    }
}

impl Restoring<'_> {
    /// Whether it replaces all of the database. A save of some collections replaces those alone.
    fn is_whole(&self) -> bool {
        self.chosen.only.is_empty() && self.source.manifest.scope == Scope::Full
    }

    fn base(&self) -> Base {
        Base {
            database: self.payload.database.clone(),
            replaces: self.payload.in_place,
            whole: self.is_whole(),
            keep_old_s: self.payload.keep_old_s,
            kept_id: None,
        }
    }

    /// Refuses a database that the restore must not, or cannot, change.
    async fn require_place(&self, survey: &Survey) -> Result<(), JobError> {
        let database = &self.place.database;
        if self.payload.in_place {
            // A save of some collections is looked at when it is read.
            let names = if self.is_whole() { None } else { Some(&self.chosen.only) };
            survey.require_movable(names)?;
            survey.require_unsharded(database).await?;
        } else if let Some((name, _)) = survey.theirs().next() {
            return Err(JobError::abort(
                "database_exists",
                format!("database {:?} holds something already: {name:?}, for one", database.name()),
                "Choose another name, or restore in place.",
            ));
        }
        Ok(())
    }

    fn report(&self, staged: &Staged) -> serde_json::Value {
        let Staged { loaded, by, restored, store, damaged } = staged;
        let Loaded { collections, views, warnings } = loaded;
        let one = |collection: &crate::engine::mongodb::restore::load::Collection| {
            let (documents, bytes) = (collection.tally.documents, collection.tally.bytes);
            let kind = if collection.series.is_some() { "timeseries" } else { "collection" };
            json!({ "name": collection.name, "kind": kind, "documents": documents, "bytes": bytes })
        };
        json!({
            "database": self.payload.database, "save_id": self.source.manifest.save, "store": store,
            "raw_bytes": restored.raw_bytes, "stored_bytes": restored.stored_bytes, "stages": restored.stages,
            "bottleneck": restored.bottleneck, "warnings": warnings, "damaged_copies": damaged,
            "method": "renames", "restored_by": by, "atomic": false, "compared": { "by": self.payload.compare },
            "collections": collections.iter().map(one).collect::<Vec<_>>(),
            "views": views.iter().map(|view| &view.name).collect::<Vec<_>>(),
        })
    }
}

/// Refuses what only PostgreSQL has, whoever asked for it.
fn require_supported(payload: &RestoreJob, source: &Source) -> Result<(), JobError> {
    if source.manifest.engine != "mongodb" {
        return Err(JobError::abort(
            "engine_mismatch",
            format!("the save is of {}, the target of MongoDB", source.manifest.engine),
            "Choose a target of the save's own kind.",
        ));
    }
    let unfit = if payload.method == Method::Direct {
        Some("method direct")
    } else if payload.part.mode != Mode::All {
        Some("a mode other than all")
    } else if !payload.part.tables.is_empty() {
        Some("tables (collections are named under collections)")
    } else {
        None
    };
    match unfit {
        Some(what) => Err(JobError::abort("invalid_request", format!("MongoDB knows no {what}"), "Leave it out.")),
        None => Ok(()),
    }
}

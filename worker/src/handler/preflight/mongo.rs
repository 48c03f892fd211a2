//! What a restore into a MongoDB database would do. The plan is the one that a restore would make, from what the head of the
//! archive announces; nothing is created.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use shared::{
    db::work::TargetWork,
    job::{Renames, RestoreJob},
    manifest::Manifest,
    save::Scope,
};

use super::{error, expected, load};
use crate::{
    engine::{
        EngineError,
        mongodb::{
            archive::Prelude,
            restore::{
                Chosen, Loader, Survey,
                rename::{Base, plan},
            },
        },
        postgres::{Finding, Severity},
    },
    handler::{Done, Job, JobError, heads, mongo::Place},
};

/// Looks and reports.
pub(super) async fn run(job: &Job, restore: &RestoreJob, work: &TargetWork) -> Result<Done, JobError> {
    let (manifest, copies) = load(job, restore.save_id).await?;
    let mut problems = Vec::new();
    if copies.is_empty() {
        let hint = "Start a worker that has the store, or choose another save.";
        problems.push(error("no_copy", "the save has no good copy in a store of this worker", hint));
    }
    if manifest.engine != work.engine {
        let message = format!("the save is of {}", manifest.engine);
        problems.push(error("engine_mismatch", &message, "Choose a target of the save's own kind."));
    }
    let prelude = match heads::prelude(job, &copies).await {
        Ok(prelude) => Some(prelude),
        Err(JobError::Stopped) => return Err(JobError::Stopped),
        Err(why) => {
            problems.push(Finding {
                code: "contents_unknown",
                severity: Severity::Warning,
                message: format!("the archive's beginning could not be read: {why}"),
                hint: "Which collections would be made was not looked at. Look at the store.".to_owned(),
            });
            None
        }
    };
    let place = Place::open(job, work, &restore.database).await?;
    let survey = Survey::of(&place.database).await?;
    if !restore.in_place {
        if let Some((name, _)) = survey.theirs().next() {
            let message =
                format!("database {:?} holds something already: {name:?}, for one", restore.database.as_str());
            problems.push(error("database_exists", &message, "Choose another name, or restore in place."));
        }
    } else if let Err(why) = movable(restore, &manifest, &place, &survey).await {
        if !why.is_permanent() {
            return Err(why.into());
        }
        refused(&mut problems, &why);
    }
    let planned = match prelude {
        None => None,
        Some(prelude) => planned(restore, &manifest, &place, &survey, &prelude, &mut problems),
    };
    problems.sort_by_key(|finding| finding.severity);
    let (raw_bytes, stored_bytes) = (manifest.raw_bytes(), manifest.stored_bytes());
    let (duration_s, based_on) = expected(job, work.server_id, restore.save_id, raw_bytes).await?;
    Ok(Done::Plain(json!({
        "would": planned.map(|plan| would(restore, &manifest, &plan)),
        "would_fail": problems.first().is_some_and(|problem| problem.severity == Severity::Error),
        "problems": problems,
        "save": {
            "raw_bytes": raw_bytes, "stored_bytes": stored_bytes, "inventory": manifest.inventory,
            "server_version": manifest.server_version,
        },
        "target": {
            "collections": survey.collections().collect::<Vec<_>>(),
            "views": survey.views().map(|(name, _)| name).collect::<Vec<_>>(),
        },
        "estimates": "the duration is by what was measured before",
        "expected_duration_s": duration_s,
        "expected_duration_based_on": based_on,
    })))
}

fn planned(
    restore: &RestoreJob,
    manifest: &Manifest,
    place: &Place,
    survey: &Survey,
    prelude: &Prelude,
    problems: &mut Vec<Finding>,
) -> Option<Renames> {
    let chosen =
        Chosen { database: manifest.database.as_str().to_owned(), only: only(restore), must_wait: restore.stands_by };
    let whole = is_whole(restore, manifest);
    let planned = Loader::would(&place.database, place.at.session, chosen, prelude).and_then(|loaded| {
        problems.extend(loaded.warnings.iter().map(|warning| Finding {
            code: "left_out",
            severity: Severity::Warning,
            message: warning.clone(),
            hint: String::new(),
        }));
        let base = Base {
            database: restore.database.clone(),
            replaces: restore.in_place,
            whole,
            keep_old_s: restore.keep_old_s,
            kept_id: None,
        };
        plan(&place.at, survey, &loaded, base)
    });
    planned.map_err(|why| refused(problems, &why)).ok()
}

/// Once, where several ways lead to the same refusal.
fn refused(problems: &mut Vec<Finding>, why: &EngineError) {
    let problem = error(why.code().as_str(), &why.to_string(), why.hint());
    if !problems.iter().any(|one| one.message == problem.message) {
        problems.push(problem);
    }
}

/// Whether what stands in the way can make way.
async fn movable(restore: &RestoreJob, manifest: &Manifest, place: &Place, survey: &Survey) -> Result<(), EngineError> {
    let only = only(restore);
    survey.require_movable(if is_whole(restore, manifest) { None } else { Some(&only) })?;
    survey.require_unsharded(&place.database).await
}

fn only(restore: &RestoreJob) -> BTreeSet<String> {
    restore.part.collections.iter().map(ToString::to_string).collect()
}

fn is_whole(restore: &RestoreJob, manifest: &Manifest) -> bool {
    restore.part.collections.is_empty() && manifest.scope == Scope::Full
}

fn would(restore: &RestoreJob, manifest: &Manifest, plan: &Renames) -> serde_json::Value {
    let counted: BTreeMap<&str, _> =
        manifest.inventory.iter().flat_map(|all| &all.entries).map(|one| (one.name.as_str(), one.count)).collect();
    let moved = plan.moves.iter().filter(|one| one.incoming.is_some()).map(|one| &one.name);
    let create = moved.chain(plan.series.iter().map(|one| &one.name)).map(|name| {
        let count = counted.get(name.as_str());
        json!({ "collection": name, "documents": count.map(|count| count.rows), "bytes": count.map(|count| count.bytes) })
    });
    let aside: Vec<_> = plan.moves.iter().filter(|one| one.had).map(|one| &one.name).collect();
    let views = |views: &[shared::job::View]| views.iter().map(|view| view.name.clone()).collect::<Vec<_>>();
    json!({
        "method": if restore.in_place { "renames" } else { "new" },
        "atomic": false,
        "create": create.collect::<Vec<_>>(),
        "put_aside": aside,
        "aside_prefix": plan.aside_prefix,
        "drop_views": views(&plan.views_out),
        "create_views": views(&plan.views_in),
        "keep_old_s": restore.in_place.then_some(restore.keep_old_s),
    })
}

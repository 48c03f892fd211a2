//! A drill over PostgreSQL: the save restored into a database of the scratch server as any restore does it, compared row for row
//! and object for object, and dropped again. The database never gets a name that anybody looks for: it carries the mark of its
//! job from its first moment, and what a worker that was killed leaves is taken away by the next drill or restore there.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use shared::{
    id::{SaveId, TargetId},
    inventory,
    job::{Compare, Method, OwnerPolicy, Part, PrivilegePolicy, RestoreJob},
    name::DatabaseName,
    save::Mode,
};
use uuid::Uuid;

use super::{
    super::{
        Job, JobError, Restoring,
        compare::{self, MISMATCH},
        source::Source,
        stage::{self, Staged},
        tidy,
    },
    Look, not_compared, some,
};
use crate::{
    engine::{
        DumpMode, Engine as _, Keep, RestoreOptions,
        postgres::archive::outline::{Outline, Outlining},
    },
    handler::scratch::ScratchPlace,
};

/// Restores once from one of these copies. `saved` is what the save would create.
pub(super) async fn once(
    job: &Job,
    save_id: SaveId,
    stores: &BTreeSet<String>,
    scratch: &ScratchPlace,
    saved: Option<&Outline>,
) -> Result<Look<Value>, JobError> {
    let mut source = Source::seen(job, save_id, stores).await?;
    if source.manifest.mode == Mode::Data {
        return Err(JobError::abort(
            "save_without_schema",
            "the save holds data without a schema, which a new database cannot take: it cannot be restored by itself",
            "Verify it with depth decode.",
        ));
    }
    // What may keep us out of it, and is no part of what is compared.
    source.properties.settings.clear();
    source.properties.connection_limit = -1;
    let at = scratch.at.clone();
    let options = RestoreOptions { owner: Keep::None, privileges: Keep::None, replaces: false };
    let (engine, cancel) = (&job.ctx.postgres, &job.lease.cancel);
    let ready = async {
        engine.can_restore(&at, &source.restorable(), cancel).await?;
        engine.end_older_sessions(&at, &at.maintenance_database, cancel).await
    };
    ready.await.map_err(|error| scratch.explained(error))?;
    tidy(job, &at).await;
    let payload = payload(save_id, drill_name(job.lease.fence.job.0)?);
    let restoring = Restoring { job, payload: &payload, at, source, options, capacity: None };
    let Some(staged) = stage::stage(&restoring, &payload.database).await? else {
        return Err(JobError::abort("internal", "a drill's database had a name", "Report this."));
    };
    let found = compared(&restoring, &staged, saved).await;
    let mut report = staged.report(&payload.database, save_id);
    let database = staged.created.database().clone();
    stage::discard(&restoring, staged.created).await;
    let (schema, warnings) = match found? {
        Look::Fine(found) => found,
        Look::Unusable(why) => return Ok(Look::Unusable(why)),
    };
    if let Some(all) = report["warnings"].as_array_mut() {
        all.extend(warnings.into_iter().map(Value::from));
    }
    Ok(Look::Fine(json!({
        "scratch": scratch.name, "database": database, "store": report["store"], "raw_bytes": report["raw_bytes"],
        "compared": report["compared"], "schema": schema, "warnings": report["warnings"],
    })))
}

/// `hf_drill_<the end of the job's id>`: what the database's own name begins with.
fn drill_name(job: Uuid) -> Result<DatabaseName, JobError> {
    let id = job.simple().to_string();
    let short = id.get(id.len() - 8..).unwrap_or_default();
    DatabaseName::parse(format!("hf_drill_{short}"))
        .map_err(|error| JobError::abort("internal", error.to_string(), "Report this."))
}

/// A restore into a new database, owned by the scratch server's user, with all that is compared.
pub(in crate::handler::restore) fn payload(save_id: SaveId, database: DatabaseName) -> RestoreJob {
    RestoreJob {
        v: 1,
        save_id,
        // Nothing of a target is touched.
        target_id: TargetId(Uuid::nil()),
        database,
        owner: OwnerPolicy::None,
        privileges: PrivilegePolicy::None,
        in_place: false,
        method: Method::Auto,
        keep_old_s: 0,
        safety_save_id: None,
        part: Part::default(),
        compare: Compare::Digest,
        stands_by: false,
    }
}

/// The rows were compared as the database was made, if they could be; now its objects are.
async fn compared(
    restoring: &Restoring<'_>,
    staged: &Staged,
    saved: Option<&Outline>,
) -> Result<Look<(Value, Vec<String>)>, JobError> {
    let known = restoring.source.manifest.inventory.as_ref().is_some_and(|saved| saved.v <= inventory::VERSION);
    let rows = staged.compared();
    if known && rows["by"] == "none" {
        return Err(JobError::abort(
            "drill_not_compared",
            format!(
                "the save was restored, and its rows could not be compared: {}",
                rows["why"].as_str().unwrap_or_default()
            ),
            "Give the scratch server's user what it lacks there: best it is a superuser of that server.",
        ));
    }
    let Some(saved) = saved else {
        return Ok(Look::Fine((not_compared("the archive's format is not known"), Vec::new())));
    };
    let restorable = restoring.source.restorable();
    let mut outlining = Outlining::default();
    let database = staged.created.database();
    let major = compare::redump(restoring, database, DumpMode::Schema, |piece| outlining.feed(piece)).await?;
    let client = restoring.job.ctx.postgres.clients.for_server(major)?.0.major;
    let Some(restored) = outlining.outline() else {
        return Ok(Look::Fine((not_compared("the archive's format is not known"), Vec::new())));
    };
    if (major, client) != (restorable.server_major, restorable.tool_major) {
        let why = format!(
            "the scratch server has version {major} and is dumped by the tools of {client}; the save is of {} by {}",
            restorable.server_major, restorable.tool_major
        );
        return Ok(Look::Fine((not_compared(&why), Vec::new())));
    }
    let apart = saved.apart(&restored);
    if !apart.missing.is_empty() {
        let why = format!("{MISMATCH}: the restored database lacks what the save has: {}", some(&apart.missing));
        return Ok(Look::Unusable(why));
    }
    let mut warnings = Vec::new();
    if !apart.otherwise.is_empty() {
        // Servers write some expressions anew each time they read them.
        warnings.push(format!("there, but defined in other words than in the save: {}", some(&apart.otherwise)));
    }
    let schema = json!({
        "by": "definitions", "objects": saved.len(), "same": saved.len() - apart.otherwise.len(),
        "digest": format!("{:032x}", restored.digest()),
    });
    Ok(Look::Fine((schema, warnings)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_is_called_after_its_job() {
        let job = Uuid::now_v7();
        let name = drill_name(job).unwrap();
        assert!(name.as_str().starts_with("hf_drill_") && job.to_string().ends_with(&name.as_str()[9..]), "{name}");
    }
}

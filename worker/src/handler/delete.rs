//! Take a save away (design §3): the manifest of each copy first, without which a copy does not exist, then its other
//! objects, each noted as it goes; the last step, the tombstone, is the runner's finish. Every step finds what an earlier
//! attempt left to do.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::json;
use shared::{
    db::{
        objects::{self, ObjectRow},
        saves,
    },
    job::{DeleteJob, Problem},
    manifest,
    name::Slug,
    save::{ObjectState, SaveState},
};

use super::{Done, Job, JobError};
use crate::{
    record::removal::{Condemned, remove},
    store::{self, Store},
};

/// Removes what is left of the save. Nothing is removed before every store that holds something of it has answered and
/// proven to be ours.
pub async fn run(job: &Job, payload: &DeleteJob) -> Result<Done, JobError> {
    job.phase("preparing").await?;
    let rows = load(job, payload).await?;
    let stores = reach(job, &rows).await?;
    job.phase("deleting").await?;
    let mut bytes = 0;
    let (manifests, others): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.part == manifest::PART);
    for row in manifests.into_iter().chain(others) {
        let Some(store) = stores.get(row.store.as_str()) else { continue };
        let removed = remove(job, store.as_ref(), &Condemned::try_from(row)?).await?;
        tracing::info!(store = row.store, key = row.key, found = ?removed, "object of a save deleted");
        bytes += row.stored_bytes.unwrap_or_default();
    }
    Ok(Done::Plain(json!({
        "save_id": payload.save_id, "objects": rows.len(), "bytes": bytes, "stores": stores.keys().collect::<Vec<_>>(),
    })))
}

/// The objects that are not known to be gone.
async fn load(job: &Job, payload: &DeleteJob) -> Result<Vec<ObjectRow>, JobError> {
    let mut conn = job.ctx.pool.acquire().await?;
    let save = saves::get(&mut conn, payload.save_id).await?;
    if !save.is_some_and(|save| save.state == SaveState::Deleting) {
        return Err(JobError::abort(
            "save_not_deleting",
            format!("save {} is not to be deleted", payload.save_id),
            "Ask for its deletion again.",
        ));
    }
    let rows = objects::of_save(&mut conn, payload.save_id).await?;
    Ok(rows.into_iter().filter(|row| row.state != ObjectState::Deleted).collect())
}

/// The stores of these objects, each of them ours.
async fn reach(job: &Job, rows: &[ObjectRow]) -> Result<BTreeMap<String, Arc<dyn Store>>, JobError> {
    let mut stores = BTreeMap::new();
    for row in rows {
        if stores.contains_key(&row.store) {
            continue;
        }
        let known = Slug::parse(row.store.as_str()).ok().and_then(|name| job.ctx.stores.get(&name));
        let store = known.ok_or_else(|| {
            // Another worker of the group may know it.
            JobError::Retry(Problem::retryable(
                "store_unknown",
                format!("this worker has no store named {}, which holds objects of the save", row.store),
                "Declare the store in the configuration of every worker of the target's group, and delete the save again.",
            ))
        })?;
        store::require_ours(store.as_ref(), job.ctx.installation).await?;
        stores.insert(row.store.clone(), Arc::clone(store));
    }
    Ok(stores)
}

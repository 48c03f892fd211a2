//! A drill over MongoDB: the save restored into a database of its own on the scratch server as any restore does it, compared
//! document for document, then named, and its collections, options, indexes and views compared with what the archive announces.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use shared::{
    db::jobs,
    id::{JobId, SaveId},
};

use super::{
    super::{
        Job, JobError,
        proof::{Look, payload},
        source::Source,
    },
    Chosen, Place, Restoring, require_supported,
    stage::{self, Staged},
};
use crate::{
    engine::{
        Engine as _,
        mongodb::{Session, restore::scratch},
    },
    handler::{heads, scratch::ScratchPlace},
};

/// Restores once from one of these copies.
pub(in crate::handler::restore) async fn once(
    job: &Job,
    save_id: SaveId,
    stores: &BTreeSet<String>,
    server: &ScratchPlace,
) -> Result<Look<Value>, JobError> {
    let source = Source::seen(job, save_id, stores).await?;
    let at = server.at.clone();
    let name = scratch::name(&at)?;
    let payload = payload(save_id, name.clone());
    require_supported(&payload, &source)?;
    let cancel = &job.lease.cancel;
    let ready = async {
        let session = job.ctx.mongodb.session(&at, cancel).await?;
        job.ctx.mongodb.end_older_sessions(&at, &name, cancel).await?;
        Ok(session)
    };
    let session = ready.await.map_err(|error| server.explained(error))?;
    tidy(job, &session, server).await;
    let database = session.database(&name);
    scratch::mark(&database, &at).await?;
    let chosen = Chosen { database: source.manifest.database.as_str().to_owned(), ..Chosen::default() };
    let restoring = Restoring { job, payload: &payload, place: Place { at, session, database }, source, chosen };
    let found = restored(&restoring).await;
    remove(&restoring).await;
    Ok(match found? {
        Look::Fine((staged, report)) => Look::Fine(json!({
            "scratch": server.name, "database": name, "store": staged.store, "raw_bytes": staged.restored.raw_bytes,
            "compared": report, "warnings": staged.loaded.warnings,
        })),
        Look::Unusable(why) => Look::Unusable(why),
    })
}

async fn restored(restoring: &Restoring<'_>) -> Result<Look<(Staged, Value)>, JobError> {
    let Restoring { job, place, source, chosen, .. } = restoring;
    let staged = stage::stage(restoring).await?;
    let named = async {
        scratch::name_all(&place.database, &staged.loaded).await?;
        let prelude = heads::prelude(job, source.copies()).await?;
        Ok::<_, JobError>(scratch::differences(&place.database, &prelude, &chosen.database, &staged.loaded).await?)
    };
    let differing = tokio::select! {
        biased;
        () = job.lease.cancel.cancelled() => return Err(JobError::Stopped),
        named = named => named?,
    };
    if !differing.is_empty() {
        return Ok(Look::Unusable(format!("what was restored is not what was saved: {}", differing.join("; "))));
    }
    let documents: u64 = staged.loaded.collections.iter().map(|collection| collection.tally.documents).sum();
    let indexes: usize = staged.loaded.collections.iter().map(|collection| collection.indexes.len()).sum();
    let report = json!({
        "by": "digest", "collections": staged.loaded.collections.len(), "documents": documents, "indexes": indexes,
        "views": staged.loaded.views.len(),
    });
    Ok(Look::Fine((staged, report)))
}

/// Takes away what drills of ended jobs left on this server, and older attempts of this one. Whatever goes wrong here is no matter
/// of this job.
async fn tidy(job: &Job, session: &Session, server: &ScratchPlace) {
    let own = job.lease.fence.job;
    let tidied = async {
        for id in scratch::left(session.client(), &server.at).await.into_iter().map(JobId) {
            let row = jobs::get(&mut *job.ctx.pool.acquire().await?, id).await?;
            // A job that is not known here is nobody's to decide about.
            if id != own && !row.is_some_and(|row| row.state.is_terminal()) {
                continue;
            }
            let mut at = server.at.clone();
            at.session.job = id.0;
            let database = session.database(&scratch::name(&at)?);
            if scratch::remove(&database, at.installation, id.0).await? {
                tracing::info!(database = database.name(), left.job = %id, "dropped what a drill of an ended attempt left");
            }
        }
        Ok::<_, JobError>(())
    };
    if let Err(error) = tidied.await {
        tracing::warn!(error = &error as &dyn std::error::Error, "what ended drills left could not be taken away");
    }
}

async fn remove(restoring: &Restoring<'_>) {
    let Restoring { job, place, .. } = restoring;
    let removed = scratch::remove(&place.database, place.at.installation, job.lease.fence.job.0).await;
    if let Err(error) = removed {
        tracing::error!(database = place.database.name(), error = %shared::telemetry::Causes(&error), "the database of a drill could not be dropped");
    }
}

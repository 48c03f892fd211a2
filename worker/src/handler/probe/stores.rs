//! The stores of a target, as a backup would find them: there, ours, and closed to strangers.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use serde::Serialize;
use shared::{db::jobs, id::TargetId, job::Problem, name::Slug};

use super::{Job, JobError};
use crate::store::{self, Store};

/// How long a store may take to answer; who asks waits for all of them.
const LOOK_TIMEOUT: Duration = Duration::from_secs(20);

/// What was found of one store.
#[derive(Debug, Serialize)]
pub(super) struct Look {
    pub(super) store: String,
    /// `file`, `gridfs` or `s3`; absent where this worker does not have the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    /// Whether a backup of now could put a copy there.
    pub(super) fit: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) problem: Option<Problem>,
}

/// Looks at all of them at once. An error where fewer are fit than the target requires: no backup could succeed.
pub(super) async fn look(job: &Job, target: TargetId) -> Result<Vec<Look>, JobError> {
    let place = jobs::place(&mut *job.ctx.pool.acquire().await?, target).await?;
    let Some(place) = place else { return Ok(Vec::new()) };
    let looks = join_all(place.stores.into_iter().map(|name| one(job, name))).await;
    if job.lease.cancel.is_cancelled() {
        return Err(JobError::Stopped);
    }
    let fit = looks.iter().filter(|look| look.fit).count();
    if i32::try_from(fit).unwrap_or(i32::MAX) >= place.required_copies {
        return Ok(looks);
    }
    let Some(problem) = looks.into_iter().find_map(|look| look.problem) else { return Ok(Vec::new()) };
    Err(if problem.retryable { JobError::Retry(problem) } else { JobError::Abort(problem) })
}

async fn one(job: &Job, name: String) -> Look {
    let store = Slug::parse(name.as_str()).ok().and_then(|name| job.ctx.stores.get(&name));
    let Some(store) = store else {
        let message = format!("this worker has no store named {name}");
        let hint = "Declare the store in the configuration of every worker of the target's group.";
        return Look {
            store: name,
            kind: None,
            fit: false,
            problem: Some(Problem::permanent("store_unknown", message, hint)),
        };
    };
    let looked = tokio::select! {
        () = job.lease.cancel.cancelled() => Err(JobError::Stopped),
        looked = tokio::time::timeout(LOOK_TIMEOUT, inspect(job, store)) => looked.unwrap_or_else(|_| {
            let message = format!("store {name} has not answered for {} s", LOOK_TIMEOUT.as_secs());
            let hint = "Check that the store runs, is mounted, and that this worker may connect to it.";
            Err(JobError::Retry(Problem::retryable("store_unreachable", message, hint)))
        }),
    };
    let problem = match looked {
        Ok(()) => None,
        Err(JobError::Retry(problem) | JobError::Abort(problem)) => Some(problem),
        Err(JobError::Stopped) => Some(Problem::retryable("stopped", "the job was stopped", "")),
    };
    Look { store: name, kind: Some(store.kind()), fit: problem.is_none(), problem }
}

async fn inspect(job: &Job, store: &Arc<dyn Store>) -> Result<(), JobError> {
    store.inspect().await?;
    store::require_ours(store.as_ref(), job.ctx.installation).await?;
    Ok(())
}

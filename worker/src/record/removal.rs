//! An object on its way out: the bytes, then the row. Both steps are repeated harmlessly, so that a crash between them
//! costs nothing.

use shared::{
    db::{deletion, gc::DeadObject, objects::ObjectRow},
    failpoint,
    id::ObjectId,
    name::StoreKey,
};
use sqlx::Acquire;

use crate::{
    handler::{Job, JobError},
    lease::Stop,
    store::{Removed, Store, UploadRef},
};

/// What a row says of an object that is to go.
#[derive(Debug)]
pub struct Condemned {
    id: ObjectId,
    pub key: StoreKey,
    at: UploadRef,
}

impl Condemned {
    fn parse(id: ObjectId, key: &str, at: &str) -> Result<Self, JobError> {
        let unreadable = |problem: String| {
            JobError::abort(
                "row_unreadable",
                format!("the row of object {id} cannot be used: {problem}"),
                "This is a fault of Holdfast: report it.",
            )
        };
        let key = StoreKey::parse(key).map_err(|error| unreadable(error.to_string()))?;
        let at = UploadRef::parse(at).map_err(|error| unreadable(error.to_string()))?;
        Ok(Self { id, key, at })
    }
}

impl TryFrom<&ObjectRow> for Condemned {
    type Error = JobError;

    fn try_from(row: &ObjectRow) -> Result<Self, JobError> {
        Self::parse(row.id, &row.key, &row.upload_ref)
    }
}

impl TryFrom<&DeadObject> for Condemned {
    type Error = JobError;

    fn try_from(row: &DeadObject) -> Result<Self, JobError> {
        Self::parse(row.id, &row.key, &row.upload_ref)
    }
}

/// Takes the object and what an upload of it left from the store, and notes so. The store must be ours: ask
/// [`require_ours`](crate::store::require_ours) first.
pub async fn remove(job: &Job, store: &dyn Store, object: &Condemned) -> Result<Removed, JobError> {
    if job.lease.cancel.is_cancelled() {
        return Err(JobError::Stopped);
    }
    // Uploads first: one that is not so dead after all finds its bytes gone and cannot commit them any more.
    store.discard(&object.key, &object.at).await?;
    let removed = store.delete(&object.key).await?;
    let mut conn = job.ctx.pool.acquire().await?;
    let mut tx = conn.begin().await?;
    if !deletion::object_gone(&mut tx, job.lease.fence, object.id).await? {
        job.lease.stop(Stop::Lost);
        return Err(JobError::Stopped);
    }
    failpoint!("removal.commit.before");
    tx.commit().await?;
    failpoint!("removal.commit.after");
    Ok(removed)
}

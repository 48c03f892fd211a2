//! Objects: named by a committed row before their first byte, so that nothing can lie in a store that no row knows.

use sqlx::PgConnection;

use super::{
    DbError,
    claim::{Fence, owns},
    ensure_rows,
};
use crate::{
    id::{ObjectId, SaveId},
    save::ObjectState,
};

/// An object about to be written.
#[derive(Debug, Clone)]
pub struct NewObject {
    pub id: ObjectId,
    pub save_id: SaveId,
    pub store: String,
    pub key: String,
    pub part: String,
    pub upload_ref: String,
}

/// An object as it stands.
#[derive(Debug, Clone)]
pub struct ObjectRow {
    pub id: ObjectId,
    pub save_id: SaveId,
    pub epoch: i64,
    pub store: String,
    pub key: String,
    pub part: String,
    pub upload_ref: String,
    pub state: ObjectState,
    pub raw_bytes: Option<i64>,
    pub stored_bytes: Option<i64>,
    pub blake3: Option<Vec<u8>>,
    pub sha256: Option<Vec<u8>>,
}

/// What is known of an object once its bytes lie there.
#[derive(Debug, Clone, Copy)]
pub struct StoredFacts {
    /// Of the whole, with its first object; none with what a long dump goes on in.
    pub raw: Option<RawFacts>,
    pub stored_bytes: u64,
    pub sha256: [u8; 32],
}

/// What is known of raw bytes, which are the same in each copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawFacts {
    pub bytes: u64,
    pub blake3: [u8; 32],
}

/// Names an object that is about to be written. `false`: the lease is lost, write nothing.
///
/// Run it in a transaction of its own and commit before the first byte.
pub async fn insert(tx: &mut PgConnection, fence: Fence, object: &NewObject) -> Result<bool, DbError> {
    if !owns(tx, fence).await? {
        return Ok(false);
    }
    sqlx::query!(
        "INSERT INTO save_objects (id, save_id, job_id, epoch, store, key, part, upload_ref)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        object.id.0,
        object.save_id.0,
        fence.job.0,
        fence.epoch,
        object.store,
        object.key,
        object.part,
        object.upload_ref
    )
    .execute(tx)
    .await?;
    Ok(true)
}

/// Uploading → stored, inside the fenced finish of the backup.
pub async fn set_stored(conn: &mut PgConnection, id: ObjectId, facts: &StoredFacts) -> Result<(), DbError> {
    let done = sqlx::query!(
        "UPDATE save_objects SET state = 'stored', raw_bytes = $2, stored_bytes = $3, blake3 = $4, sha256 = $5,
             updated_at = clock_timestamp() WHERE id = $1 AND state = 'uploading'",
        id.0,
        facts.raw.map(|raw| i64::try_from(raw.bytes).unwrap_or(i64::MAX)),
        i64::try_from(facts.stored_bytes).unwrap_or(i64::MAX),
        facts.raw.as_ref().map(|raw| raw.blake3.as_slice()),
        facts.sha256.as_slice()
    )
    .execute(conn)
    .await?;
    ensure_rows("save_objects", &done, 1)
}

/// Uploading → deleted: the attempt that wrote it has removed it again. Not fenced: it speaks of this object alone.
pub async fn set_discarded(conn: &mut PgConnection, id: ObjectId) -> Result<(), DbError> {
    sqlx::query!(
        "UPDATE save_objects SET state = 'deleted', updated_at = clock_timestamp() WHERE id = $1 AND state = 'uploading'",
        id.0
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The objects of a save, in the order they were named.
pub async fn of_save(conn: &mut PgConnection, save: SaveId) -> Result<Vec<ObjectRow>, DbError> {
    Ok(sqlx::query_as!(
        ObjectRow,
        "SELECT id, save_id, epoch, store, key, part, upload_ref, state, raw_bytes, stored_bytes, blake3, sha256
         FROM save_objects WHERE save_id = $1 ORDER BY id",
        save.0
    )
    .fetch_all(conn)
    .await?)
}

/// The stored objects of one copy, in order of their names: those of a dump are one stream in this order.
pub async fn of_copy(conn: &mut PgConnection, save: SaveId, store: &str) -> Result<Vec<ObjectRow>, DbError> {
    Ok(sqlx::query_as!(
        ObjectRow,
        "SELECT o.id, o.save_id, o.epoch, o.store, o.key, o.part, o.upload_ref, o.state, o.raw_bytes, o.stored_bytes, o.blake3, o.sha256
         FROM save_objects o JOIN save_copies c ON c.save_id = o.save_id AND c.store = o.store AND c.epoch = o.epoch
         WHERE o.save_id = $1 AND o.store = $2 AND o.state = 'stored' ORDER BY o.part, o.id",
        save.0,
        store
    )
    .fetch_all(conn)
    .await?)
}

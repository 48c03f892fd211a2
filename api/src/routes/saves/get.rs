//! `GET /v1/saves/{id}`: with its copies, objects, verifications and manifest.

use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use shared::{
    db::{
        objects,
        saves::{self, SaveRow},
        verify,
    },
    id::{JobId, ObjectId, SaveId},
    job::Problem,
    manifest::{Encoding, Manifest, Sealing},
    save::{CopyState, ObjectState},
    schedule::Depth,
};
use sqlx::PgConnection;

use super::Save;
use crate::{call::Call, error::ApiError, extract::Path, rbac::Permission};

/// A save with everything that is known of it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct WholeSave {
    #[serde(flatten)]
    save: Save,
    copies: Vec<Copy>,
    objects: Vec<Object>,
    /// The latest 20 that came to an end, the newest first.
    verifications: Vec<Verified>,
    /// As it lies beside the objects of the first good copy; none: the save is not done.
    manifest: Option<Manifest>,
}

/// A save in one store.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Copy {
    #[schema(example = "main")]
    store: String,
    state: CopyState,
    stored_bytes: Option<i64>,
    /// What was done to the raw bytes, in order; absent while there is no copy.
    encodings: Option<Vec<Encoding>>,
    /// To whom it is encrypted: public keys, or that a passphrase opens it. Null where it is not, or that is not known.
    encryption: Option<Sealing>,
    /// What is wrong with it.
    error: Option<Problem>,
    updated_at: DateTime<Utc>,
}

/// One blob of a copy.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Object {
    id: ObjectId,
    #[schema(example = "main")]
    store: String,
    /// Where it lies in the store.
    key: String,
    #[schema(example = "dump.0001")]
    part: String,
    /// The fencing number of the attempt that wrote it.
    epoch: i64,
    state: ObjectState,
    raw_bytes: Option<i64>,
    stored_bytes: Option<i64>,
    /// Of the raw bytes, in hex.
    blake3: Option<String>,
    /// Of the stored bytes, in hex: `sha256sum` checks it.
    sha256: Option<String>,
}

/// How many verifications are shown.
const VERIFICATIONS: i64 = 20;

/// A verification that came to an end, whatever it found.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = SaveVerification)]
struct Verified {
    job_id: Option<JobId>,
    depth: Depth,
    /// Whether enough copies were good and the save is of use, as far as it looked.
    passed: bool,
    at: DateTime<Utc>,
    #[schema(example = 1200)]
    duration_ms: i64,
    /// What was looked at, what was compared, and what differed, in words: the job's result.
    #[schema(value_type = Object)]
    result: Value,
}

/// The save with all that belongs to it.
pub async fn whole(conn: &mut PgConnection, mut row: SaveRow) -> Result<WholeSave, ApiError> {
    let manifest = row.manifest.take().map(|manifest| manifest.0);
    // Copies of before they had encodings of their own are as the manifest says.
    let of_all = manifest.as_ref().map(|manifest| manifest.encodings.clone());
    let copies = saves::copies(conn, row.id).await?.into_iter().map(|row| Copy {
        store: row.store,
        state: row.state,
        encodings: row.stored_bytes.and_then(|_| row.encodings.map(|own| own.0).or_else(|| of_all.clone())),
        encryption: row.sealing.map(|sealing| sealing.0),
        stored_bytes: row.stored_bytes,
        error: row.error.map(|error| error.0),
        updated_at: row.updated_at,
    });
    let objects = objects::of_save(conn, row.id).await?.into_iter().map(|row| Object {
        id: row.id,
        store: row.store,
        key: row.key,
        part: row.part,
        epoch: row.epoch,
        state: row.state,
        raw_bytes: row.raw_bytes,
        stored_bytes: row.stored_bytes,
        blake3: row.blake3.map(hex::encode),
        sha256: row.sha256.map(hex::encode),
    });
    let verifications = verify::latest(conn, row.id, VERIFICATIONS).await?.into_iter().map(|row| Verified {
        job_id: row.job_id,
        depth: row.depth,
        passed: row.passed,
        at: row.at,
        duration_ms: row.duration_ms,
        result: row.result.0,
    });
    Ok(WholeSave {
        copies: copies.collect(),
        objects: objects.collect(),
        verifications: verifications.collect(),
        manifest,
        save: row.into(),
    })
}

/// Shows a save with its copies, objects, verifications and manifest.
#[utoipa::path(get, path = "/v1/saves/{id}", responses((status = 200, body = WholeSave)))]
pub async fn handle(call: Call, Path(id): Path<SaveId>) -> Result<Response, ApiError> {
    let mut conn = call.conn().await?;
    let row = saves::get(&mut conn, id).await?.ok_or(ApiError::NotFound("save"))?;
    call.authorize(Permission::SaveRead, Some(row.service_id))?;
    call.show(&whole(&mut conn, row).await?)
}

//! `GET /v1/saves/{id}`: with its copies, objects and manifest.

use axum::Json;
use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::{
    db::{objects, saves},
    id::{ObjectId, SaveId},
    job::Problem,
    manifest::{Encoding, Manifest, Sealing},
    save::{CopyState, ObjectState},
};

use super::Save;
use crate::{call::Call, error::ApiError, extract::Path, rbac::Permission};

#[derive(Debug, Serialize)]
pub struct WholeSave {
    #[serde(flatten)]
    save: Save,
    copies: Vec<Copy>,
    objects: Vec<Object>,
    manifest: Option<Manifest>,
}

#[derive(Debug, Serialize)]
struct Copy {
    store: String,
    state: CopyState,
    stored_bytes: Option<i64>,
    /// What was done to the raw bytes, in order; absent while there is no copy.
    encodings: Option<Vec<Encoding>>,
    /// To whom it is encrypted: public keys, or that a passphrase opens it. Null where it is not, or that is not known.
    encryption: Option<Sealing>,
    error: Option<Problem>,
    updated_at: DateTime<Utc>,
}

#[derive(Debug, Serialize)]
struct Object {
    id: ObjectId,
    store: String,
    key: String,
    part: String,
    epoch: i64,
    state: ObjectState,
    raw_bytes: Option<i64>,
    stored_bytes: Option<i64>,
    blake3: Option<String>,
    sha256: Option<String>,
}

pub async fn handle(call: Call, Path(id): Path<SaveId>) -> Result<Json<WholeSave>, ApiError> {
    let mut conn = call.conn().await?;
    let mut row = saves::get(&mut conn, id).await?.ok_or(ApiError::NotFound("save"))?;
    call.authorize(Permission::SaveRead, Some(row.service_id))?;
    let manifest = row.manifest.take().map(|manifest| manifest.0);
    // Copies of before they had encodings of their own are as the manifest says.
    let of_all = manifest.as_ref().map(|manifest| manifest.encodings.clone());
    let copies = saves::copies(&mut conn, id).await?.into_iter().map(|row| Copy {
        store: row.store,
        state: row.state,
        encodings: row.stored_bytes.and_then(|_| row.encodings.map(|own| own.0).or_else(|| of_all.clone())),
        encryption: row.sealing.map(|sealing| sealing.0),
        stored_bytes: row.stored_bytes,
        error: row.error.map(|error| error.0),
        updated_at: row.updated_at,
    });
    let objects = objects::of_save(&mut conn, id).await?.into_iter().map(|row| Object {
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
    Ok(Json(WholeSave { copies: copies.collect(), objects: objects.collect(), manifest, save: row.into() }))
}

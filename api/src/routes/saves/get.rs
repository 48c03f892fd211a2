//! `GET /v1/saves/{id}`: with its copies, objects and manifest.

use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::{
    db::{
        objects,
        saves::{self, SaveRow},
    },
    id::{ObjectId, SaveId},
    job::Problem,
    manifest::Manifest,
    save::{CopyState, ObjectState},
};
use sqlx::PgConnection;

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

/// The save with all that belongs to it.
pub async fn whole(conn: &mut PgConnection, mut row: SaveRow) -> Result<WholeSave, ApiError> {
    let copies = saves::copies(conn, row.id).await?.into_iter().map(|row| Copy {
        store: row.store,
        state: row.state,
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
    let manifest = row.manifest.take().map(|manifest| manifest.0);
    Ok(WholeSave { copies: copies.collect(), objects: objects.collect(), manifest, save: row.into() })
}

pub async fn handle(call: Call, Path(id): Path<SaveId>) -> Result<Response, ApiError> {
    let mut conn = call.conn().await?;
    let row = saves::get(&mut conn, id).await?.ok_or(ApiError::NotFound("save"))?;
    call.authorize(Permission::SaveRead, Some(row.service_id))?;
    call.show(&whole(&mut conn, row).await?)
}

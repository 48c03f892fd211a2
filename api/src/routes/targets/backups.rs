//! `POST /v1/targets/{id}/backups`: a save of the target. A job.

use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use shared::{
    db::jobs,
    enqueue::{self, BackupRequest},
    id::TargetId,
    job::TableName,
    name::{CollectionName, Slug},
    save::{Mode, Origin},
    server::Engine,
};

use crate::{
    audit::Change,
    call::Call,
    error::ApiError,
    extract::{Json, Path, short},
    rbac::Permission,
    routes::jobs::{Job, WaitQuery, check_priority, queued, refused},
};

const MAX_TABLES: usize = 500;

#[derive(Debug, Deserialize, utoipa::ToSchema)]
/// A save that is wanted.
#[schema(example = json!({ "mode": "all", "note": "before the move" }))]
#[serde(deny_unknown_fields)]
pub struct CreateBackup {
    /// Structure and rows (`all`, unless said otherwise), or one of them. MongoDB: `all`.
    mode: Option<Mode>,
    /// Only these; empty: all.
    #[serde(default)]
    #[schema(max_items = 500)]
    tables: Vec<TableName>,
    /// Not these.
    #[serde(default)]
    #[schema(max_items = 500)]
    exclude_tables: Vec<TableName>,
    /// Of a `MongoDB` target only these; empty: all.
    #[serde(default)]
    #[schema(max_items = 500)]
    collections: Vec<CollectionName>,
    /// Not these.
    #[serde(default)]
    #[schema(max_items = 500)]
    exclude_collections: Vec<CollectionName>,
    /// Some of the target's stores; empty: all.
    #[serde(default)]
    stores: Vec<Slug>,
    /// The higher the sooner; 5 unless said otherwise.
    #[schema(minimum = 0, maximum = 9)]
    priority: Option<i16>,
    /// For people.
    #[serde(default)]
    #[schema(max_length = 500)]
    note: String,
}

impl CreateBackup {
    fn check(&self) -> Result<(), ApiError> {
        check_priority(self.priority)?;
        for (pointer, tables) in [("/tables", &self.tables), ("/exclude_tables", &self.exclude_tables)] {
            if tables.len() > MAX_TABLES {
                return Err(ApiError::field(pointer, format!("names more than {MAX_TABLES} tables")));
            }
        }
        for (pointer, names) in
            [("/collections", &self.collections), ("/exclude_collections", &self.exclude_collections)]
        {
            if names.len() > MAX_TABLES {
                return Err(ApiError::field(pointer, format!("names more than {MAX_TABLES} collections")));
            }
        }
        for (index, store) in self.stores.iter().enumerate() {
            if self.stores.iter().take(index).any(|before| before == store) {
                return Err(ApiError::field(format!("/stores/{index}"), "is named twice"));
            }
        }
        short("/note", &self.note, 500)
    }

    /// What only one kind of database has.
    fn fits(&self, engine: Engine) -> Result<(), ApiError> {
        let has_collections = "is for MongoDB targets: a PostgreSQL database has tables";
        let has_tables = "is for PostgreSQL targets: a MongoDB database has collections";
        let unfit = match engine {
            Engine::Postgres => [
                ("/collections", has_collections, !self.collections.is_empty()),
                ("/exclude_collections", has_collections, !self.exclude_collections.is_empty()),
                ("", "", false),
            ],
            Engine::Mongodb => [
                ("/tables", has_tables, !self.tables.is_empty()),
                ("/exclude_tables", has_tables, !self.exclude_tables.is_empty()),
                (
                    "/mode",
                    "must be \"all\": in an archive of MongoDB structure and documents go together",
                    self.mode.is_some_and(|mode| mode != Mode::All),
                ),
            ],
        };
        match unfit.into_iter().find(|(_, _, given)| *given) {
            Some((pointer, detail, _)) => Err(ApiError::field(pointer, detail)),
            None => Ok(()),
        }
    }
}

/// Saves a target.
///
/// A job: `?wait=30s` answers when it has ended or the time is up.
#[utoipa::path(
    post, path = "/v1/targets/{id}/backups",
    params(WaitQuery),
    request_body = CreateBackup,
    responses((status = 202, body = Job)),
)]
pub async fn handle(
    call: Call<WaitQuery>,
    Path(id): Path<TargetId>,
    Json(body): Json<CreateBackup>,
) -> Result<Response, ApiError> {
    let permission = Permission::BackupCreate;
    let wait = call.query.wait(&call.state)?;
    body.check()?;
    let mut tx = call.begin().await?;
    let place = jobs::place(&mut tx, id).await?.ok_or(ApiError::NotFound("target"))?;
    call.authorize(permission, Some(place.service_id))?;
    body.fits(place.engine)?;
    let wanted = BackupRequest {
        target_id: id,
        mode: body.mode.unwrap_or(Mode::All),
        tables: body.tables,
        exclude_tables: body.exclude_tables,
        collections: body.collections,
        exclude_collections: body.exclude_collections,
        stores: body.stores.into_iter().map(String::from).collect(),
        origin: Origin::Manual,
        note: body.note,
    };
    let (job, save) = enqueue::backup(&mut tx, &place, wanted, &call.asked(body.priority)).await.map_err(refused)?;
    let detail = json!({ "job_id": job.id, "save_id": save });
    call.commit(tx, Change::new(permission, id, Some(place.service_id), detail)).await?;
    queued(&call.state, job, wait).await
}

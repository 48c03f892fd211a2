//! `POST /v1/targets/{id}/backups`: a save of the target. A job.

use axum::{Extension, extract::State, response::Response};
use serde::Deserialize;
use shared::{
    db::targets,
    enqueue::{self, BackupRequest},
    id::TargetId,
    job::TableName,
    name::Slug,
    save::{Mode, Origin},
};

use crate::{
    audit::{Change, changed},
    auth::Identity,
    error::ApiError,
    extract::{Json, Path, Query},
    gate::Context,
    rbac::{Permission, authorize},
    routes::{
        jobs::{WaitQuery, accepted, asked, refused},
        services::text,
    },
    state::AppState,
};

const MAX_TABLES: usize = 500;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateBackup {
    mode: Option<Mode>,
    /// Only these; empty: all.
    #[serde(default)]
    tables: Vec<TableName>,
    #[serde(default)]
    exclude_tables: Vec<TableName>,
    /// Some of the target's stores; empty: all.
    #[serde(default)]
    stores: Vec<Slug>,
    priority: Option<i16>,
    #[serde(default)]
    note: String,
}

impl CreateBackup {
    fn check(&self) -> Result<(), ApiError> {
        if self.priority.is_some_and(|p| !(0..=9).contains(&p)) {
            return Err(ApiError::field("/priority", "must be 0 to 9"));
        }
        for (pointer, tables) in [("/tables", &self.tables), ("/exclude_tables", &self.exclude_tables)] {
            if tables.len() > MAX_TABLES {
                return Err(ApiError::field(pointer, format!("names more than {MAX_TABLES} tables")));
            }
        }
        for (index, store) in self.stores.iter().enumerate() {
            if self.stores.iter().take(index).any(|before| before == store) {
                return Err(ApiError::field(format!("/stores/{index}"), "is named twice"));
            }
        }
        text("/note", &self.note, 500)
    }
}

pub async fn handle(
    State(state): State<AppState>,
    Extension(context): Extension<Context>,
    who: Identity,
    Path(id): Path<TargetId>,
    Query(query): Query<WaitQuery>,
    Json(body): Json<CreateBackup>,
) -> Result<Response, ApiError> {
    let wait = query.wait(&state)?;
    body.check()?;
    let mut tx = state.pool.begin().await?;
    let target = targets::get(&mut tx, id).await?.ok_or(ApiError::NotFound("target"))?;
    let permission = Permission::BackupCreate;
    authorize(&who, permission, Some(target.service_id))?;
    let wanted = BackupRequest {
        target_id: id,
        mode: body.mode.unwrap_or(Mode::All),
        tables: body.tables,
        exclude_tables: body.exclude_tables,
        stores: body.stores.into_iter().map(String::from).collect(),
        origin: Origin::Manual,
        note: body.note,
    };
    let (job, save) =
        enqueue::backup(&mut tx, wanted, &asked(&state, &who, &context, body.priority)).await.map_err(refused)?;
    let detail = serde_json::json!({ "job_id": job, "save_id": save });
    let service = Some(target.service_id);
    changed(
        &mut tx,
        &who,
        &context,
        Change { action: permission.name(), resource: "target", id: id.to_string(), service, detail },
    )
    .await?;
    tx.commit().await?;
    accepted(&state, job, wait).await
}

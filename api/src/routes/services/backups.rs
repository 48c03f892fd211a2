//! `POST /v1/services/{id}/backups`: a save of every target of the service. A group of jobs, asked for in one transaction.

use std::collections::HashMap;

use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::{
    db::{servers, services, targets},
    enqueue::{self, BackupRequest, EnqueueError},
    id::{GroupId, JobId, SaveId, ServerId, ServiceId, TargetId},
    name::Slug,
    save::{Mode, Origin},
    server::Engine,
};
use sqlx::PgConnection;

use super::hidden;
use crate::{
    audit::Change,
    call::Call,
    error::ApiError,
    extract::{Json, Path, short},
    rbac::Permission,
    routes::{
        groups,
        jobs::{WaitQuery, check_priority, refused},
    },
};

#[derive(Debug, Deserialize, utoipa::ToSchema)]
/// Saves that are wanted.
#[schema(example = json!({ "note": "before the move" }))]
#[serde(deny_unknown_fields)]
pub struct CreateBackups {
    /// What is dumped; all, unless said otherwise. Targets of `MongoDB` know no other.
    mode: Option<Mode>,
    /// Some of the stores, for targets that have all of them; empty: each target's own.
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

/// What was asked for. The group is followed at `/v1/groups/{group_id}`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = BackupsAsked)]
pub struct Asked {
    pub group_id: GroupId,
    pub jobs: Vec<Queued>,
    /// The targets that are not backed up, and why.
    pub refused: Vec<Refused>,
    /// The job that keeps what the service's broker is made of; null: it has none.
    pub definitions_job_id: Option<JobId>,
}

/// A target that will be backed up.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = BackupQueued)]
pub struct Queued {
    pub target_id: TargetId,
    pub target: Slug,
    pub job_id: JobId,
    pub save_id: SaveId,
}

/// A target that cannot be backed up so.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = BackupRefused)]
pub struct Refused {
    pub target_id: TargetId,
    pub target: Slug,
    pub detail: String,
}

/// Saves every target of a service.
///
/// A group of jobs, asked for together; `?wait=30s` answers when all have ended or the time is up.
#[utoipa::path(
    post, path = "/v1/services/{id}/backups",
    params(WaitQuery),
    request_body = CreateBackups,
    responses((status = 202, body = Asked), (status = 409, description = "no target can be backed up")),
)]
pub async fn handle(
    call: Call<WaitQuery>,
    Path(id): Path<ServiceId>,
    Json(body): Json<CreateBackups>,
) -> Result<Response, ApiError> {
    let permission = Permission::BackupCreate;
    call.authorize(permission, Some(id)).map_err(hidden)?;
    let wait = call.query.wait(&call.state)?;
    check_priority(body.priority)?;
    short("/note", &body.note, 500)?;
    let mut tx = call.begin().await?;
    services::get(&mut tx, id).await?.ok_or(ApiError::NotFound("service"))?;
    let (group, asked) = (GroupId::generate(), call.asked(body.priority));
    let (mut queued, mut not) = (Vec::new(), Vec::new());
    let mut engines = HashMap::new();
    let (rows, _) = targets::list(&mut tx, Some(&[id]), None, i64::MAX, 0).await?;
    for row in rows {
        let engine = engine(&mut tx, &mut engines, row.server_id).await?;
        let outcome = if engine == Engine::Mongodb && body.mode.is_some_and(|mode| mode != Mode::All) {
            Err("in an archive of MongoDB structure and documents go together".to_owned())
        } else {
            let wanted = BackupRequest {
                target_id: row.id,
                mode: body.mode.unwrap_or(Mode::All),
                tables: Vec::new(),
                exclude_tables: Vec::new(),
                collections: Vec::new(),
                exclude_collections: Vec::new(),
                stores: body.stores.iter().cloned().map(String::from).collect(),
                origin: Origin::Manual,
                note: body.note.clone(),
            };
            match enqueue::backup_in(&mut tx, wanted, Some(group), &asked).await {
                Ok(ids) => Ok(ids),
                Err(error @ EnqueueError::StoreUnknown { .. }) => Err(error.to_string()),
                Err(error) => return Err(refused(error)),
            }
        };
        match outcome {
            Ok((job_id, save_id)) => queued.push(Queued { target_id: row.id, target: row.name, job_id, save_id }),
            Err(detail) => not.push(Refused { target_id: row.id, target: row.name, detail }),
        }
    }
    if queued.is_empty() {
        let why = not.first().map_or_else(|| "it has none".to_owned(), |one| format!("{}: {}", one.target, one.detail));
        return Err(ApiError::Conflict(format!("no target of the service can be backed up; {why}")));
    }
    let definitions = enqueue::definitions(&mut tx, id, Some(group), &asked).await.map_err(refused)?;
    let detail = json!({
        "definitions_job_id": definitions, "group_id": group, "jobs": queued.iter().map(|one| one.job_id).collect::<Vec<_>>(),
        "refused": not.iter().map(|one| one.target_id).collect::<Vec<_>>(),
    });
    let change = Change { resource: "service", ..Change::new(permission, id, Some(id), detail) };
    let answer = Asked { group_id: group, jobs: queued, refused: not, definitions_job_id: definitions };
    groups::answer(&call, tx, change, group, answer, wait).await
}

async fn engine(
    tx: &mut PgConnection,
    known: &mut HashMap<ServerId, Engine>,
    server: ServerId,
) -> Result<Engine, ApiError> {
    if let Some(engine) = known.get(&server) {
        return Ok(*engine);
    }
    let engine = servers::get(tx, server).await?.ok_or(ApiError::NotFound("server"))?.engine;
    known.insert(server, engine);
    Ok(engine)
}

//! `PATCH /v1/servers/{id}`. The engine stays: the saves of its targets are of it.

use axum::{Extension, Json as Answer, extract::State};
use serde::Deserialize;
use shared::{
    db::servers,
    id::ServerId,
    name::{DatabaseName, HostName, Slug},
    server::TlsMode,
};

use super::{Server, check, taken};
use crate::{
    audit::{Change, changed},
    auth::Identity,
    error::{ApiError, OnConstraint},
    extract::{Json, Path},
    gate::Context,
    rbac::{Permission, authorize},
    state::AppState,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateServer {
    name: Option<Slug>,
    host: Option<HostName>,
    port: Option<u16>,
    tls_mode: Option<TlsMode>,
    tls_ca_pem: Option<String>,
    maintenance_database: Option<DatabaseName>,
    max_jobs: Option<i32>,
}

pub async fn handle(
    State(state): State<AppState>,
    Extension(context): Extension<Context>,
    who: Identity,
    Path(id): Path<ServerId>,
    Json(body): Json<UpdateServer>,
) -> Result<Answer<Server>, ApiError> {
    authorize(&who, Permission::ServerUpdate, None)?;
    let mut tx = state.pool.begin().await?;
    let mut row = servers::lock(&mut tx, id).await?.ok_or(ApiError::NotFound("server"))?;
    row.name = body.name.unwrap_or(row.name);
    row.host = body.host.unwrap_or(row.host);
    row.port = body.port.map_or(row.port, i32::from);
    row.tls_mode = body.tls_mode.unwrap_or(row.tls_mode);
    row.tls_ca_pem = body.tls_ca_pem.or(row.tls_ca_pem);
    row.maintenance_database = body.maintenance_database.unwrap_or(row.maintenance_database);
    row.max_jobs = body.max_jobs.unwrap_or(row.max_jobs);
    check(&row)?;
    servers::update(&mut tx, &row).await.on_constraint("servers_name_key", taken)?;
    let row = servers::get(&mut tx, id).await?.ok_or(ApiError::NotFound("server"))?;
    let detail = serde_json::json!({ "name": row.name, "host": row.host, "port": row.port, "max_jobs": row.max_jobs });
    let change = Change {
        action: Permission::ServerUpdate.name(),
        resource: "server",
        id: id.to_string(),
        service: None,
        detail,
    };
    changed(&mut tx, &who, &context, change).await?;
    tx.commit().await?;
    Ok(Answer(row.into()))
}

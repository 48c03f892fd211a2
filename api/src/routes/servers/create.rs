//! `POST /v1/servers`.

use axum::{
    Extension, Json as Answer,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use serde::Deserialize;
use shared::{
    db::servers::{self, ServerRow},
    id::ServerId,
    name::{DatabaseName, HostName, NameError, Slug},
    server::{Engine, TlsMode},
};

use super::{Server, check, taken};
use crate::{
    audit::{Change, changed},
    auth::Identity,
    error::{ApiError, OnConstraint},
    extract::Json,
    gate::Context,
    rbac::{Permission, authorize},
    state::AppState,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateServer {
    name: Slug,
    engine: Engine,
    host: HostName,
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
    Json(body): Json<CreateServer>,
) -> Result<impl IntoResponse, ApiError> {
    authorize(&who, Permission::ServerCreate, None)?;
    let maintenance = match (body.maintenance_database, body.engine) {
        (Some(name), _) => Ok(name),
        (None, Engine::Postgres) => DatabaseName::parse("postgres"),
        (None, Engine::Mongodb) => DatabaseName::parse("admin"),
    };
    let now = chrono::Utc::now();
    let row = ServerRow {
        id: ServerId::generate(),
        name: body.name,
        engine: body.engine,
        host: body.host,
        port: body.port.unwrap_or(body.engine.default_port()).into(),
        tls_mode: body.tls_mode.unwrap_or(TlsMode::Prefer),
        tls_ca_pem: body.tls_ca_pem,
        maintenance_database: maintenance
            .map_err(|e: NameError| ApiError::field("/maintenance_database", e.to_string()))?,
        max_jobs: body.max_jobs.unwrap_or(2),
        created_at: now,
        updated_at: now,
    };
    check(&row)?;
    let mut tx = state.pool.begin().await?;
    servers::insert(&mut tx, &row).await.on_constraint("servers_name_key", taken)?;
    let id = row.id;
    let row = servers::get(&mut tx, id).await?.ok_or(ApiError::NotFound("server"))?;
    let detail = serde_json::json!({ "name": row.name, "host": row.host, "port": row.port });
    let change = Change {
        action: Permission::ServerCreate.name(),
        resource: "server",
        id: id.to_string(),
        service: None,
        detail,
    };
    changed(&mut tx, &who, &context, change).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, [(header::LOCATION, format!("/v1/servers/{id}"))], Answer(Server::from(row))))
}

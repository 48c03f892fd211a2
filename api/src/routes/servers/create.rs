//! `POST /v1/servers`.

use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use shared::{
    db::servers::{self, ServerRow},
    id::ServerId,
    name::{DatabaseName, HostName, NameError, Slug},
    server::{Auth, Engine, MongoUri, TlsMode},
};

use super::{Server, check, place, taken};
use crate::{
    audit::Change,
    call::Call,
    error::{ApiError, OnConstraint},
    extract::Json,
    rbac::Permission,
};

#[derive(Debug, Deserialize, utoipa::ToSchema)]
/// A database server to register.
#[schema(example = json!({ "name": "pg-1", "engine": "postgres", "host": "db-1.example.org", "tls_mode": "verify_full" }))]
#[serde(deny_unknown_fields)]
pub struct CreateServer {
    /// Unique among servers.
    name: Slug,
    engine: Engine,
    /// Needed unless there is a `uri`.
    host: Option<HostName>,
    /// 5432, or MongoDB's 27017, unless said otherwise.
    #[schema(minimum = 1)]
    port: Option<u16>,
    /// Of a MongoDB server, in the place of host and port. Without user and password.
    uri: Option<MongoUri>,
    auth: Option<Auth>,
    /// `prefer`, of MongoDB `require`, unless said otherwise.
    tls_mode: Option<TlsMode>,
    /// Certificates in PEM, and nothing but certificates.
    tls_ca_pem: Option<String>,
    /// `postgres`, or MongoDB's `admin`, unless said otherwise.
    maintenance_database: Option<DatabaseName>,
    /// How many jobs work on the server at once; 2 unless said otherwise.
    #[schema(minimum = 1, maximum = 64)]
    max_jobs: Option<i32>,
    /// How many bytes its disks hold, for preflights.
    #[schema(minimum = 1)]
    capacity_bytes: Option<i64>,
}

/// Registers a server.
#[utoipa::path(
    post, path = "/v1/servers",
    request_body = CreateServer,
    responses((status = 201, body = Server), (status = 409, description = "the name is taken")),
)]
pub async fn handle(call: Call, Json(body): Json<CreateServer>) -> Result<Response, ApiError> {
    let permission = Permission::ServerCreate;
    call.authorize(permission, None)?;
    let maintenance = match (body.maintenance_database, body.engine) {
        (Some(name), _) => Ok(name),
        (None, Engine::Postgres) => DatabaseName::parse("postgres"),
        (None, Engine::Mongodb) => DatabaseName::parse("admin"),
    };
    let (host, port) = place(body.uri.as_ref(), body.host, body.port)?;
    let default_tls = match body.engine {
        Engine::Postgres => TlsMode::Prefer,
        Engine::Mongodb => TlsMode::Require,
    };
    let now = chrono::Utc::now();
    let row = ServerRow {
        id: ServerId::generate(),
        name: body.name,
        engine: body.engine,
        host,
        port: port.unwrap_or(body.engine.default_port()).into(),
        tls_mode: body.tls_mode.unwrap_or(default_tls),
        tls_ca_pem: body.tls_ca_pem,
        maintenance_database: maintenance
            .map_err(|e: NameError| ApiError::field("/maintenance_database", e.to_string()))?,
        max_jobs: body.max_jobs.unwrap_or(2),
        capacity_bytes: body.capacity_bytes,
        uri: body.uri.map(String::from),
        auth: body.auth.unwrap_or_default(),
        created_at: now,
        updated_at: now,
    };
    check(&row)?;
    let mut tx = call.begin().await?;
    servers::insert(&mut tx, &row).await.on_constraint("servers_name_key", taken)?;
    let id = row.id;
    let row = servers::get(&mut tx, id).await?.ok_or(ApiError::NotFound("server"))?;
    let detail = json!({ "name": row.name, "host": row.host, "port": row.port });
    call.create(tx, Change::new(permission, id, None, detail), "/v1/servers", id, Server::from(row)).await
}

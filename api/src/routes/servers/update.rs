//! `PATCH /v1/servers/{id}`. The engine stays: the saves of its targets are of it.

use axum::response::Response;
use serde::Deserialize;
use shared::{
    db::servers,
    id::ServerId,
    name::{DatabaseName, HostName, Slug},
    server::{Auth, MongoUri, TlsMode},
};

use super::{Server, check, place, taken};
use crate::{
    audit::{Change, difference},
    call::Call,
    error::{ApiError, OnConstraint},
    etag,
    extract::{Json, Path},
    merge::Merge,
    rbac::Permission,
};

#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
/// What is to change of a server. `null` clears `uri`, `tls_ca_pem` and `capacity_bytes`.
#[schema(example = json!({ "max_jobs": 4, "capacity_bytes": null }))]
#[serde(default, deny_unknown_fields)]
pub struct UpdateServer {
    name: Merge<Slug>,
    host: Merge<HostName>,
    /// 1 to 65535.
    port: Merge<u16>,
    uri: Merge<Option<MongoUri>>,
    auth: Merge<Auth>,
    tls_mode: Merge<TlsMode>,
    tls_ca_pem: Merge<Option<String>>,
    maintenance_database: Merge<DatabaseName>,
    /// 1 to 64.
    max_jobs: Merge<i32>,
    capacity_bytes: Merge<Option<i64>>,
}

/// Changes a server.
///
/// The engine stays: the saves of its targets are of it.
#[utoipa::path(
    patch, path = "/v1/servers/{id}",
    request_body = UpdateServer,
    responses((status = 200, body = Server), (status = 409, description = "the name is taken")),
)]
pub async fn handle(
    call: Call,
    Path(id): Path<ServerId>,
    Json(body): Json<UpdateServer>,
) -> Result<Response, ApiError> {
    let permission = Permission::ServerUpdate;
    call.authorize(permission, None)?;
    let mut tx = call.begin().await?;
    let mut row = servers::lock(&mut tx, id).await?.ok_or(ApiError::NotFound("server"))?;
    let before = Server::from(row.clone());
    call.check_match(&before)?;
    if let Merge::Set(uri) = body.uri {
        if let Some(uri) = &uri {
            let (host, port) = place(Some(uri), body.host.new_value().cloned(), body.port.new_value().copied())?;
            row.host = host;
            row.port = port.map_or(row.port, i32::from);
        }
        row.uri = uri.map(String::from);
    } else if row.uri.is_some() && (body.host.is_set() || body.port.is_set()) {
        return Err(ApiError::field("/host", "is the first of the uri's: change the uri, or clear it"));
    }
    row.port = body.port.new_value().map_or(row.port, |port| i32::from(*port));
    body.name.apply(&mut row.name);
    body.host.apply(&mut row.host);
    body.auth.apply(&mut row.auth);
    body.tls_mode.apply(&mut row.tls_mode);
    body.tls_ca_pem.apply(&mut row.tls_ca_pem);
    body.maintenance_database.apply(&mut row.maintenance_database);
    body.max_jobs.apply(&mut row.max_jobs);
    body.capacity_bytes.apply(&mut row.capacity_bytes);
    check(&row)?;
    servers::update(&mut tx, &row).await.on_constraint("servers_name_key", taken)?;
    let after = Server::from(servers::get(&mut tx, id).await?.ok_or(ApiError::NotFound("server"))?);
    call.commit(tx, Change::new(permission, id, None, difference(&before, &after))).await?;
    etag::changed(&after)
}

//! `PUT /v1/services/{id}/broker`. It ties a service to a host and a credential, which belong to all: so it asks for the role
//! globally, like the place of a target.

use axum::{
    Json as Answer,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use shared::{
    broker::{ManagementUrl, is_addressable},
    db::{
        brokers::{self, BrokerRow},
        services,
    },
    id::{CredentialId, ServiceId},
    name::Slug,
};

use super::Broker;
use crate::{
    audit::{Change, difference},
    call::Call,
    error::{ApiError, OnConstraint},
    extract::{Json, Path, short},
    rbac::Permission,
    routes::targets::patterns,
};

/// The most characters of a bundle of authorities.
const MAX_PEM: usize = 64 << 10;

#[derive(Debug, Deserialize, utoipa::ToSchema)]
/// The broker of a service, as far as Holdfast has to do with it: its management over HTTP.
#[schema(example = json!({
    "url": "https://broker.example.org:15671", "credential_id": "019a9f3e-5c1b-7d2a-9e4f-3b8c6d1a2f50", "queues": ["items.*"]
}))]
#[serde(deny_unknown_fields)]
pub struct PutBroker {
    /// Where its management answers.
    url: ManagementUrl,
    /// The virtual host that the service uses; `/` unless said otherwise.
    #[schema(max_length = 255)]
    vhost: Option<String>,
    /// Whose user the management is asked as.
    credential_id: CredentialId,
    /// PEM of whom to trust beside the system's own authorities.
    tls_ca_pem: Option<String>,
    /// Names of the queues that are purged when the service is wiped, with `*` and `?`; empty: none.
    #[serde(default)]
    #[schema(max_items = 100)]
    queues: Vec<String>,
    /// Whose workers can reach it; `default` unless said otherwise.
    worker_group: Option<Slug>,
}

/// Names the broker of a service, or another one.
///
/// A wipe of the service purges the queues that it names, and a backup of the service keeps what its virtual host is made of.
#[utoipa::path(
    put, path = "/v1/services/{id}/broker",
    request_body = PutBroker,
    responses((status = 200, body = Broker)),
)]
pub async fn handle(call: Call, Path(id): Path<ServiceId>, Json(body): Json<PutBroker>) -> Result<Response, ApiError> {
    let permission = Permission::BrokerUpdate;
    call.authorize(permission, None)?;
    let vhost = body.vhost.unwrap_or_else(|| "/".to_owned());
    if !is_addressable(&vhost) {
        return Err(ApiError::field("/vhost", "must be 1 to 255 bytes, and not a step of paths"));
    }
    if let Some(pem) = &body.tls_ca_pem {
        short("/tls_ca_pem", pem, MAX_PEM)?;
        if !pem.contains("-----BEGIN CERTIFICATE-----") || pem.contains("PRIVATE KEY") {
            return Err(ApiError::field("/tls_ca_pem", "must hold certificates in PEM, and nothing but certificates"));
        }
    }
    patterns("/queues", &body.queues)?;
    let group = || Slug::parse("default").map_err(|error| ApiError::field("/worker_group", error.to_string()));
    let now = chrono::Utc::now();
    let row = BrokerRow {
        service_id: id,
        url: body.url,
        vhost,
        credential_id: body.credential_id,
        tls_ca_pem: body.tls_ca_pem,
        queues: body.queues,
        worker_group: body.worker_group.map_or_else(group, Ok)?,
        created_at: now,
        updated_at: now,
    };
    let mut tx = call.begin().await?;
    services::lock(&mut tx, id).await?.ok_or(ApiError::NotFound("service"))?;
    let before = brokers::get(&mut tx, id).await?.map(Broker::from);
    brokers::put(&mut tx, &row)
        .await
        .on_constraint("brokers_credential_id_fkey", || ApiError::field("/credential_id", "is no credential"))?;
    let after = brokers::get(&mut tx, id).await?.map(Broker::from);
    let detail = difference(&before, &after);
    call.commit(tx, Change::new(permission, id, Some(id), detail)).await?;
    Ok(Answer(after).into_response())
}

//! `DELETE /v1/services/{id}/broker`: Holdfast forgets it. What it was made of stays.

use axum::http::StatusCode;
use shared::{db::brokers, id::ServiceId};

use super::{Broker, missing};
use crate::{
    audit::{Change, removed},
    call::Call,
    error::ApiError,
    extract::Path,
    rbac::Permission,
};

/// Forgets the broker of a service.
///
/// Nothing is done to the broker itself, and what it was made of stays readable.
#[utoipa::path(delete, path = "/v1/services/{id}/broker", responses((status = 204)))]
pub async fn handle(call: Call, Path(id): Path<ServiceId>) -> Result<StatusCode, ApiError> {
    let permission = Permission::BrokerUpdate;
    call.authorize(permission, None)?;
    let mut tx = call.begin().await?;
    let row = brokers::get(&mut tx, id).await?.ok_or_else(missing)?;
    brokers::delete(&mut tx, id).await?;
    call.commit(tx, Change::new(permission, id, Some(id), removed(&Broker::from(row)))).await?;
    Ok(StatusCode::NO_CONTENT)
}

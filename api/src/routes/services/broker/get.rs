//! `GET /v1/services/{id}/broker`.

use axum::response::Response;
use shared::{db::brokers, id::ServiceId};

use super::{Broker, missing};
use crate::{call::Call, error::ApiError, extract::Path, rbac::Permission};

/// Shows the broker of a service.
#[utoipa::path(get, path = "/v1/services/{id}/broker", responses((status = 200, body = Broker)))]
pub async fn handle(call: Call, Path(id): Path<ServiceId>) -> Result<Response, ApiError> {
    call.authorize(Permission::ServiceRead, Some(id))?;
    let row = brokers::get(&mut *call.conn().await?, id).await?.ok_or_else(missing)?;
    call.show(&Broker::from(row))
}

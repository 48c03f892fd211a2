//! `GET /v1/credentials`: a page of them.

use axum::response::Response;
use shared::db::credentials;

use super::Credential;
use crate::{call::Call, error::ApiError, page::PageQuery, rbac::Permission};

/// Lists credentials, by name, without their passwords.
#[utoipa::path(get, path = "/v1/credentials", params(PageQuery), responses((status = 200, body = [Credential])))]
pub async fn handle(call: Call<PageQuery>) -> Result<Response, ApiError> {
    call.authorize(Permission::CredentialRead, None)?;
    let page = call.query.page()?;
    let (rows, total) = credentials::list(&mut *call.conn().await?, page.limit(), page.offset()).await?;
    Ok(page.answer::<Credential, _>(&call.uri, rows, total, true))
}

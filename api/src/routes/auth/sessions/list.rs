//! `GET /v1/auth/sessions`: a page of the caller's live sessions; with `?admin` of somebody else's, for a super.

use axum::response::Response;
use serde::Deserialize;
use shared::{db::sessions, id::AdminId};

use super::Session;
use crate::{call::Call, error::ApiError, page::Page, rbac::Permission};

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Whose; the caller's own unless said otherwise.
    admin: Option<AdminId>,
    /// From 1.
    #[param(minimum = 1, maximum = 1_000_000, default = 1)]
    page: Option<u32>,
    /// How many things a page holds.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
}

/// Lists the caller's live sessions.
///
/// With `admin` somebody else's, for a super.
#[utoipa::path(get, path = "/v1/auth/sessions", params(Filter), responses((status = 200, body = [Session])))]
pub async fn handle(call: Call<Filter>) -> Result<Response, ApiError> {
    let current = call.person()?;
    let page = Page::new(call.query.page, call.query.limit)?;
    let admin = call.query.admin.unwrap_or(call.who.admin_id);
    if admin != call.who.admin_id {
        call.authorize(Permission::SessionManage, None)?;
    }
    let (rows, total) = sessions::list(&mut *call.conn().await?, admin, page.limit(), page.offset()).await?;
    let rows = rows.into_iter().map(|row| (row, current)).collect();
    Ok(page.answer::<Session, _>(&call.uri, rows, total, true))
}

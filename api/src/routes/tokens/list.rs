//! `GET /v1/tokens`: a page of one's own, for a super of everybody's or, with `?admin`, of one admin's.

use axum::response::Response;
use serde::Deserialize;
use shared::{db::api_tokens, id::AdminId};

use super::ApiToken;
use crate::{
    call::Call,
    error::ApiError,
    page::Page,
    rbac::{self, Permission},
};

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Of this admin alone.
    admin: Option<AdminId>,
    /// From 1.
    #[param(minimum = 1, maximum = 1_000_000, default = 1)]
    page: Option<u32>,
    /// How many things a page holds.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
}

/// Lists the caller's API tokens.
///
/// A super sees everybody's, or with `admin` those of one admin.
#[utoipa::path(get, path = "/v1/tokens", params(Filter), responses((status = 200, body = [ApiToken])))]
pub async fn handle(call: Call<Filter>) -> Result<Response, ApiError> {
    call.person()?;
    let page = Page::new(call.query.page, call.query.limit)?;
    let me = call.who.admin_id;
    let owner = match call.query.admin {
        None if rbac::authorize(&call.who, Permission::TokenManage, None).is_ok() => None,
        None => Some(me),
        Some(admin) => {
            if admin != me {
                call.authorize(Permission::TokenManage, None)?;
            }
            Some(admin)
        }
    };
    let (rows, total) = api_tokens::list(&mut *call.conn().await?, owner, page.limit(), page.offset()).await?;
    Ok(page.answer::<ApiToken, _>(&call.uri, rows, total, true))
}

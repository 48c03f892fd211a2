//! `GET /v1/saves`: newest first, or `sort=created_at`.

use axum::response::Response;
use serde::Deserialize;
use shared::{
    db::saves::{self, SaveFilter},
    id::{ServiceId, TargetId},
    save::SaveState,
};

use super::Save;
use crate::{
    call::Call,
    error::ApiError,
    page::{Page, Sort},
    rbac::{Permission, visible},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    service: Option<ServiceId>,
    target: Option<TargetId>,
    state: Option<SaveState>,
    valid: Option<bool>,
    sort: Option<Sort>,
    page: Option<u32>,
    limit: Option<u32>,
}

pub async fn handle(call: Call<Filter>) -> Result<Response, ApiError> {
    let query = &call.query;
    let page = Page::new(query.page, query.limit)?;
    if let Some(service) = query.service {
        call.authorize(Permission::SaveRead, Some(service))?;
    }
    let filter = SaveFilter {
        service_ids: visible(&call.who),
        service_id: query.service,
        target_id: query.target,
        state: query.state,
        valid: query.valid,
        oldest_first: query.sort == Some(Sort::OldestFirst),
    };
    let (rows, total) = saves::list(&mut *call.conn().await?, &filter, page.limit(), page.offset()).await?;
    Ok(page.answer::<Save, _>(&call.uri, rows, total.total, !total.is_lower_bound))
}

//! `GET /v1/saves`: newest first, or `sort=created_at`.

use axum::response::Response;
use serde::Deserialize;
use shared::{
    db::saves::{self, SaveFilter},
    id::{ServiceId, TargetId},
    save::{Origin, SaveState},
};

use super::Save;
use crate::{
    call::Call,
    error::ApiError,
    page::{Page, Sort},
    rbac::{Permission, Seen},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    service: Option<ServiceId>,
    target: Option<TargetId>,
    state: Option<SaveState>,
    valid: Option<bool>,
    suspicious: Option<bool>,
    pinned: Option<bool>,
    origin: Option<Origin>,
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
    let seen = Seen::of(&call.who, query.service);
    let filter = SaveFilter {
        service_ids: seen.other,
        service_id: seen.one,
        target_id: query.target,
        state: query.state,
        valid: query.valid,
        suspicious: query.suspicious,
        pinned: query.pinned,
        origin: query.origin,
        oldest_first: query.sort == Some(Sort::OldestFirst),
    };
    let (rows, total) = saves::list(&mut *call.conn().await?, &filter, page.limit(), page.offset()).await?;
    Ok(page.answer::<Save, _>(&call.uri, rows, total.total, !total.is_lower_bound))
}

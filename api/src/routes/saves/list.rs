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

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Of this service alone.
    service: Option<ServiceId>,
    /// Of this target alone.
    target: Option<TargetId>,
    /// In this state alone.
    state: Option<SaveState>,
    /// Whether enough of their copies are good, as far as is known.
    valid: Option<bool>,
    /// Whether they wait to be accepted.
    suspicious: Option<bool>,
    /// Whether they are kept from being deleted.
    pinned: Option<bool>,
    /// Made for this reason alone.
    origin: Option<Origin>,
    /// `-created_at` unless said otherwise.
    sort: Option<Sort>,
    /// From 1.
    #[param(minimum = 1, maximum = 1_000_000, default = 1)]
    page: Option<u32>,
    /// How many things a page holds.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
}

/// Lists the saves that the caller may see, newest first.
///
/// Totals are counted to 10,000; beyond, `X-Total-Count-Bound` says `lower`.
#[utoipa::path(get, path = "/v1/saves", params(Filter), responses((status = 200, body = [Save])))]
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

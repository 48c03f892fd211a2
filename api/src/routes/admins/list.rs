//! `GET /v1/admins`: a page of those whom the caller may see.

use axum::response::Response;
use serde::Deserialize;
use shared::{
    db::admins::{self, AdminInfo, GrantRow},
    id::{AdminId, ServiceId},
};

use super::Admin;
use crate::{
    call::Call,
    error::ApiError,
    page::Page,
    rbac::{Permission, administered},
};

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Only whoever has a role for this service.
    service: Option<ServiceId>,
    /// From 1.
    page: Option<u32>,
    /// 1 to 100; absent: 20.
    limit: Option<u32>,
}

/// Lists the admins whom the caller may see, by name.
#[utoipa::path(get, path = "/v1/admins", params(Filter), responses((status = 200, body = [Admin])))]
pub async fn handle(call: Call<Filter>) -> Result<Response, ApiError> {
    let page = Page::new(call.query.page, call.query.limit)?;
    let scope = administered(&call.who);
    if scope.as_deref().is_some_and(<[ServiceId]>::is_empty) {
        call.authorize(Permission::AdminRead, None)?;
    }
    let one = call.query.service.map(|service| [service]);
    if let Some([service]) = one {
        call.authorize(Permission::AdminRead, Some(service))?;
    }
    let of = one.as_ref().map(|one| &one[..]).or(scope.as_deref());
    let mut conn = call.conn().await?;
    let (rows, total) = admins::list(&mut conn, of, page.limit(), page.offset()).await?;
    let ids: Vec<AdminId> = rows.iter().map(|row| row.id).collect();
    let mut grants = admins::grants(&mut conn, &ids).await?;
    if let Some(services) = &scope {
        grants.retain(|grant| grant.service_id.is_some_and(|of| services.contains(&of)));
    }
    let with_roles: Vec<(AdminInfo, Vec<GrantRow>)> = rows
        .into_iter()
        .map(|row| {
            let roles = grants.iter().filter(|grant| grant.admin_id == row.id).cloned().collect();
            (row, roles)
        })
        .collect();
    Ok(page.answer::<Admin, _>(&call.uri, with_roles, total, true))
}

//! `GET /v1/data-sets`.

use axum::response::Response;
use serde::Deserialize;
use shared::{db::data_sets, name::Slug};

use super::DataSet;
use crate::{call::Call, error::ApiError, page::Page, rbac::Permission};

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// The one of this name.
    name: Option<Slug>,
    /// From 1.
    #[param(minimum = 1, maximum = 1_000_000, default = 1)]
    page: Option<u32>,
    /// How many things a page holds.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
}

/// Lists the data sets, by name.
#[utoipa::path(get, path = "/v1/data-sets", params(Filter), responses((status = 200, body = [DataSet])))]
pub async fn handle(call: Call<Filter>) -> Result<Response, ApiError> {
    call.authorize(Permission::DataSetRead, None)?;
    let page = Page::new(call.query.page, call.query.limit)?;
    let name = call.query.name.as_ref();
    let (rows, total) = data_sets::list(&mut *call.conn().await?, name, page.limit(), page.offset()).await?;
    Ok(page.answer::<DataSet, _>(&call.uri, rows, total, true))
}

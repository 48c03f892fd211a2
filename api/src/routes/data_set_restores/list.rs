//! `GET /v1/data-set-restores`.

use axum::response::Response;
use serde::Deserialize;
use shared::{db::data_set_restores, id::DatasetId};

use super::RestoreOfDataSet;
use crate::{call::Call, error::ApiError, page::Page, rbac::Permission};

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Of this data set alone.
    data_set: Option<DatasetId>,
    /// From 1.
    #[param(minimum = 1, maximum = 1_000_000, default = 1)]
    page: Option<u32>,
    /// How many things a page holds.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
}

/// Lists the restores of data sets, the newest first.
#[utoipa::path(get, path = "/v1/data-set-restores", params(Filter), responses((status = 200, body = [RestoreOfDataSet])))]
pub async fn handle(call: Call<Filter>) -> Result<Response, ApiError> {
    call.authorize(Permission::DataSetRead, None)?;
    let page = Page::new(call.query.page, call.query.limit)?;
    let of = call.query.data_set;
    let (rows, total) = data_set_restores::list(&mut *call.conn().await?, of, page.limit(), page.offset()).await?;
    Ok(page.answer::<RestoreOfDataSet, _>(&call.uri, rows, total, true))
}

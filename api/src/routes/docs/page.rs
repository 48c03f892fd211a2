//! `GET /docs`: Swagger UI over this API's own description. It loads nothing from elsewhere.

use axum::response::Response;

use super::{answer, file};
use crate::error::ApiError;

/// Shows the API to people.
///
/// Swagger UI: with a token under *Authorize* every operation can be tried out.
#[utoipa::path(get, path = "/docs", responses((status = 200, body = String, content_type = "text/html")))]
pub async fn handle() -> Result<Response, ApiError> {
    let (page, _) = file("index.html")?;
    // Its files lie below it, and its address has no slash at the end.
    let page = String::from_utf8_lossy(&page)
        .replace("href=\"./", "href=\"/docs/")
        .replace("href=\"index.css", "href=\"/docs/index.css")
        .replace("src=\"./", "src=\"/docs/")
        .replace("<title>Swagger UI</title>", "<title>Holdfast API</title>");
    Ok(answer(page.into_bytes().into(), "text/html; charset=utf-8".to_owned()))
}

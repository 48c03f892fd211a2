//! `GET /openapi.json`: the description of the API, OpenAPI 3.1.

use axum::{
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::openapi::DOCUMENT;

/// Describes the API: this document.
///
/// It changes with the program alone; its `ETag` tells whether it did.
#[utoipa::path(
    get,
    path = "/openapi.json",
    params(("if-none-match" = Option<String>, Header, description = "The `ETag` of what the caller has already.")),
    responses(
        (status = 200, body = Object, headers(("etag" = String, description = "Changes with the document."))),
        (status = 304, description = "the caller has it already"),
    ),
)]
pub async fn handle(headers: HeaderMap) -> Response {
    let etag = [(header::ETAG, DOCUMENT.etag())];
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if known.split(',').any(|tag| tag.trim().trim_start_matches("W/") == DOCUMENT.etag() || tag.trim() == "*") {
        return (StatusCode::NOT_MODIFIED, etag).into_response();
    }
    (etag, [(header::CONTENT_TYPE, "application/json")], DOCUMENT.json()).into_response()
}

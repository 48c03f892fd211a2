//! The description of the API, for programs and for people.

pub mod asset;
pub mod document;
pub mod page;

use axum::{
    body::Bytes,
    http::header,
    response::{IntoResponse, Response},
};
use utoipa_swagger_ui::Config;

use crate::error::ApiError;

/// What the page needs and nothing else: its own scripts and styles, and to call the API it came from. Swagger UI draws its
/// icons from `data:` addresses, and sets styles on elements.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file of Swagger UI, which is part of the program.
fn file(name: &str) -> Result<(Bytes, String), ApiError> {
    let config = Config::from("/openapi.json")
        .use_base_layout()
        .try_it_out_enabled(true)
        .display_request_duration(true)
        .filter(true)
        .validator_url("none");
    match utoipa_swagger_ui::serve(name, config.into()) {
        Ok(Some(file)) => Ok((file.bytes.into_owned().into(), file.content_type)),
        Ok(None) => Err(ApiError::NotFound("file")),
        Err(error) => Err(ApiError::Internal(error.to_string().into())),
    }
}

fn answer(bytes: Bytes, content_type: String) -> Response {
    let headers = [(header::CONTENT_TYPE, content_type), (header::CONTENT_SECURITY_POLICY, POLICY.to_owned())];
    (headers, bytes).into_response()
}

//! `GET /docs/{file}`: what the page is made of.

use axum::response::Response;

use super::{answer, file};
use crate::{error::ApiError, extract::Path};

/// The files that the page names; of what else comes with Swagger UI nothing is served.
const FILES: [&str; 7] = [
    "favicon-16x16.png",
    "favicon-32x32.png",
    "index.css",
    "swagger-initializer.js",
    "swagger-ui-bundle.js",
    "swagger-ui-standalone-preset.js",
    "swagger-ui.css",
];

/// Serves a file of the page.
#[utoipa::path(
    get,
    path = "/docs/{file}",
    params(("file" = String, Path, description = "The name of the file.", example = "swagger-ui.css")),
    responses((status = 200, body = String, content_type = "text/css")),
)]
pub async fn handle(Path(name): Path<String>) -> Result<Response, ApiError> {
    if !FILES.contains(&name.as_str()) {
        return Err(ApiError::NotFound("file"));
    }
    let (bytes, content_type) = file(&name)?;
    Ok(answer(bytes, content_type))
}

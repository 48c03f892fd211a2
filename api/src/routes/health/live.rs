//! `GET /healthz`: the process answers. Depends on nothing.

use axum::Json;
use serde::Serialize;

/// What a process says that lives.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Alive {
    /// Always `ok`.
    #[schema(example = "ok")]
    status: &'static str,
}

/// Whether the process lives.
///
/// Depends on nothing: while the process answers at all it answers this.
#[utoipa::path(get, path = "/healthz", responses((status = 200, body = Alive)))]
pub async fn handle() -> Json<Alive> {
    Json(Alive { status: "ok" })
}

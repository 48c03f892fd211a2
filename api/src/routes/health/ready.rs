//! `GET /readyz`: the database answers and has this binary's schema, and where the second factor is on its ids can be
//! read. A broker that is down does not count.

use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use shared::db::migrate;

use crate::state::AppState;

/// How ready a process is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Ready {
    /// `ok` or `unavailable`.
    #[schema(example = "ok")]
    status: &'static str,
    dependencies: Dependencies,
}

/// What a process depends on.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Dependencies {
    /// `ok` or `unreachable`.
    #[schema(example = "ok")]
    database: &'static str,
    /// `ok`, or what to do.
    #[schema(example = "ok")]
    migrations: &'static str,
    /// Where the second factor is on: `ok` or `unusable: …`.
    #[serde(skip_serializing_if = "Option::is_none")]
    admin_ids: Option<&'static str>,
}

/// Whether the process can do its work.
///
/// The database answers and has this binary's schema. A broker that is down does not count.
#[utoipa::path(
    get, path = "/readyz",
    responses((status = 200, body = Ready), (status = 503, body = Ready, description = "a dependency is away, or the schema is behind")),
)]
pub async fn handle(State(state): State<AppState>) -> (StatusCode, Json<Ready>) {
    let (database, migrations) = match state.pool.acquire().await {
        Ok(mut conn) => match migrate::is_current(&mut conn).await {
            Ok(true) => ("ok", "ok"),
            Ok(false) => ("ok", "behind: run `holdfast-api migrate`"),
            Err(error) if error.is_transient() => ("unreachable", "unknown"),
            Err(_) => ("ok", "missing: run `holdfast-api migrate`"),
        },
        Err(_) => ("unreachable", "unknown"),
    };
    let admin_ids = state.admin_ids.readiness();
    let ready = (database, migrations) == ("ok", "ok") && !matches!(admin_ids, Some(Err(_)));
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let admin_ids = admin_ids.map(|admin_ids| match admin_ids {
        Ok(()) => "ok",
        // The file's name and what the system says of it are in the log: this page is for everybody.
        Err(_) => "unusable: nobody is admitted, see the log",
    });
    let dependencies = Dependencies { database, migrations, admin_ids };
    (status, Json(Ready { status: if ready { "ok" } else { "unavailable" }, dependencies }))
}

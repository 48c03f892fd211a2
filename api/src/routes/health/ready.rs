//! `GET /readyz`: the database answers and has this binary's schema. A broker that is down does not count.

use axum::{Json, extract::State, http::StatusCode};
use serde_json::{Value, json};
use shared::db::migrate;

use crate::state::AppState;

pub async fn handle(State(state): State<AppState>) -> (StatusCode, Json<Value>) {
    let (database, migrations) = match state.pool.acquire().await {
        Ok(mut conn) => match migrate::is_current(&mut conn).await {
            Ok(true) => ("ok", "ok"),
            Ok(false) => ("ok", "behind: run `holdfast-api migrate`"),
            Err(error) if error.is_transient() => ("unreachable", "unknown"),
            Err(_) => ("ok", "missing: run `holdfast-api migrate`"),
        },
        Err(_) => ("unreachable", "unknown"),
    };
    let ready = (database, migrations) == ("ok", "ok");
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let dependencies = json!({ "database": database, "migrations": migrations });
    (status, Json(json!({ "status": if ready { "ok" } else { "unavailable" }, "dependencies": dependencies })))
}

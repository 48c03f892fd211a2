//! `GET /readyz`: the database answers and has this binary's schema, and where the second factor is on its ids can be
//! read. A broker that is down does not count.

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
    let admin_ids = state.admin_ids.readiness();
    let ready = (database, migrations) == ("ok", "ok") && !matches!(admin_ids, Some(Err(_)));
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut dependencies = json!({ "database": database, "migrations": migrations });
    if let Some(admin_ids) = admin_ids {
        dependencies["admin_ids"] = match admin_ids {
            Ok(()) => "ok".into(),
            // The file's name and what the system says of it are in the log: this page is for everybody.
            Err(_) => "unusable: nobody is admitted, see the log".into(),
        };
    }
    (status, Json(json!({ "status": if ready { "ok" } else { "unavailable" }, "dependencies": dependencies })))
}

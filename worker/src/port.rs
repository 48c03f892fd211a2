//! The worker's small HTTP side: health. The only file of the worker that knows axum.

use std::sync::Arc;

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use serde_json::{Value, json};
use shared::db::migrate;
use tokio_util::sync::CancellationToken;

use crate::context::Context;

/// Serves until told to stop.
pub async fn serve(
    ctx: Arc<Context>,
    listener: tokio::net::TcpListener,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new().route("/healthz", get(|| async { "ok" })).route("/readyz", get(ready)).with_state(ctx);
    axum::serve(listener, router).with_graceful_shutdown(async move { stop.cancelled().await }).await
}

async fn ready(State(ctx): State<Arc<Context>>) -> (StatusCode, Json<Value>) {
    let current = async {
        let mut conn = ctx.pool.acquire().await?;
        migrate::is_current(&mut conn).await
    };
    let clients: Vec<Value> = ctx
        .postgres
        .clients
        .all()
        .iter()
        .map(|c| json!({ "version": c.version(), "lacks_fixes": c.lacks_fixes() }))
        .collect();
    let (database, status) = match current.await {
        Ok(true) => ("ok", StatusCode::OK),
        Ok(false) => ("migrations are missing: run holdfast-api migrate", StatusCode::SERVICE_UNAVAILABLE),
        Err(_) => ("cannot be reached", StatusCode::SERVICE_UNAVAILABLE),
    };
    (
        status,
        Json(
            json!({ "database": database, "postgres_clients": clients, "stores": ctx.stores.keys().collect::<Vec<_>>() }),
        ),
    )
}

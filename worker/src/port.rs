//! The worker's small HTTP side: health, and the transfers that the API hands out tickets for. The only place of the worker
//! that knows axum.

mod content;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};
use shared::{db::migrate, job::Problem, shutdown::Shutdown, telemetry::Causes};

use crate::{context::Context, transfer::TransferError};

/// What every answer needs. Clones are cheap.
#[derive(Debug, Clone)]
pub struct Port {
    pub ctx: Arc<Context>,
    pub shutdown: Shutdown,
}

impl Port {
    /// Serves until told to stop; transfers that run go on until the grace period is over.
    pub async fn serve(self, listener: tokio::net::TcpListener) -> std::io::Result<()> {
        let stop = self.shutdown.soft().clone();
        let router = Router::new()
            .route("/healthz", get(|| async { "ok" }))
            .route("/readyz", get(ready))
            .route("/transfer/{ticket}", get(content::handle))
            .with_state(self);
        axum::serve(listener, router).with_graceful_shutdown(async move { stop.cancelled().await }).await
    }
}

/// What the API is told of a transfer that does not begin.
fn refusal(error: &TransferError) -> Response {
    let status = match error {
        TransferError::NoTicket => StatusCode::NOT_FOUND,
        TransferError::Gone(_) => StatusCode::CONFLICT,
        TransferError::Store(_) => StatusCode::BAD_GATEWAY,
        TransferError::Record(_) => StatusCode::INTERNAL_SERVER_ERROR,
        TransferError::Db(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    if status.is_server_error() {
        tracing::warn!(error.code = error.code(), error = %Causes(error), "a transfer does not begin");
    }
    let problem = Problem::permanent(error.code(), error.to_string(), "");
    (status, Json(problem)).into_response()
}

async fn ready(State(Port { ctx, .. }): State<Port>) -> (StatusCode, Json<Value>) {
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

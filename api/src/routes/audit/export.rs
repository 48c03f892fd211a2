//! `GET /v1/audit/export`: all entries that the filters let through, oldest first, as JSON lines. They are read and sent
//! a piece at a time, so that the memory it takes does not grow with the log; what is written meanwhile is not among them.

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use serde_json::json;
use shared::{
    db::audit_log::{self, AuditFilter},
    telemetry::Causes,
};

use super::{Entry, Wanted};
use crate::{audit::Change, call::Call, error::ApiError, rbac::Permission, state::AppState, stream::Open};

/// Entries that are read at once.
const PIECE: i64 = 500;

/// How far an export has come.
struct Export {
    state: AppState,
    filter: AuditFilter,
    after: i64,
    until: i64,
    /// Counts among the streams of the admin as long as it goes on.
    _open: Open,
}

impl Export {
    /// The next lines; none: that was all. A client sees a piece that cannot be read as a connection that breaks.
    async fn next(mut self) -> Result<Option<(Vec<u8>, Self)>, ApiError> {
        let rows = {
            let mut conn = self.state.pool.acquire().await?;
            audit_log::after(&mut conn, &self.filter, self.after, self.until, PIECE).await?
        };
        let Some(last) = rows.last() else { return Ok(None) };
        self.after = last.id;
        let mut lines = Vec::new();
        for row in rows {
            serde_json::to_writer(&mut lines, &Entry::from(row)).map_err(|error| ApiError::Internal(error.into()))?;
            lines.push(b'\n');
        }
        Ok(Some((lines, self)))
    }
}

/// Streams all entries of the audit log that the filters let through, oldest first, as JSON lines.
#[utoipa::path(
    get, path = "/v1/audit/export",
    params(Wanted),
    responses((status = 200, body = String, content_type = "application/x-ndjson", description = "an `AuditEntry` a line"), (status = 429, description = "the caller has too many streams open")),
)]
pub async fn handle(mut call: Call<Wanted>) -> Result<Response, ApiError> {
    let permission = Permission::AuditExport;
    let wanted = std::mem::take(&mut call.query);
    let service = wanted.service;
    let asked = json!({ "filter": wanted });
    let filter = wanted.of(&call, permission, None)?;
    let open = call.state.streams.open(call.who.admin_id)?;
    let mut tx = call.begin().await?;
    let until = audit_log::newest(&mut tx).await?;
    call.commit(tx, Change::new(permission, "-", service, asked)).await?;

    let export = Export { state: call.state.clone(), filter, after: 0, until, _open: open };
    let lines = stream::try_unfold(export, |export| async {
        export
            .next()
            .await
            .inspect_err(|error| tracing::error!(error = %Causes(error), "an export of the audit log broke off"))
    });
    let kind = HeaderValue::from_static("application/x-ndjson");
    let name = HeaderValue::from_static("attachment; filename=\"audit.jsonl\"");
    Ok(([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name)], Body::from_stream(lines)).into_response())
}

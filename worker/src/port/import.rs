//! `POST /transfer/{ticket}`: a dump that somebody brings. Answered when its job has ended.

use std::{io, sync::Arc};

use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::TryStreamExt;
use serde_json::json;

use super::{Port, refusal};
use crate::transfer::{
    self,
    import::{Refused, receive},
    upload::{Input, Packed, reader},
};

pub(super) async fn handle(
    State(port): State<Port>,
    Path(ticket): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let ticket = match transfer::spend(&port.ctx, &ticket).await {
        Ok(ticket) => ticket,
        Err(error) => return refusal(&error),
    };
    let said = match headers.get(header::CONTENT_ENCODING).map(axum::http::HeaderValue::as_bytes) {
        Some(b"gzip") => Some(Packed::Gzip),
        Some(b"zstd") => Some(Packed::Zstd),
        _ => None,
    };
    // A connection that breaks is an error here, whatever it is called there: never an end.
    let pieces = body.into_data_stream().map_err(|error| io::Error::new(io::ErrorKind::ConnectionAborted, error));
    let input: Input = Box::pin(reader(pieces));
    // On a task of its own: whoever hangs up must not take the job's last steps along.
    let tasks = port.shutdown.tasks().clone();
    let work = tasks.spawn(async move {
        let dispatch = Arc::clone(&port.dispatch);
        receive(&port.ctx, &dispatch, ticket, said, input).await
    });
    match work.await {
        Ok(Ok(job)) => Json(json!({ "job_id": job })).into_response(),
        Ok(Err(Refused::Problem(problem))) => (StatusCode::UNPROCESSABLE_ENTITY, Json(problem)).into_response(),
        Ok(Err(Refused::Transfer(error))) => refusal(&error),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

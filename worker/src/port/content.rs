//! `GET /transfer/{ticket}`: stored bytes, as they lie. Nothing is answered without a ticket.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::Response,
};
use futures_util::stream;

use super::{Port, refusal};
use crate::transfer::{
    self, TransferError,
    content::Content,
    range::{Asked, asked},
};

pub(super) async fn handle(
    State(port): State<Port>,
    Path(ticket): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    match answer(&port, &ticket, &method, &headers).await {
        Ok(response) => response,
        Err(error) => refusal(&error),
    }
}

async fn answer(port: &Port, ticket: &str, method: &Method, headers: &HeaderMap) -> Result<Response, TransferError> {
    let ticket = transfer::spend(&port.ctx, ticket).await?;
    let content = Content::open(Arc::clone(&port.ctx), ticket).await?;
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let length = content.length();
    let known = text(header::IF_NONE_MATCH);
    let is_known =
        known.is_some_and(|tags| tags.split(',').any(|tag| [content.etag.as_str(), "*"].contains(&tag.trim())));
    let asked = asked(text(header::RANGE), text(header::IF_RANGE), &content.etag, length);
    let (status, bytes, range) = match asked {
        _ if is_known => (StatusCode::NOT_MODIFIED, None, None),
        Asked::Whole => (StatusCode::OK, Some(length), None),
        Asked::Part { from, until } => {
            (StatusCode::PARTIAL_CONTENT, Some(until - from), Some(format!("bytes {from}-{}/{length}", until - 1)))
        }
        Asked::Beyond => (StatusCode::RANGE_NOT_SATISFIABLE, None, Some(format!("bytes */{length}"))),
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let mut set = |name: header::HeaderName, value: Option<&str>| {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            response.headers_mut().insert(name, value);
        }
    };
    set(header::ETAG, Some(&content.etag));
    set(header::ACCEPT_RANGES, Some("bytes"));
    set(header::CONTENT_RANGE, range.as_deref());
    set(header::CONTENT_LENGTH, bytes.map(|bytes| bytes.to_string()).as_deref());
    if bytes.is_some() {
        set(header::CONTENT_TYPE, Some(content.content_type));
        set(header::CONTENT_DISPOSITION, Some(&format!("attachment; filename=\"{}\"", content.file_name)));
        set(header::HeaderName::from_static("repr-digest"), content.digest.as_deref());
        set(header::HeaderName::from_static("x-save-store"), Some(content.store()));
    }
    if bytes.is_none() || method == Method::HEAD {
        content.close().await;
        return Ok(response);
    }
    let received = content.send(asked, &port.shutdown).await?;
    let blocks = stream::unfold(received, |mut received| async move { Some((received.recv().await?, received)) });
    *response.body_mut() = Body::from_stream(blocks);
    Ok(response)
}

//! What every request passes: its id, a time limit, panics caught, errors rendered, headers of every response.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use tracing::Instrument;

use crate::{
    error::{ApiError, Problem},
    state::AppState,
};

/// What handlers need to know about their request.
#[derive(Debug, Clone)]
pub struct Context {
    pub request_id: Arc<str>,
    /// The caller's address, behind believed proxies too.
    pub address: Arc<str>,
    renewed: Arc<Mutex<Option<String>>>,
}

impl Context {
    /// Gives the response a new access token.
    pub fn renew(&self, token: String) {
        *self.renewed.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
    }

    fn take(&self) -> Option<String> {
        self.renewed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The outermost layer.
pub async fn gate(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let context = Context {
        request_id: request_id(request.headers()).into(),
        address: address(&state, &request).to_string().into(),
        renewed: Arc::default(),
    };
    request.extensions_mut().insert(context.clone());
    let waits = request.uri().query().is_some_and(|q| q.split('&').any(|p| p.starts_with("wait=")));
    let limit = state.http.request_timeout + if waits { state.http.max_wait } else { std::time::Duration::ZERO };
    let span = tracing::info_span!("api.request", request.id = %context.request_id, method = %request.method(), path = request.uri().path());
    let work = AssertUnwindSafe(next.run(request)).catch_unwind();
    let response = async {
        match tokio::time::timeout(limit, work).await {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => ApiError::Internal("a handler panicked".into()).into_response(),
            Err(_) => ApiError::Timeout.into_response(),
        }
    }
    .instrument(span)
    .await;
    finish(&context, response)
}

fn finish(context: &Context, mut response: Response) -> Response {
    let status = response.status();
    let is_problem = response.extensions().get::<Problem>().is_some();
    let is_json =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(b"application/json"));
    if (status.is_client_error() || status.is_server_error()) && !is_problem && !is_json {
        let headers = response.headers().clone();
        response = ApiError::of_status(status).into_response();
        response.headers_mut().extend(headers);
    }
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        response = problem.render(&context.request_id, response.headers());
    }
    let headers = response.headers_mut();
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set("x-request-id", &context.request_id);
    set("cache-control", "no-store");
    set("x-content-type-options", "nosniff");
    set("x-frame-options", "DENY");
    set("referrer-policy", "no-referrer");
    set("content-security-policy", "default-src 'none'; frame-ancestors 'none'");
    set("strict-transport-security", "max-age=31536000");
    if let Some(token) = context.take()
        && !status.is_client_error()
    {
        set("x-access-token", &token);
    }
    response
}

/// The caller's own id where it is sane, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let sane =
        |id: &str| (8..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    let given = headers.get("x-request-id").and_then(|v| v.to_str().ok()).filter(|id| sane(id));
    given.map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned)
}

/// The peer, or what believed proxies say of it: the last address of `X-Forwarded-For` that is not a proxy of ours.
fn address(state: &AppState, request: &Request) -> IpAddr {
    let peer =
        request.extensions().get::<ConnectInfo<SocketAddr>>().map_or(Ipv4Addr::UNSPECIFIED.into(), |info| info.0.ip());
    let believed = |ip: IpAddr| state.http.trusted_proxies.iter().any(|network| network.contains(ip));
    if !believed(peer) {
        return peer;
    }
    let values = request
        .headers()
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|v| v.to_str().ok())
        .collect::<Vec<_>>()
        .join(",");
    let mut client = peer;
    for text in values.rsplit(',') {
        let Ok(ip) = text.trim().parse() else { break };
        client = ip;
        if !believed(ip) {
            break;
        }
    }
    client
}

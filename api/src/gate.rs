//! What every request passes: its id, a time limit, panics caught, errors rendered, refusals audited, headers of every response.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    extract::{ConnectInfo, MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use secrecy::{ExposeSecret, SecretString};
use shared::id::{AdminId, ServiceId};
use tracing::Instrument;

use crate::{
    audit,
    auth::api_token::TokenRef,
    error::{ApiError, Problem},
    rbac::Permission,
    state::AppState,
};

/// Routes whose requests last as long as bytes flow.
const TRANSFERS: [&str; 2] = ["/v1/saves/{id}/content", "/v1/targets/{id}/import"];
const FOR_EVER: Duration = Duration::from_hours(24 * 365);

/// What handlers need to know about their request, and what is noted of it on the way.
#[derive(Debug, Clone)]
pub struct Context {
    pub request_id: Arc<str>,
    /// The caller's address, behind believed proxies too.
    pub address: Arc<str>,
    noted: Arc<Mutex<Noted>>,
}

/// What became known of a request while it was handled.
#[derive(Debug, Clone, Default)]
pub struct Noted {
    /// Who calls; none: no valid token.
    pub admin: Option<AdminId>,
    /// The caller's name, or the one that a login gave.
    pub name: Option<String>,
    /// The API token by which they call, if by one.
    pub api_token: Option<TokenRef>,
    /// What was to be done, as the permission is named.
    pub action: Option<&'static str>,
    pub resource: Option<&'static str>,
    pub service: Option<ServiceId>,
    /// Whether a permission was missing.
    pub refused: bool,
    /// A new access token for the response.
    pub renewed: Option<SecretString>,
}

impl Context {
    /// The context of a request that has passed the gate.
    pub fn of(parts: &Parts) -> Result<Self, ApiError> {
        parts.extensions.get().cloned().ok_or_else(|| ApiError::Internal("a request without a context".into()))
    }

    /// Notes who calls.
    pub fn identified(&self, admin: AdminId, name: &str) {
        let mut noted = self.lock();
        (noted.admin, noted.name) = (Some(admin), Some(name.to_owned()));
    }

    /// Notes that a program calls.
    pub fn by_token(&self, token: TokenRef) {
        self.lock().api_token = Some(token);
    }

    /// Notes that the session of this admin was to be refreshed.
    pub fn refreshing(&self, admin: AdminId, name: &str) {
        let mut noted = self.lock();
        (noted.admin, noted.name) = (Some(admin), Some(name.to_owned()));
        (noted.action, noted.resource) = (Some("auth.refresh"), Some("session"));
    }

    /// Notes a login under a name that is not proven.
    pub fn login(&self, name: &str) {
        let mut noted = self.lock();
        (noted.name, noted.action, noted.resource) = (Some(name.to_owned()), Some("auth.login"), Some("session"));
    }

    /// Notes which permission was asked for; a later one replaces an earlier one, unless that was refused.
    pub fn asked_for(&self, permission: Permission, service: Option<ServiceId>, refused: bool) {
        let mut noted = self.lock();
        if !noted.refused {
            (noted.action, noted.resource) = (Some(permission.name()), Some(permission.resource()));
            (noted.service, noted.refused) = (service.or(noted.service), refused);
        }
    }

    /// Gives the response a new access token.
    pub fn renew(&self, token: String) {
        self.lock().renewed = Some(token.into());
    }

    /// What is known by now.
    pub fn noted(&self) -> Noted {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The outermost layer.
pub async fn gate(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let context = Context {
        request_id: request_id(request.headers()).into(),
        address: address(&state, &request).to_string().into(),
        noted: Arc::default(),
    };
    let asked = audit::Asked {
        method: request.method().clone(),
        route: request.extensions().get::<MatchedPath>().map(|route| route.as_str().to_owned()),
        path: request.uri().path().to_owned(),
    };
    request.extensions_mut().insert(context.clone());
    let waits = request.uri().query().is_some_and(|q| q.split('&').any(|p| p.starts_with("wait=")));
    let limit = state.http.request_timeout + if waits { state.http.max_wait } else { Duration::ZERO };
    let admitted = state.admin_ids.admits(request.method(), request.uri().path(), request.headers());
    let span = tracing::info_span!("api.request", request.id = %context.request_id, method = %request.method(), path = request.uri().path());
    // How long these may take is for their own handlers to say: bytes flow.
    let is_transfer = asked.route.as_deref().is_some_and(|route| TRANSFERS.contains(&route));
    let limit = if is_transfer { FOR_EVER } else { limit };
    // Without the second factor nothing else is looked at, and the answer is that to a missing token.
    let work = async { if admitted { next.run(request).await } else { ApiError::Unauthorized.into_response() } };
    let work = AssertUnwindSafe(work).catch_unwind();
    let response = async {
        let response = match tokio::time::timeout(limit, work).await {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => ApiError::Internal("a handler panicked".into()).into_response(),
            Err(_) => ApiError::Timeout.into_response(),
        };
        audit::refused(&state, &context, asked, response.status()).await;
        response
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
    // A page of ours brings the policy that it works under.
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
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
    set("strict-transport-security", "max-age=31536000");
    if let Some(token) = context.lock().renewed.take()
        && !status.is_client_error()
    {
        set("x-access-token", token.expose_secret());
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

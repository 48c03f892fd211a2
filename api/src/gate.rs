//! What every request passes: its id, a time limit, panics caught, errors rendered, refusals audited, headers of every response.

use std::{
    net::{IpAddr, Ipv4Addr},
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    extract::{ConnectInfo, MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use ring::digest::Digest;
use secrecy::{ExposeSecret, SecretString};
use shared::id::{AdminId, ServiceId};
use tracing::Instrument;

use crate::{
    audit,
    auth::api_token::TokenRef,
    error::{ApiError, Problem},
    limits::{
        rate::{self, Left},
        size,
        slow::Peer,
    },
    rbac::Permission,
    state::AppState,
};

/// Routes whose requests last as long as bytes flow.
const TRANSFERS: [&str; 2] = ["/v1/saves/{id}/content", "/v1/targets/{id}/import"];
const FOR_EVER: Duration = Duration::from_hours(24 * 365);
/// What changes who may do what.
const IDENTITIES: [&str; 2] = ["/v1/auth", "/v1/admins"];
/// What is asked by who watches over the process, and never refused for being asked often.
const UNCOUNTED: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// What a page of this origin may do that says nothing else of itself.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";

/// What every answer says to browsers: it is data of this origin, to be kept, framed, sniffed and shared by nobody.
const SECURE: [(HeaderName, &str); 8] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
    (
        HeaderName::from_static("permissions-policy"),
        "accelerometer=(), camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

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
    /// SHA-256 of the body, of a request with an `Idempotency-Key`.
    pub body: Option<Digest>,
    /// What is left of the caller's quotas.
    pub left: Vec<Left>,
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

    /// Notes the digest of the body.
    pub fn came_with(&self, body: Digest) {
        self.lock().body = Some(body);
    }

    /// The digest of the body, where it was noted.
    pub fn body(&self) -> Option<Digest> {
        self.lock().body
    }

    /// Notes what is left of a quota, for the headers of the answer.
    pub fn has_left(&self, left: Left) {
        self.lock().left.push(left);
    }

    /// Counts a request against a limit, and notes what is left of it.
    pub fn counted(&self, taken: Option<(Left, Result<(), ApiError>)>) -> Result<(), ApiError> {
        let Some((left, answer)) = taken else { return Ok(()) };
        self.has_left(left);
        answer
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
    let caller = address(&state, &request);
    let context = Context {
        request_id: request_id(request.headers()).into(),
        address: caller.to_string().into(),
        noted: Arc::default(),
    };
    let asked = audit::Asked {
        method: request.method().clone(),
        route: request.extensions().get::<MatchedPath>().map(|route| route.as_str().to_owned()),
        path: request.uri().path().to_owned(),
    };
    let admitted = admit(&state, &context, caller, &request);
    request.extensions_mut().insert(context.clone());
    let waits = request.uri().query().is_some_and(|q| q.split('&').any(|p| p.starts_with("wait=")));
    let limit = state.http.request_timeout + if waits { state.http.max_wait } else { Duration::ZERO };
    let span = tracing::info_span!("api.request", request.id = %context.request_id, method = %request.method(), path = request.uri().path());
    // How long these may take is for their own handlers to say: bytes flow.
    let is_transfer = asked.route.as_deref().is_some_and(|route| TRANSFERS.contains(&route));
    let limit = if is_transfer { FOR_EVER } else { limit };
    let is_change = !asked.method.is_safe() && IDENTITIES.iter().any(|prefix| asked.path.starts_with(prefix));
    let work = async {
        match admitted {
            Ok(()) => next.run(request).await,
            Err(refusal) => refusal.into_response(),
        }
    };
    let work = AssertUnwindSafe(work).catch_unwind();
    let response = async {
        let response = match tokio::time::timeout(limit, work).await {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => ApiError::Internal("a handler panicked".into()).into_response(),
            Err(_) => ApiError::Timeout.into_response(),
        };
        if is_change {
            state.known.forget();
        }
        audit::refused(&state, &context, asked, response.status()).await;
        response
    }
    .instrument(span)
    .await;
    finish(&context, response)
}

/// Refuses what is too much before anything is done for it. Whether the process lives is always told.
fn admit(state: &AppState, context: &Context, caller: IpAddr, request: &Request) -> Result<(), ApiError> {
    if !UNCOUNTED.contains(&request.uri().path()) {
        context.counted(state.rates.address(caller))?;
    }
    size::check(&state.http.limits, request.uri(), request.headers())?;
    // Without the second factor nothing else is looked at, and the answer is that to a missing token.
    if state.admin_ids.admits(request.method(), request.uri().path(), request.headers()) {
        return Ok(());
    }
    Err(ApiError::Unauthorized)
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
    rate::write(&context.lock().left, response.headers_mut());
    secure(&mut response);
    let headers = response.headers_mut();
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set("x-request-id", &context.request_id);
    if let Some(token) = context.lock().renewed.take()
        && !status.is_client_error()
    {
        set("x-access-token", token.expose_secret());
    }
    response
}

/// The headers that every answer has.
fn secure(response: &mut Response) {
    let headers = response.headers_mut();
    for (name, value) in SECURE {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // A page of ours brings the policy that it works under.
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(NOTHING));
}

/// Gives those headers and an id to what never came to the gate: answers to preflights.
pub async fn complete(request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let mut response = next.run(request).await;
    if !response.headers().contains_key("x-request-id") {
        secure(&mut response);
        if let Ok(id) = HeaderValue::from_str(&id) {
            response.headers_mut().insert("x-request-id", id);
        }
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
        request.extensions().get::<ConnectInfo<Peer>>().map_or(Ipv4Addr::UNSPECIFIED.into(), |info| info.0.0.ip());
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

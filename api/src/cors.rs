//! Pages of other origins, where the configuration names them (`[http.cors]`). Credentials of the browser are never
//! allowed: tokens are sent by the page itself, so that no page can use what another one has.

use axum::http::{HeaderName, HeaderValue, Method, header};
use shared::config::{Cors, Origins};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// What scripts may read of an answer, beside what browsers let them read anyway.
const EXPOSED: [HeaderName; 12] = [
    HeaderName::from_static("x-access-token"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("x-total-count"),
    HeaderName::from_static("x-total-count-bound"),
    HeaderName::from_static("ratelimit"),
    HeaderName::from_static("ratelimit-policy"),
    HeaderName::from_static("idempotency-replayed"),
    header::LINK,
    header::LOCATION,
    header::ETAG,
    header::RETRY_AFTER,
    header::CONTENT_DISPOSITION,
];

/// What scripts may send.
const ACCEPTED: [HeaderName; 10] = [
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::RANGE,
    HeaderName::from_static("y-access-token"),
    HeaderName::from_static("admin-id"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("last-event-id"),
];

const METHODS: [Method; 5] = [Method::GET, Method::POST, Method::PATCH, Method::PUT, Method::DELETE];

/// The layer that answers preflights, before anybody is asked who he is; none: CORS is off.
pub fn layer(config: &Cors) -> Option<CorsLayer> {
    let origins = match &config.origins {
        Origins::None => return None,
        Origins::Any => AllowOrigin::any(),
        Origins::These(origins) => AllowOrigin::list(origins.iter().filter_map(|o| HeaderValue::from_str(o).ok())),
    };
    let layer = CorsLayer::new()
        .allow_origin(origins)
        .allow_methods(METHODS)
        .allow_headers(ACCEPTED)
        .expose_headers(EXPOSED)
        .max_age(config.max_age);
    Some(layer)
}

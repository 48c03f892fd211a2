//! One error type, rendered as RFC 9457 `application/problem+json`. The gate (`gate.rs`) adds the request id.

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use shared::{db::DbError, telemetry::Causes};

use crate::idempotency::Reply;

/// What is wrong with one field, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// JSON pointer into the body, or `?name` for a query parameter.
    #[schema(example = "/name")]
    pub pointer: String,
    /// What is wrong with it, and what would be accepted.
    #[schema(example = "is empty")]
    pub detail: String,
}

impl FieldError {
    #[must_use]
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }
}

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a request was not done. Variants are the problem types of `docs/api.md`.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("the request cannot be read: {0}")]
    Malformed(String),
    #[error("a valid access token is needed")]
    Unauthorized,
    #[error("the name or the password is wrong")]
    BadCredentials,
    #[error("the refresh token is not valid: log in")]
    RefreshRefused,
    #[error("this is for people who have logged in, not for API tokens")]
    PeopleOnly,
    #[error("this needs the permission {0}")]
    Forbidden(&'static str),
    #[error("there is no such {0}")]
    NotFound(&'static str),
    #[error("this method is not available here")]
    MethodNotAllowed,
    #[error("{0}")]
    Conflict(String),
    #[error("it is not as it was when you read it: read it again, and decide anew")]
    PreconditionFailed,
    #[error("the Idempotency-Key was used for another request: give each request a key of its own")]
    KeyReused,
    #[error("the path and query are longer than {0} bytes")]
    UriTooLong(usize),
    #[error("there are more than {headers} header lines or {bytes} bytes of them")]
    HeadersTooLarge { headers: usize, bytes: usize },
    #[error("the body is larger than this service reads")]
    PayloadTooLarge,
    #[error("the body must be application/json")]
    UnsupportedMediaType,
    #[error("{detail}")]
    Invalid { detail: String, errors: Vec<FieldError> },
    #[error("too many failed logins: wait")]
    TooManyRequests { retry_after_s: u64 },
    #[error("this installation does not offer it: {0} is not configured")]
    NotConfigured(&'static str),
    #[error("{0}")]
    UpstreamUnknown(String),
    #[error("{0}")]
    UpstreamRefused(String),
    #[error("{detail}")]
    UpstreamUnavailable { detail: String, retry_after_s: u64 },
    #[error("too many requests of this {of}: wait")]
    RateLimited { of: &'static str, retry_after_s: u64 },
    #[error("the {most} jobs that you may ask for in a day are used up: wait for the next day of UTC")]
    QuotaExceeded { most: i32, retry_after_s: u64 },
    #[error("{most} streams are open already: end one first")]
    StreamsInUse { most: usize },
    #[error("the request took too long")]
    Timeout,
    #[error("a service that is needed is not available: try again")]
    Unavailable(#[source] Source),
    #[error("{0}")]
    NoWorker(String),
    #[error("the range begins after the end")]
    RangeNotSatisfiable { range: String },
    #[error("something went wrong on our side")]
    Internal(#[source] Source),
    /// No problem at all: the request was done before, and this is its answer.
    #[error("the request was done before")]
    Replayed(Box<Reply>),
}

impl ApiError {
    /// One field that is wrong.
    #[must_use]
    pub fn field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Invalid {
            detail: "the request holds a value that cannot be used".into(),
            errors: vec![FieldError::new(pointer, detail)],
        }
    }

    /// Whether the same request would fail again.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        !matches!(
            self,
            Self::TooManyRequests { .. }
                | Self::RateLimited { .. }
                | Self::QuotaExceeded { .. }
                | Self::StreamsInUse { .. }
                | Self::UpstreamUnknown(_)
                | Self::UpstreamUnavailable { .. }
                | Self::Timeout
                | Self::Unavailable(_)
                | Self::NoWorker(_)
                | Self::Internal(_)
        )
    }

    /// What became of a thing at a service that was asked for it.
    const fn outcome(&self) -> Option<&'static str> {
        match self {
            Self::UpstreamUnknown(_) => Some("unknown"),
            Self::UpstreamRefused(_) | Self::UpstreamUnavailable { .. } => Some("not_created"),
            _ => None,
        }
    }

    const fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed", "Malformed request"),
            Self::Unauthorized | Self::RefreshRefused => {
                (StatusCode::UNAUTHORIZED, "unauthorized", "Not authenticated")
            }
            Self::BadCredentials => (StatusCode::UNAUTHORIZED, "bad-credentials", "Login refused"),
            Self::Forbidden(_) | Self::PeopleOnly => (StatusCode::FORBIDDEN, "forbidden", "Not permitted"),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "not-found", "Not found"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed"),
            Self::Conflict(_) => (StatusCode::CONFLICT, "conflict", "Conflict"),
            Self::PreconditionFailed => (StatusCode::PRECONDITION_FAILED, "precondition-failed", "Changed meanwhile"),
            Self::KeyReused => (StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused", "Key used before"),
            Self::UriTooLong(_) => (StatusCode::URI_TOO_LONG, "uri-too-long", "Address too long"),
            Self::HeadersTooLarge { .. } => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers-too-large", "Headers too large")
            }
            Self::PayloadTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "payload-too-large", "Body too large"),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Unsupported media type")
            }
            Self::Invalid { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "invalid", "Invalid request"),
            Self::TooManyRequests { .. } | Self::StreamsInUse { .. } => {
                (StatusCode::TOO_MANY_REQUESTS, "too-many-requests", "Too many requests")
            }
            Self::NotConfigured(_) => (StatusCode::NOT_IMPLEMENTED, "not-configured", "Not configured"),
            Self::UpstreamUnknown(_) => (StatusCode::BAD_GATEWAY, "upstream-unknown", "Outcome unknown"),
            Self::UpstreamRefused(_) => (StatusCode::BAD_GATEWAY, "upstream-refused", "Refused by another service"),
            Self::UpstreamUnavailable { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "upstream-unavailable", "Another service is not available")
            }
            Self::RateLimited { .. } => (StatusCode::TOO_MANY_REQUESTS, "rate-limited", "Too many requests"),
            Self::QuotaExceeded { .. } => (StatusCode::TOO_MANY_REQUESTS, "quota-exceeded", "Daily quota used up"),
            Self::Timeout => (StatusCode::GATEWAY_TIMEOUT, "timeout", "Timed out"),
            Self::Unavailable(_) | Self::NoWorker(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Temporarily unavailable")
            }
            Self::RangeNotSatisfiable { .. } => {
                (StatusCode::RANGE_NOT_SATISFIABLE, "range-not-satisfiable", "Range not satisfiable")
            }
            // Replayed ones are rendered as what they are.
            Self::Internal(_) | Self::Replayed(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
        }
    }

    /// The problem that stands for a response some layer made without a body of ours.
    #[must_use]
    pub fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::NotFound("page"),
            StatusCode::METHOD_NOT_ALLOWED => Self::MethodNotAllowed,
            StatusCode::PAYLOAD_TOO_LARGE => Self::PayloadTooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::UnsupportedMediaType,
            StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => Self::Timeout,
            status if status.is_client_error() => Self::Malformed("it was refused before it was read".into()),
            status => Self::Internal(format!("a response of status {status} without a body").into()),
        }
    }
}

impl From<DbError> for ApiError {
    fn from(error: DbError) -> Self {
        if error.is_transient() { Self::Unavailable(error.into()) } else { Self::Internal(error.into()) }
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        DbError::from(error).into()
    }
}

/// Turns a broken constraint into the problem it means; everything else stays what it is.
pub trait OnConstraint<T> {
    fn on_constraint(self, name: &str, problem: impl FnOnce() -> ApiError) -> Result<T, ApiError>;
}

impl<T> OnConstraint<T> for Result<T, DbError> {
    fn on_constraint(self, name: &str, problem: impl FnOnce() -> ApiError) -> Result<T, ApiError> {
        self.map_err(|error| if error.constraint() == Some(name) { problem() } else { error.into() })
    }
}

/// Says that a row cannot go because others refer to it (any foreign key of the schema ends in `_fkey`).
pub fn in_use<T>(result: Result<T, DbError>, what: &str) -> Result<T, ApiError> {
    result.map_err(|error| match error.constraint() {
        Some(name) if name.contains("_fkey") => {
            ApiError::Conflict(format!("the {what} is still referred to: delete what uses it first"))
        }
        _ => error.into(),
    })
}

/// A problem on its way out, before the gate gives it the request's id.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// Stable: what programs decide by. The types are listed in `docs/api.md`.
    #[serde(rename = "type")]
    #[schema(example = "urn:holdfast:problem:invalid")]
    pub kind: String,
    /// The type in words.
    #[schema(example = "Invalid request")]
    pub title: &'static str,
    /// The status of the response.
    #[schema(example = 422)]
    pub status: u16,
    /// What is wrong with this request, for people.
    pub detail: String,
    /// What the log and the audit know the request by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Which values are wrong, of `…:invalid`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Of what another service was asked for: `unknown` or `not_created`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<&'static str>,
}

impl Problem {
    /// The response, with the request's id in the body.
    #[must_use]
    pub fn render(mut self, request_id: &str, headers: &HeaderMap) -> Response {
        self.request_id = Some(request_id.to_owned());
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, serde_json::to_vec(&self).unwrap_or_default()).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        for name in [header::RETRY_AFTER, header::WWW_AUTHENTICATE, header::ALLOW, header::CONTENT_RANGE] {
            if let Some(value) = headers.get(&name) {
                response.headers_mut().insert(name, value.clone());
            }
        }
        response
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if let Self::Replayed(reply) = self {
            return reply.into_response();
        }
        let (status, slug, title) = self.kind();
        if status.is_server_error() {
            tracing::error!(error = %Causes(&self), "request failed");
        }
        let mut response = status.into_response();
        match &self {
            Self::TooManyRequests { retry_after_s }
            | Self::RateLimited { retry_after_s, .. }
            | Self::QuotaExceeded { retry_after_s, .. }
            | Self::UpstreamUnavailable { retry_after_s, .. } => {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(*retry_after_s));
            }
            Self::Unauthorized | Self::RefreshRefused | Self::BadCredentials => {
                response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::RangeNotSatisfiable { range } => {
                if let Ok(range) = HeaderValue::from_str(range) {
                    response.headers_mut().insert(header::CONTENT_RANGE, range);
                }
            }
            _ => {}
        }
        let (detail, outcome) = (self.to_string(), self.outcome());
        let errors = if let Self::Invalid { errors, .. } = self { errors } else { Vec::new() };
        let kind = format!("urn:holdfast:problem:{slug}");
        response.extensions_mut().insert(Problem {
            kind,
            title,
            status: status.as_u16(),
            detail,
            request_id: None,
            errors,
            outcome,
        });
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_error_does_not_show_its_source() {
        let response = ApiError::Internal("password=hunter2".into()).into_response();
        let problem = response.extensions().get::<Problem>().unwrap();
        let body = serde_json::to_string(problem).unwrap();
        assert!(!body.contains("hunter2"), "{body}");
        assert_eq!(problem.status, 500);
    }

    #[test]
    fn every_type_is_a_stable_urn() {
        let response = ApiError::field("/name", "is empty").into_response();
        let problem = serde_json::to_value(response.extensions().get::<Problem>().unwrap()).unwrap();
        assert_eq!(problem["type"], "urn:holdfast:problem:invalid");
        assert_eq!(problem["errors"][0]["pointer"], "/name");
        assert_eq!(problem["status"], 422);
    }
}

//! The platform's own identity service: users of the platform are created through it, never in its tables.
//!
//! A call is repeated only where nothing can have come of the last one: no byte of it was sent, or the service said 429 or
//! 503. Everything else that is no clear answer is an unknown outcome, and is called so.

use std::time::{Duration, Instant};

use reqwest::{
    Client, Response, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use shared::{config, telemetry::Causes};

use crate::error::ApiError;

/// How much of an answer is read, in bytes.
const MAX_ANSWER: usize = 64 << 10;
/// How much of what the service said is passed on, in characters.
const MAX_SAID: usize = 300;
/// The longest wait that a caller is told of: a day.
const MAX_RETRY_AFTER_S: u64 = 86_400;
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Why there is no client for the identity service.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    #[error("platform.url is not a URL that can be used")]
    Url,
    #[error("platform.token holds characters that no header carries")]
    Token,
    #[error("no client for the identity service can be made")]
    Client(#[source] reqwest::Error),
}

impl PlatformError {
    /// A wrong configuration stays wrong until somebody changes it.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        true
    }
}

/// A client of the identity service.
#[derive(Debug)]
pub struct Platform {
    http: Client,
    url: Url,
    token: Option<(SecretString, HeaderValue)>,
    timeout: Duration,
    attempts: u32,
}

/// What became of one attempt that may be repeated.
struct Again {
    why: String,
    /// What the service asked to be waited.
    after: Option<Duration>,
}

impl Platform {
    /// The service of the configuration; none: this installation has none.
    pub fn new(config: &config::Platform) -> Result<Option<Self>, PlatformError> {
        let Some(url) = &config.url else { return Ok(None) };
        let url = Url::parse(url).map_err(|_| PlatformError::Url)?;
        // The one TLS of the project. A second answer is refused, and says the same.
        rustls::crypto::ring::default_provider().install_default().ok();
        let connect = (config.timeout / (config.attempts + 1)).min(Duration::from_secs(5));
        let mut http = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(connect)
            // A connection that waits for the next call may be closed while it is used: then nobody knows what was sent.
            .pool_max_idle_per_host(0);
        if let Some(pem) = &config.ca_pem {
            let trusted = reqwest::Certificate::from_pem_bundle(pem.as_bytes()).map_err(PlatformError::Client)?;
            http = http.tls_certs_merge(trusted);
        }
        let http = http.build().map_err(PlatformError::Client)?;
        let header = |token: &SecretString| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())).ok()?;
            value.set_sensitive(true);
            Some((token.clone(), value))
        };
        let token = config.token.as_ref().map(|token| header(token).ok_or(PlatformError::Token)).transpose()?;
        Ok(Some(Self { http, url, token, timeout: config.timeout, attempts: config.attempts }))
    }

    /// Creates a user, and answers the id that the service gave, if it gave one. `body` holds what is sent; nothing of
    /// `secret`, nor of the service's token, is passed on.
    pub async fn create(
        &self,
        key: &str,
        body: &Value,
        secret: Option<&SecretString>,
    ) -> Result<Option<String>, ApiError> {
        let deadline = Instant::now() + self.timeout;
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            let again = match self.attempt(key, body, deadline).await {
                Ok(response) if response.status().is_success() => return Ok(id(response).await),
                Ok(response) if busy(response.status()) => {
                    Again { why: format!("it answered {}", response.status()), after: retry_after(response.headers()) }
                }
                Ok(response) => return Err(self.refusal(response, key, secret).await),
                // The connection did not come about: of the request no byte was sent.
                Err(error) if error.is_connect() => Again { why: "it cannot be connected to".into(), after: None },
                Err(error) if error.is_timeout() => return Err(unknown("it did not answer in time", key)),
                Err(_) => return Err(unknown("the connection broke before its answer", key)),
            };
            let wait = again.after.unwrap_or(pause);
            if attempt >= self.attempts || wait >= deadline.saturating_duration_since(Instant::now()) {
                return Err(ApiError::UpstreamUnavailable {
                    detail: format!("the identity service has created nothing: {}", again.why),
                    retry_after_s: wait.as_secs().clamp(1, MAX_RETRY_AFTER_S),
                });
            }
            tokio::time::sleep(wait).await;
            pause *= 2;
        }
        // The loop ends by an answer.
        Err(unknown("it was not asked", key))
    }

    async fn attempt(&self, key: &str, body: &Value, deadline: Instant) -> Result<Response, reqwest::Error> {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut request = self.http.post(self.url.clone()).header("idempotency-key", key).json(body).timeout(left);
        if let Some((_, header)) = &self.token {
            request = request.header(AUTHORIZATION, header.clone());
        }
        let sent = request.send().await.map_err(reqwest::Error::without_url);
        if let Err(error) = &sent {
            tracing::warn!(error = %Causes(error), "the identity service was not reached");
        }
        sent
    }

    async fn refusal(&self, response: Response, key: &str, secret: Option<&SecretString>) -> ApiError {
        let status = response.status();
        match status {
            StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                return ApiError::UpstreamRefused(format!(
                    "the identity service did not take Holdfast's call ({status}): look at platform.url and platform.token"
                ));
            }
            // Whoever gave up waiting for the request may have acted on what there was of it.
            StatusCode::REQUEST_TIMEOUT => return unknown(&format!("it answered {status}"), key),
            status if !status.is_client_error() => return unknown(&format!("it answered {status}"), key),
            _ => {}
        }
        let said = self.said(response, secret).await;
        let said = if said.is_empty() { format!("it answered {status}") } else { said };
        if status == StatusCode::CONFLICT {
            return ApiError::Conflict(format!("the identity service has such a user, or is creating one: {said}"));
        }
        ApiError::Invalid { detail: format!("the identity service refused the user: {said}"), errors: Vec::new() }
    }

    /// What the service said of a refusal: the text of its answer's `detail`, `message`, `error` or `title`, bounded, and with
    /// what is secret crossed out.
    async fn said(&self, response: Response, secret: Option<&SecretString>) -> String {
        let is_text = response
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().to_ascii_lowercase().starts_with(b"text/plain"));
        let body = read(response).await;
        let json: Value = serde_json::from_slice(&body).unwrap_or_default();
        let named = ["detail", "message", "error_description", "error", "title"];
        let mut said = match named.iter().find_map(|name| json[*name].as_str()) {
            Some(text) => text.to_owned(),
            None if is_text => String::from_utf8_lossy(&body).into_owned(),
            None => return String::new(),
        };
        for hidden in secret.into_iter().chain(self.token.as_ref().map(|(token, _)| token)) {
            said = said.replace(hidden.expose_secret(), "***");
        }
        said.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_SAID).collect::<String>().trim().to_owned()
    }
}

fn busy(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

fn unknown(why: &str, key: &str) -> ApiError {
    ApiError::UpstreamUnknown(format!(
        "whether the identity service has created the user is not known: {why}. Look there, or repeat the call with Idempotency-Key: {key}"
    ))
}

/// Seconds or a date, as HTTP has it.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = chrono::DateTime::parse_from_rfc2822(text).ok()?;
    Some((at.with_timezone(&chrono::Utc) - chrono::Utc::now()).to_std().unwrap_or_default())
}

/// The `id` of the answer: text or a number.
async fn id(response: Response) -> Option<String> {
    let body = read(response).await;
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    match &answer["id"] {
        Value::String(id) if id.chars().count() <= MAX_SAID && !id.contains(char::is_control) => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    }
}

/// The body, as much of it as is read; what breaks off is cut: the status has said what matters.
async fn read(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while body.len() < MAX_ANSWER
        && let Ok(Some(chunk)) = response.chunk().await
    {
        body.extend_from_slice(&chunk);
    }
    body.truncate(MAX_ANSWER);
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_given_in_seconds_or_as_a_date() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_str(text).unwrap());
            retry_after(&headers)
        };
        assert_eq!(of("7"), Some(Duration::from_secs(7)));
        assert_eq!(of("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        let soon = chrono::Utc::now() + Duration::from_secs(100);
        assert!(of(&soon.to_rfc2822()).is_some_and(|wait| (90..=100).contains(&wait.as_secs())));
        for nonsense in ["", "-1", "soon", "1.5"] {
            assert_eq!(of(nonsense), None, "{nonsense}");
        }
    }
}

//! Bytes for people, through a worker that they never see: a ticket is written here and shown to the worker's own port,
//! and what the worker answers is passed on as it comes.

use std::{io, sync::Once, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderName, Method, StatusCode, header},
    response::Response,
};
use futures_util::stream;
use ring::{
    digest::{SHA256, digest},
    rand::{SecureRandom, SystemRandom},
};
use secrecy::{ExposeSecret, SecretString};
use shared::{db::workers::Carrier, telemetry::Causes};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::error::ApiError;

/// Pieces under way between the worker's connection and the caller's.
const AHEAD: usize = 4;
/// A worker that does not take a connection for so long is not there.
const CONNECT: Duration = Duration::from_secs(5);

/// What a request may say to the worker.
static ASKED: [HeaderName; 3] = [header::RANGE, header::IF_RANGE, header::IF_NONE_MATCH];
/// What the caller is told of the worker's answer.
static ANSWERED: [HeaderName; 8] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_DISPOSITION,
    header::ACCEPT_RANGES,
    header::ETAG,
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("x-save-store"),
];

/// A fresh ticket: what is shown, and what is kept of it.
#[derive(Debug)]
pub struct Fresh {
    shown: SecretString,
    pub hash: [u8; 32],
}

impl Fresh {
    /// 256 bits of the operating system's.
    pub fn generate() -> Result<Self, ApiError> {
        let mut bytes = [0; 32];
        let filled = SystemRandom::new().fill(&mut bytes);
        filled.map_err(|_| ApiError::Internal("the system gives no random bytes".into()))?;
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &bytes).as_ref());
        Ok(Self { shown: hex::encode(bytes).into(), hash })
    }
}

/// Speaks to the workers' ports. Clones share it.
#[derive(Debug, Clone)]
pub struct Workers {
    http: reqwest::Client,
    stall: Duration,
}

impl Workers {
    /// `stall`: how long a worker may be silent.
    pub fn new(stall: Duration) -> Result<Self, reqwest::Error> {
        static TLS: Once = Once::new();
        // The client wants to know whose TLS it would use, although workers are spoken to in the clear. Where somebody has
        // said it before, it is the same.
        TLS.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            // Each connection carries one transfer, and breaks with it.
            .pool_max_idle_per_host(0)
            .build()?;
        Ok(Self { http, stall })
    }

    /// How long either side of a transfer may be silent.
    pub fn stall(&self) -> Duration {
        self.stall
    }

    /// Shows the ticket to the first of these workers that takes the connection, and asks it for the bytes.
    pub async fn fetch(
        &self,
        carriers: &[Carrier],
        ticket: &Fresh,
        method: Method,
        asked: &HeaderMap,
        request_id: &str,
    ) -> Result<reqwest::Response, ApiError> {
        for carrier in carriers {
            let url = format!("{}/transfer/{}", carrier.url, ticket.shown.expose_secret());
            let mut request = self.http.request(method.clone(), url).header("x-request-id", request_id);
            for name in &ASKED {
                if let Some(value) = asked.get(name) {
                    request = request.header(name, value);
                }
            }
            match timeout(self.stall, request.send()).await {
                Ok(Ok(response)) => return Ok(response),
                // The URL holds the ticket.
                Ok(Err(error)) if error.is_connect() => {
                    tracing::warn!(worker.name = carrier.name, error = %Causes(&error.without_url()), "a worker does not take a connection");
                }
                Ok(Err(error)) => return Err(ApiError::Unavailable(error.without_url().into())),
                Err(_) => return Err(ApiError::Unavailable("the worker did not answer in time".into())),
            }
        }
        Err(unreached())
    }
}

/// No worker took the connection.
fn unreached() -> ApiError {
    ApiError::NoWorker(
        "no worker that could carry the bytes can be reached: look at worker.transfer_url, worker.port_listen and the network between API and workers".into(),
    )
}

/// What a worker's answer means for the caller, apart from its bytes.
pub async fn passed_on(response: &mut Option<reqwest::Response>) -> Result<Response, ApiError> {
    let Some(answer) = response.as_ref() else { return Err(unreached()) };
    let status = answer.status();
    if status == StatusCode::RANGE_NOT_SATISFIABLE {
        let range = answer.headers().get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
        return Err(ApiError::RangeNotSatisfiable { range: range.unwrap_or_default().to_owned() });
    }
    if !status.is_success() && status != StatusCode::NOT_MODIFIED {
        let problem = match response.take() {
            Some(answer) => answer.json::<shared::job::Problem>().await.ok(),
            None => None,
        };
        let message = problem.map(|problem| problem.message).unwrap_or_default();
        return Err(match status {
            StatusCode::CONFLICT => ApiError::Conflict(message),
            _ => ApiError::Unavailable(format!("the worker answered {status}: {message}").into()),
        });
    }
    let mut passed = Response::new(Body::empty());
    *passed.status_mut() = status;
    for name in &ANSWERED {
        if let Some(value) = answer.headers().get(name) {
            passed.headers_mut().insert(name, value.clone());
        }
    }
    Ok(passed)
}

/// How a transfer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Handed to the caller's connection.
    pub bytes: u64,
    pub how: How,
}

/// Whether all of it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Whole,
    /// The caller went away.
    Abandoned,
    /// One side was silent for too long.
    Stalled,
    /// The worker broke off.
    Broken,
    /// This process stops.
    Stopped,
}

impl How {
    /// As audit entries and events say it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Abandoned => "abandoned",
            Self::Stalled => "stalled",
            Self::Broken => "broken",
            Self::Stopped => "stopped",
        }
    }
}

/// The body for the caller, and the work that fills it, which whoever asks for the body has to run: it goes on until the
/// worker has sent all, or either side has gone. What is not whole ends with an error, so that the caller's connection
/// breaks.
pub fn pass(
    mut from: reqwest::Response,
    stall: Duration,
    stop: CancellationToken,
) -> (Body, impl Future<Output = Sent> + Send + 'static) {
    let (to, receiver) = mpsc::channel::<io::Result<Bytes>>(AHEAD);
    let body = stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    let mut left = from.content_length();
    let work = async move {
        let mut bytes = 0;
        let how = loop {
            let next = tokio::select! {
                // A caller who has gone is noticed while the worker is silent, too.
                () = to.closed() => break How::Abandoned,
                () = stop.cancelled() => break How::Stopped,
                next = timeout(stall, from.chunk()) => next,
            };
            let chunk = match next {
                Err(_) => break How::Stalled,
                Ok(Err(error)) => {
                    tracing::warn!(error = %Causes(&error.without_url()), "a worker broke a transfer off");
                    break How::Broken;
                }
                Ok(Ok(None)) if left.is_some_and(|left| left > 0) => break How::Broken,
                Ok(Ok(None)) => break How::Whole,
                Ok(Ok(Some(chunk))) => chunk,
            };
            let length = chunk.len() as u64;
            left = left.map(|left| left.saturating_sub(length));
            let given = tokio::select! {
                () = stop.cancelled() => break How::Stopped,
                given = timeout(stall, to.send(Ok(chunk))) => given,
            };
            match given {
                Ok(Ok(())) => bytes += length,
                Ok(Err(_)) => break How::Abandoned,
                Err(_) => break How::Stalled,
            }
        };
        if how != How::Whole {
            // Where even this finds no room, the closed channel falls short of the promised length, which breaks the
            // connection as well.
            to.try_send(Err(io::Error::other("the transfer broke off"))).ok();
        }
        Sent { bytes, how }
    };
    (Body::from_stream(body), work)
}

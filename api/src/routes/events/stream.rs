//! `GET /v1/events` with `Accept: text/event-stream`: what is asked for again, then what happens, for as long as the
//! client reads. `id` is the `seq`, `event` the type.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use axum::{
    http::{HeaderMap, header},
    response::{IntoResponse, Response, sse},
};
use futures_util::stream;
use shared::{db::event_log, id::ServiceId, telemetry::Causes};
use tokio::time::sleep;

use super::Event;
use crate::{
    auth::Identity,
    error::ApiError,
    page::MAX_LIMIT,
    rbac::visible,
    state::AppState,
    stream::{Caller, Open, heartbeat},
};

/// How often the history is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Whether the caller wants a stream.
pub fn is_wanted(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted
        .flat_map(|value| value.split(','))
        .any(|kind| kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream")))
}

/// Where a client that comes back goes on, by the header that browsers send.
pub fn last_seen(headers: &HeaderMap) -> Result<Option<i64>, ApiError> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let seq = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    seq.map(Some).ok_or_else(|| ApiError::Malformed("Last-Event-ID is no seq".into()))
}

struct Tail {
    state: AppState,
    caller: Caller,
    visible: Option<Vec<ServiceId>>,
    after: i64,
    ready: VecDeque<Event>,
    _open: Open,
}

impl Tail {
    async fn next(&mut self) -> Result<Option<sse::Event>, ApiError> {
        loop {
            if self.state.stopping.is_cancelled() {
                return Ok(None);
            }
            if let Some(who) = self.caller.again().await? {
                self.visible = visible(&who);
            }
            if let Some(event) = self.ready.pop_front() {
                let text = serde_json::to_string(&event).map_err(|error| ApiError::Internal(error.into()))?;
                let (seq, kind) = (event.seq.to_string(), event.r#type);
                return Ok(Some(sse::Event::default().id(seq).event(kind).data(text)));
            }
            let rows = {
                let mut conn = self.state.pool.acquire().await?;
                event_log::after(&mut conn, self.visible.as_deref(), self.after, MAX_LIMIT.into()).await?
            };
            self.after = rows.last().map_or(self.after, |row| row.seq);
            self.ready.extend(rows.into_iter().map(Event::from));
            if self.ready.is_empty() {
                tokio::select! { () = sleep(LOOK) => {}, () = self.state.stopping.cancelled() => {} }
            }
        }
    }
}

/// The stream: after this `seq`, or from now on.
pub async fn answer(
    state: &AppState,
    who: &Identity,
    caller: Caller,
    after: Option<i64>,
) -> Result<Response, ApiError> {
    let open = state.streams.open(who.admin_id)?;
    let after = match after {
        Some(after) => after,
        None => event_log::newest(&mut *state.pool.acquire().await?).await?,
    };
    let tail = Tail { state: state.clone(), caller, visible: visible(who), after, ready: VecDeque::new(), _open: open };
    let events = stream::unfold(tail, |mut tail| async {
        match tail.next().await {
            Ok(event) => event.map(|event| (Ok::<_, Infallible>(event), tail)),
            // The client comes back with the last id it saw, and is told why it may not or cannot.
            Err(error) => {
                tracing::debug!(error = %Causes(&error), "a stream of events ended early");
                None
            }
        }
    });
    Ok(sse::Sse::new(events).keep_alive(heartbeat()).into_response())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_stream_is_wanted_by_its_name_alone() {
        for (accept, wanted) in [
            ("text/event-stream", true),
            ("application/json, Text/Event-Stream;q=0.5", true),
            ("*/*", false),
            ("application/json", false),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(is_wanted(&headers), wanted, "{accept}");
        }
        assert!(!is_wanted(&HeaderMap::new()));
        let headers = HeaderMap::from_iter([("last-event-id".parse().unwrap(), HeaderValue::from_static("x"))]);
        assert!(last_seen(&headers).is_err());
    }
}

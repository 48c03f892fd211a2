//! `GET /v1/jobs/{id}/events`: the job as server-sent events, each time it changes, until it has ended. `job` when its
//! state or phase is another, `progress` when only its figures are, `end` last.

use std::{convert::Infallible, time::Duration};

use axum::response::sse::{Event, Sse};
use futures_util::{Stream, stream};
use shared::{db::jobs, id::JobId, telemetry::Causes};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::sleep,
};

use super::{Job, find};
use crate::{
    call::Call,
    error::ApiError,
    extract::Path,
    rbac::{Permission, authorize},
    state::AppState,
    stream::{Caller, Open, heartbeat},
};

/// How often the job is looked at, as workers write progress.
const LOOK: Duration = Duration::from_secs(1);

struct Following {
    state: AppState,
    caller: Caller,
    id: JobId,
    ended: Receiver<JobId>,
    /// What was sent last: its state and phase, and all of it.
    sent: Option<((shared::job::JobState, Option<String>), String)>,
    is_over: bool,
    _open: Open,
}

impl Following {
    /// What is to be sent next; none: nothing any more.
    async fn next(&mut self) -> Result<Option<Event>, ApiError> {
        while !self.is_over && !self.state.stopping.is_cancelled() {
            let row =
                jobs::get(&mut *self.state.pool.acquire().await?, self.id).await?.ok_or(ApiError::NotFound("job"))?;
            if let Some(who) = self.caller.again().await? {
                authorize(&who, Permission::JobRead, row.service_id)?;
            }
            self.is_over = row.state.is_terminal();
            let at = (row.state, row.phase.clone());
            let text = serde_json::to_string(&Job::from(row)).map_err(|error| ApiError::Internal(error.into()))?;
            let name = match &self.sent {
                _ if self.is_over => Some("end"),
                Some((before, _)) if *before == at => Some("progress"),
                _ => Some("job"),
            };
            let is_news = self.is_over || self.sent.as_ref().is_none_or(|(_, sent)| *sent != text);
            if let Some(name) = name.filter(|_| is_news) {
                let event = Event::default().event(name).data(&text);
                self.sent = Some((at, text));
                return Ok(Some(event));
            }
            self.wait().await;
        }
        Ok(None)
    }

    /// Until the job has ended, or it is time to look.
    async fn wait(&mut self) {
        let (id, ended) = (self.id, &mut self.ended);
        let heard = async {
            loop {
                match ended.recv().await {
                    Ok(other) if other != id => {}
                    Err(RecvError::Closed) => std::future::pending().await,
                    _ => return,
                }
            }
        };
        tokio::select! { () = heard => {}, () = sleep(LOOK) => {}, () = self.state.stopping.cancelled() => {} }
    }
}

/// Streams a job as server-sent events, each time it changes, until it has ended.
///
/// `job` when its state or phase is another, `progress` when only its figures are, `end` last; the data is the job.
#[utoipa::path(
    get, path = "/v1/jobs/{id}/events",
    responses((status = 200, body = String, content_type = "text/event-stream"), (status = 429, description = "the caller has too many streams open")),
)]
pub async fn handle(
    call: Call,
    caller: Caller,
    Path(id): Path<JobId>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    // Before the first look, so that an end between look and wait is heard.
    let ended = call.state.ended.subscribe();
    find(&call, id, Permission::JobRead).await?;
    let open = call.state.streams.open(call.who.admin_id)?;
    let following = Following { state: call.state.clone(), caller, id, ended, sent: None, is_over: false, _open: open };
    let events = stream::unfold(following, |mut following| async {
        match following.next().await {
            Ok(event) => event.map(|event| (Ok(event), following)),
            // The client asks again, and is told why it may not or cannot.
            Err(error) => {
                tracing::debug!(error = %Causes(&error), job.id = %following.id, "a stream of a job ended early");
                None
            }
        }
    });
    Ok(Sse::new(events).keep_alive(heartbeat()))
}

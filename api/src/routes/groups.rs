//! Groups: jobs that were asked for together and are followed together.

pub mod get;

use std::time::Duration;

use axum::{http::StatusCode, response::Response};
use serde::Serialize;
use shared::{
    db::groups::{self, GroupLine},
    id::GroupId,
};
use sqlx::{Postgres, Transaction};
use tokio::{
    sync::broadcast::error::RecvError,
    time::{Instant, sleep, sleep_until},
};

use crate::{audit::Change, call::Call, error::ApiError, state::AppState};

/// Many jobs of a group may end at once: one look is enough for them.
const TOGETHER: Duration = Duration::from_millis(50);

/// Commits the jobs of a group, and answers with what was asked for: at once, or when all of them have ended or the time is up.
/// They are followed where the answer says.
pub async fn answer<Q>(
    call: &Call<Q>,
    tx: Transaction<'static, Postgres>,
    change: Change,
    group: GroupId,
    asked: impl Serialize,
    wait: Duration,
) -> Result<Response, ApiError> {
    let place = format!("/v1/groups/{group}");
    let response = call.answer(tx, change, StatusCode::ACCEPTED, Some(place), asked).await?;
    wait_for(&call.state, group, wait).await?;
    Ok(response)
}

/// The group's jobs when all of them have ended, or as they stand when the time is up. No connection is held meanwhile.
pub async fn wait_for(state: &AppState, id: GroupId, wait: Duration) -> Result<Vec<GroupLine>, ApiError> {
    let until = Instant::now() + wait;
    // Before the first look, so that an end between look and wait is heard.
    let mut ended = state.ended.subscribe();
    loop {
        let lines = groups::lines(&mut *state.pool.acquire().await?, id).await?;
        let now = Instant::now();
        if lines.iter().all(|line| line.state.is_terminal()) || now >= until {
            return Ok(lines);
        }
        let heard = async {
            match ended.recv().await {
                Err(RecvError::Closed) => std::future::pending().await,
                _ => sleep(TOGETHER).await,
            }
        };
        // A notification may be lost with its connection: look again each second.
        tokio::select! { () = heard => {}, () = sleep_until(until.min(now + Duration::from_secs(1))) => {} }
    }
}

//! `GET /v1/groups/{id}?wait=30s`: how the jobs of a group stand, in one answer.

use axum::Json;
use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::{
    db::{
        groups::{self, GroupLine},
        jobs::{self, JobFilter},
    },
    id::GroupId,
    job::JobState,
};

use super::wait_for;
use crate::{
    call::Call,
    error::ApiError,
    extract::Path,
    page::MAX_LIMIT,
    rbac::{Permission, Seen, visible},
    routes::jobs::{Job, WaitQuery},
};

/// How a group stands, of the jobs that the caller may see.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Group {
    pub id: GroupId,
    /// `queued`: none has begun; `running`; and when all have ended, `failed` if one has, `cancelled` if one was, else
    /// `succeeded`.
    pub state: JobState,
    pub total: i64,
    /// How many of them have ended.
    pub ended: i64,
    pub counts: Counts,
    pub created_at: DateTime<Utc>,
    /// When the last of them ended; null: not all have.
    pub finished_at: Option<DateTime<Utc>>,
    /// The first hundred; `GET /v1/jobs?group=` has all.
    pub jobs: Vec<Job>,
}

/// Jobs by their state.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
#[schema(as = GroupCounts)]
pub struct Counts {
    pub queued: i64,
    pub running: i64,
    pub succeeded: i64,
    pub failed: i64,
    pub cancelled: i64,
}

impl Counts {
    fn of(lines: &[GroupLine]) -> Self {
        let mut counts = Self::default();
        for line in lines {
            *match line.state {
                JobState::Queued => &mut counts.queued,
                JobState::Running => &mut counts.running,
                JobState::Succeeded => &mut counts.succeeded,
                JobState::Failed => &mut counts.failed,
                JobState::Cancelled => &mut counts.cancelled,
            } += line.jobs;
        }
        counts
    }

    fn ended(&self) -> i64 {
        self.succeeded + self.failed + self.cancelled
    }

    fn state(&self) -> JobState {
        match self {
            _ if self.running > 0 || (self.queued > 0 && self.ended() > 0) => JobState::Running,
            _ if self.queued > 0 => JobState::Queued,
            _ if self.failed > 0 => JobState::Failed,
            _ if self.cancelled > 0 => JobState::Cancelled,
            _ => JobState::Succeeded,
        }
    }
}

/// The lines of services that the caller may see; a group without any does not exist.
fn shown(call: &Call<WaitQuery>, lines: Vec<GroupLine>) -> Result<Vec<GroupLine>, ApiError> {
    let first = lines.first().ok_or(ApiError::NotFound("group"))?.service_id;
    let Some(services) = visible(&call.who) else {
        call.authorize(Permission::GroupRead, None)?;
        return Ok(lines);
    };
    let is_mine = |line: &GroupLine| line.service_id.is_some_and(|service| services.contains(&service));
    let mine: Vec<GroupLine> = lines.into_iter().filter(is_mine).collect();
    // Refuses, and notes whose group was reached for, where none is left.
    call.authorize(Permission::GroupRead, mine.first().map_or(first, |line| line.service_id))?;
    Ok(mine)
}

/// Shows how the jobs of a group stand.
///
/// `?wait=30s` answers when all of them have ended or the time is up.
#[utoipa::path(get, path = "/v1/groups/{id}", params(WaitQuery), responses((status = 200, body = Group)))]
pub async fn handle(call: Call<WaitQuery>, Path(id): Path<GroupId>) -> Result<Json<Group>, ApiError> {
    let wait = call.query.wait(&call.state)?;
    let lines = groups::lines(&mut *call.conn().await?, id).await?;
    let mut lines = shown(&call, lines)?;
    if !wait.is_zero() && lines.iter().any(|line| !line.state.is_terminal()) {
        lines = shown(&call, wait_for(&call.state, id, wait).await?)?;
    }
    let seen = Seen::of(&call.who, None);
    let filter = JobFilter {
        service_ids: seen.other,
        service_id: seen.one,
        group_id: Some(id),
        oldest_first: true,
        ..JobFilter::default()
    };
    let (rows, _) = jobs::list(&mut *call.conn().await?, &filter, MAX_LIMIT.into(), 0).await?;
    let counts = Counts::of(&lines);
    let (state, total, ended) = (counts.state(), lines.iter().map(|line| line.jobs).sum(), counts.ended());
    Ok(Json(Group {
        id,
        state,
        total,
        ended,
        counts,
        created_at: lines.iter().map(|line| line.created_at).min().ok_or(ApiError::NotFound("group"))?,
        finished_at: if ended == total { lines.iter().filter_map(|line| line.finished_at).max() } else { None },
        jobs: rows.into_iter().map(Job::from).collect(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_as_its_jobs_are() {
        let counts =
            |queued, running, succeeded, failed, cancelled| Counts { queued, running, succeeded, failed, cancelled };
        for (counts, state) in [
            (counts(2, 0, 0, 0, 0), JobState::Queued),
            (counts(1, 1, 0, 0, 0), JobState::Running),
            (counts(1, 0, 1, 0, 0), JobState::Running),
            (counts(0, 1, 0, 1, 0), JobState::Running),
            (counts(0, 0, 2, 0, 0), JobState::Succeeded),
            (counts(0, 0, 2, 1, 1), JobState::Failed),
            (counts(0, 0, 2, 0, 1), JobState::Cancelled),
        ] {
            assert_eq!(counts.state(), state, "{counts:?}");
        }
    }
}

//! Restores of data sets: followed here, and gone on with where one is half way.

pub mod get;
pub mod list;
pub mod resume;
pub mod undo;

use std::time::Duration;

use axum::{
    Json,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use shared::{
    data_set::{Doing, MemberState, RestoreState},
    db::data_set_restores::{self, MemberRow, RestoreRow},
    enqueue,
    id::{AdminId, DatasetId, GroupId, JobId, SaveId, ServiceId, TargetId},
    job::{JobState, Problem},
    name::{DatabaseName, Slug},
};
use sqlx::PgConnection;
use tokio::{
    sync::broadcast::error::RecvError,
    time::{Instant, sleep, sleep_until},
};

use super::jobs::{WaitQuery, refused};
use crate::{audit::Change, call::Call, error::ApiError, rbac::Permission, state::AppState};

/// After a job's end what follows from it is written in another transaction.
const SETTLES: Duration = Duration::from_millis(50);

/// A restore of a data set as lists show it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct RestoreOfDataSet {
    /// The group of all its jobs too.
    pub group_id: GroupId,
    /// Null: it was deleted since.
    pub data_set_id: Option<DatasetId>,
    #[schema(example = "friday-demo")]
    pub name: Slug,
    pub state: RestoreState,
    pub dry_run: bool,
    /// Whether what is there is saved first.
    pub safety: bool,
    /// Seconds that what makes way is kept.
    #[schema(example = 86_400)]
    pub keep_old_s: i32,
    /// Why it did not go through, or that queues were not purged; null: nothing is wrong.
    pub problem: Option<Problem>,
    pub requested_by: Option<AdminId>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Null: it goes on by itself.
    pub finished_at: Option<DateTime<Utc>>,
}

impl From<RestoreRow> for RestoreOfDataSet {
    fn from(row: RestoreRow) -> Self {
        Self {
            group_id: row.group_id,
            data_set_id: row.data_set_id,
            name: row.name,
            state: row.state,
            dry_run: row.dry_run,
            safety: row.safety,
            keep_old_s: row.keep_old_s,
            problem: row.problem.map(|problem| problem.0),
            requested_by: row.requested_by,
            created_at: row.created_at,
            updated_at: row.updated_at,
            finished_at: row.finished_at,
        }
    }
}

/// A restore of a data set, and where each of its databases stands.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct DataSetRestore {
    #[serde(flatten)]
    restore: RestoreOfDataSet,
    /// In the order in which they are swapped in; they are swapped back in the reverse one.
    members: Vec<Member>,
    /// The jobs that purge the services' queues.
    purges: Vec<JobId>,
    /// What can be done by a person now.
    may: May,
}

/// What a person can do.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = DataSetRestoreMay)]
struct May {
    /// What is missing can be swapped in.
    resume: bool,
    /// What was swapped in can be swapped back.
    undo: bool,
}

/// The database of one target.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = DataSetRestoreMember)]
struct Member {
    service_id: ServiceId,
    service: Slug,
    target_id: TargetId,
    target: Slug,
    database: DatabaseName,
    save_id: SaveId,
    state: MemberState,
    /// What its job is about; null: nothing is under way.
    doing: Option<Doing>,
    /// Its latest job.
    job_id: Option<JobId>,
    job_state: Option<JobState>,
    /// Whether something made way for it, that can be swapped back.
    can_go_back: bool,
    problem: Option<Problem>,
}

impl From<MemberRow> for Member {
    fn from(row: MemberRow) -> Self {
        Self {
            service_id: row.service_id,
            service: row.service,
            target_id: row.target_id,
            target: row.target,
            database: row.database,
            save_id: row.save_id,
            state: row.state,
            doing: row.doing,
            job_id: row.job_id,
            job_state: row.job_state,
            can_go_back: row.outgoing_id.is_some(),
            problem: row.problem.map(|problem| problem.0),
        }
    }
}

/// The restore with all that belongs to it.
pub(super) async fn whole(conn: &mut PgConnection, id: GroupId) -> Result<DataSetRestore, ApiError> {
    let row = data_set_restores::get(conn, id).await?.ok_or(ApiError::NotFound("data_set_restore"))?;
    let members = data_set_restores::members(conn, id).await?;
    Ok(DataSetRestore {
        purges: row.purges.clone(),
        may: May { resume: row.state.may_resume(), undo: row.state.may_undo() },
        restore: row.into(),
        members: members.into_iter().map(Member::from).collect(),
    })
}

/// Which way a restore is to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Resume,
    Undo,
}

/// Goes on with a restore in this direction, and answers how it stands.
async fn turn(call: Call<WaitQuery>, id: GroupId, confirm: &Slug, way: Way) -> Result<Response, ApiError> {
    let permission = Permission::DataSetRestore;
    call.authorize(permission, None)?;
    let wait = call.query.wait(&call.state)?;
    let mut tx = call.begin().await?;
    let row = data_set_restores::lock(&mut tx, id).await?.ok_or(ApiError::NotFound("data_set_restore"))?;
    let (word, may, needed) = match way {
        Way::Resume => ("resume", row.state.may_resume(), "partly swapped, or undone"),
        Way::Undo => ("undo", row.state.may_undo(), "partly swapped, or has succeeded"),
    };
    if !may {
        return Err(ApiError::Conflict(format!("it is {}: it must be {needed}", row.state)));
    }
    if *confirm != row.name {
        return Err(ApiError::field("/confirm", format!("must be the data set's name, {:?}", row.name.as_str())));
    }
    let targets = targets_of(&mut tx, id).await?;
    alone(&mut tx, &targets, Some(id)).await?;
    let (before, data_set) = (row.state, row.data_set_id);
    let asked = call.asked(Some(enqueue::DATA_SET_PRIORITY));
    let row = match way {
        Way::Resume => enqueue::resume(&mut tx, row, &asked).await,
        Way::Undo => enqueue::undo_data_set(&mut tx, row, &asked).await,
    };
    let mut detail = json!({ "data_set_id": data_set, "before": before, "after": row.map_err(refused)?.state });
    detail[word] = true.into();
    let shown = whole(&mut tx, id).await?;
    let location = Some(format!("/v1/data-set-restores/{id}"));
    let change = Change::new(permission, id, None, detail);
    let response = call.answer(tx, change, StatusCode::ACCEPTED, location, shown).await?;
    accepted(&call.state, id, wait, response).await
}

/// Refuses to begin while another restore works on one of these targets, or stands half way on it.
pub(super) async fn alone(
    tx: &mut PgConnection,
    targets: &[TargetId],
    except: Option<GroupId>,
) -> Result<(), ApiError> {
    match data_set_restores::overlapping(tx, targets, except).await? {
        None => Ok(()),
        Some(group) => Err(ApiError::Conflict(format!(
            "a data set is being restored on the same targets, or stands half way: see /v1/data-set-restores/{group} to its end first"
        ))),
    }
}

/// The targets of a restore.
async fn targets_of(tx: &mut PgConnection, id: GroupId) -> Result<Vec<TargetId>, ApiError> {
    Ok(data_set_restores::members(tx, id).await?.into_iter().map(|member| member.target_id).collect())
}

/// The restore when it goes on no more, or as it stands when the time is up. No connection is held meanwhile.
async fn wait_for(state: &AppState, id: GroupId, wait: Duration) -> Result<DataSetRestore, ApiError> {
    let until = Instant::now() + wait;
    let mut ended = state.ended.subscribe();
    loop {
        let shown = whole(&mut *state.pool.acquire().await?, id).await?;
        let now = Instant::now();
        if !shown.restore.state.is_open() || now >= until {
            return Ok(shown);
        }
        let heard = async {
            match ended.recv().await {
                Err(RecvError::Closed) => std::future::pending().await,
                _ => sleep(SETTLES).await,
            }
        };
        // What follows from a job's end may come late, and a notification be lost: look again each second.
        tokio::select! { () = heard => {}, () = sleep_until(until.min(now + Duration::from_secs(1))) => {} }
    }
}

/// What was accepted, as it was answered; or, where it is waited for, as it stands then.
pub(super) async fn accepted(
    state: &AppState,
    id: GroupId,
    wait: Duration,
    answer: Response,
) -> Result<Response, ApiError> {
    if wait.is_zero() {
        return Ok(answer);
    }
    let shown = wait_for(state, id, wait).await?;
    let location = format!("/v1/data-set-restores/{id}");
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(shown)).into_response())
}

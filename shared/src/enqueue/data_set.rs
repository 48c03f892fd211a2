//! Restoring a data set: what its jobs came to is written down, and the next ones are asked for, in one transaction. Whoever sees
//! a job of it end does that, and the sweeper for whoever could not.

use serde_json::json;
use sqlx::{PgConnection, types::Json};

use super::{Asked, EnqueueError, Replace, RestoreRequest, preflight, purge, restore, undo};
use crate::{
    data_set::{Doing, Member, MemberState, Next, RestoreState, next},
    db::{
        data_set_restores::{self, MemberRow, NewRestore, RestoreRow},
        jobs::{self, JobRow},
        kept, outbox,
    },
    event::NewEvent,
    id::{GroupId, JobId, KeptId},
    job::{Compare, JobState, Method, OwnerPolicy, Part, PrivilegePolicy, Problem},
    server::Engine,
};

/// How often what a dying worker left undone is begun again.
const TRIES: i32 = 3;
/// What a person waits for goes before what the night has asked for.
pub const DATA_SET_PRIORITY: i16 = 8;

/// Begins a restore: each of its saves is looked at. What comes after follows by [`advance`].
pub async fn restore_data_set(tx: &mut PgConnection, new: &NewRestore, asked: &Asked) -> Result<(), EnqueueError> {
    data_set_restores::insert(tx, new).await?;
    let row = lock(tx, new.group_id).await?;
    for mut member in data_set_restores::members(tx, row.group_id).await? {
        let looked_at = request(&row, &member).job(member.target_id, &member.database);
        let job = preflight(tx, looked_at, Some(row.group_id), asked).await?;
        begin(tx, &row, &mut member, Doing::Check, job).await?;
    }
    Ok(())
}

/// Goes on with what is missing: what could not be swapped in is tried again.
pub async fn resume(tx: &mut PgConnection, row: RestoreRow, asked: &Asked) -> Result<RestoreRow, EnqueueError> {
    turn(tx, row, RestoreState::Swapping, asked).await
}

/// Turns back: what was swapped in is swapped back, the last first.
pub async fn undo_data_set(tx: &mut PgConnection, row: RestoreRow, asked: &Asked) -> Result<RestoreRow, EnqueueError> {
    turn(tx, row, RestoreState::Undoing, asked).await
}

/// Goes on in another direction. What failed is forgotten; what it needs must still be kept.
async fn turn(
    tx: &mut PgConnection,
    mut row: RestoreRow,
    state: RestoreState,
    asked: &Asked,
) -> Result<RestoreRow, EnqueueError> {
    for mut member in data_set_restores::members(tx, row.group_id).await? {
        let needed = match (state, member.state) {
            (RestoreState::Undoing, MemberState::Swapped) => member.outgoing_id,
            (RestoreState::Swapping, MemberState::Staged | MemberState::Back) => member.incoming_id,
            _ => None,
        };
        if let Some(id) = needed
            && !kept::get(tx, id).await?.is_some_and(|kept| kept.is_kept)
        {
            return Err(EnqueueError::NothingKept);
        }
        member.problem = None;
        data_set_restores::set_member(tx, row.group_id, &member).await?;
    }
    (row.state, row.problem) = (state, None);
    data_set_restores::set_state(tx, &row).await?;
    go_on(tx, row, asked).await
}

/// Takes a restore as far as it goes without another job's end. `None`: there is none of this id.
pub async fn advance(tx: &mut PgConnection, id: GroupId, asked: &Asked) -> Result<Option<RestoreRow>, EnqueueError> {
    let Some(row) = data_set_restores::lock(tx, id).await? else { return Ok(None) };
    let asked = Asked {
        by: row.requested_by,
        request_id: row.request_id.clone(),
        trace_id: row.trace_id.clone(),
        priority: Some(DATA_SET_PRIORITY),
        ..asked.clone()
    };
    go_on(tx, row, &asked).await.map(Some)
}

async fn go_on(tx: &mut PgConnection, mut row: RestoreRow, asked: &Asked) -> Result<RestoreRow, EnqueueError> {
    loop {
        let mut members = data_set_restores::members(tx, row.group_id).await?;
        for member in &mut members {
            settle(tx, &row, member, asked).await?;
        }
        if row.state == RestoreState::Purging {
            return purged(tx, row).await;
        }
        let seen: Vec<Member> = members.iter().map(seen).collect();
        match next(row.state, row.dry_run, &seen) {
            Next::Wait => return Ok(row),
            Next::Enter(state) => enter(tx, &mut row, &mut members, state, asked).await?,
            Next::Swap(index) => swap(tx, &row, &mut members[index], Doing::Swap, asked).await?,
            Next::Undo(index) => swap(tx, &row, &mut members[index], Doing::Undo, asked).await?,
        }
    }
}

fn seen(member: &MemberRow) -> Member {
    Member {
        state: member.state,
        is_busy: member.doing.is_some(),
        has_failed: member.problem.is_some(),
        has_outgoing: member.outgoing_id.is_some(),
    }
}

/// Writes down what the member's job came to, if it has ended. That a worker died before it had done anything is no reason to
/// give up: it is begun again.
async fn settle(
    tx: &mut PgConnection,
    row: &RestoreRow,
    member: &mut MemberRow,
    asked: &Asked,
) -> Result<(), EnqueueError> {
    let (Some(doing), Some(id)) = (member.doing, member.job_id) else { return Ok(()) };
    let job = jobs::get(tx, id).await?.ok_or(EnqueueError::JobMissing(id))?;
    if !job.state.is_terminal() {
        return Ok(());
    }
    member.doing = None;
    member.problem = problem(&job, doing).map(Json);
    let was_left = member.problem.as_ref().is_some_and(|problem| problem.code == "swap_not_done");
    if was_left && member.tries < TRIES {
        (member.tries, member.problem) = (member.tries + 1, None);
        return match doing {
            Doing::Check | Doing::Stage => stage(tx, row, member, asked).await,
            Doing::Swap | Doing::Undo => swap(tx, row, member, doing, asked).await,
        };
    }
    if member.problem.is_none() {
        member.tries = 0;
        let put_aside = kept::of_job(tx, id).await?.map(|kept| kept.id);
        match doing {
            Doing::Check => {}
            Doing::Stage => (member.state, member.incoming_id) = (MemberState::Staged, put_aside),
            Doing::Swap => {
                (member.state, member.incoming_id, member.outgoing_id) = (MemberState::Swapped, None, put_aside);
            }
            Doing::Undo => {
                (member.state, member.incoming_id, member.outgoing_id) = (MemberState::Back, put_aside, None);
            }
        }
    }
    Ok(data_set_restores::set_member(tx, row.group_id, member).await?)
}

/// Why a job is not what was needed; none: it is.
fn problem(job: &JobRow, doing: Doing) -> Option<Problem> {
    match job.state {
        JobState::Succeeded => {}
        JobState::Cancelled => {
            let hint = "Begin again, or resume it where it was half way.";
            return Some(Problem::permanent("cancelled", "somebody has cancelled the job", hint));
        }
        _ => {
            let unknown = || Problem::permanent("failed", "the job failed", "Look at its history.");
            return Some(job.error.as_ref().map_or_else(unknown, |error| error.0.clone()));
        }
    }
    let result = job.result.as_ref().filter(|result| doing == Doing::Check && result["would_fail"] == json!(true))?;
    let first = &result["problems"][0];
    let text = |key: &str| first[key].as_str().unwrap_or("it would fail").to_owned();
    Some(Problem::permanent(&text("code"), text("message"), text("hint")))
}

async fn enter(
    tx: &mut PgConnection,
    row: &mut RestoreRow,
    members: &mut [MemberRow],
    state: RestoreState,
    asked: &Asked,
) -> Result<(), EnqueueError> {
    row.state = state;
    match state {
        RestoreState::Staging => {
            for member in members.iter_mut() {
                stage(tx, row, member, asked).await?;
            }
        }
        RestoreState::Failed => {
            row.problem = first_problem(members).map(Json);
            // Nobody will swap in what the others have made.
            let staged: Vec<KeptId> = members.iter().filter_map(|member| member.incoming_id).collect();
            kept::let_go(tx, &staged).await?;
        }
        RestoreState::Undoing | RestoreState::PartlySwapped => {
            row.problem = first_problem(members).map(Json).or_else(|| row.problem.take());
        }
        RestoreState::Purging => {
            let mut services: Vec<_> = members.iter().map(|member| member.service_id).collect();
            services.sort_unstable();
            services.dedup();
            for service in services {
                row.purges.extend(purge(tx, service, Some(row.group_id), None, false, asked).await?);
            }
        }
        _ => {}
    }
    data_set_restores::set_state(tx, row).await?;
    tell(tx, row, members).await
}

fn first_problem(members: &[MemberRow]) -> Option<Problem> {
    let failed = members.iter().find_map(|member| Some((member, member.problem.as_ref()?)));
    failed.map(|(member, problem)| {
        let message = format!("{}/{}: {}", member.service, member.target, problem.message);
        Problem { message, ..problem.0.clone() }
    })
}

/// All are in their places: whether the queues are empty too.
async fn purged(tx: &mut PgConnection, mut row: RestoreRow) -> Result<RestoreRow, EnqueueError> {
    for id in &row.purges {
        let job = jobs::get(tx, *id).await?.ok_or(EnqueueError::JobMissing(*id))?;
        if !job.state.is_terminal() {
            return Ok(row);
        }
        if job.state != JobState::Succeeded && row.problem.is_none() {
            let message = "every database is restored, and a service's queues were not purged";
            row.problem = Some(Json(Problem::permanent("not_purged", message, format!("Retry job {id}."))));
        }
    }
    row.state = RestoreState::Succeeded;
    data_set_restores::set_state(tx, &row).await?;
    let members = data_set_restores::members(tx, row.group_id).await?;
    tell(tx, &row, &members).await?;
    Ok(row)
}

/// Restores a member beside its database.
async fn stage(
    tx: &mut PgConnection,
    row: &RestoreRow,
    member: &mut MemberRow,
    asked: &Asked,
) -> Result<(), EnqueueError> {
    let job = restore::stand_by(tx, request(row, member), row.group_id, asked).await?;
    begin(tx, row, member, Doing::Stage, job).await
}

/// Swaps a member in, or back.
async fn swap(
    tx: &mut PgConnection,
    row: &RestoreRow,
    member: &mut MemberRow,
    doing: Doing,
    asked: &Asked,
) -> Result<(), EnqueueError> {
    let wanted = if doing == Doing::Swap { member.incoming_id } else { member.outgoing_id };
    let kept = match wanted {
        Some(id) => kept::get(tx, id).await?.filter(|kept| kept.is_kept),
        None => None,
    };
    let Some(kept) = kept else {
        let message = "what was to be swapped in is not kept any more: its time is over, or somebody has taken it";
        member.problem = Some(Json(Problem::permanent("nothing_kept", message, "Restore the data set anew.")));
        return Ok(data_set_restores::set_member(tx, row.group_id, member).await?);
    };
    let keep = u32::try_from(row.keep_old_s).unwrap_or(crate::job::KEEP_OLD_S);
    let job = undo(tx, &kept, keep, Some(row.group_id), asked).await?;
    begin(tx, row, member, doing, job).await
}

async fn begin(
    tx: &mut PgConnection,
    row: &RestoreRow,
    member: &mut MemberRow,
    doing: Doing,
    job: JobId,
) -> Result<(), EnqueueError> {
    (member.doing, member.job_id, member.problem) = (Some(doing), Some(job), None);
    Ok(data_set_restores::set_member(tx, row.group_id, member).await?)
}

/// The whole save in the place of its target's database, as it was dumped.
fn request(row: &RestoreRow, member: &MemberRow) -> RestoreRequest {
    let method = if member.engine == Engine::Postgres { Method::Swap } else { Method::Auto };
    // What waits must outlive the staging of the others.
    let keep_old_s = u32::try_from(row.keep_old_s).unwrap_or_default().max(crate::job::KEEP_OLD_S);
    RestoreRequest {
        save_id: member.save_id,
        target_id: Some(member.target_id),
        into: super::Place::Own(Replace { method, keep_old_s, safety: row.safety }),
        owner: OwnerPolicy::Keep,
        privileges: PrivilegePolicy::Keep,
        part: Part::default(),
        compare: Compare::Digest,
    }
}

async fn lock(tx: &mut PgConnection, id: GroupId) -> Result<RestoreRow, EnqueueError> {
    Ok(data_set_restores::lock(tx, id).await?.ok_or(crate::db::DbError::Rows {
        table: "data_set_restores",
        expected: 1,
        actual: 0,
    })?)
}

/// Tells the world where it has come to.
async fn tell(tx: &mut PgConnection, row: &RestoreRow, members: &[MemberRow]) -> Result<(), EnqueueError> {
    let kind = match row.state {
        RestoreState::Succeeded => "data_set.restored",
        RestoreState::Failed => "data_set.failed",
        RestoreState::Undone => "data_set.undone",
        RestoreState::PartlySwapped => {
            tracing::error!(group.id = %row.group_id, data_set = %row.name, "a data set is partly swapped: resume or undo it");
            "data_set.partly_swapped"
        }
        _ => return Ok(()),
    };
    let one = |member: &MemberRow| {
        json!({ "service_id": member.service_id, "service": member.service, "target_id": member.target_id,
                "target": member.target, "save_id": member.save_id, "state": member.state, "problem": member.problem })
    };
    let event = NewEvent {
        kind: kind.to_owned(),
        subject: format!("data-set-restores/{}", row.group_id),
        aggregate: format!("data_set_restore:{}", row.group_id),
        service: None,
        trace_id: row.trace_id.clone(),
        data: json!({ "group_id": row.group_id, "data_set_id": row.data_set_id, "name": row.name, "state": row.state,
                      "problem": row.problem, "members": members.iter().map(one).collect::<Vec<_>>() }),
    };
    Ok(outbox::insert(tx, &event).await?)
}

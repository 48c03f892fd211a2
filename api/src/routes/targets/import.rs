//! `POST /v1/targets/{id}/import`: a dump that somebody brings becomes a save of the target; or, if it is plain SQL, a new database
//! beside the target's. Answered when it is one.

use std::time::Duration;

use crate::{
    audit::Change,
    call::Call,
    error::ApiError,
    extract::{Path, short},
    rbac::Permission,
    routes::{
        jobs::{Job, wait_for},
        saves::Save,
    },
    transfer::{self, Came, Fresh},
};
use axum::{
    Json,
    body::Body,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::{
    db::{
        jobs::{self, JobRow},
        saves, servers, targets,
        tickets::{self, Errand, Fate, NewTicket},
        workers,
    },
    id::{ServiceId, TargetId, TransferId},
    job::{JobState, NewDatabase, Problem},
    name::DatabaseName,
    server::Engine,
};
use sqlx::PgConnection;

/// How long the end of a job is waited for whose worker gave no answer: longer than a lease.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ImportQuery {
    /// Text for people, at most 500 characters. Of a save.
    #[serde(default)]
    #[param(required = false, max_length = 500)]
    note: String,
    /// The new database that plain SQL is run in, on the target's server. Absent: the dump is an archive, and becomes a save.
    into: Option<DatabaseName>,
    /// The SQL is run although the restore credential's role may start programs, or read and write files, on the server.
    #[serde(default)]
    #[param(required = false)]
    trust: bool,
}

impl ImportQuery {
    /// What it takes; to bring anything takes [`Permission::SaveImport`].
    fn permission(&self) -> Permission {
        if self.into.is_some() { Permission::TargetImportSql } else { Permission::SaveImport }
    }

    /// The database that plain SQL is to make, if that is asked for, and may be.
    async fn database(&self, tx: &mut PgConnection, target: TargetId) -> Result<Option<NewDatabase>, ApiError> {
        let Some(name) = &self.into else {
            if self.trust {
                return Err(ApiError::field("?trust", "is for plain SQL, which needs into"));
            }
            return Ok(None);
        };
        if !self.note.is_empty() {
            return Err(ApiError::field("?note", "is of a save, which plain SQL does not become"));
        }
        let target = targets::get(tx, target).await?.ok_or(ApiError::NotFound("target"))?;
        let server = servers::get(tx, target.server_id).await?.ok_or(ApiError::NotFound("target"))?;
        if server.engine != Engine::Postgres {
            return Err(ApiError::field("?into", "is for targets of PostgreSQL: a dump of MongoDB becomes a save"));
        }
        if *name == target.database {
            return Err(ApiError::field(
                "?into",
                "is the target's own database: plain SQL makes a new one, and changes none",
            ));
        }
        if target.restore_credential_id.is_none() {
            return Err(ApiError::field("?into", "needs a target with a restore credential: give it one first"));
        }
        Ok(Some(NewDatabase { name: name.clone(), trust: self.trust }))
    }
}

/// What a dump has become.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Imported {
    job: Job,
    /// Absent where plain SQL has become a database, which the job's result describes.
    #[serde(skip_serializing_if = "Option::is_none")]
    save: Option<Save>,
}

/// Makes a save, or a database, of a dump that the caller brings.
///
/// The body is a custom-format archive of `pg_dump` or an archive of `mongodump`, packed with gzip or zstd where `Content-Encoding` or its
/// first bytes say so. The answer comes when it is a save; restoring that asks for `trust`. With `into` the body is plain SQL of `pg_dump`,
/// which psql runs in a new database of that name, in one transaction: all of it is there at the end, or nothing. That is a super's.
#[utoipa::path(
    post, path = "/v1/targets/{id}/import",
    params(
        ImportQuery,
        ("content-encoding" = Option<String>, Header, description = "`gzip`, `zstd` or `identity`."),
    ),
    request_body(content = String, content_type = "application/octet-stream"),
    responses(
        (status = 201, body = Imported),
        (status = 409, description = "another job has the target or the database, the database exists, or the import was cancelled"),
    ),
)]
pub async fn handle(
    call: Call<ImportQuery>,
    Path(id): Path<TargetId>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    short("?note", &call.query.note, 500)?;
    let mut tx = call.begin().await?;
    let place = jobs::place(&mut tx, id).await?.ok_or(ApiError::NotFound("target"))?;
    call.authorize(Permission::SaveImport, Some(place.service_id))?;
    let permission = call.query.permission();
    if permission != Permission::SaveImport {
        call.authorize(permission, None)?;
    }
    let into = call.query.database(&mut tx, id).await?;
    let encoding = encoding(&headers)?;
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let limit = call.state.transfer.import_limit_bytes;
    if length.is_some_and(|length| length > limit) {
        return Err(ApiError::PayloadTooLarge);
    }
    let carriers = workers::carriers(&mut tx, &place.stores, &place.worker_group, true).await?;
    if carriers.is_empty() {
        return Err(ApiError::NoWorker(format!(
            "no worker of group {:?} lives that has a store of the target ({}): start one",
            place.worker_group,
            place.stores.join(", ")
        )));
    }
    // The worker makes the job: an upload costs one, whatever comes of it.
    call.charge(&mut tx, 1).await?;
    let ticket = Fresh::generate()?;
    let written = NewTicket {
        id: TransferId::generate(),
        hash: ticket.hash,
        errand: Errand::Import { target_id: id, note: call.query.note.clone(), into },
        admin_id: call.who.admin_id,
        request_id: call.request_id().to_owned(),
    };
    tickets::issue(&mut tx, &written).await?;
    let mut detail = json!({ "transfer_id": written.id, "length": length, "encoding": encoding });
    if let Some(database) = &call.query.into {
        detail["into"] = json!(database);
        detail["trust"] = json!(call.query.trust);
    }
    call.commit(tx, Change::new(permission, id, Some(place.service_id), detail)).await?;

    // On a task of its own: what came of it is written down even if the caller has gone.
    let tracker = call.state.tracker.clone();
    let work = tracker.spawn(async move {
        let (stall, stop) = (call.state.workers.stall(), call.state.stop.clone());
        let (body, came) = transfer::take(body, limit, stall, stop);
        let sent = call.state.workers.bring(&carriers, &ticket, encoding, body, call.request_id());
        let ((bytes, came), sent) = tokio::join!(came, sent);
        let outcome = match sent {
            Ok(()) => outcome(&call, written.id).await,
            Err(error) => Err(error),
        };
        let done = Done { target: id, service: place.service_id, bytes, came };
        done.write(&call, &outcome).await?;
        if came == Came::TooLarge {
            // Whatever the worker has made of the part that it saw, if it has seen one.
            return Err(ApiError::PayloadTooLarge);
        }
        match outcome? {
            Outcome::Refused(problem) => Err(refused(&call.query, &problem, "")),
            Outcome::Ended(job) => answer(&call, job).await,
        }
    });
    work.await.map_err(|_| ApiError::Internal("an import was interrupted".into()))?
}

/// What the body is packed in, as the caller says.
fn encoding(headers: &HeaderMap) -> Result<Option<&'static str>, ApiError> {
    let given = headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes().to_ascii_lowercase());
    match given.as_deref() {
        None | Some(b"identity") => Ok(None),
        Some(b"gzip" | b"x-gzip") => Ok(Some("gzip")),
        Some(b"zstd") => Ok(Some("zstd")),
        Some(_) => Err(ApiError::Invalid {
            detail: "Content-Encoding must be gzip, zstd or identity".into(),
            errors: Vec::new(),
        }),
    }
}

/// What became of the bytes.
#[derive(Debug)]
enum Outcome {
    /// Nothing was begun.
    Refused(Problem),
    Ended(Box<JobRow>),
}

async fn outcome(call: &Call<ImportQuery>, id: TransferId) -> Result<Outcome, ApiError> {
    let fate = tickets::fate(&mut *call.conn().await?, id).await?;
    match fate {
        Some(Fate { refusal: Some(problem), .. }) => Ok(Outcome::Refused(problem.0)),
        Some(Fate { job_id: Some(job), .. }) => {
            Ok(Outcome::Ended(Box::new(wait_for(&call.state, job, PATIENCE).await?)))
        }
        _ => Err(ApiError::NoWorker("the worker gave no answer: send it again".into())),
    }
}

/// What the caller is told of a problem. Those of the upload are the caller's own, and of plain SQL all that time does not cure.
fn refused(query: &ImportQuery, problem: &Problem, suffix: &str) -> ApiError {
    let hint = if problem.hint.is_empty() { String::new() } else { format!(" {}", problem.hint) };
    let detail = format!("{}{suffix}.{hint}", problem.message);
    let own = ["format_unknown", "wrong_engine", "archive_", "upload_"];
    let is_own = own.iter().any(|code| problem.code.starts_with(code)) || query.into.is_some() && !problem.retryable;
    if matches!(problem.code.as_str(), "target_busy" | "database_exists" | "target_changed") {
        ApiError::Conflict(detail)
    } else if is_own {
        ApiError::Invalid { detail, errors: Vec::new() }
    } else {
        ApiError::NoWorker(detail)
    }
}

async fn answer(call: &Call<ImportQuery>, job: Box<JobRow>) -> Result<Response, ApiError> {
    if job.state == JobState::Cancelled {
        return Err(ApiError::Conflict(format!("the import was cancelled (job {})", job.id)));
    }
    if job.state != JobState::Succeeded {
        let suffix = format!(" (job {})", job.id);
        let unfinished =
            || Problem::retryable("unfinished", format!("the import is {}", job.state.as_str()), "Look at its job.");
        let problem = job.error.as_ref().map_or_else(unfinished, |error| error.0.clone());
        return Err(refused(&call.query, &problem, &suffix));
    }
    if call.query.into.is_some() {
        let location = format!("/v1/jobs/{}", job.id);
        let body = Imported { job: Job::from(*job), save: None };
        return Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(body)).into_response());
    }
    let save = job.save_id.ok_or_else(|| ApiError::Internal("an import without a save".into()))?;
    let row = saves::get(&mut *call.conn().await?, save).await?.ok_or(ApiError::NotFound("save"))?;
    let body = Imported { job: Job::from(*job), save: Some(Save::from(row)) };
    Ok((StatusCode::CREATED, [(header::LOCATION, format!("/v1/saves/{save}"))], Json(body)).into_response())
}

/// What is known when an import has ended, however.
struct Done {
    target: TargetId,
    service: ServiceId,
    bytes: u64,
    came: Came,
}

impl Done {
    async fn write(&self, call: &Call<ImportQuery>, outcome: &Result<Outcome, ApiError>) -> Result<(), ApiError> {
        let (result, job, save): (Value, _, _) = match outcome {
            Ok(Outcome::Ended(job)) if job.state == JobState::Succeeded => {
                let result = if job.save_id.is_some() { "available" } else { "created" };
                (json!(result), Some(job.id), job.save_id)
            }
            Ok(Outcome::Ended(job)) => (
                json!(job.error.as_ref().map_or(job.state.as_str(), |error| error.0.code.as_str())),
                Some(job.id),
                job.save_id,
            ),
            Ok(Outcome::Refused(problem)) => (json!(problem.code), None, None),
            Err(_) => (json!("no_answer"), None, None),
        };
        let good = matches!(outcome, Ok(Outcome::Ended(job)) if job.state == JobState::Succeeded);
        let came = match self.came {
            Came::Whole => "whole",
            Came::Broken => "broken",
            Came::Stalled => "stalled",
            Came::TooLarge => "too_large",
            Came::Unwanted => "unwanted",
            Came::Stopped => "stopped",
        };
        let mut detail = json!({ "bytes": self.bytes, "came": came, "result": result, "job_id": job, "save_id": save });
        if let Some(database) = &call.query.into {
            detail["into"] = json!(database);
        }
        let change = Change {
            action: if call.query.into.is_some() { "target.sql_imported" } else { "save.imported" },
            ..Change::new(call.query.permission(), self.target, Some(self.service), detail)
        };
        let tx = call.begin().await?;
        if good { call.commit(tx, change).await } else { call.commit_failed(tx, change).await }
    }
}

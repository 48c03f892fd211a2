//! Schedules: what is saved without anybody asking.

pub mod agenda;
pub mod create;
pub mod delete;
pub mod get;
pub mod list;
pub mod pause;
pub mod resume;
pub mod retention;
pub mod run;
pub mod slots;
pub mod upcoming;
pub mod update;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use shared::{
    db::{
        credentials,
        schedules::{self, Covered, ScheduleRow},
        servers, targets,
    },
    id::{AdminId, ScheduleId, ServerId, ServiceId, TargetId},
    name::Slug,
    save::Mode,
    schedule::{Covers, Retention, Settings, SettingsError, Verification},
    server::Engine,
};
use sqlx::PgConnection;

use crate::{
    audit::{Change, difference},
    call::Call,
    error::ApiError,
    rbac::Permission,
    state::AppState,
};

/// A schedule as the API shows it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Schedule {
    pub id: ScheduleId,
    /// Unique among schedules.
    #[schema(example = "items-nightly")]
    pub name: Slug,
    pub covers: Covers,
    /// Of one that covers a target.
    pub target_id: Option<TargetId>,
    /// It belongs to this service: all of it is saved, or the target is of it, or what is newly found on the server becomes
    /// of it.
    pub service_id: ServiceId,
    /// Of one that covers a server.
    pub server_id: Option<ServerId>,
    /// Unix cron in five fields, in six with seconds first, or a word such as `@daily`.
    #[schema(example = "30 2 * * *")]
    pub expression: String,
    /// On whose clock the expression and the windows are read.
    #[schema(example = "Europe/Berlin")]
    pub zone: String,
    pub settings: Settings,
    /// How long its full saves are kept; null: until somebody deletes them.
    pub retention: Option<Retention>,
    /// How its saves are proven; null: when somebody asks.
    pub verification: Option<Verification>,
    /// Since when it does not fire.
    pub paused_at: Option<DateTime<Utc>>,
    /// Since when something that it covers has not been saved for one and a half intervals.
    pub overdue_at: Option<DateTime<Utc>>,
    pub created_by: Option<AdminId>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl From<ScheduleRow> for Schedule {
    fn from(row: ScheduleRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            covers: row.covers,
            target_id: row.target_id,
            service_id: row.service_id,
            server_id: row.server_id,
            expression: row.expression,
            zone: row.zone,
            settings: row.settings.0,
            retention: row.retention.map(|retention| retention.0),
            verification: row.verification.map(|verification| verification.0),
            paused_at: row.paused_at,
            overdue_at: row.overdue_at,
            created_by: row.created_by,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// The bounds that the types do not hold, and what the schedule must fit: its target, or its server.
async fn check(state: &AppState, tx: &mut PgConnection, row: &ScheduleRow) -> Result<(), ApiError> {
    let at = |place: &'static str| {
        move |error: SettingsError| ApiError::field(format!("{place}{}", error.pointer), error.problem)
    };
    let settings = &row.settings.0;
    settings.check(row.covers).map_err(at("/settings"))?;
    row.retention.as_ref().map_or(Ok(()), |retention| retention.check()).map_err(at("/retention"))?;
    row.verification.as_ref().map_or(Ok(()), |depths| depths.check()).map_err(at("/verification"))?;
    declared(state, "/settings/stores", &settings.stores)?;
    let mut server = row.server_id;
    if let Some(id) = row.target_id {
        let target = targets::get(tx, id).await?.ok_or(ApiError::NotFound("target"))?;
        for (index, store) in settings.stores.iter().enumerate() {
            if !target.stores.iter().any(|has| has == store.as_str()) {
                let known = target.stores.join(", ");
                let words = format!("is not one of the target's stores ({known})");
                return Err(ApiError::field(format!("/settings/stores/{index}"), words));
            }
        }
        server = Some(target.server_id);
    }
    if let Some(discovery) = &settings.discovery {
        declared(state, "/settings/discovery/stores", &discovery.stores)?;
        if credentials::get(tx, discovery.backup_credential_id).await?.is_none() {
            return Err(ApiError::field("/settings/discovery/backup_credential_id", "is no credential"));
        }
    }
    let Some(server) = server else { return Ok(()) };
    let engine = servers::get(tx, server).await?.ok_or_else(|| ApiError::field("/server_id", "is no server"))?.engine;
    fits(settings, engine)
}

/// What only one kind of database has.
fn fits(settings: &Settings, engine: Engine) -> Result<(), ApiError> {
    match engine {
        Engine::Postgres if !settings.exclude_collections.is_empty() => {
            let words = "is for MongoDB: a PostgreSQL database has tables";
            Err(ApiError::field("/settings/exclude_collections", words))
        }
        Engine::Mongodb if !settings.exclude_tables.is_empty() => {
            let words = "is for PostgreSQL: a MongoDB database has collections";
            Err(ApiError::field("/settings/exclude_tables", words))
        }
        Engine::Mongodb if settings.mode != Mode::All => {
            let words = "must be \"all\": in an archive of MongoDB structure and documents go together";
            Err(ApiError::field("/settings/mode", words))
        }
        Engine::Postgres | Engine::Mongodb => Ok(()),
    }
}

fn declared(state: &AppState, pointer: &str, stores: &[Slug]) -> Result<(), ApiError> {
    match stores.iter().position(|store| !state.stores.is_empty() && !state.stores.contains(store)) {
        Some(index) => Err(ApiError::field(format!("{pointer}/{index}"), "is not a declared store")),
        None => Ok(()),
    }
}

/// What a broken constraint of `schedules` means.
fn refused(error: shared::db::DbError) -> ApiError {
    match error.constraint() {
        Some("schedules_name") => ApiError::Conflict("there is a schedule of that name already".into()),
        Some("schedules_target_id_fkey") => ApiError::NotFound("target"),
        Some("schedules_service_id_fkey") => ApiError::NotFound("service"),
        Some("schedules_server_id_fkey") => ApiError::field("/server_id", "is no server"),
        _ => error.into(),
    }
}

/// Refuses to delete what a schedule would lose; ask under the lock of what is to go.
pub(super) async fn refuse_covered(tx: &mut PgConnection, what: Covered) -> Result<(), ApiError> {
    let names: Vec<String> = schedules::covering(tx, what).await?.into_iter().map(String::from).collect();
    let (covers, which) = match what {
        Covered::Target(_) => ("covers", "this target"),
        Covered::Service(_) => ("is of", "this service"),
        Covered::Server(_) => ("covers", "this server"),
        Covered::Credential(_) => ("gives newly found databases", "this credential"),
    };
    match names.as_slice() {
        [] => Ok(()),
        [name] => Err(ApiError::Conflict(format!("schedule {name} {covers} {which}: delete the schedule first"))),
        names => {
            let names = names.join(", ");
            Err(ApiError::Conflict(format!(
                "each of the schedules {names} {covers} {which}: delete the schedules first"
            )))
        }
    }
}

/// One that the caller may do this with; hidden ones do not exist.
async fn find<Q>(
    call: &Call<Q>,
    conn: &mut PgConnection,
    id: ScheduleId,
    permission: Permission,
) -> Result<ScheduleRow, ApiError> {
    let row = schedules::get(conn, id).await?.ok_or(ApiError::NotFound("schedule"))?;
    call.authorize(permission, Some(row.service_id))?;
    Ok(row)
}

/// As [`find`], locked until the transaction ends.
async fn lock<Q>(
    call: &Call<Q>,
    tx: &mut PgConnection,
    id: ScheduleId,
    permission: Permission,
) -> Result<ScheduleRow, ApiError> {
    let row = schedules::lock(tx, id).await?.ok_or(ApiError::NotFound("schedule"))?;
    call.authorize(permission, Some(row.service_id))?;
    Ok(row)
}

/// Pauses it or lets it go on; what is so already stays as it is, with the time since when.
async fn set_paused(call: Call, id: ScheduleId, paused: bool) -> Result<Schedule, ApiError> {
    let permission = Permission::ScheduleUpdate;
    let mut tx = call.begin().await?;
    let mut row = lock(&call, &mut tx, id, permission).await?;
    if row.paused_at.is_some() == paused {
        return Ok(Schedule::from(row));
    }
    let before = Schedule::from(row.clone());
    row.paused_at = paused.then(Utc::now);
    schedules::update(&mut tx, &row).await.map_err(refused)?;
    let after = Schedule::from(schedules::get(&mut tx, id).await?.ok_or(ApiError::NotFound("schedule"))?);
    let mut detail = difference(&before, &after);
    detail["paused"] = json!(paused);
    call.commit(tx, Change::new(permission, id, Some(after.service_id), detail)).await?;
    Ok(after)
}

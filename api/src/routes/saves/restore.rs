//! `POST /v1/saves/{id}/restore`: into a new database, or in place; all of the save, or a part; or, as a dry run, only a
//! look at what that would do. A job.

use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use shared::{
    db::{
        saves::{self, SaveRow},
        servers,
        targets::{self, TargetRow},
    },
    enqueue::{self, Place, Replace, RestoreRequest},
    id::{SaveId, TargetId},
    job::{Compare, ExtensionPolicy, KEEP_OLD_S, Method, OwnerPolicy, Part, PrivilegePolicy, TableName},
    name::{CollectionName, DatabaseName},
    save::{Mode, SaveState},
    server::Engine,
};

use super::part;
use crate::{
    audit::Change,
    call::Call,
    error::ApiError,
    extract::{Json, Path},
    rbac::Permission,
    routes::jobs::{Job, WaitQuery, accepted, check_priority, refused},
};

/// The longest that an old database may be kept.
const MAX_KEPT_HOURS: u32 = 24 * 90;

/// Why what nobody known here has signed is run by nobody who does not say so.
pub(super) const UNTRUSTED: &str =
    "nobody known here vouches for this save, which was brought or found in a store: say true if you know whose it is";

/// A restore that is wanted.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[schema(example = json!({ "into": { "database": "items_copy" }, "owner": "none", "privileges": "none" }))]
#[serde(deny_unknown_fields)]
pub struct CreateRestore {
    into: Into,
    /// In place: keep, unless said otherwise. Else none.
    owner: Option<OwnerPolicy>,
    /// In place: keep, unless said otherwise. Else none.
    privileges: Option<PrivilegePolicy>,
    /// In place only: the name of the database that is replaced, or in which tables are.
    confirm: Option<DatabaseName>,
    /// In place only: whether what is there is saved first; yes, unless said otherwise.
    safety: Option<bool>,
    /// In place only: how the database is replaced.
    method: Option<Method>,
    /// In place only: hours that the old database is kept after a swap.
    #[schema(minimum = 0, maximum = 2160, default = 24)]
    keep_old_hours: Option<u32>,
    /// Only these tables; empty: everything.
    #[serde(default)]
    #[schema(max_items = 1000)]
    tables: Vec<TableName>,
    /// Of a `MongoDB` save, only these collections and views; empty: everything.
    #[serde(default)]
    #[schema(max_items = 1000)]
    collections: Vec<CollectionName>,
    /// Absent: all that the save has.
    mode: Option<Mode>,
    #[serde(default)]
    extensions: ExtensionPolicy,
    /// A whole save only: what the restored database is held against. Absent: as configured.
    compare: Option<Compare>,
    /// Only look what would happen, and what would fail. Needs no `confirm`.
    #[serde(default)]
    dry_run: bool,
    /// The save is restored although nobody known here has signed it.
    #[serde(default)]
    trust: bool,
    /// The save is restored although it is not valid.
    #[serde(default)]
    allow_invalid: bool,
    /// The higher the sooner; 5 unless said otherwise.
    #[schema(minimum = 0, maximum = 9)]
    priority: Option<i16>,
}

/// Where a save goes.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[schema(as = RestoreInto)]
#[serde(deny_unknown_fields)]
struct Into {
    /// Whose server and restore credential; absent: those of the save's own target.
    target_id: Option<TargetId>,
    /// The database to create; with `confirm` that in which tables are replaced. Absent, or the target's own: in place.
    database: Option<DatabaseName>,
}

impl CreateRestore {
    /// Where it goes; in place only when it is confirmed.
    fn place(&self, target: &TargetRow, part: &Part) -> Result<Place, ApiError> {
        match &self.into.database {
            Some(database) if *database != target.database && self.confirm.is_some() && is_inside(part) => {
                self.confirmed(database)?;
                Self::without(&[("/safety", self.safety.is_some())])?;
                self.only_inside()?;
                Ok(Place::Other(database.clone()))
            }
            Some(database) if *database != target.database => {
                if part.mode == Mode::Data {
                    return Err(ApiError::field("/mode", "rows alone need a database that has the tables: confirm it"));
                }
                Self::without(&[
                    ("/confirm", self.confirm.is_some()),
                    ("/safety", self.safety.is_some()),
                    ("/method", self.method.is_some()),
                    ("/keep_old_hours", self.keep_old_hours.is_some()),
                ])?;
                Ok(Place::New(database.clone()))
            }
            _ => {
                if !self.dry_run {
                    self.confirmed(&target.database)?;
                }
                if is_inside(part) {
                    // Collections that make way are kept, whether they are all or some.
                    if part.collections.is_empty() {
                        self.only_inside()?;
                    }
                } else if !part.is_whole() {
                    let pointer = if part.mode == Mode::Schema { "/mode" } else { "/extensions" };
                    let detail = "a whole database is replaced by a whole save: name tables, or a new database";
                    return Err(ApiError::field(pointer, detail));
                }
                let keep_old_s = kept_for(self.keep_old_hours)?.unwrap_or(KEEP_OLD_S);
                let method = self.method.unwrap_or_default();
                Ok(Place::Own(Replace { method, keep_old_s, safety: self.safety.unwrap_or(true) }))
            }
        }
    }

    /// Refuses what the target's kind of database does not have.
    fn check_engine(&self, engine: Engine) -> Result<(), ApiError> {
        let (kind, unfit): (_, &[(&'static str, bool)]) = match engine {
            Engine::Postgres => ("MongoDB", &[("/collections", !self.collections.is_empty())]),
            Engine::Mongodb => (
                "PostgreSQL",
                &[
                    ("/tables", !self.tables.is_empty()),
                    ("/owner", self.owner.is_some()),
                    ("/privileges", self.privileges.is_some()),
                    ("/mode", self.mode.is_some_and(|mode| mode != Mode::All)),
                    ("/extensions", self.extensions != ExtensionPolicy::Require),
                    ("/method", self.method.is_some_and(|method| method != Method::Auto)),
                ],
            ),
        };
        match unfit.iter().find(|(_, given)| *given) {
            Some((pointer, _)) => Err(ApiError::field(*pointer, format!("is for restores of {kind}"))),
            None => Ok(()),
        }
    }

    /// What exists is changed only when its name was said.
    fn confirmed(&self, database: &DatabaseName) -> Result<(), ApiError> {
        if self.confirm.as_ref() == Some(database) {
            return Ok(());
        }
        let detail =
            format!("this replaces database {:?} or tables in it: say so by naming it here", database.as_str());
        Err(ApiError::field("/confirm", detail))
    }

    fn without(unfit: &[(&'static str, bool)]) -> Result<(), ApiError> {
        match unfit.iter().find(|(_, given)| *given) {
            Some((pointer, _)) => {
                Err(ApiError::field(*pointer, "is for a restore in the place of the target's own database"))
            }
            None => Ok(()),
        }
    }

    /// A part replaces objects inside the database: nothing is swapped or put aside.
    fn only_inside(&self) -> Result<(), ApiError> {
        if self.method.is_some_and(|method| method == Method::Swap) {
            return Err(ApiError::field(
                "/method",
                "a part of a save is restored inside the database: it cannot be swapped",
            ));
        }
        if self.keep_old_hours.is_some() {
            return Err(ApiError::field("/keep_old_hours", "a part of a save puts no database aside"));
        }
        Ok(())
    }
}

/// Whether a part goes into a database that exists, rather than makes one.
fn is_inside(part: &Part) -> bool {
    !part.tables.is_empty() || !part.collections.is_empty() || part.mode == Mode::Data
}

/// Why a save is not restored unless somebody insists.
fn invalid(save: &SaveRow) -> String {
    let why = match (&save.invalid_reason, &save.unusable_reason) {
        (Some(reason), _) => format!("somebody called it invalid: {reason}"),
        (None, Some(reason)) => format!("a verification found it to be of no use: {reason}"),
        (None, None) => "not as many of its copies are good as it requires".to_owned(),
    };
    format!("the save is not valid ({why}): choose another, or say true to restore it all the same")
}

/// Hours in seconds, within bounds.
pub fn kept_for(hours: Option<u32>) -> Result<Option<u32>, ApiError> {
    match hours {
        Some(hours) if hours > MAX_KEPT_HOURS => {
            Err(ApiError::field("/keep_old_hours", format!("must be 0 to {MAX_KEPT_HOURS}")))
        }
        hours => Ok(hours.map(|hours| hours * 3600)),
    }
}

/// Restores a save.
///
/// Into a new database, or in place; all of the save, or a part; or, as a dry run, only a look at what that would do. A job.
/// What exists is changed only when its name is said in `confirm`, and a failed restore leaves it as it was.
#[utoipa::path(
    post, path = "/v1/saves/{id}/restore",
    params(WaitQuery),
    request_body = CreateRestore,
    responses((status = 202, body = Job), (status = 409, description = "the save is not available")),
)]
pub async fn handle(
    call: Call<WaitQuery>,
    Path(id): Path<SaveId>,
    Json(body): Json<CreateRestore>,
) -> Result<Response, ApiError> {
    let permission = Permission::SaveRestore;
    let wait = call.query.wait(&call.state)?;
    check_priority(body.priority)?;
    let mut tx = call.begin().await?;
    let save = saves::get(&mut tx, id).await?.ok_or(ApiError::NotFound("save"))?;
    call.authorize(permission, Some(save.service_id))?;
    let target_id = body.into.target_id.unwrap_or(save.target_id);
    // One answer for both, so that nobody learns which ids exist.
    let no_target = || ApiError::field("/into/target_id", "is no target that you may restore with");
    let target = targets::get(&mut tx, target_id).await?.ok_or_else(no_target)?;
    call.authorize(permission, Some(target.service_id)).map_err(|_| no_target())?;
    let server = servers::get(&mut tx, target.server_id).await?.ok_or_else(no_target)?;
    let saved = save.manifest.as_ref().map(|manifest| manifest.engine.as_str());
    if saved.is_some_and(|engine| engine != server.engine.as_str()) {
        return Err(ApiError::field("/into/target_id", "is a target of another kind of database than the save"));
    }
    body.check_engine(server.engine)?;
    let part = Part {
        tables: body.tables.clone(),
        collections: body.collections.clone(),
        extensions: body.extensions,
        ..Part::default()
    };
    let part = part::checked(part, body.mode, save.mode)?;
    let into = body.place(&target, &part)?;
    if body.compare.is_some() && (!part.is_whole() || body.method == Some(Method::Direct)) {
        return Err(ApiError::field("/compare", "is for a whole save that is restored beside what is there"));
    }
    let in_place = !matches!(into, Place::New(_));
    if in_place && !body.dry_run {
        call.authorize(Permission::SaveReplace, Some(target.service_id))?;
    }
    if !save.trusted && !body.dry_run {
        call.authorize(Permission::SaveTrust, None)?;
        if !body.trust {
            return Err(ApiError::field("/trust", UNTRUSTED));
        }
    }
    if !save.valid && save.state == SaveState::Available && !body.dry_run {
        if !body.allow_invalid {
            return Err(ApiError::field("/allow_invalid", invalid(&save)));
        }
        call.authorize(Permission::SaveRestoreInvalid, Some(save.service_id))?;
    }
    if target.restore_credential_id.is_none() {
        return Err(ApiError::field("/into/target_id", "is a target without a restore credential: give it one first"));
    }
    let database = body.into.database.clone().unwrap_or_else(|| target.database.clone());
    let owner = if in_place { OwnerPolicy::Keep } else { OwnerPolicy::None };
    let privileges = if in_place { PrivilegePolicy::Keep } else { PrivilegePolicy::None };
    let wanted = RestoreRequest {
        save_id: id,
        target_id: Some(target_id),
        into,
        owner: body.owner.unwrap_or(owner),
        privileges: body.privileges.unwrap_or(privileges),
        part,
        compare: body.compare.unwrap_or(call.state.jobs.compare),
    };
    let asked = call.asked(body.priority);
    let job = if body.dry_run {
        enqueue::preflight(&mut tx, wanted.job(target_id, &target.database), None, &asked).await
    } else {
        enqueue::restore(&mut tx, wanted, &asked).await
    };
    let job = job.map_err(refused)?;
    let detail = json!({
        "job_id": job, "target_id": target_id, "database": database, "in_place": in_place, "dry_run": body.dry_run,
        "trusted": save.trusted, "valid": save.valid,
    });
    call.commit(tx, Change::new(permission, id, Some(save.service_id), detail)).await?;
    accepted(&call.state, job, wait).await
}

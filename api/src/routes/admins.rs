//! Admins and their roles: who may do what with them is `docs/permissions.md`.

pub mod create;
pub mod delete;
pub mod get;
pub mod list;
pub mod password;
pub mod roles;
pub mod update;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::{
    admin::Role,
    db::admins::{self, AdminInfo, GrantRow},
    id::{AdminId, ServiceId},
};
use sqlx::PgConnection;

use crate::{
    auth::password::PasswordError,
    call::Call,
    error::{ApiError, OnConstraint},
    rbac::{Permission, administered},
};

/// An admin as the API shows one.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Admin {
    id: AdminId,
    name: String,
    /// Whoever is disabled cannot log in, and no token of theirs is accepted.
    disabled: bool,
    disabled_at: Option<DateTime<Utc>>,
    /// How many jobs the admin may ask for in a day (UTC); 0: as many as they like; null: `jobs.per_day` of the configuration.
    jobs_per_day: Option<i32>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    /// Those that the caller may see: an admin of one service sees the roles there.
    roles: Vec<Granted>,
}

/// A role that an admin has.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[expect(clippy::struct_field_names, reason = "as the columns are called")]
pub struct Granted {
    role: Role,
    /// Null: global.
    service_id: Option<ServiceId>,
    /// Null: by the command line, or by an admin who is no more.
    granted_by: Option<AdminId>,
    granted_at: DateTime<Utc>,
}

/// A role that an admin is to have.
#[derive(Debug, Clone, Copy, Deserialize, utoipa::ToSchema)]
#[schema(example = json!({ "role": "operator", "service_id": "019a9f3e-5c1b-7d2a-9e4f-3b8c6d1a2f50" }))]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// `super` is only ever global.
    role: Role,
    /// Absent or null: global.
    #[serde(default)]
    service_id: Option<ServiceId>,
}

impl From<GrantRow> for Granted {
    fn from(row: GrantRow) -> Self {
        Self { role: row.role, service_id: row.service_id, granted_by: row.granted_by, granted_at: row.granted_at }
    }
}

impl From<(AdminInfo, Vec<GrantRow>)> for Admin {
    fn from((row, roles): (AdminInfo, Vec<GrantRow>)) -> Self {
        Self {
            id: row.id,
            name: row.name,
            disabled: row.disabled_at.is_some(),
            disabled_at: row.disabled_at,
            jobs_per_day: row.jobs_per_day,
            created_at: row.created_at,
            updated_at: row.updated_at,
            roles: roles.into_iter().map(Granted::from).collect(),
        }
    }
}

impl Grant {
    /// Refuses what nobody can have.
    fn check(self, pointer: &str) -> Result<(), ApiError> {
        if self.role == Role::Super && self.service_id.is_some() {
            return Err(ApiError::field(format!("{pointer}/role"), "super is only ever global: leave service_id out"));
        }
        Ok(())
    }

    /// Gives it, and answers whether it is new.
    async fn give(self, tx: &mut PgConnection, to: AdminId, by: AdminId, pointer: &str) -> Result<bool, ApiError> {
        let given = admins::grant(tx, to, self.role, self.service_id, Some(by)).await;
        given.on_constraint("admin_roles_service_id_fkey", || no_service(pointer))
    }
}

/// In the same words whether it does not exist or is hidden.
fn no_service(pointer: &str) -> ApiError {
    ApiError::field(format!("{pointer}/service_id"), "there is no such service")
}

fn missing() -> ApiError {
    ApiError::NotFound("admin")
}

fn taken() -> ApiError {
    ApiError::Conflict("an admin of that name exists already".into())
}

/// What a password was refused for, at the member that holds it.
fn unusable(error: PasswordError) -> ApiError {
    match error {
        PasswordError::Length | PasswordError::Guessable(_) => ApiError::field("/password", error.to_string()),
        error => ApiError::Internal(error.into()),
    }
}

/// The admin, and the roles of theirs that the caller may see: everybody sees themselves, a global admin everybody, an admin
/// of a service whoever has a role there. To all others there is no such admin.
async fn seen(
    call: &Call<impl Sync>,
    conn: &mut PgConnection,
    id: AdminId,
) -> Result<(AdminInfo, Vec<GrantRow>), ApiError> {
    let scope = if id == call.who.admin_id { None } else { administered(&call.who) };
    if scope.as_deref().is_some_and(<[ServiceId]>::is_empty) {
        call.authorize(Permission::AdminRead, None)?;
    }
    let mut grants = admins::grants(conn, &[id]).await?;
    if let Some(services) = &scope {
        grants.retain(|grant| grant.service_id.is_some_and(|of| services.contains(&of)));
        if grants.is_empty() {
            call.refused(Permission::AdminRead, None);
            return Err(missing());
        }
    }
    let row = admins::get(conn, id).await?.ok_or_else(missing)?;
    Ok((row, grants))
}

/// Refuses to leave nobody who could manage admins. Asked at the end of a transaction that began with
/// [`admins::lock_supers`].
async fn a_super_is_left(tx: &mut PgConnection) -> Result<(), ApiError> {
    if admins::supers(tx).await? == 0 {
        return Err(ApiError::Conflict("this is the last super who can log in: make another one first".into()));
    }
    Ok(())
}

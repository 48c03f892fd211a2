//! The audit log: who did what, from where, with what result.

pub mod export;
pub mod list;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::{
    db::{
        audit::Outcome,
        audit_log::{AuditFilter, AuditRow},
    },
    id::{AdminId, ServiceId},
};

use crate::{
    call::Call,
    error::ApiError,
    page::Sort,
    rbac::{Permission, permitted},
};

/// An entry as the API shows it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = AuditEntry)]
pub struct Entry {
    /// In the order of writing.
    pub id: i64,
    pub at: DateTime<Utc>,
    /// Null: a caller whose name is not proven, or Holdfast itself.
    pub admin_id: Option<AdminId>,
    /// As it was then; of a failed login, the name that was given.
    pub admin_name: Option<String>,
    /// What was done, as the permission is named; of a call that no permission stands for, its method and route.
    #[schema(example = "target.create")]
    pub action: String,
    #[schema(example = "target")]
    pub resource_type: Option<String>,
    pub resource_id: Option<String>,
    pub service_id: Option<ServiceId>,
    pub outcome: Outcome,
    /// Where it came from.
    #[schema(example = "192.0.2.7")]
    pub address: Option<String>,
    pub request_id: Option<String>,
    /// Of a change, what was before and after; never a secret.
    #[schema(value_type = Object)]
    pub detail: serde_json::Value,
}

impl From<AuditRow> for Entry {
    fn from(row: AuditRow) -> Self {
        Self {
            id: row.id,
            at: row.at,
            admin_id: row.admin_id,
            admin_name: row.admin_name,
            action: row.action,
            resource_type: row.resource_type,
            resource_id: row.resource_id,
            service_id: row.service_id,
            outcome: row.outcome,
            address: row.address,
            request_id: row.request_id,
            detail: row.detail.0,
        }
    }
}

/// Which entries are wanted; an export is asked for by nothing else.
#[derive(Debug, Default, Serialize, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Of this service alone.
    pub service: Option<ServiceId>,
    /// By this admin alone.
    pub admin: Option<AdminId>,
    /// As permissions are named: `target.create`.
    pub action: Option<String>,
    /// The kind of thing: `target`, `save`, `session`.
    pub resource: Option<String>,
    /// Its id.
    pub resource_id: Option<String>,
    /// What became of it.
    pub outcome: Option<Outcome>,
    /// From then on.
    pub from: Option<DateTime<Utc>>,
    /// Before then.
    pub to: Option<DateTime<Utc>>,
}

impl Wanted {
    /// What the caller may read of it: everything with a global role, else what concerns the services where the role is
    /// enough. Without any such role it is refused.
    fn of<Q>(self, call: &Call<Q>, permission: Permission, sort: Option<Sort>) -> Result<AuditFilter, ApiError> {
        let services = permitted(&call.who, permission);
        match (self.service, &services) {
            (Some(service), _) => call.authorize(permission, Some(service))?,
            (None, Some(services)) if !services.is_empty() => call.authorize(permission, services.first().copied())?,
            (None, _) => call.authorize(permission, None)?,
        }
        Ok(AuditFilter {
            service_ids: if self.service.is_some() { None } else { services },
            service_id: self.service,
            admin_id: self.admin,
            action: self.action,
            resource_type: self.resource,
            resource_id: self.resource_id,
            outcome: self.outcome,
            from: self.from,
            to: self.to,
            oldest_first: sort == Some(Sort::OldestFirst),
        })
    }
}

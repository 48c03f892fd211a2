//! The audit entry of a change, in the change's own transaction.

use shared::{
    db::{DbError, audit},
    id::ServiceId,
};
use sqlx::PgConnection;

use crate::{auth::Identity, gate::Context};

/// What was changed. `detail` never holds a secret.
#[derive(Debug)]
pub struct Change<'a> {
    pub action: &'a str,
    pub resource: &'a str,
    pub id: String,
    pub service: Option<ServiceId>,
    pub detail: serde_json::Value,
}

/// Notes that the admin changed something.
pub async fn changed(
    tx: &mut PgConnection,
    who: &Identity,
    context: &Context,
    change: Change<'_>,
) -> Result<(), DbError> {
    let entry = audit::Entry {
        admin_id: Some(who.admin_id),
        admin_name: Some(&who.name),
        action: change.action,
        resource_type: Some(change.resource),
        resource_id: Some(change.id),
        service_id: change.service,
        outcome: audit::Outcome::Allowed,
        address: Some(&context.address),
        request_id: Some(&context.request_id),
        detail: change.detail,
    };
    audit::insert(tx, &entry).await
}

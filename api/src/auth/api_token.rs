//! API tokens: who calls when a program does, and what of its owner's power it has.

use serde::Serialize;
use shared::{
    admin::Role,
    db::{admins, api_tokens},
    id::{ApiTokenId, ServiceId},
    name::Slug,
    telemetry::Causes,
};

use super::{Identity, Means, opaque};
use crate::{error::ApiError, gate::Context, state::AppState};

/// A token as the audit log names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct TokenRef {
    pub id: ApiTokenId,
    pub name: Slug,
}

/// The owner, with as much power as the token's scope leaves of their present roles.
pub async fn identify(state: &AppState, context: &Context, text: &str) -> Result<Identity, ApiError> {
    let hash = opaque::read(opaque::Kind::Api, text).ok_or(ApiError::Unauthorized)?;
    let mut conn = state.pool.acquire().await?;
    let token = api_tokens::accepted(&mut conn, &hash).await?.ok_or(ApiError::Unauthorized)?;
    let roles = admins::roles(&mut conn, token.admin_id).await?;
    // Nothing that is asked for fails because its time could not be noted.
    if token.is_stale
        && let Err(error) = api_tokens::used(&mut conn, token.id).await
    {
        tracing::warn!(error = %Causes(&error), token.id = %token.id, "use of an api token not noted");
    }
    drop(conn);
    let roles: Vec<_> = roles.into_iter().map(|row| (row.role, row.service_id)).collect();
    let by = TokenRef { id: token.id, name: token.name };
    context.identified(token.admin_id, &token.admin_name);
    context.by_token(by.clone());
    Ok(Identity {
        admin_id: token.admin_id,
        name: token.admin_name,
        means: Means::ApiToken(by),
        roles: narrowed(&roles, token.role, token.service_id),
        jobs_per_day: token.jobs_per_day,
    })
}

/// What a scope leaves of roles: no role above `role`, and where a service is named nothing beyond it.
#[must_use]
pub fn narrowed(
    roles: &[(Role, Option<ServiceId>)],
    role: Role,
    service: Option<ServiceId>,
) -> Vec<(Role, Option<ServiceId>)> {
    let within = |of: Option<ServiceId>| service.is_none() || of.is_none() || of == service;
    let inside = roles.iter().filter(|(_, of)| within(*of));
    inside.map(|(had, of)| ((*had).min(role), service.or(*of))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_never_adds_to_what_the_owner_may() {
        let (mine, other) = (ServiceId::generate(), ServiceId::generate());
        let both = [(Role::Viewer, None), (Role::Admin, Some(mine))];
        for (had, role, service, left) in [
            (&both[..], Role::Operator, None, vec![(Role::Viewer, None), (Role::Operator, Some(mine))]),
            (&both, Role::Operator, Some(mine), vec![(Role::Viewer, Some(mine)), (Role::Operator, Some(mine))]),
            (&both, Role::Operator, Some(other), vec![(Role::Viewer, Some(other))]),
            (&both[1..], Role::Admin, Some(other), vec![]),
            (&[(Role::Super, None)], Role::Admin, None, vec![(Role::Admin, None)]),
            (&[(Role::Super, None)], Role::Viewer, Some(mine), vec![(Role::Viewer, Some(mine))]),
            (&[], Role::Viewer, None, vec![]),
        ] {
            assert_eq!(narrowed(had, role, service), left, "{had:?} as {role:?} of {service:?}");
        }
    }
}

//! Audit entries: of a change, in the change's own transaction; of a refusal or a failure, when the answer is known.

use std::fmt::Display;

use axum::http::{Method, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value, json};
use shared::{
    db::{
        DbError,
        audit::{self, Outcome},
    },
    id::ServiceId,
    telemetry::Causes,
};
use sqlx::PgConnection;

use crate::{
    auth::{Identity, api_token::TokenRef},
    gate::{Context, Noted},
    rbac::Permission,
    state::AppState,
};

/// How much of a path an entry holds, in characters.
const MAX_PATH: usize = 200;

/// What was changed. `detail` never holds a secret.
#[derive(Debug)]
pub struct Change {
    pub action: &'static str,
    pub resource: &'static str,
    pub id: String,
    pub service: Option<ServiceId>,
    pub detail: Value,
}

impl Change {
    /// A change that a permission allowed, of the thing with this id.
    pub fn new(permission: Permission, id: impl Display, service: Option<ServiceId>, detail: Value) -> Self {
        Self { action: permission.name(), resource: permission.resource(), id: id.to_string(), service, detail }
    }
}

/// What a change made different, as `before` and `after`: of each the members that differ. Give it what the API shows,
/// which holds no secret.
pub fn difference<T: Serialize>(before: &T, after: &T) -> Value {
    let members = |thing: &T| match serde_json::to_value(thing) {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    };
    let (mut before, mut after) = (members(before), members(after));
    // It differs always, and the entry has a time of its own.
    before.remove("updated_at");
    after.remove("updated_at");
    let same: Vec<String> =
        before.iter().filter(|(name, value)| after.get(*name) == Some(value)).map(|(name, _)| name.clone()).collect();
    for name in &same {
        before.remove(name);
        after.remove(name);
    }
    json!({ "before": before, "after": after })
}

/// What a deletion took away.
pub fn removed<T: Serialize>(thing: &T) -> Value {
    json!({ "before": serde_json::to_value(thing).unwrap_or_default() })
}

/// Notes that the admin changed something.
pub async fn changed(tx: &mut PgConnection, who: &Identity, context: &Context, change: Change) -> Result<(), DbError> {
    note(tx, who, context, change, Outcome::Allowed).await
}

/// Notes that the admin was allowed something that then failed.
pub async fn tried(tx: &mut PgConnection, who: &Identity, context: &Context, change: Change) -> Result<(), DbError> {
    note(tx, who, context, change, Outcome::Failed).await
}

async fn note(
    tx: &mut PgConnection,
    who: &Identity,
    context: &Context,
    change: Change,
    outcome: Outcome,
) -> Result<(), DbError> {
    let entry = audit::Entry {
        admin_id: Some(who.admin_id),
        admin_name: Some(&who.name),
        action: change.action,
        resource_type: Some(change.resource),
        resource_id: Some(change.id),
        service_id: change.service,
        outcome,
        address: Some(&context.address),
        request_id: Some(&context.request_id),
        detail: naming(who.api_token(), change.detail),
    };
    audit::insert(tx, &entry).await
}

/// The detail of an entry, with the API token by which it was done.
fn naming(token: Option<&TokenRef>, mut detail: Value) -> Value {
    let Some(token) = token else { return detail };
    if detail.is_null() {
        detail = json!({});
    }
    if let Value::Object(members) = &mut detail {
        members.insert("api_token".to_owned(), json!(token));
    }
    detail
}

/// A call as it came in.
#[derive(Debug)]
pub struct Asked {
    pub method: Method,
    /// The route, with its parameters' names; none: there is no such route.
    pub route: Option<String>,
    pub path: String,
}

/// Whether a call that was answered so gets an entry of its own, and which. Every refusal does, and every call that
/// was to change something and did not; a caller without a name only by a refused login or token.
fn outcome(asked: &Asked, noted: &Noted, status: StatusCode) -> Option<Outcome> {
    let refused = noted.refused || [401, 403, 429].contains(&status.as_u16());
    let failed = !status.is_success() && !asked.method.is_safe() && noted.admin.is_some() && asked.route.is_some();
    match (refused, failed) {
        (true, _) => Some(Outcome::Denied),
        (false, true) => Some(Outcome::Failed),
        (false, false) => None,
    }
}

/// Notes a refusal or a failure. It runs to its end even when the caller hangs up: whoever guesses shall not do so unseen.
pub async fn refused(state: &AppState, context: &Context, asked: Asked, status: StatusCode) {
    let noted = context.noted();
    let Some(outcome) = outcome(&asked, &noted, status) else { return };
    // Logins cost their sender an argon2 hash; tokens, and asking too often, cost nothing, so that a flood of them must not
    // fill the table.
    let is_login = noted.admin.is_none() && noted.action.is_some();
    let costs_nothing = noted.admin.is_none() || status == StatusCode::TOO_MANY_REQUESTS;
    if costs_nothing && !is_login && !state.refusals.admit() {
        tracing::warn!(address = %context.address, path = asked.path, %status, "refusal not audited: too many a minute");
        return;
    }
    let (pool, context) = (state.pool.clone(), context.clone());
    let write = async move {
        let path: String = asked.path.chars().take(MAX_PATH).collect();
        let route = asked.route.as_deref().unwrap_or(&path);
        let fallback = format!("{} {route}", asked.method);
        let entry = audit::Entry {
            admin_id: noted.admin,
            admin_name: noted.name.as_deref(),
            action: noted.action.unwrap_or(&fallback),
            resource_type: noted.resource,
            resource_id: route.contains("{id}").then(|| path.split('/').nth(3).unwrap_or_default().to_owned()),
            service_id: noted.service,
            outcome,
            address: Some(&context.address),
            request_id: Some(&context.request_id),
            detail: naming(
                noted.api_token.as_ref(),
                json!({ "status": status.as_u16(), "method": asked.method.as_str(), "path": path }),
            ),
        };
        let written = match pool.acquire().await {
            Ok(mut conn) => audit::insert(&mut conn, &entry).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = written {
            tracing::error!(error = %Causes(&error), ?entry, "refusal not audited");
        }
    };
    if state.tracker.spawn(write).await.is_err() {
        tracing::error!("refusal not audited: the entry was interrupted");
    }
}

#[cfg(test)]
mod tests {
    use shared::id::AdminId;

    use super::*;

    #[test]
    fn a_difference_names_what_changed_and_nothing_else() {
        let (before, after) = (
            json!({ "a": 1, "b": "x", "c": null, "updated_at": 1 }),
            json!({ "a": 1, "b": "y", "c": [2], "updated_at": 2 }),
        );
        assert_eq!(
            difference(&before, &after),
            json!({ "before": { "b": "x", "c": null }, "after": { "b": "y", "c": [2] } })
        );
        assert_eq!(difference(&after, &after), json!({ "before": {}, "after": {} }));
    }

    #[test]
    fn what_gets_an_entry() {
        let call = |method: Method| Asked { method, route: Some("/v1/targets/{id}".into()), path: String::new() };
        let nobody = Noted::default();
        let known = || Noted { admin: Some(AdminId::generate()), ..Noted::default() };
        let hidden = Noted { refused: true, ..known() };
        for (method, noted, status, expected) in [
            (Method::GET, &known(), 200, None),
            (Method::GET, &known(), 404, None),
            (Method::GET, &hidden, 404, Some(Outcome::Denied)),
            (Method::GET, &known(), 403, Some(Outcome::Denied)),
            (Method::POST, &known(), 202, None),
            (Method::POST, &known(), 422, Some(Outcome::Failed)),
            (Method::DELETE, &known(), 500, Some(Outcome::Failed)),
            (Method::POST, &nobody, 401, Some(Outcome::Denied)),
            (Method::POST, &nobody, 429, Some(Outcome::Denied)),
            (Method::POST, &nobody, 415, None),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(outcome(&call(method.clone()), noted, status), expected, "{method} {status}");
        }
    }
}

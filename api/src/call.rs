//! An authenticated call: who asks, with which query, and what becomes of it. Every handler behind the login takes one.

use std::fmt::Display;

use axum::{
    Json,
    extract::FromRequestParts,
    http::{StatusCode, Uri, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::{Serialize, de::DeserializeOwned};
use shared::{
    enqueue::Asked,
    id::{ServiceId, SessionId},
};
use sqlx::{Postgres, Transaction, pool::PoolConnection};

use crate::{
    audit::{self, Change},
    auth::{Identity, Means},
    error::ApiError,
    extract::{NoQuery, Query},
    gate::Context,
    rbac::{self, Permission},
    state::AppState,
};

/// The call. Its query is parsed after its token: without a valid token nothing else is looked at.
#[derive(Debug)]
pub struct Call<Q = NoQuery> {
    pub state: AppState,
    pub who: Identity,
    pub query: Q,
    pub uri: Uri,
    context: Context,
}

impl<Q: DeserializeOwned> FromRequestParts<AppState> for Call<Q> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let who = Identity::from_request_parts(parts, state).await?;
        let Query(query) = Query::from_request_parts(parts, state).await?;
        let context = Context::of(parts)?;
        Ok(Self { state: state.clone(), who, query, uri: parts.uri.clone(), context })
    }
}

impl<Q> Call<Q> {
    /// Allows or refuses ([`rbac::authorize`]); a refusal is audited.
    pub fn authorize(&self, permission: Permission, service: Option<ServiceId>) -> Result<(), ApiError> {
        let answer = rbac::authorize(&self.who, permission, service);
        self.context.asked_for(permission, service, answer.is_err());
        answer
    }

    /// The session of the person who calls; an API token is refused. For what nobody may do with a token that a program
    /// keeps: logins, API tokens, admins and passwords.
    pub fn person(&self) -> Result<SessionId, ApiError> {
        match self.who.means {
            Means::Session(id) => Ok(id),
            Means::ApiToken(_) => Err(ApiError::PeopleOnly),
        }
    }

    /// Notes a refusal that [`Self::authorize`] does not decide: it is audited as one.
    pub fn refused(&self, permission: Permission, service: Option<ServiceId>) {
        self.context.asked_for(permission, service, true);
    }

    /// The caller's address.
    pub fn address(&self) -> &str {
        &self.context.address
    }

    /// A connection, for reading.
    pub async fn conn(&self) -> Result<PoolConnection<Postgres>, ApiError> {
        Ok(self.state.pool.acquire().await?)
    }

    /// A transaction, for a change: end it with [`Self::commit`].
    pub async fn begin(&self) -> Result<Transaction<'static, Postgres>, ApiError> {
        Ok(self.state.pool.begin().await?)
    }

    /// Commits a change together with its audit entry.
    pub async fn commit(&self, mut tx: Transaction<'static, Postgres>, change: Change) -> Result<(), ApiError> {
        audit::changed(&mut tx, &self.who, &self.context, change).await?;
        Ok(tx.commit().await?)
    }

    /// As [`Self::commit`], of what was allowed and did not come to its end.
    pub async fn commit_failed(&self, mut tx: Transaction<'static, Postgres>, change: Change) -> Result<(), ApiError> {
        audit::tried(&mut tx, &self.who, &self.context, change).await?;
        Ok(tx.commit().await?)
    }

    /// The request's id.
    pub fn request_id(&self) -> &str {
        &self.context.request_id
    }

    /// Who asks, for the queue.
    pub fn asked(&self, priority: Option<i16>) -> Asked {
        let request_id = Some(self.context.request_id.to_string());
        let jobs = &self.state.jobs;
        Asked {
            by: Some(self.who.admin_id),
            trace_id: request_id.clone(),
            request_id,
            priority,
            attempts: jobs.attempts,
            safety_s: jobs.safety_s(),
        }
    }
}

/// 201 with the new thing and where it is.
pub fn created(collection: &str, id: impl Display, thing: impl Serialize) -> Response {
    (StatusCode::CREATED, [(header::LOCATION, format!("{collection}/{id}"))], Json(thing)).into_response()
}

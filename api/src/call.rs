//! An authenticated call: who asks, with which query, and what becomes of it. Every handler behind the login takes one.

use std::{
    fmt::Display,
    sync::atomic::{AtomicBool, Ordering},
};

use axum::{
    Json,
    extract::FromRequestParts,
    http::{StatusCode, Uri, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::{Serialize, de::DeserializeOwned};
use shared::{
    db::quota,
    enqueue::{Asked, Enqueued},
    id::{ServiceId, SessionId},
};
use sqlx::{PgConnection, Postgres, Transaction, pool::PoolConnection};

use crate::{
    audit::{self, Change},
    auth::{Identity, Means},
    error::ApiError,
    etag::Conditions,
    extract::{NoQuery, Query},
    gate::Context,
    idempotency::{self, Keyed, Reply},
    limits::rate::Left,
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
    /// Under which it is done once, however often it is sent.
    key: Option<Keyed>,
    /// Whether something was committed: what comes after is no part of what the key stands for.
    settled: AtomicBool,
    /// What the caller knows of the thing already.
    conditions: Conditions,
    /// The jobs that were enqueued for it.
    enqueued: Enqueued,
}

impl<Q: DeserializeOwned> FromRequestParts<AppState> for Call<Q> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let who = Identity::from_request_parts(parts, state).await?;
        let context = Context::of(parts)?;
        context.counted(state.rates.admin(who.admin_id))?;
        let Query(query) = Query::from_request_parts(parts, state).await?;
        let key = Keyed::of(&parts.method, &parts.uri, &parts.headers)?;
        let conditions = Conditions::of(&parts.headers)?;
        let (state, uri) = (state.clone(), parts.uri.clone());
        let (settled, enqueued) = (AtomicBool::new(false), Enqueued::default());
        Ok(Self { state, who, query, uri, context, key, settled, conditions, enqueued })
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

    /// A transaction, for a change: end it with [`Self::commit`]. It claims the request's `Idempotency-Key`, if there is
    /// one; what was done before is answered from here, as an error that is none ([`ApiError::Replayed`]).
    pub async fn begin(&self) -> Result<Transaction<'static, Postgres>, ApiError> {
        let mut tx = self.state.pool.begin().await?;
        let Some(key) = self.open_key() else { return Ok(tx) };
        let Some(answer) = key.claim(&mut tx, self.who.admin_id, &self.uri, self.context.body()).await? else {
            return Ok(tx);
        };
        // Whoever waits for a job's end holds no connection.
        drop(tx);
        let reply = idempotency::replay(&self.state, &self.who, &self.uri, answer).await?;
        Err(ApiError::Replayed(Box::new(reply)))
    }

    /// Commits a change together with its audit entry. The jobs that were enqueued are taken from the caller's quota. Of
    /// one job the request's `Idempotency-Key` is kept too; what answers anything else does so by [`Self::create`] or
    /// [`Self::answer`].
    pub async fn commit(&self, tx: Transaction<'static, Postgres>, change: Change) -> Result<(), ApiError> {
        self.finish(tx, change, None).await
    }

    /// Commits a change and answers 201 with the new thing and where it is; a repeated request is answered the same. Not
    /// for what shows a secret once: that is committed by [`Self::commit`], and nothing of the answer is kept.
    pub async fn create(
        &self,
        tx: Transaction<'static, Postgres>,
        change: Change,
        collection: &str,
        id: impl Display,
        thing: impl Serialize,
    ) -> Result<Response, ApiError> {
        self.answer(tx, change, StatusCode::CREATED, Some(format!("{collection}/{id}")), thing).await
    }

    /// Commits a change and answers this; a repeated request is answered the same.
    pub async fn answer(
        &self,
        tx: Transaction<'static, Postgres>,
        change: Change,
        status: StatusCode,
        location: Option<String>,
        thing: impl Serialize,
    ) -> Result<Response, ApiError> {
        let body = serde_json::to_string(&thing).map_err(|error| ApiError::Internal(error.into()))?;
        let reply = Reply::new(status, location, body);
        self.finish(tx, change, Some(&reply)).await?;
        Ok(reply.into_response())
    }

    async fn finish(
        &self,
        mut tx: Transaction<'static, Postgres>,
        change: Change,
        reply: Option<&Reply>,
    ) -> Result<(), ApiError> {
        let jobs = self.enqueued.take();
        if let Some(key) = self.open_key() {
            key.keep(&mut tx, self.who.admin_id, reply, &jobs).await?;
        }
        audit::changed(&mut tx, &self.who, &self.context, change).await?;
        // Last: whoever counts holds the counter until the commit.
        self.charge(&mut tx, i32::try_from(jobs.len()).unwrap_or(i32::MAX)).await?;
        tx.commit().await?;
        self.settled.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// The key, as long as nothing was committed under it.
    fn open_key(&self) -> Option<&Keyed> {
        self.key.as_ref().filter(|_| !self.settled.load(Ordering::Relaxed))
    }

    /// Takes so many jobs from the caller's quota of the day. What is enqueued for the call is counted by itself; this is for
    /// what a worker will enqueue on the caller's behalf.
    pub async fn charge(&self, tx: &mut PgConnection, count: i32) -> Result<(), ApiError> {
        let most = self.who.jobs_per_day.unwrap_or(self.state.jobs.per_day);
        if count == 0 || most == 0 {
            return Ok(());
        }
        let taken = quota::take(tx, self.who.admin_id, count, most).await?;
        let number = |n: i32| u64::try_from(n).unwrap_or(0);
        let resets_in_s = u64::try_from(taken.resets_in_s).unwrap_or(1);
        // What does not fit is not taken.
        let used = if taken.fits() { taken.used } else { taken.used - count };
        self.context.has_left(Left {
            of: "jobs",
            quota: number(taken.most),
            window_s: 86_400,
            left: number(taken.most - used),
            resets_in_s,
        });
        if taken.fits() {
            return Ok(());
        }
        Err(ApiError::QuotaExceeded { most: taken.most, retry_after_s: resets_in_s })
    }

    /// Notes what is about to be asked of another service, before it is and under no key of ours: that service keeps it.
    pub async fn note(&self, change: Change) -> Result<(), ApiError> {
        let mut tx = self.state.pool.begin().await?;
        audit::changed(&mut tx, &self.who, &self.context, change).await?;
        Ok(tx.commit().await?)
    }

    /// Whether the change depends on what the caller saw (`If-Match`): where it costs something to look.
    pub fn is_conditional(&self) -> bool {
        self.conditions.is_any()
    }

    /// Refuses a change of what is not as the caller saw it (`If-Match`). `shown` is what a GET would answer, of the row as
    /// the transaction has locked it.
    pub fn check_match(&self, shown: &impl Serialize) -> Result<(), ApiError> {
        self.conditions.check(shown)
    }

    /// One thing, with its `ETag`; 304 where the caller has it already.
    pub fn show(&self, thing: &impl Serialize) -> Result<Response, ApiError> {
        self.conditions.answer(thing)
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
            enqueued: self.enqueued.clone(),
        }
    }
}

/// 201 with the new thing and where it is.
pub fn created(collection: &str, id: impl Display, thing: impl Serialize) -> Response {
    (StatusCode::CREATED, [(header::LOCATION, format!("{collection}/{id}"))], Json(thing)).into_response()
}

//! The outbox: facts wait here from the transaction that made them true until the one active relay has published them.

use sqlx::{Connection, Executor, PgConnection, postgres::PgListener};

use super::{DbError, ensure_rows, pool};
use crate::{
    event::{NewEvent, Outgoing},
    failpoint,
    id::EventId,
};

/// What `pg_stat_activity` calls the relay's sessions.
const RELAY: &str = "holdfast-worker/relay";

/// The key of the session-level advisory lock that makes one relay of many: "hf-relay" in ASCII.
const RELAY_LOCK: i64 = 0x6866_2d72_656c_6179;

/// How many rows get their `seq` in one transaction.
const SEQUENCE_BATCH: i64 = 1000;

/// Writes a fact in the transaction that makes it true.
pub async fn insert(conn: &mut PgConnection, event: &NewEvent) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO outbox (id, type, subject, aggregate, service_id, service, trace_id, data)
         VALUES ($1, $2, $3, $4, $5, (SELECT name FROM services WHERE id = $5), $6, $7)",
        EventId::generate().0,
        event.kind,
        event.subject,
        event.aggregate,
        event.service as _,
        event.trace_id,
        event.data
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// As [`insert`], many at once and in this order.
pub async fn insert_all(conn: &mut PgConnection, events: &[NewEvent]) -> Result<(), DbError> {
    let ids: Vec<_> = events.iter().map(|_| EventId::generate().0).collect();
    let kinds: Vec<_> = events.iter().map(|event| event.kind.clone()).collect();
    let subjects: Vec<_> = events.iter().map(|event| event.subject.clone()).collect();
    let aggregates: Vec<_> = events.iter().map(|event| event.aggregate.clone()).collect();
    let services: Vec<_> = events.iter().map(|event| event.service.map(|id| id.0)).collect();
    let traces: Vec<_> = events.iter().map(|event| event.trace_id.clone()).collect();
    let data: Vec<_> = events.iter().map(|event| event.data.clone()).collect();
    sqlx::query!(
        "INSERT INTO outbox (id, type, subject, aggregate, service_id, service, trace_id, data)
         SELECT e.id, e.type, e.subject, e.aggregate, e.service_id, (SELECT name FROM services v WHERE v.id = e.service_id), e.trace_id, e.data
         FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::text[], $7::jsonb[])
             WITH ORDINALITY AS e (id, type, subject, aggregate, service_id, trace_id, data, place) ORDER BY e.place",
        &ids,
        &kinds,
        &subjects,
        &aggregates,
        &services as _,
        &traces as _,
        &data
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A connection of the relay's own, in no pool: its session holds the lock. The active relay asks something every few
/// seconds and is silent for at most about 20 s; one that froze loses the session, and with it the lock.
pub async fn connect_relay(url: &str) -> Result<PgConnection, DbError> {
    let mut session = pool::session(url, RELAY).await?;
    session.execute("SET idle_in_transaction_session_timeout = '10s'; SET idle_session_timeout = '30s'").await?;
    Ok(session)
}

/// Takes the relay's lock for this session if no other session has it. It is held until the session ends; ask once
/// per session only, as PostgreSQL counts.
pub async fn try_lead(conn: &mut PgConnection) -> Result<bool, DbError> {
    Ok(sqlx::query_scalar!("SELECT pg_try_advisory_lock($1) AS \"mine!\"", RELAY_LOCK).fetch_one(conn).await?)
}

/// Gives the next places in the history to rows that have none, in the order in which they were written. Answers how
/// many; call again until it is zero.
///
/// A transaction that commits late gets a later place than one that wrote after it: that is what makes the history
/// free of gaps for its readers. Within one aggregate both orders agree, as its writers wait for each other's row lock.
pub async fn sequence(conn: &mut PgConnection) -> Result<u64, DbError> {
    let mut tx = conn.begin().await?;
    let last = sqlx::query_scalar!("SELECT last FROM outbox_seq FOR UPDATE").fetch_one(&mut *tx).await?;
    let given = sqlx::query!(
        "UPDATE outbox o SET seq = $1 + n.place
         FROM (SELECT id, row_number() OVER (ORDER BY position) AS place
               FROM (SELECT id, position FROM outbox WHERE seq IS NULL ORDER BY position LIMIT $2) next) n
         WHERE o.id = n.id",
        last,
        SEQUENCE_BATCH
    )
    .execute(&mut *tx)
    .await?
    .rows_affected();
    if given > 0 {
        let given = i64::try_from(given).unwrap_or(i64::MAX);
        let moved = sqlx::query!("UPDATE outbox_seq SET last = last + $1", given).execute(&mut *tx).await?;
        ensure_rows("outbox_seq", &moved, 1)?;
        failpoint!("relay.sequence.before");
    }
    tx.commit().await?;
    if given > 0 {
        failpoint!("relay.sequence.after");
    }
    Ok(given)
}

/// The first unpublished rows of the history, in its order, at most `limit`.
pub async fn unpublished(conn: &mut PgConnection, limit: i64) -> Result<Vec<Outgoing>, DbError> {
    Ok(sqlx::query_as!(
        Outgoing,
        r#"SELECT id, seq AS "seq!", type AS kind, subject, aggregate, service, trace_id, data, occurred_at
         FROM outbox WHERE published_at IS NULL AND seq IS NOT NULL ORDER BY seq LIMIT $1"#,
        limit
    )
    .fetch_all(conn)
    .await?)
}

/// Marks rows as published; `routed` is what is known of their way: `None` if that cannot be told.
pub async fn mark_published(conn: &mut PgConnection, rows: &[(EventId, Option<bool>)]) -> Result<(), DbError> {
    let (ids, routed): (Vec<_>, Vec<_>) = rows.iter().map(|(id, routed)| (id.0, *routed)).unzip();
    let marked = sqlx::query!(
        "UPDATE outbox o SET published_at = clock_timestamp(), routed = r.routed, attempts = attempts + 1, last_error = NULL
         FROM unnest($1::uuid[], $2::boolean[]) AS r (id, routed) WHERE o.id = r.id AND o.published_at IS NULL",
        &ids,
        &routed as _
    )
    .execute(conn)
    .await?;
    ensure_rows("outbox", &marked, rows.len() as u64)
}

/// Counts a failed attempt and keeps why. The rows stay unpublished.
pub async fn mark_failed(conn: &mut PgConnection, rows: &[(EventId, String)]) -> Result<(), DbError> {
    let (ids, errors): (Vec<_>, Vec<_>) = rows.iter().map(|(id, error)| (id.0, error.as_str())).unzip();
    sqlx::query!(
        "UPDATE outbox o SET attempts = attempts + 1, last_error = r.error
         FROM unnest($1::uuid[], $2::text[]) AS r (id, error) WHERE o.id = r.id AND o.published_at IS NULL",
        &ids,
        &errors as _
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Hears that rows were written. Hints only: whoever listens also scans.
#[derive(Debug)]
pub struct Hints(PgListener);

impl Hints {
    /// Listens on a connection of its own.
    pub async fn listen(url: &str) -> Result<Self, DbError> {
        let mut listener = PgListener::connect_with(&pool::session_pool(url, RELAY)?).await?;
        listener.listen("holdfast_outbox").await?;
        Ok(Self(listener))
    }

    /// Waits for the next hint. A lost connection is an error: what was missed meanwhile is not known.
    pub async fn next(&mut self) -> Result<(), DbError> {
        self.0.try_recv().await?.map(drop).ok_or(DbError::Sql(sqlx::Error::WorkerCrashed))
    }
}

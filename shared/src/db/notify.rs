//! PostgreSQL's notifications between processes: hints that something is to be looked at. They may be lost; whoever
//! listens also polls.

use sqlx::{PgConnection, PgPool, postgres::PgListener};

use super::DbError;
use crate::id::JobId;

const LOOK: &str = "holdfast_look";
const CANCEL: &str = "holdfast_cancel";

/// Something a worker is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// A job may be claimable.
    Look,
    /// This job is to be cancelled, wherever it runs.
    Cancel(JobId),
}

/// A connection that listens for a worker.
#[derive(Debug)]
pub struct Notes(PgListener);

impl Notes {
    /// Takes a connection of the pool and listens on it.
    pub async fn listen(pool: &PgPool) -> Result<Self, DbError> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen_all([LOOK, CANCEL]).await?;
        Ok(Self(listener))
    }

    /// The next note. A lost connection is an error: what was missed meanwhile is not known.
    pub async fn next(&mut self) -> Result<Note, DbError> {
        loop {
            let note = self.0.try_recv().await?.ok_or(DbError::Sql(sqlx::Error::WorkerCrashed))?;
            match (note.channel(), note.payload().parse()) {
                (LOOK, _) => return Ok(Note::Look),
                (CANCEL, Ok(job)) => return Ok(Note::Cancel(job)),
                _ => {}
            }
        }
    }
}

/// Tells every worker with a free slot to look.
pub async fn look(conn: &mut PgConnection) -> Result<(), DbError> {
    sqlx::query!("SELECT pg_notify('holdfast_look', '')").execute(conn).await?;
    Ok(())
}

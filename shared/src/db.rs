//! Holdfast's own tables. All SQL of the project lives in this directory, a table or a read model per file, as plain
//! functions on a connection: whoever calls decides what is one transaction.

pub mod admins;
pub mod api_tokens;
pub mod audit;
pub mod audit_log;
pub mod brokers;
pub mod claim;
pub mod counters;
pub mod credentials;
pub mod data_set_restores;
pub mod data_sets;
pub mod deletion;
pub mod discovery;
pub mod drift;
pub mod event_log;
pub mod finish;
pub mod gc;
pub mod groups;
pub mod idempotency;
pub mod job_done;
pub mod jobs;
pub mod kept;
pub mod migrate;
pub mod notify;
pub mod objects;
pub mod outbox;
pub mod overdue;
pub mod pool;
pub mod proofs;
pub mod quota;
pub mod rates;
pub mod rebuild;
pub mod refresh;
pub mod repair;
pub mod retention;
pub mod saves;
pub mod saves_report;
pub mod saves_update;
pub mod schedules;
pub mod servers;
pub mod services;
pub mod sessions;
pub mod slots;
mod span;
pub mod stats;
pub mod sweep;
pub mod targets;
pub mod tickets;
pub mod verify;
pub mod work;
pub mod workers;

pub use migrate::MIGRATOR;

/// What a query can fail as.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    #[error("the database did not do what was asked")]
    Sql(#[from] sqlx::Error),
    #[error("{table}: {expected} row(s) were to change, {actual} did")]
    Rows { table: &'static str, expected: u64, actual: u64 },
    #[error("{table}.{column} of {id} holds a value this version cannot read: {problem}")]
    Unreadable { table: &'static str, column: &'static str, id: String, problem: String },
}

impl DbError {
    /// The unique or foreign key that a statement ran into, by its name in the schema.
    #[must_use]
    pub fn constraint(&self) -> Option<&str> {
        match self {
            Self::Sql(sqlx::Error::Database(error)) => error.constraint(),
            _ => None,
        }
    }

    /// Whether the connection or the server failed rather than the statement: the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Sql(sqlx::Error::Database(error)) => {
                // Class 08 connection, 40 rollback, 53 resources, 57 operator intervention (shutdown, crash).
                error.code().is_some_and(|code| ["08", "40", "53", "57"].iter().any(|class| code.starts_with(class)))
            }
            Self::Sql(error) => matches!(
                error,
                sqlx::Error::Io(_)
                    | sqlx::Error::PoolTimedOut
                    | sqlx::Error::PoolClosed
                    | sqlx::Error::WorkerCrashed
                    | sqlx::Error::Protocol(_)
            ),
            _ => false,
        }
    }
}

/// Answers an error unless exactly `expected` rows changed: a state machine's step that matched nothing must be heard.
pub fn ensure_rows(table: &'static str, result: &sqlx::postgres::PgQueryResult, expected: u64) -> Result<(), DbError> {
    let actual = result.rows_affected();
    if actual == expected { Ok(()) } else { Err(DbError::Rows { table, expected, actual }) }
}

/// How many rows a filter matches, counted no further than to a bound so that a list stays fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    pub total: i64,
    /// Whether there may be more than `total`.
    pub is_lower_bound: bool,
}

impl Counted {
    /// How far is counted.
    pub const BOUND: i64 = 10_000;

    /// What was not counted for this list but is kept.
    #[must_use]
    pub fn exactly(total: i64) -> Self {
        Self { total, is_lower_bound: false }
    }

    /// What was counted, up to one more than the bound.
    #[must_use]
    pub fn of(counted: i64) -> Self {
        Self { total: counted.min(Self::BOUND), is_lower_bound: counted > Self::BOUND }
    }
}

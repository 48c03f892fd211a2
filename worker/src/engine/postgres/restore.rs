//! Into a new database, so that a crash at any step leaves either nothing, or what the next attempt recognises:
//!
//! 1. **find**: nothing may stand under the wanted name, unless an attempt of this very job had finished (see 6). What
//!    older attempts left under their staging names is dropped.
//! 2. **create** `<wanted>__hf_<job>_<epoch>` from template0. Killed here: the name holds the whole job id and the
//!    database holds nothing, so the next attempt drops it.
//! 3. **mark** it: its comment says installation, job and epoch.
//! 4. **`pg_restore`** in one transaction; the caller holds the last block back until every digest has matched.
//! 5. **settle** what belongs to the database itself: settings, privileges, connection limit.
//! 6. **publish**: one transaction renames it to the wanted name and replaces the mark by a lasting one. Killed before it:
//!    the next attempt drops the staging database and starts again. Killed after it, before the job's record: the next
//!    attempt finds its own job's mark under the wanted name and takes it for done. It is not dropped and made again,
//!    because somebody may use it already.
//!
//! What the killed worker of a *last* attempt left is taken away by the next restore on that server, once its job has ended.
//!
//! Dropped is only what carries a staging name of its job *and* this installation's mark of it (or, unmarked, is empty);
//! never anything under a wanted name. An attempt that was thought dead and wakes up can rename its own database alone,
//! since the epoch is part of the name.

mod create;
mod drop;
mod find;
mod mark;
mod publish;
mod settle;

use std::ffi::OsString;

use shared::name::DatabaseName;
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};
use tokio_util::sync::CancellationToken;

pub(super) use self::{
    create::create,
    drop::{clear, discard, drop_database, end_sessions, left_behind, staged},
    mark::{Kept, kept_comment, kept_name, restored_comment, without_mark},
    publish::publish,
    settle::settle,
};
use super::{
    super::{
        Connection, Created, EngineError, Keep, Restore, RestoreOptions,
        clients::{Client, Restorable},
    },
    Postgres, classify,
    connect::{cancellable, connect, conninfo, query},
    not_started,
};

impl Postgres {
    /// The tools for a save and this server.
    pub(super) async fn client_for_restore(
        &self,
        at: &Connection,
        saved: &Restorable,
        cancel: &CancellationToken,
    ) -> Result<&Client, EngineError> {
        let asked = async {
            let mut session = connect(at, &at.maintenance_database).await?;
            sqlx::query_scalar::<_, i32>("SELECT current_setting('server_version_num')::int")
                .fetch_one(&mut session)
                .await
                .map_err(query("asking for the server's version"))
        };
        let version = cancellable(cancel, asked).await?;
        self.clients.for_restore(saved, u32::try_from(version).unwrap_or_default() / 10_000)
    }

    pub(super) async fn start_restore(
        &self,
        at: &Connection,
        created: &Created,
        saved: &Restorable,
        options: &RestoreOptions,
        cancel: &CancellationToken,
    ) -> Result<Restore, EngineError> {
        let client = self.client_for_restore(at, saved, cancel).await?;
        let mut tool = self.tool(at, Some(&created.database), client, "pg_restore")?;
        tool.piped_stdin = true;
        tool.args = arguments(&created.database, options);
        let started = self.launcher.start(tool, cancel).await.map_err(not_started("pg_restore"))?;
        Ok(Restore::of_process(started, "pg_restore", classify::stderr))
    }
}

/// What every restore says to `pg_restore`.
pub(super) fn arguments(database: &DatabaseName, options: &RestoreOptions) -> Vec<OsString> {
    let mut args: Vec<OsString> =
        ["--single-transaction", "--exit-on-error", "--no-password"].into_iter().map(Into::into).collect();
    args.push(format!("--dbname={}", conninfo(database)).into());
    if options.owner == Keep::None {
        args.push("--no-owner".into());
    }
    if options.privileges == Keep::None {
        args.push("--no-privileges".into());
    }
    args
}

/// Runs a statement that takes no parameters; names and texts in it went through `ident` and `literal`.
async fn run(session: &mut PgConnection, sql: String, what: &str) -> Result<(), EngineError> {
    session.execute(AssertSqlSafe(sql)).await.map(std::mem::drop).map_err(query(what))
}

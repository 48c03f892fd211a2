//! `PostgreSQL`: `pg_dump`, `pg_dumpall` and `pg_restore` as children, and questions to the target's catalogs.
//!
//! The SQL of this directory is about *targets'* catalogs, not about Holdfast's own tables: that alone is in
//! `shared/src/db`. Names go to the tools by `PGDATABASE` or inside an escaped conninfo, never raw after `-d`: a database
//! name with `=` in it would be taken for a connection string, and the password sent to wherever it points.

pub(crate) mod archive;
pub(crate) mod classify;
mod connect;
mod databases;
mod decode;
mod dump;
mod globals;
pub mod inventory;
pub(crate) mod parts;
pub(crate) mod plain;
mod preflight;
mod probe;
mod restore;
mod sessions;
mod standing;
mod swap;
mod tls;
mod tunnel;
mod wipe;

use std::{ffi::OsString, path::PathBuf};

use async_trait::async_trait;
use shared::name::DatabaseName;
use tokio_util::sync::CancellationToken;

use self::connect::cancellable;
pub(in crate::engine) use self::tls::SYSTEM_CA;
pub use self::{
    preflight::{Contents, Finding, Plan, Preflight, Reading, Severity, Target, Would},
    standing::{Existing, Standing},
    swap::{Look, PendingSwap},
    wipe::{WipePlan, Wiping},
};
use super::{
    Connection, Created, Creation, DatabaseProperties, Dump, DumpOptions, Engine, EngineError, ErrorCode, Globals,
    ProbeReport, Restore, RestoreOptions, Running,
    clients::{Client, Clients, Restorable},
    process::{Launcher, Tool},
    secrets::SecretDir,
};

/// The engine for `PostgreSQL` servers.
#[derive(Debug, Clone)]
pub struct Postgres {
    /// How its children start.
    pub launcher: Launcher,
    /// The client programs of this machine.
    pub clients: Clients,
    /// Where the private directories of children are; see [`super::secrets::choose_run_dir`].
    pub run_dir: PathBuf,
}

impl Postgres {
    /// A tool with the environment in which libpq reaches this server as this user and nothing else: no service file, no
    /// key or certificate of the worker's user, no prompt.
    fn tool(
        &self,
        at: &Connection,
        database: Option<&DatabaseName>,
        client: &Client,
        name: &str,
    ) -> Result<Tool, EngineError> {
        let tag = format!("{}-{}", at.session.job, at.session.epoch);
        let private = |error| {
            EngineError::new(ErrorCode::ToolNotStarted, "the private directory for the password could not be written")
                .with_source(error)
        };
        let dir = SecretDir::create(&self.run_dir, &tag).map_err(private)?;
        let pgpass = dir.write_pgpass(&at.host, at.port, &at.user, &at.password).map_err(private)?;
        let nothing: OsString = dir.path().join("none").into();
        let mut env: Vec<(&'static str, OsString)> = vec![
            ("PGHOST", at.host.as_str().into()),
            ("PGPORT", at.port.to_string().into()),
            ("PGUSER", at.user.as_str().into()),
            ("PGPASSFILE", pgpass.into()),
            ("PGAPPNAME", at.session.to_string().into()),
            ("PGCONNECT_TIMEOUT", "10".into()),
            ("PGOPTIONS", "-c statement_timeout=0 -c idle_in_transaction_session_timeout=0 -c lock_timeout=0".into()),
            ("PGSYSCONFDIR", dir.path().into()),
            ("PGSERVICEFILE", nothing.clone()),
            ("PGSSLCERT", nothing.clone()),
            ("PGSSLKEY", nothing.clone()),
            ("PGGSSENCMODE", "disable".into()),
            ("PGSSLMODE", at.tls.as_libpq().into()),
        ];
        let root = match &at.ca_pem {
            Some(pem) if at.tls.verifies() => dir.write("ca.pem", pem.as_bytes()).map_err(private)?.into(),
            None if at.tls.verifies() => tls::SYSTEM_CA.into(),
            // libpq would verify in mode `require` too if it found a CA in a home directory.
            _ => nothing,
        };
        env.push(("PGSSLROOTCERT", root));
        if client.major >= 16 && !at.tls.verifies() {
            // Who answers is not proven, so it shall not get the password in the clear by asking for it.
            env.push(("PGREQUIREAUTH", "scram-sha-256".into()));
        }
        env.extend(database.map(|database| ("PGDATABASE", database.as_str().into())));
        Ok(Tool { path: client.tool(name), env, secrets: vec![at.password.clone()], dir: Some(dir), ..Tool::default() })
    }
}

impl Postgres {
    /// What restores of this installation, this job's too, have staged on the server and not published.
    pub async fn staged(&self, at: &Connection) -> Result<Vec<Created>, EngineError> {
        restore::staged(at).await
    }

    /// A database's comment without the line that is ours.
    pub fn own_comment(&self, comment: &str) -> Option<String> {
        restore::without_mark(comment)
    }

    /// The comment of a database that is whole: the save's own and our lasting mark.
    pub fn restored_comment(&self, at: &Connection, comment: Option<&str>) -> String {
        restore::restored_comment(at, comment)
    }

    /// The comment of a database that is kept: its own and our mark.
    pub fn kept_comment(&self, at: &Connection, comment: Option<&str>) -> String {
        restore::kept_comment(at, comment)
    }
}

fn not_started(tool: &str) -> impl FnOnce(std::io::Error) -> EngineError {
    move |error| EngineError::new(ErrorCode::ToolNotStarted, format!("{tool} could not be started")).with_source(error)
}

#[async_trait]
impl Engine for Postgres {
    async fn probe(
        &self,
        at: &Connection,
        database: &DatabaseName,
        cancel: &CancellationToken,
    ) -> Result<ProbeReport, EngineError> {
        cancellable(cancel, probe::probe(at, database)).await
    }

    async fn databases(&self, at: &Connection, cancel: &CancellationToken) -> Result<Vec<String>, EngineError> {
        cancellable(cancel, databases::databases(at)).await
    }

    async fn end_older_sessions(
        &self,
        at: &Connection,
        database: &DatabaseName,
        cancel: &CancellationToken,
    ) -> Result<usize, EngineError> {
        cancellable(cancel, sessions::end_older_sessions(at, database)).await
    }

    async fn dump(
        &self,
        at: &Connection,
        database: &DatabaseName,
        options: &DumpOptions,
        probe: &ProbeReport,
        cancel: &CancellationToken,
    ) -> Result<Dump<Running>, EngineError> {
        self.start_dump(at, database, options, probe, cancel).await
    }

    async fn dump_globals(
        &self,
        at: &Connection,
        probe: &ProbeReport,
        cancel: &CancellationToken,
    ) -> Result<Globals, EngineError> {
        self.start_globals(at, probe, cancel).await
    }
}

impl Postgres {
    /// Creates an empty database with the save's properties, marked as this job's, under a name of its own. It drops what
    /// older attempts of this job left. A wanted name that is somebody's is a permanent error.
    pub async fn create(
        &self,
        at: &Connection,
        wanted: &DatabaseName,
        properties: &DatabaseProperties,
        options: &RestoreOptions,
        cancel: &CancellationToken,
    ) -> Result<Creation, EngineError> {
        restore::create(at, wanted, properties, options, cancel).await
    }

    /// Starts the restore of a save into a database that [`Postgres::create`] made.
    pub async fn restore(
        &self,
        at: &Connection,
        created: &Created,
        saved: &Restorable,
        options: &RestoreOptions,
        cancel: &CancellationToken,
    ) -> Result<Restore, EngineError> {
        self.start_restore(at, created, saved, options, cancel).await
    }

    /// Whether this worker has tools that can read the save and that the server understands; the reason, if not. Asked
    /// before anything is done.
    pub async fn can_restore(
        &self,
        at: &Connection,
        saved: &Restorable,
        cancel: &CancellationToken,
    ) -> Result<(), EngineError> {
        self.client_for_restore(at, saved, cancel).await.map(drop)
    }

    /// After a good restore: privileges, settings and connection limit. Returns warnings.
    pub async fn settle(
        &self,
        at: &Connection,
        created: &Created,
        properties: &DatabaseProperties,
        options: &RestoreOptions,
        cancel: &CancellationToken,
    ) -> Result<Vec<String>, EngineError> {
        cancellable(cancel, restore::settle(at, created, properties, options)).await
    }

    /// The last step: the database gets the wanted name, and its comment. It takes no token: whether it happened must be
    /// known.
    pub async fn publish(
        &self,
        at: &Connection,
        created: &Created,
        properties: &DatabaseProperties,
    ) -> Result<(), EngineError> {
        restore::publish(at, created, properties).await
    }

    /// What restores of *other* jobs of this installation have not published or taken away, of jobs that run still too:
    /// the caller asks about each job before it discards.
    pub async fn left_behind(&self, at: &Connection, cancel: &CancellationToken) -> Result<Vec<Created>, EngineError> {
        cancellable(cancel, restore::left_behind(at)).await
    }

    /// Takes away what older attempts of this job left of a database that they wanted under this name, as
    /// [`Postgres::create`] does, and makes none.
    pub async fn clear(
        &self,
        at: &Connection,
        wanted: &DatabaseName,
        cancel: &CancellationToken,
    ) -> Result<(), EngineError> {
        cancellable(cancel, restore::clear(at, wanted)).await
    }

    /// After a failed restore: drops the database, if it was not published and still carries its job's mark. It takes no
    /// token: tidying up after a cancelled job must not be cancelled with it.
    pub async fn discard(&self, at: &Connection, created: Created) -> Result<(), EngineError> {
        restore::discard(at, &created).await
    }
}

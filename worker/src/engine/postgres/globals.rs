//! Roles, their memberships and settings, and tablespaces: an object of each save, so that owners and privileges can be
//! restored on a new server. Without password hashes: `pg_authid` is read only by superusers, and hashes are secrets.

use tokio_util::sync::CancellationToken;

use super::{
    super::{Connection, Dump, EngineError, Globals, ProbeReport, dump::Format},
    Postgres, classify,
    connect::{connect, conninfo, query},
    not_started,
};

const PLAIN: Format = Format {
    magic: b"--\n-- PostgreSQL database cluster dump",
    trailer: b"PostgreSQL database cluster dump complete",
    archive: false,
};

/// Roles take some 200 bytes each: what is refused half-way is known before an object is begun, and the save goes without.
const READ_AHEAD: u64 = 1024 * 1024;

impl Postgres {
    pub(super) async fn start_globals(
        &self,
        at: &Connection,
        probe: &ProbeReport,
        cancel: &CancellationToken,
    ) -> Result<Globals, EngineError> {
        let (client, _) = self.clients.for_server(probe.server_major())?;
        if let Some(problem) = super::cancellable(cancel, unreadable(at)).await? {
            return Ok(Globals::Skipped(problem));
        }
        let mut tool = self.tool(at, None, client, "pg_dumpall")?;
        tool.args = vec![
            "--globals-only".into(),
            "--no-role-passwords".into(),
            "--no-password".into(),
            // Not `-l name`: pg_dumpall expands a name with `=` in it to a connection string.
            format!("--database={}", conninfo(&at.maintenance_database)).into(),
        ];
        let started = self.launcher.start(tool, cancel).await.map_err(not_started("pg_dumpall"))?;
        let about = ("pg_dumpall", client.version());
        let dump = Dump::of_process(started, about, Vec::new(), PLAIN, classify::stderr);
        match dump.read_ahead(READ_AHEAD).await {
            Ok(dump) => Ok(Globals::Dump(Box::new(dump))),
            Err(error) if is_refusal(&error) => Ok(Globals::Skipped(format!("globals were not saved: {error}"))),
            Err(error) => Err(error),
        }
    }
}

/// Whether the role may not do it, whatever the save is worth without.
fn is_refusal(error: &EngineError) -> bool {
    use super::super::ErrorCode::{AuthenticationFailed, DatabaseMissing, PermissionDenied};
    matches!(error.code(), PermissionDenied | DatabaseMissing | AuthenticationFailed)
}

/// Why the role cannot dump globals, if it cannot: known before a child starts and an object is begun.
async fn unreadable(at: &Connection) -> Result<Option<String>, EngineError> {
    let mut session = match connect(at, &at.maintenance_database).await {
        Ok(session) => session,
        // The role got into its own database a moment ago, so this is about the maintenance database alone.
        Err(error) if is_refusal(&error) => {
            return Ok(Some(format!("globals were not saved: {error}")));
        }
        Err(error) => return Err(error),
    };
    let readable: bool = sqlx::query_scalar(
        "SELECT has_table_privilege('pg_catalog.pg_roles', 'SELECT')
            AND has_table_privilege('pg_catalog.pg_auth_members', 'SELECT')
            AND has_table_privilege('pg_catalog.pg_db_role_setting', 'SELECT')
            AND has_table_privilege('pg_catalog.pg_tablespace', 'SELECT')",
    )
    .fetch_one(&mut session)
    .await
    .map_err(query("asking for the rights on the catalogs of roles"))?;
    Ok((!readable).then(|| format!("globals were not saved: {} may not read the catalogs of roles", at.user)))
}

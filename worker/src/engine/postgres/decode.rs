//! An archive read by `pg_restore` without a server: all of it becomes SQL that nobody looks at.

use tokio_util::sync::CancellationToken;

use super::{
    super::{EngineError, Restore, clients::Restorable, process::Tool},
    Postgres, classify, not_started,
};

impl Postgres {
    /// Starts `pg_restore` on an archive that comes through its input. What it makes of it goes nowhere; it finds what it cannot
    /// read. It finds no damage of the rows: that is what digests are for.
    pub async fn read_archive(&self, saved: &Restorable, cancel: &CancellationToken) -> Result<Restore, EngineError> {
        let client = self.clients.for_save(saved.tool_major)?;
        let tool = Tool {
            path: client.tool("pg_restore"),
            args: vec!["--file=/dev/null".into()],
            piped_stdin: true,
            ..Tool::default()
        };
        let started = self.launcher.start(tool, cancel).await.map_err(not_started("pg_restore"))?;
        Ok(Restore::of_process(started, "pg_restore", classify::stderr))
    }
}

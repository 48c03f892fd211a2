//! Which `PostgreSQL` client programs this machine has, and which of them fits a server or a save (guarantees A7, F6).

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use tokio_util::sync::CancellationToken;

use super::{
    error::{EngineError, ErrorCode},
    process::{Launcher, Tool},
};

/// The first minor version of each major with all the fixes of guarantees §4.6.
const FIXED: [(u32, u32); 5] = [(18, 6), (17, 11), (16, 15), (15, 19), (14, 24)];

/// `pg_restore` of this major version and above sets `transaction_timeout`, which servers below it do not know.
const TRANSACTION_TIMEOUT: u32 = 17;

/// What of a save decides which tools and servers can take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restorable {
    /// Major version of the `pg_dump` that wrote it.
    pub tool_major: u32,
    /// Major version of the server it was taken from.
    pub server_major: u32,
    /// Whether that server marks its columns; see `marks_columns`.
    pub marks_columns: bool,
}

/// Servers of 15.20 keep an option `pg_attver` on every column. Their own `pg_dump` does not write it down; those of other
/// majors (seen with 16.14 and 18.4) do, and no server of another major takes it.
fn marks_columns(major: u32, minor: u32) -> bool {
    major == 15 && minor >= 20
}

impl Restorable {
    /// Of what a manifest says: the tools' major, and the server's version as people write it. A version that cannot be
    /// read is taken for the tools': a dump is never of a newer server.
    pub fn of(tool_major: u32, server_version: &str) -> Self {
        let mut numbers = server_version.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().ok());
        let server_major = numbers.next().flatten().unwrap_or(tool_major);
        let minor = numbers.next().flatten().unwrap_or_default();
        Self { tool_major, server_major, marks_columns: marks_columns(server_major, minor) }
    }
}

/// One installed set of client programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    pub major: u32,
    pub minor: u32,
    /// The directory of `pg_dump`, `pg_dumpall` and `pg_restore`.
    pub bin_dir: PathBuf,
}

impl Client {
    /// `15.20`, as it is recorded on saves.
    pub fn version(&self) -> String {
        format!("{}.{}", self.major, self.minor)
    }

    /// Absolute path of one of the programs.
    pub fn tool(&self, name: &str) -> PathBuf {
        self.bin_dir.join(name)
    }

    /// Whether it lacks fixes for known holes; a warning, never a failure.
    pub fn lacks_fixes(&self) -> bool {
        FIXED.iter().find(|(major, _)| *major == self.major).map_or(self.major < 14, |(_, minor)| self.minor < *minor)
    }
}

/// The installed clients: at most one per major version, the newest minor.
#[derive(Debug, Clone, Default)]
pub struct Clients {
    by_major: Vec<Client>,
}

impl Clients {
    /// Looks into `bin_dirs`, or, where none is configured, into the distributions' places and then the directories of
    /// `path` (the worker's PATH). A directory without a working `pg_dump` is passed over.
    pub async fn discover(launcher: &Launcher, bin_dirs: &[PathBuf], path: Option<&OsStr>) -> Self {
        let mut dirs = bin_dirs.to_vec();
        if dirs.is_empty() {
            dirs = versioned("/usr/lib/postgresql", "").chain(versioned("/usr", "pgsql-")).collect();
            // Debian's /usr/bin/pg_dump is a script that picks a version by its own rules: only the real program counts.
            let real = |dir: &PathBuf| dir.join("pg_dump").canonicalize().is_ok_and(|tool| tool.ends_with("pg_dump"));
            dirs.extend(path.into_iter().flat_map(std::env::split_paths).filter(|dir| dir.is_absolute()).filter(real));
        }
        let mut clients = Vec::new();
        for bin_dir in dirs {
            if let Some((major, minor)) = version_of(launcher, &bin_dir.join("pg_dump")).await {
                clients.push(Client { major, minor, bin_dir });
            }
        }
        Self::from_list(clients)
    }

    /// From a list; of each major version the newest minor is kept.
    pub fn from_list(mut clients: Vec<Client>) -> Self {
        clients.sort_by_key(|client| (client.major, std::cmp::Reverse(client.minor)));
        clients.dedup_by_key(|client| client.major);
        Self { by_major: clients }
    }

    /// All of them, by major version.
    pub fn all(&self) -> &[Client] {
        &self.by_major
    }

    /// The client for a dump of a server of this major version: its own if installed, else the next above with a warning.
    pub fn for_server(&self, major: u32) -> Result<(&Client, Option<String>), EngineError> {
        let client = self.at_least(major).ok_or_else(|| self.too_old("the server has", major))?;
        let warning = (client.major != major).then(|| {
            format!(
                "the server has version {major}, the dump was made by pg_dump {}: it restores into {} or above",
                client.version(),
                client.major
            )
        });
        Ok((client, warning))
    }

    /// The client that can read a save made by tools of this major version.
    pub fn for_save(&self, tool_major: u32) -> Result<&Client, EngineError> {
        self.at_least(tool_major).ok_or_else(|| self.too_old("the save was made by the tools of", tool_major))
    }

    /// The client that restores a save into a server of this major version: the oldest that can read it, and that says
    /// nothing the server does not know (docs/operations.md has the whole table).
    pub fn for_restore(&self, saved: &Restorable, into_major: u32) -> Result<&Client, EngineError> {
        let incompatible = |message: String| EngineError::new(ErrorCode::RestoreIncompatible, message);
        if into_major < saved.server_major {
            return Err(incompatible(format!(
                "the save is of a server of version {}, this server has version {into_major}",
                saved.server_major
            )));
        }
        if saved.marks_columns && saved.tool_major != saved.server_major && into_major != saved.server_major {
            let message = format!(
                "the save of a server of version {} was made by the tools of version {}, which write down its columns' option pg_attver: only a server of version {} takes that",
                saved.server_major, saved.tool_major, saved.server_major
            );
            let hint = format!("make the save with the client programs of version {}", saved.server_major);
            return Err(incompatible(message).with_hint(hint));
        }
        // The tools that can read it are no older than those that wrote it.
        if into_major < TRANSACTION_TIMEOUT && saved.tool_major >= TRANSACTION_TIMEOUT {
            return Err(incompatible(format!(
                "the save was made by the tools of version {}, whose pg_restore sets transaction_timeout, which a server of version {into_major} does not know",
                saved.tool_major
            ))
            .with_hint(format!("restore into a server of version {TRANSACTION_TIMEOUT} or above, or make the save with older tools")));
        }
        let client = self.for_save(saved.tool_major)?;
        if into_major < TRANSACTION_TIMEOUT && client.major >= TRANSACTION_TIMEOUT {
            return Err(EngineError::new(
                ErrorCode::RestoreIncompatible,
                format!(
                    "of the PostgreSQL clients on this worker only {} can read the save, and it sets transaction_timeout, which a server of version {into_major} does not know",
                    client.version()
                ),
            )
            .with_hint(format!("install the client programs of version {}", saved.tool_major)));
        }
        Ok(client)
    }

    fn at_least(&self, major: u32) -> Option<&Client> {
        self.by_major.iter().find(|client| client.major >= major)
    }

    fn too_old(&self, who: &str, major: u32) -> EngineError {
        let installed: Vec<String> = self.by_major.iter().map(Client::version).collect();
        let installed = if installed.is_empty() { "none".to_owned() } else { installed.join(", ") };
        let message = format!("{who} version {major}; PostgreSQL clients on this worker: {installed}");
        let hint =
            format!("install the PostgreSQL {major} client programs (Debian: postgresql-client-{major}) or newer ones");
        EngineError::new(ErrorCode::ClientTooOld, message).with_hint(hint)
    }
}

/// `<root>/<prefix><number>/bin`
fn versioned(root: &str, prefix: &'static str) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    entries.filter_map(move |entry| {
        let name = entry.file_name();
        name.to_str()?.strip_prefix(prefix)?.parse::<f32>().ok()?;
        Some(entry.path().join("bin"))
    })
}

async fn version_of(launcher: &Launcher, pg_dump: &Path) -> Option<(u32, u32)> {
    if !pg_dump.is_file() {
        return None;
    }
    let tool = Tool { path: pg_dump.to_owned(), args: vec!["--version".into()], ..Tool::default() };
    match launcher.output(tool, 1024, &CancellationToken::new()).await {
        Ok((ended, out)) if ended.is_success() => parse_version(&String::from_utf8_lossy(&out)),
        Ok((ended, _)) => {
            tracing::warn!(path = %pg_dump.display(), exit = %ended.exit, stderr = %ended.stderr, "pg_dump does not run");
            None
        }
        Err(error) => {
            tracing::warn!(path = %pg_dump.display(), %error, "pg_dump does not start");
            None
        }
    }
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let version = text.split_once("(PostgreSQL) ")?.1.split_whitespace().next()?;
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    let major = numbers.next()?.ok()?;
    // A beta or development version counts as minor 0.
    let minor = if version.contains('.') { numbers.next()?.ok()? } else { 0 };
    Some((major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(versions: &[(u32, u32)]) -> Clients {
        let client = |&(major, minor)| Client { major, minor, bin_dir: format!("/{major}.{minor}").into() };
        Clients::from_list(versions.iter().map(client).collect())
    }

    #[test]
    fn versions_are_read_as_distributions_write_them() {
        assert_eq!(parse_version("pg_dump (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)\n"), Some((15, 20)));
        assert_eq!(parse_version("pg_dump (PostgreSQL) 19beta1\n"), Some((19, 0)));
        assert_eq!(parse_version("mysqldump 8"), None);
    }

    #[test]
    fn the_servers_own_major_is_taken_else_the_next_above() {
        let clients = clients(&[(18, 4), (15, 18), (15, 20)]);
        let (client, warning) = clients.for_server(15).unwrap();
        assert_eq!((client.major, client.minor, warning), (15, 20, None));
        let (client, warning) = clients.for_server(16).unwrap();
        assert_eq!(client.major, 18);
        assert!(warning.unwrap().contains("version 16"));
    }

    #[test]
    fn too_old_says_what_is_there_and_what_to_install() {
        let error = clients(&[(15, 20)]).for_server(17).unwrap_err();
        assert_eq!(error.code(), ErrorCode::ClientTooOld);
        assert!(error.is_permanent());
        assert!(error.to_string().contains("15.20") && error.hint().contains("postgresql-client-17"), "{error:?}");
        assert!(clients(&[]).for_save(15).unwrap_err().to_string().contains("none"));
    }

    #[test]
    fn a_restore_takes_tools_that_both_sides_understand() {
        let all = clients(&[(15, 20), (16, 14), (18, 4)]);
        let of = |tool_major, server_major| Restorable { tool_major, server_major, marks_columns: server_major == 15 };
        let major = |saved, into| all.for_restore(&saved, into).map(|client| client.major).map_err(|e| e.code());
        assert_eq!(major(of(15, 14), 14), Ok(15));
        assert_eq!(major(of(15, 15), 18), Ok(15));
        assert_eq!(major(of(16, 14), 15), Ok(16));
        assert_eq!(major(of(18, 16), 17), Ok(18));
        assert_eq!(major(of(16, 15), 15), Ok(16));
        assert_eq!(major(of(16, 15), 16), Err(ErrorCode::RestoreIncompatible));
        assert_eq!(major(of(18, 15), 15), Err(ErrorCode::RestoreIncompatible));
        assert_eq!(major(of(16, 16), 15), Err(ErrorCode::RestoreIncompatible));
        let newest = clients(&[(18, 4)]);
        assert_eq!(newest.for_restore(&of(15, 15), 18).unwrap().major, 18);
        let refused = newest.for_restore(&of(15, 15), 15).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::RestoreIncompatible);
        assert!(refused.hint().contains("15"), "{refused:?}");
        assert_eq!(clients(&[(15, 20)]).for_restore(&of(16, 16), 16).unwrap_err().code(), ErrorCode::ClientTooOld);
    }

    #[test]
    fn versions_of_servers_are_read_from_manifests() {
        assert_eq!(Restorable::of(16, "15.20 (Debian 15.20-0+deb12u1)").server_major, 15);
        assert!(Restorable::of(16, "15.20 (Debian 15.20-0+deb12u1)").marks_columns);
        assert!(!Restorable::of(16, "15.18").marks_columns && !Restorable::of(18, "16.20").marks_columns);
        assert_eq!(Restorable::of(19, "19beta1").server_major, 19);
        assert_eq!(Restorable::of(16, "?").server_major, 16);
    }

    #[test]
    fn known_holes_are_a_warning() {
        let client = |major, minor| Client { major, minor, bin_dir: PathBuf::new() };
        assert!(client(15, 18).lacks_fixes() && client(13, 23).lacks_fixes() && client(18, 5).lacks_fixes());
        assert!(!client(15, 19).lacks_fixes() && !client(19, 0).lacks_fixes());
    }
}

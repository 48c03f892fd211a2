//! The private directory of one child: `PGPASSFILE`, CA file, an empty `HOME`. Gone when the child is, and swept at start
//! for those whose worker was killed (guarantees F4, §4.5).

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use secrecy::{ExposeSecret as _, SecretString};
use shared::name::{HostName, UserName};

const PREFIX: &str = "hf-";

/// A directory (0700) that disappears on drop, with the files (0600) a child needs.
#[derive(Debug)]
pub struct SecretDir {
    path: PathBuf,
}

impl SecretDir {
    /// Creates `hf-<pid>-<start time>-<tag>-<n>` under `run_dir`. Of `tag` (job and epoch, for whoever looks at the
    /// directory) only letters and digits are kept.
    pub fn create(run_dir: &Path, tag: &str) -> io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let pid = std::process::id();
        let started =
            start_time(pid).ok_or_else(|| io::Error::other("the start time of this process is not readable"))?;
        let tag: String = tag.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(80).collect();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = run_dir.join(format!("{PREFIX}{pid}-{started}-{tag}-{number}"));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path })
    }

    /// Where the directory is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a new file, 0600; one that exists already is an error, never followed or overwritten.
    pub fn write(&self, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(bytes)?;
        Ok(path)
    }

    /// Writes the `PGPASSFILE` with its one line, bound to host and port so that libpq sends it nowhere else.
    pub fn write_pgpass(
        &self,
        host: &HostName,
        port: u16,
        user: &UserName,
        password: &SecretString,
    ) -> io::Result<PathBuf> {
        self.write("pgpass", pgpass_line(host, port, user, password)?.expose_secret().as_bytes())
    }
}

impl Drop for SecretDir {
    fn drop(&mut self) {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::error!(path = %self.path.display(), %error, "secrets directory not removed");
            }
            _ => {}
        }
    }
}

fn pgpass_line(host: &HostName, port: u16, user: &UserName, password: &SecretString) -> io::Result<SecretString> {
    let escape = |text: &str| text.replace('\\', "\\\\").replace(':', "\\:");
    let password = password.expose_secret();
    if password.contains(['\n', '\r', '\0']) {
        let problem = "the password holds a line break or NUL, which no password file can carry";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    Ok(format!("{}:{port}:*:{}:{}\n", escape(host.as_str()), escape(user.as_str()), escape(password)).into())
}

/// Removes what dead workers left under `run_dir`, and returns what was removed. Call it at start, before any job. A
/// directory of a live process is never touched: process id *and* start time must be those of the name. `run_dir` must
/// therefore belong to one process-id namespace (a tmpfs shared by several containers does not).
pub fn sweep(run_dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut removed = Vec::new();
    for entry in fs::read_dir(run_dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some((pid, started)) = name.to_str().and_then(owner) else { continue };
        if start_time(pid) == Some(started) || !entry.file_type()?.is_dir() {
            continue;
        }
        match fs::remove_dir_all(entry.path()) {
            Ok(()) => removed.push(entry.path()),
            // Another worker's sweep was faster, or it is another user's.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(path = %entry.path().display(), %error, "dead secrets directory not removed"),
        }
    }
    Ok(removed)
}

/// The configured directory, else the first memory file system that may be written to, else the system's temporary one.
pub fn choose_run_dir(configured: Option<&Path>) -> PathBuf {
    let writable = |path: &&Path| path.is_dir() && rustix::fs::access(*path, rustix::fs::Access::WRITE_OK).is_ok();
    let candidates = [Path::new("/run/holdfast"), Path::new("/run"), Path::new("/dev/shm")];
    configured.or_else(|| candidates.into_iter().find(writable)).map_or_else(std::env::temp_dir, Path::to_path_buf)
}

fn owner(name: &str) -> Option<(u32, u64)> {
    let mut parts = name.strip_prefix(PREFIX)?.splitn(3, '-');
    let owner = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().map(|_| owner)
}

/// Clock ticks after boot at which the process was started; None if there is no such process.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, so count from its end: the state is field 3, the start time field 22.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_directory_is_private_and_gone_afterwards() {
        let root = scratch();
        let dir = SecretDir::create(&root, "0190-ab/../3").unwrap();
        let file = dir.write("pgpass", b"x").unwrap();
        assert_eq!(fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(dir.path().parent().unwrap(), root);
        assert!(dir.write("pgpass", b"y").is_err(), "a file was overwritten");
        let path = dir.path().to_owned();
        drop(dir);
        assert!(!path.exists());
        fs::remove_dir(root).unwrap();
    }

    #[test]
    fn the_sweep_takes_the_dead_and_leaves_the_living_and_the_foreign() {
        let root = scratch();
        let live = SecretDir::create(&root, "job-1").unwrap();
        let pid = std::process::id();
        let dead = root.join("hf-4194305-17-job-1");
        let reused_pid = root.join(format!("hf-{pid}-1-job-1"));
        let foreign = root.join("hf-notes");
        for path in [&dead, &reused_pid, &foreign] {
            fs::create_dir(path).unwrap();
        }
        fs::write(dead.join("pgpass"), "secret").unwrap();
        let mut removed = sweep(&root).unwrap();
        removed.sort();
        let mut expected = vec![dead, reused_pid];
        expected.sort();
        assert_eq!(removed, expected);
        assert!(live.path().exists() && foreign.exists());
        drop(live);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn the_password_line_is_escaped_and_one_line() {
        let host = HostName::parse("::1").unwrap();
        let user = UserName::parse(r"a:b\c").unwrap();
        let line = pgpass_line(&host, 5432, &user, &r"p:w\d*".into()).unwrap();
        assert_eq!(line.expose_secret(), "\\:\\:1:5432:*:a\\:b\\\\c:p\\:w\\\\d*\n");
        assert!(pgpass_line(&host, 5432, &user, &"a\nb".into()).is_err());
    }

    fn scratch() -> PathBuf {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("holdfast-test-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        path
    }
}

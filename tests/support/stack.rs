//! The development stack's servers, as `make test` has brought them up.

use std::path::{Path, PathBuf};

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Tests that stop or restart a server have the stack to themselves.
static QUIET: RwLock<()> = RwLock::const_new(());

/// Held by every test that only uses the servers. An [`App`](crate::App) holds one.
pub async fn shared() -> RwLockReadGuard<'static, ()> {
    QUIET.read().await
}

/// Held by a test that takes servers away.
pub async fn alone() -> RwLockWriteGuard<'static, ()> {
    QUIET.write().await
}

/// A setting of the stack, `HOLDFAST_DEV_<name>`.
#[expect(clippy::disallowed_methods, reason = "the stack tells its addresses by environment variables")]
pub fn setting(name: &str) -> String {
    std::env::var(format!("HOLDFAST_DEV_{name}")).unwrap_or_else(|_| panic!("no stack: run the tests by `make test`"))
}

/// As [`setting`], for servers that are not always there.
#[expect(clippy::disallowed_methods, reason = "the stack tells its addresses by environment variables")]
pub fn optional(name: &str) -> Option<String> {
    std::env::var(format!("HOLDFAST_DEV_{name}")).ok()
}

/// The repository. Asked at run time: a target directory may be shared by several clones.
pub fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it for its tests");
    Path::new(&package).parent().unwrap().to_owned()
}

/// Where `make test` has built the programs: the test binary lies in `<target>/<profile>/deps`.
pub fn program(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().and_then(Path::parent).unwrap().join(name);
    assert!(program.exists(), "{} is not built: run the tests by `make test`", program.display());
    program
}

/// `deploy/dev/stack VERB SERVICE...`, for a test that holds [`alone`].
#[expect(clippy::disallowed_methods, reason = "tests of outages stop servers as a person would")]
pub async fn act(verb: &str, service: &str) {
    let done =
        tokio::process::Command::new(root().join("deploy/dev/stack")).args([verb, service]).output().await.unwrap();
    assert!(done.status.success(), "stack {verb} {service}: {}", String::from_utf8_lossy(&done.stderr));
}

/// A name that no other test has, fit for databases, exchanges and roles.
pub fn fresh(prefix: &str) -> String {
    let id = uuid::Uuid::now_v7().simple().to_string();
    // The last digits are the random ones.
    format!("{prefix}_{}", &id[16..])
}

/// Runs a program to its end; its standard output. Panics with what it said when it fails.
pub fn run(program: &Path, args: &[&str], envs: &[(&str, &str)]) -> String {
    try_run(program, args, envs).unwrap_or_else(|problem| panic!("{} {args:?}: {problem}", program.display()))
}

/// As [`run`]; what it said when it failed, for what is cleared away after a test that may have failed itself.
#[expect(clippy::disallowed_methods, reason = "tests run tools as a person would")]
pub fn try_run(program: &Path, args: &[&str], envs: &[(&str, &str)]) -> Result<String, String> {
    let run = || std::process::Command::new(program).args(args).envs(envs.iter().copied()).output().unwrap();
    // DROP DATABASE waits for logins that are under way, and one of them may be a task of this very thread.
    let threads = tokio::runtime::Handle::try_current().map(|runtime| runtime.runtime_flavor());
    let done = match threads {
        Ok(tokio::runtime::RuntimeFlavor::MultiThread) => tokio::task::block_in_place(run),
        _ => run(),
    };
    if !done.status.success() {
        return Err(String::from_utf8_lossy(&done.stderr).into_owned());
    }
    Ok(String::from_utf8(done.stdout).unwrap())
}

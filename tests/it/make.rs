//! What a person types: the make targets of the development stack in a directory of their own, and the minimal
//! installation exactly as README shows it.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::json;
use support::{ADMIN_PASSWORD, Client, Database, database, process, stack, until, wait};
use tokio::process::{Child, Command};

use crate::http::shell_block;

/// Words that the command lines of everything started below `dir` have in common: the directory itself, and where the
/// stack keeps its servers when their accounts cannot reach it.
fn started_below(dir: &Path) -> Vec<String> {
    let mut marks = vec![dir.to_str().unwrap().to_owned()];
    let state = std::fs::read_to_string(dir.join("state.json")).unwrap_or_default();
    let servers = serde_json::from_str::<serde_json::Value>(&state).unwrap_or_default();
    marks.extend(servers["servers_dir"].as_str().map(str::to_owned));
    marks
}

/// Processes that name one of these.
fn running(marks: &[String]) -> BTreeSet<(u32, String)> {
    let named = |line: &str| marks.iter().any(|mark| line.contains(mark.as_str()));
    process::table().into_iter().filter(|(_, _, line)| named(line)).map(|(pid, _, line)| (pid, line)).collect()
}

#[expect(clippy::disallowed_methods, reason = "make is run as a person would")]
fn make(target: &str, dev: &Path) -> Command {
    let mut command = Command::new("make");
    command.args(["--no-print-directory", target]).current_dir(stack::root()).env("HOLDFAST_DEV_DIR", dev);
    command.env("HOLDFAST_BIN", stack::program("holdfast-api").parent().unwrap());
    // The stack of the tests is another one; and what cargo tells a test would make cargo itself build everything anew.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let of_tests = name.starts_with("HOLDFAST_DEV_") || name.starts_with("CARGO_");
        if of_tests && !["HOLDFAST_DEV_DIR", "CARGO_HOME", "CARGO_TARGET_DIR"].contains(&&*name) {
            command.env_remove(&*name);
        }
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn makes(target: &str, dev: &Path) -> String {
    let done = make(target, dev).output().await.unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "make {target}: {}\n{said}", done.status);
    said
}

/// `make serve`, in a process group of its own as a terminal gives it, and what it says.
fn serve(dev: &Path) -> (Child, PathBuf) {
    let log = dev.with_extension("log");
    let file = std::fs::File::create(&log).unwrap();
    let child = make("serve", dev).stdout(file.try_clone().unwrap()).stderr(file).process_group(0).spawn().unwrap();
    (child, log)
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap()
}

/// The programs of ours among these.
fn ours(marks: &[String]) -> Vec<(u32, String)> {
    let programs = ["holdfast-api ", "holdfast-worker "];
    running(marks).into_iter().filter(|(_, line)| programs.iter().any(|program| line.contains(program))).collect()
}

#[tokio::test]
async fn a_stack_is_brought_up_served_on_taken_down_and_cleaned_up() {
    let place = tempfile::Builder::new().prefix("holdfast-make-").tempdir().unwrap();
    let dev = place.path().join("dev");
    let _stack = Stack(dev.clone());
    let said = makes("up", &dev).await;
    for server in ["meta", "target", "rabbit", "mongo"] {
        assert!(said.contains(&format!("up {server}")), "{said}");
    }
    let marks = started_below(&dev);
    let up = running(&marks);
    assert!(up.len() >= 4, "{up:#?}");
    makes("up", &dev).await;
    let still: BTreeSet<u32> = running(&marks).into_iter().map(|(pid, _)| pid).collect();
    assert!(up.iter().filter(|(_, line)| line.contains("-D")).all(|(pid, _)| still.contains(pid)), "up is idempotent");

    for signal in ["SIGTERM", "Ctrl-C"] {
        let (mut child, log) = serve(&dev);
        let said = || std::fs::read_to_string(&log).unwrap_or_default();
        let app = dev.join("app");
        let address = wait::within(Duration::from_mins(3), "the API is ready", || async {
            let address = std::fs::read_to_string(app.join("api.address")).ok()?;
            let ready = reqwest::get(format!("{}/readyz", address.trim())).await.ok()?;
            ready.status().is_success().then(|| address.trim().to_owned())
        })
        .await;
        assert!(child.try_wait().unwrap().is_none(), "{}", said());
        assert_eq!(ours(&marks).len(), 3, "the API and two workers: {:#?}", ours(&marks));
        let name = if signal == "Ctrl-C" { "second" } else { "first" };
        let password = place.path().join("password");
        std::fs::write(&password, ADMIN_PASSWORD).unwrap();
        let config = app.join("api.toml");
        let words = [
            "--config",
            config.to_str().unwrap(),
            "admin",
            "create",
            "--name",
            name,
            "--password-file",
            password.to_str().unwrap(),
        ];
        stack::run(&stack::program("holdfast-api"), &words, &[]);
        let client = Client::new(address).login(name, ADMIN_PASSWORD).await;
        client.get("/v1/auth/me").await.expect(200);

        if signal == "Ctrl-C" {
            // Everybody in the foreground hears it, make too, which then says so by its own status.
            kill_process_group(pid(&child), Signal::INT).unwrap();
            child.wait().await.unwrap();
        } else {
            let script = process::table()
                .into_iter()
                .find(|(_, parent, line)| child.id() == Some(*parent) && line.contains("serve"));
            let (script, _, _) = script.unwrap_or_else(|| panic!("no script: {:#?}", ours(&marks)));
            kill_process(Pid::from_raw(i32::try_from(script).unwrap()).unwrap(), Signal::TERM).unwrap();
            let status = tokio::time::timeout(wait::PATIENCE, child.wait()).await.unwrap().unwrap();
            assert!(status.success(), "{status}\n{}", said());
        }
        until("what it started has ended", || async { ours(&marks).is_empty().then_some(()) }).await;
    }

    makes("down", &dev).await;
    assert_eq!(running(&marks), BTreeSet::new(), "after down");
    assert!(dev.join("app/ring").exists(), "the data stay");
    makes("cleanup", &dev).await;
    assert_eq!(running(&marks), BTreeSet::new(), "after cleanup");
    for mark in marks {
        assert!(!Path::new(&mark).exists(), "{mark} is still there");
    }
    makes("cleanup", &dev).await;
}

/// Taken away also when the test fails.
struct Stack(PathBuf);

impl Drop for Stack {
    #[expect(clippy::disallowed_methods, reason = "the stack is taken away as a person would")]
    fn drop(&mut self) {
        let mut purge = std::process::Command::new(stack::root().join("deploy/dev/stack"));
        let done = purge.arg("purge").env("HOLDFAST_DEV_DIR", &self.0).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

/// A free port. Somebody else may take it meanwhile; nobody here does.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The roles and the database that README's commands make, on the target server, where no other test uses these names.
struct Readme;

impl Drop for Readme {
    fn drop(&mut self) {
        drop(Database { name: "holdfast".to_owned() });
        let (host, port) = (stack::setting("TARGET_HOST"), stack::setting("TARGET_PORT"));
        let (user, password) = (stack::setting("TARGET_SUPER_USER"), stack::setting("TARGET_SUPER_PASSWORD"));
        let envs = [("PGHOST", &*host), ("PGPORT", &*port), ("PGUSER", &*user), ("PGPASSWORD", &*password)];
        let sql = "DROP ROLE IF EXISTS holdfast_app; DROP ROLE IF EXISTS holdfast_owner";
        stack::run(&database::tool("psql"), &["-Xq", "-d", "postgres", "-c", sql], &envs);
    }
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the commands are run as a person would")]
async fn the_minimal_installation_of_the_readme_backs_up_and_restores() {
    let _shared = stack::shared().await;
    let source = Database::small().await;
    let dir = tempfile::Builder::new().prefix("holdfast-minimal-").tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::copy(stack::root().join(".env.example"), at(".env.example")).unwrap();
    for sub in ["store", "run"] {
        std::fs::create_dir(at(sub)).unwrap();
    }
    drop(Readme);
    let _readme = Readme;
    // What README calls "edit it", said by the environment, which goes before .env.
    let (host, port) = (stack::setting("TARGET_HOST"), stack::setting("TARGET_PORT"));
    let (api, worker) = (free_port(), free_port());
    let url = |role: &str| format!("postgres://{role}:change-me@{host}:{port}/holdfast");
    let path = format!(
        "{}:{}:{}",
        stack::program("holdfast-api").parent().unwrap().display(),
        stack::setting("PG_BINDIR"),
        std::env::var_os("PATH").unwrap().to_string_lossy()
    );
    let script = format!("{}\nwait\n", shell_block("README.md", Some("## A minimal installation")));
    std::fs::write(at("readme.sh"), script).unwrap();
    std::fs::write(at("password"), ADMIN_PASSWORD).unwrap();
    let log = std::fs::File::create(at("readme.log")).unwrap();
    let mut shell = Command::new("bash");
    shell
        .args(["-eu", "readme.sh"])
        .current_dir(dir.path())
        .env_clear()
        .env("PATH", path)
        .envs([("PGHOST", &host), ("PGPORT", &port)])
        .env("PGUSER", stack::setting("TARGET_SUPER_USER"))
        .env("PGPASSWORD", stack::setting("TARGET_SUPER_PASSWORD"))
        .env("HOLDFAST__DATABASE__URL", url("holdfast_app"))
        .env("HOLDFAST__DATABASE__OWNER_URL", url("holdfast_owner"))
        .env("HOLDFAST__HTTP__LISTEN", format!("127.0.0.1:{api}"))
        .env("HOLDFAST__WORKER__PORT_LISTEN", format!("127.0.0.1:{worker}"))
        .env("HOLDFAST__WORKER__RUN_DIR", at("run"))
        .env("HOLDFAST__STORES__MAIN__ROOT", at("store"))
        .stdin(std::fs::File::open(at("password")).unwrap())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .process_group(0)
        .kill_on_drop(true);
    let mut shell = shell.spawn().unwrap();
    let group = Group(pid(&shell));
    let said = || std::fs::read_to_string(at("readme.log")).unwrap_or_default();
    let client = Client::new(format!("http://127.0.0.1:{api}"));
    until("the API is ready", || async {
        let ready = reqwest::get(format!("{}/readyz", client.base)).await;
        ready.ok()?.status().is_success().then_some(())
    })
    .await;
    assert!(shell.try_wait().unwrap().is_none(), "{}", said());

    let client = client.login("root", ADMIN_PASSWORD).await;
    let service = client.post("/v1/services", json!({ "name": "items" })).await.id();
    let server = json!({ "name": "pg-1", "engine": "postgres", "host": host, "port": port.parse::<u16>().unwrap() });
    let server = client.post("/v1/servers", server).await.id();
    let credential = json!({ "name": "items", "user_name": stack::setting("TARGET_RESTORE_USER"),
        "password": stack::setting("TARGET_RESTORE_PASSWORD") });
    let credential = client.post("/v1/credentials", credential).await.id();
    let target = json!({ "service_id": service, "server_id": server, "name": "items", "database": source.name,
        "backup_credential_id": credential, "restore_credential_id": credential, "stores": ["main"] });
    let target = client.post("/v1/targets", target).await.id();
    let backup = client.post(&format!("/v1/targets/{target}/backups"), json!({})).await.id();
    let save = client.job_is(&backup, "succeeded").await["save_id"].as_str().unwrap().to_owned();
    let copy = Database { name: stack::fresh("copy") };
    let into = json!({ "into": { "database": copy.name }, "owner": "none", "privileges": "none" });
    let restore = client.post(&format!("/v1/saves/{save}/restore"), into).await.id();
    client.job_is(&restore, "succeeded").await;
    let sum = "SELECT count(*) || ' ' || sum(cents) || ' ' || md5(string_agg(cents::text, ',' ORDER BY id)) FROM bids";
    assert_eq!(copy.text(sum).await, source.text(sum).await);

    // Nothing is published, and everything is in the history, in its place.
    let events = until("both ends are in the history", || async {
        let events = client.get("/v1/events").await.expect(200);
        let ended = events.as_array().unwrap().iter().filter(|event| event["type"] == "job.succeeded").count();
        (ended == 2).then_some(events)
    })
    .await;
    let seqs: Vec<i64> = events.as_array().unwrap().iter().map(|event| event["seq"].as_i64().unwrap()).collect();
    assert_eq!(seqs, (1..=i64::try_from(seqs.len()).unwrap()).collect::<Vec<_>>());
    assert!(!said().contains("\"ERROR\""), "{}", said());
    drop(group);
    until("the programs have ended", || async {
        running(&[dir.path().to_str().unwrap().to_owned()]).is_empty().then_some(())
    })
    .await;
}

/// Ends what the commands left running, as closing the terminal does.
struct Group(Pid);

impl Drop for Group {
    fn drop(&mut self) {
        // It may have ended already.
        let _gone = kill_process_group(self.0, Signal::TERM);
    }
}

//! Tools that die, lie, flood or linger. Only what ended with status 0 and looks like a dump becomes a save.

use std::{os::unix::fs::PermissionsExt, path::PathBuf};

use rustix::process::{Pid, Signal, kill_process};
use support::{App, Database, Process, WorkerSpec, database::tool, process, until};

use super::{fails, no_save, one_attempt, stored_files};

/// A directory of client programs whose `pg_dump` is this script; the others are the real ones. `$REAL` is the real one.
pub(crate) fn stand_in(app: &App, script: &str) -> PathBuf {
    let dir = app.dir.path().join("bin");
    std::fs::create_dir(&dir).unwrap();
    for name in ["pg_dumpall", "pg_restore"] {
        std::os::unix::fs::symlink(tool(name), dir.join(name)).unwrap();
    }
    let pg_dump = dir.join("pg_dump");
    let real = tool("pg_dump");
    let text =
        format!("#!/bin/sh\nREAL='{}'\n[ \"$1\" = --version ] && exec \"$REAL\" --version\n{script}\n", real.display());
    std::fs::write(&pg_dump, text).unwrap();
    std::fs::set_permissions(&pg_dump, std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// A worker with that stand-in, and a backup by it. Nothing is tried twice.
async fn backup_with(app: &mut App, source: &Database, script: &str) -> (Process, String) {
    one_attempt(app).await;
    let bin = stand_in(app, script);
    let worker = app.worker_with(&WorkerSpec { pg_bindirs: vec![bin], ..WorkerSpec::named("one") }).await;
    let target = app.target(source).await;
    let job = app.backup(&target).await;
    (worker, job)
}

/// The worker's child whose command line has this word.
async fn child(worker: &Process, word: &str) -> u32 {
    until(&format!("{word} runs"), || async {
        worker.descendants().into_iter().find(|(_, line)| line.contains(word)).map(|(pid, _)| pid)
    })
    .await
}

#[tokio::test]
async fn a_killed_pg_dump_is_no_save_and_the_next_attempt_is() {
    let mut app = App::spawn().await;
    let source = Database::small().await;
    let worker = app.worker("one").await;
    let target = app.target(&source).await;
    let hold = source.hold("lots").await;
    let job = app.backup(&target).await;
    source.dump_waits().await;
    // __child has become the tool by now.
    let pid = child(&worker, "pg_dump").await;
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL).unwrap();
    let seen = app.client.job_until(&job, "failed once", |job| job["error"].is_object()).await;
    assert_eq!(seen["error"]["code"], "tool_killed", "{seen:#}");
    assert_eq!(seen["error"]["retryable"], true);
    assert!(seen["error"]["message"].as_str().unwrap().contains("signal 9"), "{seen:#}");
    hold.release().await;
    let job = app.client.job_is(&job, "succeeded").await;
    assert_eq!(job["attempt"], 2, "{job:#}");
    app.holds().await;
}

#[tokio::test]
async fn a_pg_dump_killed_for_good_leaves_no_byte() {
    let mut app = App::spawn().await;
    let source = Database::small().await;
    one_attempt(&app).await;
    let worker = app.worker("one").await;
    let target = app.target(&source).await;
    let hold = source.hold("bids").await;
    let job = app.backup(&target).await;
    source.dump_waits().await;
    let pid = child(&worker, "pg_dump").await;
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL).unwrap();
    fails(&app, &job, "tool_killed", true).await;
    hold.release().await;
    no_save(&app, &job).await;
}

#[tokio::test]
async fn success_without_output_is_a_failure() {
    let mut app = App::spawn().await;
    let source = Database::small().await;
    let (_worker, job) = backup_with(&mut app, &source, "exit 0").await;
    let error = fails(&app, &job, "empty_or_bad_format", true).await;
    assert!(error["message"].as_str().unwrap().contains("nothing"), "{error:#}");
    no_save(&app, &job).await;
}

#[tokio::test]
async fn success_with_something_else_is_a_failure() {
    let mut app = App::spawn().await;
    let source = Database::small().await;
    let (_worker, job) = backup_with(&mut app, &source, "echo 'Usage: pg_dump [OPTION]... [DBNAME]'; exit 0").await;
    let error = fails(&app, &job, "empty_or_bad_format", true).await;
    assert!(error["message"].as_str().unwrap().contains("begin"), "{error:#}");
    no_save(&app, &job).await;
}

#[tokio::test]
async fn half_a_dump_with_status_0_is_a_failure() {
    let mut app = App::spawn().await;
    let source = Database::small().await;
    let (_worker, job) = backup_with(&mut app, &source, "\"$REAL\" \"$@\" | head -c 20000; exit 0").await;
    fails(&app, &job, "empty_or_bad_format", true).await;
    no_save(&app, &job).await;
}

#[tokio::test]
async fn a_dump_that_ends_with_a_complaint_is_a_failure() {
    let mut app = App::spawn().await;
    let source = Database::small().await;
    let (_worker, job) =
        backup_with(&mut app, &source, "\"$REAL\" \"$@\"; echo 'pg_dump: error: the sky fell' >&2; exit 3").await;
    let error = fails(&app, &job, "tool_failed", true).await;
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("exit status 3") && message.contains("the sky fell"), "{message}");
    no_save(&app, &job).await;
}

#[tokio::test]
async fn a_flood_of_complaints_neither_blocks_nor_is_kept() {
    let mut app = App::spawn().await;
    let source = Database::small().await;
    // The password must not stand in what is kept, even where the tool says it.
    let script = "head -c 10000000 /dev/zero | tr '\\0' 'x' >&2; echo >&2; cat \"$PGPASSFILE\" >&2; echo 'the end' >&2; exec \"$REAL\" \"$@\"";
    let (worker, job) = backup_with(&mut app, &source, script).await;
    app.client.job_is(&job, "succeeded").await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", worker.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    // A debug build; the bound of issue and bench is for the release build. Ten megabytes kept would show.
    assert!(peak < 200_000, "peak memory {peak} kB");
    app.holds().await;
}

#[tokio::test]
async fn what_is_kept_of_complaints_holds_no_password() {
    let mut app = App::spawn().await;
    let source = Database::small().await;
    let script =
        "head -c 10000000 /dev/zero | tr '\\0' 'x' >&2; echo >&2; cat \"$PGPASSFILE\" >&2; echo 'the end' >&2; exit 1";
    let (_worker, job) = backup_with(&mut app, &source, script).await;
    let error = fails(&app, &job, "tool_failed", true).await;
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("the end") && message.contains("[redacted]"), "{message}");
    assert!(message.len() < 10_000, "{} bytes are kept", message.len());
    no_save(&app, &job).await;
}

#[tokio::test]
async fn a_grandchild_that_keeps_the_pipe_open_does_not_keep_the_job() {
    let mut app = App::spawn().await;
    let source = Database::small().await;
    // In the tool's group it is ended with the group; its stdout is the dump's, so nobody else would close it.
    let script = "sleep 987 & \"$REAL\" \"$@\"; exit 0";
    let (_worker, job) = backup_with(&mut app, &source, script).await;
    let ended = app.client.job_until(&job, "ended", |job| job["finished_at"].is_string()).await;
    // Whatever it counts as, it must be true: a save is a whole dump.
    if ended["state"] == "succeeded" {
        let listed = super::options::listing(&app, ended["save_id"].as_str().unwrap()).await;
        assert!(listed.contains("TABLE DATA public lots"), "{listed}");
    } else {
        assert_eq!(stored_files(&app), Vec::<String>::new());
    }
    let left: Vec<_> = process::table().into_iter().filter(|(_, _, line)| line == "sleep 987").collect();
    assert!(left.is_empty(), "{left:?}");
    app.holds().await;
}

#[tokio::test]
async fn a_grandchild_that_left_the_group_does_not_keep_the_job_either() {
    let mut app = App::spawn().await;
    let source = Database::small().await;
    // Nothing of ours ends it, and it holds the pipes of the dump for longer than anybody waits.
    let script = "setsid sleep 985 & exec \"$REAL\" \"$@\"";
    let (_worker, job) = backup_with(&mut app, &source, script).await;
    let job = app.client.job_is(&job, "succeeded").await;
    let listed = super::options::listing(&app, job["save_id"].as_str().unwrap()).await;
    assert!(listed.contains("TABLE DATA public lots"), "{listed}");
    for (pid, _, line) in process::table() {
        if line == "sleep 985" {
            kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL).unwrap();
        }
    }
    app.holds().await;
}

#[tokio::test]
async fn an_unwilling_pg_dump_is_ended_on_cancel() {
    let mut app = App::spawn().await;
    let source = Database::small().await;
    let script = "trap '' TERM; sleep 986; sleep 986";
    let (worker, job) = backup_with(&mut app, &source, script).await;
    child(&worker, "sleep 986").await;
    app.client.post(&format!("/v1/jobs/{job}/cancel"), serde_json::json!({})).await;
    app.client.job_is(&job, "cancelled").await;
    until("the tool and what it started are gone", || async { worker.descendants().is_empty().then_some(()) }).await;
    no_save(&app, &job).await;
}

//! Where passwords are while a tool runs, and that they are gone afterwards.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use support::{App, Database, TargetSpec, invariants::forms, process, stack, until};

fn secret_dirs(app: &App) -> Vec<std::path::PathBuf> {
    std::fs::read_dir(app.dir.path().join("run")).unwrap().flatten().map(|entry| entry.path()).collect()
}

#[tokio::test]
async fn while_a_tool_runs_the_password_is_in_one_private_file_alone() {
    let mut app = App::spawn().await;
    let source = Database::small().await;
    let worker = app.worker("one").await;
    let target = app.target(&source).await;
    let hold = source.hold("lots").await;
    let job = app.backup(&target).await;
    source.dump_waits().await;

    let children = worker.descendants();
    assert!(children.iter().any(|(_, line)| line.contains("pg_dump")), "{children:?}");
    for role in ["BACKUP", "RESTORE"] {
        for (form, text) in forms(&stack::setting(&format!("TARGET_{role}_PASSWORD"))) {
            for (pid, _, line) in process::table() {
                assert!(!line.contains(&text), "the password of {role} stands {form} in the arguments of {pid}");
            }
            for (pid, line) in &children {
                let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
                let environ = String::from_utf8_lossy(&environ);
                assert!(!environ.contains(&text), "the password of {role} stands {form} in the environment of {line}");
            }
        }
    }
    for (pid, line) in &children {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
        let environ = String::from_utf8_lossy(&environ);
        // What the worker itself was started with is none of the tool's business.
        assert!(environ.contains("PGPASSFILE=") && !environ.contains("HOLDFAST"), "{line}: {environ}");
    }
    let dirs = secret_dirs(&app);
    assert_eq!(dirs.len(), 1, "{dirs:?}");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dirs[0]), 0o700);
    for entry in std::fs::read_dir(&dirs[0]).unwrap().flatten() {
        assert_eq!(mode(&entry.path()), 0o600, "{entry:?}");
    }

    hold.release().await;
    app.client.job_is(&job, "succeeded").await;
    assert_eq!(secret_dirs(&app), Vec::<std::path::PathBuf>::new(), "after the job");
    app.holds().await;
}

#[tokio::test]
async fn secrets_are_gone_after_failure_and_cancel_and_swept_after_a_kill() {
    let mut app = App::spawn().await;
    let source = Database::small().await;
    let none = Vec::<std::path::PathBuf>::new();
    let mut worker = app.worker("one").await;
    let gone = app.target_with(&TargetSpec::of("no_such_database")).await;
    let job = app.backup(&gone).await;
    super::fails(&app, &job, "database_missing", false).await;
    assert_eq!(secret_dirs(&app), none, "after a failure");

    let target = app.target(&source).await;
    let hold = source.hold("lots").await;
    let job = app.backup(&target).await;
    source.dump_waits().await;
    app.client.post(&format!("/v1/jobs/{job}/cancel"), json!({})).await;
    app.client.job_is(&job, "cancelled").await;
    assert_eq!(secret_dirs(&app), none, "after a cancel");

    let job = app.backup(&target).await;
    source.dump_waits().await;
    let children = worker.descendants();
    worker.kill9().await;
    assert_eq!(secret_dirs(&app).len(), 1, "a killed worker cannot tidy up");
    until("the tool died with its worker", || async {
        children.iter().all(|(pid, _)| !process::alive(*pid)).then_some(())
    })
    .await;
    hold.release().await;
    let next = app.worker("two").await;
    // The sweep comes before the worker says that it has started, and long before the lease runs out.
    assert_eq!(secret_dirs(&app), none, "after the next worker's start");
    app.client.job_is(&job, "succeeded").await;
    assert_eq!(secret_dirs(&app), none);
    drop(next);
    app.holds().await;
}

//! Holdfast's own database is lost, and its saves are found again in the store: with Holdfast, and without.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod found;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};
use support::{App, Database, Digest, TargetSpec, WorkerSpec, database, stack};

use crate::http::docs::shell_block;

/// A worker whose store `disk` is this directory.
fn on(root: &Path) -> WorkerSpec {
    WorkerSpec { store_root: Some(root.to_owned()), ..WorkerSpec::named("a") }
}

fn rebuild(app: &App, more: &[&str]) -> String {
    rebuild_from(app, "disk", more)
}

fn rebuild_from(app: &App, store: &str, more: &[&str]) -> String {
    let config = app.dir.path().join("worker-a.toml");
    let mut args = vec!["--config", config.to_str().unwrap(), "rebuild-catalogue", "--store", store];
    args.extend(more);
    stack::run(&stack::program("holdfast-worker"), &args, &[])
}

/// The directory of a save's only attempt.
fn directory(root: &Path, save: &str) -> PathBuf {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap().flatten().filter(|entry| entry.path().is_dir()) {
            if entry.path().parent().unwrap().ends_with(save) {
                found.push(entry.path());
            }
            open.push(entry.path());
        }
    }
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

async fn saves(app: &App) -> Vec<Value> {
    app.client.get("/v1/saves?sort=created_at").await.expect(200).as_array().unwrap().clone()
}

/// Two services with saves in `root`, of an installation that is gone but for its key ring: the saves, good ones first.
async fn lost(root: &Path, items: &Database, bids: &Database) -> (Vec<String>, String) {
    let mut app = App::spawn().await;
    let _worker = app.worker_with(&on(root)).await;
    let service = app.client.post("/v1/services", json!({ "name": "auctions" })).await.id();
    let first = app.target_with(&TargetSpec { target: json!({ "name": "main" }), ..TargetSpec::of(&items.name) }).await;
    let second = json!({ "name": "main", "service_id": service });
    let second = app.target_with(&TargetSpec { target: second, ..TargetSpec::of(&bids.name) }).await;
    let mut made = Vec::new();
    for target in [&first, &second, &first, &first] {
        made.push(app.saved(target).await);
    }
    (made, std::fs::read_to_string(app.dir.path().join("ring")).unwrap())
}

#[tokio::test]
async fn the_catalogue_comes_back_from_the_store_and_restores() {
    let (items, bids) =
        (Database::small().await, Database::create("CREATE TABLE t AS SELECT generate_series(1, 99) n").await);
    let root = tempfile::tempdir().unwrap();
    let (made, ring) = lost(root.path(), &items, &bids).await;
    // One manifest says what it did not say, and one save has lost its dump.
    let forged = directory(root.path(), &made[2]).join("manifest.json");
    let text = std::fs::read_to_string(&forged).unwrap();
    std::fs::write(&forged, text.replacen("\"version\": 2", "\"version\": 7", 1)).unwrap();
    std::fs::remove_file(directory(root.path(), &made[3]).join("dump.0001")).unwrap();
    std::fs::write(root.path().join("notes.txt"), "mine").unwrap();

    let app = App::spawn().await;
    let mut worker = app.worker_with(&on(root.path())).await;
    // Whoever does not have the keys of the lost installation can read its saves, and trusts none.
    let told = rebuild(&app, &["--dry-run"]);
    assert!(told.contains("2 saves could be taken up, 2 of them untrusted; 2 skipped"), "{told}");
    assert!(told.contains("1 objects are no save's"), "{told}");
    let reason = |save: &str, why: &str| {
        let line = told.lines().find(|line| line.contains(save)).unwrap_or_else(|| panic!("{save}: {told}"));
        assert!(line.contains(why), "{line}");
    };
    reason(&made[2], "the manifest is not what was signed");
    reason(&made[3], "dump.0001 is missing");
    assert_eq!(saves(&app).await.len(), 0);

    let own = std::fs::read_to_string(app.dir.path().join("ring")).unwrap();
    std::fs::write(app.dir.path().join("ring"), format!("{own}\n{ring}\n")).unwrap();
    let told = rebuild(&app, &[]);
    assert!(told.contains("2 saves and 0 copies added, 0 were known, 2 skipped; 0 are untrusted"), "{told}");
    assert!(told.contains("nothing can be written or deleted there until `adopt"), "{told}");
    let again = rebuild(&app, &[]);
    assert!(again.contains("0 saves and 0 copies added, 2 were known"), "{again}");
    let found = saves(&app).await;
    let ids: Vec<&str> = found.iter().map(|save| save["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [&made[0], &made[1]]);
    for save in &found {
        assert_eq!(
            (&save["state"], &save["trusted"], &save["version"]),
            (&json!("available"), &json!(true), &json!(1))
        );
    }
    let services = app.client.get("/v1/services").await.expect(200);
    let names: Vec<&str> =
        services.as_array().unwrap().iter().map(|service| service["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["auctions", "items"]);

    // A password, and everything is as it was.
    let (user, password) = TargetSpec::of("").restore;
    let body = json!({ "name": "again", "user_name": user, "password": password });
    let credential = app.client.post("/v1/credentials", body).await.id();
    worker.stop().await;
    let _worker = app.worker_with(&on(root.path())).await;
    for (save, source) in [(&made[0], &items), (&made[1], &bids)] {
        let whole = app.client.get(&format!("/v1/saves/{save}")).await.expect(200);
        let target = whole["target_id"].as_str().unwrap();
        let body = json!({ "restore_credential_id": credential, "backup_credential_id": credential });
        app.client.patch(&format!("/v1/targets/{target}"), body).await.expect(200);
        let copy = Database { name: stack::fresh("again") };
        let job = app.restore(save, &copy.name).await;
        let done = app.client.job_is(&job, "succeeded").await;
        assert_eq!(done["result"]["compared"]["by"], "digest", "{done:#}");
        assert_eq!(Digest::of(&copy.name).await.rows, Digest::of(&source.name).await.rows);
    }
    app.execute(&format!("UPDATE saves SET trusted = false WHERE id = '{}'", made[0])).await;
    let copy = Database { name: stack::fresh("again") };
    let mut body = json!({ "into": { "database": copy.name } });
    let path = format!("/v1/saves/{}/restore", made[0]);
    app.client.post(&path, body.clone()).await.expect(422);
    body["trust"] = json!(true);
    let job = app.client.post(&path, body).await.id();
    app.client.job_is(&job, "succeeded").await;
    let audited: i64 = app
        .value("SELECT count(*) FROM audit WHERE action = 'save.restore' AND outcome = 'allowed' AND detail @> '{\"trusted\": false}'")
        .await;
    assert_eq!(audited, 1);
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the document is followed as a person would")]
async fn a_save_is_restored_with_the_commands_of_the_document_alone() {
    let source = Database::small().await;
    let mut app = App::spawn().await;
    let root = tempfile::tempdir().unwrap();
    let _worker = app.worker_with(&on(root.path())).await;
    let target = app.target(&source).await;
    let save = app.saved(&target).await;
    let copy = Database { name: "items_copy_by_hand".to_owned() };
    database::remove(&copy.name).await;
    let tools = PathBuf::from(stack::setting("PG_BINDIR"));
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
    let mut bash = tokio::process::Command::new("bash");
    // No pipefail: who lists the contents stops reading before the end.
    bash.args(["-eu", "-c", &shell_block("docs/operations.md", Some("## A save without Holdfast"))]);
    bash.current_dir(directory(root.path(), &save)).env("PATH", path).env("PGHOST", stack::setting("TARGET_HOST"));
    bash.env("PGPORT", stack::setting("TARGET_PORT")).env("PGUSER", stack::setting("TARGET_SUPER_USER"));
    bash.env("PGPASSWORD", stack::setting("TARGET_SUPER_PASSWORD"));
    let done = tokio::time::timeout(Duration::from_mins(2), bash.output()).await.unwrap().unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{out}\n{err}");
    assert!(out.contains("dump.0001: OK") && out.contains("globals.sql.zst: OK"), "{out}");
    assert!(out.contains("Signature Verified Successfully"), "{out}");
    assert!(out.contains("TABLE DATA public lots"), "{out}");
    assert_eq!(Digest::of(&copy.name).await.rows, Digest::of(&source.name).await.rows);
}

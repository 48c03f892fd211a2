//! Targets that cannot be dumped: each a clear error and nothing left.

use serde_json::json;
use support::{App, Database, Major, TargetSpec, WorkerSpec, stack};

use super::{fails, no_save, nowhere, one_attempt};

#[tokio::test]
async fn an_unknown_target_is_404() {
    let app = App::spawn().await;
    let nobody = uuid::Uuid::now_v7();
    for path in [format!("/v1/targets/{nobody}/backups"), format!("/v1/targets/{nobody}/probe")] {
        let answer = app.client.post(&path, json!({})).await;
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        answer.expect(404);
    }
    assert_eq!(app.value::<i64>("SELECT count(*) FROM jobs").await, 0);
    app.holds().await;
}

#[tokio::test]
async fn a_wrong_password_fails_at_once_and_is_told_to_nobody() {
    let mut app = App::spawn().await;
    let source = Database::small().await;
    let _worker = app.worker("one").await;
    // What a URL, a password file, JSON and a shell each escape.
    let wrong = "Wr0ng:\\ p%40ss'\"=/+&?".to_owned();
    let mut spec = TargetSpec::of(&source.name);
    spec.backup.1.clone_from(&wrong);
    spec.restore.1.clone_from(&wrong);
    let target = app.target_with(&spec).await;
    let job = app.backup(&target).await;
    let error = fails(&app, &job, "authentication_failed", false).await;
    assert!(error["message"].as_str().unwrap().contains(&spec.backup.0), "it does not say who: {error:#}");
    assert_eq!(app.client.job(&job).await["attempt"], 1, "a permanent failure was tried again");
    nowhere(&app, &app.client, &job, &wrong).await;
    no_save(&app, &job).await;
}

#[tokio::test]
async fn a_server_that_is_down_is_retried_and_then_failed() {
    let mut app = App::spawn().await;
    let _worker = app.worker("one").await;
    // A port that nobody listens on: it was free a moment ago, and belongs to this socket now.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    drop(taken);
    let down = TargetSpec { port, ..TargetSpec::of("nothing") };
    let unknown = TargetSpec { host: "no-such-host.invalid".to_owned(), ..TargetSpec::of("nothing") };
    for (spec, place) in [(down, format!("localhost:{port}")), (unknown, "no-such-host.invalid".to_owned())] {
        let target = app.target_with(&spec).await;
        let job = app.backup(&target).await;
        let error = fails(&app, &job, "server_unreachable", true).await;
        assert!(error["message"].as_str().unwrap().contains(&place), "it does not say where: {error:#}");
        assert_eq!(app.client.job(&job).await["attempt"], 5);
        no_save(&app, &job).await;
    }
}

#[tokio::test]
async fn a_server_newer_than_every_client_is_refused_before_a_byte() {
    let eighteen = Major::start("pg18").await;
    let mut app = App::spawn().await;
    let fifteen = WorkerSpec { pg_bindirs: vec![stack::setting("PG_BINDIR").into()], ..WorkerSpec::named("one") };
    let _worker = app.worker_with(&fifteen).await;
    let target = app.target_with(&eighteen.target("postgres")).await;
    let job = app.backup(&target).await;
    let error = fails(&app, &job, "client_too_old", false).await;
    let text = format!("{} {}", error["message"], error["hint"]);
    for part in ["18", "15.", "postgresql-client-18"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    nowhere(&app, &app.client, &job, &eighteen.password).await;
    no_save(&app, &job).await;
}

#[tokio::test]
async fn a_newer_client_dumps_an_older_server_with_a_warning() {
    let eighteen = Major::start("pg18").await;
    let mut app = App::spawn().await;
    let source = Database::small().await;
    let only = WorkerSpec { pg_bindirs: vec![eighteen.bindir.clone()], ..WorkerSpec::named("one") };
    let _worker = app.worker_with(&only).await;
    // The stack's programs of other majors were built without TLS.
    let spec = TargetSpec { tls_mode: "disable".to_owned(), tls_ca: None, ..TargetSpec::of(&source.name) };
    let target = app.target_with(&spec).await;
    let job = app.backup(&target).await;
    let job = app.client.job_is(&job, "succeeded").await;
    let warnings = job["result"]["warnings"].to_string();
    assert!(warnings.contains("server has version 15") && warnings.contains("18"), "{warnings}");
    // Which is true: a database of version 15 does not take it.
    one_attempt(&app).await;
    let wanted = stack::fresh("new");
    let restore = app.restore(job["save_id"].as_str().unwrap(), &wanted).await;
    fails(&app, &restore, "restore_incompatible", false).await;
    assert!(!support::database::exists(&wanted).await);
    app.holds().await;
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_named() {
    let mut app = App::spawn().await;
    let _worker = app.worker("one").await;
    let name = stack::fresh("never");
    let target = app.target_with(&TargetSpec::of(&name)).await;
    let job = app.backup(&target).await;
    let error = fails(&app, &job, "database_missing", false).await;
    assert!(error["message"].as_str().unwrap().contains(&name), "{error:#}");
    no_save(&app, &job).await;
}

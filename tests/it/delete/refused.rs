//! What must not be deleted, and what must not be read any more.

use reqwest::StatusCode;
use serde_json::json;
use support::{App, Database, Proxy, TargetSpec, WorkerSpec, database, stack};

use super::{delete, on_disk};

#[tokio::test]
async fn a_save_that_is_made_pinned_or_read_stays() {
    let source = Database::small().await;
    let mut app = App::spawn().await;
    let (proxy, _) = Proxy::before(&format!("tcp://127.0.0.1:{}", stack::setting("TARGET_PORT"))).await;
    let mut worker = app.worker("a").await;
    let target = app.target_with(&TargetSpec { port: proxy.port, ..TargetSpec::of(&source.name) }).await;
    let save = app.saved(&target).await;
    let before = on_disk(&app);

    let hold = source.hold("lots").await;
    let backup = app.backup(&target).await;
    let pending = app.client.job(&backup).await["save_id"].as_str().unwrap().to_owned();
    let refused = delete(&app, &pending).await.expect(409);
    assert!(refused["detail"].as_str().unwrap().contains(&backup), "it names the job to cancel: {refused}");
    hold.release().await;
    app.client.job_is(&backup, "succeeded").await;
    delete(&app, &pending).await.expect(202);

    app.execute(&format!("UPDATE saves SET pinned = true WHERE id = '{save}'")).await;
    let refused = delete(&app, &save).await.expect(409);
    assert!(refused["detail"].as_str().unwrap().contains("pinned"), "{refused}");
    app.execute(&format!("UPDATE saves SET pinned = false WHERE id = '{save}'")).await;

    // A restore that runs: its server does not answer.
    proxy.stall();
    let copy = Database { name: stack::fresh("new") };
    let restore = app.restore(&save, &copy.name).await;
    app.client.job_until(&restore, "running", |job| job["state"] == "running").await;
    let refused = delete(&app, &save).await.expect(409);
    assert!(refused["detail"].as_str().unwrap().contains(&restore), "it names the job: {refused}");
    proxy.heal();
    app.client.job_is(&restore, "succeeded").await;

    // A restore that waits.
    assert!(worker.stop().await.success());
    let second = Database { name: stack::fresh("new") };
    let restore = app.restore(&save, &second.name).await;
    let refused = delete(&app, &save).await.expect(409);
    assert!(refused["detail"].as_str().unwrap().contains(&restore), "{refused}");
    app.client.post(&format!("/v1/jobs/{restore}/cancel"), json!(null)).await.expect(200);
    let kept: Vec<String> = on_disk(&app).into_keys().filter(|key| key.contains(&save)).collect();
    assert!(before.keys().all(|key| kept.contains(key)), "a refused deletion has taken something");

    let deletion = delete(&app, &save).await.id();
    let _worker = app.worker("b").await;
    app.client.job_is(&deletion, "succeeded").await;
    let unknown = app.client.delete("/v1/saves/00000000-0000-7000-8000-000000000000").await;
    unknown.expect(404);
    app.holds().await;
}

#[tokio::test]
async fn a_reader_that_is_claimed_after_the_deletion_began_fails_without_harm() {
    let source = Database::small().await;
    let mut app = App::spawn().await;
    let mut worker = app.worker("a").await;
    let target = app.target(&source).await;
    let save = app.saved(&target).await;
    assert!(worker.stop().await.success());
    let copy = Database { name: stack::fresh("new") };
    let restore = app.restore(&save, &copy.name).await;
    // No request can bring this about: what an operator's hand, or a fault, may leave.
    app.execute("UPDATE saves SET state = 'deleting'").await;
    let _worker = app.worker("b").await;
    let failed = app.client.job_is(&restore, "failed").await;
    assert_eq!(failed["error"]["code"], "save_not_available", "{failed:#}");
    assert_eq!(failed["attempt"], 1, "{failed:#}");
    assert!(!database::exists(&copy.name).await);
    assert_eq!(app.value::<i64>("SELECT count(*) FROM save_uses").await, 0);
    let deletion = delete(&app, &save).await.id();
    app.client.job_is(&deletion, "succeeded").await;
    app.holds().await;
}

#[tokio::test]
async fn of_sixty_four_that_restore_and_delete_one_kind_wins() {
    let source = Database::small().await;
    let mut app = App::spawn().await;
    let mut worker = app.worker("a").await;
    let target = app.target(&source).await;
    let mut saves = Vec::new();
    for _ in 0..6 {
        saves.push(app.saved(&target).await);
    }
    assert!(worker.stop().await.success());
    for (round, save) in saves.iter().enumerate() {
        let asked = (0..64).map(|n| {
            let (app, save) = (&app, save.clone());
            async move {
                if n % 2 == 0 {
                    (true, delete(app, &save).await.status)
                } else {
                    let body = json!({ "into": { "database": format!("never_{round}_{n}") } });
                    (false, app.client.post(&format!("/v1/saves/{save}/restore"), body).await.status)
                }
            }
        });
        let answers = futures_util::future::join_all(asked).await;
        assert!(
            answers.iter().all(|(_, status)| [StatusCode::ACCEPTED, StatusCode::CONFLICT].contains(status)),
            "{answers:?}"
        );
        let accepted =
            |deletes: bool| answers.iter().filter(|(kind, status)| *kind == deletes && *status == 202).count();
        let (deletions, restores) = (accepted(true), accepted(false));
        let state: String = app.value(&format!("SELECT state FROM saves WHERE id = '{save}'")).await;
        let readers: i64 =
            app.value(&format!("SELECT count(*) FROM jobs WHERE reads_save_id = '{save}' AND state = 'queued'")).await;
        assert_eq!(readers, i64::try_from(restores).unwrap());
        match state.as_str() {
            "deleting" => assert_eq!((deletions, restores), (32, 0), "a reader waits for a save that goes"),
            "available" => assert!(deletions == 0 && restores == 32, "{deletions} {restores}"),
            other => panic!("{other}"),
        }
        app.execute(
            "UPDATE jobs SET state = 'cancelled', finished_at = now() WHERE kind = 'restore' AND state = 'queued'",
        )
        .await;
    }
}

#[tokio::test]
async fn a_store_of_another_installation_is_not_touched() {
    let source = Database::small().await;
    let mut app = App::spawn().await;
    let _worker = app.worker_with(&WorkerSpec::named("a")).await;
    let target = app.target(&source).await;
    let save = app.saved(&target).await;
    let marker = app.store().join(".holdfast-store.json");
    let ours = std::fs::read_to_string(&marker).unwrap();
    let installation: String = app.value("SELECT id::text FROM installation").await;
    std::fs::write(&marker, ours.replace(&installation, "00000000-0000-7000-8000-000000000000")).unwrap();
    let before = on_disk(&app);
    let job = delete(&app, &save).await.id();
    let failed = app.client.job_is(&job, "failed").await;
    assert_eq!(failed["error"]["code"], "foreign_installation", "{failed:#}");
    assert_eq!(on_disk(&app), before);
    std::fs::write(&marker, ours).unwrap();
    let job = delete(&app, &save).await.id();
    app.client.job_is(&job, "succeeded").await;
    app.holds().await;
}

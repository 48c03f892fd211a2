//! How often: what schedules say of their verifications is asked for by the sweeper, once.

use serde_json::{Value, json};
use shared::{
    config,
    db::proofs::{self, DueProof},
    enqueue::{self, Asked, VerifyRequest},
    schedule::Depth,
};
use support::{App, Database, until};

use super::{drilling, shown};

/// A schedule of this target, as if it had made the target's saves.
async fn schedule(app: &App, target: &str, verification: &Value) -> String {
    app.execute(&format!(
        "INSERT INTO schedules (id, name, covers, target_id, service_id, expression, verification)
         SELECT gen_random_uuid(), 'nightly', 'target', t.id, t.service_id, '0 5 * * *', '{verification}' FROM targets t WHERE t.id = '{target}';
         UPDATE saves SET schedule_id = s.id FROM schedules s WHERE saves.target_id = '{target}'"
    ))
    .await;
    app.value("SELECT id::text FROM schedules").await
}

async fn due(app: &App) -> Vec<DueProof> {
    proofs::due(&mut app.pool.acquire().await.unwrap(), 10).await.unwrap()
}

async fn asked(app: &App) -> Vec<String> {
    app.values("SELECT payload ->> 'depth' FROM jobs WHERE kind = 'verify' ORDER BY id").await
}

#[tokio::test]
async fn each_depth_is_asked_for_once_and_again_when_its_days_are_over() {
    let mut app = App::spawn().await;
    let source = Database::small().await;
    let worker = app.worker_with(&drilling("one")).await;
    let target = app.target(&source).await;
    app.saved(&target).await;
    let save = app.saved(&target).await;
    schedule(&app, &target, &json!({ "hash_days": 0, "decode_days": 7, "restore_days": 30 })).await;
    let verified = until("the drill of the newest save", || async {
        let save = shown(&app, &save).await;
        (save["verified_depth"] == "restore").then_some(save)
    })
    .await;
    // The deepest proves the lesser ones.
    assert_eq!(asked(&app).await, ["restore"], "{verified:#}");
    let by: Option<String> = app.value("SELECT requested_by::text FROM jobs WHERE kind = 'verify'").await;
    assert_eq!(by, None);
    assert_eq!(due(&app).await, []);
    drop(worker);
    // A week later the decoding is due, a month later the drill.
    for (days, depth) in [("6 days", None), ("2 days", Some(Depth::Decode)), ("30 days", Some(Depth::Restore))] {
        app.execute(&format!("UPDATE save_verifications SET at = at - interval '{days}'")).await;
        let found: Vec<Depth> = due(&app).await.into_iter().map(|due| due.depth).collect();
        assert_eq!(found, Vec::from_iter(depth), "after {days} more");
    }
}

#[tokio::test]
async fn what_is_underway_or_came_to_nothing_is_not_asked_for_again() {
    let mut app = App::spawn().await;
    let source = Database::small().await;
    let mut worker = app.worker("one").await;
    let target = app.target(&source).await;
    let save = app.saved(&target).await;
    worker.stop().await;
    let schedule = schedule(&app, &target, &json!({ "hash_days": 0, "restore_days": 30 })).await;
    let found = due(&app).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].depth, found[0].save_id.to_string()), (Depth::Restore, save.clone()));
    assert_eq!(found[0].schedule_id.to_string(), schedule);
    let jobs = config::Config::load(&config::Sources::default()).unwrap().jobs;
    let mut tx = app.pool.begin().await.unwrap();
    let wanted = VerifyRequest { save_id: found[0].save_id, stores: Vec::new(), repair: true, depth: Depth::Restore };
    let job = enqueue::verify(&mut tx, wanted, &Asked::by_nobody(&jobs)).await.unwrap();
    proofs::asked(&mut tx, &found[0], job).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(due(&app).await, [], "it is underway");
    // This worker has no scratch server: the drill waits for a day, and what is due beside it does not.
    let _worker = app.worker("two").await;
    crate::engine::fails(&app, &job.to_string(), "scratch_missing", false).await;
    until("the digests are looked at", || async {
        (shown(&app, &save).await["verified_depth"] == "hash").then_some(())
    })
    .await;
    assert_eq!(asked(&app).await, ["restore", "hash"]);
    assert_eq!(due(&app).await, [], "the drill is put off");
    app.execute("UPDATE schedule_proofs SET asked_at = asked_at - interval '25 hours'").await;
    until("the drill is asked for again", || async { (asked(&app).await.len() == 3).then_some(()) }).await;
    // A save that is not valid, partial or gone is nobody's newest.
    app.execute("UPDATE schedule_proofs SET asked_at = asked_at - interval '25 hours'; UPDATE jobs SET state = 'failed', finished_at = now() WHERE state = 'queued'").await;
    for column in ["valid = false", "valid = true, scope = 'partial'"] {
        app.execute(&format!("UPDATE saves SET {column}")).await;
        assert_eq!(due(&app).await, [], "{column}");
    }
}

//! Dumps that one object cannot hold: several objects, one stream.

use support::{App, Database, WorkerSpec, database, stack};

use crate::{
    chaos::bench::{killed, passed, spec},
    encrypted::{Key, directory, encrypting, noise, restores, restores_by_standard_tools, target},
    engine::{fails, one_attempt},
};

/// Objects of at most a MiB in store `disk`.
fn cutting(spec: WorkerSpec) -> WorkerSpec {
    let mut envs = spec.envs.clone();
    envs.push(("HOLDFAST__STORES__DISK__OBJECT_BYTES".to_owned(), (1 << 20).to_string()));
    WorkerSpec { envs, ..spec }
}

async fn parts(app: &App, save: &str) -> Vec<String> {
    app.values(&format!(
        "SELECT part FROM save_objects WHERE save_id = '{save}' AND part LIKE 'dump.%' AND state = 'stored' ORDER BY part"
    ))
    .await
}

#[tokio::test]
async fn a_long_dump_is_several_objects_and_restores_as_one() {
    let mut app = App::spawn().await;
    one_attempt(&app).await;
    let source = noise().await;
    let key = Key::new(&app, "age.key");
    for encrypted in [false, true] {
        let spec =
            if encrypted { encrypting("age", &["disk"], &[&key], Some(&key)) } else { WorkerSpec::named("plain") };
        let worker = app.worker_with(&cutting(spec)).await;
        let target = target(&mut app, &source, &["disk"]).await;
        let save = app.saved(&target).await;
        let parts = parts(&app, &save).await;
        assert!(parts.len() > 3 && parts[1] == "dump.0002", "{parts:?}");
        let directory = directory(&app, &save).await;
        for part in &parts[..parts.len() - 1] {
            assert_eq!(std::fs::metadata(directory.join(part)).unwrap().len(), 1 << 20, "{part}");
        }
        let raw: Vec<bool> = app
            .values(&format!("SELECT raw_bytes IS NOT NULL FROM save_objects WHERE save_id = '{save}' AND part LIKE 'dump.%' ORDER BY part"))
            .await;
        assert!(raw[0] && !raw[1..].contains(&true), "raw facts stand with the first object: {raw:?}");
        restores(&app, &save).await;
        restores_by_standard_tools(&directory, encrypted.then_some(&key)).await;

        // An object that is not there, or is another, is found before there is a database.
        let second = directory.join("dump.0002");
        let whole = std::fs::read(&second).unwrap();
        std::fs::remove_file(&second).unwrap();
        refused(&app, &save, "object_missing").await;
        std::fs::copy(directory.join("dump.0003"), &second).unwrap();
        refused(&app, &save, "object_corrupt").await;
        std::fs::write(&second, &whole[..whole.len() - 1]).unwrap();
        refused(&app, &save, "object_corrupt").await;
        std::fs::write(&second, &whole).unwrap();
        restores(&app, &save).await;
        crate::encrypted::stop(worker).await;
    }
    app.holds().await;
}

async fn refused(app: &App, save: &str, code: &str) {
    let wanted = stack::fresh("new");
    let job = app.restore(save, &wanted).await;
    fails(app, &job, code, false).await;
    assert!(!database::exists(&wanted).await);
}

#[tokio::test]
async fn a_part_is_restored_from_several_objects_and_they_are_all_deleted() {
    let mut app = App::spawn().await;
    let source = noise().await;
    let _worker = app.worker_with(&cutting(WorkerSpec::named("one"))).await;
    let target = target(&mut app, &source, &["disk"]).await;
    let save = app.saved(&target).await;
    let restored = Database { name: stack::fresh("new") };
    let body = serde_json::json!({
        "into": { "database": restored.name }, "owner": "none", "privileges": "none",
        "tables": [{ "schema": "public", "table": "quite_secret" }],
    });
    let job = app.client.post(&format!("/v1/saves/{save}/restore"), body).await.id();
    app.client.job_is(&job, "succeeded").await;
    assert_eq!(restored.text("SELECT count(*)::text FROM quite_secret").await, "120000");
    let directory = directory(&app, &save).await;
    let job = app.client.delete(&format!("/v1/saves/{save}")).await.id();
    app.client.job_is(&job, "succeeded").await;
    assert!(!directory.exists());
    app.holds().await;
}

#[tokio::test]
async fn a_worker_that_dies_in_the_second_object_leaves_nothing_visible() {
    let mut app = App::spawn().await;
    let source = noise().await;
    // The second object of the dump: named and open; half written; all written, not committed; the first committed.
    let points =
        ["backup.name.after=kill:2", "store.write.after=kill:3", "store.end.after=kill:2", "store.commit.after=kill:1"];
    for (n, point) in points.iter().enumerate() {
        let group = format!("g{n}");
        let body = serde_json::json!({ "worker_group": group, "stores": ["disk"] });
        let spec_of = support::TargetSpec { target: body, ..support::TargetSpec::of(&source.name) };
        let target = app.target_with(&spec_of).await;
        let mut worker = app.worker_with(&cutting(spec(&app, &format!("dies-{n}"), &group, point))).await;
        let job = app.backup(&target).await;
        killed(&mut worker, point).await;
        let keys: Vec<String> = app
            .values(&format!(
                "SELECT key FROM save_objects WHERE job_id = '{job}' AND part LIKE 'dump.%' ORDER BY part"
            ))
            .await;
        assert!(keys.len() > 1, "{point}: {keys:?}");
        let visible: Vec<&String> = keys.iter().filter(|key| app.store().join(key).exists()).collect();
        // What the tool has not proven whole has no name yet.
        assert_eq!(visible.len(), usize::from(n == 3), "{point}: {visible:?}");
        let next = app.worker_with(&cutting(spec(&app, &format!("next-{n}"), &group, ""))).await;
        let job = app.client.job_is(&job, "succeeded").await;
        let save = job["save_id"].as_str().unwrap();
        assert!(parts(&app, save).await.len() > 3);
        restores(&app, save).await;
        crate::encrypted::stop(next).await;
    }
    assert!(passed(&app).iter().filter(|line| line.ends_with("kill")).count() >= points.len());
    app.holds().await;
}

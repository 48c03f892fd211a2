//! What is found in stores whose content is not the plain case: attempts that nobody finished, keys that are missing, further
//! copies, and servers that are more than a host.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::{App, Database, Digest, TargetSpec, WorkerSpec, stack};

use super::{on, rebuild, rebuild_from, saves};
use crate::{
    encrypted::{Key, encrypting},
    http::cast,
    mongo::{scene::Shop, tools::stand_ins},
};

/// The key ring of an installation, which is all that is kept of it.
fn ring(app: &App) -> String {
    std::fs::read_to_string(app.dir.path().join("ring")).unwrap()
}

/// A new installation with the keys of the lost one.
async fn with_ring(ring: &str) -> App {
    let app = App::spawn().await;
    let own = self::ring(&app);
    std::fs::write(app.dir.path().join("ring"), format!("{own}\n{ring}\n")).unwrap();
    app
}

/// Gives the target of a save its password again, restores the save and compares. The job.
async fn restores(app: &App, save: &str, source: &Database) -> Value {
    let (user, password) = TargetSpec::of("").restore;
    let name = stack::fresh("again").replace('_', "-");
    let body = json!({ "name": name, "user_name": user, "password": password });
    let credential = app.client.post("/v1/credentials", body).await.id();
    let whole = app.client.get(&format!("/v1/saves/{save}")).await.expect(200);
    let target = format!("/v1/targets/{}", whole["target_id"].as_str().unwrap());
    let body = json!({ "restore_credential_id": credential, "backup_credential_id": credential });
    app.client.patch(&target, body).await.expect(200);
    let copy = Database { name: stack::fresh("again") };
    let job = app.restore(save, &copy.name).await;
    let job = app.client.job_is(&job, "succeeded").await;
    assert_eq!(Digest::of(&copy.name).await.rows, Digest::of(&source.name).await.rows);
    job
}

/// The attempts of a save that lie in a store, oldest first.
fn attempts(root: &Path, save: &str) -> Vec<(i64, PathBuf)> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap().flatten().filter(|entry| entry.path().is_dir()) {
            if entry.path().parent().unwrap().ends_with(save) {
                found.push((entry.file_name().to_str().unwrap().parse().unwrap(), entry.path()));
            } else {
                open.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn of_two_attempts_the_higher_one_that_is_whole_is_taken() {
    let source = Database::small().await;
    let root = tempfile::tempdir().unwrap();
    let (save, ring) = {
        let mut app = App::spawn().await;
        let target = app.target(&source).await;
        let envs = vec![("HOLDFAST_FAILPOINT".to_owned(), "finish.commit.before=kill".to_owned())];
        // All lies in the store, and nobody has written down that it is a save.
        let mut killed = app.worker_with(&WorkerSpec { envs, ..on(root.path()) }).await;
        let job = app.backup(&target).await;
        killed.ended().await;
        let _next = app.worker_with(&WorkerSpec { name: "b".to_owned(), ..on(root.path()) }).await;
        let job = app.client.job_is(&job, "succeeded").await;
        (job["save_id"].as_str().unwrap().to_owned(), ring(&app))
    };
    let found = attempts(root.path(), &save);
    let [(low, _), (high, highest)] = &found[..] else { panic!("{found:?}") };
    let dump = highest.join("dump.0001");
    let whole = std::fs::read(&dump).unwrap();

    std::fs::write(&dump, &whole[1..]).unwrap();
    let app = with_ring(&ring).await;
    let _worker = app.worker_with(&on(root.path())).await;
    let told = rebuild(&app, &[]);
    assert!(
        told.contains("1 saves and 0 copies added") && told.contains(&format!("not taken: epoch {high}")),
        "{told}"
    );
    assert_eq!(app.value::<i64>("SELECT epoch FROM save_copies").await, *low);
    restores(&app, &save, &source).await;

    std::fs::write(&dump, &whole).unwrap();
    let app = with_ring(&ring).await;
    let _worker = app.worker_with(&on(root.path())).await;
    let told = rebuild(&app, &[]);
    assert!(told.contains("1 saves and 0 copies added") && !told.contains("not taken"), "{told}");
    assert_eq!(app.value::<i64>("SELECT epoch FROM save_copies").await, *high);
    restores(&app, &save, &source).await;
}

#[tokio::test]
async fn an_encrypted_store_needs_its_identity_and_another_store_adds_a_copy() {
    let source = Database::small().await;
    let (root, second, keys) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let table = format!("\n[stores.second]\nkind = \"file\"\nroot = {:?}\n", second.path());
    let spec = |key: &Key, identity: Option<&Key>| {
        let spec = encrypting("a", &["disk"], &[key], identity);
        WorkerSpec { store_root: Some(root.path().to_owned()), more: format!("{}{table}", spec.more), ..spec }
    };
    let (save, ring, key) = {
        let mut app = App::spawn().await;
        let key = Key::new(&app, "age.key");
        let file = keys.path().join("age.key");
        std::fs::copy(&key.file, &file).unwrap();
        let key = Key { file, ..key };
        let _worker = app.worker_with(&spec(&key, None)).await;
        let target = json!({ "stores": ["disk", "second"], "required_copies": 2 });
        let target = app.target_with(&TargetSpec { target, ..TargetSpec::of(&source.name) }).await;
        (app.saved(&target).await, ring(&app), key)
    };

    let app = with_ring(&ring).await;
    let mut worker = app.worker_with(&spec(&key, None)).await;
    let told = rebuild(&app, &[]);
    assert!(told.contains("stores.disk.encryption.identity_file"), "{told}");
    assert!(told.contains("this worker has no identity that could read it"), "{told}");
    assert!(told.contains("0 saves and 0 copies added, 0 were known, 1 skipped"), "{told}");
    assert_eq!(saves(&app).await.len(), 0);
    worker.stop().await;

    let _worker = app.worker_with(&spec(&key, Some(&key))).await;
    let told = rebuild(&app, &[]);
    assert!(told.contains("1 saves and 0 copies added, 0 were known, 0 skipped; 0 are untrusted"), "{told}");
    let told = rebuild_from(&app, "second", &[]);
    assert!(told.contains("0 saves and 1 copies added, 0 were known, 0 skipped"), "{told}");
    let whole = app.client.get(&format!("/v1/saves/{save}")).await.expect(200);
    let forms: Vec<(&Value, &Value, &Value)> = whole["copies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|copy| (&copy["store"], &copy["state"], &copy["encryption"]))
        .collect();
    let (good, to) = (json!("good"), json!({ "age_recipients": [key.recipient] }));
    assert_eq!(forms, [(&json!("disk"), &good, &to), (&json!("second"), &good, &Value::Null)], "{whole:#}");
    let target = app.client.get(&format!("/v1/targets/{}", whole["target_id"].as_str().unwrap())).await.expect(200);
    assert_eq!(target["stores"], json!(["disk", "second"]), "{target:#}");
    for store in ["disk", "second"] {
        let state = format!("CASE WHEN store = '{store}' THEN 'good' ELSE 'corrupt' END");
        app.execute(&format!("UPDATE save_copies SET state = {state}")).await;
        let job = restores(&app, &save, &source).await;
        assert_eq!(job["result"]["store"], store, "{job:#}");
    }
}

#[tokio::test]
async fn whose_save_nobody_knows_is_for_super_alone() {
    let source = Database::small().await;
    let root = tempfile::tempdir().unwrap();
    let save = {
        let mut app = App::spawn().await;
        let _worker = app.worker_with(&on(root.path())).await;
        let target = app.target(&source).await;
        app.saved(&target).await
    };
    // Without the keys of the lost installation.
    let app = App::spawn().await;
    let _worker = app.worker_with(&on(root.path())).await;
    let told = rebuild(&app, &[]);
    assert!(told.contains("1 are untrusted"), "{told}");
    let path = format!("/v1/saves/{save}/restore");
    let body = json!({ "into": { "database": stack::fresh("new") }, "trust": true });
    for role in ["operator", "admin"] {
        let admin = cast::admin(&app, role, &[(role, None)]).await;
        admin.post(&path, body.clone()).await.expect(403);
    }
    let jobs: i64 = app.value("SELECT count(*) FROM jobs WHERE kind = 'restore'").await;
    assert_eq!(jobs, 0);
    let job = restores_with_trust(&app, &save, &source).await;
    assert_eq!(job["state"], "succeeded", "{job:#}");
}

/// As super.
async fn restores_with_trust(app: &App, save: &str, source: &Database) -> Value {
    let (user, password) = TargetSpec::of("").restore;
    let body = json!({ "name": "again", "user_name": user, "password": password });
    let credential = app.client.post("/v1/credentials", body).await.id();
    let whole = app.client.get(&format!("/v1/saves/{save}")).await.expect(200);
    let target = format!("/v1/targets/{}", whole["target_id"].as_str().unwrap());
    app.client.patch(&target, json!({ "restore_credential_id": credential })).await.expect(200);
    let copy = Database { name: stack::fresh("again") };
    let body = json!({ "into": { "database": copy.name }, "trust": true });
    let job = app.client.post(&format!("/v1/saves/{save}/restore"), body).await.id();
    let job = app.client.job_is(&job, "succeeded").await;
    assert_eq!(Digest::of(&copy.name).await.rows, Digest::of(&source.name).await.rows);
    job
}

#[tokio::test]
async fn a_mongodb_server_comes_back_with_its_hosts_and_its_mode() {
    let root = tempfile::tempdir().unwrap();
    let shop = Shop::open().await;
    shop.fill().await;
    let uri = format!("{}?directConnection=true", stack::setting("MONGO_URL"));
    let (save, ring) = {
        let mut app = App::spawn().await;
        let envs = vec![("PATH".to_owned(), stand_ins(&app))];
        let _worker = app.worker_with(&WorkerSpec { envs, ..on(root.path()) }).await;
        let mut spec = shop.spec();
        spec.server = json!({ "engine": "mongodb", "auth": "none", "uri": uri, "host": null, "port": null });
        spec.target = json!({ "mongo_mode": "tools" });
        let target = app.target_with(&spec).await;
        (app.saved(&target).await, ring(&app))
    };
    let app = with_ring(&ring).await;
    let _worker = app.worker_with(&on(root.path())).await;
    let told = rebuild(&app, &[]);
    assert!(told.contains("1 saves and 0 copies added"), "{told}");
    let whole = app.client.get(&format!("/v1/saves/{save}")).await.expect(200);
    let target = app.client.get(&format!("/v1/targets/{}", whole["target_id"].as_str().unwrap())).await.expect(200);
    assert_eq!(target["mongo_mode"], "tools", "{target:#}");
    let server = app.client.get(&format!("/v1/servers/{}", target["server_id"].as_str().unwrap())).await.expect(200);
    assert_eq!((&server["uri"], &server["auth"]), (&json!(uri), &json!("none")), "{server:#}");
    assert_eq!((&server["engine"], &server["tls_mode"]), (&json!("mongodb"), &json!("disable")), "{server:#}");
}

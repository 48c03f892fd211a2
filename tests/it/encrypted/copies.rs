//! Copies between stores that pack their bytes otherwise, and what is said of a copy's form.

use serde_json::{Value, json};
use support::{App, Database, TargetSpec, WorkerSpec};

use super::{Key, encrypting, noise, restores, stop};
use crate::engine::one_attempt;

/// Store `disk` is encrypted to `one`, `third` to `two`, and `second` is plain, in objects of a MiB.
fn three(app: &App, name: &str, keys: (&Key, &Key), identity: Option<&Key>, identity_of_third: &str) -> WorkerSpec {
    let mut spec = encrypting(name, &["disk"], &[keys.0], identity);
    let third = format!("[stores.third.encryption]\nrecipients = [{:?}]\n{identity_of_third}", keys.1.recipient);
    for (store, more) in [("second", "object_bytes = 1048576\n"), ("third", &third)] {
        let root = app.dir.path().join(store);
        std::fs::create_dir_all(&root).unwrap();
        let root = root.display();
        let part = format!("\n[stores.{store}]\nkind = \"file\"\nroot = \"{root}\"\n{more}");
        spec.more.push_str(&part);
    }
    spec
}

async fn in_three(app: &mut App, source: &Database) -> String {
    let target = json!({ "stores": ["disk", "second", "third"], "required_copies": 1 });
    app.target_with(&TargetSpec { target, ..TargetSpec::of(&source.name) }).await
}

/// Takes away all that a store holds but its marker.
fn lose(app: &App, store: &str) {
    for entry in std::fs::read_dir(app.dir.path().join(store)).unwrap().flatten() {
        if !entry.file_name().to_str().unwrap().starts_with('.') {
            std::fs::remove_dir_all(entry.path()).unwrap();
        }
    }
}

async fn verified(app: &App, save: &str) -> Vec<Value> {
    let path = format!("/v1/saves/{save}/verify?wait=60s");
    let job = app.client.post(&path, json!({ "repair": false })).await.expect(202);
    assert_eq!(job["state"], "succeeded", "{job:#}");
    let mut copies = job["result"]["copies"].as_array().unwrap().clone();
    copies.sort_by_key(|copy| copy["store"].as_str().unwrap().to_owned());
    copies
}

async fn copy(app: &App, save: &str, store: &str) -> Value {
    let path = format!("/v1/saves/{save}/copies?wait=60s");
    app.client.post(&path, json!({ "store": store })).await.expect(202)
}

async fn only(app: &App, store: &str) {
    let state = format!("CASE WHEN store = '{store}' THEN 'good' ELSE 'corrupt' END");
    app.execute(&format!("UPDATE save_copies SET state = {state}")).await;
}

#[tokio::test]
async fn a_copy_is_packed_anew_where_its_store_has_it_otherwise() {
    let mut app = App::spawn().await;
    let (one, two) = (Key::new(&app, "age.key"), Key::new(&app, "two.key"));
    let source = noise().await;
    let worker = app.worker_with(&three(&app, "one", (&one, &two), Some(&one), "")).await;
    let target = in_three(&mut app, &source).await;
    let save = app.saved(&target).await;

    // What form each copy has, and to whom it is encrypted: no secret is among it.
    let whole = app.client.get(&format!("/v1/saves/{save}")).await.expect(200);
    let form = |store: &str| {
        let copy = whole["copies"].as_array().unwrap().iter().find(|copy| copy["store"] == store).unwrap();
        (copy["encodings"].clone(), copy["encryption"].clone())
    };
    assert_eq!(form("disk"), (json!(["zstd", "age"]), json!({ "age_recipients": [one.recipient] })), "{whole:#}");
    assert_eq!(form("second"), (json!(["zstd"]), Value::Null), "{whole:#}");
    assert_eq!(form("third"), (json!(["zstd", "age"]), json!({ "age_recipients": [two.recipient] })), "{whole:#}");
    assert!(!whole.to_string().contains("SECRET"));

    // The raw bytes are compared where an identity is at hand; where not, that is said.
    let is_checked = |copies: &[Value]| {
        for (copy, checked) in copies.iter().zip([true, true, false]) {
            assert_eq!((&copy["outcome"], &copy["raw_checked"]), (&json!("good"), &json!(checked)), "{copy:#}");
            let why = copy["raw_unchecked"].as_str().unwrap_or_default();
            assert_eq!(why.contains("identity_missing"), !checked, "{copy:#}");
        }
    };
    is_checked(&verified(&app, &save).await);

    for store in ["second", "third"] {
        lose(&app, store);
    }
    let found = verified(&app, &save).await;
    assert_eq!((&found[1]["outcome"], &found[2]["outcome"]), (&json!("missing"), &json!("missing")), "{found:#?}");
    for store in ["second", "third"] {
        let job = copy(&app, &save, store).await;
        assert_eq!((&job["state"], &job["result"]["packed_anew"]), (&json!("succeeded"), &json!(true)), "{job:#}");
    }
    is_checked(&verified(&app, &save).await);
    let parts = |store: &str, like: &str| {
        format!(
            "SELECT count(*) FROM save_objects WHERE store = '{store}' AND state = 'stored' AND part LIKE '{like}' AND key NOT LIKE '%/1/%'"
        )
    };
    assert!(app.value::<i64>(&parts("second", "dump.%")).await > 3, "it is cut as its store wants it");
    assert_eq!(app.value::<i64>(&parts("third", "globals.sql.zst.age")).await, 1);
    let whole = app.client.get(&format!("/v1/saves/{save}")).await.expect(200);
    assert_eq!(whole["copies"][2]["encryption"], json!({ "age_recipients": [two.recipient] }), "{whole:#}");

    only(&app, "second").await;
    let job = restores(&app, &save).await;
    assert_eq!(job["result"]["store"], "second", "{job:#}");
    stop(worker).await;
    let identity = format!("identity_file = \"{}\"\n", two.file.display());
    let _worker = app.worker_with(&three(&app, "two", (&one, &two), None, &identity)).await;
    only(&app, "third").await;
    let job = restores(&app, &save).await;
    assert_eq!(job["result"]["store"], "third", "{job:#}");
    app.execute("UPDATE save_copies SET state = 'good'").await;
    app.holds().await;
}

#[tokio::test]
async fn a_worker_without_the_identity_says_which_key_it_lacks() {
    let mut app = App::spawn().await;
    one_attempt(&app).await;
    let (one, two) = (Key::new(&app, "age.key"), Key::new(&app, "two.key"));
    let source = Database::small().await;
    let _worker = app.worker_with(&three(&app, "one", (&one, &two), None, "")).await;
    let target = in_three(&mut app, &source).await;
    let save = app.saved(&target).await;
    // From a plain copy no key is needed: recipients are enough to write.
    lose(&app, "third");
    verified(&app, &save).await;
    let job = copy(&app, &save, "third").await;
    assert_eq!((&job["state"], &job["result"]["from"]), (&json!("succeeded"), &json!("second")), "{job:#}");
    // The only good copies are encrypted now.
    lose(&app, "second");
    verified(&app, &save).await;
    let job = copy(&app, &save, "second").await;
    let error = &job["error"];
    assert_eq!((&job["state"], &error["code"]), (&json!("failed"), &json!("identity_missing")), "{job:#}");
    assert_eq!(error["retryable"], false, "{job:#}");
    assert!(error["message"].as_str().unwrap().contains("store disk"), "{job:#}");
    assert!(error["hint"].as_str().unwrap().contains("stores.disk.encryption.identity_file"), "{job:#}");
    app.holds().await;
}

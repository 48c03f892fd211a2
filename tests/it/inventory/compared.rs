//! What was restored is held against the save's inventory before it takes its place.

use serde_json::{Value, json};
use support::{App, Database, database, stack};

use super::{CONTENT, counts_of, prepare, told, whole};
use crate::engine::one_attempt;

async fn restored(app: &App, save: &str, more: Value) -> (Value, Database) {
    let database = Database { name: stack::fresh("compared") };
    let mut body = json!({ "into": { "database": database.name }, "owner": "none", "privileges": "none" });
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    let job = app.client.post(&format!("/v1/saves/{save}/restore"), body).await.id();
    (app.client.job_until(&job, "ended", |job| job["finished_at"].is_string()).await, database)
}

#[tokio::test]
async fn a_restored_database_holds_what_was_saved_in_whatever_order() {
    let mut app = App::spawn().await;
    let source = Database::create(CONTENT).await;
    prepare(&mut database::connect("postgres").await, &source.name).await;
    let _worker = app.worker("one").await;
    let target = app.target_with(&whole(&source.name)).await;
    let save = app.saved(&target).await;
    let inventory = told(&app, &save).await;
    let (done, copy) = restored(&app, &save, json!({})).await;
    assert_eq!(done["state"], "succeeded", "{done:#}");
    let expected = json!({ "by": "digest", "tables": inventory["entries"].as_array().unwrap().len(),
        "rows": inventory["rows"], "bytes": inventory["bytes"], "doubtful": 0 });
    assert_eq!(done["result"]["compared"], expected, "{done:#}");
    assert_eq!(done["result"]["warnings"], json!([]), "{done:#}");

    // The same rows in another order, and then one row that is another.
    let target = app.target_with(&whole(&copy.name)).await;
    let moved = "UPDATE a.lots SET note = note WHERE id % 2 = 0; UPDATE a.same SET t = t; VACUUM FULL a.same";
    for statement in moved.split("; ") {
        database::run(&mut copy.session().await, statement).await;
    }
    let again = told(&app, &app.saved(&target).await).await;
    assert_eq!(counts_of(&again), counts_of(&inventory));
    database::run(&mut copy.session().await, "UPDATE a.lots SET note = 'other' WHERE id = 77").await;
    let changed = told(&app, &app.saved(&target).await).await;
    let (before, after) = (counts_of(&inventory), counts_of(&changed));
    let differing: Vec<_> =
        before.iter().filter(|(key, count)| after[*key] != **count).map(|(key, _)| &key.2).collect();
    assert_eq!(differing, ["lots"]);
    app.holds().await;
}

#[tokio::test]
async fn inherited_columns_may_change_their_order() {
    let mut app = App::spawn().await;
    let source = Database::create(
        "CREATE TABLE parent (a int); CREATE TABLE child (b int, a int); ALTER TABLE child INHERIT parent;
         INSERT INTO child VALUES (1, 2), (3, 4); INSERT INTO parent VALUES (9)",
    )
    .await;
    let _worker = app.worker("one").await;
    let target = app.target_with(&whole(&source.name)).await;
    let save = app.saved(&target).await;
    let (done, _copy) = restored(&app, &save, json!({})).await;
    assert_eq!((&done["state"], &done["result"]["compared"]["doubtful"]), (&json!("succeeded"), &json!(1)), "{done:#}");
    let warning = done["result"]["warnings"][0].as_str().unwrap();
    assert!(warning.contains("\"child\"") && warning.contains("order") && !warning.contains("parent"), "{warning}");
}

#[tokio::test]
async fn what_is_not_what_was_saved_takes_no_ones_place() {
    let mut app = App::spawn().await;
    one_attempt(&app).await;
    let source = Database::small().await;
    let _worker = app.worker("one").await;
    let target = app.target_with(&whole(&source.name)).await;
    let save = app.saved(&target).await;
    let forge = |path: &str, value: &str| {
        format!(
            "UPDATE saves SET manifest = jsonb_set(manifest, '{{inventory,entries,1,{path}}}', '{value}') WHERE id = '{save}'"
        )
    };
    let digest: String = app
        .value(&format!("SELECT manifest #>> '{{inventory,entries,1,digest}}' FROM saves WHERE id = '{save}'"))
        .await;

    // As if the server had lost a row.
    app.execute(&forge("rows", "1001")).await;
    for compare in ["digest", "rows"] {
        let (done, copy) = restored(&app, &save, json!({ "compare": compare })).await;
        assert_eq!(done["error"]["code"], "inventory_mismatch", "{done:#}");
        assert_eq!((&done["state"], &done["error"]["retryable"]), (&json!("failed"), &json!(false)), "{done:#}");
        let message = done["error"]["message"].as_str().unwrap();
        assert!(message.contains("\"lots\": 1001 rows were saved and 1000 are there"), "{message}");
        let left = format!("SELECT count(*)::text FROM pg_database WHERE datname LIKE '{}%'", copy.name);
        assert_eq!(source.text(&left).await, "0", "something was left");
    }
    // In place the target is as it was.
    database::run(&mut source.session().await, "INSERT INTO lots VALUES (5000, 'since then')").await;
    let body = json!({ "into": {}, "confirm": source.name, "safety": false, "owner": "none", "privileges": "none" });
    let job = app.client.post(&format!("/v1/saves/{save}/restore"), body).await.id();
    let done = app.client.job_is(&job, "failed").await;
    assert_eq!(done["error"]["code"], "inventory_mismatch", "{done:#}");
    assert_eq!(source.text("SELECT count(*)::text FROM lots").await, "1001");

    // As many rows, but others: only whoever looks at them sees it.
    app.execute(&forge("rows", "1000")).await;
    app.execute(&forge("digest", &format!("\"{}\"", digest.chars().rev().collect::<String>()))).await;
    let (done, _) = restored(&app, &save, json!({})).await;
    let message = done["error"]["message"].as_str().unwrap();
    assert!(message.contains("\"lots\": 1000 rows with other contents"), "{message}");
    for (compare, by) in [("rows", "rows"), ("off", "none")] {
        let (done, _copy) = restored(&app, &save, json!({ "compare": compare })).await;
        assert_eq!((&done["state"], &done["result"]["compared"]["by"]), (&json!("succeeded"), &json!(by)), "{done:#}");
    }
    // Saves of before there was an inventory.
    app.execute(&format!("UPDATE saves SET manifest = manifest - 'inventory' WHERE id = '{save}'")).await;
    let (done, _copy) = restored(&app, &save, json!({})).await;
    assert_eq!(done["result"]["compared"], json!({ "by": "none", "why": "the save has no inventory" }), "{done:#}");
    assert_eq!(done["result"]["warnings"], json!([]), "{done:#}");
    // Of a part nothing is compared.
    let part =
        json!({ "into": { "database": "x" }, "tables": [{ "schema": "public", "table": "lots" }], "compare": "rows" });
    app.client.post(&format!("/v1/saves/{save}/restore"), part).await.expect(422);
    app.holds().await;
}

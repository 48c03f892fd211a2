//! Saves that are of no use: by their bytes, by what they hold, and by what comes of them when they are restored.

use serde_json::{Value, json};
use support::{App, Database, database, stack};

use super::{databases_of, drilling, events, shown, verify};
use crate::http::cast;

#[tokio::test]
async fn changed_bytes_are_found_by_their_digests_and_nothing_is_restored() {
    let mut app = App::spawn().await;
    let source = Database::small().await;
    let _worker = app.worker_with(&drilling("one")).await;
    let target = app.target(&source).await;
    let save = app.saved(&target).await;
    let key: String = app.value("SELECT key FROM save_objects WHERE part = 'dump.0001'").await;
    let path = app.store().join(key);
    let whole = std::fs::read(&path).unwrap();
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    std::fs::write(&path, damaged).unwrap();
    let found = verify(&app, &save, "restore").await;
    assert_eq!((&found["copies"][0]["outcome"], &found["verified"]), (&json!("corrupt"), &json!(false)), "{found:#}");
    assert!(found["decoded"].is_null() && found["restored"].is_null(), "{found:#}");
    let after = shown(&app, &save).await;
    assert_eq!(
        (&after["valid"], &after["verified_at"], &after["unusable_reason"]),
        (&json!(false), &Value::Null, &Value::Null)
    );
    assert_eq!(events(&app).await, ["save.corrupt restore"]);
    std::fs::write(&path, whole).unwrap();
    let found = verify(&app, &save, "restore").await;
    assert_eq!(found["verified"], true, "{found:#}");
    assert_eq!(shown(&app, &save).await["valid"], true);
    app.holds().await;
}

/// As if more rows had been counted than the archive holds.
async fn miscount(app: &App, by: &str) {
    app.execute(&format!(
        "UPDATE saves SET manifest = jsonb_set(manifest, '{{inventory,entries,0,rows}}', to_jsonb((manifest #>> '{{inventory,entries,0,rows}}')::int {by}))"
    ))
    .await;
}

#[tokio::test]
async fn an_archive_that_is_whole_and_holds_something_else_is_of_no_use() {
    let mut app = App::spawn().await;
    let source = Database::small().await;
    let _worker = app.worker_with(&drilling("one")).await;
    let target = app.target(&source).await;
    let save = app.saved(&target).await;
    miscount(&app, "+ 1").await;
    let hashed = verify(&app, &save, "hash").await;
    assert_eq!(hashed["verified"], true, "no digest sees it: {hashed:#}");
    let found = verify(&app, &save, "restore").await;
    assert_eq!((&found["verified"], &found["unusable"]["depth"]), (&json!(false), &json!("decode")), "{found:#}");
    let reason = found["unusable"]["reason"].as_str().unwrap();
    assert!(reason.contains("5001 rows were saved and 5000 are there"), "{reason}");
    assert!(found["restored"].is_null(), "{found:#}");
    let after = shown(&app, &save).await;
    assert_eq!((&after["valid"], &after["unusable_reason"]), (&json!(false), &json!(reason)));
    assert_eq!(after["verified_depth"], "hash");
    assert_eq!(events(&app).await, ["save.verified hash", "save.corrupt restore"]);

    // It is not restored unless an admin insists.
    let path = format!("/v1/saves/{save}/restore");
    let wanted = stack::fresh("new");
    let body = json!({ "into": { "database": wanted }, "compare": "off" });
    let refused = app.client.post(&path, body.clone()).await.expect(422);
    assert_eq!(refused["errors"][0]["pointer"], "/allow_invalid", "{refused:#}");
    assert!(refused["errors"][0]["detail"].as_str().unwrap().contains("rows were saved"), "{refused:#}");
    let mut insisting = body.clone();
    insisting["allow_invalid"] = true.into();
    let operator = cast::admin(&app, "op", &[("operator", None)]).await;
    operator.post(&path, insisting.clone()).await.expect(403);
    app.client.post(&path, json!({ "into": { "database": wanted }, "dry_run": true })).await.expect(202);
    let restored = Database { name: wanted };
    let job = app.client.post(&path, insisting).await.id();
    app.client.job_is(&job, "succeeded").await;
    assert_eq!(restored.text("SELECT count(*)::text FROM bids").await, "5000");

    // Good bytes do not take it back; a look as deep does, and a person.
    verify(&app, &save, "hash").await;
    assert_eq!(shown(&app, &save).await["valid"], false);
    let judged = app.client.patch(&format!("/v1/saves/{save}"), json!({ "valid": true })).await.expect(200);
    assert_eq!((&judged["valid"], &judged["unusable_reason"]), (&json!(true), &Value::Null), "{judged:#}");
    verify(&app, &save, "decode").await;
    assert_eq!(shown(&app, &save).await["valid"], false);
    miscount(&app, "- 1").await;
    assert_eq!(verify(&app, &save, "decode").await["verified"], true);
    let after = shown(&app, &save).await;
    assert_eq!((&after["valid"], &after["unusable_reason"]), (&json!(true), &Value::Null), "{after:#}");
    assert_eq!(after["verified_depth"], "decode");
    app.holds().await;
}

/// What an index that lost touch with its table lets in: every backup of it is whole, and none can be restored.
#[tokio::test]
async fn what_no_server_takes_is_found_by_the_drill_alone() {
    let mut app = App::spawn().await;
    let broken_index = Database::create(
        "CREATE TABLE lots (id bigint PRIMARY KEY, title text);
         INSERT INTO lots SELECT n, 'lot ' || n FROM generate_series(1, 1000) n;
         UPDATE pg_index SET indisready = false WHERE indexrelid = 'lots_pkey'::regclass",
    )
    .await;
    let twice = "INSERT INTO lots VALUES (7, 'a second one'); UPDATE pg_index SET indisready = true WHERE indexrelid = 'lots_pkey'::regclass";
    database::run(&mut broken_index.session().await, twice).await;
    let orphans = Database::small().await;
    let orphan = "ALTER TABLE bids DISABLE TRIGGER ALL; INSERT INTO bids (lot, cents) VALUES (-1, 5); ALTER TABLE bids ENABLE TRIGGER ALL";
    database::run(&mut orphans.session().await, orphan).await;
    let _worker = app.worker_with(&drilling("one")).await;
    for (source, words) in
        [(&broken_index, "could not create unique index"), (&orphans, "violates foreign key constraint")]
    {
        let target = app.target(source).await;
        let save = app.saved(&target).await;
        let decoded = verify(&app, &save, "decode").await;
        assert_eq!(decoded["verified"], true, "{decoded:#}");
        let job = super::ask(&app, &save, "restore").await;
        let found = app.client.job_is(&job, "succeeded").await["result"].clone();
        assert_eq!((&found["verified"], &found["unusable"]["depth"]), (&json!(false), &json!("restore")), "{found:#}");
        assert!(found["unusable"]["reason"].as_str().unwrap().contains(words), "{found:#}");
        assert_eq!(found["decoded"]["compared"]["by"], "digest", "{found:#}");
        let after = shown(&app, &save).await;
        assert_eq!((&after["valid"], &after["verified_depth"]), (&json!(false), &json!("decode")), "{after:#}");
        assert_eq!(databases_of(&job).await, Vec::<String>::new());
        assert_eq!(after["verifications"][0]["passed"], false);
    }
    let last = events(&app).await.pop().unwrap();
    assert_eq!(last, "save.corrupt restore");
    app.holds().await;
}

#[tokio::test]
async fn what_nobody_has_signed_is_run_on_no_scratch_server_unless_a_super_says_so() {
    let mut app = App::spawn().await;
    let source = Database::small().await;
    let worker = app.worker_with(&drilling("one")).await;
    let target = app.target(&source).await;
    let save = app.saved(&target).await;
    app.execute("UPDATE saves SET trusted = false").await;
    let path = format!("/v1/saves/{save}/verify");
    assert_eq!(verify(&app, &save, "decode").await["verified"], true, "reading runs nothing");
    let admin = cast::admin(&app, "adm", &[("admin", None)]).await;
    let body = json!({ "depth": "restore", "trust": true });
    admin.post(&path, body.clone()).await.expect(403);
    let refused = app.client.post(&path, json!({ "depth": "restore" })).await.expect(422);
    assert_eq!(refused["errors"][0]["pointer"], "/trust", "{refused:#}");
    let job = app.client.post(&path, body).await.id();
    assert_eq!(app.client.job_is(&job, "succeeded").await["result"]["verified"], true);
    // Nor is it run again by anybody else.
    drop(worker);
    let job = app.client.post(&path, json!({ "depth": "restore", "trust": true })).await.id();
    app.client.post(&format!("/v1/jobs/{job}/cancel"), Value::Null).await.expect(200);
    admin.post(&format!("/v1/jobs/{job}/retry"), json!({})).await.expect(403);
}

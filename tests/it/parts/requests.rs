//! What the API refuses before there is a job.

use serde_json::{Value, json};
use support::Database;

use super::{Saved, names};

#[tokio::test]
async fn what_cannot_be_asked_for_names_the_field() {
    let saved = Saved::of("CREATE TABLE t (x int)").await;
    let own = saved.source.name.clone();
    let many: Vec<Value> = (0..1001).map(|n| json!({ "schema": "public", "table": format!("t{n}") })).collect();
    let twice = names(&[("public", "t"), ("public", "u"), ("public", "t")]);
    let t = names(&[("public", "t")]);
    let new = json!({ "database": "somewhere_new" });
    let cases = [
        (json!({ "into": new, "tables": many }), "/tables"),
        (json!({ "into": new, "tables": twice }), "/tables/2"),
        (json!({ "into": new, "tables": [{ "schema": "public", "table": "" }] }), "/tables/0/table"),
        (json!({ "into": new, "mode": "data" }), "/mode"),
        (json!({ "into": new, "extensions": "maybe" }), "/extensions"),
        (json!({ "into": {}, "tables": t }), "/confirm"),
        (json!({ "into": { "database": own }, "tables": t }), "/confirm"),
        (json!({ "into": { "database": own }, "tables": t, "confirm": "another" }), "/confirm"),
    ];
    for (body, pointer) in cases {
        let answer = saved.app.client.post(&format!("/v1/saves/{}/restore", saved.save), body.clone()).await;
        let problem = answer.expect(422);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}: {problem:#}");
    }
    saved.app.holds().await;
}

#[tokio::test]
async fn a_restore_of_a_part_excludes_a_backup_of_its_target() {
    let saved = Saved::of("CREATE TABLE t (x int)").await;
    let other = Database::create("CREATE TABLE t (x int)").await;
    let key = async |body: Value| {
        let job = saved.ask(body).await;
        saved.app.client.job_until(&job, "ended", |job| job["finished_at"].is_string()).await;
        saved.app.value::<String>(&format!("SELECT exclusive_key FROM jobs WHERE id = '{job}'")).await
    };
    let t = names(&[("public", "t")]);
    let own = key(json!({ "into": {}, "confirm": saved.source.name, "tables": t })).await;
    assert_eq!(own, format!("target:{}", saved.target));
    let elsewhere = key(json!({ "into": { "database": other.name }, "confirm": other.name, "tables": t })).await;
    assert!(elsewhere.starts_with("database:") && elsewhere.ends_with(&other.name), "{elsewhere}");
    saved.app.holds().await;
}

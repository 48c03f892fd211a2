//! Into new databases: tables with what they need, the structure alone, and all but the extensions.

use serde_json::json;
use support::{Database, database, stack};

use super::{EVERYTHING, Saved, described, digest, names, psql, same, succeeded};

async fn into_new(saved: &Saved, mut body: serde_json::Value) -> (Database, serde_json::Value) {
    let database = Database { name: stack::fresh("new") };
    body["into"] = json!({ "database": database.name });
    body["owner"] = "keep".into();
    body["privileges"] = "keep".into();
    let job = saved.ask(body).await;
    let job = saved.app.client.job_until(&job, "ended", |job| job["finished_at"].is_string()).await;
    (database, job)
}

#[tokio::test]
async fn a_table_comes_with_what_it_needs_and_without_what_needs_others() {
    let saved = Saved::of(EVERYTHING).await;
    let (new, job) = into_new(&saved, json!({ "tables": names(&[("app", "lots")]) })).await;
    succeeded(&job);
    let left_out = job["result"]["warnings"].to_string();
    assert!(left_out.contains("lots_cat_fkey") && left_out.contains("lots made"), "{left_out}");
    assert!(!left_out.contains("seen") && !left_out.contains("parent"), "{left_out}");
    let of = |database: &str| psql(database, &["\\d app.lots"]);
    let expected: Vec<String> = of(&saved.source.name).lines().map(str::to_owned).collect();
    let found: Vec<String> = of(&new.name).lines().map(str::to_owned).collect();
    let lost: Vec<&String> = expected.iter().filter(|line| !found.contains(line)).collect();
    // Keys to and from tables that were not chosen, and the policy that asks another table: its two lines.
    assert!(
        lost.iter().all(|line| line.contains("CONSTRAINT \"") && !line.contains("parent")
            || line.contains("made")
            || line.contains("WITH CHECK")
            || line.contains("cats")
            || line.contains("c.id")),
        "{lost:#?}"
    );
    assert_eq!(
        new.text("SELECT count(*)::text || ' ' || max(number) FROM app.lots").await,
        saved.source.text("SELECT count(*)::text || ' ' || max(number) FROM app.lots").await
    );
    for sequence in ["app.lots_id_seq", "app.lots_n_seq", "app.numbers"] {
        let value = format!("SELECT last_value::text FROM {sequence}");
        assert_eq!(new.text(&value).await, saved.source.text(&value).await, "{sequence}");
    }
    let relations = "SELECT string_agg(relname, ',' ORDER BY relname) FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('app', 'other'))";
    assert_eq!(new.text(relations).await, "lots");
    saved.app.holds().await;
}

#[tokio::test]
async fn a_partition_alone_is_a_table_of_its_own() {
    let saved = Saved::of(EVERYTHING).await;
    let (new, job) = into_new(&saved, json!({ "tables": names(&[("app", "log_2020")]) })).await;
    succeeded(&job);
    assert!(job["result"]["warnings"].to_string().contains("table attach"), "{job:#}");
    assert_eq!(
        new.text("SELECT count(*)::text FROM app.log_2020").await,
        saved.source.text("SELECT count(*)::text FROM app.log_2020").await
    );
    assert!(psql(&new.name, &["\\d app.log_2020"]).contains("PRIMARY KEY"));
    let (new, job) = into_new(&saved, json!({ "tables": names(&[("app", "log")]) })).await;
    succeeded(&job);
    assert_eq!(new.text("SELECT count(*)::text FROM app.log").await, "100");
    saved.app.holds().await;
}

#[tokio::test]
async fn the_structure_alone_has_no_rows() {
    let saved = Saved::of(EVERYTHING).await;
    let (new, job) = into_new(&saved, json!({ "mode": "schema" })).await;
    succeeded(&job);
    same("\\d", &described(&saved.source.name), &described(&new.name));
    let rows =
        "SELECT (SELECT count(*) FROM app.lots) + (SELECT count(*) FROM app.log) + (SELECT count(*) FROM other.lots)";
    assert_eq!(new.text(&format!("SELECT ({rows})::text")).await, "0");
    assert_eq!(new.text("SELECT is_called::text FROM app.lots_id_seq").await, "false");
    let (part, job) =
        into_new(&saved, json!({ "mode": "schema", "tables": names(&[("app", "cats"), ("app", "lots")]) })).await;
    succeeded(&job);
    assert!(psql(&part.name, &["\\d app.lots"]).contains("lots_cat_fkey"));
    assert_eq!(part.text("SELECT count(*)::text FROM app.lots").await, "0");
    saved.app.holds().await;
}

#[tokio::test]
async fn extensions_can_be_left_out() {
    let saved = Saved::of("CREATE EXTENSION hstore; CREATE TABLE plain (x int); INSERT INTO plain VALUES (1)").await;
    let (new, job) = into_new(&saved, json!({ "extensions": "skip" })).await;
    succeeded(&job);
    assert_eq!(new.text("SELECT count(*)::text FROM plain").await, "1");
    assert_eq!(new.text("SELECT count(*)::text FROM pg_extension WHERE extname = 'hstore'").await, "0");
    let (whole, job) = into_new(&saved, json!({ "extensions": "require" })).await;
    succeeded(&job);
    assert_eq!(digest(&whole.name), digest(&saved.source.name));
    saved.app.holds().await;
}

#[tokio::test]
async fn what_is_not_in_the_save_makes_no_database() {
    let saved = Saved::of(EVERYTHING).await;
    let (new, job) = into_new(&saved, json!({ "tables": names(&[("app", "none")]) })).await;
    assert_eq!(job["error"]["code"], "table_not_in_save", "{job:#}");
    assert!(!database::exists(&new.name).await);
    saved.app.holds().await;
}

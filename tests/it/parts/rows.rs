//! Rows alone, into tables that exist and are empty.

use serde_json::json;
use support::{
    Database,
    database::{self, run},
};

use super::{EVERYTHING, Saved, digest, names, same, succeeded};

/// Rows go through policies: tables that force them on their owner refuse, rightly, so this one has none.
const PLAIN: &str = "CREATE TABLE b_lots (id serial PRIMARY KEY, a int);
    CREATE TABLE a_bids (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, lot int REFERENCES b_lots, of int REFERENCES a_bids);
    CREATE TABLE parts (at date, lot int REFERENCES b_lots) PARTITION BY RANGE (at);
    CREATE TABLE parts_1 PARTITION OF parts DEFAULT;
    INSERT INTO b_lots (a) SELECT g FROM generate_series(1, 50) g;
    INSERT INTO a_bids (lot, of) SELECT g, NULL FROM generate_series(1, 50) g; UPDATE a_bids SET of = 51 - id;
    INSERT INTO parts SELECT '2020-01-01', g FROM generate_series(1, 5) g";

#[tokio::test]
async fn rows_go_into_empty_tables_in_any_order_of_keys() {
    let saved = Saved::of(PLAIN).await;
    let before = digest(&saved.source.name);
    let error = saved.fails(json!({ "mode": "data" }), "tables_not_empty").await;
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("public.a_bids") && message.contains("public.parts_1"), "{message}");
    run(&mut saved.source.session().await, "TRUNCATE a_bids, b_lots, parts RESTART IDENTITY").await;
    succeeded(&saved.restore(json!({ "mode": "data" })).await);
    same("the content", &before, &digest(&saved.source.name));

    run(&mut saved.source.session().await, "TRUNCATE a_bids; SELECT setval('a_bids_id_seq', 1)").await;
    let part = json!({ "mode": "data", "tables": names(&[("public", "a_bids")]) });
    succeeded(&saved.restore(part).await);
    same("the content", &before, &digest(&saved.source.name));
    saved.app.holds().await;
}

/// The id of the tool's transaction is found on a server where older ones have not ended, whatever it is that they wait for.
#[tokio::test]
async fn rows_go_in_beside_an_older_transaction_that_goes_on() {
    let saved = Saved::of(PLAIN).await;
    let before = digest(&saved.source.name);
    run(&mut saved.source.session().await, "TRUNCATE a_bids").await;
    let mut older = database::connect("postgres").await;
    run(&mut older, "BEGIN; SELECT pg_current_xact_id()").await;
    let part = json!({ "mode": "data", "tables": names(&[("public", "a_bids")]) });
    succeeded(&saved.restore(part).await);
    same("the content", &before, &digest(&saved.source.name));
    run(&mut older, "ROLLBACK").await;
    saved.app.holds().await;
}

#[tokio::test]
async fn a_save_of_rows_alone_goes_into_tables_that_exist() {
    let saved = Saved::backed_up(PLAIN, json!({ "mode": "data" })).await;
    let before = digest(&saved.source.name);
    run(&mut saved.source.session().await, "TRUNCATE a_bids, b_lots, parts RESTART IDENTITY").await;
    succeeded(&saved.restore(json!({})).await);
    same("the content", &before, &digest(&saved.source.name));
    run(&mut saved.source.session().await, "TRUNCATE a_bids RESTART IDENTITY").await;
    succeeded(&saved.restore(json!({ "tables": names(&[("public", "a_bids")]) })).await);
    same("the content", &before, &digest(&saved.source.name));
    saved.fails(json!({ "tables": names(&[("public", "a_bids")]) }), "tables_not_empty").await;
    saved.fails(json!({ "tables": names(&[("public", "none")]) }), "table_not_in_save").await;
    saved.app.holds().await;
}

#[tokio::test]
async fn rows_without_their_tables_or_keys_are_refused_or_rolled_back() {
    let saved = Saved::of(PLAIN).await;
    let other = Database::create("CREATE TABLE a_bids (id int PRIMARY KEY, lot int, of int)").await;
    let into =
        |tables| json!({ "into": { "database": other.name }, "confirm": other.name, "mode": "data", "tables": tables });
    let job = saved.restore(into(names(&[]))).await;
    assert_eq!(job["error"]["code"], "table_missing", "{job:#}");
    assert!(job["error"]["message"].as_str().unwrap().contains("public.b_lots"), "{job:#}");

    run(&mut saved.source.session().await, "DELETE FROM a_bids; DELETE FROM parts; DELETE FROM b_lots WHERE id > 40")
        .await;
    saved.fails(json!({ "mode": "data", "tables": names(&[("public", "a_bids")]) }), "rows_do_not_match").await;
    saved.app.holds().await;
}

#[tokio::test]
async fn structure_replaces_empty_tables_alone() {
    let saved = Saved::of(EVERYTHING).await;
    let part = json!({ "mode": "schema", "tables": names(&[("app", "bids")]) });
    saved.fails(part.clone(), "tables_not_empty").await;
    run(
        &mut saved.source.session().await,
        "DELETE FROM app.bids; ALTER TABLE app.bids DROP CONSTRAINT bids_lot, DROP COLUMN cents",
    )
    .await;
    succeeded(&saved.restore(part).await);
    assert_eq!(saved.source.text("SELECT count(cents)::text FROM app.bids").await, "0");
    assert_eq!(saved.source.text("SELECT count(*)::text FROM pg_constraint WHERE conname = 'bids_lot'").await, "1");
    saved.app.holds().await;
}

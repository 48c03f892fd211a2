//! What depends on the chosen tables: it comes back as it was, or nothing is touched.

use serde_json::json;
use support::database::run;

use super::{EVERYTHING, Saved, described, digest, names, same, succeeded};

fn lots() -> serde_json::Value {
    json!({ "tables": names(&[("app", "lots")]) })
}

#[tokio::test]
async fn a_later_view_is_in_the_way() {
    let saved = Saved::of(EVERYTHING).await;
    run(
        &mut saved.source.session().await,
        "CREATE VIEW app.later AS SELECT id FROM app.lots; CREATE VIEW other.on_later AS SELECT * FROM app.later;
         CREATE TABLE other.refers (lot int CONSTRAINT later_key REFERENCES app.lots);
         CREATE FUNCTION other.asks(app.lots) RETURNS int LANGUAGE sql AS 'SELECT 1';
         CREATE TABLE other.numbered (x int DEFAULT nextval('app.lots_n_seq'));
         CREATE TABLE other.child () INHERITS (app.lots)",
    )
    .await;
    let error = saved.fails(lots(), "dependent_objects").await;
    let message = error["message"].as_str().unwrap();
    for name in ["view app.later", "later_key of other.refers", "function other.asks", "other.numbered", "other.child"]
    {
        assert!(message.contains(name), "{name}: {message}");
    }
    run(
        &mut saved.source.session().await,
        "DROP VIEW other.on_later, app.later; DROP TABLE other.refers, other.numbered, other.child; DROP FUNCTION other.asks",
    )
    .await;
    succeeded(&saved.restore(lots()).await);
    saved.app.holds().await;
}

#[tokio::test]
async fn a_later_partition_or_publication_is_in_the_way() {
    let saved = Saved::of(EVERYTHING).await;
    run(
        &mut saved.source.session().await,
        "CREATE TABLE app.log_2021 PARTITION OF app.log FOR VALUES FROM ('2022-01-01') TO ('2023-01-01')",
    )
    .await;
    let error = saved.fails(json!({ "tables": names(&[("app", "log")]) }), "dependent_objects").await;
    assert!(error["message"].as_str().unwrap().contains("partition app.log_2021"), "{error:#}");
    run(&mut saved.source.session().await, "CREATE PUBLICATION later FOR TABLE app.lots").await;
    let error = saved.fails(lots(), "dependent_objects").await;
    assert!(error["message"].as_str().unwrap().contains("publication later of app.lots"), "{error:#}");
    saved.app.holds().await;
}

#[tokio::test]
async fn views_and_publications_of_the_save_come_back_as_they_are_now() {
    let saved = Saved::of(&format!(
        "{EVERYTHING};
         CREATE VIEW app.cheap WITH (security_barrier) AS SELECT id, name FROM app.lots WHERE price < 10;
         CREATE VIEW other.cheaper AS SELECT id FROM app.cheap;
         CREATE MATERIALIZED VIEW app.counted AS SELECT count(*) AS n FROM other.cheaper WITH DATA; CREATE UNIQUE INDEX counted_n ON app.counted (n);
         GRANT SELECT ON app.cheap TO backup_role; COMMENT ON VIEW app.cheap IS 'cheap';
         CREATE PUBLICATION published FOR TABLE app.lots, app.cats;"
    ))
    .await;
    let (described_before, digest_before) = (described(&saved.source.name), digest(&saved.source.name));
    run(&mut saved.source.session().await, "UPDATE app.lots SET name = 'damaged'").await;
    let job = saved.restore(lots()).await;
    succeeded(&job);
    let warnings = job["result"]["warnings"].to_string();
    for view in ["app.cheap", "other.cheaper", "app.counted"] {
        assert!(warnings.contains(view), "{warnings}");
    }
    same("\\d", &described_before, &described(&saved.source.name));
    same("the content", &digest_before, &digest(&saved.source.name));

    // One that is not what the save makes is somebody's later work.
    run(
        &mut saved.source.session().await,
        "CREATE OR REPLACE VIEW other.cheaper AS SELECT id FROM app.cheap WHERE id > 3",
    )
    .await;
    let error = saved.fails(lots(), "dependent_objects").await;
    assert!(error["message"].as_str().unwrap().contains("view other.cheaper"), "{error:#}");
    saved.app.holds().await;
}

#[tokio::test]
async fn rows_that_refer_to_what_the_save_does_not_have_roll_everything_back() {
    let saved = Saved::of(EVERYTHING).await;
    run(
        &mut saved.source.session().await,
        "INSERT INTO app.lots (cat, price, name) VALUES (1, 5, 'new'); UPDATE app.bids SET lot = (SELECT max(id) FROM app.lots) WHERE id = 7",
    )
    .await;
    let error = saved.fails(lots(), "rows_do_not_match").await;
    assert!(error["message"].as_str().unwrap().contains("bids_lot"), "{error:#}");
    saved.app.holds().await;
}

#[tokio::test]
async fn a_foreign_key_that_was_changed_or_dropped_is_not_brought_back() {
    let saved = Saved::of(EVERYTHING).await;
    let mut session = saved.source.session().await;
    run(
        &mut session,
        "ALTER TABLE app.bids DROP CONSTRAINT bids_lot, ADD CONSTRAINT bids_lot FOREIGN KEY (lot) REFERENCES app.lots",
    )
    .await;
    let error = saved.fails(lots(), "dependent_objects").await;
    assert!(error["message"].as_str().unwrap().contains("bids_lot of app.bids"), "{error:#}");
    run(&mut session, "ALTER TABLE app.bids DROP CONSTRAINT bids_lot; UPDATE app.lots SET name = 'damaged'").await;
    let job = saved.restore(lots()).await;
    succeeded(&job);
    assert!(job["result"]["warnings"].to_string().contains("bids_lot"), "{job:#}");
    assert_eq!(saved.source.text("SELECT count(*)::text FROM pg_constraint WHERE conname = 'bids_lot'").await, "0");
    saved.app.holds().await;
}

#[tokio::test]
async fn what_the_tables_need_must_be_there() {
    let saved = Saved::of(EVERYTHING).await;
    run(&mut saved.source.session().await, "DROP TABLE app.lots, app.cats CASCADE").await;
    let error = saved.fails(lots(), "table_missing").await;
    assert!(error["message"].as_str().unwrap().contains("app.cats"), "{error:#}");
    succeeded(&saved.tables(&[("app", "lots"), ("app", "cats")]).await);
    saved.app.holds().await;
}

#[tokio::test]
async fn a_lock_is_not_waited_for_without_end() {
    let saved = Saved::of(EVERYTHING).await;
    let hold = saved.source.hold("app.lots").await;
    let before = tokio::time::Instant::now();
    let body =
        json!({ "into": {}, "confirm": saved.source.name, "safety": false, "tables": names(&[("app", "lots")]) });
    let job = saved.ask(body).await;
    // The tool waits for the lock: what it runs first bounds that, not pg_restore, which resets the bound.
    saved.source.dump_waits().await;
    let waited: String = saved.source.text("SELECT query FROM pg_stat_activity WHERE application_name LIKE 'holdfast/%' AND wait_event_type = 'Lock' AND datname = current_database()").await;
    assert!(waited.contains("SET LOCAL lock_timeout = '60s'"), "{waited}");
    hold.release().await;
    saved.app.client.job_is(&job, "succeeded").await;
    assert!(before.elapsed().as_secs() < 60);
    saved.app.holds().await;
}

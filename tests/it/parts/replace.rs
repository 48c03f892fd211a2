//! Tables put back into the database they came from, or into another one that exists.

use serde_json::json;
use support::{Database, database::run};

use super::{EVERYTHING, Saved, described, digest, names, psql, same, succeeded};

const LOTS: &[(&str, &str)] = &[("app", "lots")];

#[tokio::test]
async fn a_damaged_table_comes_back_with_all_it_had() {
    let saved = Saved::of(EVERYTHING).await;
    let (described_before, digest_before) = (described(&saved.source.name), digest(&saved.source.name));
    // Damage of every kind, within what the table's own keys allow others to keep.
    run(
        &mut saved.source.session().await,
        "UPDATE app.lots SET name = 'damaged', price = 1;
         ALTER TABLE app.lots DROP COLUMN n, DROP COLUMN code, DROP CONSTRAINT cheap, ADD COLUMN later text DEFAULT 'later';
         DROP INDEX app.lots_lower; CREATE INDEX later_index ON app.lots (later);
         DROP TRIGGER touched ON app.lots; DROP POLICY seen ON app.lots; DROP RULE kept ON app.lots;
         DROP STATISTICS app.lots_statistics; REVOKE ALL ON app.lots FROM backup_role; ALTER TABLE app.lots DISABLE ROW LEVEL SECURITY;
         COMMENT ON TABLE app.lots IS 'damaged'; SELECT setval('app.lots_id_seq', 99999); ALTER TABLE app.lots RESET (fillfactor)",
    )
    .await;
    assert_ne!(described(&saved.source.name), described_before);
    let job = saved.tables(LOTS).await;
    succeeded(&job);
    same("\\d", &described_before, &described(&saved.source.name));
    same("the content", &digest_before, &digest(&saved.source.name));
    saved.app.holds().await;
}

#[tokio::test]
async fn a_dropped_table_comes_back_with_the_keys_that_went_with_it() {
    let saved = Saved::of(EVERYTHING).await;
    let (described_before, digest_before) = (described(&saved.source.name), digest(&saved.source.name));
    run(&mut saved.source.session().await, "DROP TABLE app.lots CASCADE").await;
    let job = saved.tables(LOTS).await;
    succeeded(&job);
    same("\\d", &described_before, &described(&saved.source.name));
    same("the content", &digest_before, &digest(&saved.source.name));
    saved.app.holds().await;
}

#[tokio::test]
async fn a_partitioned_table_comes_with_its_partitions_and_a_partition_alone() {
    let saved = Saved::of(EVERYTHING).await;
    let (described_before, digest_before) = (described(&saved.source.name), digest(&saved.source.name));
    let mut session = saved.source.session().await;
    run(&mut session, "DELETE FROM app.log; ALTER TABLE app.log ADD COLUMN later int; DROP TABLE app.log_rest").await;
    succeeded(&saved.tables(&[("app", "log")]).await);
    same("\\d", &described_before, &described(&saved.source.name));
    same("the content", &digest_before, &digest(&saved.source.name));

    run(&mut session, "DELETE FROM app.log_2020; CREATE INDEX ON app.log_2020 (lot)").await;
    succeeded(&saved.tables(&[("app", "log_2020")]).await);
    same("\\d", &described_before, &described(&saved.source.name));
    same("the content", &digest_before, &digest(&saved.source.name));
    run(&mut session, "DROP TABLE app.log_2020").await;
    succeeded(&saved.tables(&[("app", "log_2020")]).await);
    same("the content", &digest_before, &digest(&saved.source.name));
    saved.app.holds().await;
}

#[tokio::test]
async fn two_schemas_with_the_same_table_name_are_not_mixed_up() {
    let saved = Saved::of(EVERYTHING).await;
    let digest_before = digest(&saved.source.name);
    run(
        &mut saved.source.session().await,
        "UPDATE other.lots SET word = 'damaged'; UPDATE app.cats SET name = 'kept ' || id",
    )
    .await;
    let damaged = digest(&saved.source.name);
    succeeded(&saved.tables(&[("other", "lots")]).await);
    let after = digest(&saved.source.name);
    assert_ne!(after, damaged);
    assert!(after.contains("kept 3"), "a table that was not chosen was restored");
    run(&mut saved.source.session().await, "UPDATE other.lots SET word = 'mine'").await;
    succeeded(&saved.tables(LOTS).await);
    let other = saved.source.text("SELECT string_agg(DISTINCT word, ',') FROM other.lots").await;
    assert_eq!(other, "mine");
    run(
        &mut saved.source.session().await,
        "UPDATE app.cats SET name = 'c' || id; UPDATE other.lots SET word = 'other'",
    )
    .await;
    same("the content", &digest_before, &digest(&saved.source.name));
    saved.app.holds().await;
}

#[tokio::test]
async fn names_are_taken_literally() {
    let saved = Saved::of(EVERYTHING).await;
    let (described_before, digest_before) = (described(&saved.source.name), digest(&saved.source.name));
    let odd = "odd \"name\" = 'ä'; --";
    run(&mut saved.source.session().await, "DROP TABLE app.\"odd \"\"name\"\" = 'ä'; --\"; TRUNCATE app.odd").await;
    succeeded(&saved.tables(&[("app", odd)]).await);
    assert_eq!(saved.source.text("SELECT count(*)::text FROM app.odd").await, "0");
    succeeded(&saved.tables(&[("app", "odd")]).await);
    same("\\d", &described_before, &described(&saved.source.name));
    same("the content", &digest_before, &digest(&saved.source.name));
    let error = saved
        .fails(json!({ "tables": names(&[("app", "ODD"), ("App", "odd"), ("app", "numbers")]) }), "table_not_in_save")
        .await;
    let message = error["message"].as_str().unwrap();
    for name in ["app.\"ODD\"", "\"App\".odd", "app.numbers (a sequence)"] {
        assert!(message.contains(name), "{message}");
    }
    saved.app.holds().await;
}

#[tokio::test]
async fn several_tables_that_refer_to_each_other_are_replaced_as_one() {
    let saved = Saved::of(EVERYTHING).await;
    let digest_before = digest(&saved.source.name);
    run(
        &mut saved.source.session().await,
        "TRUNCATE app.cats, app.lots, app.bids, app.log; UPDATE other.lots SET word = 'x'",
    )
    .await;
    let tables = [("app", "bids"), ("app", "lots"), ("app", "cats"), ("app", "log")];
    succeeded(&saved.tables(&tables).await);
    run(&mut saved.source.session().await, "UPDATE other.lots SET word = 'other'").await;
    same("the content", &digest_before, &digest(&saved.source.name));
    saved.app.holds().await;
}

#[tokio::test]
async fn another_database_gets_what_it_lacks_and_keeps_what_it_has() {
    let saved = Saved::of(EVERYTHING).await;
    let other = Database::create(
        "CREATE SCHEMA app; CREATE TYPE app.mood AS ENUM ('sad', 'happy', 'more'); CREATE TABLE app.own (x int);
         CREATE TABLE app.cats (id int PRIMARY KEY, name text); INSERT INTO app.cats SELECT g, 'own' FROM generate_series(1, 20) g",
    )
    .await;
    let wrong = saved.ask(json!({ "into": { "database": other.name }, "tables": names(LOTS) })).await;
    let wrong = saved.app.client.job_until(&wrong, "ended", |job| job["finished_at"].is_string()).await;
    assert_eq!(wrong["error"]["code"], "database_exists", "{wrong:#}");
    let body = json!({ "into": { "database": other.name }, "confirm": other.name, "tables": names(LOTS) });
    succeeded(&saved.restore(body).await);
    assert_eq!(other.text("SELECT count(*)::text FROM app.lots").await, "300");
    assert_eq!(other.text("SELECT string_agg(DISTINCT name, '') FROM app.cats").await, "own");
    assert_eq!(
        other.text("SELECT string_agg(enumlabel, ',' ORDER BY enumsortorder) FROM pg_enum").await,
        "sad,happy,more"
    );
    assert_eq!(psql(&other.name, &["\\d+ app.lots"]).matches("FOREIGN KEY").count(), 3);
    saved.app.holds().await;
}

//! What is tied to a database from outside, and whether one transaction can hold its locks: on a server that is set up so.

use serde_json::{Value, json};
use support::{App, Major, TargetSpec, database, stack};

use super::{look, message, told};

/// Sets these on a server and restarts it; `None` takes them back.
async fn tune(settings: &[(&str, Option<&str>)]) -> Major {
    let server = Major::start("pg16").await;
    let mut session = server.connect("postgres").await;
    for (name, value) in settings {
        let sql = match value {
            Some(value) => format!("ALTER SYSTEM SET {name} = '{value}'"),
            None => format!("ALTER SYSTEM RESET {name}"),
        };
        database::run(&mut session, &sql).await;
    }
    drop(session);
    stack::act("restart", "pg16").await;
    Major::start("pg16").await
}

#[tokio::test]
async fn slots_subscriptions_prepared_transactions_and_too_few_locks_are_told() {
    let _alone = stack::alone().await;
    let narrow = [
        ("wal_level", Some("logical")),
        ("max_prepared_transactions", Some("5")),
        ("max_connections", Some("25")),
        ("max_locks_per_transaction", Some("10")),
    ];
    let server = tune(&narrow).await;
    let name = stack::fresh("tied");
    let mut session = server.connect("postgres").await;
    database::run(&mut session, &format!("CREATE DATABASE {name}")).await;
    let mut inside = server.connect(&name).await;
    database::run(&mut inside, "CREATE TABLE t (id int PRIMARY KEY)").await;
    let mut app = App::spawn_alone().await;
    let _worker = app
        .worker_with(&support::WorkerSpec {
            pg_bindirs: vec![server.bindir.clone()],
            ..support::WorkerSpec::named("a")
        })
        .await;
    let target = app.target_with(&TargetSpec { ..server.target(&name) }).await;
    let save = app.saved(&target).await;
    assert_eq!(told(&look(&app, &save, json!({ "into": {} })).await), ["warning sessions_will_be_ended"]);

    for sql in [
        "SELECT pg_create_logical_replication_slot('reader_of_it', 'pgoutput')",
        "CREATE SUBSCRIPTION listener CONNECTION 'host=127.0.0.1 port=1 dbname=x' PUBLICATION p WITH (connect = false)",
        "BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'half done'",
    ] {
        database::run(&mut inside, sql).await;
    }
    drop(inside);
    let swap = super::until_told(
        &app,
        &save,
        json!({ "into": {} }),
        &["error replication_slots", "error subscriptions", "error prepared_transactions"],
    )
    .await;
    for (code, what) in
        [("replication_slots", "reader_of_it"), ("subscriptions", "listener"), ("prepared_transactions", "half done")]
    {
        assert!(message(&swap, code).contains(what), "{swap:#}");
    }
    let direct = look(&app, &save, json!({ "into": {}, "method": "direct" })).await;
    assert!(told(&direct).iter().all(|told| told.starts_with("warning")), "{direct:#}");
    assert!(told(&direct).contains(&"warning prepared_transactions".to_owned()), "{direct:#}");
    let mut inside = server.connect(&name).await;
    for sql in [
        "ROLLBACK PREPARED 'half done'",
        "SELECT pg_drop_replication_slot('reader_of_it')",
        "ALTER SUBSCRIPTION listener SET (slot_name = NONE)",
        "DROP SUBSCRIPTION listener",
    ] {
        database::run(&mut inside, sql).await;
    }

    // 10 locks × 30 transactions: half of it with 60 tables, more than all with 160, a key each.
    for (tables, expected) in [(60, "warning lock_budget"), (160, "error lock_budget")] {
        let sql = format!(
            "CREATE PROCEDURE make() LANGUAGE plpgsql AS $$ BEGIN FOR n IN 1..{tables} LOOP
               EXECUTE format('CREATE TABLE IF NOT EXISTS many_%s (id int PRIMARY KEY)', n); COMMIT; END LOOP; END $$"
        );
        for sql in [sql.as_str(), "CALL make()", "DROP PROCEDURE make"] {
            database::run(&mut inside, sql).await;
        }
        let save = app.saved(&target).await;
        let report: Value = look(&app, &save, json!({ "into": { "database": stack::fresh("new") } })).await;
        assert_eq!(told(&report), [expected], "{report:#}");
        assert!(message(&report, "lock_budget").contains("300"), "{report:#}");
    }
    app.holds().await;
    drop((app, inside, session));
    let server = tune(&narrow.map(|(name, _)| (name, None))).await;
    database::run(&mut server.connect("postgres").await, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
}

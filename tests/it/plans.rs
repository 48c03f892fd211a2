//! That what runs every second, or is looked at all day, never reads the whole history: PostgreSQL's plans for the
//! statements, and the rows that they read, behind tens of thousands of jobs, saves and audit entries.

use serde_json::Value;
use shared::db::{audit_log, jobs, saves};
use support::App;

const CLAIM: &str = include_str!("../../shared/src/db/sql/claim.sql");

/// The statement with these parameters in it, as it is planned.
fn with(statement: &str, parameters: &[&str]) -> String {
    let mut sql = statement.to_owned();
    for (n, value) in parameters.iter().enumerate().rev() {
        sql = sql.replace(&format!("${}", n + 1), value);
    }
    sql
}

/// How many rows of a table a statement reads, those that it then leaves out too.
async fn rows_read(app: &App, table: &str, statement: &str, parameters: &[&str]) -> (u64, Value) {
    let sql = format!("EXPLAIN (ANALYZE, FORMAT JSON) {}", with(statement, parameters));
    let plan: Value = app.value(&sql).await;
    (read(&plan[0]["Plan"], table), plan)
}

fn read(node: &Value, table: &str) -> u64 {
    let number = |name: &str| node[name].as_f64().unwrap_or_default();
    let own = if node["Relation Name"] == table {
        (number("Actual Rows") + number("Rows Removed by Filter") + number("Rows Removed by Index Recheck"))
            * number("Actual Loops")
    } else {
        0.0
    };
    let below = node["Plans"].as_array().map_or(0, |plans| plans.iter().map(|plan| read(plan, table)).sum());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of rows")]
    {
        own as u64 + below
    }
}

#[tokio::test]
async fn neither_a_claim_nor_a_filtered_list_reads_every_job() {
    let app = App::spawn().await;
    app.execute(
        "ALTER TABLE jobs DISABLE TRIGGER USER;
         INSERT INTO jobs (id, kind, state, payload, finished_at)
         SELECT gen_random_uuid(), 'backup', CASE WHEN n % 1000 = 0 THEN 'failed' ELSE 'succeeded' END, '{}', now()
         FROM generate_series(1, 20000) n;
         INSERT INTO jobs (id, kind, payload, exclusive_key, after_job_id)
         SELECT gen_random_uuid(), 'backup', '{}', 'target:' || n % 50, CASE WHEN n % 4 = 0 THEN (SELECT id FROM jobs LIMIT 1) END
         FROM generate_series(1, 2000) n;
         ANALYZE",
    )
    .await;
    let claim = with(CLAIM, &["'a'", "'{default}'::text[]", "30"]);
    let plan = app.values::<String>(&format!("EXPLAIN {claim}")).await.join("\n");
    assert!(!plan.contains("Seq Scan on jobs"), "{plan}");

    let (none, somebody) = ("NULL", "'00000000-0000-7000-8000-000000000000'");
    for (filter, oldest) in [
        ([none, none, none, none, none, none], "false"),
        ([none, none, none, none, none, none], "true"),
        ([none, none, none, none, "'failed'", none], "false"),
        ([none, none, none, "'restore'", none, none], "false"),
        ([none, none, none, "'backup'", "'failed'", none], "true"),
        ([none, somebody, none, none, none, none], "false"),
        ([none, somebody, none, none, "'succeeded'", none], "false"),
        ([none, none, somebody, none, none, none], "false"),
        ([none, none, none, none, none, somebody], "false"),
        (
            [
                "'{00000000-0000-7000-8000-000000000000,00000000-0000-7000-8000-000000000001}'",
                none,
                none,
                none,
                none,
                none,
            ],
            "false",
        ),
    ] {
        let bound = if filter[5] == none { none } else { "10001" };
        let parameters: Vec<&str> = filter.into_iter().chain(["25", "25", oldest, bound]).collect();
        let (rows, plan) = rows_read(&app, "jobs", jobs::PAGE, &parameters).await;
        assert!(rows <= 50, "{filter:?} reads {rows} rows: {plan:#}");
    }
}

#[tokio::test]
async fn a_page_of_saves_reads_little_more_than_it_shows() {
    let app = App::spawn().await;
    app.execute(
        "INSERT INTO servers (id, name, engine, host, port, tls_mode) VALUES (gen_random_uuid(), 's', 'postgres', 'h', 1, 'disable');
         INSERT INTO credentials (id, name, user_name, sealed_version, key_id, encapped, ciphertext)
         VALUES (gen_random_uuid(), 'c', 'u', 1, 'k', '', '');
         INSERT INTO services (id, name) SELECT gen_random_uuid(), 's-' || n FROM generate_series(1, 20) n;
         INSERT INTO targets (id, service_id, server_id, name, database, backup_credential_id, stores)
         SELECT gen_random_uuid(), s.id, (SELECT id FROM servers), 't-' || n, 'd', (SELECT id FROM credentials), '{disk}'
         FROM services s, generate_series(1, 3) n;
         INSERT INTO saves (id, target_id, service_id, version, state, scope, origin, mode, required_copies, manifest, available_at,
             valid, suspicious, pinned, stored_bytes)
         SELECT gen_random_uuid(), t.id, t.service_id, n, CASE WHEN n % 500 = 0 THEN 'failed' ELSE 'available' END, 'full',
             CASE WHEN n % 100 = 0 THEN 'manual' ELSE 'schedule' END, 'all', 1, '{}', now(), n % 250 <> 0, n % 333 = 0, n % 400 = 0, n
         FROM targets t, generate_series(1, 1000) n;
         ANALYZE",
    )
    .await;
    let service = format!("'{}'", app.value::<String>("SELECT id::text FROM services WHERE name = 's-7'").await);
    let target = format!("'{}'", app.value::<String>("SELECT t.id::text FROM targets t JOIN services s ON s.id = t.service_id WHERE s.name = 's-7' AND t.name = 't-2'").await);
    let services: String =
        app.value("SELECT quote_literal(array_agg(id)::text) FROM services WHERE name IN ('s-3', 's-4', 's-5')").await;
    let none = "NULL";
    let (service, target, services) = (service.as_str(), target.as_str(), services.as_str());
    // Services, service, target, state, valid, suspicious, pinned, origin; and how many rows may be read.
    for (filter, most) in [
        ([none, none, none, none, none, none, none, none], 50),
        ([none, service, none, none, none, none, none, none], 50),
        ([none, none, target, none, none, none, none, none], 50),
        ([none, none, none, "'available'", none, none, none, none], 50),
        ([none, none, none, "'failed'", none, none, none, none], 50),
        ([none, none, none, "'deleting'", none, none, none, none], 50),
        // By either index: one leaves out the few that failed.
        ([none, service, none, "'available'", none, none, none, none], 60),
        ([none, service, none, "'failed'", none, none, none, none], 50),
        ([none, service, target, "'failed'", none, none, none, none], 50),
        ([none, none, none, none, "true", none, none, none], 60),
        ([none, none, none, none, "false", none, none, none], 60),
        ([none, service, none, "'available'", "true", none, none, none], 60),
        // What is rare is read and the rest left out, or a service is: the fewer of them.
        ([none, service, none, none, "false", none, none, none], 250),
        ([none, none, none, none, none, "true", none, none], 60),
        ([none, service, none, none, none, "true", none, none], 250),
        ([services, none, none, none, none, none, none, none], 150),
        ([services, none, none, "'available'", none, none, none, none], 180),
        ([none, none, none, none, none, none, "true", none], 200),
        ([none, none, none, none, none, none, none, "'manual'"], 650),
        ([none, none, none, none, none, none, none, "'import'"], 50),
    ] {
        for oldest in ["false", "true"] {
            let is_counted = filter[6] == none && filter[7] == none;
            let bound = if is_counted { none } else { "10001" };
            let parameters: Vec<&str> = filter.into_iter().chain(["25", "25", oldest, bound]).collect();
            let (rows, plan) = rows_read(&app, "saves", saves::PAGE, &parameters).await;
            assert!(rows <= most, "{filter:?} reads {rows} rows: {plan:#}");
        }
    }
    let by = include_str!("../../shared/src/db/sql/saves_report_by_service.sql");
    let (rows, plan) = rows_read(&app, "saves", by, &[none, "100", "0"]).await;
    assert!(rows <= 20, "the report reads {rows} saves: {plan:#}");
    let by = include_str!("../../shared/src/db/sql/saves_report_by_target.sql");
    let (rows, plan) = rows_read(&app, "saves", by, &[none, "100", "0"]).await;
    assert!(rows <= 60, "the report reads {rows} saves: {plan:#}");

    // Pages near the end are read from there, and are the same.
    for (query, sql) in [
        ("limit=100&page=600", "ORDER BY id DESC OFFSET 59900"),
        ("limit=100&page=595&sort=created_at", "ORDER BY id OFFSET 59400 LIMIT 100"),
        ("limit=70&page=858", "ORDER BY id DESC OFFSET 59990"),
        ("limit=100&page=200", "ORDER BY id DESC OFFSET 19900 LIMIT 100"),
        ("limit=100&page=601", "LIMIT 0"),
    ] {
        let answer = app.client.get(&format!("/v1/saves?{query}")).await;
        assert_eq!(answer.header("x-total-count"), Some("60000"), "{query}: {}", answer.text);
        let shown: Vec<&str> =
            answer.body.as_array().unwrap().iter().map(|save| save["id"].as_str().unwrap()).collect();
        assert_eq!(shown, app.values::<String>(&format!("SELECT id::text FROM saves {sql}")).await, "{query}");
    }
}

#[tokio::test]
async fn what_is_rare_in_the_audit_log_is_found_without_reading_it() {
    let app = App::spawn().await;
    app.execute(
        "INSERT INTO audit (at, admin_id, action, resource_type, resource_id, outcome)
         SELECT now() - make_interval(secs => 40000 - n), CASE WHEN n % 2000 = 0 THEN '00000000-0000-7000-8000-000000000000'::uuid END,
             CASE WHEN n % 1000 = 0 THEN 'save.delete' ELSE 'auth.login' END, 'session', n::text,
             CASE WHEN n % 500 = 0 THEN 'denied' ELSE 'allowed' END
         FROM generate_series(1, 40000) n; ANALYZE",
    )
    .await;
    let none = "NULL";
    // A constant, as a bound parameter is: PostgreSQL does not look into `now()` while it plans.
    let ago = |seconds: u32| format!("SELECT quote_literal(now() - interval '{seconds} s') || '::timestamptz'");
    let (early, late) = (app.value::<String>(&ago(39900)).await, app.value::<String>(&ago(100)).await);
    let filters: [([&str; 9], u64); 7] = [
        ([none, none, "'00000000-0000-7000-8000-000000000000'", none, none, none, none, none, none], 100),
        ([none, none, none, "'save.delete'", none, none, none, none, none], 200),
        ([none, none, none, none, none, "'77'", none, none, none], 10),
        ([none, none, none, none, none, none, "'denied'", none, none], 400),
        (["'{00000000-0000-7000-8000-000000000001}'", none, none, none, none, none, none, none, none], 10),
        // The oldest hundred seconds; ids within 1,000 of them are looked at.
        ([none, none, none, none, none, none, none, none, &early], 2500),
        ([none, none, none, none, none, none, none, &late, none], 2500),
    ];
    for (filter, most) in filters {
        let parameters: Vec<&str> = filter.into_iter().chain([none, none, "25", "0", "false", "10001"]).collect();
        let (rows, plan) = rows_read(&app, "audit", audit_log::PAGE, &parameters).await;
        assert!(rows <= most, "{filter:?} reads {rows} rows: {plan:#}");
    }
}

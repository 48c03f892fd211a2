//! Of a PostgreSQL database, where all goes well.

use serde_json::json;
use support::database;

use super::Scene;

#[tokio::test]
async fn a_wipe_empties_all_but_what_is_kept_and_its_safety_save_puts_all_back() {
    let scene = Scene::set().await;
    let _worker = scene.app.worker("one").await;
    let job = scene.wipe(json!({})).await;
    let done = scene.app.client.job_is(&job, "succeeded").await;
    let result = &done["result"];
    assert!(scene.is_empty().await, "{:#?}", scene.shop.digest().await);
    assert_eq!(scene.text("SELECT string_agg(version, ',' ORDER BY version) FROM schema_migrations").await, "1,2");
    assert_eq!(result["rows"], 1000 + 3000 + 1 + 40, "{result:#}");
    assert_eq!((&result["atomic"], &result["warnings"]), (&json!(true), &json!([])), "{result:#}");
    let lots = result["tables"].as_array().unwrap().iter().find(|table| table["table"] == "lots").unwrap();
    assert_eq!(lots["rows"], 1000, "{result:#}");
    assert_eq!(
        result["kept"],
        json!([{ "schema": "public", "table": "schema_migrations", "rows": result["kept"][0]["rows"],
                                        "bytes": result["kept"][0]["bytes"], "why": "keep" }])
    );
    // Numbers begin at one again, wherever they come from.
    for sql in [
        "INSERT INTO lots (title) VALUES ('new') RETURNING id::text",
        "INSERT INTO bids (lot) VALUES (1) RETURNING id::text",
        r#"INSERT INTO "An ""archive""".events (day) VALUES ('2026-05-05') RETURNING id::text"#,
        "SELECT nextval('tickets')::text",
    ] {
        assert_eq!(scene.text(sql).await, "1", "{sql}");
    }
    // The safety save was read again before.
    let safety = done["save_id"].as_str().unwrap();
    assert_eq!(result["undo"]["save_id"], safety, "{result:#}");
    let save = scene.app.client.get(&format!("/v1/saves/{safety}")).await.expect(200);
    assert_eq!((&save["state"], &save["origin"]), (&json!("available"), &json!("safety")), "{save:#}");
    assert!(save["verified_at"].is_string() && save["expires_at"].is_string(), "{save:#}");
    let events: Vec<String> = scene.app.values("SELECT type FROM outbox WHERE type NOT LIKE 'job.%' ORDER BY id").await;
    assert_eq!(events, ["save.completed", "save.verified", "target.wiped"]);
    let audited: i64 =
        scene.app.value("SELECT count(*) FROM audit WHERE action = 'target.wipe' AND outcome = 'allowed'").await;
    assert_eq!(audited, 1);

    let body = json!({ "into": {}, "confirm": scene.shop.database.name, "safety": false });
    let back = scene.app.client.post(&format!("/v1/saves/{safety}/restore"), body).await.id();
    scene.app.client.job_is(&back, "succeeded").await;
    scene.untouched().await;
    assert_eq!(scene.text("SELECT count(*)::text FROM pg_largeobject_metadata").await, "20");
    scene.app.holds().await;
}

/// What belongs to an extension, and a table whose rows are elsewhere: here, in another schema of the same server.
const STRANGERS: &str = "
    CREATE TABLE of_an_extension (id int); INSERT INTO of_an_extension VALUES (1); ALTER EXTENSION plpgsql ADD TABLE of_an_extension;
    CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
    CREATE FOREIGN TABLE lines (line text) SERVER files OPTIONS (filename '/etc/hostname');
    CREATE TABLE currencies (code text); INSERT INTO currencies VALUES ('EUR'); ";

#[tokio::test]
async fn what_belongs_to_extensions_or_others_stays_and_so_does_what_the_request_names() {
    let scene = Scene::set_with(STRANGERS, json!({ "wipe_keep": ["schema_*", "An*archive*.events_2026"] })).await;
    let _worker = scene.app.worker("one").await;
    let job = scene.wipe(json!({ "keep": ["public.currenc?es"], "safety_save": false })).await;
    let done = scene.app.client.job_is(&job, "succeeded").await;
    let result = &done["result"];
    let now = scene.shop.digest().await;
    for table in
        ["public.of_an_extension", "public.currencies", "public.schema_migrations", r#""An ""archive""".events_2026"#]
    {
        assert_eq!(now.rows[table], scene.before.rows[table], "{table}: {result:#}");
    }
    for table in ["public.lots", "public.bids", r#""An ""archive""".events_2025"#] {
        assert!(now.rows[table].starts_with("0 "), "{table}: {result:#}");
    }
    // The numbers of the partition that stays go on.
    let sequence = r#""An ""archive""".events_id_seq"#;
    assert_eq!(now.sequences[sequence], scene.before.sequences[sequence]);
    let why: Vec<(&str, &str)> = result["kept"]
        .as_array()
        .unwrap()
        .iter()
        .map(|table| (table["table"].as_str().unwrap(), table["why"].as_str().unwrap()))
        .collect();
    assert_eq!(
        why,
        [
            ("events", "partition"),
            ("events_2026", "keep"),
            ("currencies", "keep"),
            ("lines", "foreign"),
            ("of_an_extension", "extension"),
            ("schema_migrations", "keep"),
        ]
    );
    assert_eq!(result["undo"], json!(null));
    assert!(done["save_id"].is_null(), "{done:#}");
    scene.app.holds().await;
}

#[tokio::test]
async fn a_dry_run_lists_it_all_and_touches_nothing() {
    let scene = Scene::set_with(STRANGERS, json!({})).await;
    let _worker = scene.app.worker("one").await;
    // Not even a lock that somebody holds is in its way.
    let hold = scene.shop.database.hold("lots").await;
    let job = scene.wipe(json!({ "dry_run": true, "confirm": null, "keep": ["currencies"] })).await;
    let done = scene.app.client.job_is(&job, "succeeded").await;
    hold.release().await;
    let result = &done["result"];
    assert_eq!((&result["would_fail"], &result["problems"]), (&json!(false), &json!([])), "{result:#}");
    let tables: Vec<&str> =
        result["tables"].as_array().unwrap().iter().map(|table| table["table"].as_str().unwrap()).collect();
    assert_eq!(tables.len(), 5, "{result:#}");
    assert!(tables.contains(&"lots") && tables.contains(&"it's \"odd\"\n; DROP TABLE lots; --"), "{tables:?}");
    assert_eq!(result["kept_count"], 4, "{result:#}");
    assert_eq!(
        (&result["large_objects"], &result["materialized_views"]),
        (&json!(20), &json!([r#""public"."counted""#, r#""public"."a_second""#]))
    );
    scene.untouched().await;
    let (saves, events): (i64, i64) = (
        scene.app.value("SELECT count(*) FROM saves").await,
        scene.app.value("SELECT count(*) FROM outbox WHERE type = 'target.wiped'").await,
    );
    assert_eq!((saves, events), (0, 0));
    scene.app.holds().await;
}

#[tokio::test]
async fn large_objects_that_no_transaction_has_locks_for_go_after_it() {
    // As many as half of what max_locks_per_transaction × max_connections allow, and some.
    let scene = Scene::set().await;
    let most: i64 = scene
        .text("SELECT (current_setting('max_locks_per_transaction')::int * current_setting('max_connections')::int / 2)::text")
        .await
        .parse()
        .unwrap();
    let mut session = scene.shop.database.session().await;
    database::run(&mut session, &format!("SET ROLE {}", scene.shop.role)).await;
    // Each batch its own transaction: together they are too many here, too.
    let sql = format!(
        "DO $$ BEGIN FOR n IN 1..{most} LOOP PERFORM lo_create(0); IF n % 500 = 0 THEN COMMIT; END IF; END LOOP; END $$"
    );
    database::run(&mut session, &sql).await;
    let _worker = scene.app.worker("one").await;
    let job = scene.wipe(json!({ "safety_save": false })).await;
    let done = scene.app.client.job_is(&job, "succeeded").await;
    let objects = &done["result"]["large_objects"];
    assert_eq!(objects, &json!({ "count": most + 20, "apart": true, "left": 0 }), "{done:#}");
    assert!(scene.is_empty().await);
    scene.app.holds().await;
}

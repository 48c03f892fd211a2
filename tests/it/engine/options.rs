//! What was asked for is what is in the save: modes, tables, exclusions, globals, read by the real `pg_restore`.

use std::path::Path;

use serde_json::{Value, json};
use support::{App, Database, TargetSpec, database::tool, stack};

use super::probe::Role;

/// The stored object of a save in store `disk`, decompressed by zstd itself.
pub(crate) async fn stored(app: &App, save: &str, part: &str) -> Vec<u8> {
    let save = app.client.get(&format!("/v1/saves/{save}")).await.expect(200);
    let objects = save["manifest"]["objects"].as_array().unwrap();
    let object = objects.iter().find(|object| object["part"] == part).unwrap_or_else(|| panic!("no {part}: {save:#}"));
    let file = app.store().join(object["key"].as_str().unwrap());
    let out = app.dir.path().join("unpacked");
    stack::run(Path::new("/usr/bin/zstd"), &["-dqf", file.to_str().unwrap(), "-o", out.to_str().unwrap()], &[]);
    std::fs::read(out).unwrap()
}

/// What `pg_restore -l` says of a save.
pub(super) async fn listing(app: &App, save: &str) -> String {
    let archive = app.dir.path().join("archive");
    std::fs::write(&archive, stored(app, save, "dump.0001").await).unwrap();
    stack::run(&tool("pg_restore"), &["-l", archive.to_str().unwrap()], &[])
}

async fn backed_up(app: &App, target: &str, body: Value) -> (String, String) {
    let job = app.client.post(&format!("/v1/targets/{target}/backups"), body).await.id();
    let job = app.client.job_is(&job, "succeeded").await;
    let save = job["save_id"].as_str().unwrap().to_owned();
    let listing = listing(app, &save).await;
    (save, listing)
}

#[tokio::test]
async fn modes_and_tables_give_what_they_say() {
    let mut app = App::spawn().await;
    let source = Database::create(
        "CREATE SCHEMA \"S\"; CREATE TABLE \"S\".\"T\" (id int PRIMARY KEY); INSERT INTO \"S\".\"T\" VALUES (1);
         CREATE TABLE one (id int); CREATE TABLE two (id int); CREATE TABLE \"t*\" (id int); CREATE VIEW seen AS SELECT 1 AS x",
    )
    .await;
    let _worker = app.worker("one").await;
    let target = app.target(&source).await;
    let has = |listing: &str, kind: &str, name: &str| {
        listing.lines().any(|line| line.contains(&format!(" {kind} ")) && line.contains(&format!(" {name} ")))
    };

    let (_, all) = backed_up(&app, &target, json!({ "mode": "all" })).await;
    for table in ["T", "one", "two", "t*"] {
        assert!(has(&all, "TABLE", table) && has(&all, "TABLE DATA", table), "{table}: {all}");
    }
    assert!(has(&all, "VIEW", "seen") && has(&all, "CONSTRAINT", "T"), "{all}");
    assert!(
        all.contains("Compression: 0") || all.contains("Compression: none"),
        "the archive is compressed itself: {all}"
    );

    let (_, schema) = backed_up(&app, &target, json!({ "mode": "schema" })).await;
    assert!(has(&schema, "TABLE", "one") && !schema.contains("TABLE DATA"), "{schema}");
    let (data_save, data) = backed_up(&app, &target, json!({ "mode": "data" })).await;
    assert!(has(&data, "TABLE DATA", "one") && !data.contains(" TABLE public") && !data.contains("VIEW"), "{data}");

    let one = json!({ "schema": "S", "table": "T" });
    let (_, only) = backed_up(&app, &target, json!({ "tables": [one] })).await;
    assert!(has(&only, "TABLE DATA", "T") && !has(&only, "TABLE DATA", "one"), "{only}");
    let star = json!({ "schema": "public", "table": "t*" });
    let (partial, without) = backed_up(&app, &target, json!({ "exclude_tables": [star] })).await;
    assert!(has(&without, "TABLE DATA", "two") && !has(&without, "TABLE DATA", "t*"), "{without}");
    let partial = app.client.get(&format!("/v1/saves/{partial}")).await.expect(200);
    assert_eq!(partial["scope"], "partial");

    let body = json!({ "into": { "database": stack::fresh("new") } });
    let answer = app.client.post(&format!("/v1/saves/{data_save}/restore"), body).await;
    if answer.status.is_success() {
        super::fails(&app, &answer.id(), "save_without_schema", false).await;
    }
    let missing = json!({ "tables": [{ "schema": "public", "table": "ONE" }] });
    let job = app.client.post(&format!("/v1/targets/{target}/backups"), missing).await.id();
    super::fails(&app, &job, "table_missing", false).await;
    app.holds().await;
}

#[tokio::test]
async fn globals_hold_roles_without_passwords() {
    let mut app = App::spawn().await;
    let source = Database::small().await;
    let _worker = app.worker("one").await;
    let target = app.target(&source).await;
    let save = app.saved(&target).await;
    let globals = String::from_utf8(stored(&app, &save, "globals.sql.zst").await).unwrap();
    assert!(
        globals.contains("CREATE ROLE backup_role") && globals.contains("GRANT pg_read_all_data TO restore_role"),
        "{globals}"
    );
    assert!(!globals.contains("PASSWORD") && !globals.contains("SCRAM-SHA-256"), "{globals}");
    app.holds().await;
}

#[tokio::test]
async fn globals_that_are_refused_half_way_are_a_warning() {
    let mut app = App::spawn().await;
    let role = Role::create("globals-password-5").await;
    let sql = format!("CREATE TABLE t AS SELECT 1 AS x; GRANT SELECT ON t TO {}", role.name);
    let source = Database::create(&sql).await;
    // What may be read is a matter of each database: this maintenance database refuses what pg_dumpall reads late.
    let maintenance = Database::create(
        "REVOKE SELECT ON pg_catalog.pg_parameter_acl FROM PUBLIC; REVOKE SELECT ON pg_catalog.pg_shdescription FROM PUBLIC",
    )
    .await;
    let _worker = app.worker("one").await;
    let target = app
        .target_with(&TargetSpec {
            server: json!({ "maintenance_database": maintenance.name }),
            backup: (role.name.clone(), "globals-password-5".to_owned()),
            ..TargetSpec::of(&source.name)
        })
        .await;
    let job = app.backup(&target).await;
    let job = app.client.job_is(&job, "succeeded").await;
    let warnings = job["result"]["warnings"].to_string();
    assert!(warnings.contains("globals were not saved") && warnings.contains("permission denied"), "{warnings}");
    let save = app.client.get(&format!("/v1/saves/{}", job["save_id"].as_str().unwrap())).await.expect(200);
    let objects = save["manifest"]["objects"].as_array().unwrap();
    assert!(objects.iter().all(|object| object["part"] != "globals.sql.zst"), "{save:#}");
    app.holds().await;
    role.remove(source).await;
}

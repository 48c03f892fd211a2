//! A role that may not read everything: the probe names what, before a night's backup fails on it.

use serde_json::json;
use support::{App, Database, TargetSpec, database, stack};

use super::{fails, no_save, one_attempt};

/// A role that may log in and nothing else.
pub(super) struct Role {
    pub(super) name: String,
}

impl Role {
    pub(super) async fn create(password: &str) -> Self {
        let name = stack::fresh("role");
        let sql = format!("CREATE ROLE {name} LOGIN PASSWORD '{password}'");
        database::run(&mut database::connect("postgres").await, &sql).await;
        Self { name }
    }

    pub(super) async fn remove(self, source: Database) {
        let sql = format!("DROP OWNED BY {}", self.name);
        database::run(&mut source.session().await, &sql).await;
        drop(source);
        database::run(&mut database::connect("postgres").await, &format!("DROP ROLE {}", self.name)).await;
    }
}

#[tokio::test]
async fn what_a_role_cannot_read_is_named() {
    let mut app = App::spawn().await;
    let role = Role::create("probe-password-17").await;
    let name = &role.name;
    let source = Database::create(&format!(
        "CREATE TABLE open_table (id int); GRANT SELECT ON open_table TO {name};
         CREATE TABLE closed_table (id int); CREATE SEQUENCE closed_sequence;
         CREATE SCHEMA closed_schema; CREATE TABLE closed_schema.inner_table (id int); GRANT SELECT ON closed_schema.inner_table TO {name};
         CREATE TABLE guarded (id int); GRANT SELECT ON guarded TO {name}; ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
         SELECT lo_from_bytea(4711, 'x'); SELECT lo_from_bytea(4712, 'x'); GRANT SELECT ON LARGE OBJECT 4712 TO {name}"
    ))
    .await;
    let _worker = app.worker("one").await;
    one_attempt(&app).await;
    let spec = TargetSpec { backup: (name.clone(), "probe-password-17".to_owned()), ..TargetSpec::of(&source.name) };
    let target = app.target_with(&spec).await;
    let job = app.client.post(&format!("/v1/targets/{target}/probe"), json!({})).await.id();
    let job = app.client.job_is(&job, "succeeded").await;
    let probe = &job["result"]["probe"];
    let mut found: Vec<String> = probe["unreadable"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            format!(
                "{} {} {}",
                item["kind"].as_str().unwrap(),
                item["schema"].as_str().unwrap_or("-"),
                item["name"].as_str().unwrap()
            )
        })
        .collect();
    found.sort();
    assert_eq!(
        found,
        [
            "large_object - 4711",
            "row_security public guarded",
            "sequence public closed_sequence",
            "table closed_schema inner_table",
            "table public closed_table",
        ]
    );
    assert_eq!(probe["is_superuser"], false);
    assert!(probe["server_version"].as_str().unwrap().starts_with("15."), "{probe:#}");
    // And the dump fails on it, as the probe said.
    let job = app.backup(&target).await;
    let error = fails(&app, &job, "permission_denied", false).await;
    assert!(error["message"].as_str().unwrap().contains("permission denied"), "{error:#}");
    assert!(error["hint"].as_str().unwrap().contains("pg_read_all_data"), "{error:#}");
    no_save(&app, &job).await;
    role.remove(source).await;
}

#[tokio::test]
async fn a_role_that_reads_everything_has_nothing_to_be_told() {
    let mut app = App::spawn().await;
    let source = Database::small().await;
    let _worker = app.worker("one").await;
    let target = app.target(&source).await;
    let job = app.client.post(&format!("/v1/targets/{target}/probe"), json!({})).await.id();
    let job = app.client.job_is(&job, "succeeded").await;
    assert_eq!(job["result"]["probe"]["unreadable"], json!([]), "{job:#}");
    assert!(job["result"]["client"]["version"].as_str().unwrap().starts_with("15."), "{job:#}");
    app.holds().await;
}

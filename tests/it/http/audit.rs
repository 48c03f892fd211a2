//! The audit log: what it says of changes, who may read it, that nobody can change it; and the configuration as it is.

use serde_json::{Value, json};
use sqlx::Connection;
use support::{App, invariants::forms};

use super::cast::{self, Paper};

#[tokio::test]
async fn the_application_role_can_add_to_the_log_and_never_change_it() {
    let app = App::spawn().await;
    let mut session = sqlx::PgConnection::connect(&app.database_url()).await.unwrap();
    let before: i64 = app.value("SELECT count(*) FROM audit").await;
    assert!(before > 0, "nothing to change");
    for table in ["audit", "job_events"] {
        for statement in [
            format!("UPDATE {table} SET at = now()"),
            format!("DELETE FROM {table}"),
            format!("TRUNCATE {table}"),
            format!("TRUNCATE {table} CASCADE"),
            format!("DROP TABLE {table}"),
            format!("ALTER TABLE {table} DISABLE TRIGGER ALL"),
            format!("ALTER TABLE {table} OWNER TO CURRENT_USER"),
            format!("GRANT ALL ON {table} TO CURRENT_USER"),
        ] {
            let refused = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.clone())).execute(&mut session).await;
            let code = refused
                .err()
                .and_then(sqlx::Error::into_database_error)
                .and_then(|error| error.code().map(String::from));
            // Insufficient privilege. Of a grant that gives nothing PostgreSQL only warns, which sqlx counts as done.
            assert!(code.as_deref() == Some("42501") || statement.starts_with("GRANT"), "{statement}: {code:?}");
        }
    }
    let still = sqlx::raw_sql("UPDATE audit SET at = now()").execute(&mut session).await;
    assert!(still.is_err(), "the grant took effect");
    sqlx::raw_sql("INSERT INTO audit (action, outcome) VALUES ('test', 'allowed')")
        .execute(&mut session)
        .await
        .unwrap();
    assert_eq!(app.value::<i64>("SELECT count(*) FROM audit").await, before + 1);
}

#[tokio::test]
async fn changes_are_told_with_before_and_after_and_without_secrets() {
    let app = App::spawn().await;
    let (client, paper) = (&app.client, Paper::create(&app.client).await);
    let tag = "a password that is nowhere";
    client
        .patch(&format!("/v1/targets/{}", paper.target), json!({ "deadline_s": 60, "stores": ["disk"] }))
        .await
        .expect(200);
    client.patch(&format!("/v1/services/{}", paper.service), json!({ "description": "new" })).await.expect(200);
    client.patch(&format!("/v1/servers/{}", paper.server), json!({ "max_jobs": 5 })).await.expect(200);
    client.patch(&format!("/v1/credentials/{}", paper.credential), json!({ "password": tag })).await.expect(200);
    let detail = async |action: &str| {
        let log = client.get(&format!("/v1/audit?action={action}&limit=1")).await.expect(200);
        log[0]["detail"].clone()
    };
    assert_eq!(
        detail("target.update").await,
        json!({ "before": { "deadline_s": null, "stores": ["disk", "grid"] }, "after": { "deadline_s": 60, "stores": ["disk"] } })
    );
    assert_eq!(
        detail("service.update").await,
        json!({ "before": { "description": "" }, "after": { "description": "new" } })
    );
    assert_eq!(detail("server.update").await, json!({ "before": { "max_jobs": 2 }, "after": { "max_jobs": 5 } }));
    assert_eq!(detail("credential.update").await["password_changed"], true);
    client.delete(&format!("/v1/targets/{}", paper.target)).await.expect(204);
    assert_eq!(detail("target.delete").await["before"]["database"], "d");
    client.delete(&format!("/v1/credentials/{}", paper.credential)).await.expect(204);
    assert_eq!(detail("credential.delete").await["before"]["user_name"], "backup");

    // A refused login is one of nobody, under the name that was given.
    client.post("/v1/auth/login", json!({ "name": "root", "password": "wrong" })).await.expect(401);
    let failed = client.get("/v1/audit?action=auth.login&outcome=denied").await.expect(200);
    assert_eq!((&failed[0]["admin_id"], &failed[0]["admin_name"]), (&Value::Null, &json!("root")));
    assert!(failed[0]["address"].is_string() && failed[0]["request_id"].is_string(), "{failed:#}");
    let all = client.get("/v1/audit?limit=100").await.text;
    for (form, text) in forms(tag) {
        assert!(!all.contains(&text), "the password stands {form} in the log");
    }
}

#[tokio::test]
async fn the_log_is_filtered_paged_and_limited_to_what_an_admin_answers_for() {
    let app = App::spawn().await;
    let (own, other) = (Paper::create(&app.client).await, Paper::create(&app.client).await);
    let operator = cast::admin(&app, "operator", &[("operator", Some(&own.service))]).await;
    operator.post(&format!("/v1/targets/{}/probe", own.target), Value::Null).await.expect(202);
    operator.delete(&format!("/v1/targets/{}", own.target)).await.expect(403);
    app.client.post(&format!("/v1/targets/{}/probe", other.target), Value::Null).await.expect(202);
    let root = app.client.get("/v1/auth/me").await.expect(200)["id"].as_str().unwrap().to_owned();
    let actions = async |query: &str| -> Vec<String> {
        let log = app.client.get(&format!("/v1/audit?{query}")).await.expect(200);
        log.as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(actions("outcome=denied").await, ["target.delete"]);
    assert_eq!(
        actions(&format!("service={}&outcome=allowed&sort=created_at", own.service)).await,
        ["service.create", "target.create", "target.probe"]
    );
    assert_eq!(actions(&format!("admin={root}&action=target.probe")).await, ["target.probe"]);
    assert_eq!(
        actions(&format!("resource=target&resource_id={}", own.target)).await,
        ["target.delete", "target.probe", "target.create"]
    );
    assert_eq!(actions("resource=nothing").await, Vec::<String>::new());
    // In two halves by the time of an entry, which belongs to the second.
    let whole = app.client.get("/v1/audit?limit=100&sort=created_at").await.expect(200);
    let entries = whole.as_array().unwrap();
    let middle = entries[4]["at"].as_str().unwrap();
    let (before, since) =
        (actions(&format!("limit=100&to={middle}")).await, actions(&format!("limit=100&from={middle}")).await);
    assert_eq!((before.len(), before.len() + since.len()), (4, entries.len()));
    let page = app.client.get("/v1/audit?limit=3&page=2&sort=created_at").await;
    assert_eq!(page.header("x-total-count"), Some(entries.len().to_string().as_str()));
    assert_eq!(page.body[0]["id"], entries[3]["id"]);
    app.client.get("/v1/audit?outcome=perhaps").await.expect(422);
    app.client.get("/v1/audit?from=yesterday").await.expect(422);

    let admin = cast::admin(&app, "admin", &[("admin", Some(&own.service)), ("operator", Some(&other.service))]).await;
    let seen = admin.get("/v1/audit?limit=100").await.expect(200);
    assert!(!seen.as_array().unwrap().is_empty());
    assert!(seen.as_array().unwrap().iter().all(|entry| entry["service_id"] == json!(own.service)), "{seen:#}");
    admin.get(&format!("/v1/audit?service={}", other.service)).await.expect(403);
    operator.get("/v1/audit").await.expect(403);
    operator.get(&format!("/v1/audit?service={}", own.service)).await.expect(403);
    let lines = admin.get("/v1/audit/export").await;
    assert!(!lines.text.contains(&other.service) && lines.text.contains(&own.service), "{}", lines.text);
}

#[tokio::test]
async fn an_export_has_every_entry_as_a_line_and_is_told_itself() {
    let app = App::spawn().await;
    app.execute("INSERT INTO audit (action, outcome, detail) SELECT 'seed', 'allowed', jsonb_build_object('n', n) FROM generate_series(1, 1234) n").await;
    let stored: i64 = app.value("SELECT count(*) FROM audit").await;
    let export = app.client.get("/v1/audit/export").await;
    assert_eq!((export.status.as_u16(), export.header("content-type")), (200, Some("application/x-ndjson")));
    let lines: Vec<Value> = export.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(i64::try_from(lines.len()).unwrap(), stored, "what was there when it was asked for");
    assert!(lines.windows(2).all(|pair| pair[0]["id"].as_i64() < pair[1]["id"].as_i64()), "not in order, or twice");
    let seeds = app.client.get("/v1/audit/export?action=seed&outcome=allowed").await;
    let numbers: Vec<i64> = seeds
        .text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["detail"]["n"].as_i64().unwrap())
        .collect();
    assert_eq!(numbers, (1..=1234).collect::<Vec<i64>>());
    let told = app.client.get("/v1/audit?action=audit.export").await.expect(200);
    assert_eq!((told.as_array().unwrap().len(), &told[0]["detail"]["filter"]["action"]), (2, &json!("seed")));
    assert_eq!(app.client.get("/v1/audit/export?action=nothing").await.text, "");
}

#[tokio::test]
async fn the_configuration_is_shown_without_its_secrets() {
    let app = App::spawn_with("\n[events]\nurl = \"amqp://somebody:planted@broker:5672/%2f\"\n").await;
    let shown = app.client.get("/v1/config").await;
    let settings = &shown.body;
    assert_eq!(settings["http.mode"]["value"], "prod", "{}", shown.text);
    // Of a secret that is in a file, where the file is; of one that is given, that it is.
    assert_eq!(settings["events.url"]["value"], "(set)", "{}", shown.text);
    assert!(settings["database.url_file"]["value"].as_str().unwrap().ends_with("database.url"), "{}", shown.text);
    assert!(settings["http.listen"]["origin"].as_str().unwrap().contains("api.toml"), "{}", shown.text);
    let secret = |file: &str| std::fs::read_to_string(app.dir.path().join(file)).unwrap();
    let url = reqwest::Url::parse(&app.database_url()).unwrap();
    for secret in [
        secret("token.key"),
        secret("database.url"),
        secret("owner.url"),
        url.password().unwrap().to_owned(),
        "planted".to_owned(),
    ] {
        for (form, text) in forms(secret.trim()) {
            assert!(!shown.text.contains(&text), "a secret stands {form} in {}", shown.text);
        }
    }
}

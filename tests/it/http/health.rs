//! Whether the process lives, and whether it can do its work.

use serde_json::json;
use support::{App, Client, Process, Proxy, until};

#[tokio::test]
async fn a_process_without_its_database_lives_and_is_not_ready() {
    let app = App::spawn().await;
    let (proxy, through) = Proxy::before(&app.database_url()).await;
    let config = app.dir.path().join("api.toml");
    let args = ["--config", config.to_str().unwrap(), "serve"];
    let envs = [("HOLDFAST__DATABASE__URL", through.as_str())];
    // It starts before its database does.
    proxy.cut();
    let mut api = Process::start("holdfast-api", &args, app.dir.path(), "api-behind", &envs);
    let listening = api.says("listening").await;
    let client = Client::new(format!("http://{}", listening["address"].as_str().unwrap()));
    for _ in 0..2 {
        let ready = client.get("/readyz").await;
        assert_eq!((ready.status.as_u16(), &ready.body["status"]), (503, &json!("unavailable")), "{}", ready.text);
        assert_eq!(ready.body["dependencies"]["database"], "unreachable", "{}", ready.text);
        assert_eq!(client.get("/healthz").await.expect(200), json!({ "status": "ok" }));
        proxy.heal();
        until("it is ready", || async { (client.get("/readyz").await.status == 200).then_some(()) }).await;
        let ready = client.get("/readyz").await.expect(200);
        assert_eq!(ready["dependencies"], json!({ "database": "ok", "migrations": "ok" }));
        // Away while it runs.
        proxy.cut();
    }
}

#[tokio::test]
async fn a_database_that_was_not_migrated_is_named_with_the_cure() {
    let app = App::spawn().await;
    for (damage, repair, word) in [
        ("UPDATE _sqlx_migrations SET success = false", "UPDATE _sqlx_migrations SET success = true", "behind"),
        ("ALTER TABLE _sqlx_migrations RENAME TO away", "ALTER TABLE away RENAME TO _sqlx_migrations", "missing"),
    ] {
        app.execute(damage).await;
        let ready = app.client.anonymous().get("/readyz").await.expect(503);
        let said = ready["dependencies"]["migrations"].as_str().unwrap();
        assert!(said.starts_with(word) && said.contains("holdfast-api migrate"), "{ready}");
        assert_eq!(ready["dependencies"]["database"], "ok");
        app.execute(repair).await;
        app.client.get("/readyz").await.expect(200);
    }
}

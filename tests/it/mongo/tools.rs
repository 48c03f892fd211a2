//! Targets that are dumped by `mongodump`.

use serde_json::json;
use support::App;

use super::{Source, decoded, holds_all, spec};

/// Whether the `MongoDB` tools are installed here.
#[expect(clippy::disallowed_methods, reason = "the PATH that a worker started by this test has")]
fn installed() -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join("mongodump").is_file() && dir.join("mongorestore").is_file())
}

#[tokio::test]
async fn mongodump_makes_the_same_save_or_its_absence_is_said() {
    let mut app = App::spawn().await;
    let source = Source::shop().await;
    let _worker = app.worker("one").await;
    let mut spec = spec(&source);
    spec.target = json!({ "mongo_mode": "tools" });
    let target = app.target_with(&spec).await;
    let job = app.backup(&target).await;
    if installed() {
        let save = app.client.job_is(&job, "succeeded").await["save_id"].as_str().unwrap().to_owned();
        holds_all(&app, &save, &source).await;
        app.client.patch(&format!("/v1/targets/{target}"), json!({ "mongo_mode": "native" })).await.expect(200);
        let native = decoded(&app, &app.saved(&target).await).await;
        let by_tool = decoded(&app, &save).await;
        for (name, found) in by_tool["namespaces"].as_object().unwrap() {
            assert_eq!(found["metadata"], native["namespaces"][name]["metadata"], "{name}");
        }
    } else {
        println!("skipped: mongodump and mongorestore are not installed; only their absence is tested");
        let job = app.client.job_until(&job, "ended", |job| job["finished_at"].is_string()).await;
        assert_eq!((&job["state"], &job["error"]["code"]), (&json!("failed"), &json!("client_too_old")), "{job:#}");
        assert_eq!(job["attempt"], 1, "{job:#}");
        assert!(job["error"]["hint"].as_str().unwrap().contains("native"), "{job:#}");
    }
    app.holds().await;
    source.drop().await;
}

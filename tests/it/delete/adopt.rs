//! Two installations and one directory: the first keeps it until the second adopts it.

use std::path::PathBuf;

use serde_json::json;
use support::{App, Database, WorkerSpec, stack};

use super::{delete, on_disk};

/// A worker of `app` whose store `disk` is this directory, and what it is told on its command line.
fn on(root: &std::path::Path, name: &str) -> WorkerSpec {
    WorkerSpec {
        store_root: Some(root.to_owned()),
        more: "\n[gc]\ngrace_s = 0\ninterval_s = 0\n".to_owned(),
        ..WorkerSpec::named(name)
    }
}

fn adopt(app: &App, worker: &str, more: &[&str]) -> Result<String, String> {
    let config: PathBuf = app.dir.path().join(format!("worker-{worker}.toml"));
    let mut args = vec!["--config", config.to_str().unwrap(), "adopt", "--store", "disk"];
    args.extend(more);
    stack::try_run(&stack::program("holdfast-worker"), &args, &[])
}

async fn installation(app: &App) -> String {
    app.value("SELECT id::text FROM installation").await
}

#[tokio::test]
async fn a_store_is_one_installations_until_another_adopts_it() {
    let source = Database::small().await;
    let (mut first, mut second) = (App::spawn().await, App::spawn().await);
    let root = first.store();
    let _a = first.worker_with(&on(&root, "a")).await;
    let _b = second.worker_with(&on(&root, "b")).await;
    let (theirs, ours) = (first.target(&source).await, second.target(&source).await);
    let save = first.saved(&theirs).await;
    let before = on_disk(&first);
    let marker = || std::fs::read_to_string(root.join(".holdfast-store.json")).unwrap();
    let (was, one, two) = (marker(), installation(&first).await, installation(&second).await);
    assert!(was.contains(&one));

    // The second installation writes nothing, and collects nothing.
    let job = second.backup(&ours).await;
    let failed = second.client.job_is(&job, "failed").await;
    assert_eq!(
        (&failed["error"]["code"], &failed["attempt"]),
        (&json!("foreign_installation"), &json!(1)),
        "{failed:#}"
    );
    let job = second.client.post("/v1/gc", json!({ "store": "disk", "dry_run": false })).await.id();
    let failed = second.client.job_is(&job, "failed").await;
    assert_eq!(failed["error"]["code"], "foreign_installation", "{failed:#}");

    // Asked whose it is, it says so and changes nothing.
    let told = adopt(&second, "b", &[]).unwrap_err();
    assert!(told.contains(&one) && told.contains(&two) && told.contains("--yes"), "{told}");
    assert_eq!((marker(), on_disk(&first)), (was, before.clone()));
    assert_eq!(second.value::<i64>("SELECT count(*) FROM audit WHERE action = 'store.adopt'").await, 0);
    let unknown = stack::try_run(
        &stack::program("holdfast-worker"),
        &["--config", second.dir.path().join("worker-b.toml").to_str().unwrap(), "adopt", "--store", "nowhere"],
        &[],
    );
    assert!(unknown.unwrap_err().contains("disk, grid"));

    let told = adopt(&second, "b", &["--yes"]).unwrap();
    assert!(told.contains(&one) && told.contains(&two), "{told}");
    assert!(marker().contains(&two));
    assert_eq!(on_disk(&first), before, "nothing but the marker changes");
    let audited: String = second.value("SELECT detail::text FROM audit WHERE action = 'store.adopt'").await;
    assert!(audited.contains(&one) && audited.contains(&two), "{audited}");
    assert!(adopt(&second, "b", &["--yes"]).unwrap().contains("already"));

    // Now the first one is refused, at once, and its save stays: foreign to the second, which never touches it.
    let kept = second.saved(&ours).await;
    let job = first.backup(&theirs).await;
    assert_eq!(first.client.job_is(&job, "failed").await["error"]["code"], "foreign_installation");
    let job = delete(&first, &save).await.id();
    assert_eq!(first.client.job_is(&job, "failed").await["error"]["code"], "foreign_installation");
    let result = second.client.post("/v1/gc?wait=60s", json!({ "store": "disk", "dry_run": false })).await.expect(202);
    let foreign = &result["result"]["stores"][0]["foreign"];
    assert_eq!((&foreign["count"], &foreign["other_installations"]), (&json!(3), &json!(3)), "{result:#}");
    let job = delete(&second, &kept).await.id();
    second.client.job_is(&job, "succeeded").await;
    assert_eq!(on_disk(&first), before);

    // And back again.
    adopt(&first, "a", &["--yes"]).unwrap();
    let job = delete(&first, &save).await.id();
    first.client.job_is(&job, "succeeded").await;
    assert!(on_disk(&first).is_empty());
    first.holds().await;
}

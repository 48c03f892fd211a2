//! Targets that are dumped by `mongodump` and restored by `mongorestore`.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde_json::json;
use support::{App, WorkerSpec, stack};

use super::{
    Source, decoded, holds_all,
    scene::{Scene, Shop},
    spec,
};

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

/// Where [`stand_ins`] are.
fn bin(app: &App) -> PathBuf {
    app.dir.path().join("mongo-tools")
}

/// A PATH that begins with stand-ins for both tools: a `mongodump` that writes an archive which the real one wrote, and
/// `tests/tools/mongorestore.py`.
pub(crate) fn stand_ins(app: &App) -> String {
    let bin = bin(app);
    std::fs::create_dir(&bin).unwrap();
    let script = |name: &str, text: String| {
        let path = bin.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let archive = stack::root().join("worker/src/engine/mongodb/archive/fixtures/auction.archive");
    let version = "echo 'mongodump version: 100.9.4'";
    script(
        "mongodump",
        format!("#!/bin/sh\n[ \"$1\" = --version ] && exec {version}\nexec cat '{}'\n", archive.display()),
    );
    for file in ["archive.py", "mongorestore.py"] {
        std::fs::copy(stack::root().join("tests/tools").join(file), bin.join(file)).unwrap();
    }
    let python = stack::setting("MONGO_PYTHON");
    let restore = format!(
        "export HOLDFAST_DEV_MONGO_PYTHON='{python}'\nexec python3 '{}' \"$@\"",
        bin.join("mongorestore.py").display()
    );
    script("mongorestore", format!("#!/bin/sh\n{restore}\n"));
    format!("{}:{}", bin.display(), path())
}

#[expect(clippy::disallowed_methods, reason = "the PATH that a worker started by this test has")]
fn path() -> String {
    std::env::var("PATH").unwrap_or_default()
}

async fn use_tools(app: &App, save: &str) {
    let save = app.client.get(&format!("/v1/saves/{save}")).await.expect(200);
    let target = format!("/v1/targets/{}", save["target_id"].as_str().unwrap());
    app.client.patch(&target, json!({ "mongo_mode": "tools" })).await.expect(200);
}

#[tokio::test]
async fn mongorestore_is_told_by_a_private_file_and_what_it_wrote_is_compared() {
    let scene = Scene::set().await;
    use_tools(&scene.app, &scene.save).await;
    let envs = vec![("PATH".to_owned(), stand_ins(&scene.app))];
    let _worker = scene.app.worker_with(&WorkerSpec { envs, ..WorkerSpec::named("one") }).await;
    let copy = Shop::named(&stack::fresh("copy")).await;
    let into = |database: &str| json!({ "into": { "database": database } });
    let path = format!("/v1/saves/{}/restore", scene.save);
    let job = scene.app.client.post(&path, into(&copy.name)).await.id();
    let done = scene.app.client.job_is(&job, "succeeded").await;
    assert_eq!(done["result"]["restored_by"], "mongorestore 100.9.4", "{done:#}");
    assert_eq!(done["result"]["warnings"], json!([]), "{done:#}");
    assert_eq!(copy.contents().await, scene.saved, "{done:#}");
    assert_eq!(copy.asides().await, Vec::<String>::new());

    let seen = |name: &str| std::fs::read_to_string(bin(&scene.app).join("seen").join(name)).unwrap();
    let words: Vec<String> = serde_json::from_str(&seen("argv.json")).unwrap();
    for flag in ["--archive", "--stopOnError", "--noIndexRestore"] {
        assert!(words.iter().any(|word| word == flag), "{flag}: {words:?}");
    }
    assert!(words[0].starts_with("--config="), "{words:?}");
    assert!(words.contains(&format!("--nsFrom={}.Ключ.с точками", scene.shop.name)), "{words:?}");
    let to = format!("--nsTo={}.__hf_", copy.name);
    assert_eq!(words.iter().filter(|word| word.starts_with(&to)).count(), scene.saved.len(), "{words:?}");
    assert!(words.iter().all(|word| !word.contains("mongodb://")), "{words:?}");
    assert!(seen("config").starts_with("uri: \"mongodb://") && seen("mode") == "0o600", "{}", seen("mode"));
    assert!(!seen("environment.json").contains("mongodb://"), "{}", seen("environment.json"));
    assert!(!Path::new(words[0].trim_start_matches("--config=")).exists(), "the file outlives the tool");

    let job = scene.restore(json!({})).await;
    let done = scene.app.client.job_is(&job, "succeeded").await;
    assert_eq!(done["result"]["restored_by"], "mongorestore 100.9.4", "{done:#}");
    assert_eq!(scene.shop.contents().await, scene.saved);
    scene.app.holds().await;
}

#[tokio::test]
async fn a_tool_that_says_it_restored_and_did_not_changes_nothing() {
    let scene = Scene::set().await;
    use_tools(&scene.app, &scene.save).await;
    let envs = vec![("PATH".to_owned(), stand_ins(&scene.app))];
    std::fs::write(bin(&scene.app).join("lies"), "").unwrap();
    let _worker = scene.app.worker_with(&WorkerSpec { envs, ..WorkerSpec::named("one") }).await;
    let job = scene.restore(json!({ "safety": false })).await;
    let failed = scene.app.client.job_is(&job, "failed").await;
    assert_eq!(failed["error"]["code"], "inventory_mismatch", "{failed:#}");
    assert_eq!(scene.shop.contents().await, scene.damaged);
    assert_eq!(scene.shop.asides().await, Vec::<String>::new());
    scene.app.holds().await;
}

#[tokio::test]
async fn without_mongorestore_it_is_restored_natively_and_that_is_said() {
    let scene = Scene::set().await;
    use_tools(&scene.app, &scene.save).await;
    let _worker = scene.app.worker("one").await;
    let copy = Shop::named(&stack::fresh("copy")).await;
    let body = json!({ "into": { "database": copy.name } });
    let job = scene.app.client.post(&format!("/v1/saves/{}/restore", scene.save), body).await.id();
    let done = scene.app.client.job_is(&job, "succeeded").await;
    assert_eq!(copy.contents().await, scene.saved, "{done:#}");
    let result = &done["result"];
    if installed() {
        assert!(result["restored_by"].as_str().unwrap().starts_with("mongorestore "), "{result:#}");
    } else {
        println!("skipped: mongorestore is not installed; only its absence is tested");
        assert_eq!(result["restored_by"], "holdfast", "{result:#}");
        assert!(result["warnings"][0].as_str().unwrap().contains("no mongorestore on its PATH"), "{result:#}");
    }
    scene.app.holds().await;
}

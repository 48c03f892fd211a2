//! Scratch servers that are not there: the job says what to configure, and the save is none the worse for it.

use serde_json::json;
use support::{App, Database, WorkerSpec, stack};

use super::{ask, scratch, shown, verify};
use crate::engine::fails;

#[tokio::test]
async fn a_drill_without_a_place_says_what_to_configure_and_judges_nothing() {
    let mut app = App::spawn().await;
    let source = Database::small().await;
    let mut worker = app.worker("none").await;
    let target = app.target(&source).await;
    let save = app.saved(&target).await;
    verify(&app, &save, "decode").await;
    let before = shown(&app, &save).await;
    let own = scratch().replace("allow_same_server = true", "allow_same_server = false");
    let gone = "\n[scratch.pg]\nengine = \"postgres\"\nhost = \"127.0.0.1\"\nport = 1\nuser = \"u\"\npassword = \"p\"\ntls_mode = \"disable\"\n";
    let others = scratch().replace("engine = \"postgres\"", "engine = \"postgres\"\ngroups = [\"elsewhere\"]");
    for (more, code, word) in [
        ("", "scratch_missing", "[scratch.<name>]"),
        (others.as_str(), "scratch_missing", "[scratch.<name>]"),
        (own.as_str(), "scratch_is_target", "allow_same_server"),
        (gone, "scratch_unreachable", "[scratch.pg]"),
    ] {
        worker.stop().await;
        let name = stack::fresh("w").replace('_', "-");
        worker = app.worker_with(&WorkerSpec { more: more.to_owned(), ..WorkerSpec::named(&name) }).await;
        let job = ask(&app, &save, "restore").await;
        let error = fails(&app, &job, code, false).await;
        assert!(error["hint"].as_str().unwrap().contains(word), "{error:#}");
        let after = shown(&app, &save).await;
        for kept in ["valid", "verified_at", "verified_depth", "unusable_reason", "verifications"] {
            assert_eq!(after[kept], before[kept], "{code}: {kept}");
        }
    }
    assert!(!app.logs().contains(&stack::setting("TARGET_SUPER_PASSWORD")));
    let corrupt: i64 = app.value("SELECT count(*) FROM outbox WHERE type = 'save.corrupt'").await;
    assert_eq!((corrupt, &before["verified_depth"]), (0, &json!("decode")));
    app.holds().await;
}

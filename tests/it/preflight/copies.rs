//! Saves that cannot be read, or hold too little.

use serde_json::json;
use support::{App, Database, stack};

use super::{look, told};

#[tokio::test]
async fn a_save_without_a_good_copy_or_a_schema_is_told() {
    let source = Database::small().await;
    let mut app = App::spawn().await;
    let _worker = app.worker("a").await;
    let target = app.target(&source).await;
    let save = app.saved(&target).await;
    let into = json!({ "into": { "database": stack::fresh("new") } });

    // What begins like nothing that was ever dumped.
    let key: String = app.value("SELECT key FROM save_objects WHERE part = 'dump.0001'").await;
    let path = app.store().join(key);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, b"nothing").unwrap();
    let report = look(&app, &save, into.clone()).await;
    assert_eq!(told(&report), ["warning contents_unknown"], "{report:#}");
    std::fs::write(&path, bytes).unwrap();

    app.execute("UPDATE save_copies SET state = 'corrupt'").await;
    let report = look(&app, &save, into.clone()).await;
    assert_eq!(told(&report), ["error no_copy", "warning contents_unknown"], "{report:#}");
    app.execute("UPDATE save_copies SET state = 'good'").await;
    assert_eq!(told(&look(&app, &save, into.clone()).await), Vec::<String>::new());

    let rows = app.client.post(&format!("/v1/targets/{target}/backups?wait=60s"), json!({ "mode": "data" })).await;
    let rows = rows.expect(202)["save_id"].as_str().unwrap().to_owned();
    assert_eq!(told(&look(&app, &rows, into).await), ["error save_without_schema"]);
    app.holds().await;
}

//! Servers and tools of other versions, and what another server lacks.

use std::path::PathBuf;

use serde_json::json;
use support::{App, Database, Major, TargetSpec, WorkerSpec, database, stack};

use super::{look, message, told};

#[tokio::test]
async fn what_an_older_server_does_not_have_is_told() {
    let mut app = App::spawn().await;
    let eighteen = Major::start("pg18").await;
    let name = stack::fresh("new18");
    let sql = format!(
        "CREATE DATABASE {name} TEMPLATE template0 LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LC_COLLATE 'C' LC_CTYPE 'C'"
    );
    let mut server = eighteen.connect("postgres").await;
    database::run(&mut server, &sql).await;
    database::run(&mut server, &format!("ALTER DATABASE {name} SET transaction_timeout = '1h'")).await;
    database::run(&mut eighteen.connect(&name).await, "CREATE TABLE t (id int PRIMARY KEY)").await;

    let older = Database::small().await;
    let bindirs = vec![PathBuf::from(stack::setting("PG_BINDIR")), eighteen.bindir.clone()];
    let mut both = app.worker_with(&WorkerSpec { pg_bindirs: bindirs, ..WorkerSpec::named("both") }).await;
    let newer_target = app.target_with(&eighteen.target(&name)).await;
    let older_target = app.target(&older).await;
    let save = app.saved(&newer_target).await;
    let into = json!({ "into": { "target_id": older_target, "database": stack::fresh("new") } });

    let report = look(&app, &save, into.clone()).await;
    let expected = [
        "error server_lacks_setting",
        "error locale_provider_missing",
        "warning server_older_than_save",
        "warning setting_unknown",
    ];
    assert_eq!(told(&report), expected, "{report:#}");
    for (code, word) in [
        ("server_lacks_setting", "transaction_timeout"),
        ("locale_provider_missing", "builtin"),
        ("server_older_than_save", "18"),
        ("setting_unknown", "transaction_timeout"),
    ] {
        assert!(message(&report, code).contains(word), "{report:#}");
    }
    // The same save, back where it is from, and the older one into the newer server.
    let back = json!({ "into": { "database": stack::fresh("new") } });
    assert_eq!(told(&look(&app, &save, back).await), Vec::<String>::new());
    let older_save = app.saved(&older_target).await;
    let up = json!({ "into": { "target_id": newer_target, "database": stack::fresh("new") } });
    assert_eq!(told(&look(&app, &older_save, up).await), Vec::<String>::new());

    // Without the newer tools nothing reads it at all.
    assert!(both.stop().await.success());
    let _old = app.worker("old").await;
    let report = look(&app, &save, into).await;
    assert_eq!(told(&report)[0], "error client_too_old", "{report:#}");
    app.holds().await;
    drop(app);
    database::run(&mut server, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
}

#[tokio::test]
async fn extensions_encodings_and_locales_that_a_server_lacks_are_told() {
    let mut app = App::spawn().await;
    let sixteen = Major::start("pg16").await;
    let source = Database::small().await;
    database::run(&mut source.session().await, "CREATE EXTENSION hstore").await;
    let _worker = app.worker("a").await;
    let target = app.target_with(&TargetSpec::of(&source.name)).await;
    let other = app.target_with(&sixteen.target("postgres")).await;
    let save = app.saved(&target).await;
    let into = json!({ "into": { "target_id": other, "database": stack::fresh("new") } });
    let report = look(&app, &save, into.clone()).await;
    assert!(told(&report).contains(&"error extension_missing".to_owned()), "{report:#}");
    assert!(message(&report, "extension_missing").contains("hstore"), "{report:#}");

    // As a save from a server with more of both would say.
    app.execute(
        "UPDATE saves SET manifest = jsonb_set(jsonb_set(manifest, '{database_properties,encoding}', '\"KLINGON\"'),
           '{database_properties,collate}', '\"tlh_QO.UTF-8\"')",
    )
    .await;
    let here = json!({ "into": { "database": stack::fresh("new") } });
    let report = look(&app, &save, here).await;
    assert_eq!(told(&report), ["error encoding_unknown", "warning locale_not_listed"], "{report:#}");
    assert!(message(&report, "encoding_unknown").contains("KLINGON"), "{report:#}");
    assert!(message(&report, "locale_not_listed").contains("tlh_QO"), "{report:#}");
    // Inside a database its own stay.
    let inside = look(&app, &save, json!({ "into": {}, "method": "direct", "owner": "none" })).await;
    assert!(!told(&inside).iter().any(|told| told.contains("encoding") || told.contains("locale")), "{inside:#}");
}

//! What the restore role may not do, and who is in its way.

use serde_json::json;
use support::{App, Owned, TargetSpec, database, stack};

use super::{look, message, on_server, told};

#[tokio::test]
async fn a_role_that_may_create_nothing_is_told_so() {
    let auction = Owned::auction().await;
    let name = auction.database.name.clone();
    let poor = stack::fresh("poor");
    on_server(&format!("CREATE ROLE {poor} LOGIN PASSWORD 'poor but honest 1'; GRANT {} TO {poor}", auction.role))
        .await;
    let mut app = App::spawn().await;
    let _worker = app.worker("a").await;
    let restore = (poor.clone(), "poor but honest 1".to_owned());
    let target = app.target_with(&TargetSpec { restore, ..TargetSpec::of(&name) }).await;
    let save = app.saved(&target).await;

    let new = look(&app, &save, json!({ "into": { "database": stack::fresh("new") } })).await;
    assert_eq!(told(&new), ["error permission_denied"], "{new:#}");
    assert!(message(&new, "permission_denied").contains("CREATEDB"));
    let swap = look(&app, &save, json!({ "into": {}, "method": "swap" })).await;
    assert_eq!(told(&swap), ["error permission_denied"], "{swap:#}");
    let auto = look(&app, &save, json!({ "into": {} })).await;
    assert_eq!(
        (told(&auto), &auto["would"]["method"]),
        (vec!["warning no_swap".to_owned()], &json!("direct")),
        "{auto:#}"
    );
    assert!(auto["would"]["why"].as_str().unwrap().contains("CREATEDB"), "{auto:#}");

    // What came later depends on what would be dropped, and somebody is connected.
    let mut session = auction.database.session().await;
    let sql = format!(
        "SET ROLE {}; CREATE VIEW later AS SELECT id FROM lots; CREATE TABLE after (lot bigint REFERENCES lots)",
        auction.role
    );
    database::run(&mut session, &sql).await;
    let direct = look(&app, &save, json!({ "into": {}, "method": "direct" })).await;
    assert_eq!(told(&direct), ["error dependants", "warning no_swap", "warning sessions_may_wait"], "{direct:#}");
    let dependants = message(&direct, "dependants");
    assert!(dependants.contains("view public.later") && dependants.contains("of public.after"), "{dependants}");
    assert!(message(&direct, "sessions_may_wait").contains("1 of postgres (test)"), "{direct:#}");
    drop(session);
    drop(app);
    drop(auction);
    on_server(&format!("DROP ROLE {poor}")).await;
}

#[tokio::test]
async fn who_is_connected_is_told_and_whether_they_can_be_ended() {
    let auction = Owned::auction().await;
    let mut app = App::spawn().await;
    let _worker = app.worker("a").await;
    let spec = TargetSpec::of(&auction.database.name);
    let target = app.target_with(&spec).await;
    let save = app.saved(&target).await;
    let session = auction.database.session().await;
    let report = look(&app, &save, json!({ "into": {} })).await;
    assert_eq!(told(&report), ["error sessions_cannot_be_ended"], "{report:#}");
    assert!(message(&report, "sessions_cannot_be_ended").contains("1 of postgres (test)"), "{report:#}");
    drop(session);

    // One of the restore role's own.
    let options = sqlx::postgres::PgConnectOptions::new_without_pgpass()
        .host(&stack::setting("TARGET_HOST"))
        .port(spec.port)
        .username(&spec.restore.0)
        .password(&spec.restore.1)
        .database(&auction.database.name)
        .application_name("a shop");
    let own = <sqlx::PgConnection as sqlx::Connection>::connect_with(&options).await.unwrap();
    let report = super::until_told(&app, &save, json!({ "into": {} }), &["warning sessions_will_be_ended"]).await;
    assert!(message(&report, "sessions_will_be_ended").contains("(a shop)"), "{report:#}");
    drop(own);
    app.holds().await;
}

#[tokio::test]
async fn an_extension_that_only_a_superuser_may_create_is_told() {
    let auction = Owned::auction().await;
    database::run(&mut auction.database.session().await, "CREATE EXTENSION pageinspect; CREATE EXTENSION hstore").await;
    let mut app = App::spawn().await;
    let _worker = app.worker("a").await;
    let target = app.target_with(&TargetSpec::of(&auction.database.name)).await;
    let save = app.saved(&target).await;
    let report = look(&app, &save, json!({ "into": { "database": stack::fresh("new") } })).await;
    assert_eq!(told(&report), ["error extension_needs_superuser"], "{report:#}");
    let message = message(&report, "extension_needs_superuser");
    assert!(message.contains("pageinspect") && !message.contains("hstore"), "{message}");
    app.holds().await;
}

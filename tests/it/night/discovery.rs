//! Databases that nobody registered are found and saved.

use serde_json::{Value, json};
use support::{App, Database, Listener, TargetSpec, WorkerSpec, stack, until};

use super::{Of, event, idle, pause, schedule, slots};
use crate::mongo::scene::Shop;

/// Waits until a save of the schedule of this database is available.
async fn saved(app: &App, schedule: &str, database: &str) {
    until(&format!("a save of {database} is there"), || async {
        let saves: i64 = app
            .value(&format!(
                "SELECT count(*) FROM saves s JOIN targets t ON t.id = s.target_id
                 WHERE s.schedule_id = '{schedule}' AND t.database = '{database}' AND s.state = 'available'"
            ))
            .await;
        (saves > 0).then_some(())
    })
    .await;
}

/// Names of the databases that are targets.
async fn targets(app: &App) -> Vec<String> {
    app.values("SELECT database FROM targets ORDER BY database").await
}

/// A server with a credential, by a target that the schedule's patterns do not name: service, server, credential.
async fn server(app: &mut App, spec: &TargetSpec) -> (String, String, String) {
    let target = app.target_with(spec).await;
    let target = app.client.get(&format!("/v1/targets/{target}")).await.expect(200);
    let text = |key: &str| target[key].as_str().unwrap().to_owned();
    (text("service_id"), text("server_id"), text("backup_credential_id"))
}

fn patterns(tag: &str, credential: &str) -> Value {
    json!({ "discovery": { "include": [format!("{tag}*")], "exclude": ["*_test"], "backup_credential_id": credential, "stores": ["disk"] } })
}

#[tokio::test]
async fn new_databases_of_a_server_are_found_and_saved_and_those_that_vanish_are_told_of() {
    let (other, tag) = (Database::small().await, stack::fresh("found"));
    let rows = "CREATE TABLE lots (id int); INSERT INTO lots VALUES (1)";
    let first = Database::named(&format!("{tag}_one"), rows).await;
    let _test = Database::named(&format!("{tag}_test"), rows).await;
    let mut app = App::spawn().await;
    let (service, server, credential) = server(&mut app, &TargetSpec::of(&other.name)).await;
    let listener = Listener::open().await;
    let worker = WorkerSpec { exchange: Some(listener.exchange.clone()), slots: 3, ..WorkerSpec::named("a") };
    let _worker = app.worker_with(&worker).await;
    let schedule = schedule(&app, Of::Server(&service, &server), "* * * * * *", patterns(&tag, &credential)).await;
    saved(&app, &schedule, &first.name).await;
    let data = event(&listener, "target.discovered").await;
    assert_eq!((&data["database"], &data["schedule_id"]), (&first.name.clone().into(), &schedule.clone().into()));
    // Created between two slots.
    let second = Database::named(&format!("{tag}_two"), rows).await;
    saved(&app, &schedule, &second.name).await;
    let mut expected = vec![other.name.clone(), first.name.clone(), second.name.clone()];
    expected.sort();
    assert_eq!(targets(&app).await, expected);
    let name: String = app.value(&format!("SELECT name FROM targets WHERE database = '{}'", second.name)).await;
    assert_eq!(name, second.name.replace('_', "-"));
    let audited: i64 = app
        .value(
            "SELECT count(*) FROM audit WHERE action = 'target.create' AND admin_id IS NULL AND detail ? 'schedule_id'",
        )
        .await;
    assert_eq!(audited, 2);
    // Jobs of one slot are one group.
    let together: i64 = app
        .value(&format!(
            "SELECT count(*) FROM schedule_slots k JOIN jobs d ON d.group_id = k.group_id AND d.kind = 'discover' JOIN jobs b ON b.group_id = k.group_id AND b.kind = 'backup'
             WHERE k.schedule_id = '{schedule}' AND k.state = 'ran'"
        ))
        .await;
    assert!(together >= 2);
    // Registered by nobody but the schedule, and gone: its target stays.
    let gone = second.name.clone();
    second.remove().await;
    let data = event(&listener, "target.vanished").await;
    assert_eq!(data["database"], *gone);
    pause(&app).await;
    idle(&app).await;
    assert_eq!(targets(&app).await, expected);
    assert_eq!(slots(&app, &schedule, "missed").await, 0);
    listener.close().await;
    app.holds().await;
}

#[tokio::test]
async fn new_databases_of_a_mongodb_server_are_found_too() {
    let tag = stack::fresh("found");
    let (other, shop, test) =
        (Shop::open().await, Shop::named(&format!("{tag}_shop")).await, Shop::named(&format!("{tag}_test")).await);
    for one in [&other, &shop, &test] {
        one.fill().await;
    }
    let mut app = App::spawn().await;
    let (service, server, credential) = server(&mut app, &other.spec()).await;
    let _worker = app.worker("a").await;
    let schedule = schedule(&app, Of::Server(&service, &server), "* * * * * *", patterns(&tag, &credential)).await;
    saved(&app, &schedule, &shop.name).await;
    pause(&app).await;
    idle(&app).await;
    let mut expected = vec![other.name.clone(), shop.name.clone()];
    expected.sort();
    assert_eq!(targets(&app).await, expected);
    app.holds().await;
}

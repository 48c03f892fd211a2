//! Shape drift through the real doors: a save that is out of line with those before it is suspicious, holds retention up, and
//! counts again when somebody accepts it.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use serde_json::{Value, json};
use support::{App, Database};

use crate::retention::{night, planned, schedule, settled, told};

/// Whether it is suspicious, and why: `why name`.
pub(crate) async fn suspected(app: &App, save: &str) -> (bool, Vec<String>) {
    let save = app.client.get(&format!("/v1/saves/{save}")).await.expect(200);
    let why = |found: &Value| {
        assert!(!found["reason"].as_str().unwrap().is_empty());
        format!("{} {}", found["why"].as_str().unwrap(), found["name"].as_str().unwrap_or("-"))
    };
    (save["suspicious"].as_bool().unwrap(), save["suspicions"].as_array().unwrap().iter().map(why).collect())
}

#[tokio::test]
async fn a_lost_table_lost_rows_and_an_empty_table_hold_retention_up_until_they_are_accepted() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let _worker = app.worker("one").await;
    let mut session = database.session().await;
    let run = support::database::run;
    run(&mut session, "CREATE TABLE gone AS SELECT n FROM generate_series(1, 5) n; CREATE TABLE notes AS SELECT 'a' FROM generate_series(1, 3)").await;
    let nightly = schedule(&app, &target, &json!({ "last": 1 })).await;
    let first = night(&app, &target, &nightly, 4).await;
    assert_eq!(suspected(&app, &first).await, (false, vec![]), "a first save is never suspicious");

    run(&mut session, "DROP TABLE gone; DELETE FROM notes; DELETE FROM bids WHERE id % 10 < 7").await;
    let second = night(&app, &target, &nightly, 3).await;
    let (is, why) = suspected(&app, &second).await;
    assert_eq!(
        (is, why),
        (true, vec!["vanished public.gone".into(), "empty public.notes".into(), "fewer_rows public.bids".into()])
    );
    let third = night(&app, &target, &nightly, 2).await;
    assert!(suspected(&app, &third).await.0, "what waits to be accepted is no measure");
    settled(&app).await;

    let suspicious = told(&app, "save.suspicious").await;
    assert_eq!(suspicious.len(), 2);
    let reasons = &suspicious[0]["reasons"];
    assert_eq!(reasons[2], "public.bids has 1500 rows; usual are 5000", "{reasons:#}");
    assert_eq!((&suspicious[0]["save_id"], &suspicious[0]["version"]), (&json!(second), &json!(2)));
    let blocked = told(&app, "retention.blocked").await;
    assert_eq!((blocked.len(), &blocked[0]["cause"]), (1, &json!("suspicious")), "{blocked:#?}");
    assert_eq!(planned(&app, &nightly, "").await["blocked"]["save_id"], json!(third));
    let left: i64 = app.value("SELECT count(*) FROM saves WHERE state = 'available'").await;
    assert_eq!(left, 3);

    // Accepting releases it; what nobody accepted stays where it is, and counts for nothing.
    let accepted = app.client.post(&format!("/v1/saves/{third}/accept"), Value::Null).await.expect(200);
    assert_eq!((&accepted["suspicious"], accepted["suspicions"].as_array().unwrap().len()), (&json!(false), 3));
    support::until("the first night is gone", || async {
        app.value::<bool>(&format!("SELECT state = 'deleted' FROM saves WHERE id = '{first}'")).await.then_some(())
    })
    .await;
    settled(&app).await;
    let plan = planned(&app, &nightly, "").await;
    assert_eq!((&plan["blocked"], &plan["kept"]), (&json!(null), &json!(2)), "{plan:#}");
    assert_eq!(told(&app, "retention.applied").await.len(), 1);
    let fourth = night(&app, &target, &nightly, 1).await;
    assert_eq!(suspected(&app, &fourth).await, (false, vec![]), "the accepted one is what is usual now");
    settled(&app).await;
    app.holds().await;
}

#[tokio::test]
async fn a_target_has_thresholds_of_its_own() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let _worker = app.worker("one").await;
    let path = format!("/v1/targets/{target}");
    assert_eq!(app.client.get(&path).await.expect(200)["drift"], json!(null));
    for (drift, pointer) in [
        (json!({ "rows_percent": 0 }), "/drift/rows_percent"),
        (json!({ "size_percent": 101 }), "/drift/size_percent"),
        (json!({ "compare_with": 50 }), "/drift/compare_with"),
        (json!({ "ignore": [""] }), "/drift/ignore"),
    ] {
        let refused = app.client.patch(&path, json!({ "drift": drift })).await.expect(422);
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{refused:#}");
    }
    let set = async |drift: Value| {
        let changed = app.client.patch(&path, json!({ "drift": drift })).await.expect(200);
        assert_eq!(changed["drift"], drift);
    };
    let mut session = database.session().await;
    let mut lose = async |percent: u32| {
        let sql = format!(
            "DELETE FROM bids WHERE ctid IN (SELECT ctid FROM bids LIMIT (SELECT count(*) * {percent} / 100 FROM bids))"
        );
        support::database::run(&mut session, &sql).await;
    };
    app.saved(&target).await;
    // By default it takes 60 of a hundred.
    lose(50).await;
    let half = app.saved(&target).await;
    assert_eq!(suspected(&app, &half).await, (false, vec![]));
    set(json!({ "rows_percent": 40, "compare_with": 1 })).await;
    lose(50).await;
    let quarter = app.saved(&target).await;
    assert_eq!(suspected(&app, &quarter).await, (true, vec!["fewer_rows public.bids".into()]));
    set(json!({ "rows_percent": 40, "ignore": ["public.b?ds"] })).await;
    let ignored = app.saved(&target).await;
    assert_eq!(suspected(&app, &ignored).await, (false, vec![]));
    lose(100).await;
    set(json!({ "off": true })).await;
    let off = app.saved(&target).await;
    assert_eq!(suspected(&app, &off).await, (false, vec![]));
    // Two that hold the same before it.
    set(json!({ "unchanged_saves": 2 })).await;
    let same = app.saved(&target).await;
    assert_eq!(suspected(&app, &same).await, (false, vec![]));
    let same = app.saved(&target).await;
    assert_eq!(suspected(&app, &same).await, (true, vec!["unchanged -".into()]));
    app.client.post(&format!("/v1/saves/{same}/accept"), Value::Null).await.expect(200);
    let again = app.saved(&target).await;
    assert_eq!(suspected(&app, &again).await, (false, vec![]), "it is counted anew from the accepted one");
    app.client.patch(&path, json!({ "drift": null })).await.expect(200);
    assert_eq!(app.client.get(&path).await.expect(200)["drift"], json!(null));
    app.holds().await;
}

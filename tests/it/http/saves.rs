//! What people do with saves beside making and restoring them: the report, notes, pins, what they say of them, acceptance.

use serde_json::{Value, json};
use support::{Answer, App, Client, Database};

use super::cast::{self, Paper};

/// A save of a target, behind the API's back.
async fn save(app: &App, paper: &Paper, version: i32, state: &str, more: &str) -> String {
    let id = uuid::Uuid::now_v7();
    app.execute(&format!(
        "INSERT INTO saves (id, target_id, service_id, version, state, scope, origin, mode, required_copies, manifest, available_at, stored_bytes)
         VALUES ('{id}', '{}', '{}', {version}, '{state}', 'full', 'manual', 'all', 1, '{{}}', now(), 100)",
        paper.target, paper.service
    ))
    .await;
    if !more.is_empty() {
        app.execute(&format!("UPDATE saves SET {more} WHERE id = '{id}'")).await;
    }
    id.to_string()
}

fn line<'a>(report: &'a Value, key: &str, id: &str) -> &'a Value {
    report
        .as_array()
        .unwrap()
        .iter()
        .find(|line| line[key] == id)
        .unwrap_or_else(|| panic!("no line of {id}: {report:#}"))
}

fn counts(line: &Value) -> [i64; 6] {
    ["saved", "valid", "invalid", "suspicious", "failed", "stored_bytes"].map(|name| line[name].as_i64().unwrap())
}

#[tokio::test]
async fn the_report_tells_how_services_and_targets_stand() {
    let app = App::spawn().await;
    let (a, b, empty) =
        (Paper::create(&app.client).await, Paper::create(&app.client).await, Paper::create(&app.client).await);
    save(&app, &a, 1, "available", "").await;
    save(&app, &a, 2, "available", "valid = false").await;
    let newest = save(&app, &a, 3, "available", "suspicious = true").await;
    save(&app, &a, 4, "failed", "").await;
    let gone = save(&app, &b, 1, "available", "").await;
    let kept = save(&app, &b, 2, "available", "stored_bytes = 7").await;
    app.execute(&format!("UPDATE saves SET state = 'deleted' WHERE id = '{gone}'")).await;

    for (by, key, (of_a, of_b, of_none)) in [
        ("", "service_id", (&a.service, &b.service, &empty.service)),
        ("?by=service", "service_id", (&a.service, &b.service, &empty.service)),
        ("?by=target", "target_id", (&a.target, &b.target, &empty.target)),
    ] {
        let report = app.client.get(&format!("/v1/saves/report{by}")).await;
        assert_eq!(report.header("x-total-count"), Some("3"), "{}", report.text);
        let report = report.expect(200);
        assert_eq!(counts(line(&report, key, of_a)), [3, 2, 1, 1, 1, 300]);
        assert_eq!(counts(line(&report, key, of_b)), [1, 1, 0, 0, 0, 7]);
        assert_eq!(counts(line(&report, key, of_none)), [0; 6]);
        let latest = &line(&report, key, of_a)["latest"];
        assert_eq!((&latest["save_id"], &latest["version"]), (&json!(newest), &json!(3)), "{report:#}");
        assert_eq!(line(&report, key, of_b)["latest"]["save_id"], json!(kept));
        assert_eq!(line(&report, key, of_none)["latest"], Value::Null);
        assert_eq!(line(&report, key, of_a).get("target").is_some(), by == "?by=target");
    }
    // The same when the sweeper has added up what changed.
    let before = app.client.get("/v1/saves/report?by=target").await.text;
    let _worker = app.worker("a").await;
    support::wait::until("the totals are added up", || async {
        (app.value::<i64>("SELECT count(*) FROM save_counts WHERE NOT settled").await == 0).then_some(())
    })
    .await;
    assert_eq!(app.client.get("/v1/saves/report?by=target").await.text, before);
    let stored: i64 = app.value("SELECT count(*) FROM saves").await;
    assert_eq!(app.client.get("/v1/saves").await.header("x-total-count"), Some(stored.to_string().as_str()));

    let theirs = cast::admin(&app, "theirs", &[("viewer", Some(&b.service))]).await;
    let own = theirs.get("/v1/saves/report").await.expect(200);
    assert_eq!((own.as_array().unwrap().len(), &own[0]["service_id"]), (1, &json!(b.service)));
    theirs.get(&format!("/v1/saves/report?service={}", a.service)).await.expect(404);
    assert_eq!(theirs.get("/v1/saves").await.header("x-total-count"), Some("2"));
}

#[tokio::test]
async fn lists_of_saves_are_exact_by_every_total_that_is_kept() {
    let app = App::spawn().await;
    let (a, b) = (Paper::create(&app.client).await, Paper::create(&app.client).await);
    let invalid = save(&app, &a, 1, "available", "valid = false").await;
    let suspicious = save(&app, &a, 2, "available", "suspicious = true").await;
    let pinned = save(&app, &a, 3, "available", "pinned = true").await;
    let failed = save(&app, &b, 1, "failed", "origin = 'schedule'").await;
    let all = [&failed, &pinned, &suspicious, &invalid];
    for (query, expected) in [
        (String::new(), all.to_vec()),
        ("?valid=false".into(), vec![&invalid]),
        ("?valid=true".into(), vec![&failed, &pinned, &suspicious]),
        ("?suspicious=true".into(), vec![&suspicious]),
        ("?suspicious=false&state=available".into(), vec![&pinned, &invalid]),
        ("?pinned=true".into(), vec![&pinned]),
        ("?origin=schedule".into(), vec![&failed]),
        ("?origin=import".into(), vec![]),
        (format!("?service={}&origin=manual&sort=created_at", a.service), vec![&invalid, &suspicious, &pinned]),
        (format!("?target={}&state=available&valid=true", a.target), vec![&pinned, &suspicious]),
        (format!("?service={}", b.service), vec![&failed]),
    ] {
        check(&app.client.get(&format!("/v1/saves{query}")).await, &query, &expected);
    }
    // With roles for both services, and with one for each.
    let both = cast::admin(&app, "both", &[("viewer", Some(&a.service)), ("admin", Some(&b.service))]).await;
    check(&both.get("/v1/saves").await, "both", &all);
    check(&both.get("/v1/saves?limit=2&page=2&sort=created_at").await, "both, second page", &[&pinned, &failed]);
    check(&both.get("/v1/saves?state=available").await, "both, available", &all[1..]);
    let one = cast::admin(&app, "one", &[("viewer", Some(&b.service)), ("admin", Some(&b.service))]).await;
    check(&one.get("/v1/saves").await, "one", &[&failed]);
    check(&one.get("/v1/saves?origin=manual").await, "one, by origin", &[]);
    let none = cast::admin(&app, "none", &[]).await;
    check(&none.get("/v1/saves").await, "none", &[]);
}

fn check(answer: &Answer, query: &str, expected: &[&String]) {
    let items = answer.body.as_array().unwrap_or_else(|| panic!("{}", answer.text));
    let ids: Vec<&str> = items.iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!(ids, expected, "saves{query}");
    let total: usize = answer.header("x-total-count").unwrap().parse().unwrap();
    assert!(total == expected.len() || query.contains("page"), "saves{query}: {total}");
    assert_eq!(answer.header("x-total-count-bound"), None, "saves{query}");
}

/// What the audit log says was before and after, of the newest entry of this action.
async fn audited(client: &Client, action: &str, id: &str) -> (Value, Value) {
    let log =
        client.get(&format!("/v1/audit?action={action}&resource_id={id}&outcome=allowed&limit=1")).await.expect(200);
    (log[0]["detail"]["before"].clone(), log[0]["detail"]["after"].clone())
}

#[tokio::test]
async fn a_save_gets_a_note_a_pin_a_verdict_and_an_end_and_all_of_it_is_told() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let _worker = app.worker("a").await;
    let id = app.saved(&target).await;
    let (client, path) = (&app.client, format!("/v1/saves/{id}"));
    let operator = cast::admin(&app, "operator", &[("operator", None)]).await;

    let changed = operator.patch(&path, json!({ "note": "before the move", "pinned": true })).await.expect(200);
    assert_eq!((&changed["note"], &changed["pinned"]), (&json!("before the move"), &json!(true)));
    let (before, after) = audited(client, "save.update", &id).await;
    assert_eq!(before, json!({ "note": "", "pinned": false }));
    assert_eq!(after, json!({ "note": "before the move", "pinned": true }));
    client.delete(&path).await.expect(409);
    assert_eq!(client.get(&path).await.expect(200)["pinned"], true);

    // A verdict needs a reason, and a verification does not overrule it.
    for (body, pointer) in [
        (json!({ "valid": false }), "/invalid_reason"),
        (json!({ "valid": false, "invalid_reason": "  " }), "/invalid_reason"),
        (json!({ "invalid_reason": "why" }), "/invalid_reason"),
        (json!({ "valid": true, "invalid_reason": "why" }), "/invalid_reason"),
        (json!({ "note": "x".repeat(501) }), "/note"),
        (json!({ "expires_at": "2001-01-01T00:00:00Z" }), "/expires_at"),
        (json!({ "valid": null }), "/valid"),
        (json!({ "state": "deleted" }), "/state"),
    ] {
        let refused = client.patch(&path, body.clone()).await.expect(422);
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{body}: {refused}");
    }
    client.patch(&path, json!({ "valid": false, "invalid_reason": "of the wrong day" })).await.expect(200);
    let verified = client.post(&format!("{path}/verify?wait=30s"), json!({})).await.expect(202);
    assert_eq!(verified["state"], "succeeded", "{verified:#}");
    let judged = client.get(&path).await.expect(200);
    assert_eq!((&judged["valid"], &judged["invalid_reason"]), (&json!(false), &json!("of the wrong day")));
    assert!(judged["verified_at"].is_string(), "{judged:#}");
    let trusted = client.patch(&path, json!({ "valid": true })).await.expect(200);
    assert_eq!((&trusted["valid"], &trusted["invalid_reason"]), (&json!(true), &Value::Null));
    app.execute(&format!("UPDATE save_copies SET state = 'corrupt' WHERE save_id = '{id}'")).await;
    client.patch(&path, json!({ "valid": true })).await.expect(409);
    app.execute(&format!("UPDATE save_copies SET state = 'good' WHERE save_id = '{id}'")).await;

    // Who may not delete may not let it expire.
    let end = json!({ "expires_at": "2999-01-01T00:00:00Z" });
    operator.patch(&path, end.clone()).await.expect(403);
    let ends = client.patch(&path, end).await.expect(200);
    assert_eq!(ends["expires_at"], "2999-01-01T00:00:00Z");
    assert_eq!(client.patch(&path, json!({ "expires_at": null })).await.expect(200)["expires_at"], Value::Null);

    client.patch(&path, json!({ "pinned": false })).await.expect(200);
    client.delete(&format!("{path}?wait=30s")).await.expect(202);
    client.patch(&path, json!({ "note": "too late" })).await.expect(409);
}

#[tokio::test]
async fn a_suspicious_save_is_accepted_once() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let _worker = app.worker("a").await;
    let id = app.saved(&target).await;
    let (client, path) = (&app.client, format!("/v1/saves/{id}/accept"));
    client.post(&path, Value::Null).await.expect(409);
    app.execute(&format!("UPDATE saves SET suspicious = true WHERE id = '{id}'")).await;
    assert_eq!(client.get("/v1/saves?suspicious=true").await.expect(200)[0]["id"], json!(id));
    assert_eq!(client.post(&path, Value::Null).await.expect(200)["suspicious"], false);
    client.post(&path, Value::Null).await.expect(409);
    assert_eq!(
        audited(client, "save.accept", &id).await,
        (json!({ "suspicious": true }), json!({ "suspicious": false }))
    );
    let told = "SELECT count(*) FROM outbox WHERE type = 'save.accepted' AND subject = 'saves/";
    assert_eq!(app.value::<i64>(&format!("{told}{id}'")).await, 1);
}

//! Schedules through the door: made, changed, paused, fired by hand, looked ahead at, and in the way of what they cover.

use std::fmt::Write as _;

use reqwest::{Method, header::IF_MATCH};
use serde_json::{Value, json};
use sqlx::types::chrono::{DateTime, Utc};
use support::{App, Client, Database, stack};

use super::cast::{self, Paper};

fn nightly(paper: &Paper, name: &str) -> Value {
    json!({
        "name": name, "covers": "target", "target_id": paper.target, "expression": "30 2 * * *", "zone": "Europe/Berlin",
        "settings": { "jitter_s": 600, "windows": [{ "days": [1, 7], "from": "22:00", "until": "06:00" }], "stores": ["disk"] },
        "retention": { "daily": 7, "verified": 2 }, "verification": { "hash_days": 1 },
    })
}

fn with(mut body: Value, changed: &Value) -> Value {
    for (name, value) in changed.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

/// One for everything on the paper's server.
fn of_server(paper: &Paper, name: &str) -> Value {
    let discovery = json!({ "backup_credential_id": paper.credential, "stores": ["disk"], "exclude": ["*_test"] });
    json!({
        "name": name, "covers": "server", "server_id": paper.server, "service_id": paper.service, "expression": "@daily",
        "settings": { "discovery": discovery },
    })
}

fn of_service(paper: &Paper, name: &str) -> Value {
    json!({ "name": name, "covers": "service", "service_id": paper.service, "expression": "@hourly" })
}

#[tokio::test]
async fn a_schedule_is_made_read_changed_and_deleted() {
    let app = App::spawn().await;
    let client = &app.client;
    let paper = Paper::create(client).await;
    let asked = nightly(&paper, "items-nightly");
    let made = client.post("/v1/schedules", asked.clone()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let one = format!("/v1/schedules/{}", made.body["id"].as_str().unwrap());
    assert_eq!(made.header("location"), Some(one.as_str()));
    for (name, value) in asked.as_object().unwrap() {
        if name != "settings" {
            assert_eq!(&made.body[name], value, "{name}");
        }
    }
    assert_eq!(made.body["settings"]["windows"], asked["settings"]["windows"]);
    assert_eq!((&made.body["service_id"], &made.body["paused_at"]), (&json!(paper.service), &Value::Null));
    let read = client.get(&one).await;
    assert_eq!(read.body, made.body);
    let tag = read.header("etag").unwrap().to_owned();
    let twin = client.post("/v1/schedules", asked.clone()).await.expect(409);
    assert!(twin["detail"].as_str().unwrap().contains("of that name"), "{twin}");

    let patch =
        |tag: &str, body: Value| client.request(Method::PATCH, &one).header(IF_MATCH, tag.to_owned()).json(&body);
    let change =
        json!({ "expression": "0 4 * * 1-5", "zone": "UTC", "retention": null, "settings": { "jitter_s": 5 } });
    let changed = client.send(patch(&tag, change)).await.expect(200);
    assert_eq!((&changed["expression"], &changed["zone"]), (&json!("0 4 * * 1-5"), &json!("UTC")));
    assert_eq!((&changed["retention"], &changed["settings"]["windows"]), (&Value::Null, &Value::Null), "as wholes");
    assert_eq!(changed["verification"], asked["verification"]);
    client.send(patch(&tag, json!({ "name": "late" }))).await.expect(412);
    let entry = client.get("/v1/audit?action=schedule.update&outcome=allowed").await.expect(200)[0]["detail"].clone();
    assert_eq!(
        (&entry["before"]["expression"], &entry["after"]["expression"]),
        (&json!("30 2 * * *"), &json!("0 4 * * 1-5"))
    );

    client.delete(&one).await.expect(204);
    client.get(&one).await.expect(404);
    client.delete(&one).await.expect(404);
    client.patch(&one, json!({})).await.expect(404);
    assert_eq!(client.get("/v1/schedules").await.expect(200), json!([]));
    // Its name is free again, and the row is there for what names it.
    client.post("/v1/schedules", asked).await.expect(201);
    assert_eq!(app.value::<i64>("SELECT count(*) FROM schedules").await, 2);
}

#[tokio::test]
async fn a_change_of_the_moments_takes_back_what_is_planned_and_leaves_what_is_due() {
    let app = App::spawn().await;
    let paper = Paper::create(&app.client).await;
    let id = app.client.post("/v1/schedules", nightly(&paper, "nightly")).await.id();
    let plan = || async {
        for (late, state) in [("1 hour", "planned"), ("-1 hour", "planned")] {
            let sql = format!(
                "INSERT INTO schedule_slots (id, schedule_id, at, fires_at, state)
                 VALUES (gen_random_uuid(), '{id}', now() + interval '{late}', now() + interval '{late}', '{state}')"
            );
            app.execute(&sql).await;
        }
        app.execute("UPDATE schedules SET planned_until = now() + interval '1 hour'").await;
    };
    plan().await;
    let path = format!("/v1/schedules/{id}");
    let slots = |state: &'static str| {
        let (client, path) = (app.client.clone(), format!("{path}/slots?state={state}"));
        async move { client.get(&path).await }
    };
    let newest = app.client.get(&format!("{path}/slots?limit=1")).await;
    assert_eq!((newest.header("x-total-count"), &newest.body[0]["state"]), (Some("2"), &json!("planned")));
    app.client.patch(&path, json!({ "settings": { "jitter_s": 1 } })).await.expect(200);
    assert_eq!(slots("planned").await.header("x-total-count"), Some("2"));
    app.client.patch(&path, json!({ "zone": "Asia/Tokyo" })).await.expect(200);
    assert_eq!(slots("planned").await.header("x-total-count"), Some("1"));
    let is_anew = "SELECT planned_until <= now() FROM schedules";
    assert!(app.value::<bool>(is_anew).await);
    assert_eq!(slots("ran").await.expect(200), json!([]));
    app.client.get(&format!("{path}/slots?state=lost")).await.expect(422);
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_with_its_place_and_why() {
    let app = App::spawn().await;
    let client = &app.client;
    let paper = Paper::create(client).await;
    let other = Paper::create(client).await;
    let good = nightly(&paper, "good");
    let window = |from: &str| json!({ "settings": { "windows": [{ "from": from, "until": "06:00" }] } });
    for (changed, pointer, words) in [
        (json!({ "expression": "61 * * * *" }), "/expression", "minute: 61 is out of range; allowed are 0-59"),
        (json!({ "expression": "0 3 * *" }), "/expression", "has 4 fields"),
        (json!({ "expression": "0 0 30 2 *" }), "/expression", "never fires"),
        (json!({ "expression": "@sometimes" }), "/expression", "@daily"),
        (json!({ "expression": 5 }), "/expression", "string"),
        (json!({ "zone": "Berlin" }), "/zone", "do you mean Europe/Berlin?"),
        (json!({ "zone": "Moon/Base" }), "/zone", "no time zone"),
        (window("24:00"), "/settings/windows/0/from", "HH:MM"),
        (
            json!({ "settings": { "windows": [{ "days": [8], "from": "22:00", "until": "06:00" }] } }),
            "/settings/windows/0/days/0",
            "0 to 7",
        ),
        (json!({ "settings": { "priority": 10 } }), "/settings/priority", "0 to 9"),
        (json!({ "settings": { "bytes_per_s": 1 } }), "/settings/bytes_per_s", "65536"),
        (json!({ "settings": { "jitter_s": 50_000 } }), "/settings/jitter_s", "43200"),
        (json!({ "settings": { "jitter": 5 } }), "/settings/jitter", "unknown field"),
        (json!({ "settings": { "catch_up": "some" } }), "/settings/catch_up", "unknown variant"),
        (json!({ "settings": { "stores": ["nowhere"] } }), "/settings/stores/0", "not one of the target's stores"),
        (json!({ "settings": { "exclude_collections": ["c"] } }), "/settings/exclude_collections", "MongoDB"),
        (json!({ "settings": of_server(&paper, "x")["settings"] }), "/settings/discovery", "cover a server"),
        (json!({ "retention": {} }), "/retention", "keeps nothing"),
        (json!({ "retention": { "daily": 0 } }), "/retention/daily", "1 to 10000"),
        (json!({ "verification": {} }), "/verification", "verifies nothing"),
        (json!({ "covers": "service" }), "/target_id", "not for what covers a service"),
        (json!({ "server_id": paper.server }), "/server_id", "not for what covers a target"),
        (json!({ "service_id": other.service }), "/service_id", "not the target's service"),
        (json!({ "name": "Not A Name" }), "/name", "lower-case"),
    ] {
        let body = with(good.clone(), &changed);
        let refused = client.post("/v1/schedules", body).await.expect(422);
        let detail = refused["errors"][0]["detail"].as_str().unwrap();
        let found = refused["errors"][0]["pointer"].as_str().unwrap();
        assert!(found == pointer && detail.contains(words), "{changed}: {refused}");
    }
    // The same through a change.
    let one = format!("/v1/schedules/{}", client.post("/v1/schedules", good.clone()).await.id());
    for (changed, pointer) in [
        (json!({ "expression": "* * * * 8" }), "/expression"),
        (json!({ "expression": null }), "/expression"),
        (json!({ "zone": "Berlin" }), "/zone"),
        (json!({ "retention": { "last": 0 } }), "/retention/last"),
        (json!({ "settings": of_server(&paper, "x")["settings"] }), "/settings/discovery"),
        (json!({ "target_id": other.target }), "/target_id"),
    ] {
        let refused = client.patch(&one, changed.clone()).await.expect(422);
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{changed}");
    }
    for missing in ["expression", "covers", "target_id", "name"] {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(missing);
        let refused = client.post("/v1/schedules", body).await.expect(422);
        assert_eq!(refused["errors"][0]["pointer"], format!("/{missing}"));
    }
    let nowhere = json!("00000000-0000-7000-8000-000000000000");
    let gone = |place: &str| {
        let mut body = of_server(&paper, "gone");
        *body.pointer_mut(place).unwrap() = nowhere.clone();
        client.post("/v1/schedules", body)
    };
    assert_eq!(gone("/server_id").await.expect(422)["errors"][0]["pointer"], "/server_id");
    let credential = "/settings/discovery/backup_credential_id";
    assert_eq!(gone(credential).await.expect(422)["errors"][0]["pointer"], credential);
    gone("/service_id").await.expect(404);
    client.post("/v1/schedules", with(good, &json!({ "target_id": nowhere }))).await.expect(404);
    let mut without = of_server(&paper, "without");
    without["settings"] = json!({});
    assert_eq!(client.post("/v1/schedules", without).await.expect(422)["errors"][0]["pointer"], "/settings/discovery");
}

#[tokio::test]
async fn lists_hold_what_is_asked_for_and_may_be_seen() {
    let app = App::spawn().await;
    let client = &app.client;
    let (own, other) = (Paper::create(client).await, Paper::create(client).await);
    for body in [nightly(&own, "a"), of_service(&own, "b"), of_server(&own, "c"), nightly(&other, "d")] {
        client.post("/v1/schedules", body).await.expect(201);
    }
    let viewer = cast::admin(&app, "viewer", &[("viewer", Some(&own.service))]).await;
    let d = client.get("/v1/schedules?page=4&limit=1").await;
    assert_eq!((&d.body[0]["name"], d.header("x-total-count")), (&json!("d"), Some("4")));
    client.post(&format!("/v1/schedules/{}/pause", d.body[0]["id"].as_str().unwrap()), Value::Null).await.expect(200);
    let names = async |client: &Client, query: &str| {
        let found = client.get(&format!("/v1/schedules{query}")).await.expect(200);
        found.as_array().unwrap().iter().fold(String::new(), |mut all, one| {
            write!(all, "{}", one["name"].as_str().unwrap()).unwrap();
            all
        })
    };
    for (query, everybody, viewers) in [
        (String::new(), "abcd", "abc"),
        (format!("?service={}", own.service), "abc", "abc"),
        (format!("?target={}", own.target), "a", "a"),
        (format!("?target={}", other.target), "d", ""),
        (format!("?server={}", own.server), "c", "c"),
        ("?covers=service".to_owned(), "b", "b"),
        ("?paused=true".to_owned(), "d", ""),
        ("?paused=false&covers=target".to_owned(), "a", "a"),
    ] {
        assert_eq!(names(client, &query).await, everybody, "{query}");
        assert_eq!(names(&viewer, &query).await, viewers, "{query}");
    }
    viewer.get(&format!("/v1/schedules?service={}", other.service)).await.expect(404);
    let next = viewer.get("/v1/schedules/upcoming?count=100").await.expect(200);
    let next = next.as_array().unwrap();
    assert!(next.len() == 100 && next.iter().all(|one| one["schedule"] != "d" && one["in_window"] == true));
    assert!(next.windows(2).all(|two| two[0]["fires_at"].as_str() <= two[1]["fires_at"].as_str()));
    assert!(["b", "c"].iter().all(|name| next.iter().any(|one| one["schedule"] == *name)));
}

#[tokio::test]
async fn pausing_and_resuming_are_repeated_without_harm() {
    let app = App::spawn().await;
    let paper = Paper::create(&app.client).await;
    let id = app.client.post("/v1/schedules", with(nightly(&paper, "n"), &json!({ "paused": true }))).await.id();
    let go = async |what: &str| app.client.post(&format!("/v1/schedules/{id}/{what}"), Value::Null).await;
    let paused = go("pause").await.expect(200);
    assert!(paused["paused_at"].is_string());
    assert_eq!(go("resume").await.expect(200)["paused_at"], Value::Null);
    assert_eq!(go("resume").await.expect(200)["paused_at"], Value::Null);
    let first = go("pause").await.expect(200)["paused_at"].clone();
    assert!(first.is_string());
    assert_eq!(go("pause").await.expect(200)["paused_at"], first, "since when it is paused stays");
    let told = app.client.get(&format!("/v1/audit?action=schedule.update&resource_id={id}")).await;
    assert_eq!(told.header("x-total-count"), Some("2"), "what changed nothing is no change: {}", told.text);
}

#[tokio::test]
async fn what_is_upcoming_shows_both_nights_in_which_the_clock_changes() {
    let app = App::spawn().await;
    let paper = Paper::create(&app.client).await;
    let id = app.client.post("/v1/schedules", nightly(&paper, "n")).await.id();
    let ahead = async |query: &str| app.client.get(&format!("/v1/schedules/{id}/upcoming?{query}")).await;
    for (from, expected) in [
        (
            "2026-03-27T12:00:00Z",
            ["2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"],
        ),
        (
            "2026-10-24T12:00:00Z",
            ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00", "2026-10-27T02:30:00+01:00"],
        ),
    ] {
        let found = ahead(&format!("count=3&from={from}")).await.expect(200);
        let local: Vec<&str> = found.as_array().unwrap().iter().map(|one| one["local"].as_str().unwrap()).collect();
        assert_eq!(local, expected);
        for one in found.as_array().unwrap() {
            let instant = |name: &str| one[name].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
            let late = instant("fires_at") - instant("at");
            assert!((0..=600).contains(&late.num_seconds()), "{one}");
        }
        assert_eq!(ahead(&format!("count=3&from={from}")).await.expect(200), found, "jitter is of the moment");
    }
    // Its windows begin on Sundays and Mondays: the nights after those two are in them.
    let week = ahead("count=7&from=2026-07-05T12:00:00Z").await.expect(200);
    let open: Vec<&Value> = week.as_array().unwrap().iter().filter(|one| one["in_window"] == true).collect();
    let days: Vec<&str> = open.iter().map(|one| &one["local"].as_str().unwrap()[..10]).collect();
    assert_eq!(days, ["2026-07-06", "2026-07-07"]);
    assert_eq!(ahead("").await.expect(200).as_array().unwrap().len(), 10);
    for query in ["count=0", "count=101", "count=x", "from=yesterday", "until=2026-01-01T00:00:00Z"] {
        ahead(query).await.expect(422);
    }
}

#[tokio::test]
async fn it_is_fired_by_hand_once_for_each_key_and_followed_as_a_group() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let body = json!({ "name": "n", "covers": "target", "target_id": target, "expression": "@yearly", "paused": true });
    let id = app.client.post("/v1/schedules", body).await.id();
    let path = format!("/v1/schedules/{id}/run");
    let run = || app.client.send(app.client.request(Method::POST, &path).header("idempotency-key", "one"));
    let first = run().await;
    let slot = first.body.clone();
    assert_eq!(
        (first.status.as_u16(), &slot["state"], &slot["by_hand"]),
        (202, &json!("ran"), &json!(true)),
        "{}",
        first.text
    );
    let group = format!("/v1/groups/{}", slot["group_id"].as_str().unwrap());
    assert_eq!(first.header("location"), Some(group.as_str()));
    let again = run().await;
    assert_eq!((again.header("idempotency-replayed"), &again.body), (Some("true"), &slot));
    let _worker = app.worker("a").await;
    let done = app.client.get(&format!("{group}?wait=60s")).await.expect(200);
    assert_eq!((&done["state"], &done["total"]), (&json!("succeeded"), &json!(1)), "{done:#}");
    let save = done["jobs"][0]["save_id"].as_str().unwrap();
    assert_eq!(app.client.get(&format!("/v1/saves/{save}")).await.expect(200)["origin"], "schedule");
    let listed = app.client.get(&format!("/v1/schedules/{id}/slots?state=ran")).await.expect(200);
    assert!(listed.as_array().unwrap().contains(&slot), "{listed:#}");
    let told = app.client.get(&format!("/v1/audit?action=schedule.run&resource_id={id}")).await.expect(200);
    assert_eq!(told[0]["detail"]["slot_id"], slot["id"]);

    // A service without targets has nothing to save.
    let empty = app.client.post("/v1/services", json!({ "name": stack::fresh("e").replace('_', "-") })).await.id();
    let body = json!({ "name": "empty", "covers": "service", "service_id": empty, "expression": "@yearly" });
    let id = app.client.post("/v1/schedules", body).await.id();
    let refused = app.client.post(&format!("/v1/schedules/{id}/run"), Value::Null).await.expect(409);
    assert!(refused["detail"].as_str().unwrap().contains("no target"), "{refused}");
}

#[tokio::test]
async fn what_it_covers_is_not_deleted_under_it() {
    let app = App::spawn().await;
    let client = &app.client;
    let paper = Paper::create(client).await;
    let mut ids = Vec::new();
    for body in [nightly(&paper, "of-target"), of_service(&paper, "of-service"), of_server(&paper, "of-server")] {
        ids.push(client.post("/v1/schedules", body).await.id());
    }
    let paths = [
        (format!("/v1/targets/{}", paper.target), "of-target"),
        (format!("/v1/services/{}", paper.service), "of-service"),
        (format!("/v1/servers/{}", paper.server), "of-server"),
        (format!("/v1/credentials/{}", paper.credential), "of-server"),
    ];
    for (path, name) in &paths {
        let refused = client.delete(path).await.expect(409);
        let detail = refused["detail"].as_str().unwrap();
        assert!(detail.contains(name) && detail.contains("first"), "{path}: {refused}");
        client.get(path).await.expect(200);
    }
    for id in ids {
        client.delete(&format!("/v1/schedules/{id}")).await.expect(204);
    }
    for place in [0, 1, 2, 3] {
        client.delete(&paths[place].0).await.expect(204);
    }
}

#[tokio::test]
async fn of_another_service_it_is_as_if_it_were_not_there() {
    let app = App::spawn().await;
    let (own, other) = (Paper::create(&app.client).await, Paper::create(&app.client).await);
    let id = app.client.post("/v1/schedules", nightly(&own, "n")).await.id();
    let them = cast::admin(&app, "them", &[("admin", Some(&other.service))]).await;
    let path = format!("/v1/schedules/{id}");
    for answer in [
        them.get(&path).await,
        them.get(&format!("{path}/slots")).await,
        them.get(&format!("{path}/upcoming")).await,
        them.patch(&path, json!({ "zone": "UTC" })).await,
        them.post(&format!("{path}/pause"), Value::Null).await,
        them.post(&format!("{path}/resume"), Value::Null).await,
        them.post(&format!("{path}/run"), Value::Null).await,
        them.delete(&path).await,
    ] {
        assert_eq!(answer.expect(404)["detail"], "there is no such schedule");
    }
    assert_eq!(them.get("/v1/schedules").await.expect(200), json!([]));
    let foreign = them.post("/v1/schedules", nightly(&own, "m")).await.expect(404);
    let nowhere = json!({ "target_id": "00000000-0000-7000-8000-000000000000" });
    let missing = them.post("/v1/schedules", with(nightly(&own, "m"), &nowhere)).await.expect(404);
    assert_eq!(foreign["detail"], missing["detail"]);
}

#[tokio::test]
async fn one_for_a_server_asks_for_the_role_globally() {
    let app = App::spawn().await;
    let paper = Paper::create(&app.client).await;
    let admin = cast::admin(&app, "admin", &[("admin", Some(&paper.service))]).await;
    let refused = admin.post("/v1/schedules", of_server(&paper, "s")).await.expect(403);
    assert!(refused["detail"].as_str().unwrap().contains("schedule.discover"), "{refused}");
    let id = app.client.post("/v1/schedules", of_server(&paper, "s")).await.id();
    let path = format!("/v1/schedules/{id}");
    admin.patch(&path, json!({ "zone": "Asia/Tokyo" })).await.expect(403);
    // Stopping it is the service's own business.
    admin.post(&format!("{path}/pause"), Value::Null).await.expect(200);
    admin.delete(&path).await.expect(204);
}

#[test]
fn the_table_of_firings_is_what_its_program_finds() {
    let script = stack::root().join("tests/tools/cron_table.py");
    let committed = std::fs::read_to_string(stack::root().join("tests/tools/cron_table.json")).unwrap();
    if !std::path::Path::new("/usr/share/zoneinfo/Europe/Berlin").exists() {
        eprintln!("skipped: there is no database of time zones on this machine");
        return;
    }
    let made = stack::run(
        "/usr/bin/env".as_ref(),
        &["python3", script.to_str().unwrap()],
        &[("PATH", "/usr/bin:/bin:/usr/local/bin")],
    );
    assert!(
        made.trim() == committed.trim(),
        "tests/tools/cron_table.json is not what cron_table.py finds: make it anew"
    );
}

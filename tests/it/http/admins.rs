//! Admins: made, changed and taken away; their passwords; the last super who stays; and that nobody raises themselves.

use serde_json::{Value, json};
use support::{ADMIN_PASSWORD, Answer, App, Client, stack, until};

use super::cast::{self, Paper};

const OTHER_PASSWORD: &str = "tungsten violet march 44";

async fn id_of(client: &Client) -> String {
    client.get("/v1/auth/me").await.expect(200)["id"].as_str().unwrap().to_owned()
}

async fn login(app: &App, name: &str, password: &str) -> Answer {
    app.client.anonymous().post("/v1/auth/login", json!({ "name": name, "password": password })).await
}

#[tokio::test]
async fn an_admin_is_made_changed_and_deleted() {
    let app = App::spawn().await;
    let client = &app.client;
    let paper = Paper::create(client).await;
    let roles = json!([{ "role": "operator", "service_id": paper.service }, { "role": "viewer" }]);
    let body = json!({ "name": "Anna.Ö", "password": ADMIN_PASSWORD, "roles": roles });
    let made = client.post("/v1/admins", body.clone()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let one = format!("/v1/admins/{}", made.body["id"].as_str().unwrap());
    assert_eq!(made.header("location"), Some(one.as_str()));
    assert!(!made.text.contains("argon2") && !made.text.contains("password"), "{}", made.text);
    assert_eq!((&made.body["name"], &made.body["disabled"]), (&json!("anna.ö"), &json!(false)));
    assert_eq!(made.body["roles"][0]["role"], "viewer", "the global one first: {}", made.text);
    assert_eq!(made.body["roles"][1]["service_id"], paper.service.as_str());
    assert_eq!(made.body["roles"][1]["granted_by"], id_of(client).await);
    assert_eq!(client.get(&one).await.expect(200), made.body);
    client.post("/v1/admins", body).await.expect(409);

    let listed = client.get("/v1/admins?limit=1&page=1").await;
    assert_eq!((listed.header("x-total-count"), &listed.body[0]), (Some("2"), &made.body), "{}", listed.text);
    let of_service = client.get(&format!("/v1/admins?service={}", paper.service)).await.expect(200);
    assert_eq!(of_service, json!([made.body]));

    let anna = app.client.login("anna.ö", ADMIN_PASSWORD).await;
    anna.get(&one).await.expect(200);
    client.patch(&one, json!({ "name": "root" })).await.expect(409);
    let renamed = client.patch(&one, json!({ "name": "Bea" })).await.expect(200);
    assert_eq!(renamed["name"], "bea");
    for (body, pointer) in [
        (json!({ "name": null }), "/name"),
        (json!({ "disabled": null }), "/disabled"),
        (json!({ "name": " x" }), "/name"),
        (json!({ "password": "x" }), "/password"),
        (json!({ "roles": [] }), "/roles"),
    ] {
        assert_eq!(client.patch(&one, body).await.expect(422)["errors"][0]["pointer"], pointer);
    }
    client.delete(&one).await.expect(204);
    anna.get("/v1/auth/me").await.expect(401);
    login(&app, "bea", ADMIN_PASSWORD).await.expect(401);
    for answer in [client.get(&one).await, client.delete(&one).await, client.patch(&one, json!({})).await] {
        answer.expect(404);
    }
    let done = "SELECT action FROM audit WHERE resource_type = 'admin' AND outcome = 'allowed' AND admin_name = 'root' ORDER BY id";
    assert_eq!(app.values::<String>(done).await, ["admin.create", "admin.update", "admin.delete"]);
}

/// The disabled, the deleted and the demoted: what each does to `id`.
async fn take_away(client: &Client, how: usize, id: &str) -> u16 {
    let one = format!("/v1/admins/{id}");
    let answer = match how {
        0 => client.delete(&one).await,
        1 => client.patch(&one, json!({ "disabled": true })).await,
        _ => client.delete(&format!("{one}/roles/super")).await,
    };
    if answer.status == 409 {
        assert!(answer.text.contains("last super"), "{}", answer.text);
    }
    answer.status.as_u16()
}

const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended('holdfast supers', 7))";

#[tokio::test]
async fn the_last_super_stays_also_when_two_go_at_each_other() {
    let app = App::spawn().await;
    let root = id_of(&app.client).await;
    // One who cannot log in does not count.
    cast::admin(&app, "away", &[("super", None)]).await;
    app.execute("UPDATE admins SET disabled_at = now() WHERE name = 'away'").await;
    for how in 0..3 {
        assert_eq!(take_away(&app.client, how, &root).await, 409);
    }
    app.client.get("/v1/auth/me").await.expect(200);

    for (mine, theirs) in [(0, 0), (1, 1), (2, 2), (0, 2), (1, 0), (2, 1)] {
        let name = stack::fresh("super");
        let (a, b) = (format!("{name}_a"), format!("{name}_b"));
        let first = cast::admin(&app, &a, &[("super", None)]).await;
        let second = cast::admin(&app, &b, &[("super", None)]).await;
        let (first_id, second_id) = (id_of(&first).await, id_of(&second).await);
        app.execute("UPDATE admins SET disabled_at = now() WHERE name = 'root'").await;
        // Both are on their way, permitted, when the first of them is decided.
        let mut gate = app.pool.begin().await.unwrap();
        sqlx::query(LOCK).execute(&mut *gate).await.unwrap();
        let both = async { tokio::join!(take_away(&first, mine, &second_id), take_away(&second, theirs, &first_id)) };
        let opened = async {
            until("both wait", || async {
                let sql = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
                    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
                (app.value::<i64>(sql).await == 2).then_some(())
            })
            .await;
            gate.commit().await.unwrap();
        };
        let ((one, two), ()) = tokio::join!(both, opened);
        let refused = [one, two].iter().filter(|status| **status == 409).count();
        let done = [one, two].iter().filter(|status| [200, 204].contains(status)).count();
        assert_eq!((refused, done), (1, 1), "{one} and {two}");
        let left = "SELECT count(*) FROM admins a JOIN admin_roles r ON r.admin_id = a.id
            WHERE r.role = 'super' AND a.disabled_at IS NULL";
        assert_eq!(app.value::<i64>(left).await, 1);
        app.execute(&format!(
            "DELETE FROM admins WHERE name IN ('{a}', '{b}'); UPDATE admins SET disabled_at = NULL WHERE name = 'root'"
        ))
        .await;
    }
}

#[tokio::test]
async fn what_is_taken_from_an_admin_is_gone_at_once_and_tokens_do_not_come_back() {
    let app = App::spawn().await;
    let client = &app.client;
    let paper = Paper::create(client).await;
    let admin = cast::admin(&app, "anna", &[("operator", Some(&paper.service))]).await;
    let one = format!("/v1/admins/{}", id_of(&admin).await);
    let probe = format!("/v1/targets/{}/probe", paper.target);
    admin.post(&probe, Value::Null).await.expect(202);
    let role = |role: &str| format!("{one}/roles/{role}?service={}", paper.service);
    client.post(&format!("{one}/roles"), json!({ "role": "viewer", "service_id": paper.service })).await.expect(200);
    client.delete(&role("operator")).await.expect(204);
    admin.post(&probe, Value::Null).await.expect(403);
    client.delete(&role("operator")).await.expect(404);
    client.delete(&role("owner")).await.expect(404);
    client.delete(&role("viewer")).await.expect(204);
    admin.post(&probe, Value::Null).await.expect(404);

    let disabled = client.patch(&one, json!({ "disabled": true })).await.expect(200);
    assert!(disabled["disabled"] == true && disabled["disabled_at"].is_string(), "{disabled}");
    admin.get("/v1/auth/me").await.expect(401);
    login(&app, "anna", ADMIN_PASSWORD).await.expect(401);
    // Twice is as once.
    assert_eq!(
        client.patch(&one, json!({ "disabled": true })).await.expect(200)["disabled_at"],
        disabled["disabled_at"]
    );
    client.patch(&one, json!({ "disabled": false })).await.expect(200);
    admin.get("/v1/auth/me").await.expect(401);
    let again = client.login("anna", ADMIN_PASSWORD).await;

    client.post(&format!("{one}/password"), json!({ "password": OTHER_PASSWORD })).await.expect(204);
    again.get("/v1/auth/me").await.expect(401);
    login(&app, "anna", ADMIN_PASSWORD).await.expect(401);
    client.login("anna", OTHER_PASSWORD).await;
}

#[tokio::test]
async fn ones_own_password_is_changed_by_whoever_knows_it_and_guesses_are_throttled() {
    let app = App::spawn().await;
    let admin = cast::admin(&app, "anna", &[]).await;
    let elsewhere = app.client.login("anna", ADMIN_PASSWORD).await;
    let password = format!("/v1/admins/{}/password", id_of(&admin).await);
    let change = |current: &str| json!({ "current_password": current, "password": OTHER_PASSWORD });
    let pointer = |answer: Answer| answer.expect(422)["errors"][0]["pointer"].clone();
    assert_eq!(pointer(admin.post(&password, json!({ "password": OTHER_PASSWORD })).await), "/current_password");
    let same = json!({ "current_password": ADMIN_PASSWORD, "password": ADMIN_PASSWORD });
    assert_eq!(pointer(admin.post(&password, same).await), "/password");
    app.execute("DELETE FROM login_failures").await;
    for _ in 0..10 {
        assert_eq!(pointer(admin.post(&password, change("not the password")).await), "/current_password");
    }
    let denied =
        "SELECT count(*) FROM audit WHERE action = 'admin.password' AND outcome = 'denied' AND admin_name = 'anna'";
    assert_eq!(app.value::<i64>(denied).await, 10);
    // The right one too, and the logins with it: a guess must not be told from a hit.
    let throttled = admin.post(&password, change(ADMIN_PASSWORD)).await;
    assert!(throttled.header("retry-after").is_some(), "{}", throttled.text);
    throttled.expect(429);
    login(&app, "anna", ADMIN_PASSWORD).await.expect(429);
    app.execute("UPDATE login_failures SET at = at - interval '16 minutes'").await;

    admin.post(&password, change(ADMIN_PASSWORD)).await.expect(204);
    for client in [&admin, &elsewhere] {
        client.get("/v1/auth/me").await.expect(401);
    }
    login(&app, "anna", ADMIN_PASSWORD).await.expect(401);
    login(&app, "anna", OTHER_PASSWORD).await.expect(200);
    // A super knows nobody's password, and needs their own for their own.
    let root = format!("/v1/admins/{}/password", id_of(&app.client).await);
    assert_eq!(pointer(app.client.post(&root, json!({ "password": OTHER_PASSWORD })).await), "/current_password");
}

#[tokio::test]
async fn a_password_that_anybody_could_guess_is_refused_in_words() {
    let app = App::spawn().await;
    let create = |password: &str| json!({ "name": "anna.brightwater", "password": password });
    for (password, words) in [
        ("eleven char", "12 to 128 characters"),
        ("password1234", "easy to guess"),
        ("brightwater12", "easy to guess"),
        ("Holdfast-Holdfast", "easy to guess"),
    ] {
        let refused = app.client.post("/v1/admins", create(password)).await;
        assert!(!refused.text.contains(password), "{}", refused.text);
        let error = refused.expect(422)["errors"][0].clone();
        assert_eq!(error["pointer"], "/password");
        assert!(error["detail"].as_str().unwrap().contains(words), "{error}");
    }
    app.client.post("/v1/admins", create("🦀 grüne wiesen am fjord, 七つの海 и тихий дон")).await.expect(201);

    let file = app.dir.path().join("weak");
    std::fs::write(&file, "password1234\n").unwrap();
    let config = app.dir.path().join("api.toml");
    let (config, file) = (config.to_str().unwrap(), file.to_str().unwrap());
    let create = ["--config", config, "admin", "create", "--name", "weak", "--password-file", file];
    let refused = stack::try_run(&stack::program("holdfast-api"), &create, &[]).unwrap_err();
    assert!(refused.contains("easy to guess"), "{refused}");
    assert_eq!(app.value::<i64>("SELECT count(*) FROM admins WHERE name = 'weak'").await, 0);
}

#[tokio::test]
async fn a_hash_of_older_parameters_is_made_anew_by_a_login() {
    // Of ADMIN_PASSWORD: 19 MiB and two passes, made by argon2-cffi 25.
    const OLD: &str =
        "$argon2id$v=19$m=19456,t=2,p=1$1Fy5Poyx7XxTkRx4ciOwdQ$EdDBSdH6p/XStsT/ssNm03yU6A49OEVCkRNElq+nK+I";
    let app = App::spawn().await;
    sqlx::query("UPDATE admins SET password_hash = $1").bind(OLD).execute(&app.pool).await.unwrap();
    let hash = "SELECT password_hash FROM admins";
    login(&app, "root", "not the password").await.expect(401);
    assert_eq!(app.value::<String>(hash).await, OLD);
    login(&app, "root", ADMIN_PASSWORD).await.expect(200);
    let new: String = app.value(hash).await;
    assert!(new.starts_with("$argon2id$v=19$m=47104,t=1,p=1$"), "{new}");
    login(&app, "root", ADMIN_PASSWORD).await.expect(200);
    assert_eq!(app.value::<String>(hash).await, new);
    // The session of before is none the worse for it.
    app.client.get("/v1/auth/me").await.expect(200);
}

#[tokio::test]
async fn a_login_with_the_old_password_opens_nothing_when_it_is_changed_meanwhile() {
    let app = App::spawn().await;
    let mut change = app.pool.begin().await.unwrap();
    sqlx::query("SELECT id FROM admins FOR UPDATE").execute(&mut *change).await.unwrap();
    let changed = async {
        until("the login waits", || async {
            let sql = "SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%NO KEY UPDATE%'";
            (app.value::<i64>(sql).await == 1).then_some(())
        })
        .await;
        sqlx::query("UPDATE admins SET token_version = token_version + 1").execute(&mut *change).await.unwrap();
        change.commit().await.unwrap();
    };
    let (answer, ()) = tokio::join!(login(&app, "root", ADMIN_PASSWORD), changed);
    answer.expect(401);
    assert_eq!(app.value::<i64>("SELECT count(*) FROM sessions").await, 1, "the first admin's own");
    login(&app, "root", ADMIN_PASSWORD).await.expect(200);
}

#[tokio::test]
async fn an_admin_of_a_service_hands_out_its_roles_and_nobody_raises_themselves() {
    let app = App::spawn().await;
    let (own, other) = (Paper::create(&app.client).await, Paper::create(&app.client).await);
    let admin = cast::admin(&app, "admin", &[("admin", Some(&own.service))]).await;
    let colleague =
        cast::admin(&app, "colleague", &[("viewer", Some(&own.service)), ("viewer", Some(&other.service))]).await;
    let stranger = cast::admin(&app, "stranger", &[("viewer", Some(&other.service))]).await;
    let global = cast::admin(&app, "global", &[("admin", None)]).await;
    let one = |id: &str| format!("/v1/admins/{id}");
    let (me, them, far) = (id_of(&admin).await, id_of(&colleague).await, id_of(&stranger).await);
    let nowhere = "00000000-0000-7000-8000-000000000000";

    let names = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|admin| admin["name"].as_str().unwrap().to_owned()).collect()
    };
    let seen = admin.get("/v1/admins").await.expect(200);
    assert_eq!(names(&seen), ["admin", "colleague"]);
    assert!(!seen.to_string().contains(&other.service), "of a colleague the roles here alone: {seen}");
    assert_eq!(admin.get(&one(&them)).await.expect(200)["roles"].as_array().unwrap().len(), 1);
    assert_eq!(global.get("/v1/admins").await.expect(200).as_array().unwrap().len(), 5);
    let (hidden, missing) = (admin.get(&one(&far)).await, admin.get(&one(nowhere)).await);
    assert_eq!((hidden.status.as_u16(), &hidden.body["detail"]), (404, &missing.body["detail"]));
    // Oneself anybody may see.
    assert_eq!(stranger.get(&one(&far)).await.expect(200)["name"], "stranger");
    stranger.get("/v1/admins").await.expect(403);

    let grant = |role: &str, service: &str| json!({ "role": role, "service_id": service });
    let roles = |id: &str| format!("/v1/admins/{id}/roles");
    for role in ["operator", "admin"] {
        let after = admin.post(&roles(&them), grant(role, &own.service)).await.expect(200);
        assert!(after.to_string().contains(role) && !after.to_string().contains(&other.service), "{after}");
    }
    let again = admin.post(&roles(&them), grant("admin", &own.service)).await.expect(200);
    assert_eq!(again.as_array().unwrap().len(), 3);
    admin.delete(&format!("{}/admin?service={}", roles(&them), own.service)).await.expect(204);
    let places = |answer: Answer| answer.expect(422)["errors"][0]["pointer"].clone();
    for service in [other.service.as_str(), nowhere] {
        assert_eq!(places(admin.post(&roles(&them), grant("viewer", service)).await), "/service_id");
        assert_eq!(places(admin.post(&roles(&me), grant("viewer", service)).await), "/service_id");
        admin.delete(&format!("{}/viewer?service={service}", roles(&them))).await.expect(404);
    }
    assert_eq!(places(app.client.post(&roles(&them), grant("viewer", nowhere)).await), "/service_id");
    assert_eq!(places(app.client.post(&roles(&them), grant("super", &own.service)).await), "/role");
    admin.post(&roles(&far), grant("viewer", &own.service)).await.expect(404);

    // Nobody but a super gives a global role, and nobody but a super gives themselves any.
    let global_id = id_of(&global).await;
    for (client, id) in [(&admin, &me), (&admin, &them), (&global, &global_id), (&global, &them)] {
        for role in ["viewer", "admin", "super"] {
            client.post(&roles(id), json!({ "role": role })).await.expect(403);
        }
    }
    for (client, id) in [(&admin, &me), (&global, &global_id)] {
        for role in ["viewer", "operator", "admin"] {
            client.post(&roles(id), grant(role, &own.service)).await.expect(403);
        }
        let create = json!({ "name": "minion", "password": OTHER_PASSWORD, "roles": [{ "role": "super" }] });
        client.post("/v1/admins", create).await.expect(403);
        client.post(&format!("{}/password", one(&them)), json!({ "password": OTHER_PASSWORD })).await.expect(403);
        client.patch(&one(id), json!({ "disabled": false })).await.expect(403);
    }
    // A global admin gives roles of any service, to others.
    global.post(&roles(&far), grant("operator", &own.service)).await.expect(200);
    let raised =
        "SELECT count(*) FROM admin_roles r JOIN admins a ON a.id = r.admin_id WHERE a.name IN ('admin', 'global')";
    assert_eq!(app.value::<i64>(raised).await, 2);
    let denied = "SELECT count(*) FROM audit WHERE outcome = 'denied' AND action = 'role.global'";
    assert_eq!(app.value::<i64>(denied).await, 12);
}

//! A password goes in and nothing comes out: no response, no line of a log, no row.

use serde_json::{Value, json};
use support::{
    ADMIN_PASSWORD, App,
    invariants::{everything, forms},
};

use super::cast::Paper;

#[tokio::test]
async fn a_password_is_nowhere_to_be_found() {
    let app = App::spawn().await;
    let client = &app.client;
    let paper = Paper::create(client).await;
    let (first, second) = ("pläin te>t \"first\" \\ %41", "another: planted/second+one");
    let mut said = Vec::new();
    let body = json!({ "name": "planted", "user_name": "backup", "password": first });
    let created = client.post("/v1/credentials", body.clone()).await;
    let path = format!("/v1/credentials/{}", created.body["id"].as_str().unwrap());
    assert_eq!(created.status, 201, "{}", created.text);
    assert!(created.body["key_id"].as_str().is_some_and(|id| !id.is_empty()), "{}", created.text);
    said.push(created.text);
    for answer in [
        client.post("/v1/credentials", body).await,
        client.patch(&path, json!({ "password": second })).await,
        client.get(&path).await,
        client.get("/v1/credentials").await,
        // Refusals must not quote what they refuse.
        client.patch(&path, json!({ "password": [second] })).await,
        client.patch(&path, json!({ "password": format!("{second}\n") })).await,
        client.patch(&path, json!({ "password": format!("{second}\u{0}") })).await,
        client
            .post("/v1/credentials", json!({ "name": second, "user_name": "u", "password": second, "x": second }))
            .await,
        client.post("/v1/auth/login", json!({ "name": "root", "password": second })).await,
        client.post("/v1/auth/login", json!({ "name": "root", "password": { "is": second } })).await,
        client.anonymous().patch(&path, json!({ "password": second })).await,
        client
            .patch(&format!("/v1/targets/{}", paper.target), json!({ "backup_credential_id": paper.credential }))
            .await,
    ] {
        said.push(answer.text);
    }
    client.delete(&path).await.expect(204);
    let kept = json!({ "name": "kept", "user_name": "backup", "password": second });
    client.post("/v1/credentials", kept).await.expect(201);

    let (said, rows, logs) = (said.join("\n"), everything(&app).await, app.logs());
    assert!(rows.contains("planted") && logs.contains("listening"), "looked at nothing");
    let token = client.token.as_ref().unwrap();
    let signature = token.rsplit('.').next().unwrap();
    for (what, secret) in [("first", first), ("second", second), ("admin's", ADMIN_PASSWORD), ("token", signature)] {
        let hex = secret.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        for (form, text) in forms(secret).into_iter().chain([("in hex", hex)]) {
            for (place, content) in [("responses", &said), ("rows", &rows), ("logs", &logs)] {
                assert!(!content.contains(&text), "the {what} password or token stands {form} in the {place}");
            }
        }
    }
    // The search would find one: the user's name is in clear.
    assert!(rows.contains("backup"), "the search finds nothing at all");
    let sealed: Value = app.value("SELECT to_jsonb(c) FROM credentials c WHERE name = 'kept'").await;
    assert!(sealed["ciphertext"].as_str().unwrap().len() > 2 * second.len(), "{sealed}");
}

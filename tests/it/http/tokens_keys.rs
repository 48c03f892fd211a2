//! The ring of keys: a new one signs, the old one verifies until it is taken away, and every session outlives both.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use support::{ADMIN_PASSWORD, App, Client, Process};

/// An API on the app's database with this ring.
async fn api(app: &App, name: &str, ring: &str) -> (Client, Process) {
    let config = std::fs::read_to_string(app.dir.path().join("api.toml")).unwrap();
    let (before, rest) = config.split_once("active_key").unwrap();
    let (_, after) = rest.split_once("\n\n").unwrap();
    let path = app.dir.path().join(format!("{name}.toml"));
    std::fs::write(&path, format!("{before}{ring}\n\n{after}")).unwrap();
    let args = ["--config", path.to_str().unwrap(), "serve"];
    let mut process = Process::start("holdfast-api", &args, app.dir.path(), name, &[]);
    let listening = process.says("listening").await;
    (Client::new(format!("http://{}", listening["address"].as_str().unwrap())), process)
}

async fn login(client: &Client) -> Value {
    client.post("/v1/auth/login", json!({ "name": "root", "password": ADMIN_PASSWORD })).await.expect(200)
}

fn kid(token: &str) -> String {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    serde_json::from_slice::<Value>(&header).unwrap()["kid"].as_str().unwrap().to_owned()
}

/// The status that a token is answered, and the key of the token it is renewed by.
async fn tried(client: &Client, token: &str) -> (u16, Option<String>) {
    let answer = client.with_token(token).get("/v1/auth/me").await;
    (answer.status.as_u16(), answer.header("x-access-token").map(kid))
}

#[tokio::test]
async fn a_new_key_signs_the_old_one_verifies_and_its_removal_ends_its_tokens() {
    let app = App::spawn().await;
    let file = |name: &str| app.dir.path().join(name).to_str().unwrap().to_owned();
    let (old, new) = (file("token.key"), file("second.key"));
    std::fs::write(&new, URL_SAFE_NO_PAD.encode("another key of forty-eight bytes, as openssl does")).unwrap();
    let both = format!("keys.k1_file = {old:?}\nkeys.k2_file = {new:?}");
    // First every process learns the new key, then it signs, then the old one goes.
    let (learnt, _first) = api(&app, "api-learnt", &format!("active_key = \"k1\"\n{both}")).await;
    let (signs, _second) = api(&app, "api-signs", &format!("active_key = \"k2\"\n{both}")).await;
    let (alone, _third) = api(&app, "api-alone", &format!("active_key = \"k2\"\nkeys.k2_file = {new:?}")).await;

    let of_old = login(&app.client.anonymous()).await;
    let of_new = login(&signs).await;
    let token = |body: &Value| body["access_token"].as_str().unwrap().to_owned();
    assert_eq!((kid(&token(&of_old)), kid(&token(&of_new))), ("k1".to_owned(), "k2".to_owned()));
    let renewed = |kid: &str| (200, Some(kid.to_owned()));
    for (client, by_old, by_new) in [
        (&app.client, renewed("k1"), (401, None)),
        (&learnt, renewed("k1"), renewed("k1")),
        (&signs, renewed("k2"), renewed("k2")),
        (&alone, (401, None), renewed("k2")),
    ] {
        assert_eq!(tried(client, &token(&of_old)).await, by_old, "{}", client.base);
        assert_eq!(tried(client, &token(&of_new)).await, by_new, "{}", client.base);
    }
    // The key under another's id does not verify.
    let (swapped, _fourth) =
        api(&app, "api-swapped", &format!("active_key = \"k1\"\nkeys.k1_file = {new:?}\nkeys.k2_file = {old:?}")).await;
    assert_eq!(tried(&swapped, &token(&of_old)).await.0, 401);
    assert_eq!(tried(&swapped, &token(&of_new)).await.0, 401);

    // Nobody has to log in anew.
    let body = json!({ "refresh_token": of_old["refresh_token"] });
    let refreshed = alone.post("/v1/auth/refresh", body).await.expect(200);
    assert_eq!(kid(&token(&refreshed)), "k2");
    assert_eq!(tried(&alone, &token(&refreshed)).await, renewed("k2"));
}

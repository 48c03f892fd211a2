//! Two people change one thing: with `If-Match` the second is told, and nothing is lost.

use reqwest::Method;
use serde_json::{Value, json};
use support::{Answer, App, Client};

use super::cast::{self, Paper};

async fn with(client: &Client, method: Method, path: &str, header: (&str, &str), body: Option<&Value>) -> Answer {
    let request = client.request(method, path).header(header.0, header.1);
    client
        .send(match body {
            Some(body) => request.json(body),
            None => request,
        })
        .await
}

#[tokio::test]
async fn what_has_changed_meanwhile_is_not_changed_blindly() {
    let app = App::spawn().await;
    let client = &app.client;
    let paper = Paper::create(client).await;
    cast::admin(&app, "colleague", &[("viewer", None)]).await;
    let admin: String = app.value("SELECT id::text FROM admins WHERE name = 'colleague'").await;
    for (path, first, second) in [
        (format!("/v1/services/{}", paper.service), json!({ "description": "a" }), json!({ "description": "b" })),
        (format!("/v1/servers/{}", paper.server), json!({ "max_jobs": 3 }), json!({ "max_jobs": 4 })),
        (format!("/v1/credentials/{}", paper.credential), json!({ "password": "new" }), json!({ "user_name": "u" })),
        (format!("/v1/targets/{}", paper.target), json!({ "deadline_s": 60 }), json!({ "deadline_s": 61 })),
        (format!("/v1/admins/{admin}"), json!({ "disabled": true }), json!({ "disabled": false })),
    ] {
        let seen = client.get(&path).await;
        let tag = seen.header("etag").unwrap().to_owned();
        assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 10, "{tag}");
        assert_eq!(client.get(&path).await.header("etag"), Some(tag.as_str()), "{path}");
        let known = with(client, Method::GET, &path, ("if-none-match", &tag), None).await;
        assert_eq!((known.status.as_u16(), known.text.as_str(), known.header("etag")), (304, "", Some(tag.as_str())));

        let changed = with(client, Method::PATCH, &path, ("if-match", &tag), Some(&first)).await;
        assert_eq!(changed.status, 200, "{path}: {}", changed.text);
        let next = changed.header("etag").unwrap().to_owned();
        assert_ne!(next, tag, "{path}");
        let shown = client.get(&path).await;
        assert_eq!((shown.header("etag"), &shown.text), (Some(next.as_str()), &changed.text), "{path}");
        with(client, Method::GET, &path, ("if-none-match", &tag), None).await.expect(200);

        for stale in [tag.as_str(), &format!("W/{next}"), "\"x\""] {
            let refused = with(client, Method::PATCH, &path, ("if-match", stale), Some(&second)).await;
            assert_eq!(refused.body["type"], "urn:holdfast:problem:precondition-failed", "{path}: {}", refused.text);
            refused.expect(412);
        }
        with(client, Method::DELETE, &path, ("if-match", &tag), None).await.expect(412);
        assert_eq!(client.get(&path).await.text, changed.text, "{path}");
        with(client, Method::PATCH, &path, ("if-match", "no tag"), Some(&second)).await.expect(400);
        for good in [format!("\"x\", {next}"), "*".into()] {
            with(client, Method::PATCH, &path, ("if-match", &good), Some(&second)).await.expect(200);
            let now = client.get(&path).await.header("etag").unwrap().to_owned();
            assert_ne!(now, next, "{path}: {good}");
            with(client, Method::PATCH, &path, ("if-match", &now), Some(&first)).await.expect(200);
            let again = client.get(&path).await;
            if good == "*" {
                continue;
            }
            // The same contents at another time are another version.
            assert_ne!(again.header("etag"), Some(next.as_str()), "{path}");
        }
        client.patch(&path, second).await.expect(200);
    }
    // Of what is not there nothing is said.
    let nowhere = "/v1/services/00000000-0000-7000-8000-000000000000";
    with(client, Method::PATCH, nowhere, ("if-match", "\"x\""), Some(&json!({}))).await.expect(404);
    let tag = client.get(&format!("/v1/targets/{}", paper.target)).await.header("etag").unwrap().to_owned();
    with(client, Method::DELETE, &format!("/v1/targets/{}", paper.target), ("if-match", &tag), None).await.expect(204);
}

#[tokio::test]
async fn of_many_changes_at_once_each_has_seen_what_it_changes() {
    let app = App::spawn().await;
    let paper = Paper::create(&app.client).await;
    for (path, field) in
        [(format!("/v1/services/{}", paper.service), "description"), (format!("/v1/targets/{}", paper.target), "name")]
    {
        let tag = app.client.get(&path).await.header("etag").unwrap().to_owned();
        let all = (0..20).map(|n| {
            let (client, path, tag) = (&app.client, &path, &tag);
            async move {
                let body = json!({ field: format!("v-{n}") });
                with(client, Method::PATCH, path, ("if-match", tag), Some(&body)).await.status.as_u16()
            }
        });
        let mut statuses = futures_util::future::join_all(all).await;
        statuses.sort_unstable();
        assert_eq!((statuses[0], &statuses[1..]), (200, [412; 19].as_slice()), "{path}");
    }
}

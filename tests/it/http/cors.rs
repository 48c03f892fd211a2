//! Pages of other origins: nobody's, unless the configuration names them.

use reqwest::Method;
use support::{Answer, App, Client};

use super::cast;

async fn from(client: &Client, method: Method, path: &str, origin: &str) -> Answer {
    let mut request = client.request(method.clone(), path).header("origin", origin);
    if method == Method::OPTIONS {
        request = request
            .header("access-control-request-method", "PATCH")
            .header("access-control-request-headers", "authorization,if-match");
    }
    client.send(request).await
}

#[tokio::test]
async fn only_pages_of_the_named_origins_may_read_answers() {
    let app = App::spawn().await;
    let off = from(&app.client, Method::GET, "/v1/auth/me", "https://ops.example.org").await;
    assert_eq!((off.status.as_u16(), off.header("access-control-allow-origin")), (200, None));
    let off = from(&app.client.anonymous(), Method::OPTIONS, "/v1/services", "https://ops.example.org").await;
    assert_eq!((off.status.as_u16(), off.header("access-control-allow-origin")), (405, None));

    let origins = ("HOLDFAST__HTTP__CORS__ORIGINS", "[\"https://ops.example.org\", \"http://localhost:3000\"]");
    let (_api, client) = cast::another_api(&app, "api-cors", &[origins]).await;
    for origin in ["https://ops.example.org", "http://localhost:3000"] {
        // A preflight carries no token.
        let asked = from(&client.anonymous(), Method::OPTIONS, "/v1/services/1", origin).await;
        assert_eq!(asked.status, 200, "{}", asked.text);
        assert_eq!(asked.header("access-control-allow-origin"), Some(origin));
        for (name, values) in [
            ("access-control-allow-methods", vec!["GET", "POST", "PATCH", "DELETE"]),
            (
                "access-control-allow-headers",
                vec!["authorization", "y-access-token", "content-type", "idempotency-key", "if-match", "admin-id"],
            ),
        ] {
            let said = asked.header(name).unwrap_or_default();
            assert!(values.iter().all(|value| said.contains(value)), "{name}: {said}");
        }
        assert_eq!(asked.header("access-control-max-age"), Some("600"));
        assert!(asked.header("x-request-id").is_some() && asked.header("x-content-type-options") == Some("nosniff"));
        // Problems too are readable, be they of the gate.
        let refused = client.request(Method::GET, &format!("/{}", "x".repeat(9000))).header("origin", origin);
        for answer in [
            from(&client, Method::GET, "/v1/auth/me", origin).await,
            from(&client.anonymous(), Method::GET, "/v1/auth/me", origin).await,
            from(&client, Method::GET, "/v1/nothing", origin).await,
            client.send(refused).await,
        ] {
            assert_eq!(answer.header("access-control-allow-origin"), Some(origin), "{}", answer.text);
            assert_eq!(answer.header("access-control-allow-credentials"), None);
            assert!(answer.header("vary").unwrap().contains("origin"));
            let exposed = answer.header("access-control-expose-headers").unwrap();
            for name in [
                "x-access-token",
                "x-request-id",
                "x-total-count",
                "x-total-count-bound",
                "link",
                "location",
                "etag",
                "retry-after",
                "idempotency-replayed",
            ] {
                assert!(exposed.split(',').any(|shown| shown.trim() == name), "{name}: {exposed}");
            }
        }
    }
    for origin in
        ["https://evil.example", "http://ops.example.org", "https://ops.example.org.evil.example", "null", "*"]
    {
        for method in [Method::GET, Method::OPTIONS] {
            let answer = from(&client, method.clone(), "/v1/auth/me", origin).await;
            assert_eq!(answer.header("access-control-allow-origin"), None, "{method} {origin}");
            assert_eq!(answer.header("access-control-allow-credentials"), None);
        }
    }
}

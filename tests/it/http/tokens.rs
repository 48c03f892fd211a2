//! Tokens that must not be accepted, each refused in the same words (guarantees §4.2, G2). They are made with the real
//! key wherever the point is another one than the signature.

use base64::{
    Engine,
    engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD},
};
use ring::hmac;
use serde_json::{Value, json};
use support::{ADMIN_PASSWORD, Answer, App};

use super::cast;

struct Forge {
    key: Vec<u8>,
    header: Value,
    claims: Value,
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn sign(algorithm: hmac::Algorithm, key: &[u8], message: &str) -> String {
    b64(hmac::sign(&hmac::Key::new(algorithm, key), message.as_bytes()))
}

impl Forge {
    /// From a token that is accepted.
    fn of(app: &App, token: &str) -> Self {
        let parts: Vec<&str> = token.split('.').collect();
        let part = |text: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap();
        let key = std::fs::read_to_string(app.dir.path().join("token.key")).unwrap();
        Self { key: URL_SAFE_NO_PAD.decode(key.trim()).unwrap(), header: part(parts[0]), claims: part(parts[1]) }
    }

    fn raw(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", b64(header), b64(claims));
        format!("{message}.{}", sign(hmac::HMAC_SHA256, &self.key, &message))
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        self.raw(&header.to_string(), &claims.to_string())
    }

    fn header(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut header = self.header.clone();
        change(&mut header);
        self.token(&header, &self.claims)
    }

    fn claims(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = self.claims.clone();
        change(&mut claims);
        self.token(&self.header, &claims)
    }

    /// With another algorithm in the header, and signed by it.
    fn signed(&self, name: &str, algorithm: hmac::Algorithm) -> String {
        let mut header = self.header.clone();
        header["alg"] = name.into();
        let message = format!("{}.{}", b64(header.to_string()), b64(self.claims.to_string()));
        format!("{message}.{}", sign(algorithm, &self.key, &message))
    }

    fn unsigned(&self, algorithm: &str) -> String {
        let mut header = self.header.clone();
        header["alg"] = algorithm.into();
        format!("{}.{}.", b64(header.to_string()), b64(self.claims.to_string()))
    }
}

fn without(name: &'static str) -> impl FnOnce(&mut Value) {
    move |value| drop(value.as_object_mut().unwrap().remove(name))
}

fn with(name: &'static str, new: impl Into<Value>) -> impl FnOnce(&mut Value) {
    let new = new.into();
    move |value| value[name] = new
}

#[expect(clippy::too_many_lines, reason = "a list")]
fn corpus(good: &Forge, other: &Forge) -> Vec<(&'static str, String)> {
    let now = good.claims["iat"].as_i64().unwrap();
    let token = good.token(&good.header, &good.claims);
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (head, body) = message.split_once('.').unwrap();
    let mut flipped = signature.as_bytes().to_vec();
    flipped[10] = if flipped[10] == b'A' { b'B' } else { b'A' };
    let stranger = hmac::Key::new(hmac::HMAC_SHA256, b"a key of somebody else, 32 bytes long");
    let by_stranger = b64(hmac::sign(&stranger, message.as_bytes()));
    let text = |value: &Value| value.to_string();
    let twice = |value: &Value, member: &str| {
        let text = value.to_string();
        format!("{},{member}}}", text.strip_suffix('}').unwrap())
    };
    let no_key = {
        let message =
            format!("{}.{body}", b64(json!({ "alg": "HS256", "typ": "at+jwt", "kid": "/dev/null" }).to_string()));
        format!("{message}.{}", sign(hmac::HMAC_SHA256, b"", &message))
    };
    vec![
        ("nothing", String::new()),
        ("a word", "token".into()),
        ("two dots", "..".into()),
        ("no signature", message.into()),
        ("an empty signature", format!("{message}.")),
        ("four parts", format!("{token}.{signature}")),
        ("five parts", format!("{head}.{body}.{head}.{body}.{signature}")),
        ("parts swapped", format!("{body}.{head}.{signature}")),
        ("no base64", "!!.??.%%".into()),
        ("alg none", good.unsigned("none")),
        ("alg None", good.unsigned("None")),
        ("alg nOnE", good.unsigned("nOnE")),
        ("alg NONE, signed", good.header(with("alg", "NONE"))),
        ("alg empty", good.header(with("alg", ""))),
        ("alg null", good.header(with("alg", Value::Null))),
        ("alg missing", good.header(without("alg"))),
        ("alg hs256", good.header(with("alg", "hs256"))),
        ("alg HS384", good.signed("HS384", hmac::HMAC_SHA384)),
        ("alg HS512", good.signed("HS512", hmac::HMAC_SHA512)),
        ("alg HS256, signed by HS512", good.signed("HS256", hmac::HMAC_SHA512)),
        ("alg RS256", good.header(with("alg", "RS256"))),
        ("alg EdDSA", good.header(with("alg", "EdDSA"))),
        ("alg twice", good.raw(&twice(&good.header, r#""alg":"HS256""#), &text(&good.claims))),
        ("typ JWT", good.header(with("typ", "JWT"))),
        ("typ rt+jwt", good.header(with("typ", "rt+jwt"))),
        ("typ missing", good.header(without("typ"))),
        ("kid missing", good.header(without("kid"))),
        ("kid unknown", good.header(with("kid", "k2"))),
        ("kid empty", good.header(with("kid", ""))),
        ("kid a path", good.header(with("kid", "../../../../dev/null"))),
        ("kid a path, signed by nothing", no_key),
        ("kid SQL", good.header(with("kid", "k1' OR '1'='1"))),
        ("kid a list", good.header(with("kid", json!(["k1"])))),
        ("jku", good.header(with("jku", "https://127.0.0.1/keys"))),
        ("jwk", good.header(with("jwk", json!({ "kty": "oct", "k": "AAAA" })))),
        ("x5u", good.header(with("x5u", "https://127.0.0.1/cert"))),
        ("crit", good.header(with("crit", json!(["exp"])))),
        ("crit empty", good.header(with("crit", json!([])))),
        ("b64 false", good.header(with("b64", false))),
        ("zip", good.header(with("zip", "DEF"))),
        ("iss missing", good.claims(without("iss"))),
        ("iss other", good.claims(with("iss", "holdfast2"))),
        ("aud missing", good.claims(without("aud"))),
        ("aud other", good.claims(with("aud", "holdfast"))),
        ("aud a list", good.claims(with("aud", json!([good.claims["aud"]])))),
        ("sub missing", good.claims(without("sub"))),
        ("sub of another", good.claims(with("sub", other.claims["sub"].clone()))),
        ("sub of nobody", good.claims(with("sub", "00000000-0000-7000-8000-000000000000"))),
        ("sub a name", good.claims(with("sub", "root"))),
        ("exp missing", good.claims(without("exp"))),
        ("exp past", good.claims(with("exp", now - 31))),
        ("exp before iat", good.claims(with("exp", now - 1))),
        ("exp text", good.claims(with("exp", "9999999999"))),
        ("exp with a fraction", good.claims(with("exp", 9_999_999_999.5))),
        ("exp beyond all numbers", good.claims(with("exp", 1e300))),
        ("exp null", good.claims(with("exp", Value::Null))),
        ("nbf missing", good.claims(without("nbf"))),
        ("nbf to come", good.claims(with("nbf", now + 600))),
        ("iat missing", good.claims(without("iat"))),
        ("iat to come", good.claims(with("iat", now + 600))),
        ("jti missing", good.claims(without("jti"))),
        ("jti no uuid", good.claims(with("jti", "1"))),
        ("sid missing", good.claims(without("sid"))),
        ("sid unknown", good.claims(with("sid", "00000000-0000-7000-8000-000000000000"))),
        ("sid of another", good.claims(with("sid", other.claims["sid"].clone()))),
        ("ver missing", good.claims(without("ver"))),
        ("ver other", good.claims(with("ver", 77))),
        ("a role", good.claims(with("role", "super"))),
        (
            "sub twice",
            good.raw(&text(&good.header), &twice(&good.claims, &format!(r#""sub":{}"#, other.claims["sub"]))),
        ),
        ("claims a list", good.raw(&text(&good.header), "[]")),
        ("claims no JSON", good.raw(&text(&good.header), "{")),
        ("header a list", good.raw("[]", &text(&good.claims))),
        ("a stranger's key", format!("{message}.{by_stranger}")),
        ("signature cut", format!("{message}.{}", &signature[..signature.len() - 1])),
        ("signature with one other letter", format!("{message}.{}", String::from_utf8(flipped).unwrap())),
        ("signature padded", format!("{message}.{signature}=")),
        ("claims padded", format!("{head}.{}.{signature}", URL_SAFE.encode(good.claims.to_string()))),
        ("claims of another", format!("{head}.{}.{signature}", b64(other.claims.to_string()))),
        ("5 KB", good.claims(with("iss", "x".repeat(5000)))),
        ("100 KB", "A".repeat(100_000)),
    ]
}

/// What is the same in all refusals.
fn refusal(answer: &Answer) -> (u16, Value, Vec<(String, String)>) {
    let mut body = answer.body.clone();
    body.as_object_mut().unwrap_or_else(|| panic!("{}", answer.text)).remove("request_id");
    let varying = ["x-request-id", "date"];
    let headers = answer.headers.iter().filter(|(name, _)| !varying.contains(&name.as_str()));
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    (answer.status.as_u16(), body, headers)
}

#[tokio::test]
async fn every_bad_token_is_refused_in_the_same_words() {
    let app = App::spawn().await;
    let client = app.client.login("root", ADMIN_PASSWORD).await;
    let good = Forge::of(&app, client.token.as_ref().unwrap());
    let other = cast::admin(&app, "other", &[("super", None)]).await;
    let other = Forge::of(&app, other.token.as_ref().unwrap());
    let nobody = client.anonymous();

    let token = good.token(&good.header, &good.claims);
    let me =
        |name: &'static str, value: String| nobody.request(reqwest::Method::GET, "/v1/auth/me").header(name, value);
    nobody.send(me("authorization", format!("Bearer {token}"))).await.expect(200);
    nobody.send(me("authorization", format!("bEARER {token}"))).await.expect(200);
    nobody.send(me("y-access-token", token.clone())).await.expect(200);

    let expected = refusal(&nobody.get("/v1/auth/me").await);
    assert_eq!((expected.0, expected.1["type"].as_str()), (401, Some("urn:holdfast:problem:unauthorized")));
    assert!(expected.2.contains(&("www-authenticate".into(), "Bearer".into())), "{expected:?}");
    assert!(expected.2.contains(&("cache-control".into(), "no-store".into())), "{expected:?}");

    let corpus = corpus(&good, &other);
    assert!(corpus.len() >= 60, "{}", corpus.len());
    for (what, bad) in &corpus {
        for (header, value) in [("authorization", format!("Bearer {bad}")), ("y-access-token", bad.clone())] {
            let answer = nobody.send(me(header, value)).await;
            assert_eq!(refusal(&answer), expected, "{what} by {header}");
        }
    }
    let bearer = format!("Bearer {token}");
    for (what, request) in [
        ("two authorizations", me("authorization", bearer.clone()).header("authorization", &bearer)),
        ("two tokens", me("y-access-token", token.clone()).header("y-access-token", &token)),
        ("both kinds", me("authorization", bearer.clone()).header("y-access-token", &token)),
        ("another scheme", me("authorization", format!("Basic {token}"))),
        ("no scheme", me("authorization", token.clone())),
        ("the scheme twice", me("authorization", format!("Bearer Bearer {token}"))),
        ("two spaces", me("authorization", format!("Bearer  {token}"))),
        ("a cookie", me("cookie", format!("access_token={token}"))),
        ("a query", nobody.request(reqwest::Method::GET, &format!("/v1/auth/me?access_token={token}"))),
    ] {
        assert_eq!(refusal(&nobody.send(request).await), expected, "{what}");
    }

    // A header of a megabyte does not get as far as a token: the server reads no such request.
    let huge =
        super::raw::request("GET /v1/auth/me", &[("authorization", &format!("Bearer {}", "A".repeat(1 << 20)))], b"");
    let answer = super::raw::send(&nobody, &huge).await;
    assert!(matches!(super::raw::status(&answer), Some(401 | 431) | None), "{answer}");
    client.get("/v1/auth/me").await.expect(200);

    // Refused tokens are audited, and a flood of them does not fill the table.
    let audited: i64 =
        app.value("SELECT count(*) FROM audit WHERE action = 'GET /v1/auth/me' AND outcome = 'denied'").await;
    assert!((50..=120).contains(&audited), "{audited}");
}

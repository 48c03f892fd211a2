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
        ("12 KB", "A".repeat(12_000)),
    ]
}

/// Every member of header and claims in turn: missing, null, an empty text, twice, and beside itself in other letters.
fn members(good: &Forge) -> Vec<(String, String)> {
    let mut bad = Vec::new();
    for (part, whole) in [("header", &good.header), ("claims", &good.claims)] {
        for (name, value) in whole.as_object().unwrap() {
            let text = whole.to_string();
            let twice = format!("{},{}:{value}}}", text.strip_suffix('}').unwrap(), json!(name));
            let mut changed = Vec::new();
            for new in [None, Some(Value::Null), Some(json!("")), Some(json!([value])), Some(json!({ "is": value }))] {
                let mut other = whole.clone();
                match new {
                    Some(new) => other[name] = new,
                    None => drop(other.as_object_mut().unwrap().remove(name)),
                }
                changed.push(other.to_string());
            }
            let mut upper = whole.clone();
            upper[name.to_uppercase()] = value.clone();
            changed.extend([twice, upper.to_string()]);
            for (number, text) in changed.into_iter().enumerate() {
                let token = match part {
                    "header" => good.raw(&text, &good.claims.to_string()),
                    _ => good.raw(&good.header.to_string(), &text),
                };
                bad.push((format!("{part} {name}, change {number}"), token));
            }
        }
    }
    bad
}

/// What is a token, and not one for this.
async fn of_other_kinds(app: &App) -> Vec<(String, String)> {
    let text = |body: &Value, name: &str| body[name].as_str().unwrap().to_owned();
    let body = json!({ "name": "root", "password": ADMIN_PASSWORD });
    let refresh = text(&app.client.anonymous().post("/v1/auth/login", body).await.expect(200), "refresh_token");
    let make = |name: &'static str| async move {
        let made = app.client.post("/v1/tokens", json!({ "name": name, "role": "admin" })).await.expect(201);
        (text(&made, "id"), text(&made, "token"))
    };
    let (_, good) = make("good").await;
    let ((revoked, of_revoked), (_, of_over), (_, of_forgotten)) = (make("a").await, make("b").await, make("c").await);
    app.client.delete(&format!("/v1/tokens/{revoked}")).await.expect(204);
    app.execute("UPDATE api_tokens SET expires_at = now() WHERE name = 'b'").await;
    app.execute("DELETE FROM api_tokens WHERE name = 'c'").await;
    app.client.with_token(&good).get("/v1/auth/me").await.expect(200);
    let other = if good.ends_with('0') { "1" } else { "0" };
    [
        ("a refresh token", refresh.clone()),
        ("a refresh token as an API token", refresh.replacen("hfr_", "hft_", 1)),
        ("an API token as a refresh token", good.replacen("hft_", "hfr_", 1)),
        ("an API token that is revoked", of_revoked),
        ("an API token that is over", of_over),
        ("an API token that nobody knows", of_forgotten),
        ("an API token with a wrong sum", format!("{}{other}", &good[..52])),
        ("an API token cut", good[..52].to_owned()),
        ("an API token and more", format!("{good}0")),
        ("an API token in upper case", good.to_uppercase()),
        ("an API token without its prefix", good[4..].to_owned()),
        ("the prefix of an API token", "hft_".to_owned()),
        ("an API token with dots", format!("{good}.{good}.{good}")),
        ("an API token's hash", format!("hft_{}", "0".repeat(64))),
        ("SQL behind the prefix", format!("hft_' OR 1=1 --{}", "x".repeat(34))),
    ]
    .map(|(what, token)| (what.to_owned(), token))
    .into()
}

/// What is the same in all refusals.
fn refusal(answer: &Answer) -> (u16, Value, Vec<(String, String)>) {
    let mut body = answer.body.clone();
    body.as_object_mut().unwrap_or_else(|| panic!("{}", answer.text)).remove("request_id");
    // How much is left of what an address may ask depends on how fast it asks.
    let varying = ["x-request-id", "date", "ratelimit"];
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

    let corpus = corpus(&good, &other).into_iter().map(|(what, token)| (what.to_owned(), token));
    let corpus: Vec<_> = corpus.chain(members(&good)).chain(of_other_kinds(&app).await).collect();
    assert!(corpus.len() >= 160, "{}", corpus.len());
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
        ("a token of each kind", me("authorization", bearer.clone()).header("authorization", "Bearer hft_x")),
        ("two spaces", me("authorization", format!("Bearer  {token}"))),
        ("a cookie", me("cookie", format!("access_token={token}"))),
        ("a query", nobody.request(reqwest::Method::GET, &format!("/v1/auth/me?access_token={token}"))),
    ] {
        assert_eq!(refusal(&nobody.send(request).await), expected, "{what}");
    }

    // Longer headers, of a megabyte to the last, need not get as far as a token: no such request is read.
    for bytes in [100_000, 1 << 20] {
        let huge =
            super::raw::request("GET /v1/auth/me", &[("authorization", &format!("Bearer {}", "A".repeat(bytes)))], b"");
        let answer = super::raw::send(&nobody, &huge).await;
        assert!(matches!(super::raw::status(&answer), Some(401 | 431) | None), "{answer}");
    }
    client.get("/v1/auth/me").await.expect(200);

    // Refused tokens are audited, and a flood of them does not fill the table.
    let audited: i64 =
        app.value("SELECT count(*) FROM audit WHERE action = 'GET /v1/auth/me' AND outcome = 'denied'").await;
    assert!((50..=120).contains(&audited), "{audited}");
}

//! The corpus of bad tokens: each is refused, and nothing tells one refusal from another.

use super::*;

const NOW: i64 = 1_800_000_000;

fn tokens() -> Tokens {
    let keys = [("a", [7u8; 32]), ("b", [8u8; 32])].map(|(kid, k)| {
        (kid.to_owned(), Key { sign: EncodingKey::from_secret(&k), verify: DecodingKey::from_secret(&k) })
    });
    Tokens {
        keys: Arc::new(keys.into()),
        active: "a".into(),
        issuer: "holdfast".into(),
        audience: "holdfast-api".into(),
        life: Duration::from_mins(15),
        renews: true,
    }
}

fn signed_with(header: &str, claims: &str, key: &[u8], algorithm: Algorithm) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = crypto::sign(message.as_bytes(), &EncodingKey::from_secret(key), algorithm).unwrap();
    format!("{message}.{signature}")
}

fn signed(header: &str, claims: &str) -> String {
    signed_with(header, claims, &[7; 32], Algorithm::HS256)
}

const HEADER: &str = r#"{"alg":"HS256","typ":"at+jwt","kid":"a"}"#;

fn claims() -> serde_json::Value {
    let id = uuid::Uuid::nil();
    serde_json::json!({ "iss": "holdfast", "aud": "holdfast-api", "sub": id, "exp": NOW + 900, "nbf": NOW, "iat": NOW,
                        "jti": id, "sid": id, "ver": 0 })
}

fn with(name: &str, value: serde_json::Value) -> String {
    let mut claims = claims();
    claims[name] = value;
    claims.to_string()
}

#[test]
fn what_is_issued_is_accepted_within_its_life() {
    let tokens = tokens();
    let subject = Subject { admin: AdminId::generate(), session: SessionId::generate(), version: 3 };
    let (token, exp) = tokens.issue(subject, NOW, NOW + 43_200).unwrap();
    assert_eq!(exp, NOW + 900);
    let claims = tokens.verify(&token, NOW + 900 + 29).unwrap();
    assert_eq!((claims.sub, claims.sid, claims.ver), (subject.admin, subject.session, 3));
    assert!(tokens.verify(&token, NOW + 900 + 30).is_err());
    assert!(tokens.verify(&token, NOW - 30).is_ok());
    assert!(tokens.verify(&token, NOW - 31).is_err());
    assert_eq!(tokens.issue(subject, NOW, NOW + 10).unwrap().1, NOW + 10, "never past the session's end");
    let previous = signed_with(
        r#"{"alg":"HS256","typ":"at+jwt","kid":"b"}"#,
        &self::claims().to_string(),
        &[8; 32],
        Algorithm::HS256,
    );
    assert!(tokens.verify(&previous, NOW).is_ok(), "every key of the ring is accepted");
}

#[test]
fn the_corpus_is_refused() {
    use serde_json::json;
    let good_claims = claims().to_string();
    let good = signed(HEADER, &good_claims);
    let tokens = tokens();
    assert!(tokens.verify(&good, NOW).is_ok(), "the corpus departs from a good token");
    let mut bad: Vec<String> = Vec::new();
    for alg in ["none", "None", "nOnE", "NONE", "HS384", "HS512", "RS256", "ES256", "EdDSA", "hs256", ""] {
        bad.push(signed(&format!(r#"{{"alg":"{alg}","typ":"at+jwt","kid":"a"}}"#), &good_claims));
    }
    let (message, _) = good.rsplit_once('.').unwrap();
    bad.push(format!(
        "{}.{}.",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"at+jwt","kid":"a"}"#),
        URL_SAFE_NO_PAD.encode(&good_claims)
    ));
    bad.push(format!("{message}."));
    bad.push(message.to_owned());
    bad.push(format!("{good}A"));
    bad.push(format!("{good}."));
    bad.push(format!("{good}="));
    bad.push(format!(" {good}"));
    bad.push(good.to_uppercase());
    bad.extend(["", ".", "..", "...", "a.b.c", "\u{0}", "é.é.é", "null", "Bearer"].map(str::to_owned));
    for kid in ["c", "", "../a", "a' OR '1'='1", "/dev/null", "a\\u0000", "A"] {
        bad.push(signed(&format!(r#"{{"alg":"HS256","typ":"at+jwt","kid":"{kid}"}}"#), &good_claims));
    }
    for header in [
        r#"{"alg":"HS256","kid":"a"}"#,
        r#"{"alg":"HS256","typ":"JWT","kid":"a"}"#,
        r#"{"alg":"HS256","typ":"rt+jwt","kid":"a"}"#,
        r#"{"alg":"HS256","typ":"at+jwt"}"#,
        r#"{"typ":"at+jwt","kid":"a"}"#,
        r#"{"alg":"HS256","typ":"at+jwt","kid":"a","crit":["exp"]}"#,
        r#"{"alg":"HS256","typ":"at+jwt","kid":"a","crit":[]}"#,
        r#"{"alg":"HS256","typ":"at+jwt","kid":"a","jku":"https://evil.example"}"#,
        r#"{"alg":"HS256","typ":"at+jwt","kid":"a","jwk":{}}"#,
        r#"{"alg":"HS256","typ":"at+jwt","kid":"a","kid":"a"}"#,
        r#"{"alg":"HS256","alg":"none","typ":"at+jwt","kid":"a"}"#,
        "[]",
        "{}",
    ] {
        bad.push(signed(header, &good_claims));
    }
    for name in ["iss", "aud", "sub", "exp", "nbf", "iat", "jti", "sid", "ver"] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(name);
        bad.push(signed(HEADER, &claims.to_string()));
        bad.push(signed(HEADER, &with(name, json!(null))));
        bad.push(signed(HEADER, &format!("{{\"{name}\":1,{}", &good_claims[1..])));
    }
    for (name, value) in [
        ("iss", json!("other")),
        ("aud", json!("other")),
        ("aud", json!(["holdfast-api"])),
        ("exp", json!(NOW - 31)),
        ("exp", json!(1.5)),
        ("exp", json!("9999999999")),
        ("exp", json!(-1)),
        ("exp", json!(u64::MAX)),
        ("nbf", json!(NOW + 31)),
        ("iat", json!(NOW + 31)),
        ("sub", json!("root")),
        ("sid", json!(7)),
        ("scope", json!("super")),
    ] {
        bad.push(signed(HEADER, &with(name, value)));
    }
    bad.push(signed_with(HEADER, &good_claims, &[9; 32], Algorithm::HS256));
    bad.push(signed_with(HEADER, &good_claims, &[8; 32], Algorithm::HS256));
    bad.push(signed_with(HEADER, &good_claims, b"", Algorithm::HS256));
    bad.push(signed_with(HEADER, &good_claims, &[7; 32], Algorithm::HS512));
    bad.push(signed(HEADER, &with("iss", json!("x".repeat(1 << 20)))));
    bad.push(signed(HEADER, "{}"));
    assert!(bad.len() >= 60, "{}", bad.len());
    for token in bad {
        assert!(matches!(tokens.verify(&token, NOW), Err(BadToken)), "{}", token.chars().take(300).collect::<String>());
    }
}

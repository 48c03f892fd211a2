//! Extractors whose refusals are problems of ours: a JSON body, path parameters, a query.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request, rejection::QueryRejection},
    http::{Method, Uri, header, request::Parts},
};
use ring::digest::{self, SHA256};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    error::{ApiError, FieldError},
    gate::Context,
    idempotency::Keyed,
};

/// A JSON body; unknown fields are refused by each DTO's `deny_unknown_fields`.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let essence = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let essence = essence.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let is_patch = request.method() == Method::PATCH && essence == "application/merge-patch+json";
        if essence != "application/json" && !is_patch {
            return Err(ApiError::UnsupportedMediaType);
        }
        // Whether a repeated request is the same is decided by its very bytes.
        let noted = request.extensions().get::<Context>().filter(|_| Keyed::is_given(request.headers())).cloned();
        let bytes =
            Bytes::from_request(request, state).await.map_err(|rejection| ApiError::of_status(rejection.status()))?;
        if let Some(context) = noted {
            context.came_with(digest::digest(&SHA256, &bytes));
        }
        parse(&bytes).map(Self)
    }
}

/// Parses a body; what is wrong is told with the place it stands at. What is no JSON, or is nested deeper than
/// 127 levels, is malformed; what is JSON and cannot be used is invalid.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| ApiError::Malformed(error.to_string()))?;
    // PostgreSQL stores no NUL, in no kind of text.
    if let Some(pointer) = nul(&value) {
        return Err(ApiError::field(pointer, "holds a NUL character"));
    }
    // Once more from the bytes, where a member that stands twice is still seen.
    let mut json = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let (pointer, detail) = (pointer(error.path()), error.into_inner().to_string());
        // Of what is missing or stands twice the path ends at the object around it; the text names the member.
        let member = ["missing field `", "duplicate field `"].iter().find_map(|start| detail.strip_prefix(start));
        let member = member.and_then(|rest| rest.split_once('`')).map(|(name, _)| format!("/{}", escaped(name)));
        ApiError::field(pointer + &member.unwrap_or_default(), detail)
    })
}

/// Where the first text with a NUL stands. The depth is bounded by the parser.
fn nul(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => text.contains('\0').then(String::new),
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(index, item)| nul(item).map(|rest| format!("/{index}{rest}")))
        }
        Value::Object(members) => members.iter().find_map(|(key, member)| {
            let here = key.contains('\0').then(String::new);
            here.or_else(|| nul(member).map(|rest| format!("/{}{rest}", escaped(key))))
        }),
        _ => None,
    }
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Text for people: at most `max` characters.
pub fn short(pointer: &str, text: &str, max: usize) -> Result<(), ApiError> {
    if text.chars().count() > max {
        return Err(ApiError::field(pointer, format!("is longer than {max} characters")));
    }
    Ok(())
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key } => format!("/{}", escaped(key)),
            Segment::Enum { variant } => format!("/{variant}"),
            Segment::Unknown => "/?".to_owned(),
        })
        .collect()
}

/// Path parameters. What does not parse names nothing that exists: 404.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        axum::extract::Path::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path(value)| Self(value))
            .map_err(|_| ApiError::NotFound("resource: its id is a UUID"))
    }
}

/// Query parameters. Unknown ones, and one that stands twice, are refused with their names.
#[derive(Debug)]
pub struct Query<T>(pub T);

/// The query of a route that takes none.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoQuery {}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        query(&parts.uri).map(Self)
    }
}

/// As the extractor, of an address at hand.
pub fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, ApiError> {
    use axum::extract::Query;
    let refused = |name: &str, detail: &str| ApiError::Invalid {
        detail: "the query holds what cannot be used".into(),
        errors: vec![FieldError::new(format!("?{name}"), detail)],
    };
    let unread =
        |rejection: QueryRejection| rejection.body_text().split_once(": ").map_or_else(String::new, |x| x.1.into());
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(|e| refused("", &unread(e)))?;
    for (index, (name, value)) in pairs.iter().enumerate() {
        if pairs.iter().take(index).any(|(before, _)| before == name) {
            return Err(refused(name, "stands twice"));
        }
        if name.contains('\0') || value.contains('\0') {
            return Err(refused(&name.replace('\0', ""), "holds a NUL character"));
        }
    }
    Query::<T>::try_from_uri(uri).map(|Query(value)| value).map_err(|rejection| {
        let detail = unread(rejection);
        // The path that the text begins with is the name of a parameter; an unknown one is named in the text.
        let named = detail.split_once(": ").filter(|(path, _)| pairs.iter().any(|(name, _)| name == path));
        let unknown = pairs.iter().find(|(name, _)| detail.contains(&format!("unknown field `{name}`")));
        match (unknown, named) {
            (Some((name, _)), _) => refused(name, "is not a parameter here"),
            (None, Some((name, detail))) => refused(name, detail),
            (None, None) => refused("", &detail),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        #[expect(dead_code, reason = "only parsed")]
        names: Vec<shared::name::Slug>,
    }

    #[test]
    fn a_wrong_value_is_named_by_its_pointer() {
        let Err(ApiError::Invalid { errors, .. }) = parse::<Body>(br#"{"names":["ok","-no"]}"#) else {
            panic!("accepted")
        };
        assert_eq!(errors[0].pointer, "/names/1");
    }

    #[test]
    fn unknown_and_duplicate_fields_are_refused() {
        for (body, place) in
            [(r#"{"names":[],"x":1}"#, "/x"), (r#"{"names":[],"names":[]}"#, "/names"), ("{}", "/names"), ("[]", "")]
        {
            assert_eq!(pointer_of(parse::<Body>(body.as_bytes())), place, "{body}");
        }
        for body in ["", "{", r#"{"names":[]} x"#, "\u{0}", &"[".repeat(5000), &nested(200), "{\"names\":[\"\u{0}\"]}"]
        {
            assert!(matches!(parse::<Body>(body.as_bytes()), Err(ApiError::Malformed(_))), "{body}");
        }
    }

    fn nested(levels: usize) -> String {
        format!("{{\"x\":{}{}}}", "[".repeat(levels), "]".repeat(levels))
    }

    fn pointer_of<T: std::fmt::Debug>(result: Result<T, ApiError>) -> String {
        let Err(ApiError::Invalid { errors, .. }) = result else { panic!("{result:?}") };
        errors[0].pointer.clone()
    }

    #[test]
    fn nul_is_found_wherever_it_stands() {
        for (body, place) in [
            (r#"{"names":["a","b\u0000c"]}"#, "/names/1"),
            (r#"{"a/b":{"~":"\u0000"}}"#, "/a~1b/~0"),
            (r#"{"n\u0000":1}"#, ""),
        ] {
            assert_eq!(pointer_of(parse::<Body>(body.as_bytes())), place, "{body}");
        }
        assert!(parse::<Value>(br#"{"a":"\\u0000"}"#).is_ok(), "a backslash and letters are no NUL");
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Filter {
        page: Option<u32>,
        #[expect(dead_code, reason = "only parsed")]
        service: Option<shared::id::ServiceId>,
    }

    #[test]
    fn a_parameter_that_cannot_be_used_is_named() {
        let parse = |text: &str| query::<Filter>(&format!("/v1/x?{text}").parse().unwrap());
        assert_eq!(parse("page=3").unwrap().page, Some(3));
        assert_eq!(parse("").unwrap().page, None);
        for (text, place) in [
            ("page=1&page=2", "?page"),
            ("page=-1", "?page"),
            ("page=", "?page"),
            ("pages=1", "?pages"),
            ("page=1&service=x", "?service"),
            ("service=%00", "?service"),
            ("x=unknown+field+%60page%60", "?x"),
        ] {
            assert_eq!(pointer_of(parse(text)), place, "{text}");
        }
        assert_eq!(pointer_of(query::<NoQuery>(&"/?a=1".parse().unwrap())), "?a");
    }
}

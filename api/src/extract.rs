//! Extractors whose refusals are problems of ours: a JSON body, path parameters, a query.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
    http::{header, request::Parts},
};
use serde::de::DeserializeOwned;

use crate::error::{ApiError, FieldError};

/// A JSON body; unknown fields are refused by each DTO's `deny_unknown_fields`.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let essence = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        if !essence.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
            return Err(ApiError::UnsupportedMediaType);
        }
        let bytes =
            Bytes::from_request(request, state).await.map_err(|rejection| ApiError::of_status(rejection.status()))?;
        parse(&bytes).map(Self)
    }
}

/// Parses a body; what is wrong is told with the place it stands at.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let pointer = pointer(error.path());
        let inner = error.into_inner();
        if inner.is_data() {
            ApiError::field(pointer, inner.to_string())
        } else {
            ApiError::Malformed(inner.to_string())
        }
    })?;
    json.end().map_err(|error| ApiError::Malformed(error.to_string()))?;
    Ok(value)
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
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

/// Query parameters; unknown ones are refused.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        axum::extract::Query::try_from_uri(&parts.uri).map(|axum::extract::Query(value)| Self(value)).map_err(
            |rejection| {
                let text = rejection.body_text();
                let detail = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text).to_owned();
                ApiError::Invalid {
                    detail: "the query holds what cannot be used".into(),
                    errors: vec![FieldError::new("?", detail)],
                }
            },
        )
    }
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
        for body in [r#"{"names":[],"x":1}"#, r#"{"names":[],"names":[]}"#] {
            assert!(matches!(parse::<Body>(body.as_bytes()), Err(ApiError::Invalid { .. })), "{body}");
        }
        for body in ["", "{", r#"{"names":[]} x"#, "\u{0}", &"[".repeat(5000)] {
            assert!(
                matches!(parse::<Body>(body.as_bytes()), Err(ApiError::Malformed(_) | ApiError::Invalid { .. })),
                "{body}"
            );
        }
    }
}

//! Versions of single things: `ETag` with what is shown, `If-Match` before it is changed, `If-None-Match` where only what
//! is new is wanted (RFC 9110 §8.8.3 and §13.1). A tag is a digest of the very bytes that are shown, so it is a strong one.

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::digest::{self, SHA256};
use serde::Serialize;

use crate::error::ApiError;

/// How much of the digest a tag holds: enough that nobody finds two things of one tag, in bytes.
const TAG_BYTES: usize = 16;

/// What a request makes its answer depend on.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    matches: Option<Tags>,
    none_matches: Option<Tags>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Tags {
    Any,
    /// With their quotes, and `W/` before the weak ones.
    These(Vec<String>),
}

impl Conditions {
    /// Those of a request. One that cannot be read is refused: a change must not be made because its condition was not
    /// understood.
    pub fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        Ok(Self { matches: tags(headers, &header::IF_MATCH)?, none_matches: tags(headers, &header::IF_NONE_MATCH)? })
    }

    /// Whether a change depends on one.
    pub fn is_any(&self) -> bool {
        self.matches.is_some()
    }

    /// Refuses a change of something that is not as the caller has seen it. `shown` is what a GET would answer, read
    /// under the lock of the transaction that changes it.
    pub fn check(&self, shown: &impl Serialize) -> Result<(), ApiError> {
        match &self.matches {
            None | Some(Tags::Any) => Ok(()),
            // Compared as strong tags: a weak one matches nothing (§8.8.3.2).
            Some(Tags::These(tags)) if tags.contains(&tag(&bytes(shown)?)) => Ok(()),
            Some(Tags::These(_)) => Err(ApiError::PreconditionFailed),
        }
    }

    /// 200 with the thing and its tag; 304 with the tag alone, where the caller of a GET has it already.
    pub fn answer(&self, shown: &impl Serialize) -> Result<Response, ApiError> {
        let bytes = bytes(shown)?;
        let tag = tag(&bytes);
        let known = match &self.none_matches {
            None => false,
            Some(Tags::Any) => true,
            Some(Tags::These(tags)) => tags.iter().any(|given| given.strip_prefix("W/").unwrap_or(given) == tag),
        };
        let mut response = if known {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            ([(header::CONTENT_TYPE, "application/json")], bytes).into_response()
        };
        if let Ok(value) = HeaderValue::from_str(&tag) {
            response.headers_mut().insert(header::ETAG, value);
        }
        Ok(response)
    }
}

/// 200 with the thing as it is after a change, and its tag.
pub fn changed(shown: &impl Serialize) -> Result<Response, ApiError> {
    Conditions::default().answer(shown)
}

fn bytes(shown: &impl Serialize) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(shown).map_err(|error| ApiError::Internal(error.into()))
}

fn tag(bytes: &[u8]) -> String {
    let digest = digest::digest(&SHA256, bytes);
    let digest = digest.as_ref();
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(digest.get(..TAG_BYTES).unwrap_or(digest)))
}

fn tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, ApiError> {
    let mut all = Vec::new();
    let mut any = false;
    let malformed = || ApiError::Malformed(format!("{name} must be * or a list of tags in quotes"));
    for value in headers.get_all(name) {
        // A header of bytes that are no text matches nothing that is made here.
        let mut rest = value.to_str().map_err(|_| malformed())?.trim();
        if rest == "*" {
            any = true;
            continue;
        }
        while !rest.is_empty() {
            let open = if rest.starts_with("W/\"") { 3 } else { usize::from(rest.starts_with('"')) };
            let inner = rest.get(open..).filter(|_| open > 0).ok_or_else(malformed)?;
            let end = open + inner.find('"').ok_or_else(malformed)? + 1;
            let (tag, after) = rest.split_at_checked(end).ok_or_else(malformed)?;
            all.push(tag.to_owned());
            let after = after.trim_start();
            rest = match after.strip_prefix(',') {
                Some(next) => next.trim_start(),
                None if after.is_empty() => after,
                None => return Err(malformed()),
            };
        }
    }
    match (headers.contains_key(name), any, all.is_empty()) {
        (false, ..) => Ok(None),
        (true, true, true) => Ok(Some(Tags::Any)),
        (true, false, false) => Ok(Some(Tags::These(all))),
        _ => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &HeaderName, values: &[&str]) -> Result<Conditions, ApiError> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        Conditions::of(&headers)
    }

    #[test]
    fn a_change_needs_the_very_tag() {
        let mine = tag(&bytes(&"thing").unwrap());
        let check = |values: &[&str]| of(&header::IF_MATCH, values).and_then(|conditions| conditions.check(&"thing"));
        let both = format!("W/\"x\" , {mine}");
        for good in [&[] as &[&str], &["*"], &[&mine], &["\"a,b\"", &mine], &[&both]] {
            assert!(check(good).is_ok(), "{good:?}");
        }
        for other in ["\"x\"", &format!("W/{mine}")] {
            assert!(matches!(check(&[other]), Err(ApiError::PreconditionFailed)), "{other}");
        }
        for bad in ["", "x", "\"", "W/x", "\"a\" \"b\"", "*, \"a\"", "W/\"", "\"a\",*"] {
            assert!(matches!(check(&[bad]), Err(ApiError::Malformed(_))), "{bad}");
        }
    }

    #[test]
    fn what_is_known_is_not_sent_again() {
        let mine = tag(&bytes(&"thing").unwrap());
        for (value, status) in [
            (mine.as_str(), 304),
            (&format!("W/{mine}"), 304),
            ("*", 304),
            ("\"x\"", 200),
            (&format!("\"x\",{mine}"), 304),
        ] {
            let answer = of(&header::IF_NONE_MATCH, &[value]).unwrap().answer(&"thing").unwrap();
            assert_eq!(answer.status(), status, "{value}");
            assert_eq!(answer.headers()[header::ETAG], mine, "{value}");
        }
    }
}

//! The service's errors in a store's words. Its answers may repeat what was signed: of them the code and the message are
//! kept, and nothing else.

use std::{error::Error as _, fmt::Write as _};

use object_store::{Error, client::HttpError};
use reqwest::{Response, StatusCode};
use shared::name::Slug;

use super::raw::RawError;
use crate::store::{Fault, StoreError};

/// As much of a message as a record holds.
const MESSAGE_CHARS: usize = 300;

/// What a service said.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    status: Option<u16>,
    code: Option<String>,
    message: Option<String>,
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::new();
        if let Some(status) = self.status {
            write!(text, "{status}")?;
        }
        for part in [&self.code, &self.message].into_iter().flatten() {
            let gap = if text.is_empty() { "" } else { " " };
            write!(text, "{gap}{part}")?;
        }
        write!(f, "the service answered {text}")
    }
}

pub(super) fn from_client(store: &Slug, doing: &'static str, place: String, error: &Error) -> StoreError {
    let text = error.to_string();
    let said = Said { status: status_in(&text), ..read_body(&text) };
    let fault = match error {
        Error::AlreadyExists { .. } | Error::Precondition { .. } if said.code.as_deref() != Some("NoSuchBucket") => {
            Fault::Exists
        }
        Error::InvalidPath { .. } => Fault::Reserved,
        _ => by_answer(&said).unwrap_or_else(|| match error {
            Error::NotFound { .. } => Fault::Missing,
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => Fault::Denied,
            _ if transport(error).is_some() => Fault::Unreachable,
            _ => Fault::Failed,
        }),
    };
    let cause = match transport(error) {
        Some(cause) if said.status.is_none() => cause,
        _ if said == Said::default() => short(&text),
        _ => said.to_string(),
    };
    // Nobody who forgot the keys would look for an address that is in no setting.
    let metadata = text.contains("169.254.").then_some(
        "; this was asked of the machine's metadata service, because the store has no access_key_id and secret_access_key",
    );
    StoreError::new(store, doing, place, fault).because(format!("{cause}{}", metadata.unwrap_or_default()))
}

/// An answer that is no success.
pub(super) async fn from_answer(store: &Slug, doing: &'static str, place: &str, answer: Response) -> StoreError {
    let status = answer.status().as_u16();
    let body = answer.text().await.unwrap_or_default();
    let said = Said { status: Some(status), ..read_body(&body) };
    let fault = by_answer(&said).unwrap_or(Fault::Failed);
    StoreError::new(store, doing, place, fault).because(said.to_string())
}

pub(super) fn from_raw(store: &Slug, doing: &'static str, place: &str, error: RawError) -> StoreError {
    match error {
        RawError::Sign(error) => from_client(store, doing, place.to_owned(), &error),
        error @ RawError::Http(_) => StoreError::new(store, doing, place, Fault::Unreachable).because(error),
    }
}

/// Whether the service does not know what was asked of it.
pub(super) fn is_not_implemented(error: &Error) -> bool {
    let text = error.to_string();
    matches!(error, Error::NotImplemented { .. })
        || status_in(&text) == Some(StatusCode::NOT_IMPLEMENTED.as_u16())
        || read_body(&text).code.as_deref() == Some("NotImplemented")
}

fn by_answer(said: &Said) -> Option<Fault> {
    let by_code = match said.code.as_deref() {
        Some("NoSuchBucket" | "PermanentRedirect" | "TemporaryRedirect" | "AuthorizationHeaderMalformed") => {
            Some(Fault::NoBucket)
        }
        Some("NoSuchKey" | "NoSuchUpload" | "NoSuchVersion") => Some(Fault::Missing),
        Some(
            "AccessDenied"
            | "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "ExpiredToken"
            | "InvalidToken"
            | "RequestTimeTooSkewed"
            | "AccountProblem"
            | "AllAccessDisabled",
        ) => Some(Fault::Denied),
        Some("QuotaExceeded" | "XMinioStorageFull" | "StorageFull" | "InsufficientStorage") => Some(Fault::Full),
        Some("SlowDown" | "ServiceUnavailable" | "RequestTimeout") => Some(Fault::Unreachable),
        _ => None,
    };
    by_code.or_else(|| match said.status? {
        401 | 403 => Some(Fault::Denied),
        404 => Some(Fault::Missing),
        412 => Some(Fault::Exists),
        301 | 302 | 307 | 308 => Some(Fault::NoBucket),
        408 | 429 | 502..=504 => Some(Fault::Unreachable),
        507 => Some(Fault::Full),
        _ => Some(Fault::Failed),
    })
}

/// The words of what failed below HTTP.
fn transport(error: &Error) -> Option<String> {
    let mut at = error.source();
    while let Some(source) = at {
        if source.is::<HttpError>() {
            let mut text = source.to_string();
            let mut deeper = source.source();
            while let Some(cause) = deeper {
                let cause_text = cause.to_string();
                if !text.contains(&cause_text) {
                    text = format!("{text}: {cause_text}");
                }
                deeper = cause.source();
            }
            return Some(short(&text));
        }
        at = source.source();
    }
    None
}

/// The library's errors of answers cannot be named, and say the status in their text alone.
fn status_in(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once("status code: ")?;
    rest.get(..3)?.parse().ok()
}

fn read_body(text: &str) -> Said {
    let part = |tag: &str| {
        let (_, rest) = text.split_once(&format!("<{tag}>"))?;
        let (value, _) = rest.split_once(&format!("</{tag}>"))?;
        Some(short(value))
    };
    Said { status: None, code: part("Code"), message: part("Message") }
}

fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MESSAGE_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> Error {
        Error::Generic { store: "S3", source: text.into() }
    }

    fn fault(text: &str) -> (String, String) {
        let error = from_client(&Slug::parse("cloud").unwrap(), "writing", "k".to_owned(), &generic(text));
        (error.code().to_owned(), error.source().unwrap().to_string())
    }

    #[test]
    fn an_answer_is_classified_and_what_was_signed_is_not_repeated() {
        let body = "Server returned non-2xx status code: 403 Forbidden: <Error><Code>SignatureDoesNotMatch</Code>\
                    <Message>They differ</Message><AWSAccessKeyId>AKIA</AWSAccessKeyId><StringToSign>AWS4</StringToSign></Error>";
        let (code, cause) = fault(body);
        assert_eq!(code, "store_denied");
        assert_eq!(cause, "the service answered 403 SignatureDoesNotMatch They differ");
        assert_eq!(fault("status code: 404 Not Found: <Code>NoSuchBucket</Code>").0, "store_missing");
        assert_eq!(fault("status code: 404 Not Found: <Code>NoSuchUpload</Code>").0, "object_missing");
        assert_eq!(fault("status code: 503 Service Unavailable: ").0, "store_unreachable");
        assert_eq!(fault("status code: 500 Internal: <Code>InternalError</Code>").0, "store_failed");
        assert_eq!(fault("status code: 507 Insufficient Storage: ").0, "store_full");
        assert!(is_not_implemented(&generic("status code: 501 Not Implemented: ")));
    }

    #[test]
    fn forgotten_keys_are_told_of() {
        let (_, cause) = fault("error sending request for url (http://169.254.169.254/latest/api/token)");
        assert!(cause.contains("access_key_id"), "{cause}");
    }
}

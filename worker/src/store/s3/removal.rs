//! Deletion: of the version where the bucket keeps versions, with a look afterwards, and what a lock says.

use std::error::Error as _;

use chrono::{DateTime, Utc};
use object_store::{ObjectStoreExt, path::Path};
use reqwest::{Method, StatusCode, header::HeaderMap};

use super::{
    S3Store,
    fault::{from_answer, from_raw},
};
use crate::store::{Fault, Removed, StoreError};

const DOING: &str = "deleting";
/// A key is written once, so one version is all there should be; a marker of an older deletion may lie above it.
const VERSIONS: usize = 5;

/// Removes an object and looks that it is gone.
pub(super) async fn remove(store: &S3Store, place: &str, path: &Path) -> Result<Removed, StoreError> {
    let mut removed = Removed::Absent;
    for _ in 0..VERSIONS {
        let Some(meta) = store.head(DOING, place, path).await? else { return Ok(removed) };
        match meta.version.as_deref() {
            // "null" is the version of what was written before the bucket kept any; the plain deletion would hide it.
            Some(version) => delete_version(store, place, path, version).await?,
            None => store.client.delete(path).await.map_err(store.error(DOING, place))?,
        }
        removed = Removed::Deleted;
    }
    match store.head(DOING, place, path).await? {
        None => Ok(removed),
        Some(_) => Err(store.fault(DOING, place, Fault::Failed).because("it was deleted and is still there")),
    }
}

async fn delete_version(store: &S3Store, place: &str, path: &Path, version: &str) -> Result<(), StoreError> {
    let lost = |error| from_raw(&store.name, DOING, place, error);
    let answer = store.raw.on_version(Method::DELETE, path, version).await.map_err(lost)?;
    if answer.status().is_success() || answer.status() == StatusCode::NOT_FOUND {
        return Ok(());
    }
    let error = from_answer(&store.name, DOING, place, answer).await;
    let locked = speaks_of_a_lock(&error);
    if *error.fault() != Fault::Denied && !locked {
        return Err(error);
    }
    // The code is the one of a key that lacks a right. Not every service says in words that it is a lock, nor until when.
    let standing = store.raw.on_version(Method::HEAD, path, version).await.map_err(lost)?;
    match lock(standing.headers(), Utc::now()) {
        Some(locked) => Err(store.fault(DOING, place, locked).because(error)),
        None if locked => Err(store.fault(DOING, place, Fault::Locked { until: None }).because(error)),
        None => Err(error),
    }
}

/// Amazon's words, and those of its likes.
fn speaks_of_a_lock(error: &StoreError) -> bool {
    let said = error.source().map(ToString::to_string).unwrap_or_default().to_ascii_lowercase();
    said.contains("object lock") || said.contains("worm protected")
}

/// The lock that these headers tell of, and until when if that is known.
fn lock(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Fault> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let until = text("x-amz-object-lock-retain-until-date")
        .and_then(|date| DateTime::parse_from_rfc3339(date).ok())
        .map(|date| date.with_timezone(&Utc))
        .filter(|date| *date > now);
    let held = text("x-amz-object-lock-legal-hold").is_some_and(|hold| hold.eq_ignore_ascii_case("on"));
    match (until, held) {
        (Some(until), false) => Some(Fault::Locked { until: Some(until) }),
        // A legal hold has no end that anyone knows.
        (_, true) => Some(Fault::Locked { until: None }),
        (None, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_told_from_a_missing_right() {
        let now = DateTime::parse_from_rfc3339("2026-11-21T00:00:00Z").unwrap().with_timezone(&Utc);
        let with = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            lock(&headers, now)
        };
        let date = "x-amz-object-lock-retain-until-date";
        assert_eq!(
            with(date, "2026-11-22T00:00:00Z"),
            Some(Fault::Locked { until: Some(now + chrono::Duration::days(1)) })
        );
        assert_eq!(with(date, "2026-11-20T00:00:00Z"), None, "a lock that is over is none");
        assert_eq!(with("x-amz-object-lock-legal-hold", "ON"), Some(Fault::Locked { until: None }));
        assert_eq!(with("x-amz-object-lock-legal-hold", "OFF"), None);
    }
}

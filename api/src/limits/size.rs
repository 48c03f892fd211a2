//! How much the head of a request may hold. Bodies are bounded where they are read. What is over the bounds of the server
//! below (100 header lines, 65,534 bytes of a target) never comes here: it answers 414 or 431 without a body.

use axum::http::{HeaderMap, Uri};
use shared::config::Limits;

use crate::error::ApiError;

/// Refuses a head that is too large.
pub fn check(limits: &Limits, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
    let target = uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target > limits.target_bytes {
        return Err(ApiError::UriTooLong(limits.target_bytes));
    }
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers.len() > limits.headers || bytes > limits.header_bytes {
        return Err(ApiError::HeadersTooLarge { headers: limits.headers, bytes: limits.header_bytes });
    }
    Ok(())
}

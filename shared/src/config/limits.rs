//! `[http.limits]`: what one caller may ask of the API.

use std::{num::NonZeroU32, ops::RangeInclusive, time::Duration};

use super::reader::Section;

/// Requests a second over time, and how many at once before that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub per_s: NonZeroU32,
    /// At least `per_s`.
    pub burst: NonZeroU32,
}

/// The bounds of one request and of the requests of one caller.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Of one address, before anything else is looked at; none: no bound.
    pub address: Option<Rate>,
    /// Of one admin, with every token of theirs together; none: no bound.
    pub admin: Option<Rate>,
    /// Longest path and query, in bytes.
    pub target_bytes: usize,
    /// Most header lines.
    pub headers: usize,
    /// Longest headers, all names and values together, in bytes.
    pub header_bytes: usize,
    /// How long the head of a request may take to come in; zero: for ever.
    pub head: Duration,
}

impl Limits {
    pub(super) fn read(s: &mut Section<'_>) -> Self {
        Self {
            address: rate(s, "address_per_s", "address_burst"),
            admin: rate(s, "admin_per_s", "admin_burst"),
            target_bytes: size(s, "target_bytes", 256..=65_534),
            headers: size(s, "headers", 8..=100),
            header_bytes: size(s, "header_bytes", 1024..=262_144),
            head: s.seconds("head_s", 0.0..=300.0),
        }
    }
}

fn size(s: &mut Section<'_>, name: &str, bounds: RangeInclusive<u64>) -> usize {
    usize::try_from(s.number(name, bounds)).unwrap_or(usize::MAX)
}

/// None where it is 0.
fn rate(s: &mut Section<'_>, per_s: &str, burst: &str) -> Option<Rate> {
    let (rate, most) = (s.number(per_s, 0..=1_000_000), s.number(burst, 1..=10_000_000));
    let number = |n: u64| NonZeroU32::new(u32::try_from(n).unwrap_or(u32::MAX));
    let (rate, most) = (number(rate)?, number(most)?);
    if most < rate && !s.has_failed(per_s) && !s.has_failed(burst) {
        s.fail(
            burst,
            "is below the rate, so that the rate could not be reached",
            &format!("raise it to {rate} or more"),
        );
    }
    Some(Rate { per_s: rate, burst: most.max(rate) })
}

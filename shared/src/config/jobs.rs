//! `[jobs]`: what whoever asks for a job must know, be it the API or a worker's scheduler.

use super::reader::Section;
use crate::job::Compare;

/// What holds for jobs as they are enqueued. It is written into the job's row and stays with it.
#[derive(Debug, Clone)]
pub struct Jobs {
    /// How often a job is tried at most, 1 to 20; kinds for which that is too often are tried less.
    pub attempts: i32,
    /// Days that a save lives which a restore in place makes first, 1 to 365.
    pub safety_save_days: u32,
    /// What a restore compares that does not say so itself.
    pub compare: Compare,
    /// Jobs that one admin may ask for in a day of UTC, 0 to 1,000,000; 0: as many as they like. An admin's own number goes
    /// before it.
    pub per_day: i32,
}

impl Jobs {
    /// The same in seconds.
    #[must_use]
    pub fn safety_s(&self) -> f64 {
        f64::from(self.safety_save_days) * 86_400.0
    }

    pub(super) fn read(s: &mut Section<'_>) -> Self {
        Self {
            attempts: i32::try_from(s.number("attempts", 1..=20)).unwrap_or(5),
            safety_save_days: u32::try_from(s.number("safety_save_days", 1..=365)).unwrap_or(7),
            compare: s.get("compare", "\"digest\", \"rows\" or \"off\""),
            per_day: i32::try_from(s.number("per_day", 0..=1_000_000)).unwrap_or(0),
        }
    }
}

//! The bounds of a schedule's words that their types do not hold.

use super::{Covers, Discovery, Retention, Settings, Verification, Window, window::wall_time};
use crate::name::Slug;

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pointer} {problem}")]
pub struct SettingsError {
    /// JSON pointer into what was checked; empty: all of it.
    pub pointer: String,
    /// What is wrong, and what would be accepted.
    pub problem: String,
}

impl SettingsError {
    fn new(pointer: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), problem: problem.into() }
    }

    /// The same words are refused again.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        true
    }
}

/// Seconds by which a firing may be put off at most: half a day.
pub const MAX_JITTER_S: u32 = 43_200;
/// Slower than this a dump would not end before the next one.
pub const MIN_BYTES_PER_S: u64 = 65_536;
/// Of any rule of retention.
pub const MAX_KEPT: u32 = 10_000;
/// Days between two verifications at most: ten years.
pub const MAX_DAYS: u32 = 3_650;
const MAX_WINDOWS: usize = 20;
const MAX_NAMES: usize = 500;
const MAX_PATTERNS: usize = 100;
/// In bytes; a database's name has at most 63.
const MAX_PATTERN: usize = 200;
const MAX_STORES: usize = 8;

impl Settings {
    /// Refuses what cannot be meant, with the place it stands at.
    pub fn check(&self, covers: Covers) -> Result<(), SettingsError> {
        at_most("/exclude_tables", self.exclude_tables.len(), MAX_NAMES)?;
        at_most("/exclude_collections", self.exclude_collections.len(), MAX_NAMES)?;
        stores("/stores", &self.stores)?;
        if self.jitter_s > MAX_JITTER_S {
            return Err(SettingsError::new("/jitter_s", format!("must be 0 to {MAX_JITTER_S}")));
        }
        at_most("/windows", self.windows.len(), MAX_WINDOWS)?;
        for (index, window) in self.windows.iter().enumerate() {
            window.check(&format!("/windows/{index}"))?;
        }
        if self.bytes_per_s.is_some_and(|rate| rate < MIN_BYTES_PER_S) {
            return Err(SettingsError::new("/bytes_per_s", format!("must be {MIN_BYTES_PER_S} or more")));
        }
        if self.priority.is_some_and(|priority| !(0..=9).contains(&priority)) {
            return Err(SettingsError::new("/priority", "must be 0 to 9"));
        }
        match (&self.discovery, covers) {
            (Some(discovery), Covers::Server) => discovery.check("/discovery"),
            (None, Covers::Server) => {
                let problem =
                    "is missing: say which databases of the server are saved, with which credential and where to";
                Err(SettingsError::new("/discovery", problem))
            }
            (Some(_), _) => Err(SettingsError::new("/discovery", "is for schedules that cover a server")),
            (None, _) => Ok(()),
        }
    }
}

impl Window {
    fn check(&self, pointer: &str) -> Result<(), SettingsError> {
        for (index, day) in self.days.iter().enumerate() {
            let pointer = || format!("{pointer}/days/{index}");
            if *day > 7 {
                return Err(SettingsError::new(pointer(), "must be 0 to 7, of which both are Sunday"));
            }
            if self.days.iter().take(index).any(|before| before % 7 == day % 7) {
                return Err(SettingsError::new(pointer(), "is named twice"));
            }
        }
        for (name, time) in [("from", &self.from), ("until", &self.until)] {
            if wall_time(time).is_none() {
                let problem = "must be HH:MM, from 00:00 to 23:59; a window that ends with the day ends at 00:00";
                return Err(SettingsError::new(format!("{pointer}/{name}"), problem));
            }
        }
        Ok(())
    }
}

impl Discovery {
    fn check(&self, pointer: &str) -> Result<(), SettingsError> {
        for (name, patterns) in [("include", &self.include), ("exclude", &self.exclude)] {
            at_most(&format!("{pointer}/{name}"), patterns.len(), MAX_PATTERNS)?;
            for (index, pattern) in patterns.iter().enumerate() {
                if pattern.is_empty() || pattern.len() > MAX_PATTERN || pattern.contains(char::is_control) {
                    let problem =
                        format!("must be 1 to {MAX_PATTERN} bytes without control characters; * and ? stand for any");
                    return Err(SettingsError::new(format!("{pointer}/{name}/{index}"), problem));
                }
            }
        }
        let place = format!("{pointer}/stores");
        if self.stores.is_empty() {
            return Err(SettingsError::new(place, "must name 1 to 8 stores"));
        }
        stores(&place, &self.stores)?;
        if self.required_copies.is_some_and(|copies| !(1..=self.stores.len()).contains(&usize::from(copies))) {
            return Err(SettingsError::new(format!("{pointer}/required_copies"), "must be 1 to the number of stores"));
        }
        Ok(())
    }
}

impl Retention {
    /// Refuses what would keep nothing, and what is out of bounds.
    pub fn check(&self) -> Result<(), SettingsError> {
        let rules = [
            ("/last", self.last),
            ("/hourly", self.hourly),
            ("/daily", self.daily),
            ("/weekly", self.weekly),
            ("/monthly", self.monthly),
            ("/yearly", self.yearly),
            ("/within_days", self.within_days),
        ];
        if rules.iter().all(|(_, rule)| rule.is_none()) {
            return Err(SettingsError::new("", "keeps nothing: give a rule, or null to keep every save"));
        }
        for (pointer, rule) in rules.into_iter().chain([("/verified", self.verified)]) {
            if rule.is_some_and(|count| !(1..=MAX_KEPT).contains(&count)) {
                return Err(SettingsError::new(
                    pointer,
                    format!("must be 1 to {MAX_KEPT}; leave it out where it is no rule"),
                ));
            }
        }
        Ok(())
    }
}

impl Verification {
    /// Refuses what would verify nothing, and what is out of bounds.
    pub fn check(&self) -> Result<(), SettingsError> {
        let depths =
            [("/hash_days", self.hash_days), ("/decode_days", self.decode_days), ("/restore_days", self.restore_days)];
        if depths.iter().all(|(_, days)| days.is_none()) {
            return Err(SettingsError::new("", "verifies nothing: give a depth and its days, or null"));
        }
        match depths.into_iter().find(|(_, days)| days.is_some_and(|days| days > MAX_DAYS)) {
            Some((pointer, _)) => Err(SettingsError::new(pointer, format!("must be 0 to {MAX_DAYS}"))),
            None => Ok(()),
        }
    }
}

fn at_most(pointer: &str, count: usize, most: usize) -> Result<(), SettingsError> {
    if count > most {
        return Err(SettingsError::new(pointer, format!("holds more than {most}")));
    }
    Ok(())
}

fn stores(pointer: &str, names: &[Slug]) -> Result<(), SettingsError> {
    at_most(pointer, names.len(), MAX_STORES)?;
    match names.iter().enumerate().find(|(index, name)| names.iter().take(*index).any(|before| before == *name)) {
        Some((index, _)) => Err(SettingsError::new(format!("{pointer}/{index}"), "is named twice")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;

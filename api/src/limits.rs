//! Bounds on what callers can make this process do: [`rate`] how often, [`size`] how much, [`slow`] how slowly.

pub mod rate;
pub mod size;
pub mod slow;

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Admits so many a minute.
#[derive(Debug)]
pub struct PerMinute {
    most: u32,
    window: Mutex<(Instant, u32)>,
}

impl PerMinute {
    #[must_use]
    pub fn new(most: u32) -> Self {
        Self { most, window: Mutex::new((Instant::now(), 0)) }
    }

    /// Whether there is room for one more in this minute.
    pub fn admit(&self) -> bool {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.0.elapsed() >= Duration::from_mins(1) {
            *window = (Instant::now(), 0);
        }
        window.1 = window.1.saturating_add(1);
        window.1 <= self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_bound() {
        let limit = PerMinute::new(3);
        assert_eq!((0..10).filter(|_| limit.admit()).count(), 3);
    }
}

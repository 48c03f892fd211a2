//! By how much a firing is put off, so that not everything begins in one second.

use chrono::{DateTime, TimeDelta, Utc};

use crate::id::ScheduleId;

/// Up to `jitter_s` seconds, in milliseconds: of the schedule and the slot alone, so that whoever plans it, and however often,
/// puts it off by the same.
#[must_use]
pub fn jitter(schedule: ScheduleId, slot: DateTime<Utc>, jitter_s: u32) -> TimeDelta {
    let mut hash = blake3::Hasher::new_derive_key("holdfast 2026-11-22 jitter of a slot");
    hash.update(schedule.0.as_bytes());
    hash.update(&slot.timestamp_millis().to_le_bytes());
    let mut bytes = [0; 8];
    hash.finalize_xof().fill(&mut bytes);
    // Uneven by less than one in 2^32.
    let millis = u64::from_le_bytes(bytes) % (u64::from(jitter_s) * 1000 + 1);
    TimeDelta::milliseconds(i64::try_from(millis).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_slot_has_the_same_and_others_have_others() {
        let (a, b) = (ScheduleId::generate(), ScheduleId::generate());
        let slot: DateTime<Utc> = "2026-03-29T01:00:00Z".parse().unwrap();
        assert_eq!(jitter(a, slot, 600), jitter(a, slot, 600));
        assert_ne!(jitter(a, slot, 600), jitter(b, slot, 600));
        assert_ne!(jitter(a, slot, 600), jitter(a, slot + TimeDelta::days(1), 600));
        assert_eq!(jitter(a, slot, 0), TimeDelta::zero());
        // Known, so that a slot keeps its own over versions.
        let known: ScheduleId = "019a9f3e-5c1b-7d2a-9e4f-3b8c6d1a2f50".parse().unwrap();
        assert_eq!(jitter(known, slot, 600).num_milliseconds(), 573_425);
    }

    #[test]
    fn it_is_spread_evenly_up_to_its_bound() {
        let slot: DateTime<Utc> = "2026-03-29T01:00:00Z".parse().unwrap();
        let mut tenths = [0_u32; 10];
        for number in 0..10_000 {
            let late = jitter(ScheduleId(uuid::Uuid::from_u128(number)), slot, 60).num_milliseconds();
            assert!((0..=60_000).contains(&late), "{late}");
            tenths[usize::try_from(late.min(59_999) / 6_000).unwrap()] += 1;
        }
        assert!(tenths.iter().all(|count| (850..1_150).contains(count)), "{tenths:?}");
    }
}

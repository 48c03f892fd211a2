//! The last page of a million rows is as near to the list's end as the first is to its beginning: it is read from there.

/// Offsets below this are walked from the beginning, without a look at the total first.
const NEAR: i64 = 10_000;

/// Which rows of an ordered list are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) limit: i64,
    pub(super) offset: i64,
    /// Whether it counts from the end, in the other order.
    pub(super) from_end: bool,
}

impl Span {
    pub(super) fn is_far(offset: i64) -> bool {
        offset >= NEAR
    }

    /// The rows of a page of a list that has `total`.
    pub(super) fn of(limit: i64, offset: i64, total: i64) -> Self {
        let rest = total.saturating_sub(offset).max(0);
        if rest >= offset {
            return Self { limit, offset, from_end: false };
        }
        Self { limit: limit.min(rest), offset: rest.saturating_sub(limit).max(0), from_end: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_lead_to_the_same_rows() {
        let rows: Vec<i64> = (0..57).collect();
        let take = |rows: &[i64], limit: i64, offset: i64| -> Vec<i64> {
            let (limit, offset) = (usize::try_from(limit).unwrap(), usize::try_from(offset).unwrap());
            rows.iter().copied().skip(offset).take(limit).collect()
        };
        for limit in [1, 7, 10, 57, 100] {
            for offset in (0..80).map(|page| page * limit) {
                let span = Span::of(limit, offset, 57);
                let mut found = if span.from_end {
                    let reversed: Vec<i64> = rows.iter().copied().rev().collect();
                    take(&reversed, span.limit, span.offset)
                } else {
                    take(&rows, span.limit, span.offset)
                };
                if span.from_end {
                    found.reverse();
                }
                assert_eq!(found, take(&rows, limit, offset), "{limit} after {offset}");
            }
        }
        assert!(Span::of(20, 999_980, 1_000_000).from_end);
    }
}

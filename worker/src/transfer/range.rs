//! Which bytes were asked for: one range of them, or all (RFC 9110 §14).

use http_range_header::{EndPosition, StartPosition, SyntacticallyCorrectRange, parse_range_header};

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Whole,
    /// From this byte up to, and without, that one; never empty.
    Part {
        from: u64,
        until: u64,
    },
    /// It begins after the end.
    Beyond,
}

/// Reads `Range` and `If-Range`. What is no range, several of them, and one of a representation that has changed are as
/// if nothing had been said.
pub fn asked(range: Option<&str>, if_range: Option<&str>, etag: &str, length: u64) -> Asked {
    // A date proves nothing here, and a weak tag never matches.
    if if_range.is_some_and(|known| known != etag) {
        return Asked::Whole;
    }
    let Some(parsed) = range.and_then(|range| parse_range_header(range).ok()) else { return Asked::Whole };
    let [SyntacticallyCorrectRange { start, end, .. }] = parsed.ranges.as_slice() else { return Asked::Whole };
    let (from, until) = match (start, end) {
        (StartPosition::FromLast(last), _) => (length.saturating_sub(*last), length),
        (StartPosition::Index(from), EndPosition::LastByte) => (*from, length),
        (StartPosition::Index(from), EndPosition::Index(last)) if last < from => return Asked::Whole,
        (StartPosition::Index(from), EndPosition::Index(last)) => (*from, last.saturating_add(1).min(length)),
    };
    if from < until { Asked::Part { from, until } } else { Asked::Beyond }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        let part = |from, until| Asked::Part { from, until };
        for (range, expected) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=0-", part(0, 100)),
            ("bytes=10-19", part(10, 20)),
            ("bytes=99-99", part(99, 100)),
            ("bytes=90-1000", part(90, 100)),
            ("bytes=-1", part(99, 100)),
            ("bytes=-100", part(0, 100)),
            ("bytes=-1000", part(0, 100)),
            ("bytes=0-18446744073709551615", part(0, 100)),
            ("bytes=100-", Asked::Beyond),
            ("bytes=100-200", Asked::Beyond),
            ("bytes=18446744073709551615-", Asked::Beyond),
            // Not a range at all: the header is as if it were not there.
            ("bytes=20-10", Asked::Whole),
            ("bytes=0-1,5-6", Asked::Whole),
            ("bytes=x-", Asked::Whole),
            ("items=0-1", Asked::Whole),
            ("", Asked::Whole),
        ] {
            assert_eq!(asked(Some(range), None, "\"e\"", 100), expected, "{range}");
        }
        assert_eq!(asked(None, None, "\"e\"", 100), Asked::Whole);
        assert_eq!(asked(Some("bytes=0-0"), None, "\"e\"", 0), Asked::Beyond);
    }

    #[test]
    fn of_a_changed_representation_all_is_sent() {
        let range = Some("bytes=5-");
        assert_eq!(asked(range, Some("\"e\""), "\"e\"", 10), Asked::Part { from: 5, until: 10 });
        for other in ["\"f\"", "W/\"e\"", "Sun, 22 Nov 2026 00:00:00 GMT"] {
            assert_eq!(asked(range, Some(other), "\"e\"", 10), Asked::Whole, "{other}");
        }
    }
}

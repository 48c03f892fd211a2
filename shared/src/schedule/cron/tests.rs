//! What is refused, when it fires, and the table of an independent implementation.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

fn expr(text: &str) -> CronExpr {
    CronExpr::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// The next firings, on the clock of Berlin.
fn berlin(text: &str, after: &str, count: usize) -> Vec<String> {
    let zone = Zone::parse("Europe/Berlin").unwrap();
    let firings = expr(text);
    let firings = firings.next_after(utc(after), zone).take(count);
    firings.map(|at| at.with_timezone(&zone.0).format("%dT%H:%M %Z").to_string()).collect()
}

#[test]
fn bad_expressions_are_told_apart() {
    for (text, expected) in [
        ("", "is empty: give five fields"),
        ("  ", "is empty"),
        ("0 3 * *", "has 4 fields"),
        ("0 0 3 * * * 2026", "has 7 fields"),
        ("60 3 * * *", "minute: 60 is out of range; allowed are 0-59"),
        ("0 24 * * *", "hour: 24 is out of range; allowed are 0-23"),
        ("0 3 0 * *", "day of month: 0 is out of range; allowed are 1-31"),
        ("0 3 * 13 *", "month: 13 is out of range; allowed are 1-12 or jan-dec"),
        ("0 3 * * 8", "day of week: 8 is out of range; allowed are 0-7 (0 and 7 are Sunday)"),
        ("61 0 3 * * *", "second: 61"),
        ("0 3 * * monday", "day of week: \"monday\" is no value"),
        ("0 3 * mon *", "month: \"mon\" is no value"),
        ("0 3 ? * 1", "is of another dialect"),
        ("0 3 L * *", "is of another dialect"),
        ("0 3 * * 5#3", "is of another dialect"),
        ("0 3 15W * *", "is of another dialect"),
        ("*/0 * * * *", "minute: the step \"0\" is not 1 to 60"),
        ("*/61 * * * *", "minute: the step \"61\" is not 1 to 60"),
        ("*/x * * * *", "the step \"x\""),
        ("*/+5 * * * *", "the step \"+5\""),
        ("5/15 * * * *", "a step needs `*` or a range before it, such as 5-59/15"),
        ("30-10 * * * *", "the range 30-10 runs backwards: write two ranges, such as 30-59,0-10"),
        ("1,,2 * * * *", "minute: a value is missing"),
        ("1- * * * *", "minute: a value is missing"),
        ("-5 * * * *", "minute: a value is missing"),
        ("* * * * * ;rm", "day of week: \";rm\" is no value"),
        ("@reboot", "\"@reboot\" is not known: there are @yearly"),
        ("@every 5m", "is not known"),
        ("0 0 30 2 *", "never fires"),
        ("0 0 31 2,4,6,9,11 *", "never fires"),
        (&"1,".repeat(300), "is longer than 500 bytes"),
    ] {
        let error = CronExpr::parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    // Of either kind of days one counts: it fires on Mondays of February.
    assert!(CronExpr::parse("0 0 30 2 1").is_ok());
}

#[test]
fn an_expression_is_kept_as_it_was_given() {
    for text in ["0 3 * * *", "@daily", "@Weekly", "*/5 0 3 * * MON-FRI", "0  3\t* * sun"] {
        assert_eq!(expr(&format!(" {text} ")).as_str(), text);
    }
    assert_eq!(serde_json::to_string(&expr("@daily")).unwrap(), r#""@daily""#);
    let error = serde_json::from_str::<CronExpr>(r#""0 3 * *""#).unwrap_err().to_string();
    assert!(error.contains("has 4 fields"), "{error}");
}

#[test]
fn the_hour_that_is_skipped() {
    // 02:00 to 03:00 on the 29th.
    let night = "2026-03-28T12:00:00Z";
    assert_eq!(berlin("30 2 * * *", night, 2), ["29T03:00 CEST", "30T02:30 CEST"]);
    assert_eq!(berlin("*/10 2 * * *", night, 3), ["29T03:00 CEST", "30T02:00 CEST", "30T02:10 CEST"], "once");
    assert_eq!(berlin("30 2,3 * * *", night, 2), ["29T03:00 CEST", "29T03:30 CEST"]);
    assert_eq!(berlin("0 2,3 * * *", night, 2), ["29T03:00 CEST", "30T02:00 CEST"], "once, though 03:00 is named too");
    assert_eq!(berlin("0 */2 * * *", "2026-03-28T22:30:00Z", 3), ["29T00:00 CET", "29T03:00 CEST", "29T04:00 CEST"]);
    // What runs on does so.
    assert_eq!(berlin("*/15 * * * *", "2026-03-29T00:31:00Z", 3), ["29T01:45 CET", "29T03:00 CEST", "29T03:15 CEST"]);
    assert_eq!(berlin("30 * * * *", "2026-03-29T00:00:00Z", 2), ["29T01:30 CET", "29T03:30 CEST"]);
}

#[test]
fn the_hour_that_comes_twice() {
    // 02:00 to 03:00 on the 25th.
    let night = "2026-10-24T12:00:00Z";
    assert_eq!(berlin("30 2 * * *", night, 2), ["25T02:30 CEST", "26T02:30 CET"]);
    assert_eq!(berlin("0 */2 * * *", "2026-10-24T22:30:00Z", 2), ["25T02:00 CEST", "25T04:00 CET"]);
    assert_eq!(berlin("0 3 * * *", night, 1), ["25T03:00 CET"]);
    assert_eq!(berlin("30 2 * * *", "2026-10-25T01:10:00Z", 1), ["26T02:30 CET"], "from within the second time");
    let on = ["25T02:30 CEST", "25T02:45 CEST", "25T02:00 CET", "25T02:15 CET"];
    assert_eq!(berlin("*/15 * * * *", "2026-10-25T00:15:00Z", 4), on);
    assert_eq!(berlin("0 * * * *", "2026-10-24T23:00:00Z", 3), ["25T02:00 CEST", "25T02:00 CET", "25T03:00 CET"]);
}

#[test]
fn a_day_that_begins_twice_for_what_runs_on() {
    // On the Azores 00:00 to 01:00 of the day comes twice: both count, however long before the search began.
    let zone = Zone::parse("Atlantic/Azores").unwrap();
    let firings: Vec<_> = expr("30 * 25 10 *").next_after(utc("2026-01-01T00:00:00Z"), zone).take(2).collect();
    assert_eq!(firings, [utc("2026-10-25T00:30:00Z"), utc("2026-10-25T01:30:00Z")]);
}

#[test]
fn the_interval_is_that_between_the_neighbours() {
    let zone = Zone::parse("Europe/Berlin").unwrap();
    let hours = |text: &str, at: &str| expr(text).interval_at(utc(at), zone).map(|interval| interval.num_hours());
    for (text, at, expected) in [
        ("0 3 * * *", "2026-07-01T12:00:00Z", 24),
        ("0 3 * * *", "2026-03-28T12:00:00Z", 23),
        ("0 3 * * *", "2026-07-01T01:00:00Z", 24),
        ("0 3 * * 1-5", "2026-07-04T12:00:00Z", 72),
        ("@yearly", "2026-07-04T12:00:00Z", 8_760),
        ("0 0 29 2 *", "2026-07-04T12:00:00Z", 35_064),
        ("0 * * * *", "2026-07-04T12:10:00Z", 1),
    ] {
        assert_eq!(hours(text, at), Some(expected), "{text} at {at}");
    }
    let seconds = expr("*/10 * * * * *").interval_at(utc("2026-07-04T12:10:03.5Z"), zone);
    assert_eq!(seconds, Some(TimeDelta::seconds(10)));
    assert_eq!(hours("@yearly", "2100-07-01T00:00:00Z"), None);
}

#[test]
fn an_instant_within_a_second_comes_after_its_beginning() {
    let zone = Zone::UTC;
    let next = |after: &str| expr("0 3 * * *").next_after(utc(after), zone).next();
    assert_eq!(next("2026-07-01T02:59:59.999Z"), Some(utc("2026-07-01T03:00:00Z")));
    assert_eq!(next("2026-07-01T03:00:00Z"), Some(utc("2026-07-02T03:00:00Z")));
    assert_eq!(next("2026-07-01T03:00:00.001Z"), Some(utc("2026-07-02T03:00:00Z")));
    assert_eq!(next("2101-01-01T00:00:00Z"), None);
}

/// What `tests/tools/cron_table.py` makes.
#[derive(Deserialize)]
struct Table {
    /// Names of spans, with their first and last instants, in seconds since 1970.
    spans: BTreeMap<String, Vec<[i64; 2]>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    expression: String,
    zone: String,
    span: String,
    count: usize,
    /// Of all firings, in their order.
    checksum: String,
    /// The first ones from two hours before each change of the clock.
    at_changes: Vec<Vec<String>>,
}

#[test]
fn the_table_of_an_independent_implementation() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/tools/cron_table.json");
    let table: Table = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut expressions: Vec<&str> = table.cases.iter().map(|case| case.expression.as_str()).collect();
    expressions.sort_unstable();
    expressions.dedup();
    assert!(expressions.len() >= 40 && table.cases.len() >= 3 * expressions.len());
    for case in &table.cases {
        let place = format!("{} in {}", case.expression, case.zone);
        let (expr, zone) = (expr(&case.expression), Zone::parse(&case.zone).unwrap());
        for firings in &case.at_changes {
            let first = utc(&firings[0]) - TimeDelta::seconds(1);
            let found = expr.next_after(first, zone).take(firings.len()).map(|at| at.format("%FT%TZ").to_string());
            assert_eq!(&found.collect::<Vec<_>>(), firings, "{place}");
        }
        let (mut count, mut sum) = (0, 0_u64);
        for &[from, until] in &table.spans[&case.span] {
            let (from, until) =
                (DateTime::from_timestamp(from - 1, 0).unwrap(), DateTime::from_timestamp(until, 0).unwrap());
            for at in expr.next_after(from, zone).take_while(|at| *at <= until) {
                count += 1;
                sum = sum.wrapping_mul(1_000_003).wrapping_add(at.timestamp().unsigned_abs());
            }
        }
        assert_eq!((count, format!("{sum:016x}")), (case.count, case.checksum.clone()), "{place}");
    }
}

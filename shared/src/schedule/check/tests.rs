//! What is refused, and where it is said to stand.

use serde_json::{Value, json};

use super::*;

fn refused(covers: Covers, settings: Value) -> String {
    let settings: Settings = serde_json::from_value(settings).unwrap();
    settings.check(covers).map_or_else(|error| error.pointer, |()| "accepted".to_owned())
}

fn discovery(changed: &Value) -> Value {
    let mut all = json!({ "backup_credential_id": "019a9f3e-5c1b-7d2a-9e4f-3b8c6d1a2f50", "stores": ["disk", "grid"] });
    all.as_object_mut().unwrap().extend(changed.as_object().unwrap().clone());
    json!({ "discovery": all })
}

#[test]
fn settings_are_held_to_their_bounds() {
    let night = json!({ "from": "22:00", "until": "06:00" });
    for (settings, expected) in [
        (json!({}), "accepted"),
        (
            json!({ "jitter_s": 43_200, "bytes_per_s": 65_536, "priority": 9, "windows": [night], "stores": ["disk"] }),
            "accepted",
        ),
        (json!({ "jitter_s": 43_201 }), "/jitter_s"),
        (json!({ "bytes_per_s": 65_535 }), "/bytes_per_s"),
        (json!({ "priority": 10 }), "/priority"),
        (json!({ "priority": -1 }), "/priority"),
        (json!({ "stores": ["disk", "grid", "disk"] }), "/stores/2"),
        (json!({ "windows": [night, { "from": "24:00", "until": "06:00" }] }), "/windows/1/from"),
        (json!({ "windows": [{ "from": "22:00", "until": "6:00" }] }), "/windows/0/until"),
        (json!({ "windows": [{ "days": [1, 8], "from": "22:00", "until": "06:00" }] }), "/windows/0/days/1"),
        (json!({ "windows": [{ "days": [0, 7], "from": "22:00", "until": "06:00" }] }), "/windows/0/days/1"),
        (json!({ "windows": vec![night.clone(); 21] }), "/windows"),
        (json!({ "exclude_tables": vec![json!({ "schema": "public", "table": "t" }); 501] }), "/exclude_tables"),
        (discovery(&json!({})), "/discovery"),
    ] {
        assert_eq!(refused(Covers::Target, settings.clone()), expected, "{settings}");
        assert_eq!(refused(Covers::Service, settings.clone()), expected, "{settings}");
    }
}

#[test]
fn a_server_needs_to_be_told_what_is_looked_for() {
    assert_eq!(refused(Covers::Server, json!({})), "/discovery");
    for (changed, expected) in [
        (json!({}), "accepted"),
        (json!({ "include": ["items*"], "exclude": ["*_test?"], "required_copies": 2 }), "accepted"),
        (json!({ "include": ["a", ""] }), "/discovery/include/1"),
        (json!({ "exclude": ["a\nb"] }), "/discovery/exclude/0"),
        (json!({ "exclude": ["x".repeat(201)] }), "/discovery/exclude/0"),
        (json!({ "stores": [] }), "/discovery/stores"),
        (json!({ "stores": ["disk", "disk"] }), "/discovery/stores/1"),
        (json!({ "required_copies": 0 }), "/discovery/required_copies"),
        (json!({ "required_copies": 3 }), "/discovery/required_copies"),
    ] {
        assert_eq!(refused(Covers::Server, discovery(&changed)), expected, "{changed}");
    }
}

#[test]
fn retention_keeps_something_and_counts_within_bounds() {
    for (rules, expected) in [
        (json!({ "daily": 7, "weekly": 4, "verified": 1 }), "accepted"),
        (json!({ "within_days": 10_000 }), "accepted"),
        (json!({}), ""),
        (json!({ "verified": 3 }), ""),
        (json!({ "last": 0 }), "/last"),
        (json!({ "last": 1, "yearly": 10_001 }), "/yearly"),
        (json!({ "last": 1, "verified": 0 }), "/verified"),
    ] {
        let retention: Retention = serde_json::from_value(rules.clone()).unwrap();
        let answer = retention.check().map_or_else(|error| error.pointer, |()| "accepted".to_owned());
        assert_eq!(answer, expected, "{rules}");
    }
}

#[test]
fn verification_names_a_depth_within_bounds() {
    for (depths, expected) in [
        (json!({ "hash_days": 0, "restore_days": 3_650 }), "accepted"),
        (json!({}), ""),
        (json!({ "hash_days": 1, "decode_days": 3_651 }), "/decode_days"),
    ] {
        let verification: Verification = serde_json::from_value(depths.clone()).unwrap();
        let answer = verification.check().map_or_else(|error| error.pointer, |()| "accepted".to_owned());
        assert_eq!(answer, expected, "{depths}");
    }
}

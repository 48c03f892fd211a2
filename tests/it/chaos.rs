//! What is left when a worker dies at any moment, and what the next one makes of it.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

pub(crate) mod bench;
pub(crate) mod campaign;
mod freezes;
mod kills;
mod points;
mod undecided;

/// Failpoints whose kills stand beside what they are about: how their names begin, and where that is.
const ELSEWHERE: &[(&str, &str)] = &[
    ("safety.", "in_place/crash.rs"),
    ("journal.", "in_place/crash.rs"),
    ("swap.", "in_place/crash.rs"),
    ("mongo.", "mongo/in_place.rs, mongo/series.rs"),
    ("removal.", "delete/crash.rs"),
    ("schedule.", "night/crash.rs"),
    ("wipe.", "wipe/crash.rs, wipe/mongo.rs"),
    ("import.plain.", "transfer/plain.rs"),
    ("data_set.", "data_sets/crash.rs"),
];

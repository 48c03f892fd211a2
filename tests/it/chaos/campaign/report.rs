//! The table: printed, and written to docs/reliability.md between its two marks.

use std::{fmt::Write, time::Duration};

use support::stack;

use super::{Counts, Line, Plan};

const BEGIN: &str = "<!-- figures: written by `make chaos` -->";
const END: &str = "<!-- end of figures -->";

/// One row of the table.
pub(super) fn row(line: &Line) -> String {
    let Line { what, runs, jobs, epochs, slowest_s, seconds, .. } = line;
    let violations = line.violations.len();
    format!(
        "| {what} | {runs} | {} | {} | {jobs} | {epochs} | {slowest_s:.0} | {violations} | {seconds:.0} |",
        counts(&line.hits),
        counts(&line.outcomes)
    )
}

fn counts(counts: &Counts) -> String {
    let mut all: Vec<(&String, &u64)> = counts.iter().collect();
    all.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
    all.iter().map(|(what, n)| format!("{n} {what}")).collect::<Vec<_>>().join("; ")
}

/// Writes the figures of a long run.
pub(super) fn write(plan: &Plan, lines: &[Line], took: Duration) {
    let path = stack::root().join("docs/reliability.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    std::fs::write(&path, format!("{before}{BEGIN}{}{END}{after}", text(plan, lines, took))).unwrap();
}

/// The table with what a reader needs to repeat it.
pub(super) fn text(plan: &Plan, lines: &[Line], took: Duration) -> String {
    let mut text = String::new();
    let date = stack::run(std::path::Path::new("/bin/date"), &["-u", "+%Y-%m-%d"], &[]);
    writeln!(
        text,
        "\nMeasured on {} with seed {} on {} cores in {} minutes: `HOLDFAST_CHAOS_SEED={} make chaos`.\n",
        date.trim(),
        plan.seed,
        std::thread::available_parallelism().unwrap(),
        took.as_secs() / 60,
        plan.seed
    )
    .unwrap();
    text.push_str("| what | runs | hit | how jobs ended | jobs | epochs | rest after s | violations | seconds |\n");
    text.push_str("|---|---|---|---|---|---|---|---|---|\n");
    for line in lines {
        writeln!(text, "{}", row(line)).unwrap();
    }
    let (events, doubles): (usize, usize) = lines.iter().fold((0, 0), |(e, d), l| (e + l.events, d + l.doubles));
    let jobs: u64 = lines.iter().map(|line| line.jobs).sum();
    let heard = "summed over the looks at what a consumer has heard so far";
    writeln!(text, "\nIn all {jobs} jobs. Events, {heard}: {events}, none missing; doubles: {doubles}.").unwrap();
    text
}

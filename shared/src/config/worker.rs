//! `[worker]`: how many jobs at once, and how long anything may take.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::reader::Section;
use crate::name::Slug;

/// How a worker works.
#[derive(Debug, Clone)]
pub struct Worker {
    /// What jobs and logs call this worker.
    pub name: Slug,
    /// Worker groups whose targets it can reach.
    pub groups: Vec<Slug>,
    /// Jobs at once, 1 to 64.
    pub slots: usize,
    /// A job whose worker has not beaten for this long runs elsewhere; at least three beats.
    pub lease: Duration,
    pub beat: Duration,
    pub sweep: Duration,
    pub poll: Duration,
    /// How long jobs may finish after SIGTERM.
    pub grace: Duration,
    pub backoff_base: Duration,
    pub backoff_cap: Duration,
    /// A job that has run this long fails.
    pub job_deadline: Duration,
    /// A job through which no byte has passed for this long fails.
    pub stall: Duration,
    /// A copy whose store takes nothing for this long is given up while more copies live than are required.
    pub laggard: Duration,
    /// Directory of passwords and sockets of running jobs.
    pub run_dir: PathBuf,
    /// Further directories with `PostgreSQL`'s client tools.
    pub pg_bindirs: Vec<PathBuf>,
    /// 1 to 19.
    pub zstd_level: i32,
    /// Whether it fires schedules too.
    pub scheduler: bool,
    /// Health, metrics, transfers.
    pub port_listen: SocketAddr,
    /// Where the API reaches that port, `http://host:port`, if that is not where it listens.
    pub transfer_url: Option<String>,
}

impl Worker {
    pub(super) fn read(s: &mut Section<'_>) -> Self {
        let groups: Vec<Slug> = s.get("groups", "a list of names of lower-case letters, digits and hyphens");
        if groups.is_empty() && !s.has_failed("groups") {
            s.fail(
                "groups",
                "is empty, so no job would ever run here",
                "give at least one group, for example [\"default\"]",
            );
        }
        Self {
            name: s.optional("name", "lower-case letters, digits and hyphens").unwrap_or_else(host_name),
            groups,
            slots: usize::try_from(s.number("slots", 1..=64)).unwrap_or(2),
            lease: s.seconds("lease_s", 0.1..=3600.0),
            beat: s.seconds("beat_s", 0.01..=600.0),
            sweep: s.seconds("sweep_s", 0.01..=600.0),
            poll: s.seconds("poll_s", 0.01..=600.0),
            grace: s.seconds("grace_s", 0.0..=3600.0),
            backoff_base: s.seconds("backoff_base_s", 0.01..=3600.0),
            backoff_cap: s.seconds("backoff_cap_s", 0.01..=86400.0),
            job_deadline: s.seconds("job_deadline_s", 1.0..=2_592_000.0),
            stall: s.seconds("stall_s", 0.1..=86400.0),
            laggard: s.seconds("laggard_s", 0.1..=86400.0),
            run_dir: s.get("run_dir", "a directory"),
            pg_bindirs: s.get("pg_bindirs", "a list of directories"),
            zstd_level: i32::try_from(s.number("zstd_level", 1..=19)).unwrap_or(1),
            scheduler: s.get("scheduler", "true or false"),
            port_listen: super::http::listen(s, "port_listen", 8081),
            transfer_url: transfer_url(s),
        }
    }
}

/// A URL of which nothing but host and port is ours to give.
fn transfer_url(s: &mut Section<'_>) -> Option<String> {
    let expects = "http://host:port";
    let url: String = s.optional("transfer_url", expects)?;
    let authority = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/')).unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    if authority.is_empty() || !authority.chars().all(plain) {
        s.fail("transfer_url", &format!("{url:?} is no such address"), &format!("give {expects}"));
        return None;
    }
    Some(format!("http://{authority}"))
}

/// The name of this machine, as others may know it.
#[must_use]
pub fn machine() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

/// The host's name made into a name of ours; "worker" where that leaves nothing.
fn host_name() -> Slug {
    let text = machine().to_lowercase();
    let text: String = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(63).collect();
    let worker = || "worker".to_owned();
    let text = Some(text.trim_matches('-').to_owned()).filter(|text| !text.is_empty()).unwrap_or_else(worker);
    #[expect(clippy::expect_used, reason = "the text was made of nothing but what a name may hold")]
    Slug::parse(text).expect("a trimmed text of letters, digits and hyphens is a name")
}

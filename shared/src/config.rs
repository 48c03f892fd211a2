//! Configuration: documented defaults, overlaid by a TOML file, `.env` and `HOLDFAST__SECTION__KEY` (design §11).
//! All errors are reported at once, each with the key, where its value came from, and the cure.

mod auth;
mod cors;
mod database;
mod encryption;
mod events;
mod gc;
mod http;
mod jobs;
mod limits;
mod platform;
mod reader;
mod require;
mod scratch;
mod secrets;
mod source;
mod stores;
mod telemetry;
mod transfer;
mod worker;

use std::fmt;

pub use auth::{AdminIds, Auth};
pub use cors::{Cors, Origins};
pub use database::Database;
pub use encryption::{Encryption, Lock};
pub use events::{EventMode, Events};
pub use gc::Gc;
pub use http::{Http, Mode, Network};
pub use jobs::Jobs;
pub use limits::{Limits, Rate};
pub use platform::Platform;
pub use scratch::{Scratch, ScratchServer, ScratchServers};
pub use secrets::Secrets;
pub use source::{DEFAULTS, Sources};
pub use stores::{ReadBack, S3, Store, StoreKind, Stores};
pub use telemetry::{LogFormat, Telemetry};
pub use transfer::Transfer;
pub use worker::{Worker, machine};

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key, dotted: `http.listen`.
    pub key: String,
    /// Where its value came from: `holdfast.toml:12`, `environment variable HOLDFAST__HTTP__LISTEN`; "not set" if nowhere.
    pub origin: String,
    /// What is wrong. Never holds the value of a secret.
    pub problem: String,
    /// What to do about it.
    pub cure: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}; {}", self.key, self.origin, self.problem, self.cure)
    }
}

/// Everything that is wrong with the configuration, in the order of the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<Problem>);

impl ConfigErrors {
    /// A wrong configuration stays wrong until somebody changes it.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        true
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} error(s) in the configuration", self.0.len())?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for ConfigErrors {}

/// The whole configuration of a process, parsed. `Debug` shows no secret: they are all `secrecy` types.
#[derive(Debug)]
pub struct Config {
    pub database: Database,
    pub http: Http,
    pub auth: Auth,
    pub secrets: Secrets,
    pub stores: Stores,
    pub scratch: ScratchServers,
    pub jobs: Jobs,
    pub gc: Gc,
    pub transfer: Transfer,
    pub worker: Worker,
    pub events: Events,
    pub platform: Platform,
    pub telemetry: Telemetry,
    seen: reader::Seen,
}

impl Config {
    /// Reads all sources and checks everything that can be checked without knowing which process this is.
    pub fn load(sources: &Sources) -> Result<Self, ConfigErrors> {
        let (merged, mut problems) = source::merge(sources);
        let mut reader = reader::Reader::new(merged);
        let config = Self {
            database: Database::read(&mut reader.section("database")),
            http: Http::read(&mut reader.section("http")),
            auth: Auth::read(&mut reader.section("auth")),
            secrets: Secrets::read(&mut reader.section("secrets")),
            stores: stores::read(&mut reader.section("stores")),
            scratch: scratch::read(&mut reader.section("scratch")),
            jobs: Jobs::read(&mut reader.section("jobs")),
            gc: Gc::read(&mut reader.section("gc")),
            transfer: Transfer::read(&mut reader.section("transfer")),
            worker: Worker::read(&mut reader.section("worker")),
            events: Events::read(&mut reader.section("events")),
            platform: Platform::read(&mut reader.section("platform")),
            telemetry: Telemetry::read(&mut reader.section("telemetry")),
            seen: reader::Seen::default(),
        };
        let (seen, found) = reader.finish();
        problems.extend(found);
        let config = Self { seen, ..config };
        // A rule over several keys is only worth reporting where each of them could be read: a wrong value has
        // been replaced by its default to be able to go on.
        problems.extend(config.cross_field().into_iter().filter(|rule| !config.seen.failed(&rule.key)));
        if problems.is_empty() { Ok(config) } else { Err(ConfigErrors(problems)) }
    }

    /// The rules that tie several keys together. [`Config::load`] has applied them already; this is for a
    /// configuration that was changed in memory.
    pub fn check(&self) -> Result<(), ConfigErrors> {
        let problems = self.cross_field();
        if problems.is_empty() { Ok(()) } else { Err(ConfigErrors(problems)) }
    }

    /// Every setting with the origin of its value, `{"http.listen": {"value": …, "origin": …}}`. A secret's value is
    /// `"(set)"`; no secret, nor a URL that may hold one, is in it.
    #[must_use]
    pub fn effective(&self) -> serde_json::Value {
        self.seen.effective()
    }

    fn cross_field(&self) -> Vec<Problem> {
        let mut rules = Vec::new();
        let mut rule = |key: &str, broken: bool, problem: &str, cure: &str| {
            if broken {
                rules.push(self.problem(key, problem, cure));
            }
        };
        let w = &self.worker;
        rule(
            "worker.lease_s",
            w.lease < w.beat * 3,
            "is shorter than three beats (worker.beat_s)",
            "raise it, or lower worker.beat_s",
        );
        rule(
            "worker.backoff_cap_s",
            w.backoff_cap < w.backoff_base,
            "is below worker.backoff_base_s",
            "raise it to at least the base",
        );
        rule(
            "worker.stall_s",
            w.stall > w.job_deadline,
            "is longer than worker.job_deadline_s, so it would never act",
            "lower it below the deadline",
        );
        rule(
            "platform.timeout_s",
            self.platform.url.is_some() && self.platform.timeout >= self.http.request_timeout,
            "is not below http.request_timeout_s, so a request would be given up without its outcome",
            "lower it, or raise http.request_timeout_s",
        );
        if let Some(active) = &self.auth.active_key {
            let missing = !self.auth.keys.contains_key(active);
            rule(
                "auth.active_key",
                missing,
                "names a key that auth.keys does not hold",
                "add the key under auth.keys, or name one that is there",
            );
        }
        let foreign = matches!((&self.secrets.public_key, &self.secrets.ring), (Some(public), Some(ring)) if !ring.contains(&public.key_id()));
        rule(
            "secrets.public_key",
            foreign,
            "does not belong to any private key of the ring",
            "add its private key to the ring, or give the ring's public key",
        );
        rules
    }

    /// A problem of a key that has been read.
    fn problem(&self, key: &str, problem: &str, cure: &str) -> Problem {
        Problem {
            key: key.to_owned(),
            origin: self.seen.origin(key),
            problem: problem.to_owned(),
            cure: cure.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;

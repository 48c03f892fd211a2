//! The fault campaign: what happens to a backup system in years, in an hour. `make chaos` runs the long version and writes
//! docs/reliability.md; a short version of each part runs with every `make test`.
//!
//! Everything random comes from one seed, which is printed; `HOLDFAST_CHAOS_SEED` repeats it.

mod damage;
mod kill;
mod lane;
mod outage;
mod report;
mod restores;
mod spy;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;

use lane::{Counts, Lane};

/// How much of everything.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    seed: u64,
    lanes: u64,
    kills: u64,
    freezes: u64,
    restores: u64,
    flips: u64,
    truncations: u64,
    swaps: u64,
    splices: u64,
    /// How long a server is away.
    outage: Duration,
    is_long: bool,
    /// No longer than this for the damage: what is not reached is not counted.
    minutes: Option<u64>,
    /// Which parts; empty: all.
    parts: String,
}

impl Plan {
    /// With every `make test`: minutes are dear there.
    fn short() -> Self {
        Self {
            seed: seed(),
            lanes: 1,
            kills: 6,
            freezes: 1,
            restores: 2,
            flips: 8,
            truncations: 4,
            swaps: 2,
            splices: 2,
            outage: Duration::from_secs(6),
            is_long: false,
            minutes: None,
            parts: String::new(),
        }
    }

    /// What `make chaos` does; `HOLDFAST_CHAOS_PERCENT` does less or more of it.
    fn long() -> Self {
        let percent = number("HOLDFAST_CHAOS_PERCENT").unwrap_or(100);
        let of = |runs: u64| (runs * percent).div_ceil(100);
        Self {
            seed: seed(),
            lanes: number("HOLDFAST_CHAOS_LANES").unwrap_or(4),
            kills: of(500),
            freezes: of(50),
            restores: of(100),
            flips: of(1000),
            truncations: of(200),
            swaps: of(100),
            splices: of(100),
            outage: Duration::from_mins(1),
            is_long: true,
            minutes: number("HOLDFAST_CHAOS_MINUTES"),
            parts: std::env::var_os("HOLDFAST_CHAOS_PARTS").map(|text| text.into_string().unwrap()).unwrap_or_default(),
        }
    }

    fn has(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.split(',').any(|one| one == part)
    }
}

pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var_os(name).map(|text| text.to_str().unwrap().parse().unwrap())
}

/// Given, or the clock's: a test that is to find the unforeseen must not do the same each day.
pub(crate) fn seed() -> u64 {
    number("HOLDFAST_CHAOS_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_secs() ^ u64::from(now.subsec_nanos())
    })
}

/// `splitmix64`: small, and the same everywhere.
#[derive(Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `bound`, without it.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }
}

/// One row of the table.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    what: String,
    runs: u64,
    /// What was going on when it happened.
    hits: Counts,
    /// How jobs ended.
    outcomes: Counts,
    jobs: u64,
    epochs: u64,
    events: usize,
    doubles: usize,
    violations: Vec<String>,
    /// The longest time from the last fault until every job was over.
    slowest_s: f64,
    seconds: f64,
}

impl Line {
    fn new(what: &str, runs: u64) -> Self {
        Self { what: what.to_owned(), runs, ..Self::default() }
    }

    fn hit(&mut self, what: &str) {
        *self.hits.entry(what.to_owned()).or_default() += 1;
    }

    fn ended(&mut self, how: &str, jobs: u64) {
        *self.outcomes.entry(how.to_owned()).or_default() += jobs;
    }

    fn progress(&self, run: u64, runs: u64) {
        eprintln!("  {}: {run} of {runs}, {} violations", self.what, self.violations.len());
    }

    fn add(&mut self, other: Self) {
        for (what, n) in other.hits {
            *self.hits.entry(what).or_default() += n;
        }
        for (what, n) in other.outcomes {
            *self.outcomes.entry(what).or_default() += n;
        }
        self.jobs += other.jobs;
        self.epochs += other.epochs;
        self.events += other.events;
        self.doubles += other.doubles;
        self.violations.extend(other.violations);
        self.slowest_s = self.slowest_s.max(other.slowest_s);
    }

    /// For the short version: fails with everything that was found.
    #[track_caller]
    fn is_clean(&self) {
        assert!(self.violations.is_empty(), "seed and what was found:\n{self:#?}");
    }
}

/// Divides the runs among installations that work side by side.
async fn in_lanes<F, T>(plan: &Plan, what: &str, runs: u64, work: F) -> Line
where
    F: Fn(Lane, u64, Line) -> T + Send + Sync + 'static,
    T: Future<Output = Line> + Send,
{
    let began = Instant::now();
    let work = Arc::new(work);
    let mut lanes = tokio::task::JoinSet::new();
    for n in 0..plan.lanes {
        let share = runs / plan.lanes + u64::from(n < runs % plan.lanes);
        let (work, seed, line) = (Arc::clone(&work), plan.seed.wrapping_add(n), Line::new(what, share));
        lanes.spawn(async move { work(Lane::start(seed).await, share, line).await });
    }
    let mut line = Line::new(what, runs);
    while let Some(done) = lanes.join_next().await {
        match done {
            Ok(done) => line.add(done),
            Err(error) => line.violations.push(format!("a lane ended: {error}")),
        }
    }
    line.seconds = began.elapsed().as_secs_f64();
    line
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_few_random_kills() {
    kill::kills(&Plan::short()).await.is_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_few_frozen_workers() {
    kill::freezes(&Plan::short()).await.is_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_few_killed_restores() {
    restores::killed(&Plan::short()).await.is_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_few_damaged_objects() {
    for line in damage::all(&Plan::short()).await {
        line.is_clean();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_few_outages() {
    for line in outage::all(&Plan::short()).await {
        line.is_clean();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "an hour: `make chaos`"]
async fn campaign() {
    let plan = Plan::long();
    let began = Instant::now();
    let lines = Mutex::new(Vec::new());
    eprintln!("seed {}: {plan:?}", plan.seed);
    // Written after each part: what is known is kept, should the machine not last.
    let note = |line: Line| {
        eprintln!("{}", report::row(&line));
        for violation in &line.violations {
            eprintln!("    VIOLATION {violation}");
        }
        let mut lines = lines.lock().unwrap();
        lines.push(line);
        report::write(&plan, &lines, began.elapsed());
    };
    // Kills are mostly waiting for leases; damage is mostly work.
    tokio::join!(
        async {
            if plan.has("kills") {
                note(kill::kills(&plan).await);
            }
            if plan.has("freezes") {
                note(kill::freezes(&plan).await);
            }
            if plan.has("restores") {
                note(restores::killed(&plan).await);
            }
        },
        async {
            if plan.has("damage") {
                for line in damage::all(&plan).await {
                    note(line);
                }
            }
        }
    );
    if plan.has("outages") {
        for line in outage::all(&plan).await {
            note(line);
        }
    }
    let lines = lines.into_inner().unwrap();
    eprintln!("{}", report::text(&plan, &lines, began.elapsed()));
    let broken: usize = lines.iter().map(|line| line.violations.len()).sum();
    assert_eq!(broken, 0, "seed {}: the violations stand above", plan.seed);
}

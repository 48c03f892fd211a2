//! What others may watch while a stream runs: bytes, idle time, and the time each stage spent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

/// Live counters of one stream. Cheap to sample from anywhere.
#[derive(Debug)]
pub struct Progress {
    started: Instant,
    raw_bytes: AtomicU64,
    stored_bytes: AtomicU64,
    last_byte_us: AtomicU64,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            raw_bytes: AtomicU64::new(0),
            stored_bytes: AtomicU64::new(0),
            last_byte_us: AtomicU64::new(0),
        }
    }
}

impl Progress {
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Raw bytes read from the engine (dump) or handed to it (restore) so far.
    pub fn raw_bytes(&self) -> u64 {
        self.raw_bytes.load(Ordering::Relaxed)
    }

    /// Stored bytes that went to the copies (dump; once, however many copies) or came from the store.
    pub fn stored_bytes(&self) -> u64 {
        self.stored_bytes.load(Ordering::Relaxed)
    }

    /// When the last byte moved; the start while none has.
    pub fn last_byte_at(&self) -> Instant {
        self.started + Duration::from_micros(self.last_byte_us.load(Ordering::Relaxed))
    }

    /// How long no byte has moved: the stall time-out compares this.
    pub fn idle(&self) -> Duration {
        self.last_byte_at().elapsed()
    }

    /// So many raw bytes more.
    pub(crate) fn raw(&self, bytes: usize) {
        self.raw_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.touch();
    }

    pub(crate) fn stored(&self, bytes: usize) {
        self.stored_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.touch();
    }

    fn touch(&self) {
        let us = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.last_byte_us.fetch_max(us, Ordering::Relaxed);
    }
}

/// What one stage did with its time. `busy_ms + wait_ms` is about the stream's duration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StageTime {
    /// `source`, `blake3`, `inventory`, `zstd`, `age`, `sha256`, `copy:<store>`; when restoring `store`, `sha256`, `age`, `unzstd`,
    /// `blake3`, `sink`. Where a dump is stored in several forms, `age:<store>` and `sha256:<store>` name the first store of each.
    pub name: String,
    /// Time at work; for `source`, `store` and `sink` the time the other side took.
    pub busy_ms: u64,
    /// Time spent waiting for the stages before and after.
    pub wait_ms: u64,
    /// CPU time of the stage's thread; absent for stages without one of their own (`source`, `copy:…`, `store`, `sink`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
}

/// The stage that set the pace: the busiest.
pub(super) fn bottleneck(stages: &[StageTime]) -> String {
    stages.iter().max_by_key(|stage| stage.busy_ms).map(|stage| stage.name.clone()).unwrap_or_default()
}

/// A stage's stopwatch: time since the last lap is booked as either busy or waiting.
#[derive(Debug)]
pub(super) struct Watch {
    name: Arc<str>,
    lap: Instant,
    busy: Duration,
    wait: Duration,
    /// What the stage's own thread had used of the CPU before.
    cpu_before: Option<Duration>,
}

impl Watch {
    /// For a stage that shares its threads with others.
    pub(super) fn start(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), lap: Instant::now(), busy: Duration::ZERO, wait: Duration::ZERO, cpu_before: None }
    }

    /// For a stage with a thread of its own, started and read there.
    pub(super) fn of_thread(name: impl Into<Arc<str>>) -> Self {
        Self { cpu_before: thread_cpu(), ..Self::start(name) }
    }

    pub(super) fn was_busy(&mut self) {
        let now = Instant::now();
        self.busy += now - std::mem::replace(&mut self.lap, now);
    }

    pub(super) fn was_waiting(&mut self) {
        let now = Instant::now();
        self.wait += now - std::mem::replace(&mut self.lap, now);
    }

    pub(super) fn time(&self) -> StageTime {
        let ms = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        let cpu = self.cpu_before.and_then(|before| thread_cpu()?.checked_sub(before));
        StageTime { name: self.name.to_string(), busy_ms: ms(self.busy), wait_ms: ms(self.wait), cpu_ms: cpu.map(ms) }
    }
}

/// What the calling thread has used of the CPU; none where the kernel does not tell.
fn thread_cpu() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

//! Schedules: what is saved without anybody asking, when it is, how long it is kept and how often it is proven.

mod check;
mod cron;
mod field;
mod forecast;
mod jitter;
mod patterns;
mod plan;
mod retention;
mod settings;
mod verification;
mod wall;
mod window;
mod zone;

use serde::{Deserialize, Serialize};

pub use check::{MAX_DAYS, MAX_JITTER_S, MAX_KEPT, MIN_BYTES_PER_S, SettingsError};
pub use cron::{CronError, CronExpr};
pub use field::Field;
pub use forecast::saves_in_a_year;
pub use jitter::jitter;
pub(crate) use patterns::is_like;
pub use plan::{Block, Candidate, Cause, Fate, Plan, Verdict, plan};
pub use retention::Retention;
pub use settings::{CatchUp, Discovery, Overlap, Settings, Window};
pub use verification::{Depth, Verification};
pub use wall::{first_change, first_shown, shown};
pub use zone::{Zone, ZoneError};

words! {
    /// What a schedule saves.
    Covers {
        Target = "target",
        /// Every target that the service has at the moment of firing.
        Service = "service",
        /// Every database of the server that its patterns name; new ones are found at each firing.
        Server = "server",
    }
}
words! {
    /// What became of a planned firing.
    SlotState {
        /// Its moment is still to come.
        Planned = "planned",
        Ran = "ran",
        /// Holdfast was there and did not fire it, for the reason that stands beside it.
        Skipped = "skipped",
        /// Nobody was there to fire it.
        Missed = "missed",
        /// It was fired, and what it was to save could not be reached.
        Unreachable = "unreachable",
    }
}

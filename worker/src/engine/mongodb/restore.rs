//! Putting collections back, natively: documents go as bytes from the archive into collections with names of their own, which
//! are compared with what was read before they get indexes and, as the last step, the names that were wanted (ADR 21).
//!
//! 1. [`survey`]: what is in the database.
//! 2. [`load`]: collections are created under staging names, documents written by several writers at once; time series under
//!    their own, with a marker ([`series`]).
//! 3. [`compare`]: what was written is read again, and must be what was read from the archive.
//! 4. [`index`]: indexes with all their options; after the comparison, as a TTL index deletes what it finds too old.
//! 5. [`rename`]: names change hands one after another, along a journal. A crash anywhere is resumed.
//!
//! A crash before 5 leaves collections whose names tell their job: the next attempt, or the next restore, drops them.

mod batch;
pub mod compare;
mod fault;
pub mod index;
pub mod load;
pub mod names;
pub mod rename;
pub mod scratch;
pub mod series;
pub mod survey;
mod takes;
mod tally;
#[cfg(test)]
mod tests;
mod view;
mod writers;

pub use self::{
    load::{Chosen, LoadError, Loaded, Loader},
    names::{Own, aside_prefix},
    rename::{Next, Way},
    survey::Survey,
    tally::Tally,
};

//! Named places in the code where a test can end or freeze the process, to see what the next one makes of what is left.
//!
//! [`failpoint!`](crate::failpoint!) stands before and after every commit and every call of a store. In a debug build the
//! environment says what happens there; **a release build holds none of this**: the macro expands to nothing.
//!
//! - `HOLDFAST_FAILPOINT=store.commit.after=kill:2;claim.commit.before=freeze`: at its second passage the first point
//!   kills the process as `kill -9` would, the other stops it as SIGSTOP would, until somebody continues it.
//! - `HOLDFAST_FAILPOINT_LOG=FILE`: every passage appends a line, `NAME pass`, `NAME kill` or `NAME freeze`.

/// A place of [`NAMES`](crate::failpoint::NAMES). Usable in synchronous and asynchronous code; nothing in a release build.
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {{
        #[cfg(debug_assertions)]
        $crate::failpoint::pass($name);
    }};
}

/// Every point there is; a test compares this list with the sources.
pub const NAMES: &[&str] = &[
    // A job: from the claim to the record, and what takes it from a worker that is gone.
    "claim.commit.before",
    "claim.commit.after",
    "finish.commit.before",
    "finish.commit.after",
    "sweep.commit.before",
    "sweep.commit.after",
    // A round of the scheduler.
    "schedule.commit.before",
    "schedule.commit.after",
    // A backup; its store calls are below.
    "backup.name.before",
    "backup.name.after",
    "backup.exited",
    "backup.discarded.before",
    "backup.discarded.after",
    // A restore into a new database.
    "restore.create.before",
    "restore.create.after",
    "restore.mark.after",
    "restore.tool.started",
    "restore.tool.ended",
    "restore.compare.before",
    "restore.settle.after",
    "restore.publish.before",
    "restore.publish.after",
    "restore.drop.before",
    "restore.drop.after",
    // A restore in place, its undo, and what it kept.
    "safety.commit.before",
    "safety.commit.after",
    "journal.commit.before",
    "journal.commit.after",
    "swap.renamed",
    "swap.commit.before",
    "swap.commit.after",
    // What follows from a job's end for the data set that it is of.
    "data_set.commit.before",
    "data_set.commit.after",
    // Collections of a MongoDB database that change names, one after another.
    "mongo.series.marked",
    "mongo.series.made",
    "mongo.staged",
    "mongo.rename.before",
    "mongo.rename.after",
    "mongo.views.before",
    "mongo.views.after",
    // A wipe: before its transaction is written down, around the commit; collections, one after another.
    "wipe.emptied",
    "wipe.commit.before",
    "wipe.commit.after",
    "wipe.batch.before",
    "wipe.batch.after",
    "wipe.made.dropped",
    // Plain SQL into a new database; its creation, its name and its end are those of restores.
    "import.plain.piece",
    "import.plain.commit.before",
    "import.plain.committed",
    // An object of a deleted save or a dead attempt; its store calls are below.
    "removal.commit.before",
    "removal.commit.after",
    // The relay.
    "relay.sequence.before",
    "relay.sequence.after",
    "relay.publish.before",
    "relay.publish.sent",
    "relay.publish.after",
    "relay.mark.after",
    // Every store, whatever its kind.
    "store.prepare.before",
    "store.prepare.after",
    "store.upload.before",
    "store.upload.after",
    "store.write.before",
    "store.write.after",
    "store.end.before",
    "store.end.after",
    "store.commit.before",
    "store.commit.after",
    "store.abort.before",
    "store.abort.after",
    "store.read.before",
    "store.read.after",
    "store.stat.before",
    "store.stat.after",
    "store.delete.before",
    "store.delete.after",
    "store.discard.before",
    "store.discard.after",
    "store.claim.before",
    "store.claim.after",
];

#[cfg(debug_assertions)]
pub use script::pass;

#[cfg(debug_assertions)]
mod script {
    use std::{
        collections::HashMap,
        fs::{File, OpenOptions},
        io::Write,
        sync::{LazyLock, Mutex, PoisonError},
    };

    use rustix::process::{Signal, getpid, kill_process};

    static SCRIPT: LazyLock<Script> = LazyLock::new(Script::of_process);

    /// What the environment asks for, read once.
    struct Script {
        steps: Vec<Step>,
        log: Option<File>,
        passages: Mutex<HashMap<&'static str, u64>>,
    }

    #[derive(Debug, PartialEq, Eq)]
    struct Step {
        name: String,
        act: Act,
        /// From 1.
        passage: u64,
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Act {
        Kill,
        Freeze,
    }

    /// Passes a point: what `failpoint!` calls.
    pub fn pass(name: &'static str) {
        let script = &*SCRIPT;
        if script.steps.is_empty() && script.log.is_none() {
            return;
        }
        let passage = {
            let mut passages = script.passages.lock().unwrap_or_else(PoisonError::into_inner);
            let passage = passages.entry(name).or_default();
            *passage += 1;
            *passage
        };
        let act = script.steps.iter().find(|step| step.name == name && step.passage == passage).map(|step| step.act);
        if let Some(mut log) = script.log.as_ref() {
            let what = match act {
                None => "pass",
                Some(Act::Kill) => "kill",
                Some(Act::Freeze) => "freeze",
            };
            // One write, so that lines of several processes do not mix.
            drop(log.write_all(format!("{name} {what}\n").as_bytes()));
        }
        let signal = match act {
            None => return,
            Some(Act::Kill) => Signal::KILL,
            Some(Act::Freeze) => Signal::STOP,
        };
        kill_process(getpid(), signal).ok();
        // The signal may be taken by another thread first: this one must not get past the point meanwhile.
        std::thread::sleep(std::time::Duration::from_millis(500));
    }

    impl Script {
        fn of_process() -> Self {
            let text = std::env::var_os("HOLDFAST_FAILPOINT").unwrap_or_default();
            let steps = parse(&text.to_string_lossy()).unwrap_or_else(|problem| {
                // A test that asks for what there is not must not pass for one in which nothing went wrong.
                drop(writeln!(std::io::stderr(), "HOLDFAST_FAILPOINT: {problem}"));
                std::process::exit(64)
            });
            let open = |path| OpenOptions::new().create(true).append(true).open(path).ok();
            let log = std::env::var_os("HOLDFAST_FAILPOINT_LOG").and_then(open);
            Self { steps, log, passages: Mutex::default() }
        }
    }

    fn parse(text: &str) -> Result<Vec<Step>, String> {
        let step = |step: &str| {
            let wrong = || format!("{step:?} is not NAME=kill[:PASSAGE] or NAME=freeze[:PASSAGE]");
            let (name, act) = step.split_once('=').ok_or_else(wrong)?;
            let (act, passage) = act.split_once(':').unwrap_or((act, "1"));
            let act = match act {
                "kill" => Act::Kill,
                "freeze" => Act::Freeze,
                _ => return Err(wrong()),
            };
            if !super::NAMES.contains(&name) {
                return Err(format!("there is no point {name:?}"));
            }
            Ok(Step { name: name.to_owned(), act, passage: passage.parse().map_err(|_| wrong())? })
        };
        text.split(';').map(str::trim).filter(|part| !part.is_empty()).map(step).collect()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn scripts_are_read_or_refused() {
            let step = |name: &str, act, passage| Step { name: name.to_owned(), act, passage };
            assert_eq!(
                parse("store.commit.after=kill:3; claim.commit.before=freeze;").unwrap(),
                [step("store.commit.after", Act::Kill, 3), step("claim.commit.before", Act::Freeze, 1)]
            );
            assert_eq!(parse("").unwrap(), []);
            for wrong in
                ["store.commit.after", "store.commit.after=kil", "store.commit=kill", "store.read.after=kill:x"]
            {
                parse(wrong).unwrap_err();
            }
        }
    }
}

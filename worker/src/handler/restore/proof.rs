//! Whether a save is of use, beyond that its bytes are what was saved: it is opened and read to its end as what it is, or
//! restored on a scratch server and compared. What is found wrong is looked at a second time before it is said.

mod decode;
mod drill;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use shared::{
    job::{Problem, VerifyJob},
    schedule::Depth,
};

use self::decode::Decoded;
pub(super) use self::drill::payload;
use super::{Job, JobError, source::Source};
use crate::{
    engine::ErrorCode,
    handler::{mongo::MONGODB, scratch::ScratchPlace},
};

/// The longest reason that is kept.
const REASON: usize = 1000;

/// What was found beyond the digests.
#[derive(Debug)]
pub(in crate::handler) struct Proof {
    pub(in crate::handler) decoded: Option<Value>,
    pub(in crate::handler) restored: Option<Value>,
    /// At which depth it was found to be of no use, and why.
    pub(in crate::handler) unusable: Option<(Depth, String)>,
    /// What a first look found that a second one did not.
    pub(in crate::handler) first_look: Option<String>,
}

/// What one look found.
#[derive(Debug)]
pub(super) enum Look<T> {
    Fine(T),
    /// The save is of no use, for this reason.
    Unusable(String),
}

/// Decodes the save from one of these copies, which were found to be good, and restores it where there is a place for that.
pub(in crate::handler) async fn run(
    job: &Job,
    payload: &VerifyJob,
    stores: &BTreeSet<String>,
    scratch: Option<&ScratchPlace>,
) -> Result<Proof, JobError> {
    let source = Source::seen(job, payload.save_id, stores).await?;
    let mut proof = Proof { decoded: None, restored: None, unusable: None, first_look: None };
    job.phase("decoding").await?;
    let decoded = loop {
        match decode::once(job, &source).await? {
            Look::Fine(decoded) => break decoded,
            Look::Unusable(why) => {
                if proof.is_confirmed(Depth::Decode, &why) {
                    return Ok(proof);
                }
            }
        }
    };
    let Decoded { report, outline } = decoded;
    proof.decoded = Some(report);
    let Some(scratch) = scratch else { return Ok(proof) };
    let mut again = None;
    loop {
        let look = if source.manifest.engine == MONGODB {
            super::mongo::drill::once(job, payload.save_id, stores, scratch).await
        } else {
            drill::once(job, payload.save_id, stores, scratch, outline.as_ref()).await
        };
        let why = match look {
            Ok(Look::Fine(report)) => {
                proof.restored = Some(report);
                proof.first_look = proof.first_look.or(again);
                return Ok(proof);
            }
            Ok(Look::Unusable(why)) => why,
            Err(JobError::Abort(problem) | JobError::Retry(problem)) if is_of_the_save(&problem) => problem.message,
            Err(error) => return Err(told(error, scratch)),
        };
        if again.replace(cut(&why)).is_some() {
            proof.unusable = again.map(|why| (Depth::Restore, why));
            return Ok(proof);
        }
        tracing::warn!(save.id = %payload.save_id, detail = why, "a drill found the save to be of no use; it is restored once more");
    }
}

impl Proof {
    /// Whether this was the second time.
    fn is_confirmed(&mut self, depth: Depth, why: &str) -> bool {
        let why = cut(why);
        if self.first_look.is_none() {
            tracing::warn!(detail = why, "the save was found to be of no use; it is read once more");
            self.first_look = Some(why);
            return false;
        }
        self.first_look = None;
        self.unusable = Some((depth, why));
        true
    }
}

/// What failed on a scratch server: the message says where.
fn told(error: JobError, scratch: &ScratchPlace) -> JobError {
    let on = |problem: Problem| Problem {
        message: format!("the drill on scratch server {} failed: {}", scratch.name, problem.message),
        ..problem
    };
    match error {
        JobError::Abort(problem) if !problem.code.starts_with("scratch_") => JobError::Abort(on(problem)),
        JobError::Retry(problem) => JobError::Retry(on(problem)),
        other => other,
    }
}

/// What a server says of rows that do not fit their own table, in a restore of bytes that were proven: no server takes them.
const CONTENTS: [&str; 5] = [
    "could not create unique index",
    "violates unique constraint",
    "violates foreign key constraint",
    "violates check constraint",
    "violates not-null constraint",
];

/// Whether a restore failed for the save's own sake, and not for that of the server.
fn is_of_the_save(problem: &Problem) -> bool {
    let codes =
        [ErrorCode::InventoryMismatch, ErrorCode::RowsDoNotMatch, ErrorCode::DuplicateKeys].map(ErrorCode::as_str);
    codes.contains(&problem.code.as_str())
        || problem.code == "archive_broken"
        || (problem.code == ErrorCode::ToolFailed.as_str()
            && CONTENTS.iter().any(|words| problem.message.contains(words)))
}

fn cut(why: &str) -> String {
    match why.char_indices().nth(REASON) {
        Some((end, _)) => format!("{}…", &why[..end]),
        None => why.to_owned(),
    }
}

/// How many objects of each kind a message names.
const NAMED: usize = 5;

/// Some of these names, and how many more there are.
fn some(names: &[String]) -> String {
    let text = names.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

/// What was not compared, for a report.
fn not_compared(why: &str) -> Value {
    json!({ "by": "none", "why": why })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restore_fails_for_the_sake_of_the_save_or_of_the_server() {
        let said = |code: &str, message: &str| is_of_the_save(&Problem::permanent(code, message, ""));
        assert!(said("inventory_mismatch", "") && said("duplicate_keys", "") && said("rows_do_not_match", ""));
        assert!(said("tool_failed", "pg_restore failed; it said: ERROR:  could not create unique index \"lots_pkey\""));
        assert!(!said("tool_failed", "pg_restore failed; it said: ERROR:  role \"app\" does not exist"));
        assert!(!said("extension_missing", "could not create unique index"));
        assert!(!said("disk_full", "") && !said("server_unreachable", ""));
    }

    #[test]
    fn a_long_reason_is_cut_at_a_letter() {
        let long = "ü".repeat(REASON + 5);
        assert_eq!(cut(&long).chars().count(), REASON + 1);
        assert_eq!(cut("short"), "short");
    }
}

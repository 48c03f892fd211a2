//! Read the copies of a save again, whole, and compare them with their rows (design §10). A copy that differs is read a
//! second time before it is called corrupt; one that cannot be read is unreachable, which says nothing of its bytes. Where more is
//! asked for, one good copy is then opened and read to its end, or restored on a scratch server (`restore/proof.rs`).

mod reading;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde::Serialize;
use serde_json::json;
use shared::{
    db::{
        objects::{self, ObjectRow},
        saves::{self, CopyRow, SaveRow},
        verify::Judgement,
        work::Purpose,
    },
    id::SaveId,
    job::{Problem, VerifyJob},
    manifest,
    name::Slug,
    save::{CopyState, ObjectState, SaveState},
    schedule::Depth,
};
use tokio::time::Instant;

use self::reading::{Finding, Place, Raw, read};
use super::{
    Done, Job, JobError,
    restore::proof::{self, Proof},
    scratch::{self, ScratchPlace},
};
use crate::store::{Store, StoreError};

/// What was found of one copy.
#[derive(Debug, Serialize)]
pub struct Verdict {
    pub store: String,
    pub outcome: Outcome,
    pub objects: usize,
    pub stored_bytes: u64,
    /// Of a good copy: whether its raw bytes were unpacked and compared too, which encryption can forbid.
    pub raw_checked: bool,
    /// Of a good copy whose raw bytes were not: why. Its stored bytes are those of the record all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_unchecked: Option<String>,
    /// The first reading of a good copy differed: its disk or its network deserves a look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_reading: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// Of the copy that was read.
    #[serde(skip)]
    pub epoch: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Good,
    Corrupt,
    Missing,
    /// It could not be read: its state stays what it was.
    Unreachable,
}

impl Outcome {
    /// The state that the copy is to have; none where nothing is known.
    pub fn state(self) -> Option<CopyState> {
        match self {
            Self::Good => Some(CopyState::Good),
            Self::Corrupt => Some(CopyState::Corrupt),
            Self::Missing => Some(CopyState::Missing),
            Self::Unreachable => None,
        }
    }
}

/// A verification that came to an end.
#[derive(Debug)]
pub struct Verified {
    pub save_id: SaveId,
    pub required: i32,
    /// Whether broken copies are to be made again.
    pub repair: bool,
    /// How deep it was to look.
    pub depth: Depth,
    pub verdicts: Vec<Verdict>,
    /// What a look beyond the digests found; none where there was none to be, or no good copy.
    proof: Option<Proof>,
    pub duration: Duration,
}

impl Verified {
    pub fn count(&self, outcome: Outcome) -> usize {
        self.verdicts.iter().filter(|verdict| verdict.outcome == outcome).count()
    }

    /// Whether this verification has seen as many good copies as the save requires.
    fn is_enough(&self) -> bool {
        i32::try_from(self.count(Outcome::Good)).unwrap_or(i32::MAX) >= self.required
    }

    /// At which depth the save was found to be of no use, and why.
    pub fn unusable(&self) -> Option<(Depth, &str)> {
        self.proof.as_ref()?.unusable.as_ref().map(|(depth, why)| (*depth, why.as_str()))
    }

    /// Whether it found what it looked for: enough good copies, and what is in them.
    pub fn passed(&self) -> bool {
        self.is_enough() && self.unusable().is_none() && (self.depth == Depth::Hash || self.proof.is_some())
    }

    /// What it says of the save.
    pub fn judgement(&self) -> Judgement<'_> {
        let (passed, unusable) = (self.passed(), self.unusable());
        let proven = match unusable {
            None => passed.then_some(self.depth),
            Some((Depth::Restore, _)) => Some(Depth::Decode),
            Some(_) => Some(Depth::Hash),
        };
        Judgement { passed, proven: proven.filter(|_| self.is_enough()), unusable }
    }

    pub fn result(&self) -> serde_json::Value {
        let mut result = json!({
            "save_id": self.save_id, "depth": self.depth, "good": self.count(Outcome::Good), "required": self.required,
            "verified": self.passed(), "copies": self.verdicts,
        });
        if let Some(Proof { decoded, restored, unusable, first_look }) = &self.proof {
            result["decoded"] = json!(decoded);
            if self.depth == Depth::Restore {
                result["restored"] = json!(restored);
            }
            if let Some((depth, why)) = unusable {
                result["unusable"] = json!({ "depth": depth, "reason": why });
            }
            if let Some(first) = first_look {
                result["first_look"] = json!(first);
            }
        }
        result
    }
}

/// Reads every copy that was asked for, and looks as deep as was asked. Where none could be reached the job is tried again.
pub async fn run(job: &Job, payload: &VerifyJob) -> Result<Done, JobError> {
    let began = Instant::now();
    job.phase("verifying").await?;
    let (save, copies) = load(job, payload).await?;
    // Before much is read for a drill that cannot be.
    let scratch = match payload.depth {
        Depth::Restore => Some(place(job, &save).await?),
        Depth::Hash | Depth::Decode => None,
    };
    let mut verdicts = Vec::new();
    for (copy, objects) in copies {
        let verdict = look(job, &copy, &objects).await?;
        tracing::info!(
            store = verdict.store, save.id = %payload.save_id, outcome = ?verdict.outcome,
            stored_bytes = verdict.stored_bytes, "copy verified"
        );
        verdicts.push(verdict);
    }
    if verdicts.iter().all(|verdict| verdict.outcome == Outcome::Unreachable)
        && let Some(problem) = verdicts.iter().find_map(|verdict| verdict.problem.clone())
    {
        return Err(JobError::Retry(Problem { retryable: true, ..problem }));
    }
    let good: BTreeSet<String> = verdicts
        .iter()
        .filter(|verdict| verdict.outcome == Outcome::Good)
        .map(|verdict| verdict.store.clone())
        .collect();
    let proof = if payload.depth == Depth::Hash || good.is_empty() {
        None
    } else {
        Some(proof::run(job, payload, &good, scratch.as_ref()).await?)
    };
    Ok(Done::Verified(Box::new(Verified {
        save_id: payload.save_id,
        required: save.required_copies,
        repair: payload.repair,
        depth: payload.depth,
        verdicts,
        proof,
        duration: began.elapsed(),
    })))
}

/// Where the drill restores: a server that answers.
async fn place(job: &Job, save: &SaveRow) -> Result<ScratchPlace, JobError> {
    let work = job.target(save.target_id, Purpose::Backup).await?;
    let scratch = scratch::choose(job, &work).await?;
    scratch.greet(job).await?;
    Ok(scratch)
}

type Copies = Vec<(CopyRow, Vec<ObjectRow>)>;

/// The copies that can be judged, each with its objects.
async fn load(job: &Job, payload: &VerifyJob) -> Result<(SaveRow, Copies), JobError> {
    let mut conn = job.ctx.pool.acquire().await?;
    let save = saves::get(&mut conn, payload.save_id).await?.filter(|save| save.state == SaveState::Available);
    let Some(save) = save else {
        let message = format!("save {} is not available any more", payload.save_id);
        return Err(JobError::abort("save_not_available", message, "Choose another save."));
    };
    let rows = objects::of_save(&mut conn, payload.save_id).await?;
    let copies = saves::copies(&mut conn, payload.save_id).await?;
    let wanted = |copy: &CopyRow| {
        let asked = payload.stores.is_empty() || payload.stores.iter().any(|store| store.as_str() == copy.store);
        asked && matches!(copy.state, CopyState::Good | CopyState::Missing | CopyState::Corrupt)
    };
    let with_objects = |copy: CopyRow| {
        let is_its = |row: &&ObjectRow| {
            row.store == copy.store && Some(row.epoch) == copy.epoch && row.state == ObjectState::Stored
        };
        let mut objects: Vec<ObjectRow> = rows.iter().filter(is_its).cloned().collect();
        objects.sort_by(|a, b| a.part.cmp(&b.part));
        (copy, objects)
    };
    Ok((save, copies.into_iter().filter(wanted).map(with_objects).collect()))
}

async fn look(job: &Job, copy: &CopyRow, objects: &[ObjectRow]) -> Result<Verdict, JobError> {
    let stored_bytes = objects.iter().filter_map(|row| row.stored_bytes).filter_map(|n| u64::try_from(n).ok()).sum();
    let mut verdict = Verdict {
        store: copy.store.clone(),
        outcome: Outcome::Good,
        objects: objects.len(),
        stored_bytes,
        raw_checked: false,
        raw_unchecked: None,
        first_reading: None,
        problem: None,
        epoch: copy.epoch,
    };
    if !objects.iter().any(|row| row.part == manifest::PART) {
        verdict.outcome = Outcome::Missing;
        verdict.problem = copy.error.as_ref().map(|error| error.0.clone()).or_else(|| {
            Some(Problem::permanent("copy_missing", "the copy was never made", "Back the target up again."))
        });
        return Ok(verdict);
    }
    let store = match reach(job, &copy.store).await {
        Ok(store) => store,
        Err(JobError::Stopped) => return Err(JobError::Stopped),
        Err(JobError::Retry(problem) | JobError::Abort(problem)) => {
            verdict.outcome = Outcome::Unreachable;
            verdict.problem = Some(problem);
            return Ok(verdict);
        }
    };
    let place = Place { encryption: job.ctx.encryption(store.name()).map(Arc::clone), store };
    let mut finding = read(job, &place, objects).await?;
    if let Finding::Differs(first) = finding {
        tracing::warn!(store = copy.store, detail = first, "a copy differs from its record; it is read once more");
        finding = read(job, &place, objects).await?;
        verdict.first_reading = Some(first);
    }
    match finding {
        Finding::Good { raw: Raw::Checked } => verdict.raw_checked = true,
        Finding::Good { raw: Raw::Not(why) } => verdict.raw_unchecked = Some(why),
        Finding::Differs(detail) => {
            verdict.first_reading = None;
            verdict.outcome = Outcome::Corrupt;
            verdict.problem = Some(Problem::permanent(
                "object_corrupt",
                format!("the copy in store {} is not what was saved: {detail}", copy.store),
                "Restore from another copy, and look after this store: it has changed what it keeps.",
            ));
        }
        Finding::Gone(detail) => {
            verdict.outcome = Outcome::Missing;
            verdict.problem = Some(Problem::permanent(
                "object_missing",
                format!("the copy in store {} is not whole: {detail}", copy.store),
                "Find out who deletes in this store, and restore from another copy.",
            ));
        }
        Finding::Unreadable(problem) => {
            verdict.outcome = Outcome::Unreachable;
            verdict.problem = Some(problem);
        }
    }
    Ok(verdict)
}

/// The store, if this worker has it and it is not another installation's by now.
async fn reach(job: &Job, name: &str) -> Result<Arc<dyn Store>, JobError> {
    let known = Slug::parse(name).ok().and_then(|name| job.ctx.stores.get(&name));
    let Some(store) = known else {
        return Err(JobError::Retry(Problem::retryable(
            "store_unknown",
            format!("this worker has no store named {name}"),
            "Declare the store in the configuration of every worker of the target's group.",
        )));
    };
    match store.marker().await? {
        Some(marker) if marker.installation != job.ctx.installation => {
            Err(StoreError::foreign(store.name(), marker.installation).into())
        }
        _ => Ok(Arc::clone(store)),
    }
}

//! A dump on its way in: watched while it flows, and proven whole by its own end. Nothing of it is run.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use shared::{
    db::{
        tickets::{self, Errand, Ticket},
        work::{self, Purpose},
    },
    enqueue::{self, Asked, EnqueueError, ImportRequest},
    id::{JobId, TransferId},
    inventory::Inventory,
    job::Problem,
    telemetry::Causes,
};
use sqlx::Connection;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    TransferError,
    upload::{Form, Input, PIECE, Packed, Upload, broken, stalled},
};
use crate::{
    context::Context,
    dispatch::Dispatch,
    engine::{Dump, EngineError, EngineKind, ErrorCode, Running, dump::Format, mongodb, postgres},
    handler::{JobError, backup},
    stream::Tap,
};

/// How long an upload waits for a free slot.
const SLOT: Duration = Duration::from_secs(30);

/// What is known of a dump that was read to its end.
#[derive(Debug)]
pub struct Facts {
    pub kind: EngineKind,
    pub tool: &'static str,
    pub tool_version: String,
    pub server_version: String,
    /// As the archive calls it, where that matters; else the target's.
    pub database: String,
    pub inventory: Option<Inventory>,
    pub warnings: Vec<String>,
}

impl Facts {
    /// 15 of 15.18; 100 of 100.9.4.
    pub fn tool_major(&self) -> u32 {
        let digits: String = self.tool_version.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or_default()
    }
}

/// Who counts what passes.
#[derive(Debug)]
enum Counting {
    Postgres(postgres::inventory::Counting),
    Mongodb(mongodb::inventory::Counting),
}

/// A dump that is being received.
#[derive(Debug)]
pub struct Receiving {
    kind: EngineKind,
    counting: Counting,
    /// Of `PostgreSQL`'s archives: what their beginning says.
    heads: Arc<Mutex<Heads>>,
    /// Why the bytes ended too early, or are no dump.
    fault: Arc<Mutex<Option<Problem>>>,
}

/// What the head of an archive says, and what is odd about it.
#[derive(Debug, Default, Clone)]
struct Heads {
    server_version: String,
    tool_version: String,
    is_compressed: bool,
}

impl Receiving {
    /// Starts to receive. The dump ends well only when all of the upload was read, and is an archive from its first byte to
    /// its last.
    pub fn start(upload: Upload, stall: Duration, cancel: &CancellationToken) -> (Self, Dump<Running>, Tap) {
        let (kind, fault, heads) = (upload.kind, Arc::default(), Arc::<Mutex<Heads>>::default());
        let (tool, tap, counting) = match kind {
            EngineKind::Postgres => {
                let (tap, counting) = postgres::inventory::tap();
                ("pg_dump", tap, Counting::Postgres(counting))
            }
            EngineKind::Mongodb => {
                let (tap, counting) = mongodb::inventory::tap();
                ("mongodump", tap, Counting::Mongodb(counting))
            }
        };
        let judge = match &counting {
            Counting::Postgres(_) => Judge::Postgres(Box::default()),
            Counting::Mongodb(counting) => Judge::Mongodb(counting.clone()),
        };
        let format = Format { magic: backup::magic(kind), trailer: b"", archive: false };
        let pouring =
            Pouring { input: upload.input, judge, stall, fault: Arc::clone(&fault), heads: Arc::clone(&heads) };
        let dump = Dump::of_task((tool, String::new()), Vec::new(), format, cancel, |pipe| pouring.run(pipe));
        let dump = match &counting {
            Counting::Postgres(_) => dump,
            Counting::Mongodb(counting) => {
                let counting = counting.clone();
                dump.checked(move || counting.fault())
            }
        };
        (Self { kind, counting, heads, fault }, dump, tap)
    }

    /// The error of a stream that failed, in the words of whoever sent it.
    pub fn explained(&self, error: JobError) -> JobError {
        let told = self.fault.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (told, error, &self.counting) {
            (_, JobError::Stopped, _) => JobError::Stopped,
            (Some(problem), ..) => JobError::Abort(problem),
            (None, JobError::Retry(problem) | JobError::Abort(problem), Counting::Mongodb(counting))
                if problem.code == ErrorCode::EmptyOrBadFormat.as_str() =>
            {
                JobError::Abort(damaged(&counting.fault().unwrap_or(problem.message)))
            }
            (None, error, _) => error,
        }
    }

    /// What was received. `target` is the database of the target.
    pub fn facts(self, target: &str) -> Result<Facts, Problem> {
        match self.counting {
            Counting::Postgres(counting) => {
                let heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let (inventory, warnings) = match counting.result() {
                    _ if heads.is_compressed => {
                        let why = "its rows are compressed inside the archive (--compress=0 leaves them readable)";
                        (None, vec![format!("the save has no inventory, and can only be restored as a whole: {why}")])
                    }
                    Ok(inventory) => (Some(inventory), Vec::new()),
                    Err(why) => (None, vec![format!("the save has no inventory: {why}")]),
                };
                Ok(Facts {
                    kind: self.kind,
                    tool: "pg_dump",
                    tool_version: first_word(&heads.tool_version),
                    server_version: heads.server_version,
                    database: target.to_owned(),
                    inventory,
                    warnings,
                })
            }
            Counting::Mongodb(counting) => {
                let (tool_version, server_version, databases) =
                    counting.origin().ok_or_else(|| damaged("it has no prelude"))?;
                let database = match databases.as_slice() {
                    [] => target.to_owned(),
                    [only] => only.clone(),
                    several if several.iter().any(|name| name == target) => target.to_owned(),
                    several => {
                        let message = format!(
                            "the archive holds {} databases ({}), and none is called as the target's, {target}",
                            several.len(),
                            several.join(", ")
                        );
                        return Err(Problem::permanent(
                            "archive_ambiguous",
                            message,
                            "Dump one database with mongodump --db.",
                        ));
                    }
                };
                let others = databases.iter().filter(|name| **name != database).count();
                let warnings = (others > 0).then(|| {
                    format!("the archive holds {others} more database(s), which no restore of this save touches")
                });
                Ok(Facts {
                    kind: self.kind,
                    tool: "mongodump",
                    tool_version: first_word(&tool_version),
                    server_version,
                    inventory: if others > 0 { None } else { counting.result().ok() },
                    database,
                    warnings: warnings.into_iter().collect(),
                })
            }
        }
    }
}

/// `15.18` of `15.18 (Debian 15.18-0+deb12u1)`.
fn first_word(text: &str) -> String {
    text.split_whitespace().next().unwrap_or_default().to_owned()
}

fn damaged(what: &str) -> Problem {
    Problem::permanent("archive_damaged", what.to_owned(), "Send an archive that is whole: dump it again.")
}

/// Who watches the bytes while they are poured.
enum Judge {
    Postgres(Box<postgres::archive::Whole>),
    Mongodb(mongodb::inventory::Counting),
}

impl Judge {
    /// What is wrong with what has passed so far.
    fn see(&mut self, bytes: &[u8]) -> Option<String> {
        match self {
            Self::Postgres(archive) => {
                archive.feed(bytes);
                archive.broken()
            }
            // It sees them further down the stream.
            Self::Mongodb(counting) => counting.broken(),
        }
    }

    /// What is wrong with an archive that ends here.
    fn end(&self) -> Option<String> {
        match self {
            Self::Postgres(archive) => archive.fault(),
            Self::Mongodb(_) => None,
        }
    }
}

/// The task that stands in the place of a dump tool.
struct Pouring {
    input: Input,
    judge: Judge,
    stall: Duration,
    fault: Arc<Mutex<Option<Problem>>>,
    heads: Arc<Mutex<Heads>>,
}

impl Pouring {
    async fn run(mut self, mut pipe: DuplexStream) -> Result<u64, EngineError> {
        let mut piece = vec![0; PIECE];
        let mut at = 0;
        loop {
            let n = match timeout(self.stall, self.input.read(&mut piece)).await {
                Err(_) => return Err(self.failed(stalled(self.stall))),
                Ok(Err(error)) => return Err(self.failed(broken(&error, at))),
                Ok(Ok(0)) => break,
                Ok(Ok(n)) => n,
            };
            if let Some(what) = self.judge.see(&piece[..n]) {
                return Err(self.failed(damaged(&what)));
            }
            let written = pipe.write_all(&piece[..n]).await;
            written
                .map_err(|error| EngineError::new(ErrorCode::Internal, "nobody reads the upload").with_source(error))?;
            at += n as u64;
        }
        if let Some(what) = self.judge.end() {
            return Err(self.failed(damaged(&what)));
        }
        if let Judge::Postgres(archive) = &self.judge {
            let (server_version, tool_version) = archive.versions();
            let heads = Heads { server_version, tool_version, is_compressed: archive.is_compressed() };
            *self.heads.lock().unwrap_or_else(PoisonError::into_inner) = heads;
        }
        Ok(at)
    }

    fn failed(&self, problem: Problem) -> EngineError {
        let error = EngineError::new(ErrorCode::EmptyOrBadFormat, problem.message.clone());
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem);
        error
    }
}

/// Why nothing was taken in.
#[derive(Debug)]
pub enum Refused {
    /// No transfer at all.
    Transfer(TransferError),
    /// What was sent, or when.
    Problem(Problem),
}

impl From<TransferError> for Refused {
    fn from(error: TransferError) -> Self {
        Self::Transfer(error)
    }
}

/// Takes in what a spent ticket allows. The job that it became has ended when this returns.
pub async fn receive(
    ctx: &Arc<Context>,
    dispatch: &Arc<Dispatch>,
    ticket: Ticket,
    said: Option<Packed>,
    body: Input,
) -> Result<JobId, Refused> {
    let id = ticket.id;
    match begin(ctx, dispatch, ticket, said, body).await {
        Ok(job) => Ok(job),
        Err(Refused::Problem(problem)) => {
            tracing::info!(transfer.id = %id, error.code = problem.code, error = problem.message, "an upload is refused");
            note(ctx, id, &problem).await;
            Err(Refused::Problem(problem))
        }
        Err(error) => {
            super::sending::release(ctx, id).await;
            Err(error)
        }
    }
}

async fn begin(
    ctx: &Arc<Context>,
    dispatch: &Arc<Dispatch>,
    ticket: Ticket,
    said: Option<Packed>,
    body: Input,
) -> Result<JobId, Refused> {
    let Errand::Import { target_id, note, into } = ticket.errand.0 else {
        return Err(TransferError::NoTicket.into());
    };
    let work = {
        let mut conn = ctx.pool.acquire().await.map_err(TransferError::from)?;
        work::target(&mut conn, target_id, Purpose::Backup).await.map_err(TransferError::from)?
    };
    let Some(work) = work else {
        return Err(TransferError::Gone(format!("target {target_id} is not there any more")).into());
    };
    let Some(slot) = dispatch.slot(SLOT).await else {
        let message = format!("every slot of the worker was taken for {} s", SLOT.as_secs());
        return Err(Refused::Problem(Problem::retryable(
            "worker_busy",
            message,
            "Send it again later, or start more workers.",
        )));
    };
    let form = if into.is_some() { Form::Plain } else { Form::Archive };
    let upload = Upload::open(body, form, said, ctx.transfer.stall).await.map_err(Refused::Problem)?;
    let kind = match upload.kind {
        EngineKind::Postgres => "postgres",
        EngineKind::Mongodb => "mongodb",
    };
    if kind != work.engine {
        let message = format!("the upload is a dump of {kind}, and the target is of {}", work.engine);
        return Err(Refused::Problem(Problem::permanent("wrong_engine", message, "Choose another target.")));
    }
    let asked = Asked {
        by: ticket.admin_id,
        request_id: ticket.request_id.clone(),
        trace_id: ticket.request_id,
        ..Asked::by_nobody(&ctx.jobs)
    };
    let owner = dispatch.name().to_owned();
    let wanted = ImportRequest { target_id, note, into, owner, lease: ctx.settings.lease };
    let claimed = Instant::now();
    let row = {
        let mut conn = ctx.pool.acquire().await.map_err(TransferError::from)?;
        let mut tx = conn.begin().await.map_err(TransferError::from)?;
        let row = enqueue::import(&mut tx, wanted, &asked).await.map_err(|error| match error {
            EnqueueError::Db(error) => Refused::Transfer(error.into()),
            error => Refused::Problem(Problem::retryable("target_busy", error.to_string(), "Send it again later.")),
        })?;
        tickets::set_job(&mut tx, ticket.id, row.id).await.map_err(TransferError::from)?;
        tx.commit().await.map_err(TransferError::from)?;
        row
    };
    let job = row.id;
    dispatch.carry(row, claimed, upload, slot).await;
    super::sending::release(ctx, ticket.id).await;
    Ok(job)
}

async fn note(ctx: &Context, id: TransferId, problem: &Problem) {
    let written = async {
        let mut conn = ctx.pool.acquire().await?;
        tickets::refuse(&mut conn, id, problem).await
    };
    if let Err(error) = written.await {
        tracing::warn!(transfer.id = %id, error = %Causes(&error), "a refusal was not written");
    }
}

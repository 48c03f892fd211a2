//! psql with a dump on its standard input, between our first lines and our last.
//!
//! psql takes the end of its input for the end of whatever it reads, a COPY as well, so nothing is committed by an end: it is by a
//! COMMIT of ours, which comes when all of the dump has. A COMMIT of the dump's own fails: a row that breaks a deferred constraint lies
//! in a temporary table until then. Should the dump get out of the transaction nevertheless (by ROLLBACK), its id tells.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{ChildStdin, ChildStdout},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::super::{
    super::{
        Connection, Created, EngineError, ErrorCode,
        clients::Client,
        dump::{failure, lost},
        error::Exit,
        process::{Ended, Process},
    },
    Postgres, classify, not_started,
};

/// Stands in what the server says of a transaction that ends too early.
const GUARD: &str = "holdfast_the_dump_may_not_end_its_transaction";
/// What is kept of a line that psql writes: ours are shorter.
const LINE: usize = 160;

/// A psql that runs.
#[derive(Debug)]
pub(crate) struct Psql {
    process: Process,
    input: ChildStdin,
    heard: JoinHandle<Heard>,
    /// What our last question is known by. The dump cannot know it: it is not said before all of the dump has been.
    last: String,
}

/// What psql did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ran {
    /// Of its COPY and INSERT statements.
    pub(crate) rows: u64,
    /// Of the transaction.
    pub(crate) id: String,
}

/// What psql wrote, as far as it matters.
#[derive(Debug, Default)]
struct Heard {
    rows: u64,
    /// The transaction's id, before the dump and after it.
    before: Option<String>,
    after: Option<String>,
}

impl Postgres {
    /// Starts psql in a database of ours, with a transaction that is ours to end.
    pub(crate) async fn start_plain(
        &self,
        at: &Connection,
        created: &Created,
        client: &Client,
        cancel: &CancellationToken,
    ) -> Result<Psql, EngineError> {
        let (key, first, last) = (secret()?, secret()?, secret()?);
        let mut tool = self.tool(at, Some(&created.database), client, "psql")?;
        tool.piped_stdin = true;
        tool.is_confined = true;
        tool.args = ["-X", "-A", "-t", "--no-password", "-v", "ON_ERROR_STOP=1"].map(Into::into).to_vec();
        let (process, pipes) = self.launcher.start(tool, cancel).await.map_err(not_started("psql"))?;
        let input = pipes.stdin.ok_or_else(|| EngineError::new(ErrorCode::Internal, "psql has no input"))?;
        let heard = tokio::spawn(hear(pipes.stdout, first.clone(), last.clone()));
        let mut psql = Psql { process, input, heard, last };
        let begin = format!(
            "\\restrict {key}\n\
             BEGIN;\n\
             CREATE TEMPORARY TABLE holdfast_guard (id pg_catalog.int4 PRIMARY KEY, missing pg_catalog.int4\n\
               CONSTRAINT {GUARD} REFERENCES pg_temp.holdfast_guard DEFERRABLE INITIALLY DEFERRED) ON COMMIT DROP;\n\
             INSERT INTO pg_temp.holdfast_guard VALUES (1, 2);\n\
             SELECT '{first}', pg_catalog.txid_current();\n"
        );
        match psql.input.write_all(begin.as_bytes()).await {
            Ok(()) => Ok(psql),
            Err(_) => Err(psql.gave_up().await),
        }
    }
}

impl Psql {
    /// Hands on a piece of the dump. `false`: psql has stopped reading, and [`Psql::gave_up`] tells why.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> bool {
        self.input.write_all(bytes).await.is_ok()
    }

    /// Fires when psql has ended, which it does before its input does only if something is wrong.
    pub(crate) fn exited(&self) -> CancellationToken {
        self.process.exited()
    }

    /// Why it ended before all was said.
    pub(crate) async fn gave_up(self) -> EngineError {
        let Self { process, input, .. } = self;
        drop(input);
        match process.ended().await {
            Ok(ended) if ended.is_success() => {
                EngineError::new(ErrorCode::SqlFailed, "psql ended before the end of the dump")
            }
            Ok(ended) => explained(ended),
            Err(error) => lost("psql", error),
        }
    }

    /// Ends it, and with its session the transaction.
    pub(crate) async fn stop(self) -> Result<(), EngineError> {
        let Self { process, input, .. } = self;
        let ended = process.stop().await.map(drop).map_err(|error| lost("psql", error));
        drop(input);
        ended
    }

    /// All of the dump was said, and is whole: commits. Whether the server has done so is still to be asked, by the id.
    pub(crate) async fn commit(self) -> Result<Ran, EngineError> {
        let Self { process, mut input, heard, last } = self;
        let end =
            format!("\nDELETE FROM pg_temp.holdfast_guard;\nSELECT '{last}', pg_catalog.txid_current();\nCOMMIT;\n");
        // Where psql reads no more, its end says why.
        input.write_all(end.as_bytes()).await.ok();
        drop(input);
        let ended = process.ended().await.map_err(|error| lost("psql", error))?;
        if !ended.is_success() {
            return Err(explained(ended));
        }
        let Heard { rows, before, after } = heard.await.unwrap_or_default();
        match (before, after) {
            (Some(before), Some(after)) if before == after => Ok(Ran { rows, id: before }),
            (Some(_), Some(_)) => Err(ended_itself("its last statement is in another transaction than its first")),
            _ => Err(EngineError::new(
                ErrorCode::SqlFailed,
                "psql took what was said after the dump for a part of it: the dump's end stands inside rows, a text or a comment",
            )),
        }
    }
}

fn ended_itself(what: &str) -> EngineError {
    let message = format!("the dump ends the transaction that it is run in: {what}");
    EngineError::new(ErrorCode::SqlCommits, message)
}

/// 128 random bits.
fn secret() -> Result<String, EngineError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|_| EngineError::new(ErrorCode::Internal, "the system gives no random bytes"))?;
    Ok(hex::encode(bytes))
}

/// Reads what psql writes to its end.
async fn hear(mut from: ChildStdout, first: String, last: String) -> Heard {
    let (mut heard, mut block, mut line) = (Heard::default(), vec![0; 64 << 10], Vec::with_capacity(LINE));
    while let Ok(n @ 1..) = from.read(&mut block).await {
        for piece in block[..n].split_inclusive(|byte| *byte == b'\n') {
            let room = LINE.saturating_sub(line.len());
            line.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                heard.note(String::from_utf8_lossy(&line).trim_end(), &first, &last);
                line.clear();
            }
        }
    }
    heard
}

impl Heard {
    fn note(&mut self, line: &str, first: &str, last: &str) {
        let of = |tag: &str| line.strip_prefix(tag)?.strip_prefix('|').map(str::to_owned);
        if let Some(id) = of(first) {
            // The dump may have looked for it in the server's statistics, and repeat it.
            self.before.get_or_insert(id);
        } else if let Some(id) = of(last) {
            self.after.get_or_insert(id);
        } else if let Some(rows) = line.strip_prefix("COPY ").or_else(|| line.strip_prefix("INSERT 0 ")) {
            self.rows = self.rows.saturating_add(rows.parse().unwrap_or_default());
        }
    }
}

/// What psql gave up on.
fn explained(ended: Ended) -> EngineError {
    if ended.stopped || !matches!(ended.exit, Exit::Code(1..=3)) {
        return failure("psql", ended, |_| None);
    }
    let said = ended.stderr.clone();
    let (code, what) = judged(&said, ended.exit);
    let error = match code {
        ErrorCode::SqlCommits => ended_itself(&what),
        ErrorCode::SqlMetaCommand => {
            EngineError::new(code, format!("the dump holds a command that is psql's own and not SQL: {what}"))
        }
        code => EngineError::new(code, format!("psql gave up: {what}")),
    };
    error.with_exit(ended.exit, said)
}

/// The code for what psql said last, and its gist.
fn judged(said: &str, exit: Exit) -> (ErrorCode, String) {
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let begins = |line: &&str| ["ERROR:  ", "FATAL:  ", "psql: error: "].iter().any(|word| line.contains(word));
    let own = |line: &&str| {
        let words = ["backslash commands are restricted", "\\unrestrict: ", "\\restrict: "];
        words.iter().any(|word| line.starts_with(word))
    };
    if let Some(line) = lines.last().filter(|line| own(line)) {
        return (ErrorCode::SqlMetaCommand, (*line).to_owned());
    }
    let error = lines.iter().rposition(begins).map(|at| &lines[at..]).unwrap_or_default();
    let gist = error.first().or(lines.last()).copied().unwrap_or("it said nothing").to_owned();
    if gist.contains(GUARD) {
        return (ErrorCode::SqlCommits, "it holds a COMMIT, or something like it".to_owned());
    }
    if gist.contains("pg_temp.holdfast_guard") {
        return (ErrorCode::SqlCommits, "it holds a ROLLBACK, or something like it".to_owned());
    }
    if exit == Exit::Code(2) {
        return (ErrorCode::ConnectionLost, gist);
    }
    let code = match classify::stderr(&gist) {
        // What is wrong with the text, in words for saves.
        None
        | Some(
            ErrorCode::RestoreConflict
            | ErrorCode::RowsDoNotMatch
            | ErrorCode::DependentObjects
            | ErrorCode::TablesNotEmpty
            | ErrorCode::EmptyOrBadFormat
            | ErrorCode::TableMissing,
        ) => ErrorCode::SqlFailed,
        Some(code) => code,
    };
    (code, gist)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_psql_gives_up_on_is_told_apart() {
        for (said, code, word) in [
            (
                "backslash commands are restricted; only \\unrestrict is allowed",
                ErrorCode::SqlMetaCommand,
                "restricted",
            ),
            ("NOTICE:  x\n\\unrestrict: wrong key", ErrorCode::SqlMetaCommand, "wrong key"),
            (
                "ERROR:  insert or update on table \"holdfast_guard\" violates foreign key constraint \"holdfast_the_dump_may_not_end_its_transaction\"\nDETAIL:  Key (missing)=(2) is not present in table \"holdfast_guard\".",
                ErrorCode::SqlCommits,
                "COMMIT",
            ),
            (
                "ERROR:  relation \"pg_temp.holdfast_guard\" does not exist\nLINE 1: DELETE FROM pg_temp.holdfast_guard;\n                    ^",
                ErrorCode::SqlCommits,
                "ROLLBACK",
            ),
            (
                "ERROR:  syntax error at or near \"SELEC\"\nLINE 1: SELEC 1;\n        ^",
                ErrorCode::SqlFailed,
                "near \"SELEC\"",
            ),
            (
                "ERROR:  invalid input syntax for type integer: \"x\"\nCONTEXT:  COPY t, line 1: \"backslash commands are restricted\"",
                ErrorCode::SqlFailed,
                "invalid input",
            ),
            ("ERROR:  role \"app\" does not exist", ErrorCode::RoleMissing, "app"),
            (
                "ERROR:  permission denied to create extension \"dblink\"\nHINT:  Must be superuser.",
                ErrorCode::PermissionDenied,
                "dblink",
            ),
            ("ERROR:  relation \"t\" already exists", ErrorCode::SqlFailed, "already"),
            ("", ErrorCode::SqlFailed, "nothing"),
        ] {
            let (found, gist) = judged(said, Exit::Code(3));
            assert!(found == code && gist.contains(word), "{said}: {found}, {gist}");
        }
        assert_eq!(judged("server closed the connection unexpectedly", Exit::Code(2)).0, ErrorCode::ConnectionLost);
    }

    #[test]
    fn only_our_own_lines_are_believed_and_rows_are_summed() {
        let mut heard = Heard::default();
        for line in ["BEGIN", "abc|17", "COPY 20", "abc|99", "INSERT 0 1", "COPY x", " COPY 5", "def|17", "COMMIT"] {
            heard.note(line, "abc", "def");
        }
        assert_eq!((heard.rows, heard.before.as_deref(), heard.after.as_deref()), (21, Some("17"), Some("17")));
    }
}

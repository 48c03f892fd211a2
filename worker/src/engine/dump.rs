//! The dangerous sequence as types: read a running dump to its end, wait for the tool, and only then hold the proof that
//! lets an upload commit (design §3.6).

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, DuplexStream, ReadBuf},
    task::JoinHandle,
    time::Sleep,
};
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};

use crate::store::Whole;

use super::{
    error::{EngineError, ErrorCode},
    output::Output,
    postgres::archive::Archive,
    process::{Ended, Pipes, Process},
};

/// A dump in the state `S`.
#[derive(Debug)]
pub struct Dump<S> {
    state: S,
    about: About,
}

#[derive(Debug)]
struct About {
    tool: String,
    tool_version: String,
    warnings: Vec<String>,
}

/// The tool runs.
#[derive(Debug)]
pub struct Running {
    tool: Tool,
    reader: Option<DumpReader>,
    seen: Arc<Mutex<Seen>>,
    format: Format,
    classify: fn(&str) -> Option<ErrorCode>,
    check: Option<Check>,
}

/// A second opinion on the bytes that were read: what is wrong with them, asked when they have all been read.
pub(crate) struct Check(Box<dyn Fn() -> Option<String> + Send + Sync>);

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Check")
    }
}

#[derive(Debug)]
enum Tool {
    Live(Process),
    /// No child, but a task of this process.
    Within(Within),
    /// Ended before its bytes were asked for: they are all in the reader's head.
    Over(u32, Box<Ended>),
}

/// A task that writes a dump. Dropped, it is stopped.
#[derive(Debug)]
struct Within {
    /// How many bytes it wrote, once it had written all it has.
    task: JoinHandle<Result<u64, EngineError>>,
    stop: CancellationToken,
    _stop_on_drop: DropGuard,
}

impl Within {
    async fn ended(self) -> Result<u64, EngineError> {
        self.task.await.unwrap_or_else(|error| {
            Err(EngineError::new(ErrorCode::Internal, "the dump's own task died").with_source(error))
        })
    }
}

/// The tool ended with status 0 (a task of ours: with success), and every byte it wrote was read: the proof that a dump is whole. It cannot be made or
/// copied elsewhere.
#[derive(Debug)]
pub struct Exited {
    bytes: u64,
}

impl Exited {
    /// How many bytes the tool wrote.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// What a good dump looks like from outside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Format {
    pub(crate) magic: &'static [u8],
    /// Must appear within the last 512 bytes.
    pub(crate) trailer: &'static [u8],
    /// A `PostgreSQL` custom archive, which is followed to its end.
    pub(crate) archive: bool,
}

#[derive(Debug, Default)]
struct Seen {
    bytes: u64,
    head: Vec<u8>,
    tail: Vec<u8>,
    end: bool,
    archive: Option<Archive>,
}

/// What a task may write ahead of the reader.
const WITHIN_BYTES: usize = 1024 * 1024;
const HEAD: usize = 64;
const TAIL: usize = 512;
/// After the tool's exit all it wrote is in the pipe: whoever reads for so long without a byte has read it all.
const LINGER: Duration = Duration::from_secs(2);

impl Seen {
    fn of(format: Format) -> Self {
        Self { archive: format.archive.then(Archive::default), ..Self::default() }
    }

    fn add(&mut self, block: &[u8]) {
        self.bytes += block.len() as u64;
        self.end |= block.is_empty();
        if let Some(archive) = &mut self.archive {
            archive.feed(block);
        }
        if self.head.len() < HEAD {
            self.head.extend_from_slice(&block[..block.len().min(HEAD - self.head.len())]);
        }
        self.tail.extend_from_slice(&block[block.len().saturating_sub(TAIL)..]);
        let surplus = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..surplus);
    }

    fn fault(&self, format: Format) -> Option<String> {
        let ended_well =
            format.trailer.is_empty() || self.tail.windows(format.trailer.len()).any(|w| w == format.trailer);
        let begun_well = self.head.get(..format.magic.len()).is_none_or(|head| head == format.magic);
        match self {
            // Whoever saw this stopped reading.
            _ if !begun_well => Some("what it wrote does not begin as a dump does".to_owned()),
            Self { end: false, .. } => Some("its output was not read to the end".to_owned()),
            Self { bytes: 0, .. } => Some("it wrote nothing".to_owned()),
            _ if !self.head.starts_with(format.magic) => Some("what it wrote does not begin as a dump does".to_owned()),
            _ if !ended_well => Some("what it wrote does not end as a dump does".to_owned()),
            Self { archive: Some(archive), .. } => archive.fault(),
            _ => None,
        }
    }
}

/// The bytes of a dump. End of file says nothing about success: ask [`Dump::finish`].
#[derive(Debug)]
pub struct DumpReader {
    /// What was read before the dump was handed out.
    head: io::Cursor<Vec<u8>>,
    input: Input,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug)]
enum Input {
    Pipe {
        stdout: Output,
        exited: Pin<Box<WaitForCancellationFutureOwned>>,
        /// Runs once the tool has exited and its pipe is open still.
        lingering: Option<Pin<Box<Sleep>>>,
    },
    Within(DuplexStream),
}

impl DumpReader {
    /// The tool's bytes, to the end of the pipe; or, where a process that the tool has left behind keeps the pipe open,
    /// until nothing has come for a while after the tool's exit.
    fn poll_pipe(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (stdout, exited, lingering) = match &mut self.input {
            Input::Pipe { stdout, exited, lingering } => (stdout, exited, lingering),
            Input::Within(stream) => return Pin::new(stream).poll_read(cx, buf),
        };
        let exited = exited.as_mut().poll(cx).is_ready();
        let poll = Pin::new(stdout).poll_read(cx, buf);
        if poll.is_ready() || !exited {
            *lingering = None;
            return poll;
        }
        lingering.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER))).as_mut().poll(cx).map(Ok)
    }
}

/// A reader's pipe alone, whose bytes do not count as handed out.
struct Piped<'a>(&'a mut DumpReader);

impl AsyncRead for Piped<'_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.poll_pipe(cx, buf)
    }
}

impl AsyncRead for DumpReader {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let poll = match Pin::new(&mut self.head).poll_read(cx, buf) {
            Poll::Ready(Ok(())) if buf.filled().len() == before => self.poll_pipe(cx, buf),
            poll => poll,
        };
        if let Poll::Ready(Ok(())) = poll {
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).add(&buf.filled()[before..]);
        }
        poll
    }
}

impl<S> Dump<S> {
    /// The tool's name and version, for the manifest: `("pg_dump", "15.20")`.
    pub fn tool(&self) -> (&str, &str) {
        (&self.about.tool, &self.about.tool_version)
    }

    /// What the save's readers should know.
    pub fn warnings(&self) -> &[String] {
        &self.about.warnings
    }
}

impl Dump<Running> {
    pub(crate) fn of_process(
        (process, pipes): (Process, Pipes),
        (tool, tool_version): (&str, String),
        warnings: Vec<String>,
        format: Format,
        classify: fn(&str) -> Option<ErrorCode>,
    ) -> Self {
        let seen = Arc::new(Mutex::new(Seen::of(format)));
        let reader = DumpReader {
            head: io::Cursor::default(),
            input: Input::Pipe {
                stdout: Output::paced(pipes.stdout),
                exited: Box::pin(process.exited().cancelled_owned()),
                lingering: None,
            },
            seen: Arc::clone(&seen),
        };
        let about = About { tool: tool.to_owned(), tool_version, warnings };
        let tool = Tool::Live(process);
        Self { state: Running { tool, reader: Some(reader), seen, format, classify, check: None }, about }
    }

    /// A dump that a task of this process writes into a pipe of [`WITHIN_BYTES`]. It ends well only by answering how many
    /// bytes it wrote, after the last of them; an error, a panic or a stop is no dump, whatever was read by then.
    pub(crate) fn of_task<F>(
        (tool, tool_version): (&str, String),
        warnings: Vec<String>,
        format: Format,
        cancel: &CancellationToken,
        write: impl FnOnce(DuplexStream) -> F,
    ) -> Self
    where
        F: Future<Output = Result<u64, EngineError>> + Send + 'static,
    {
        let (writer, input) = tokio::io::duplex(WITHIN_BYTES);
        let stop = cancel.child_token();
        let (work, stopped) = (write(writer), stop.clone());
        let task = tokio::spawn(async move {
            stopped.run_until_cancelled(work).await.unwrap_or_else(|| Err(EngineError::cancelled()))
        });
        let within = Within { task, stop: stop.clone(), _stop_on_drop: stop.drop_guard() };
        let seen = Arc::new(Mutex::new(Seen::of(format)));
        let reader = DumpReader { head: io::Cursor::default(), input: Input::Within(input), seen: Arc::clone(&seen) };
        let about = About { tool: tool.to_owned(), tool_version, warnings };
        let tool = Tool::Within(within);
        Self { state: Running { tool, reader: Some(reader), seen, format, classify: |_| None, check: None }, about }
    }

    /// Has the bytes judged by somebody who sees them pass, too: what he finds wrong fails the dump.
    #[must_use]
    pub(crate) fn checked(mut self, check: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        self.state.check = Some(Check(Box::new(check)));
        self
    }

    /// Reads up to `limit` bytes ahead. Where that is all of them, a tool that failed is an error here already, before a
    /// store is asked to take anything.
    pub(crate) async fn read_ahead(mut self, limit: u64) -> Result<Self, EngineError> {
        let Some(reader) = &mut self.state.reader else { return Ok(self) };
        let mut head = Vec::new();
        let read = Piped(reader).take(limit).read_to_end(&mut head).await;
        read.map_err(|error| lost(&self.about.tool, error))?;
        let whole = (head.len() as u64) < limit;
        reader.head = io::Cursor::new(head);
        if whole && let Tool::Live(process) = self.state.tool {
            let pid = process.id();
            let ended = process.ended().await.map_err(|error| lost(&self.about.tool, error))?;
            if !ended.is_success() {
                return Err(failure(&self.about.tool, ended, self.state.classify));
            }
            self.state.tool = Tool::Over(pid, Box::new(ended));
        }
        Ok(self)
    }

    /// The process id of the tool, for logs.
    pub fn process_id(&self) -> u32 {
        match &self.state.tool {
            Tool::Live(process) => process.id(),
            Tool::Within(_) => std::process::id(),
            Tool::Over(pid, _) => *pid,
        }
    }

    /// The bytes; None when it was taken before.
    pub fn reader(&mut self) -> Option<DumpReader> {
        self.state.reader.take()
    }

    /// Waits for the tool, after its output was read to the end. Anything but status 0, all bytes read, and the right
    /// beginning and end is an error. Without a reader taken, the tool's output has nowhere to go: it is stopped.
    pub async fn finish(self) -> Result<Dump<Exited>, EngineError> {
        let Running { tool: process, reader, seen, format, classify, check } = self.state;
        // A reader that nobody took would keep the tool writing for ever; closed, the tool ends by itself.
        drop(reader);
        let tool = &self.about.tool;
        let ended = match process {
            Tool::Live(process) => process.ended().await.map_err(|error| lost(tool, error))?,
            Tool::Over(_, ended) => *ended,
            Tool::Within(within) => {
                let written = within.ended().await?;
                let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                let lost = (written != seen.bytes).then(|| format!("of {written} bytes {} were read", seen.bytes));
                let fault = seen.fault(format).or(lost).or_else(|| check.and_then(|check| (check.0)()));
                let bytes = seen.bytes;
                drop(seen);
                return match fault {
                    None => Ok(Dump { state: Exited { bytes }, about: self.about }),
                    Some(fault) => {
                        Err(EngineError::new(ErrorCode::EmptyOrBadFormat, format!("{tool} ended well, but {fault}")))
                    }
                };
            }
        };
        if !ended.is_success() {
            return Err(failure(tool, ended, classify));
        }
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fault) = seen.fault(format).or_else(|| check.and_then(|check| (check.0)())) {
            let message = format!("{tool} ended with status 0, but {fault}");
            return Err(EngineError::new(ErrorCode::EmptyOrBadFormat, message).with_exit(ended.exit, ended.stderr));
        }
        let state = Exited { bytes: seen.bytes };
        drop(seen);
        Ok(Dump { state, about: self.about })
    }

    /// Ends the tool and all it started.
    pub async fn stop(self) -> Result<(), EngineError> {
        let tool = self.about.tool;
        match self.state.tool {
            Tool::Live(process) => process.stop().await.map(drop).map_err(|error| lost(&tool, error)),
            Tool::Within(within) => {
                within.stop.cancel();
                // It was asked to stop, and whatever it answers now, it has.
                drop(within.ended().await);
                Ok(())
            }
            Tool::Over(..) => Ok(()),
        }
    }
}

impl Dump<Exited> {
    /// The proof that a commit asks for.
    pub fn exited(&self) -> &Exited {
        &self.state
    }

    /// The same, in the words of the stores.
    pub fn whole(&self) -> Whole {
        Whole::of_exit()
    }
}

/// The error for a tool that did not end well.
pub(crate) fn failure(tool: &str, ended: Ended, classify: fn(&str) -> Option<ErrorCode>) -> EngineError {
    use super::error::Exit;
    if ended.stopped {
        return EngineError::cancelled().with_exit(ended.exit, ended.stderr);
    }
    let (code, message) = match ended.exit {
        Exit::Signal(signal) => (ErrorCode::ToolKilled, format!("{tool} was killed by signal {signal}")),
        Exit::Code(code) if code == i32::from(super::child::NOT_STARTED) => {
            (ErrorCode::ToolNotStarted, format!("{tool} could not be started"))
        }
        exit @ Exit::Code(_) => {
            let code = classify(ended.raw_stderr()).unwrap_or(ErrorCode::ToolFailed);
            // All of it is kept beside the message.
            (code, format!("{tool} failed with {exit}: {}", gist(&ended.stderr)))
        }
    };
    EngineError::new(code, message).with_exit(ended.exit, ended.stderr)
}

/// What a tool gave up on: its last error, without the statement that is quoted after it.
fn gist(stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().filter(|line| !line.trim().is_empty()).collect();
    let Some(error) = lines.iter().rposition(|line| line.contains(": error: ")) else {
        return (*lines.last().unwrap_or(&"it said nothing")).to_owned();
    };
    let quoted = |line: &&&str| line.contains("Query was: ") || line.starts_with("Command was: ");
    let words: Vec<&str> = lines[error..].iter().take_while(|line| !quoted(line)).copied().map(str::trim).collect();
    words.join(" ")
}

pub(crate) fn lost(tool: &str, error: io::Error) -> EngineError {
    EngineError::new(ErrorCode::Internal, format!("{tool} could not be waited for")).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: Format = Format { magic: b"PGDMP", trailer: b"done", archive: false };

    fn seen(blocks: &[&[u8]]) -> Seen {
        let mut seen = Seen::default();
        for block in blocks {
            seen.add(block);
        }
        seen
    }

    #[test]
    fn only_a_dump_that_was_read_to_its_end_passes() {
        assert_eq!(seen(&[b"PG", b"DMP..do", b"ne", b""]).fault(FORMAT), None);
        assert!(seen(&[b"PGDMP..done"]).fault(FORMAT).unwrap().contains("not read to the end"));
        assert!(seen(&[b""]).fault(FORMAT).unwrap().contains("nothing"));
        assert!(seen(&[b"PGDUM..done", b""]).fault(FORMAT).unwrap().contains("begin"));
        assert!(seen(&[b"PGDMP..don", b""]).fault(FORMAT).unwrap().contains("end"));
    }

    /// What comes of a dump that this task writes and a reader reads to its end.
    async fn within<F>(write: impl FnOnce(DuplexStream) -> F) -> Result<u64, ErrorCode>
    where
        F: Future<Output = Result<u64, EngineError>> + Send + 'static,
    {
        let cancel = CancellationToken::new();
        let mut dump = Dump::of_task(("test", "1".to_owned()), Vec::new(), FORMAT, &cancel, write);
        let mut bytes = Vec::new();
        dump.reader().unwrap().read_to_end(&mut bytes).await.unwrap();
        let exited = dump.finish().await.map_err(|error| error.code())?;
        assert_eq!(exited.exited().bytes(), bytes.len() as u64);
        Ok(exited.exited().bytes())
    }

    #[tokio::test]
    async fn a_task_proves_a_dump_only_by_its_own_word_and_every_byte() {
        use tokio::io::AsyncWriteExt as _;
        let whole = |mut pipe: DuplexStream, answer: Result<u64, ErrorCode>| async move {
            pipe.write_all(b"PGDMP..done").await.unwrap();
            answer.map_err(|code| EngineError::new(code, "x"))
        };
        assert_eq!(within(|pipe| whole(pipe, Ok(11))).await, Ok(11));
        assert_eq!(within(|pipe| whole(pipe, Ok(12))).await, Err(ErrorCode::EmptyOrBadFormat));
        assert_eq!(within(|pipe| whole(pipe, Err(ErrorCode::ConnectionLost))).await, Err(ErrorCode::ConnectionLost));
        assert_eq!(
            within(|pipe| async move {
                drop(pipe);
                Ok(0)
            })
            .await,
            Err(ErrorCode::EmptyOrBadFormat)
        );
        assert_eq!(within(|_pipe| async { panic!("a task that dies") }).await, Err(ErrorCode::Internal));
    }

    #[tokio::test]
    async fn a_task_that_is_stopped_or_judged_proves_nothing() {
        use tokio::io::AsyncWriteExt as _;
        let for_ever = |mut pipe: DuplexStream| async move {
            loop {
                if pipe.write_all(b"PGDMP..done").await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let about = || ("test", "1".to_owned());
        let cancel = CancellationToken::new();
        let dump = Dump::of_task(about(), Vec::new(), FORMAT, &cancel, for_ever);
        cancel.cancel();
        assert_eq!(dump.finish().await.unwrap_err().code(), ErrorCode::Cancelled);
        let cancel = CancellationToken::new();
        Dump::of_task(about(), Vec::new(), FORMAT, &cancel, for_ever).stop().await.unwrap();

        let whole = |mut pipe: DuplexStream| async move {
            pipe.write_all(b"PGDMP..done").await.unwrap();
            Ok(11)
        };
        let dump = Dump::of_task(about(), Vec::new(), FORMAT, &cancel, whole);
        let mut dump = dump.checked(|| Some("a checksum is wrong".to_owned()));
        dump.reader().unwrap().read_to_end(&mut Vec::new()).await.unwrap();
        let error = dump.finish().await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::EmptyOrBadFormat);
        assert!(error.to_string().contains("a checksum is wrong"), "{error}");
    }

    #[test]
    fn the_gist_is_the_error_and_not_what_it_quotes() {
        let refused = "pg_dump: error: query failed: ERROR:  permission denied for table t\npg_dump: detail: Query was: LOCK TABLE t";
        assert_eq!(gist(refused), "pg_dump: error: query failed: ERROR:  permission denied for table t");
        let lost = "pg_dump: error: Dumping the contents of table \"t\" failed: PQgetCopyData() failed.\n\
                    pg_dump: detail: Error message from server: server closed the connection unexpectedly\n\
                    pg_dump: detail: Query was: COPY t";
        assert!(gist(lost).ends_with("server closed the connection unexpectedly"), "{}", gist(lost));
        assert_eq!(gist("a\n\nb\n"), "b");
        assert_eq!(gist(""), "it said nothing");
    }

    #[test]
    fn the_tail_is_the_end_however_the_blocks_fall() {
        let long = vec![b'x'; 3 * TAIL];
        let seen = seen(&[&long, b"y", &long, b"end"]);
        assert_eq!(seen.tail.len(), TAIL);
        assert!(seen.tail.ends_with(b"xend"));
        assert_eq!(seen.bytes, 6 * TAIL as u64 + 4);
    }
}

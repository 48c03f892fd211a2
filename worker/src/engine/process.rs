//! The only place that starts children (design §7, guarantees F1, F5).
//!
//! A child is `holdfast-worker __child … -- tool args` (see [`super::child`]) with an empty environment but for what it is
//! given, in a process group of its own. Its parent-death signal fires when the *thread* that started it exits, and tokio's
//! blocking threads (and workers that called `block_in_place`) do so after some idle seconds: hence one thread, which
//! lives as long as the process, starts them all.

use std::{
    ffi::OsString,
    io,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{OnceLock, mpsc},
    time::Duration,
};

use rustix::process::{Pid, Signal};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, ChildStdin, ChildStdout, Command},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{child, error::Exit, redact::Redactor, secrets::SecretDir};

/// Size asked for of the pipes to and from a tool: the default 64 KiB costs a wake-up per block.
pub(super) const PIPE_BYTES: usize = 1024 * 1024;
/// How much of what a tool wrote to stderr is kept: the end of it.
const STDERR_BYTES: usize = 4096;
/// The time between TERM and KILL, unless told otherwise.
pub const STOP_GRACE: Duration = Duration::from_secs(5);

/// Limits a child sets on itself before it becomes the tool.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Files a child may have open.
    pub open_files: u64,
    /// Bytes of address space, if limited.
    pub address_space: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { open_files: 256, address_space: None }
    }
}

/// How children are started.
#[derive(Debug, Clone)]
pub struct Launcher {
    /// The worker's own binary; tests name the one that was built.
    pub exe: PathBuf,
    pub limits: Limits,
    /// The time between TERM and KILL.
    pub stop_grace: Duration,
}

impl Default for Launcher {
    fn default() -> Self {
        // The link, not its target: it stays right when the file is replaced by an upgrade under a running worker.
        Self { exe: PathBuf::from("/proc/self/exe"), limits: Limits::default(), stop_grace: STOP_GRACE }
    }
}

/// A tool to run, with everything it may see.
#[derive(Debug, Default)]
pub struct Tool {
    /// Absolute path of the tool.
    pub path: PathBuf,
    pub args: Vec<OsString>,
    /// The whole environment, beside the constants every child gets.
    pub env: Vec<(&'static str, OsString)>,
    /// What must not appear in anything that is kept of its output.
    pub secrets: Vec<SecretString>,
    /// Lives as long as the child, and a moment less than the answer that it has ended.
    pub dir: Option<SecretDir>,
    /// Whether the child reads from a pipe; otherwise its stdin is empty.
    pub piped_stdin: bool,
    /// Whether it can write no file and start no process (the latter does not hold for root), should it be made to try.
    pub is_confined: bool,
}

/// A running child. Dropped, it is stopped as by [`Process::stop`], in the background.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    stop: CancellationToken,
    exited: CancellationToken,
    ended: Option<JoinHandle<io::Result<Ended>>>,
}

/// The pipes of a child.
#[derive(Debug)]
pub struct Pipes {
    pub stdout: ChildStdout,
    pub stdin: Option<ChildStdin>,
}

/// How a child ended.
#[derive(Debug)]
pub struct Ended {
    pub exit: Exit,
    /// Whether it ended because it was asked to.
    pub stopped: bool,
    /// Unredacted, for the classification of errors only.
    pub(crate) raw_stderr: SecretString,
    /// The last 4 KiB of stderr, redacted.
    pub stderr: String,
}

impl Ended {
    /// Exit status 0, and nobody asked it to stop.
    pub fn is_success(&self) -> bool {
        self.exit == Exit::Code(0) && !self.stopped
    }
}

impl Launcher {
    /// Starts the tool. It is stopped when `cancel` fires: TERM to its group, then KILL after the grace period.
    pub async fn start(&self, tool: Tool, cancel: &CancellationToken) -> io::Result<(Process, Pipes)> {
        let mut command = self.command(&tool)?;
        let runtime = tokio::runtime::Handle::current();
        let mut child = on_spawner(move || {
            let _context = runtime.enter();
            command.spawn()
        })
        .await?;

        let missing = || io::Error::other("a child without the pipes it was asked for");
        let pid = child.id().ok_or_else(missing)?;
        let pipes = Pipes { stdout: child.stdout.take().ok_or_else(missing)?, stdin: child.stdin.take() };
        enlarge(&pipes.stdout);
        if let Some(stdin) = &pipes.stdin {
            enlarge(stdin);
        }
        let redactor = Redactor::new(&tool.secrets);
        let stderr = child.stderr.take().ok_or_else(missing)?;
        let stderr = tokio::spawn(keep_tail(stderr, STDERR_BYTES + redactor.longest()));
        let stop = cancel.child_token();
        let exited = CancellationToken::new();
        let supervisor = Supervisor {
            child,
            pid,
            stop: stop.clone(),
            exited: exited.clone(),
            grace: self.stop_grace,
            dir: tool.dir,
        };
        let ended = Some(tokio::spawn(supervisor.run(stderr, redactor)));
        Ok((Process { pid, stop, exited, ended }, pipes))
    }

    /// Runs a tool to its end and returns what it wrote, at most `limit` bytes of it.
    pub async fn output(&self, tool: Tool, limit: u64, cancel: &CancellationToken) -> io::Result<(Ended, Vec<u8>)> {
        let (process, pipes) = self.start(tool, cancel).await?;
        let mut out = Vec::new();
        pipes.stdout.take(limit).read_to_end(&mut out).await?;
        Ok((process.ended().await?, out))
    }

    fn command(&self, tool: &Tool) -> io::Result<Command> {
        if !tool.path.is_absolute() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a tool is named by its absolute path"));
        }
        let home = tool.dir.as_ref().map_or(Path::new("/nonexistent"), SecretDir::path);
        #[expect(clippy::disallowed_methods, reason = "this is the place the rule points to")]
        let mut command = Command::new(&self.exe);
        command.arg0("holdfast-worker").arg(child::MARKER);
        command.arg(format!("--parent={}", std::process::id()));
        command.arg(format!("--open-files={}", self.limits.open_files));
        if let Some(bytes) = self.limits.address_space {
            command.arg(format!("--address-space={bytes}"));
        }
        if tool.is_confined {
            command.args(["--file-size=0", "--processes=0"]);
        }
        command.arg("--").arg(&tool.path).args(&tool.args);
        command.env_clear().envs([("LC_ALL", "C"), ("TZ", "UTC"), ("PATH", "/usr/bin:/bin")]).env("HOME", home);
        command.envs(tool.env.iter().map(|(name, value)| (name, value)));
        command.current_dir("/").process_group(0).kill_on_drop(true);
        command.stdin(if tool.piped_stdin { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }
}

impl Process {
    /// The process id, and id of the group.
    pub fn id(&self) -> u32 {
        self.pid
    }

    /// Fires when the child has exited: what it wrote is in the pipe by then.
    pub(crate) fn exited(&self) -> CancellationToken {
        self.exited.clone()
    }

    /// Asks the child's whole group to end: TERM, and KILL after the grace period; returns when it has been reaped.
    pub async fn stop(self) -> io::Result<Ended> {
        self.stop.cancel();
        self.ended().await
    }

    /// Waits for the end. By then the group is gone, and so is the secrets directory.
    pub async fn ended(mut self) -> io::Result<Ended> {
        let ended = self.ended.as_mut().ok_or_else(|| io::Error::other("the child has been waited for"))?;
        let result = ended.await.map_err(io::Error::other)?;
        self.ended = None;
        result
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended.is_some() {
            self.stop.cancel();
        }
    }
}

struct Supervisor {
    child: Child,
    pid: u32,
    stop: CancellationToken,
    exited: CancellationToken,
    grace: Duration,
    dir: Option<SecretDir>,
}

impl Supervisor {
    async fn run(mut self, stderr: JoinHandle<Vec<u8>>, redactor: Redactor) -> io::Result<Ended> {
        let mut stopped = false;
        let status = tokio::select! {
            status = self.child.wait() => status,
            () = self.stop.cancelled() => {
                stopped = true;
                self.signal(Signal::TERM);
                if let Ok(status) = tokio::time::timeout(self.grace, self.child.wait()).await {
                    status
                } else {
                    self.signal(Signal::KILL);
                    self.child.wait().await
                }
            }
        };
        // What the tool started ends with it. The group's id cannot belong to others while a member lives; when none is
        // left the call finds nothing.
        self.signal(Signal::KILL);
        self.exited.cancel();
        drop(self.dir.take());
        let exit = exit_of(status?);
        // A process that left the group may hold the pipe open for ever; its words are not waited for.
        let stderr = tokio::time::timeout(Duration::from_secs(2), stderr).await;
        let raw = String::from_utf8_lossy(&stderr.ok().and_then(Result::ok).unwrap_or_default()).into_owned();
        let redacted = redactor.apply(&raw);
        let start = redacted.ceil_char_boundary(redacted.len().saturating_sub(STDERR_BYTES));
        Ok(Ended { exit, stopped, stderr: redacted[start..].trim().to_owned(), raw_stderr: raw.into() })
    }

    fn signal(&self, signal: Signal) {
        let Some(group) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return };
        if let Err(error) = rustix::process::kill_process_group(group, signal)
            && error != rustix::io::Errno::SRCH
        {
            tracing::warn!(group = self.pid, ?signal, %error, "child's group not signalled");
        }
    }
}

impl Ended {
    pub(crate) fn raw_stderr(&self) -> &str {
        self.raw_stderr.expose_secret()
    }
}

fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or(0)),
    }
}

/// Reads to the end, whatever comes: a full stderr pipe would stop the tool.
async fn keep_tail(mut from: impl AsyncRead + Unpin, keep: usize) -> Vec<u8> {
    let mut tail = Vec::with_capacity(2 * keep);
    let mut block = vec![0; keep.max(8192)];
    while let Ok(n @ 1..) = from.read(&mut block).await {
        tail.extend_from_slice(&block[..n]);
        let surplus = tail.len().saturating_sub(keep);
        tail.drain(..surplus);
    }
    tail
}

fn enlarge(pipe: &impl std::os::fd::AsFd) {
    // The kernel refuses more than /proc/sys/fs/pipe-max-size, or the user's share: slower, not wrong.
    if let Err(error) = rustix::pipe::fcntl_setpipe_size(pipe, PIPE_BYTES) {
        tracing::debug!(%error, "pipe not enlarged");
    }
}

type Start = Box<dyn FnOnce() + Send>;

/// Runs `start` on the thread that starts children.
async fn on_spawner<T: Send + 'static>(start: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    static SPAWNER: OnceLock<mpsc::Sender<Start>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, receiver) = mpsc::channel::<Start>();
        // Where no thread can be had, the receiver is dropped and every start fails with the error below.
        let thread = std::thread::Builder::new().name("children".to_owned());
        if let Err(error) = thread.spawn(move || receiver.into_iter().for_each(|start| start())) {
            tracing::error!(%error, "the thread that starts children could not be started");
        }
        sender
    });
    let gone = || io::Error::other("the thread that starts children is gone");
    let (answer, answered) = tokio::sync::oneshot::channel();
    let start: Start = Box::new(move || {
        // Nobody waits any more: the child is dropped, and with it killed.
        drop(answer.send(start()));
    });
    spawner.send(start).map_err(|_| gone())?;
    answered.await.map_err(|_| gone())?
}

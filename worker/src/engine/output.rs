//! The bytes of a tool, read in large pieces.
//!
//! `pg_dump` writes 4 KiB at a time. A reader that the kernel wakes for each of them costs more than all digests together:
//! two context switches per page, on cores that the tool and its server need. So this one is not woken at all. It looks
//! into the pipe (1 MiB) after pauses that it fits to the tool's pace, so that the pipe is about half full when it looks.

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::AsFd as _,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, ReadBuf},
    process::ChildStdout,
    time::{Instant, Sleep},
};

use super::process::PIPE_BYTES;

const SHORTEST: Duration = Duration::from_millis(1);
/// So late at most is the first byte after silence, and the end, seen.
const LONGEST: Duration = Duration::from_millis(16);

/// What a child writes to its standard output.
#[derive(Debug)]
pub(super) struct Output(Source);

#[derive(Debug)]
enum Source {
    /// The pipe is small: while the reader pauses, the tool would wait. It is woken instead.
    Woken(ChildStdout),
    Paced(Box<Paced>),
}

#[derive(Debug)]
struct Paced {
    pipe: File,
    size: usize,
    /// Bytes read since the last pause.
    found: usize,
    pause: Duration,
    sleep: Pin<Box<Sleep>>,
    asleep: bool,
}

impl Output {
    /// For bulk: short answers are better read from the pipe itself, which is not late.
    pub(super) fn paced(stdout: ChildStdout) -> Self {
        let size = match rustix::pipe::fcntl_getpipe_size(&stdout) {
            Ok(size) if size >= PIPE_BYTES => size,
            _ => return Self(Source::Woken(stdout)),
        };
        // Another descriptor of the same pipe, which still does not block, and of which the runtime knows nothing.
        let Ok(pipe) = stdout.as_fd().try_clone_to_owned() else { return Self(Source::Woken(stdout)) };
        let sleep = Box::pin(tokio::time::sleep(Duration::ZERO));
        Self(Source::Paced(Box::new(Paced {
            pipe: pipe.into(),
            size,
            found: 0,
            pause: SHORTEST,
            sleep,
            asleep: false,
        })))
    }
}

impl Paced {
    /// The next look is later when little was found, sooner when the pipe was almost full.
    fn rest(&mut self) {
        let found = std::mem::take(&mut self.found);
        if found >= self.size / 4 * 3 {
            self.pause = (self.pause / 2).max(SHORTEST);
        } else if found < self.size / 4 {
            self.pause = (self.pause * 2).min(LONGEST);
        }
        self.sleep.as_mut().reset(Instant::now() + self.pause);
        self.asleep = true;
    }
}

impl AsyncRead for Paced {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.asleep {
                ready!(self.sleep.as_mut().poll(cx));
                self.asleep = false;
            }
            let room = buf.remaining();
            match self.pipe.read(buf.initialize_unfilled()) {
                Ok(n) => {
                    buf.advance(n);
                    self.found += n;
                    // A full buffer says that there may be more, nothing that this is the end.
                    if 0 < n && n < room {
                        self.rest();
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.rest(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncRead for Output {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Source::Woken(stdout) => Pin::new(stdout).poll_read(cx, buf),
            Source::Paced(paced) => Pin::new(&mut **paced).poll_read(cx, buf),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn every_byte_arrives_in_order_and_then_the_end() {
        for pipe_bytes in [64 * 1024, PIPE_BYTES] {
            #[expect(clippy::disallowed_methods, reason = "a child that is no tool")]
            let mut child = tokio::process::Command::new("sh")
                .args(["-c", "printf first; sleep 0.05; seq 500000; printf last"])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let stdout = child.stdout.take().unwrap();
            rustix::pipe::fcntl_setpipe_size(&stdout, pipe_bytes).unwrap();
            let mut output = Output::paced(stdout);
            assert_eq!(matches!(output.0, Source::Paced(_)), pipe_bytes == PIPE_BYTES);
            let mut found = String::new();
            output.read_to_string(&mut found).await.unwrap();
            let inner = found.strip_prefix("first").and_then(|rest| rest.strip_suffix("last")).unwrap();
            assert!(inner.lines().eq((1..=500_000).map(|n| n.to_string())), "{} bytes", found.len());
            assert!(child.wait().await.unwrap().success());
        }
    }
}

//! How slowly a request may come in. Its body has the time of the request; its head, which comes before there is a request,
//! has a time of its own, counted here: whoever sends a byte now and then would else hold a connection for ever.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::{Instant, Sleep},
};

/// How long a connection that has been answered may rest, neither reading nor writing.
const REST: Duration = Duration::from_mins(5);

/// A listener whose connections have to send the heads of their requests in time.
#[derive(Debug)]
pub struct Timed {
    inner: TcpListener,
    head: Duration,
}

impl Timed {
    /// `head`: how long a head may take; zero: for ever.
    #[must_use]
    pub fn new(inner: TcpListener, head: Duration) -> Self {
        Self { inner, head }
    }
}

impl Listener for Timed {
    type Io = Link<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        let (io, address) = Listener::accept(&mut self.inner).await;
        (Link::new(io, self.head), address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// Whose connection it is.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

impl Connected<IncomingStream<'_, Timed>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Timed>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// A connection, which fails with [`io::ErrorKind::TimedOut`] when a head is late.
#[derive(Debug)]
pub struct Link<S> {
    io: S,
    /// None: there is no limit.
    watch: Option<Watch>,
}

impl<S> Link<S> {
    fn new(io: S, head: Duration) -> Self {
        let watch = (!head.is_zero()).then(|| Watch {
            head,
            state: State::Head(Blank::default()),
            late: Box::pin(tokio::time::sleep(head)),
        });
        Self { io, watch }
    }
}

#[derive(Debug)]
struct Watch {
    head: Duration,
    state: State,
    /// When the head is late, or the rest over.
    late: Pin<Box<Sleep>>,
}

#[derive(Debug)]
enum State {
    /// A head comes in.
    Head(Blank),
    /// It is there: the body comes in, the request is worked on. The request's own time counts.
    Request,
    /// An answer was begun, and nothing was read since.
    Rest,
}

/// Finds the empty line that ends a head.
#[derive(Debug, Default)]
struct Blank {
    /// Whether anything but line ends has come: those before a request line are skipped.
    begun: bool,
    /// Whether the line is empty so far.
    empty: bool,
}

impl Blank {
    /// Whether the head ends within these bytes.
    fn is_in(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            match byte {
                b'\n' if self.begun && self.empty => return true,
                b'\n' => self.empty = true,
                b'\r' => {}
                _ => (self.begun, self.empty) = (true, false),
            }
        }
        false
    }
}

impl Watch {
    fn read(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if matches!(self.state, State::Rest) {
            self.state = State::Head(Blank::default());
            self.within(self.head);
        }
        if let State::Head(blank) = &mut self.state
            && blank.is_in(bytes)
        {
            self.state = State::Request;
        }
    }

    fn wrote(&mut self, bytes: &[u8]) {
        // "100 Continue" is no answer: the body comes after it.
        match self.state {
            State::Request if bytes.starts_with(b"HTTP/1.1 1") => {}
            _ => {
                self.state = State::Rest;
                self.within(REST);
            }
        }
    }

    fn within(&mut self, time: Duration) {
        self.late.as_mut().reset(Instant::now() + time);
    }

    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        !matches!(self.state, State::Request) && self.late.as_mut().poll(cx).is_ready()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Link<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let link = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut link.io).poll_read(cx, buf);
        let Some(watch) = &mut link.watch else { return read };
        if let Poll::Ready(Ok(())) = &read {
            watch.read(buf.filled().get(before..).unwrap_or_default());
        }
        // After every read, too: bytes that come one by one must not put it off.
        if watch.is_late(cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Link<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let link = self.get_mut();
        let wrote = Pin::new(&mut link.io).poll_write(cx, buf);
        if let (Some(watch), Poll::Ready(Ok(1..))) = (&mut link.watch, &wrote) {
            watch.wrote(buf);
        }
        wrote
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let link = self.get_mut();
        let wrote = Pin::new(&mut link.io).poll_write_vectored(cx, bufs);
        if let (Some(watch), Poll::Ready(Ok(1..))) = (&mut link.watch, &wrote) {
            let first: &[u8] = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[], |buf| buf);
            watch.wrote(first);
        }
        wrote
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_an_empty_line_however_it_is_cut() {
        for (text, ends) in [
            ("GET / HTTP/1.1\r\nhost: x\r\n\r\n", true),
            ("GET / HTTP/1.1\nhost: x\n\n", true),
            ("\r\n\r\n\r\n", false),
            ("\r\n\r\nGET / HTTP/1.1\r\nhost: x\r\n", false),
            ("\r\nGET / HTTP/1.1\r\n\r\n", true),
        ] {
            let mut blank = Blank::default();
            assert_eq!(text.bytes().any(|byte| blank.is_in(&[byte])), ends, "{text:?}");
            assert_eq!(Blank::default().is_in(text.as_bytes()), ends, "{text:?}");
        }
    }

    #[tokio::test]
    async fn only_a_head_that_is_under_way_has_to_hurry() {
        let is_watched = |watch: &Watch| !matches!(watch.state, State::Request);
        let mut watch = Link::new((), Duration::from_mins(1)).watch.unwrap();
        assert!(is_watched(&watch), "from the first moment on");
        watch.read(b"POST / HTTP/1.1\r\nexpect: 100-continue\r\n");
        assert!(is_watched(&watch));
        watch.read(b"\r\n");
        assert!(!is_watched(&watch));
        watch.wrote(b"HTTP/1.1 100 Continue\r\n\r\n");
        watch.read(b"a body that takes its time");
        assert!(!is_watched(&watch));
        watch.wrote(b"HTTP/1.1 200 OK\r\n\r\n");
        assert!(matches!(watch.state, State::Rest));
        watch.read(b"GET");
        assert!(matches!(watch.state, State::Head(_)));
        assert!(Link::new((), Duration::ZERO).watch.is_none());
    }
}

//! A TCP proxy that gets in the way: before PostgreSQL, RabbitMQ or MongoDB.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// What happens to connections now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Pass,
    /// Connections are closed, new ones at once.
    Cut,
    /// Nothing goes through any more and nobody is told.
    Stall,
}

/// Listens on a port of its own until dropped.
#[derive(Debug)]
pub struct Proxy {
    pub port: u16,
    mode: watch::Sender<Mode>,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    /// A statement of this text marks the transaction whose COMMIT is to be lost.
    marker: std::sync::Mutex<Option<String>>,
    lost: AtomicUsize,
    connections: AtomicUsize,
}

impl Proxy {
    /// To a server on this machine.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let (mode, seen) = watch::channel(Mode::Pass);
        let shared = Arc::new(Shared::default());
        let state = Arc::clone(&shared);
        let accepting = tokio::spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else { return };
                state.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(client, port, seen.clone(), Arc::clone(&state)));
            }
        });
        Self { port: own, mode, shared, accepting }
    }

    /// To the server of this URL; the URL that goes through the proxy.
    pub async fn before(url: &str) -> (Self, String) {
        let parsed = reqwest::Url::parse(url).unwrap();
        let proxy = Self::to(parsed.port().unwrap()).await;
        let through = url.replace(&format!(":{}", parsed.port().unwrap()), &format!(":{}", proxy.port));
        (proxy, through)
    }

    /// Everything is closed, and nothing new gets through.
    pub fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
    }

    /// No byte gets through, in either direction, and nobody is told.
    pub fn stall(&self) {
        self.mode.send_replace(Mode::Stall);
    }

    /// As if nothing had been.
    pub fn heal(&self) {
        self.mode.send_replace(Mode::Pass);
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// From now on the reply to COMMIT is lost, and the connection with it, for each transaction of PostgreSQL's protocol
    /// (without TLS) that has run a statement with `marker` in its text. The server has committed by then.
    pub fn lose_commits_of(&self, marker: &str) {
        *self.shared.marker.lock().unwrap() = Some(marker.to_owned());
    }

    /// Every COMMIT is answered again.
    pub fn lose_no_commits(&self) {
        *self.shared.marker.lock().unwrap() = None;
    }

    /// How many replies were lost.
    pub fn lost(&self) -> usize {
        self.shared.lost.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.mode.send_replace(Mode::Cut);
    }
}

async fn serve(client: TcpStream, port: u16, mut mode: watch::Receiver<Mode>, shared: Arc<Shared>) {
    if *mode.borrow() == Mode::Cut {
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    // Small messages must not wait for each other.
    let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let swallow = Arc::new(AtomicBool::new(false));
    let up = upward(from_client, to_server, mode.clone(), Arc::clone(&shared), Arc::clone(&swallow));
    let down = downward(from_server, to_client, mode.clone(), shared, swallow);
    tokio::select! {
        () = up => {}
        () = down => {}
        _ = mode.wait_for(|mode| *mode == Mode::Cut) => {}
    }
}

async fn passing(mode: &mut watch::Receiver<Mode>) {
    // A dropped sender is the end of the proxy: `serve` ends too.
    drop(mode.wait_for(|mode| *mode != Mode::Stall).await);
}

async fn upward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
    shared: Arc<Shared>,
    swallow: Arc<AtomicBool>,
) {
    let mut watched = Watched::default();
    let mut bytes = vec![0; 64 << 10];
    loop {
        let Ok(n @ 1..) = from.read(&mut bytes).await else { return };
        passing(&mut mode).await;
        let marker = shared.marker.lock().unwrap().clone();
        if watched.commits(&bytes[..n], marker.as_deref()) {
            swallow.store(true, Ordering::SeqCst);
        }
        if to.write_all(&bytes[..n]).await.is_err() {
            return;
        }
    }
}

async fn downward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
    shared: Arc<Shared>,
    swallow: Arc<AtomicBool>,
) {
    let mut bytes = vec![0; 64 << 10];
    loop {
        let Ok(n @ 1..) = from.read(&mut bytes).await else { return };
        passing(&mut mode).await;
        if swallow.load(Ordering::SeqCst) {
            shared.lost.fetch_add(1, Ordering::SeqCst);
            return;
        }
        if to.write_all(&bytes[..n]).await.is_err() {
            return;
        }
    }
}

/// The client's half of one connection in PostgreSQL's protocol, version 3 (chapter 55, "Message Formats"): which
/// statements are prepared, and whether the transaction has run a marked one.
#[derive(Debug, Default)]
struct Watched {
    buffer: Vec<u8>,
    started: bool,
    marked: HashSet<Vec<u8>>,
    inside: bool,
}

impl Watched {
    /// Whether these bytes end with the COMMIT of a marked transaction.
    fn commits(&mut self, bytes: &[u8], marker: Option<&str>) -> bool {
        self.buffer.extend_from_slice(bytes);
        let mut found = false;
        loop {
            let head = usize::from(self.started);
            let Some(length) = self.buffer.get(head..head + 4) else { return found };
            let end = head + u32::from_be_bytes(length.try_into().unwrap()) as usize;
            if self.buffer.len() < end {
                return found;
            }
            let message: Vec<u8> = self.buffer.drain(..end).collect();
            if !self.started {
                // Requests for TLS or GSS are eight bytes and answered with one; the real start follows.
                self.started = end > 8;
                continue;
            }
            found |= self.message(message[0], &message[5..], marker);
        }
    }

    fn message(&mut self, kind: u8, body: &[u8], marker: Option<&str>) -> bool {
        let mut words = body.split(|byte| *byte == 0);
        let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let has = |text: &[u8]| marker.is_some_and(|m| String::from_utf8_lossy(text).contains(m));
        match kind {
            b'P' if has(second) => drop(self.marked.insert(first.to_vec())),
            b'P' => drop(self.marked.remove(first)),
            b'B' if self.marked.contains(second) => self.inside = true,
            b'Q' if first.starts_with(b"BEGIN") || first.starts_with(b"ROLLBACK") => self.inside = false,
            b'Q' if first.starts_with(b"COMMIT") => return std::mem::take(&mut self.inside) && marker.is_some(),
            _ => {}
        }
        false
    }
}

//! The way of our own sessions to a target: sqlx speaks to an abstract Unix socket of this process, and we carry it on.
//!
//! sqlx would trust the public authorities beside the CA it is given, and would answer a server that asks for the
//! password in the clear or as MD5. So TLS is ours (`tls.rs`), and so is a look at what the server asks for: where its
//! identity is not proven by a certificate, nothing but SCRAM is let through, as `PGREQUIREAUTH` does for the tools of
//! version 16 and above. (Tools of version 15 know no such setting. They start only after a session of ours was let in,
//! but a server that changes its mind between the two can still ask them: verify its certificate.)

use std::{
    io,
    os::linux::net::SocketAddrExt as _,
    os::unix::net::{SocketAddr, UnixListener as StdListener},
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixListener, UnixStream},
};
use tokio_rustls::TlsConnector;
use uuid::Uuid;

use super::{
    super::{Connection, EngineError, ErrorCode, TlsMode},
    tls,
};

/// The request for TLS that precedes a session.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
/// No message before the end of authentication is longer; a longer one is no PostgreSQL server's.
const LONGEST: usize = 64 * 1024;
const ACCEPT: Duration = Duration::from_secs(10);
const HANG_UP: Duration = Duration::from_secs(10);

/// Where sqlx connects to, and why the tunnel was closed if it was.
#[derive(Debug)]
pub(super) struct Tunnel {
    /// Given to sqlx as the directory of the socket.
    pub(super) directory: PathBuf,
    pub(super) port: u16,
    refused: Arc<OnceLock<String>>,
}

impl Tunnel {
    /// Reaches the server, with TLS as the mode says.
    pub(super) async fn open(at: &Connection) -> Result<Self, EngineError> {
        let place = format!("{}:{}", at.host, at.port);
        let unreachable = |error: io::Error| {
            EngineError::new(ErrorCode::ServerUnreachable, format!("connecting to {place} failed")).with_source(error)
        };
        let mut tcp = TcpStream::connect((at.host.as_str(), at.port)).await.map_err(unreachable)?;
        tcp.set_nodelay(true).map_err(unreachable)?;
        let secured = match at.tls {
            TlsMode::Disable => false,
            _ => asks_for_tls(&mut tcp).await.map_err(unreachable)?,
        };
        let tunnel = Self::listen(at).map_err(|error| {
            EngineError::new(ErrorCode::Internal, "the socket for our own session could not be made").with_source(error)
        })?;
        let (listener, tunnel) = tunnel;
        let proven = at.tls.verifies();
        let refused = Arc::clone(&tunnel.refused);
        if secured {
            let config = tls::client_config(at)?;
            let name = ServerName::try_from(at.host.as_str().to_owned()).map_err(|error| {
                tls::failed(&format!("{place}: no certificate can be made out to it")).with_source(error)
            })?;
            let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await;
            let stream = stream.map_err(|error| {
                // rustls reports a certificate it refuses as invalid data.
                let code = if error.kind() == io::ErrorKind::InvalidData {
                    ErrorCode::TlsFailed
                } else {
                    ErrorCode::ServerUnreachable
                };
                EngineError::new(code, format!("the TLS connection to {place} failed")).with_source(error)
            })?;
            tokio::spawn(serve(listener, stream, proven, refused));
        } else if matches!(at.tls, TlsMode::Disable | TlsMode::Prefer) {
            tokio::spawn(serve(listener, tcp, proven, refused));
        } else {
            return Err(tls::failed(&format!("{place} does not offer TLS, which the server's TLS mode asks for")));
        }
        Ok(tunnel)
    }

    /// Why the server was not let through, if it was not.
    pub(super) fn refusal(&self) -> Option<&str> {
        self.refused.get().map(String::as_str)
    }

    fn listen(at: &Connection) -> io::Result<(UnixListener, Self)> {
        // Abstract: no file is left behind, and no path can be too long. Only this process is served, see `serve`.
        let name = format!("holdfast-{}", Uuid::now_v7().simple());
        let address = SocketAddr::from_abstract_name(format!("{name}/.s.PGSQL.{}", at.port))?;
        let listener = StdListener::bind_addr(&address)?;
        listener.set_nonblocking(true)?;
        let tunnel = Self { directory: PathBuf::from(format!("\0{name}")), port: at.port, refused: Arc::default() };
        Ok((UnixListener::from_std(listener)?, tunnel))
    }
}

async fn asks_for_tls(tcp: &mut TcpStream) -> io::Result<bool> {
    tcp.write_all(&SSL_REQUEST).await?;
    match tcp.read_u8().await? {
        b'S' => Ok(true),
        b'N' => Ok(false),
        // An error here comes from something older than 7.0, or from no PostgreSQL server at all.
        _ => Err(io::Error::other("what answers is no PostgreSQL server")),
    }
}

async fn serve(
    listener: UnixListener,
    server: impl AsyncRead + AsyncWrite + Unpin,
    proven: bool,
    refused: Arc<OnceLock<String>>,
) {
    let own = async {
        loop {
            let (client, _) = listener.accept().await?;
            let pid = client.peer_cred()?.pid();
            if pid.is_some_and(|pid| i64::from(pid) == i64::from(std::process::id())) {
                return Ok::<_, io::Error>(client);
            }
        }
    };
    let Ok(Ok(client)) = tokio::time::timeout(ACCEPT, own).await else { return };
    drop(listener);
    carry(client, server, proven, &refused).await;
}

/// Carries bytes both ways; the server's are looked at until it has let the client in.
async fn carry(
    client: UnixStream,
    server: impl AsyncRead + AsyncWrite + Unpin,
    proven: bool,
    refused: &OnceLock<String>,
) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = tokio::io::split(server);
    // A broken connection shows on the other side: nobody asks here.
    let up = async {
        tokio::io::copy(&mut from_client, &mut to_server).await.ok();
        to_server.shutdown().await.ok();
    };
    let down = async {
        match authentication(&mut from_server, &mut to_client, proven).await {
            Ok(()) => drop(tokio::io::copy(&mut from_server, &mut to_client).await),
            // Said before the session ends, for whoever sees it end.
            Err(error) => drop(refused.set(error.to_string())),
        }
        to_client.shutdown().await.ok();
    };
    tokio::pin!(up, down);
    tokio::select! {
        () = &mut down => {}
        // A server that does not hang up in its turn is let go of.
        () = &mut up => drop(tokio::time::timeout(HANG_UP, down).await),
    }
}

/// A server whose way of asking for the password is not accepted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the server asks for {0}, and its identity is not proven: use TLS mode verify_full, or SCRAM on the server")]
struct Refused(&'static str);

async fn authentication(
    server: &mut (impl AsyncRead + Unpin),
    client: &mut (impl AsyncWrite + Unpin),
    proven: bool,
) -> Result<(), Refused> {
    if proven {
        return Ok(());
    }
    let mut scram = false;
    let mut message = vec![0; 5];
    loop {
        message.resize(5, 0);
        if server.read_exact(&mut message).await.is_err() {
            return Ok(());
        }
        let length = message.last_chunk().map_or(0, |length| u32::from_be_bytes(*length)) as usize;
        if !(4..LONGEST).contains(&length) {
            return Err(Refused("something no PostgreSQL server asks for"));
        }
        message.resize(1 + length, 0);
        if server.read_exact(&mut message[5..]).await.is_err() {
            return Ok(());
        }
        let asked = (message[0] == b'R').then(|| message.get(5..9).and_then(|code| code.first_chunk()).copied());
        match asked.map(|code| code.map(u32::from_be_bytes)) {
            Some(Some(0)) if scram => {}
            Some(Some(0)) => return Err(Refused("no password at all")),
            Some(Some(3)) => return Err(Refused("the password in the clear")),
            Some(Some(5)) => return Err(Refused("the password as MD5")),
            // SASL is SCRAM; its last step proves that the server knows the password too. None: an error, a notice.
            None | Some(Some(10 | 11)) => {}
            Some(Some(12)) => scram = true,
            Some(_) => return Err(Refused("another way of authentication than SCRAM")),
        }
        if client.write_all(&message).await.is_err() || asked == Some(Some([0; 4])) {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(code: u32) -> Vec<u8> {
        [&b"R"[..], &8_u32.to_be_bytes(), &code.to_be_bytes()].concat()
    }

    async fn look(codes: &[u32], proven: bool) -> (Result<(), Refused>, Vec<u8>) {
        let bytes: Vec<u8> = codes.iter().flat_map(|code| request(*code)).collect();
        let mut passed = Vec::new();
        let verdict = authentication(&mut &bytes[..], &mut passed, proven).await;
        (verdict, passed)
    }

    #[tokio::test]
    async fn an_unproven_server_gets_scram_or_nothing() {
        assert_eq!(look(&[10, 11, 12, 0], false).await.0, Ok(()));
        for bad in [&[3][..], &[5], &[7], &[0], &[10, 0], &[10, 11, 0], &[99]] {
            let (verdict, passed) = look(bad, false).await;
            assert!(verdict.is_err(), "{bad:?}");
            let last = request(*bad.last().unwrap());
            assert!(!passed.ends_with(&last), "the request {bad:?} reached the client");
        }
    }

    #[tokio::test]
    async fn a_proven_server_may_ask_as_it_likes() {
        for fine in [&[3][..], &[5], &[0]] {
            assert_eq!(look(fine, true).await.0, Ok(()));
        }
    }

    #[tokio::test]
    async fn what_is_no_server_is_refused() {
        let junk = b"HTTP/1.1 400 Bad Request\r\n";
        assert!(authentication(&mut &junk[..], &mut Vec::new(), false).await.is_err());
    }
}

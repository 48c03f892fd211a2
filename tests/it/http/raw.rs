//! HTTP as no library would send it.

use std::{fmt::Write, time::Duration};

use support::Client;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Sends these bytes on a connection of their own; all that comes back, or nothing where the connection was closed.
pub(super) async fn send(client: &Client, bytes: &[u8]) -> String {
    talk(client, bytes, false).await
}

/// As [`send`], and says that no more will come: for requests that are cut short.
pub(super) async fn send_and_close(client: &Client, bytes: &[u8]) -> String {
    talk(client, bytes, true).await
}

async fn talk(client: &Client, bytes: &[u8], close: bool) -> String {
    let address = client.base.strip_prefix("http://").unwrap();
    let mut link = TcpStream::connect(address).await.unwrap();
    let mut answer = Vec::new();
    let talk = async {
        // What is refused early may be closed before all of it is sent.
        drop(link.write_all(bytes).await);
        if close {
            drop(link.shutdown().await);
        }
        drop(link.read_to_end(&mut answer).await);
    };
    tokio::time::timeout(Duration::from_secs(30), talk).await.expect("the connection was left open without an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status of an answer; none: the connection was closed without one.
pub(super) fn status(answer: &str) -> Option<u16> {
    answer.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

/// A request with this head and body, after which the server closes.
pub(super) fn request(line: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

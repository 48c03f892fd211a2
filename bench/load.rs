//! Sends requests over kept connections and says how long the answers took. It knows just as much HTTP as it needs, so
//! that beside an API and a database on the same two processors it takes little of them.
//!
//! `load ADDRESS CONNECTIONS SECONDS RATE`, and on standard input a line with the token and then one line of JSON for
//! each request: `{"label", "method", "path", "body"?}`. They are sent in turn. RATE is how many a second are due, and time
//! counts from when one was due; 0: each connection sends as soon as it has an answer. On standard output: JSON with the
//! times by label in milliseconds, and how many were answered with another status than 2xx.

#![expect(clippy::print_stdout, reason = "it is what the program is for")]

use std::{
    collections::BTreeMap,
    io::{BufRead, Error, ErrorKind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep_until},
};

/// A request as its bytes.
struct Request {
    label: String,
    bytes: Vec<u8>,
}

/// What one connection has seen: label, microseconds, status.
type Seen = Vec<(usize, u64, u16)>;

struct Plan {
    address: String,
    requests: Vec<Request>,
    next: AtomicUsize,
    began: Instant,
    until: Instant,
    /// Between two requests, over all connections.
    every: Option<Duration>,
}

impl Plan {
    /// The next request's place, and when it is due; none: the time is over.
    fn take(&self) -> Option<(usize, Instant)> {
        let place = self.next.fetch_add(1, Ordering::Relaxed);
        let due = match self.every {
            Some(every) => self.began + every * u32::try_from(place).unwrap_or(u32::MAX),
            None => Instant::now(),
        };
        (due < self.until).then_some((place % self.requests.len(), due))
    }
}

async fn connection(plan: Arc<Plan>) -> Result<Seen, Error> {
    let mut stream = TcpStream::connect(&plan.address).await?;
    stream.set_nodelay(true)?;
    let (mut seen, mut buffer) = (Seen::new(), Vec::with_capacity(1 << 18));
    while let Some((place, due)) = plan.take() {
        sleep_until(due).await;
        let Some(request) = plan.requests.get(place) else { continue };
        stream.write_all(&request.bytes).await?;
        let status = answer(&mut stream, &mut buffer).await?;
        let took = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
        seen.push((place, took, status));
    }
    Ok(seen)
}

/// Reads an answer whole; its status.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<u16, Error> {
    buffer.clear();
    let head = loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    };
    let text = String::from_utf8_lossy(buffer.get(..head).unwrap_or_default()).to_ascii_lowercase();
    let status = text.get(9..12).and_then(|status| status.parse().ok()).ok_or(ErrorKind::InvalidData)?;
    let length =
        text.split("content-length:").nth(1).and_then(|rest| rest.lines().next()?.trim().parse::<usize>().ok());
    // Without a length it is an answer without a body; nothing here is sent in chunks.
    let whole = head + length.unwrap_or_default();
    while buffer.len() < whole {
        if stream.read_buf(buffer).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(status)
}

fn request(token: &str, address: &str, line: &str) -> Result<Request, Error> {
    let value: Value = serde_json::from_str(line)?;
    let text = |name: &str| value[name].as_str().unwrap_or_default();
    let body = if value["body"].is_null() { String::new() } else { value["body"].to_string() };
    let head =
        format!("{} {} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n", text("method"), text("path"));
    let of_body = if body.is_empty() {
        String::new()
    } else {
        format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len())
    };
    Ok(Request { label: text("label").to_owned(), bytes: format!("{head}{of_body}\r\n{body}").into_bytes() })
}

/// The time below which this share of the sorted times lies, in milliseconds.
fn percentile(sorted: &[u64], share: usize) -> f64 {
    let place = (sorted.len() * share).div_ceil(100).saturating_sub(1);
    Duration::from_micros(sorted.get(place).copied().unwrap_or_default()).as_secs_f64() * 1000.0
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [address, connections, seconds, rate] = words.as_slice() else {
        return Err(Error::new(ErrorKind::InvalidInput, "load ADDRESS CONNECTIONS SECONDS RATE"));
    };
    let number = |text: &str| text.parse::<f64>().map_err(|error| Error::new(ErrorKind::InvalidInput, error));
    let (seconds, rate) = (number(seconds)?, number(rate)?);
    let connections: usize = connections.parse().map_err(|error| Error::new(ErrorKind::InvalidInput, error))?;
    let mut lines = std::io::stdin().lock().lines();
    let token = lines.next().ok_or(ErrorKind::UnexpectedEof)??;
    let requests: Vec<Request> = lines.map(|line| request(&token, address, &line?)).collect::<Result<_, _>>()?;
    if requests.is_empty() {
        return Err(Error::new(ErrorKind::InvalidInput, "no request"));
    }
    let began = Instant::now();
    let plan = Arc::new(Plan {
        address: address.clone(),
        requests,
        next: AtomicUsize::new(0),
        began,
        until: began + Duration::from_secs_f64(seconds),
        every: (rate > 0.0).then(|| Duration::from_secs_f64(1.0 / rate)),
    });
    let running: Vec<_> = (0..connections).map(|_| tokio::spawn(connection(Arc::clone(&plan)))).collect();
    let mut times: BTreeMap<&str, (Vec<u64>, u64)> = BTreeMap::new();
    for one in running {
        for (place, took, status) in one.await.map_err(Error::other)?? {
            let Some(request) = plan.requests.get(place) else { continue };
            let (times, failed) = times.entry(&request.label).or_default();
            times.push(took);
            *failed += u64::from(!(200..300).contains(&status));
        }
    }
    let took = began.elapsed().as_secs_f64();
    let mut found = serde_json::Map::new();
    for (label, (mut times, failed)) in times {
        times.sort_unstable();
        let [p50, p99, most] = [50, 99, 100].map(|share| percentile(&times, share));
        found.insert(
            label.to_owned(),
            json!({ "n": times.len(), "failed": failed, "p50_ms": p50, "p99_ms": p99, "max_ms": most }),
        );
    }
    println!("{}", json!({ "seconds": took, "labels": found }));
    Ok(())
}

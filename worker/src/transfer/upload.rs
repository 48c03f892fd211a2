//! A dump as somebody sends it: unpacked where it is packed, and known by its first bytes before anything is begun.

use std::{
    io::{self, Cursor, Read},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, stream::poll_fn};
use shared::job::Problem;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    sync::mpsc,
    task::spawn_blocking,
    time::timeout,
};
use tokio_util::io::StreamReader;

use crate::engine::{
    EngineKind, mongodb,
    postgres::plain::text::{Title, title},
};

/// Bytes in order.
pub type Input = Pin<Box<dyn AsyncRead + Send>>;

/// What decides what it is.
const HEAD: usize = 512;
/// Read, or unpacked, at once.
pub(crate) const PIECE: usize = 256 << 10;
/// Something packed twice is odd; thrice is meant to harm.
const MOST_LAYERS: usize = 2;
/// How much memory a zstd frame may ask for: 32 MiB, more than any level below 20 does.
const WINDOW_LOG: u32 = 25;
/// From here on what unpacks to more than so many times its size is refused (guarantees D6).
const RATIO_FROM: u64 = 1 << 30;
const MOST_RATIO: u64 = 200;

/// How bytes are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packed {
    Gzip,
    Zstd,
}

impl Packed {
    /// As `Content-Encoding` says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// What a dump is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A tool's own format, which becomes a save.
    Archive,
    /// Plain SQL of `pg_dump`, which becomes a database.
    Plain,
}

/// What the first bytes are those of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Packed(Packed),
    Archive(EngineKind),
    /// Of `pg_dump`, in a format that is not taken.
    OtherFormat(&'static str),
    /// Of `pg_dump` in its plain format, or of `pg_dumpall`.
    Plain(Title),
    Text,
    Nothing,
    Unknown,
}

/// A dump that has begun to arrive.
pub struct Upload {
    pub kind: EngineKind,
    /// What it came in.
    pub layers: Vec<Packed>,
    pub(crate) input: Input,
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload").field("kind", &self.kind).field("layers", &self.layers).finish_non_exhaustive()
    }
}

impl Upload {
    /// Reads the first bytes. `wanted` is what there is a use for, `said` what the sender says it is packed in. The problem tells
    /// what was seen instead of a dump.
    pub async fn open(body: Input, wanted: Form, said: Option<Packed>, stall: Duration) -> Result<Self, Problem> {
        let (mut input, mut layers) = (body, Vec::new());
        loop {
            let head = head(&mut input, stall).await?;
            let seen = look(&head);
            let found = match seen {
                Seen::Packed(packed) => Some(packed),
                _ => None,
            };
            if let (true, Some(said)) = (layers.is_empty(), said)
                && found != Some(said)
            {
                let message = format!("the upload is said to be {}, and begins with {}", said.as_str(), words(&head));
                return Err(Problem::permanent("upload_unreadable", message, "Correct Content-Encoding."));
            }
            input = Box::pin(AsyncReadExt::chain(Cursor::new(head.clone()), input));
            match seen {
                Seen::Archive(kind) if wanted == Form::Archive => return Ok(Self { kind, layers, input }),
                Seen::Plain(Title::Database) if wanted == Form::Plain => {
                    return Ok(Self { kind: EngineKind::Postgres, layers, input });
                }
                Seen::Packed(packed) if layers.len() < MOST_LAYERS => {
                    layers.push(packed);
                    input = unpacked(packed, input);
                }
                other => return Err(refused(other, wanted, &head)),
            }
        }
    }
}

async fn head(input: &mut Input, stall: Duration) -> Result<Bytes, Problem> {
    let mut head = BytesMut::with_capacity(HEAD);
    while head.len() < HEAD {
        let mut piece = vec![0; HEAD - head.len()];
        match timeout(stall, input.read(&mut piece)).await {
            Err(_) => return Err(stalled(stall)),
            Ok(Err(error)) => return Err(broken(&error, 0)),
            Ok(Ok(0)) => break,
            Ok(Ok(n)) => head.extend_from_slice(&piece[..n]),
        }
    }
    Ok(head.freeze())
}

fn look(head: &[u8]) -> Seen {
    let is = |magic: &[u8]| head.starts_with(magic);
    let text = |c: &u8| c.is_ascii_graphic() || c.is_ascii_whitespace() || *c >= 0x80;
    if is(&[0x1f, 0x8b]) {
        Seen::Packed(Packed::Gzip)
    } else if is(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Seen::Packed(Packed::Zstd)
    } else if is(&mongodb::archive::MAGIC) {
        Seen::Archive(EngineKind::Mongodb)
    } else if is(b"PGDMP") {
        // After three bytes of version and two of sizes: 1 is custom.
        match head.get(10) {
            None | Some(1) => Seen::Archive(EngineKind::Postgres),
            Some(3) => Seen::OtherFormat("tar"),
            Some(_) => Seen::OtherFormat("directory"),
        }
    } else if is(b"toc.dat\0") {
        Seen::OtherFormat("tar")
    } else if let Some(title) = title(head) {
        Seen::Plain(title)
    } else if head.is_empty() {
        Seen::Nothing
    } else if head.iter().all(text) {
        Seen::Text
    } else {
        Seen::Unknown
    }
}

fn refused(seen: Seen, wanted: Form, head: &[u8]) -> Problem {
    let hint = match (wanted, seen) {
        (Form::Archive, Seen::Plain(Title::Database)) => {
            "Send what pg_dump --format=custom writes; or name a new database with into=, which a super may, to have it run there."
        }
        (Form::Archive, _) => {
            "Send what pg_dump --format=custom or mongodump --archive writes, as it is or packed with gzip or zstd."
        }
        (Form::Plain, Seen::Archive(_)) => "Leave into out, and restore the save that it becomes.",
        (Form::Plain, _) => {
            "Send what pg_dump --format=plain writes of one database, as it is or packed with gzip or zstd."
        }
    };
    let message = match seen {
        Seen::Nothing => "the upload is empty".to_owned(),
        Seen::Plain(Title::Database) => {
            "the upload is plain SQL, which could do anything where it is run: it becomes no save".to_owned()
        }
        Seen::Plain(Title::Cluster) => {
            "the upload is plain SQL of pg_dumpall, of all databases and roles of a server, which is not taken"
                .to_owned()
        }
        Seen::Archive(_) if wanted == Form::Plain => {
            "the upload is an archive, which becomes a save before it becomes a database".to_owned()
        }
        Seen::Text if wanted == Form::Plain => {
            format!("the upload is text that is not pg_dump's: it begins with {}", words(head))
        }
        Seen::Text => format!(
            "the upload is text, which begins with {}: plain SQL is not taken, as it could do anything where it is run",
            words(head)
        ),
        Seen::OtherFormat(format) => format!("the upload is a dump of pg_dump in {format} format, which is not taken"),
        Seen::Packed(_) => "the upload is packed more than twice".to_owned(),
        Seen::Archive(_) | Seen::Unknown => {
            format!("the upload is no dump that is known: it begins with {}", words(head))
        }
    };
    Problem::permanent("format_unknown", message, hint)
}

fn words(head: &[u8]) -> String {
    format!("{:?}", head.get(..24).unwrap_or(head).escape_ascii().to_string())
}

/// No byte came in time.
pub(crate) fn stalled(stall: Duration) -> Problem {
    let message = format!("no byte of the upload came for {} s", stall.as_secs());
    Problem::permanent("upload_stalled", message, "Send it again over a better line.")
}

/// Why the bytes end here: the line broke, or what they are packed in did.
pub(crate) fn broken(error: &io::Error, at: u64) -> Problem {
    if error.kind() == io::ErrorKind::ConnectionAborted {
        let message = format!("the upload broke off after {at} bytes of the dump");
        return Problem::permanent("upload_broken", message, "Send it again.");
    }
    let message = format!("what the dump is packed in is damaged or cut off after {at} bytes of the dump: {error}");
    Problem::permanent("upload_unreadable", message, "Check the file with gzip -t or zstd -t, and send it again.")
}

/// What is unpacked, on a thread of its own. Memory: the decoder's window, and a few pieces.
fn unpacked(packed: Packed, mut input: Input) -> Input {
    let (to_decoder, packed_bytes) = mpsc::channel::<io::Result<Bytes>>(2);
    let (to_reader, mut plain) = mpsc::channel::<io::Result<Bytes>>(2);
    tokio::spawn(async move {
        loop {
            let mut piece = BytesMut::zeroed(PIECE);
            let read = match input.read(&mut piece).await {
                Ok(0) => return,
                Ok(n) => Ok(piece.split_to(n).freeze()),
                Err(error) => Err(error),
            };
            let ends = read.is_err();
            if to_decoder.send(read).await.is_err() || ends {
                return;
            }
        }
    });
    spawn_blocking(move || {
        if let Err(error) = decode(packed, packed_bytes, &to_reader) {
            // Nobody listens any more: then nobody is told.
            to_reader.blocking_send(Err(error)).ok();
        }
    });
    Box::pin(reader(poll_fn(move |cx| plain.poll_recv(cx))))
}

/// A reader of pieces that come from elsewhere.
pub fn reader(pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> impl AsyncRead + Send {
    StreamReader::new(pieces)
}

fn decode(
    packed: Packed,
    input: mpsc::Receiver<io::Result<Bytes>>,
    to: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let taken = Arc::new(AtomicU64::new(0));
    let input = Pieces { input, current: Bytes::new(), taken: Arc::clone(&taken) };
    let mut decoder: Box<dyn Read> = match packed {
        Packed::Gzip => Box::new(flate2::read::MultiGzDecoder::new(input)),
        Packed::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::new(input)?;
            decoder.window_log_max(WINDOW_LOG)?;
            Box::new(decoder)
        }
    };
    let mut given = 0;
    loop {
        let mut piece = BytesMut::zeroed(PIECE);
        let n = match decoder.read(&mut piece) {
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        given += n as u64;
        if given > RATIO_FROM && given / MOST_RATIO > taken.load(Ordering::Relaxed) {
            let message = format!("it unpacks to more than {MOST_RATIO} times its size");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        if n == 0 || to.blocking_send(Ok(piece.split_to(n).freeze())).is_err() {
            return Ok(());
        }
    }
}

/// Pieces as a blocking reader.
struct Pieces {
    input: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
    taken: Arc<AtomicU64>,
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.input.blocking_recv() {
                Some(piece) => self.current = piece?,
                None => return Ok(0),
            }
            self.taken.fetch_add(self.current.len() as u64, Ordering::Relaxed);
        }
        let n = self.current.len().min(into.len());
        self.current.copy_to_slice(&mut into[..n]);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const DUMP: &[u8] = include_bytes!("../engine/postgres/archive/15.dump");
    const STALL: Duration = Duration::from_secs(5);

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::stream::encode_all(bytes, 1).unwrap()
    }

    async fn open(bytes: Vec<u8>) -> Result<Upload, Problem> {
        opened(bytes, Form::Archive).await
    }

    async fn opened(bytes: Vec<u8>, wanted: Form) -> Result<Upload, Problem> {
        Upload::open(Box::pin(Cursor::new(bytes)), wanted, None, STALL).await
    }

    #[tokio::test]
    async fn a_dump_is_the_same_however_it_is_packed() {
        for (bytes, layers) in [
            (DUMP.to_vec(), vec![]),
            (gzip(DUMP), vec![Packed::Gzip]),
            (zstd(DUMP), vec![Packed::Zstd]),
            (gzip(&zstd(DUMP)), vec![Packed::Gzip, Packed::Zstd]),
            // Members and frames one after another are one stream.
            ([gzip(&DUMP[..700]), gzip(&DUMP[700..])].concat(), vec![Packed::Gzip]),
            ([zstd(&DUMP[..700]), zstd(&DUMP[700..])].concat(), vec![Packed::Zstd]),
        ] {
            let mut upload = open(bytes).await.unwrap();
            assert_eq!((upload.kind, &upload.layers), (EngineKind::Postgres, &layers));
            let mut read = Vec::new();
            upload.input.read_to_end(&mut read).await.unwrap();
            assert!(read == DUMP, "{layers:?}");
        }
    }

    #[tokio::test]
    async fn what_is_cut_off_or_damaged_is_an_error_and_no_end() {
        for packed in [gzip(DUMP), zstd(DUMP)] {
            for end in [packed.len() - 1, packed.len() - 9, packed.len() / 2] {
                let Ok(mut upload) = open(packed[..end].to_vec()).await else { continue };
                assert!(upload.input.read_to_end(&mut Vec::new()).await.is_err(), "cut at {end} of {}", packed.len());
            }
            let trailing = [packed.clone(), b"trailing bytes".to_vec()].concat();
            let mut upload = open(trailing).await.unwrap();
            assert!(upload.input.read_to_end(&mut Vec::new()).await.is_err(), "bytes after the end");
        }
    }

    #[tokio::test]
    async fn what_is_no_dump_is_named() {
        for (bytes, word) in [
            (b"".to_vec(), "empty"),
            (b"--\n-- PostgreSQL database dump\n--\n".to_vec(), "plain SQL"),
            (gzip(b"SELECT 1;"), "plain SQL"),
            (gzip(&gzip(&gzip(DUMP))), "more than twice"),
            (b"toc.dat\0\0\0".to_vec(), "tar format"),
            (b"\x7fELF\x02\x01".to_vec(), "\\\\x7fELF"),
        ] {
            let problem = open(bytes).await.unwrap_err();
            assert_eq!(problem.code, "format_unknown");
            assert!(problem.message.contains(word), "{}", problem.message);
        }
        let input = Box::pin(Cursor::new(DUMP));
        let wrong = Upload::open(input, Form::Archive, Some(Packed::Gzip), STALL).await.unwrap_err();
        assert_eq!(wrong.code, "upload_unreadable");
    }

    #[tokio::test]
    async fn plain_sql_is_taken_where_it_is_asked_for_and_nothing_else_is() {
        let plain = b"--\n-- PostgreSQL database dump\n--\n\nSET x = 1;\n";
        for bytes in [plain.to_vec(), gzip(plain), zstd(plain)] {
            let mut upload = opened(bytes, Form::Plain).await.unwrap();
            let mut read = Vec::new();
            upload.input.read_to_end(&mut read).await.unwrap();
            assert_eq!(read, plain);
        }
        for (bytes, word) in [
            (b"--\n-- PostgreSQL database cluster dump\n--\n".to_vec(), "pg_dumpall"),
            (DUMP.to_vec(), "an archive"),
            (b"SELECT 1;".to_vec(), "not pg_dump's"),
            (Vec::new(), "empty"),
        ] {
            let problem = opened(bytes, Form::Plain).await.unwrap_err();
            assert_eq!(problem.code, "format_unknown");
            assert!(problem.message.contains(word), "{}", problem.message);
        }
    }

    #[test]
    fn what_unpacks_to_far_more_than_it_is_ends() {
        let zeros = zstd::stream::encode_all(io::repeat(0).take(RATIO_FROM + (64 << 20)), 1).unwrap();
        let (to, input) = mpsc::channel(1);
        let (out, mut plain) = mpsc::channel::<io::Result<Bytes>>(2);
        to.try_send(Ok(Bytes::from(zeros))).unwrap();
        drop(to);
        let drain = std::thread::spawn(move || {
            let mut bytes = 0;
            while let Some(Ok(piece)) = plain.blocking_recv() {
                bytes += piece.len() as u64;
            }
            bytes
        });
        let error = decode(Packed::Zstd, input, &out).unwrap_err();
        drop(out);
        assert!(error.to_string().contains("200 times"), "{error}");
        assert!(drain.join().unwrap() <= RATIO_FROM);
    }
}

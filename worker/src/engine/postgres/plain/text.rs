//! The text of a plain dump on its way to psql: known by its head, whole by its end. What lies between is psql's to read.
//!
//! Two lines are taken out, for psql takes no `\restrict` inside ours: the dump's own, which stands in its head before any
//! statement, and its counterpart, which is the last line. A line in the middle that looks like them may be a row. Nothing
//! rests upon that but that good dumps pass: what psql refuses it refuses by itself.

/// Held back until it is known what follows: more than `pg_dump` writes after its last statement.
const TAIL: usize = 4096;
/// A head's line that is longer is no line of a head.
const LINE: usize = 1024;

const TITLE: &[u8] = b"-- PostgreSQL database dump";
const CLUSTER: &[u8] = b"-- PostgreSQL database cluster dump";
const END: &[u8] = b"-- PostgreSQL database dump complete";
const RULE: &[u8] = b"--";
const RESTRICT: &[u8] = b"\\restrict ";
const UNRESTRICT: &[u8] = b"\\unrestrict ";

/// What text begins as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Title {
    /// A database, by `pg_dump`.
    Database,
    /// All of a server, by `pg_dumpall`.
    Cluster,
}

/// What the first bytes say. None: they are of something else.
pub(crate) fn title(head: &[u8]) -> Option<Title> {
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    if lines.next() != Some(RULE) {
        return None;
    }
    match lines.next() {
        Some(line) if line == TITLE => Some(Title::Database),
        Some(line) if line == CLUSTER => Some(Title::Cluster),
        _ => None,
    }
}

/// Why text is no whole dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("a byte 0 stands in it, before byte {0}: psql would pass over what follows in the line")]
    Nul(u64),
    #[error(
        "it ends at byte {0} without the line that pg_dump writes last, so it is cut off, or something follows that line"
    )]
    Incomplete(u64),
}

/// What a dump says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The version of the server it was taken from.
    pub(crate) server_version: String,
    /// The version of the `pg_dump` that wrote it.
    pub(crate) tool_version: String,
}

/// A dump that is read.
#[derive(Debug, Default)]
pub(crate) struct Text {
    is_past_head: bool,
    /// The line of the head that is being read.
    line: Vec<u8>,
    /// The dump's own key.
    key: Option<Vec<u8>>,
    origin: Origin,
    held: Vec<u8>,
    bytes: u64,
}

impl Text {
    /// Takes in what has come, and gives what psql may have of it.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Fault> {
        self.bytes += bytes.len() as u64;
        if bytes.contains(&0) {
            return Err(Fault::Nul(self.bytes));
        }
        let mut rest = bytes;
        while !self.is_past_head && !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
            self.line.extend_from_slice(&rest[..end]);
            rest = &rest[end..];
            if self.line.ends_with(b"\n") || self.line.len() > LINE {
                self.judge();
            }
        }
        self.held.extend_from_slice(rest);
        let surplus = self.held.len().saturating_sub(TAIL);
        Ok(self.held.drain(..surplus).collect())
    }

    /// A whole line of the head, or the first that is none of it.
    fn judge(&mut self) {
        let line = std::mem::take(&mut self.line);
        let text = line.trim_ascii_end();
        if let Some(key) = text.strip_prefix(RESTRICT).filter(|key| self.key.is_none() && is_key(key)) {
            self.key = Some(key.to_owned());
            self.held.push(b'\n');
            return;
        }
        let said = |prefix: &str| Some(String::from_utf8_lossy(text.strip_prefix(prefix.as_bytes())?).into_owned());
        if let Some(version) = said("-- Dumped from database version ") {
            self.origin.server_version = version;
        } else if let Some(version) = said("-- Dumped by pg_dump version ") {
            self.origin.tool_version = version;
        }
        self.is_past_head = !(text.is_empty() || text.starts_with(RULE));
        self.held.extend_from_slice(&line);
    }

    /// All has come: the rest of it, if it is whole.
    pub(crate) fn end(mut self) -> Result<(Vec<u8>, Origin), Fault> {
        let incomplete = Fault::Incomplete(self.bytes);
        self.held.append(&mut self.line);
        let mut text = self.held.trim_ascii_end();
        if let Some(key) = &self.key {
            let own = [UNRESTRICT, key].concat();
            text = text.strip_suffix(own.as_slice()).filter(|text| text.ends_with(b"\n")).ok_or(incomplete)?;
            text = text.trim_ascii_end();
        }
        let length = text.len();
        let mut lines = text.rsplit(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
        if [lines.next(), lines.next(), lines.next()] != [Some(RULE), Some(END), Some(RULE)] {
            return Err(incomplete);
        }
        self.held.truncate(length);
        Ok((self.held, self.origin))
    }
}

fn is_key(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "--\n-- PostgreSQL database dump\n--\n\n";
    const VERSIONS: &str = "-- Dumped from database version 15.20 (Debian)\n-- Dumped by pg_dump version 16.15\n\n";
    const BODY: &str =
        "SET x = 1;\nCOPY t FROM stdin;\n\\restrict abc\n\\unrestrict abc\n\\.\n-- \\restrict abc\n\\restrict abc\n";
    const FOOT: &str = "--\n-- PostgreSQL database dump complete\n--\n\n";

    fn read(text: &str, piece: usize) -> Result<(String, Origin), Fault> {
        let (mut reading, mut out) = (Text::default(), Vec::new());
        for piece in text.as_bytes().chunks(piece) {
            out.extend(reading.feed(piece)?);
        }
        let (rest, origin) = reading.end()?;
        out.extend(rest);
        Ok((String::from_utf8(out).unwrap(), origin))
    }

    fn dump(key: &str, rows: usize) -> String {
        let rows = "a row\n".repeat(rows);
        let (own, last) = if key.is_empty() {
            (String::new(), String::new())
        } else {
            (format!("\\restrict {key}\n\n"), format!("\\unrestrict {key}\n\n"))
        };
        format!("{HEAD}{own}{VERSIONS}{rows}{BODY}{FOOT}{last}")
    }

    #[test]
    fn all_of_a_dump_passes_but_its_own_two_lines() {
        for rows in [0, 2000] {
            let rows_text = "a row\n".repeat(rows);
            for piece in [1, 7, 4096, usize::MAX] {
                let (text, origin) = read(&dump("k3y", rows), piece).unwrap();
                assert_eq!(text, format!("{HEAD}\n\n{VERSIONS}{rows_text}{BODY}{}", FOOT.trim_end()));
                assert_eq!((&*origin.server_version, &*origin.tool_version), ("15.20 (Debian)", "16.15"));
                let (text, _) = read(&dump("", rows), piece).unwrap();
                assert_eq!(text, format!("{HEAD}{VERSIONS}{rows_text}{BODY}{}", FOOT.trim_end()));
            }
        }
        let windows = dump("k3y", 3).replace('\n', "\r\n");
        assert!(read(&windows, 64).unwrap().0.contains("a row\r\n"));
    }

    #[test]
    fn what_is_cut_off_anywhere_is_not_whole() {
        for whole in [dump("k3y", 1000), dump("", 1000)] {
            // What comes after the last word is white.
            let end = whole.trim_end().len();
            for cut in (0..200).chain(end - 400..end) {
                assert_eq!(read(&whole[..cut], 512), Err(Fault::Incomplete(cut as u64)), "cut at {cut} of {end}");
            }
            assert!(read(&whole[..end], 512).is_ok());
            for more in ["SELECT 1;\n", "\\unrestrict k3y\n", "\\unrestrict other\n", "-- more\n", "\\.\n"] {
                assert!(read(&format!("{whole}{more}"), 512).is_err(), "followed by {more}");
            }
        }
        let other = dump("k3y", 1).replace("\\unrestrict k3y", "\\unrestrict k3z");
        assert!(read(&other, 512).is_err(), "another's key");
    }

    #[test]
    fn a_byte_that_psql_would_stop_at_is_no_text() {
        let text = dump("k3y", 10).replace("a row", "a \0ow");
        assert_eq!(read(&text, usize::MAX).unwrap_err(), Fault::Nul(text.len() as u64));
    }

    #[test]
    fn a_title_is_of_one_database_or_of_a_cluster() {
        for (text, found) in [
            (HEAD, Some(Title::Database)),
            ("--\r\n-- PostgreSQL database dump\r\n--\r\n", Some(Title::Database)),
            ("--\n-- PostgreSQL database cluster dump\n--\n", Some(Title::Cluster)),
            ("-- PostgreSQL database dump\n", None),
            ("--\n-- PostgreSQL database dump, said somebody\n", None),
            ("SELECT 1;\n--\n-- PostgreSQL database dump\n", None),
            ("--\n", None),
            ("", None),
        ] {
            assert_eq!(title(text.as_bytes()), found, "{text}");
        }
    }
}

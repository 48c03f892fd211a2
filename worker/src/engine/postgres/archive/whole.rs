//! An archive of anybody's making, followed to its end: compressed or not, and what its head says.

use super::{Archive, Observer};

/// More than any version's text has.
const MOST_TEXT: usize = 256;

/// Watches an archive pass.
#[derive(Debug)]
pub(crate) struct Whole(Archive<Heads>);

/// The versions as they stand in the head.
#[derive(Debug, Default)]
struct Heads {
    server: Vec<u8>,
    tool: Vec<u8>,
}

impl Observer for Heads {
    fn head(&mut self, n: u8, piece: &[u8]) {
        let text = match n {
            2 => &mut self.server,
            3 => &mut self.tool,
            _ => return,
        };
        let room = MOST_TEXT - text.len();
        text.extend_from_slice(piece.get(..room).unwrap_or(piece));
    }
}

impl Default for Whole {
    fn default() -> Self {
        Self(Archive { takes_compressed: true, ..Archive::default() })
    }
}

impl Whole {
    /// The next bytes, however they are cut.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.0.feed(bytes);
    }

    /// What is wrong already, and where.
    pub(crate) fn broken(&self) -> Option<String> {
        if let Some((major, minor)) = self.0.unknown_version() {
            return Some(format!(
                "the archive has format {major}.{minor}, which this version of Holdfast does not know"
            ));
        }
        self.0.fault.map(|fault| format!("the archive is damaged at byte {}: {fault}", self.0.at))
    }

    /// What is wrong with an archive that ends here, and where.
    pub(crate) fn fault(&self) -> Option<String> {
        let ended = || self.0.fault().map(|fault| format!("the archive is damaged at byte {}: {fault}", self.0.at));
        self.broken().or_else(ended)
    }

    /// Of the server that was dumped, and of the tool.
    pub(crate) fn versions(&self) -> (String, String) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let Heads { server, tool } = self.0.observer();
        (text(server), text(tool))
    }

    /// Whether the rows are compressed inside it.
    pub(crate) fn is_compressed(&self) -> bool {
        self.0.is_compressed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &[u8] = include_bytes!("15.dump");

    fn watched(bytes: &[u8]) -> Whole {
        let mut whole = Whole::default();
        bytes.chunks(100).for_each(|piece| whole.feed(piece));
        whole
    }

    #[test]
    fn the_head_is_read_and_the_place_of_damage_is_told() {
        let whole = watched(DUMP);
        assert_eq!((whole.fault(), whole.is_compressed()), (None, false));
        let (server, tool) = whole.versions();
        assert!(server.starts_with("15.") && tool.starts_with("15."), "{server} {tool}");
        let at = DUMP.len();
        let cut = watched(&DUMP[..at - 1]).fault().unwrap();
        assert!(cut.contains(&format!("at byte {}: it ends", at - 1)), "{cut}");
        let longer = watched(&[DUMP, b"x"].concat()).broken().unwrap();
        assert!(longer.contains(&format!("at byte {}", at + 1)), "{longer}");
        let mut newer = DUMP.to_vec();
        newer[6] = 99;
        assert!(watched(&newer).broken().unwrap().contains("1.99"));
    }
}

//! The table of contents of an archive, as `pg_restore -l` lists it, and where in the bytes it and each table's data end.

use std::ops::Range;

use super::{Archive, CATALOG, COPY, DEFINITION, DESCRIPTION, OID, OWNER, Observer, SCHEMA, SECTION, TAG, integer};

/// More texts than this are no table of contents that anybody has: 64 MiB.
const MOST: usize = 64 << 20;

/// One line of the table of contents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: i64,
    /// The system catalog it is a row of, and the row's oid; 0 where there is none.
    pub(crate) catalog_oid: u32,
    pub(crate) oid: u32,
    /// The name, or what stands for it: `lots lots_pkey`, `f(integer)`, `COLUMN lots.id`.
    pub(crate) tag: String,
    /// The kind: `TABLE`, `FK CONSTRAINT`.
    pub(crate) desc: String,
    pub(crate) section: Section,
    /// What creates it; kept of those kinds alone of which somebody asks for it.
    pub(crate) definition: String,
    /// What takes the rows in: `COPY public.lots (id, name) FROM stdin;` with a line end. Empty where there are none.
    pub(crate) copy: String,
    /// Empty where there is none.
    pub(crate) namespace: String,
    pub(crate) owner: String,
    /// Dump ids, some of them twice.
    pub(crate) dependencies: Vec<i64>,
    /// Whether a block of data belongs to it.
    pub(crate) had_dumper: bool,
    /// Where in the archive the statement stands that drops it, its length before it.
    pub(crate) drop_at: Range<u64>,
}

/// When something is restored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Section {
    #[default]
    None,
    PreData,
    Data,
    PostData,
}

/// The contents of a whole archive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Toc {
    /// 1.14 is 0x010e.
    pub(crate) version: u32,
    /// Bytes of an integer, of which each text's length is one.
    pub(crate) int_size: usize,
    /// In the order of the archive.
    pub(crate) entries: Vec<Entry>,
    /// How many bytes head and table of contents have.
    pub(crate) end: u64,
    /// Of which entry a block of data is, and how many bytes the archive has up to its end; in order.
    pub(crate) blocks: Vec<(i64, u64)>,
}

/// Why there are no contents to be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TocError {
    #[error("the archive is not whole: {0}")]
    Broken(String),
    #[error("the archive has version {}.{}, which this version of Holdfast does not know", .0 >> 8, .0 & 0xff)]
    Unknown(u32),
    #[error("the archive's table of contents is larger than {} MiB", MOST >> 20)]
    TooLarge,
}

/// An archive that can be asked for its contents.
pub(crate) type Listing = Archive<Recorder>;

/// Collects the contents while an [`Archive`] is read.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    toc: Toc,
    entry: Entry,
    text: Vec<u8>,
    size: usize,
}

impl Listing {
    /// The contents as soon as they were read, whatever follows them. Of a table of contents that is too large: none.
    pub(crate) fn toc(&self) -> Option<&Toc> {
        let recorder = &self.observer;
        (recorder.toc.end > 0 && recorder.size <= MOST && self.fault.is_none()).then_some(&recorder.toc)
    }

    /// The contents of an archive that ends here, if it is whole.
    pub(crate) fn contents(self) -> Result<Toc, TocError> {
        if self.unknown {
            return Err(TocError::Unknown(self.version));
        }
        if let Some(fault) = self.fault() {
            return Err(TocError::Broken(fault));
        }
        let recorder = self.observer;
        if recorder.size > MOST {
            return Err(TocError::TooLarge);
        }
        let mut toc = recorder.toc;
        (toc.version, toc.int_size) = (self.version, self.int_size);
        Ok(toc)
    }
}

impl Observer for Recorder {
    fn begin(&mut self, id: i64) {
        self.entry = Entry { id, ..Entry::default() };
    }

    fn had_dumper(&mut self) {
        self.entry.had_dumper = true;
    }

    fn text(&mut self, piece: &[u8]) {
        self.size += piece.len();
        if self.size <= MOST {
            self.text.extend_from_slice(piece);
        }
    }

    fn field(&mut self, n: u8) {
        let text = std::mem::take(&mut self.text);
        let text = || String::from_utf8_lossy(&text).into_owned();
        let entry = &mut self.entry;
        match n {
            CATALOG => entry.catalog_oid = text().parse().unwrap_or_default(),
            OID => entry.oid = text().parse().unwrap_or_default(),
            TAG => entry.tag = text(),
            DESCRIPTION => entry.desc = text(),
            // Bodies of functions are most of what there is.
            DEFINITION if ["VIEW", "CONSTRAINT", "ACL"].iter().any(|kind| entry.desc.ends_with(kind)) => {
                entry.definition = text();
            }
            COPY => entry.copy = text(),
            SCHEMA => entry.namespace = text(),
            OWNER => entry.owner = text(),
            _ => {}
        }
    }

    fn number(&mut self, n: u8, value: i64) {
        if n == SECTION {
            self.entry.section = match value {
                2 => Section::PreData,
                3 => Section::Data,
                4 => Section::PostData,
                _ => Section::None,
            };
        }
    }

    fn drop_at(&mut self, place: Range<u64>) {
        self.entry.drop_at = place;
    }

    fn dependency(&mut self) {
        let text = std::mem::take(&mut self.text);
        self.entry.dependencies.extend(std::str::from_utf8(&text).ok().and_then(|text| text.parse::<i64>().ok()));
    }

    fn entry(&mut self, ended: Option<u64>) {
        self.size += size_of::<Entry>();
        if self.size <= MOST {
            self.toc.entries.push(std::mem::take(&mut self.entry));
        }
        if let Some(at) = ended {
            self.toc.end = at;
        }
    }

    fn block_ended(&mut self, id: i64, at: u64) {
        self.toc.blocks.push((id, at));
    }
}

impl Toc {
    /// A text as the archive writes it: its length, then its bytes.
    pub(crate) fn text(&self, text: &str) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend((text.len() as u64).to_le_bytes().into_iter().take(self.int_size));
        debug_assert_eq!(integer(&bytes), i64::try_from(text.len()).unwrap_or(i64::MAX));
        bytes.extend_from_slice(text.as_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: [(&str, &[u8]); 3] =
        [("15", include_bytes!("15.dump")), ("16", include_bytes!("16.dump")), ("18", include_bytes!("18.dump"))];

    fn read(bytes: &[u8], piece: usize) -> Result<Toc, TocError> {
        let mut archive = Listing::default();
        bytes.chunks(piece).for_each(|piece| archive.feed(piece));
        archive.contents()
    }

    #[test]
    fn the_contents_are_the_same_however_they_are_cut() {
        for (version, bytes) in REAL {
            let whole = read(bytes, bytes.len()).unwrap();
            assert!(whole.entries.len() > 5 && !whole.blocks.is_empty(), "{version}: {whole:?}");
            for piece in [1, 2, 3, 7, 64, 1000] {
                assert_eq!(read(bytes, piece).unwrap(), whole, "version {version} in pieces of {piece}");
            }
            let data = whole.entries.iter().filter(|entry| entry.had_dumper).count();
            assert_eq!(data, whole.blocks.len(), "version {version}");
            assert!(whole.blocks.last().unwrap().1 <= bytes.len() as u64);
            assert!(whole.end < whole.blocks[0].1);
        }
    }

    #[test]
    fn what_stands_where_the_drop_is_said_to_stand_is_the_drop() {
        for (version, bytes) in REAL {
            let toc = read(bytes, 4096).unwrap();
            for entry in toc.entries.iter().filter(|entry| entry.desc == "TABLE" && entry.tag.is_ascii()) {
                let range = usize::try_from(entry.drop_at.start).unwrap()..usize::try_from(entry.drop_at.end).unwrap();
                let text = String::from_utf8_lossy(&bytes[range.clone()]);
                assert!(text.contains("DROP TABLE public.") && text.contains(&entry.tag), "{version}: {text}");
                let statement = &text[text.find("DROP").unwrap()..];
                assert_eq!(bytes[range], toc.text(statement), "{version}: {text}");
            }
        }
    }

    #[test]
    fn what_is_cut_off_has_no_contents() {
        for (_, bytes) in REAL {
            for end in [5, 100, bytes.len() / 2, bytes.len() - 1] {
                assert!(matches!(read(&bytes[..end], 512), Err(TocError::Broken(_))), "cut at {end}");
            }
        }
        let mut newer = REAL[2].1.to_vec();
        newer[6] = 99;
        assert_eq!(read(&newer, 512), Err(TocError::Unknown(0x01_63)));
    }
}

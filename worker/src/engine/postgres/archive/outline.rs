//! What an archive would create, object by object, as digests of their definitions: enough to say what two databases do not
//! have in common. Owners, privileges and the data are no part of it.

use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::xxh3_128;

use super::{Archive, DEFINITION, DESCRIPTION, Observer, SCHEMA, SECTION, TAG};

/// Sections of the table of contents that create something.
const PRE_DATA: i64 = 2;
const POST_DATA: i64 = 4;

/// Objects by kind, schema and name, each with the digest of its definition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outline(BTreeMap<(String, String, String), u128>);

/// What one outline has and another one has not, or otherwise: `TABLE public.lots`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Apart {
    pub(crate) missing: Vec<String>,
    /// There in both, with another text.
    pub(crate) otherwise: Vec<String>,
}

impl Outline {
    /// How many objects there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// One digest for all.
    pub(crate) fn digest(&self) -> u128 {
        let one = |((kind, schema, name), digest): (&(String, String, String), &u128)| {
            xxh3_128(format!("{kind}\0{schema}\0{name}\0{digest:032x}").as_bytes())
        };
        self.0.iter().map(one).fold(0, u128::wrapping_add)
    }

    /// What of this is not in the other. What that has beside it is no matter.
    pub(crate) fn apart(&self, other: &Self) -> Apart {
        let mut apart = Apart::default();
        for (key, digest) in &self.0 {
            let (kind, schema, name) = key;
            let told = || if schema.is_empty() { format!("{kind} {name}") } else { format!("{kind} {schema}.{name}") };
            match other.0.get(key) {
                Some(there) if there == digest => {}
                Some(_) => apart.otherwise.push(told()),
                None => apart.missing.push(told()),
            }
        }
        apart
    }
}

/// Watches an archive pass, compressed or not.
#[derive(Debug)]
pub(crate) struct Outlining(Archive<Recorder>);

impl Default for Outlining {
    fn default() -> Self {
        Self(Archive { takes_compressed: true, ..Archive::default() })
    }
}

impl Outlining {
    /// The next bytes, however they are cut.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.0.feed(bytes);
    }

    /// What is wrong with an archive that ends here. Of a format that is not known, nothing.
    pub(crate) fn fault(&self) -> Option<String> {
        self.0.fault()
    }

    /// What it would create; none where its format is not known.
    pub(crate) fn outline(self) -> Option<Outline> {
        self.0.unknown_version().is_none().then(|| self.0.into_observer().outline)
    }
}

/// Collects the outline while the table of contents passes.
#[derive(Debug, Default)]
struct Recorder {
    outline: Outline,
    text: Vec<u8>,
    kind: String,
    schema: String,
    name: String,
    digest: u128,
    creates: bool,
}

impl Observer for Recorder {
    fn begin(&mut self, _id: i64) {
        let outline = std::mem::take(&mut self.outline);
        *self = Self { outline, ..Self::default() };
    }

    fn text(&mut self, piece: &[u8]) {
        self.text.extend_from_slice(piece);
    }

    fn field(&mut self, n: u8) {
        let text = std::mem::take(&mut self.text);
        let words = || String::from_utf8_lossy(&text).into_owned();
        match n {
            TAG => self.name = words(),
            DESCRIPTION => self.kind = words(),
            DEFINITION => self.digest = xxh3_128(text.trim_ascii()),
            SCHEMA => self.schema = words(),
            _ => {}
        }
    }

    fn number(&mut self, n: u8, value: i64) {
        if n == SECTION {
            self.creates = matches!(value, PRE_DATA | POST_DATA);
        }
    }

    fn dependency(&mut self) {
        self.text.clear();
    }

    fn entry(&mut self, _ended: Option<u64>) {
        if self.creates && is_compared(&self.kind, &self.name) {
            let key =
                (std::mem::take(&mut self.kind), std::mem::take(&mut self.schema), std::mem::take(&mut self.name));
            let digest = self.outline.0.entry(key).or_default();
            *digest = digest.wrapping_add(self.digest);
        }
    }
}

/// All but what a restore without owners and privileges does not make, and what a server has of its own making.
fn is_compared(kind: &str, name: &str) -> bool {
    let own: BTreeSet<&str> = ["ENCODING", "STDSTRINGS", "SEARCHPATH", "DATABASE", "DATABASE PROPERTIES"].into();
    let is_data = kind.contains("DATA") || kind.starts_with("BLOB") || kind == "SEQUENCE SET";
    let is_of_public = name == "public" && kind == "SCHEMA";
    let commented = ["SCHEMA public", "EXTENSION ", "DATABASE ", "LARGE OBJECT"];
    let is_their_comment = kind == "COMMENT" && commented.iter().any(|what| name.starts_with(what));
    !(own.contains(kind) || kind.ends_with("ACL") || is_data || is_of_public || is_their_comment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(bytes: &[u8], piece: usize) -> Outline {
        let mut outlining = Outlining::default();
        bytes.chunks(piece).for_each(|piece| outlining.feed(piece));
        assert_eq!(outlining.fault(), None);
        outlining.outline().unwrap()
    }

    #[test]
    fn objects_are_told_apart_and_data_are_none() {
        for bytes in [include_bytes!("15.dump").as_slice(), include_bytes!("18.dump")] {
            let whole = outline(bytes, bytes.len());
            assert_eq!(whole, outline(bytes, 7));
            assert!(whole.0.keys().any(|(kind, schema, _)| kind == "TABLE" && schema == "public"), "{whole:?}");
            assert!(whole.0.keys().all(|(kind, ..)| !kind.contains("DATA") && !kind.contains("ACL")), "{whole:?}");
            let mut other = whole.clone();
            let table = other.0.keys().find(|(kind, ..)| kind == "TABLE").unwrap().clone();
            other.0.remove(&table);
            let apart = whole.apart(&other);
            assert_eq!(apart, Apart { missing: vec![format!("TABLE public.{}", table.2)], otherwise: Vec::new() });
            assert_eq!(other.apart(&whole), Apart::default(), "what is there beside it is no matter");
            other.0.insert(table, 1);
            assert_eq!(whole.apart(&other).otherwise.len(), 1);
            assert_ne!(whole.digest(), other.digest());
        }
    }
}

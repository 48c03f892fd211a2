//! Counts while an archive is read: which entries have data is in its table of contents, and the data follow by entry.

use std::collections::HashMap;

use shared::inventory::{Count, Entry, Inventory, Kind};

use super::{
    super::archive::{Archive, BLOBS, DATA, DEFINITION, DESCRIPTION, Observer, SCHEMA, TAG},
    rows::{Begun, Rows},
};

/// More than any name that a server takes has, and than the statement that names the character set.
const MOST_TEXT: usize = 1 << 10;
/// What the names of all tables may take, with what is kept beside each: 32 MiB, some 200,000 tables.
const MOST_NAMES: usize = 32 << 20;
const BESIDE: usize = 2 * size_of::<(i64, Counted)>();

/// What counts the data of an archive.
#[derive(Debug, Default)]
pub(super) struct Counter {
    /// The text that is being read, as far as it may matter.
    text: Vec<u8>,
    entry: Toc,
    encoding: Option<String>,
    /// By dump id.
    counted: HashMap<i64, Counted>,
    names: usize,
    rows: Rows,
    objects: Count,
    object: Option<Begun>,
    gave_up: Option<&'static str>,
}

/// An entry of the table of contents, while it is read.
#[derive(Debug, Default)]
struct Toc {
    id: i64,
    has_data: bool,
    tag: Vec<u8>,
    description: Vec<u8>,
    schema: Vec<u8>,
}

#[derive(Debug)]
enum Counted {
    Table { schema: String, name: String, count: Count },
    LargeObjects(Count),
}

impl Archive<Counter> {
    /// Why nothing will come of it, as soon as that is known.
    pub(super) fn gave_up(&self) -> Option<String> {
        self.observer().gave_up.map(str::to_owned)
    }

    /// What an archive that ends here holds, or why there is no telling.
    pub(super) fn inventory(self) -> Result<Inventory, String> {
        if let Some((major, minor)) = self.unknown_version() {
            return Err(format!(
                "its archive has version {major}.{minor}, which this version of Holdfast does not know"
            ));
        }
        if let Some(fault) = self.gave_up().or_else(|| self.fault()) {
            return Err(fault);
        }
        let counter = self.into_observer();
        let mut entries = Vec::with_capacity(counter.counted.len());
        let mut large: Option<Count> = None;
        for counted in counter.counted.into_values() {
            match counted {
                Counted::Table { schema, name, count } => {
                    entries.push(Entry { kind: Kind::Table, schema: Some(schema), name, count });
                }
                // Newer tools write them in groups.
                Counted::LargeObjects(count) => large.get_or_insert_default().add(&count),
            }
        }
        entries.extend(large.map(|count| Entry { kind: Kind::LargeObjects, schema: None, name: String::new(), count }));
        Ok(Inventory::of(entries, counter.encoding))
    }
}

impl Counter {
    fn give_up(&mut self, why: &'static str) {
        self.gave_up.get_or_insert(why);
        // It may be on its way for hours still.
        self.counted = HashMap::new();
    }

    fn announce(&mut self, entry: Toc) {
        let counted = match entry.description.as_slice() {
            b"TABLE DATA" => {
                let (Some(schema), Some(name)) = (self.name(entry.schema), self.name(entry.tag)) else {
                    return self.give_up("the name of a table is in a character set that cannot be read here");
                };
                self.names += schema.len() + name.len();
                Counted::Table { schema, name, count: Count::default() }
            }
            b"BLOBS" => Counted::LargeObjects(Count::default()),
            _ => return self.give_up("its archive holds data of a kind that this version of Holdfast does not know"),
        };
        self.names += BESIDE;
        if self.names > MOST_NAMES {
            return self.give_up("it has more tables than are counted");
        }
        self.counted.insert(entry.id, counted);
    }

    fn name(&self, bytes: Vec<u8>) -> Option<String> {
        match self.encoding.as_deref() {
            Some("LATIN1") => Some(bytes.iter().map(|byte| char::from(*byte)).collect()),
            Some("UTF8" | "SQL_ASCII") | None => String::from_utf8(bytes).ok(),
            Some(_) => String::from_utf8(bytes).ok().filter(|name| name.is_ascii()),
        }
    }
}

impl Observer for Counter {
    fn begin(&mut self, id: i64) {
        self.entry = Toc { id, ..Toc::default() };
        self.text.clear();
    }

    fn had_dumper(&mut self) {
        self.entry.has_data = true;
    }

    fn text(&mut self, piece: &[u8]) {
        let room = (MOST_TEXT + 1).saturating_sub(self.text.len());
        self.text.extend_from_slice(piece.get(..room).unwrap_or(piece));
    }

    fn field(&mut self, n: u8) {
        match n {
            TAG | DESCRIPTION | SCHEMA if self.entry.has_data && self.text.len() > MOST_TEXT => {
                self.give_up("the name of a table is longer than names are");
            }
            TAG => self.entry.tag = std::mem::take(&mut self.text),
            DESCRIPTION => self.entry.description = std::mem::take(&mut self.text),
            SCHEMA => self.entry.schema = std::mem::take(&mut self.text),
            // SET client_encoding = 'UTF8';
            DEFINITION if self.entry.description == b"ENCODING" => {
                let quoted = self.text.split(|byte| *byte == b'\'').nth(1);
                self.encoding = quoted.map(|name| String::from_utf8_lossy(name).into_owned());
            }
            _ => {}
        }
        self.text.clear();
    }

    fn dependency(&mut self) {
        self.text.clear();
    }

    fn entry(&mut self, _ended: Option<u64>) {
        let entry = std::mem::take(&mut self.entry);
        if entry.has_data && self.gave_up.is_none() {
            self.announce(entry);
        }
    }

    fn block(&mut self, kind: u8, id: i64) {
        self.rows = Rows::default();
        self.objects = Count::default();
        self.object = None;
        match (kind, self.counted.get(&id)) {
            (DATA, Some(Counted::Table { .. })) | (BLOBS, Some(Counted::LargeObjects(_))) => {}
            _ => self.give_up("its archive holds data of another kind than it announces"),
        }
    }

    fn large_object(&mut self, oid: i64) {
        match u32::try_from(oid) {
            Ok(oid) => self.object = Some(Begun::object(oid)),
            Err(_) => self.give_up("its archive holds a large object with an impossible number"),
        }
    }

    fn data(&mut self, piece: &[u8]) {
        if self.gave_up.is_some() {
            return;
        }
        match &mut self.object {
            Some(object) => object.add(piece),
            None => self.rows.feed(piece),
        }
    }

    fn large_object_ended(&mut self) {
        if let Some(object) = self.object.take() {
            object.end(&mut self.objects);
        }
    }

    fn block_ended(&mut self, id: i64, _at: u64) {
        match self.counted.get_mut(&id) {
            Some(Counted::LargeObjects(count)) => *count = self.objects,
            Some(Counted::Table { count, .. }) => match std::mem::take(&mut self.rows).counted() {
                Some(rows) => *count = rows,
                None => self.give_up("the rows of a table do not end as rows of COPY do"),
            },
            None => {}
        }
    }
}

//! The beginning of an archive: who wrote it, and every namespace that follows.

use mongodb::bson::{RawDocument, RawDocumentBuf, cstr};

use super::{BUCKETS, Fault, MAGIC, Metadata, TERMINATOR, VERSION, extjson::JsonError};

/// The first document of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// How many namespaces are open at once at most: a restore that handles fewer at a time would wait for ever.
    pub concurrent_collections: i32,
    pub server_version: String,
    pub tool_version: String,
}

/// What kind of collection a namespace is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Collection,
    View,
    Timeseries,
    /// A word this version does not know.
    Other(String),
}

impl Kind {
    /// From the word of `listCollections`; old archives leave it out.
    pub fn of(word: &str) -> Self {
        match word {
            "" | "collection" => Self::Collection,
            "view" => Self::View,
            "timeseries" => Self::Timeseries,
            other => Self::Other(other.to_owned()),
        }
    }

    /// The word as it is written.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Collection => "collection",
            Self::View => "view",
            Self::Timeseries => "timeseries",
            Self::Other(word) => word,
        }
    }
}

/// One namespace as the prelude announces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    pub db: String,
    /// As users call it: a time series' data are in `system.buckets.` and this.
    pub collection: String,
    /// Indexes, options, UUID as canonical extended JSON; may be empty (the oplog). [`Namespace::metadata`] reads it.
    pub metadata_json: String,
    pub kind: Kind,
}

impl Namespace {
    /// `db.collection`.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.db, self.collection)
    }

    /// Indexes and options.
    pub fn metadata(&self) -> Result<Metadata, JsonError> {
        Metadata::parse(&self.metadata_json)
    }

    /// The collection in whose name the data are written.
    pub fn data_collection(&self) -> String {
        match self.kind {
            Kind::Timeseries => format!("{BUCKETS}{}", self.collection),
            _ => self.collection.clone(),
        }
    }

    pub(super) fn read(document: &[u8]) -> Result<Self, Fault> {
        const WHAT: &str = "the metadata of a namespace";
        let document = raw(WHAT, document)?;
        let text = |key| text(WHAT, document, key);
        Ok(Self {
            db: text("db")?,
            collection: text("collection")?,
            metadata_json: text("metadata")?,
            // Tools before 100.4 do not write it.
            kind: Kind::of(document.get_str("type").unwrap_or_default()),
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut document = RawDocumentBuf::new();
        document.append(cstr!("db"), self.db.as_str());
        document.append(cstr!("collection"), self.collection.as_str());
        document.append(cstr!("metadata"), self.metadata_json.as_str());
        document.append(cstr!("size"), 0_i32);
        document.append(cstr!("type"), self.kind.as_str());
        out.extend_from_slice(document.as_bytes());
    }
}

/// The beginning of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prelude {
    pub header: Header,
    pub namespaces: Vec<Namespace>,
}

impl Prelude {
    /// The bytes from the magic to the terminator.
    pub fn encode(&self) -> Vec<u8> {
        let mut header = RawDocumentBuf::new();
        header.append(cstr!("concurrent_collections"), self.header.concurrent_collections);
        header.append(cstr!("version"), VERSION);
        header.append(cstr!("server_version"), self.header.server_version.as_str());
        header.append(cstr!("tool_version"), self.header.tool_version.as_str());
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(header.as_bytes());
        for namespace in &self.namespaces {
            namespace.write(&mut out);
        }
        out.extend_from_slice(&TERMINATOR);
        out
    }
}

impl Header {
    pub(super) fn read(document: &[u8]) -> Result<Self, Fault> {
        const WHAT: &str = "the header of the archive";
        let document = raw(WHAT, document)?;
        let text = |key| text(WHAT, document, key);
        let version = text("version")?;
        if version != VERSION {
            return Err(Fault::Version { found: version });
        }
        let concurrent = document.get_i32("concurrent_collections").map_err(|error| broken(WHAT, &error))?;
        Ok(Self {
            concurrent_collections: concurrent,
            server_version: text("server_version")?,
            tool_version: text("tool_version")?,
        })
    }
}

/// What precedes documents of a namespace, or ends it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BlockHeader {
    pub(super) db: String,
    pub(super) collection: String,
    /// The checksum, if this is the end.
    pub(super) end: Option<u64>,
}

impl BlockHeader {
    pub(super) fn read(document: &[u8]) -> Result<Self, Fault> {
        const WHAT: &str = "the header of a namespace";
        let document = raw(WHAT, document)?;
        let ends = document.get_bool("EOF").map_err(|error| broken(WHAT, &error))?;
        let crc = document.get_i64("CRC").map_err(|error| broken(WHAT, &error))?;
        Ok(Self {
            db: text(WHAT, document, "db")?,
            collection: text(WHAT, document, "collection")?,
            end: ends.then_some(crc.cast_unsigned()),
        })
    }

    pub(super) fn write(db: &str, collection: &str, end: Option<u64>, out: &mut Vec<u8>) {
        let mut document = RawDocumentBuf::new();
        document.append(cstr!("db"), db);
        document.append(cstr!("collection"), collection);
        document.append(cstr!("EOF"), end.is_some());
        document.append(cstr!("CRC"), end.unwrap_or_default().cast_signed());
        out.extend_from_slice(document.as_bytes());
    }
}

fn raw<'a>(what: &'static str, document: &'a [u8]) -> Result<&'a RawDocument, Fault> {
    RawDocument::from_bytes(document).map_err(|error| Fault::Header { what, problem: error.to_string() })
}

fn text(what: &'static str, document: &RawDocument, key: &str) -> Result<String, Fault> {
    document.get_str(key).map(str::to_owned).map_err(|error| broken(what, &error))
}

fn broken(what: &'static str, problem: &dyn std::error::Error) -> Fault {
    Fault::Header { what, problem: problem.to_string() }
}

//! `[stores.<name>]`: the places for bytes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;

use super::{encryption, encryption::Encryption, reader::Section};
use crate::name::Slug;

/// The declared stores by name.
pub type Stores = BTreeMap<Slug, Store>;

/// A dump is cut into at most 9,999 objects.
const LEAST_OBJECT_BYTES: u64 = 64 << 10;

/// How a stored copy is checked before it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadBack {
    /// Every byte is read again and hashed.
    #[default]
    Full,
    /// The provider's own checksum is compared.
    ProviderChecksum,
    Off,
}

/// One declared store.
#[derive(Debug, Clone)]
pub struct Store {
    pub read_back: ReadBack,
    /// None: the bytes lie there as compressed.
    pub encryption: Option<Encryption>,
    /// The most bytes of one object of a dump, where the store's own bound is not to be used.
    pub object_bytes: Option<u64>,
    pub kind: StoreKind,
}

/// What keeps the bytes.
#[derive(Debug, Clone)]
pub enum StoreKind {
    File {
        /// An absolute directory.
        root: PathBuf,
    },
    Gridfs {
        uri: SecretString,
        database: String,
        bucket: String,
        /// 1 to 4 MiB.
        chunk_bytes: u32,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    File,
    Gridfs,
}

pub(super) fn read(s: &mut Section<'_>) -> Stores {
    let mut stores = Stores::new();
    for text in s.names() {
        let mut table = s.table(&text);
        let name = match Slug::parse(text) {
            Ok(name) => name,
            Err(error) => {
                table.fail("", &error.to_string(), "rename the store");
                continue;
            }
        };
        if let Some(store) = read_one(&mut table) {
            stores.insert(name, store);
        }
    }
    stores
}

fn read_one(s: &mut Section<'_>) -> Option<Store> {
    let kind = needed(s, "kind", "\"file\" or \"gridfs\"");
    let read_back = s.optional("read_back", "\"full\", \"provider_checksum\" or \"off\"").unwrap_or_default();
    let encryption = encryption::read(&mut s.table("encryption"));
    let object_bytes: Option<u64> = s.optional("object_bytes", "a whole number of bytes");
    if object_bytes.is_some_and(|bytes| bytes < LEAST_OBJECT_BYTES) {
        s.fail("object_bytes", "is too small", &format!("give at least {LEAST_OBJECT_BYTES} bytes"));
    }
    let kind = match kind? {
        Kind::File => {
            let root: PathBuf = needed(s, "root", "an absolute directory")?;
            if !root.is_absolute() {
                s.fail("root", "is a relative path", "give an absolute directory");
            }
            StoreKind::File { root }
        }
        Kind::Gridfs => {
            let uri = s.secret("uri");
            if uri.is_none() && !s.has_failed("uri") && !s.has_failed("uri_file") {
                s.fail("uri", "is missing", "give mongodb://... or a file with it as uri_file");
            }
            let database = needed(s, "database", "the database's name");
            let bucket = s.optional("bucket", "the bucket's name").unwrap_or_else(|| "fs".to_owned());
            let chunk_bytes = s.optional("chunk_bytes", "a whole number of bytes").unwrap_or(2 << 20);
            if !(1 << 20..=4 << 20).contains(&chunk_bytes) {
                s.fail("chunk_bytes", "is out of bounds", "give 1048576 to 4194304 bytes");
            }
            StoreKind::Gridfs { uri: uri?, database: database?, bucket, chunk_bytes }
        }
    };
    Some(Store { read_back, encryption, object_bytes, kind })
}

fn needed<T: serde::de::DeserializeOwned>(s: &mut Section<'_>, name: &str, expects: &str) -> Option<T> {
    let value = s.optional(name, expects);
    if value.is_none() && !s.has_failed(name) {
        s.fail(name, "is missing", &format!("give {expects}"));
    }
    value
}

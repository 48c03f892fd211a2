//! `[stores.<name>]`: the places for bytes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;

use super::{encryption, encryption::Encryption, reader::Section};
use crate::name::{Slug, StoreKey};

/// The declared stores by name.
pub type Stores = BTreeMap<Slug, Store>;

/// A dump is cut into at most 9,999 objects.
const LEAST_OBJECT_BYTES: u64 = 64 << 10;

/// How a stored copy is checked before it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadBack {
    /// Every byte is read again and hashed.
    #[default]
    Full,
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
    S3(S3),
}

/// A bucket of an S3 service, or a part of one.
#[derive(Debug, Clone)]
pub struct S3 {
    /// `http://` or `https://`, host, port; none for Amazon's own.
    pub endpoint: Option<String>,
    pub bucket: String,
    /// What every key in the bucket begins with, without the slash that follows.
    pub prefix: Option<StoreKey>,
    pub region: String,
    /// `https://host/bucket/key` instead of `https://bucket.host/key`.
    pub path_style: bool,
    /// Access key id and secret access key; none for the standard chain (environment, web identity, instance metadata).
    pub keys: Option<(SecretString, SecretString)>,
    /// PEM of whom to trust beside the system's own authorities.
    pub ca_file: Option<PathBuf>,
    /// Do not look whether strangers can read the bucket.
    pub allow_public: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    File,
    Gridfs,
    S3,
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
    let kind = needed(s, "kind", "\"file\", \"gridfs\" or \"s3\"");
    let read_back = read_back(s);
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
        Kind::S3 => StoreKind::S3(read_s3(s)?),
    };
    Some(Store { read_back, encryption, object_bytes, kind })
}

/// `provider_checksum` has a refusal of its own: whoever knows the word should learn why (docs/adr/0019).
fn read_back(s: &mut Section<'_>) -> ReadBack {
    const EXPECTS: &str = "\"full\" or \"off\"";
    let word: Option<String> = s.optional("read_back", EXPECTS);
    match word.as_deref() {
        Some("off") => return ReadBack::Off,
        None | Some("full") => {}
        Some("provider_checksum") => s.fail(
            "read_back",
            "cannot be \"provider_checksum\": a service checks each part as it comes, and answers no digest of the \
             whole object that could be compared",
            "give \"full\", which reads every object again, or \"off\", which takes the service's word",
        ),
        Some(other) => s.fail("read_back", &format!("is {other:?}"), &format!("give {EXPECTS}")),
    }
    ReadBack::Full
}

fn read_s3(s: &mut Section<'_>) -> Option<S3> {
    let endpoint: Option<String> = s.optional("endpoint", "https://host or http://host:port");
    if endpoint.as_deref().is_some_and(|url| !is_endpoint(url)) {
        s.fail("endpoint", "is not the address of a service", "give https://host or http://host:port, without a path");
    }
    let bucket = needed::<String>(s, "bucket", "the bucket's name");
    if bucket.as_deref().is_some_and(|name| !is_bucket(name)) {
        s.fail("bucket", "is not a bucket's name", "give 3 to 63 lower-case letters, digits, dots and hyphens");
    }
    let prefix = s.optional::<String>("prefix", "text").filter(|prefix| !prefix.is_empty()).and_then(|prefix| {
        StoreKey::parse(prefix)
            .inspect_err(|error| {
                s.fail("prefix", &error.to_string(), "give a relative path, without a slash at its end");
            })
            .ok()
    });
    let region = s.optional("region", "the region's name").unwrap_or_else(|| "us-east-1".to_owned());
    let path_style = s.optional("path_style", "true or false").unwrap_or(endpoint.is_some());
    let keys = match (s.secret("access_key_id"), s.secret("secret_access_key")) {
        (Some(id), Some(secret)) => Some((id, secret)),
        (None, None) => None,
        (given, _) => {
            let missing = if given.is_some() { "secret_access_key" } else { "access_key_id" };
            if !s.has_failed(missing) && !s.has_failed(&format!("{missing}_file")) {
                s.fail(missing, "is missing", "give both keys, or neither for the standard chain");
            }
            None
        }
    };
    let ca_file: Option<PathBuf> = s.optional("ca_file", "the path of a PEM file");
    let allow_public = s.optional("allow_public", "true or false").unwrap_or(false);
    Some(S3 { endpoint, bucket: bucket?, prefix, region, path_style, keys, ca_file, allow_public })
}

fn is_endpoint(url: &str) -> bool {
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    host.is_some_and(|host| {
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b))
    })
}

fn is_bucket(name: &str) -> bool {
    (3..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b))
        && name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
}

pub(super) fn needed<T: serde::de::DeserializeOwned>(s: &mut Section<'_>, name: &str, expects: &str) -> Option<T> {
    let value = s.optional(name, expects);
    if value.is_none() && !s.has_failed(name) {
        s.fail(name, "is missing", &format!("give {expects}"));
    }
    value
}

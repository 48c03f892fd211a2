//! Archives of ours and of the real mongodump, and what is refused.

use std::collections::BTreeMap;

use crc64fast::Digest;
use mongodb::bson::{Bson, RawDocumentBuf, cstr, doc};
use tokio::io::AsyncReadExt as _;

use super::{
    Counts, Event, Fault, Framing, Header, Kind, MAX_DOCUMENT, Metadata, Namespace, Parser, Prelude, Reader,
    TERMINATOR, WriteError, prelude::BlockHeader, writer::check_document,
};

const AUCTION: &[u8] = include_bytes!("fixtures/auction.archive");
const EXPECTED: &str = include_str!("fixtures/auction.expected.json");

pub(super) fn document(n: i32, size: usize) -> Vec<u8> {
    let mut document = RawDocumentBuf::new();
    document.append(cstr!("_id"), n);
    document.append(cstr!("text"), "x".repeat(size));
    document.into_bytes()
}

pub(super) fn namespace(collection: &str, kind: Kind) -> Namespace {
    let metadata = Metadata {
        options: doc! {},
        indexes: vec![doc! { "v": 2, "key": { "_id": 1 }, "name": "_id_" }],
        uuid: Some("0123456789abcdef0123456789abcdef".to_owned()),
        collection_name: collection.to_owned(),
        kind: kind.clone(),
    };
    let metadata_json = metadata.to_json().unwrap();
    Namespace { db: "shop".to_owned(), collection: collection.to_owned(), metadata_json, kind }
}

pub(super) fn prelude(concurrent_collections: i32, namespaces: Vec<Namespace>) -> Prelude {
    let header =
        Header { concurrent_collections, server_version: "7.0.1".to_owned(), tool_version: "holdfast".to_owned() };
    Prelude { header, namespaces }
}

/// Three collections, two of them interleaved, one empty, a view and a time series.
pub(super) fn sample(size: usize) -> (Vec<u8>, Vec<Vec<Vec<u8>>>) {
    let names = ["orders", "dots.in.name", "empty", "Ключ", "a_view"];
    let mut namespaces: Vec<_> = names.iter().map(|name| namespace(name, Kind::Collection)).collect();
    namespaces[4].kind = Kind::View;
    namespaces.push(namespace("readings", Kind::Timeseries));
    let prelude = prelude(3, namespaces);
    let mut out = prelude.encode();
    let mut framing = Framing::new(&prelude);
    let mut contents: Vec<Vec<Vec<u8>>> = vec![Vec::new(); prelude.namespaces.len()];
    for (n, at) in (0_i32..).zip([0, 0, 1, 0, 3, 1, 1, 0]) {
        framing.before(at, &mut out).unwrap();
        let document = document(n, size * at);
        out.extend_from_slice(&document);
        contents[at].push(document);
    }
    contents[5] = vec![document(99, 7)];
    for (at, documents) in contents.iter().enumerate() {
        let mut crc = Digest::new();
        for document in documents {
            crc.write(document);
        }
        if at == 5 {
            framing.before(5, &mut out).unwrap();
            out.extend_from_slice(&documents[0]);
        }
        framing.end(at, crc.sum64(), &mut out).unwrap();
    }
    framing.finish().unwrap();
    (out, contents)
}

/// What a parser makes of bytes that are fed in pieces of this length.
/// The prelude, and the documents of each namespace.
type Parsed = (Prelude, Vec<Vec<Vec<u8>>>);

fn parse(bytes: &[u8], piece: usize) -> Result<Parsed, (u64, Fault)> {
    let mut parser = Parser::default();
    let mut contents: BTreeMap<usize, Vec<Vec<u8>>> = BTreeMap::new();
    let mut ended = Vec::new();
    let mut see = |_: &Prelude, event: Event<'_>| match event {
        Event::Document { namespace, bytes } => contents.entry(namespace).or_default().push(bytes.to_vec()),
        Event::End { namespace, counts } => ended.push((namespace, counts)),
    };
    let fault = |error: super::ArchiveError| (error.offset(), error.fault().unwrap().clone());
    for piece in bytes.chunks(piece) {
        parser.feed(piece, &mut see).map_err(fault)?;
    }
    parser.finish().map_err(fault)?;
    let prelude = parser.prelude().unwrap().clone();
    let mut all = vec![Vec::new(); prelude.namespaces.len()];
    for (namespace, counts) in ended {
        let documents = contents.remove(&namespace).unwrap_or_default();
        let bytes = documents.iter().map(|document| document.len() as u64).sum();
        assert_eq!(counts, Counts { documents: documents.len() as u64, bytes });
        all[namespace] = documents;
    }
    Ok((prelude, all))
}

#[test]
fn what_is_written_is_read_however_it_is_cut() {
    let (bytes, contents) = sample(300);
    for piece in [1, 2, 3, 5, 17, 1000, bytes.len()] {
        let (prelude, read) = parse(&bytes, piece).unwrap();
        assert_eq!(read, contents, "in pieces of {piece}");
        assert_eq!(prelude.namespaces[1].full_name(), "shop.dots.in.name");
        assert_eq!(prelude.namespaces[4].kind, Kind::View);
        assert_eq!(prelude.header.server_version, "7.0.1");
        let metadata = prelude.namespaces[3].metadata().unwrap();
        assert_eq!(metadata.collection_name, "Ключ");
        assert_eq!(metadata.uuid.unwrap(), "0123456789abcdef0123456789abcdef");
    }
}

/// Documents and digest as the fixture's description has them.
async fn compare(archive: &[u8]) {
    let mut reader = Reader::open(archive).await.unwrap();
    let prelude = reader.prelude().clone();
    let mut digests: BTreeMap<String, Vec<String>> =
        prelude.namespaces.iter().map(|namespace| (namespace.collection.clone(), Vec::new())).collect();
    let mut ended = 0;
    while let Some(event) = reader.next().await.unwrap() {
        match event {
            Event::Document { namespace, bytes } => {
                let name = &prelude.namespaces[namespace].collection;
                digests.get_mut(name).unwrap().push(hex::encode(crate::stream::sha256(bytes).0));
            }
            Event::End { .. } => ended += 1,
        }
    }
    assert_eq!(reader.offset(), archive.len() as u64);
    let expected: serde_json::Value = serde_json::from_str(EXPECTED).unwrap();
    assert_eq!(ended, expected.as_object().unwrap().len());
    for (name, expected) in expected.as_object().unwrap() {
        let mut found = digests.remove(name).unwrap();
        assert_eq!(found.len() as u64, expected["documents"].as_u64().unwrap(), "{name}");
        found.sort();
        let digest = hex::encode(crate::stream::sha256(found.concat().as_bytes()).0);
        assert_eq!(digest, expected["sha256_of_sorted_doc_sha256"].as_str().unwrap(), "{name}");
        let namespace = prelude.namespaces.iter().find(|namespace| namespace.collection == *name).unwrap();
        let indexes = namespace.metadata().unwrap().indexes;
        let mut names: Vec<_> = indexes.iter().map(|index| index.get_str("name").unwrap()).collect();
        names.sort_unstable();
        assert_eq!(serde_json::json!(names), expected["indexes"], "{name}");
    }
    assert!(digests.is_empty(), "{digests:?}");
}

#[tokio::test]
async fn an_archive_of_the_real_tool_is_read_exactly() {
    compare(AUCTION).await;
}

#[tokio::test]
async fn its_compressed_archive_too() {
    #[expect(clippy::disallowed_methods, reason = "a child that is no tool of ours")]
    let mut child = tokio::process::Command::new("gzip")
        .args(["-dc", concat!(env!("CARGO_MANIFEST_DIR"), "/src/engine/mongodb/archive/fixtures/auction.archive.gz")])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut archive = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut archive).await.unwrap();
    assert!(child.wait().await.unwrap().success());
    compare(&archive).await;
}

#[test]
fn the_metadata_of_the_real_tool_survive_reading_and_writing() {
    let (prelude, _) = parse(AUCTION, 4096).unwrap();
    assert_eq!(prelude.header.concurrent_collections, 4);
    for namespace in &prelude.namespaces {
        assert_eq!(namespace.metadata().unwrap().to_json().unwrap(), namespace.metadata_json);
    }
    let items = prelude.namespaces.iter().find(|namespace| namespace.collection == "items").unwrap();
    let index = items.metadata().unwrap().indexes.into_iter().find(|index| index.contains_key("sparse")).unwrap();
    assert_eq!(
        index,
        doc! { "expireAfterSeconds": 3600, "sparse": true, "name": "expires_1", "key": { "expires": 1 }, "v": 2 }
    );
}

#[test]
fn an_archive_that_ends_too_soon_is_refused_wherever_it_ends() {
    let (bytes, _) = sample(40);
    for length in 0..bytes.len() {
        let (offset, fault) = parse(&bytes[..length], 64).unwrap_err();
        assert_eq!(offset, length as u64);
        assert!(matches!(fault, Fault::Truncated(_) | Fault::Unfinished { .. }), "{length}: {fault:?}");
    }
}

#[test]
fn a_changed_byte_after_the_prelude_is_found_or_changes_nothing() {
    let (bytes, contents) = sample(40);
    let prelude = parse(&bytes, bytes.len()).unwrap().0.encode().len();
    for at in prelude..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        // The checksum in a header that ends nothing is one that nobody reads.
        if let Ok((_, read)) = parse(&changed, 4096) {
            assert_eq!(read, contents, "a flip at byte {at} went unseen");
        }
    }
}

#[test]
fn each_fault_is_named_with_its_place() {
    let prelude = prelude(2, vec![namespace("a", Kind::Collection), namespace("b", Kind::Collection)]);
    let head = prelude.encode();
    let begun = head.len() as u64;
    let header = |collection: &str, end| {
        let mut out = Vec::new();
        BlockHeader::write("shop", collection, end, &mut out);
        out
    };
    let fault = |rest: &[&[u8]]| parse(&[&head[..], &rest.concat()].concat(), 4096).unwrap_err();
    assert_eq!(parse(b"PGDMP", 4096).unwrap_err(), (0, Fault::Magic));
    assert_eq!(fault(&[&header("c", None)]), (begun, Fault::Unknown("shop.c".to_owned())));
    assert_eq!(fault(&[&TERMINATOR]), (begun, Fault::Headerless));
    assert_eq!(fault(&[&[4, 0, 0, 0]]), (begun, Fault::Length { found: 4, max: super::MAX_HEADER }));
    let huge = u32::try_from(MAX_DOCUMENT + 1).unwrap();
    let opened = header("a", None);
    let inside = begun + opened.len() as u64;
    assert_eq!(fault(&[&opened, &huge.to_le_bytes()]), (inside, Fault::Length { found: huge, max: MAX_DOCUMENT }));
    assert_eq!(fault(&[&opened, &[5, 0, 0, 0, 1]]), (inside, Fault::NoZero { length: 5 }));
    let ended = header("a", Some(0));
    let after = begun + ended.len() as u64 + 4;
    assert_eq!(fault(&[&ended, &TERMINATOR, &opened]), (after, Fault::AfterEnd("shop.a".to_owned())));
    assert_eq!(fault(&[&ended, &document(1, 1)]), (after - 4, Fault::AfterEnd("shop.a".to_owned())));
    let (_, wrong) = fault(&[&header("a", Some(1))]);
    assert_eq!(wrong, Fault::Crc { namespace: "shop.a".to_owned(), computed: 0, recorded: 1 });
    let whole = [&ended[..], &TERMINATOR, &header("b", Some(0)), &TERMINATOR].concat();
    assert_eq!(fault(&[&whole, b"\0"]).1, Fault::Truncated("the header of a namespace"));
    assert_eq!(fault(&[&whole, &document(1, 1)]).1, Fault::Trailing);
    assert_eq!(fault(&[&whole, &TERMINATOR]).1, Fault::Trailing);
    assert_eq!(fault(&[&ended, &TERMINATOR]).1, Fault::Unfinished { count: 1, first: "shop.b".to_owned() });
    let twice = super::tests::prelude(1, vec![namespace("a", Kind::Collection), namespace("a", Kind::View)]).encode();
    assert_eq!(parse(&twice, 4096).unwrap_err().1, Fault::Twice("shop.a".to_owned()));
}

#[test]
fn a_length_that_is_only_claimed_takes_no_memory() {
    let prelude = prelude(1, vec![namespace("a", Kind::Collection)]);
    let mut bytes = prelude.encode();
    BlockHeader::write("shop", "a", None, &mut bytes);
    bytes.extend_from_slice(&u32::try_from(MAX_DOCUMENT).unwrap().to_le_bytes());
    bytes.extend_from_slice(&[0; 1000]);
    let mut parser = Parser::default();
    parser.feed(&bytes, &mut |_, _| ()).unwrap();
    assert!(parser.capacity() <= 4096, "{} bytes", parser.capacity());
    for _ in 0..20 {
        if parser.feed(&vec![0; 1024 * 1024], &mut |_, _| ()).is_err() {
            break;
        }
        assert!(parser.capacity() <= MAX_DOCUMENT);
    }
}

#[test]
fn no_more_namespaces_are_open_than_the_header_says() {
    let prelude = prelude(1, vec![namespace("a", Kind::Collection), namespace("b", Kind::Collection)]);
    let mut framing = Framing::new(&prelude);
    let mut out = Vec::new();
    framing.before(0, &mut out).unwrap();
    assert_eq!(framing.before(1, &mut out).unwrap_err(), WriteError::TooManyOpen { open: 2, most: 1 });
    framing.end(0, 0, &mut out).unwrap();
    assert_eq!(framing.before(0, &mut out).unwrap_err(), WriteError::AfterEnd("shop.a".to_owned()));
    assert_eq!(framing.finish().unwrap_err(), WriteError::Unfinished(1));
}

#[test]
fn what_is_no_document_is_not_written() {
    check_document(&document(1, 10)).unwrap();
    for bad in [&b""[..], b"\x05\0\0\0", b"\x06\0\0\0\0", b"\x05\0\0\0\x01"] {
        assert_eq!(check_document(bad).unwrap_err(), WriteError::NoDocument(bad.len()));
    }
}

#[test]
fn every_value_survives_as_json() {
    let values = r#"{"z":{"$numberInt":"1"},"a":{"$numberLong":"-9"},"d":{"$numberDouble":"0.1"},"n":{"$numberDouble":"NaN"},"i":{"$numberDouble":"-Infinity"},"m":{"$numberDecimal":"1.50"},"o":{"$oid":"0123456789abcdef01234567"},"t":{"$date":{"$numberLong":"-1"}},"b":{"$binary":{"base64":"AAE=","subType":"80"}},"s":{"$timestamp":{"t":4294967295,"i":1}},"r":{"$regularExpression":{"pattern":"a\"\\\\b","options":"im"}},"c":{"$code":"f()","$scope":{"x":{"$numberInt":"1"}}},"j":{"$code":"g()"},"y":{"$symbol":"s"},"u":{"$undefined":true},"x":{"$maxKey":1},"k":{"$minKey":1},"l":null,"f":{"$gt":{"$numberInt":"5"}},"q":[true,"\u2028\u0001\n é"]}"#;
    let document = super::extjson::parse(values).unwrap();
    assert!(document.keys().next().unwrap() == "z", "the order of keys is lost");
    assert_eq!(super::extjson::write(&document).unwrap(), values);
}

#[test]
fn what_older_tools_wrote_is_read() {
    let old = r#"{"options":{"capped":true,"size":4096,"big":5000000000,"half":0.5},"indexes":[{"v":1,"key":{"b":1,"a":-1.0},"name":"x","when":{"$date":"2020-01-02T03:04:05.678Z"},"bin":{"$binary":"AAE=","$type":"00"}}]}"#;
    let metadata = Metadata::parse(old).unwrap();
    let size = metadata.options.get("size").unwrap();
    assert_eq!((size, metadata.options.get("big").unwrap()), (&Bson::Int32(4096), &Bson::Int64(5_000_000_000)));
    let key = metadata.indexes[0].get_document("key").unwrap();
    assert_eq!(key.keys().collect::<Vec<_>>(), ["b", "a"]);
    assert!(metadata.indexes[0].get_datetime("when").is_ok() && metadata.indexes[0].get_binary_generic("bin").is_ok());
    assert!(Metadata::parse("").unwrap().indexes.is_empty());
    for bad in ["[]", "{", r#"{"indexes":1}"#, r#"{"a":{"$oid":"x"}}"#, r#"{"options":{"$numberInt":"5"}}"#] {
        assert!(Metadata::parse(bad).is_err(), "{bad} was read");
    }
    assert!(Metadata::parse(&"[".repeat(100_000)).is_err());
}

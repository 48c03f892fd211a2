//! What is sent, before a byte of it is read: one object as it lies, or all objects of a copy as a tar. Lengths are known from
//! the rows, so that any byte of it can be found.

use bytes::Bytes;
use shared::manifest;

use crate::{
    handler::JobError,
    record::reading::CopyObject,
    stream::{Sha256, sha256},
};

const BLOCK: u64 = 512;
/// Two empty blocks end a tar.
const END: usize = 1024;

/// A piece of what is sent.
#[derive(Debug, Clone)]
pub(super) enum Segment {
    Bytes(Bytes),
    Object(CopyObject),
}

impl Segment {
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Object(object) => object.stored.stored_bytes,
        }
    }
}

/// All pieces in order.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) segments: Vec<Segment>,
    pub(super) length: u64,
    /// Equal for equal bytes, and for no others.
    pub(super) tag: Sha256,
}

impl Layout {
    pub(super) fn object(object: CopyObject) -> Self {
        let tag = object.stored.sha256;
        Self { length: object.stored.stored_bytes, segments: vec![Segment::Object(object)], tag }
    }

    /// A tar of these objects in a directory of this name, the manifest first. The same objects always give the same
    /// bytes.
    pub(super) fn tar(directory: &str, mtime: u64, mut objects: Vec<CopyObject>) -> Result<Self, JobError> {
        objects.sort_by(|a, b| (a.part != manifest::PART, &a.part).cmp(&(b.part != manifest::PART, &b.part)));
        let mut segments = Vec::new();
        let mut described = format!("tar 1 {directory} {mtime}\n");
        for object in objects {
            let bytes = object.stored.stored_bytes;
            let (length, digest) = (bytes.to_string(), object.stored.sha256.to_string());
            described.extend([object.part.as_str(), " ", &length, " ", &digest, "\n"]);
            segments.push(Segment::Bytes(header(directory, mtime, &object)?));
            segments.push(Segment::Object(object));
            let padding = usize::try_from(bytes.next_multiple_of(BLOCK) - bytes).unwrap_or_default();
            segments.push(Segment::Bytes(Bytes::from(vec![0; padding])));
        }
        segments.push(Segment::Bytes(Bytes::from_static(&[0; END])));
        let length = segments.iter().map(Segment::length).sum();
        Ok(Self { segments, length, tag: sha256(described.as_bytes()) })
    }
}

fn header(directory: &str, mtime: u64, object: &CopyObject) -> Result<Bytes, JobError> {
    let mut header = tar::Header::new_gnu();
    header.set_path(format!("{directory}/{}", object.part)).map_err(|error| {
        JobError::abort(
            "row_unreadable",
            format!("object {}: {error}", object.part),
            "This is a fault of Holdfast: report it.",
        )
    })?;
    // Above 8 GiB in base 256, as GNU tar has it.
    header.set_size(object.stored.stored_bytes);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(mtime);
    header.set_cksum();
    Ok(Bytes::copy_from_slice(header.as_bytes()))
}

#[cfg(test)]
mod tests {
    use shared::name::StoreKey;

    use super::*;
    use crate::stream::ExpectedObject;

    fn object(part: &str, bytes: u64) -> CopyObject {
        CopyObject {
            part: part.to_owned(),
            key: StoreKey::parse(format!("a/{part}")).unwrap(),
            stored: ExpectedObject { stored_bytes: bytes, sha256: sha256(part.as_bytes()) },
            raw: None,
        }
    }

    #[test]
    fn a_tar_has_the_manifest_first_and_whole_blocks() {
        let objects = vec![object("dump.0001", 1), object("globals.sql.zst", 512), object("manifest.json", 0)];
        let layout = Layout::tar("x", 7, objects.clone()).unwrap();
        let parts: Vec<&str> = layout
            .segments
            .iter()
            .filter_map(|segment| match segment {
                Segment::Object(object) => Some(object.part.as_str()),
                Segment::Bytes(_) => None,
            })
            .collect();
        assert_eq!(parts, ["manifest.json", "dump.0001", "globals.sql.zst"]);
        assert_eq!(layout.length, 5 * 512 + 1024);
        let mut others = objects;
        others.reverse();
        let again = Layout::tar("x", 7, others.clone()).unwrap();
        assert_eq!(again.tag, layout.tag);
        others[0].stored.stored_bytes += 1;
        assert_ne!(Layout::tar("x", 7, others).unwrap().tag, layout.tag);
    }

    #[test]
    fn sizes_beyond_eight_gibibytes_fit_a_header() {
        for bytes in [(8 << 30) - 1, 8 << 30, 1 << 40] {
            let header = header("x", 7, &object("dump.0001", bytes)).unwrap();
            let read = tar::Header::from_byte_slice(&header);
            assert_eq!(read.size().unwrap(), bytes);
            assert_eq!(header.len(), 512);
        }
    }
}

//! Archives by real tools, counted; and archives that no tool wrote, which are not counted and do no harm.

use bytes::Bytes;
use shared::inventory::{Count, Inventory, Kind};
use xxhash_rust::xxh3::xxh3_128;

use super::tap;

const REAL: [(&str, &[u8]); 3] = [
    ("15", include_bytes!("../archive/15.dump")),
    ("16", include_bytes!("../archive/16.dump")),
    ("18", include_bytes!("../archive/18.dump")),
];

fn read(bytes: &[u8], piece: usize) -> Result<Inventory, String> {
    let (mut tap, counting) = tap();
    bytes.chunks(piece).for_each(|piece| tap(&Bytes::copy_from_slice(piece)));
    drop(tap);
    counting.result()
}

fn rows<'a>(rows: impl IntoIterator<Item = &'a [u8]>) -> Count {
    let mut count = Count::default();
    rows.into_iter().for_each(|row| count.row(row.len() as u64, xxh3_128(row)));
    count
}

#[test]
fn real_archives_are_counted_however_they_are_cut() {
    for (version, bytes) in REAL {
        let whole = read(bytes, bytes.len()).unwrap();
        assert_eq!(whole.encoding.as_deref(), Some("UTF8"), "version {version}");
        for piece in [1, 2, 3, 7, 64, 1000] {
            assert_eq!(read(bytes, piece).as_ref(), Ok(&whole), "version {version} in pieces of {piece}");
        }
    }
}

#[test]
fn what_is_counted_is_what_is_there() {
    let lines: Vec<String> = (1..=60).map(|n| format!("{n}\t{}", "x".repeat(n % 50))).collect();
    for (version, bytes) in REAL {
        let inventory = read(bytes, 4096).unwrap();
        let found: Vec<_> = inventory.entries.iter().map(|entry| (entry.kind, entry.name.as_str())).collect();
        let tables = [(Kind::Table, "Täble"), (Kind::Table, "none"), (Kind::Table, "rows"), (Kind::LargeObjects, "")];
        assert_eq!(found, tables, "version {version}");
        let of = |name: &str| inventory.entries.iter().find(|entry| entry.name == name).unwrap().count;
        assert_eq!(of("none"), Count::default(), "version {version}");
        assert_eq!(of("rows"), rows(lines.iter().rev().map(String::as_bytes)), "version {version}");
        assert_eq!(of("").rows, 3, "version {version}");
        assert_eq!(inventory, read(REAL[0].1, 4096).unwrap(), "version {version} holds what the others hold");
    }
}

#[test]
fn what_is_no_whole_archive_has_no_inventory() {
    for (version, bytes) in REAL {
        for end in (0..bytes.len()).step_by(5) {
            assert!(read(&bytes[..end], 4096).is_err(), "version {version} cut at {end} of {}", bytes.len());
        }
        assert!(read(&[bytes, b"x"].concat(), 512).is_err(), "version {version}");
    }
    let mut newer = REAL[2].1.to_vec();
    newer[6] = 99;
    assert!(read(&newer, 512).unwrap_err().contains("version 1.99"));
    let mut compressed = REAL[2].1.to_vec();
    compressed[11] = 1;
    assert!(read(&compressed, 512).unwrap_err().contains("compressed"));
}

/// A small generator: what it gives depends on its seed alone.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % sides.max(1)
    }
}

#[test]
fn no_archive_makes_it_panic_or_grow() {
    let mut dice = Dice(20_261_122);
    for round in 0..6_000 {
        let mut bytes = REAL[round % 3].1.to_vec();
        for _ in 0..=dice.roll(4) {
            let at = dice.roll(bytes.len());
            match dice.roll(6) {
                0 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][dice.roll(5)],
                1 => bytes[at] ^= 1 << dice.roll(8),
                2 => drop(bytes.splice(at..at, vec![b'\n'; dice.roll(9)])),
                3 => drop(bytes.drain(at..(at + dice.roll(40)).min(bytes.len()))),
                4 => bytes.truncate(at.max(1)),
                _ => {
                    let piece = bytes[at..(at + dice.roll(200)).min(bytes.len())].to_vec();
                    let to = dice.roll(bytes.len());
                    bytes.splice(to..to, piece);
                }
            }
        }
        // A panic would be told as a bug.
        let told = read(&bytes, 1 + dice.roll(3000));
        assert!(!told.as_ref().is_err_and(|why| why.contains("bug")), "round {round}: {told:?}");
        if let Ok(inventory) = told {
            let names: usize = inventory.entries.iter().map(|entry| entry.name.len()).sum();
            assert!(names <= bytes.len(), "round {round}");
        }
    }
}

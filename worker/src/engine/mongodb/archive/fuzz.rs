//! Damaged archives by the thousand: none may make the reader panic or take memory beyond its bound, none that it accepts may
//! have other contents than it had, and each refusal names a place inside of the bytes.
//!
//! `HOLDFAST_FUZZ_SECONDS` makes it run for so long instead, `HOLDFAST_FUZZ_SEED` begins elsewhere: `make fuzz MINUTES=10`.

use std::time::{Duration, Instant};

use super::{Event, MAX_DOCUMENT, Parser, Prelude, tests::sample};

const MUTATIONS: u64 = 10_000;
/// Of the real tool's archive only so much is taken: the rest is more of the same.
const SEED_BYTES: usize = 8 * 1024;

/// `SplitMix64`: the same mutations in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }
}

/// Lengths and marks on which the format turns.
const WORDS: &[[u8; 4]] = &[
    [0xff; 4],
    [0; 4],
    [4, 0, 0, 0],
    [5, 0, 0, 0],
    [0xff, 0xff, 0xff, 0x7f],
    [0, 0, 0, 0x80],
    [0x00, 0x40, 0x00, 0x01],
    [0x01, 0x40, 0x00, 0x01],
    super::MAGIC,
];

fn mutate(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..=random.below(3) {
        let (length, at) = (bytes.len(), random.below(bytes.len()));
        let to = at + random.below((length - at).min(200));
        match random.below(9) {
            0 if length > 0 => bytes[at] ^= 1 << random.below(8),
            1 if length > 0 => bytes[at] = u8::try_from(random.below(256)).unwrap(),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..to)),
            4 => {
                let again = bytes[at..to].to_vec();
                drop(bytes.splice(at..at, again));
            }
            5 if at + 4 <= length => bytes[at..at + 4].copy_from_slice(&WORDS[random.below(WORDS.len())]),
            6 => drop(bytes.splice(at..at, WORDS[random.below(WORDS.len())])),
            7 => {
                let from = random.below(other.len());
                let until = from + random.below((other.len() - from).min(300));
                drop(bytes.splice(at..to, other[from..until].iter().copied()));
            }
            _ => {
                let piece: Vec<u8> = bytes.drain(at..to).collect();
                let place = random.below(bytes.len() + 1);
                drop(bytes.splice(place..place, piece));
            }
        }
        if bytes.is_empty() {
            return;
        }
    }
}

/// Documents by namespace, or the refusal's offset.
fn read(bytes: &[u8], random: &mut Random) -> Result<(Prelude, Vec<Vec<u8>>), u64> {
    let mut parser = Parser::default();
    let mut contents: Vec<Vec<u8>> = Vec::new();
    let mut see = |prelude: &Prelude, event: Event<'_>| {
        contents.resize(prelude.namespaces.len(), Vec::new());
        if let Event::Document { namespace, bytes } = event {
            contents[namespace].extend_from_slice(bytes);
        }
    };
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(1 + random.below(rest.len().min(2000)));
        parser.feed(piece, &mut see).map_err(|error| error.offset())?;
        let bound = MAX_DOCUMENT.min(bytes.len() * 2 + 4096);
        assert!(parser.capacity() <= bound, "{} bytes are held of {}", parser.capacity(), bytes.len());
        rest = after;
    }
    parser.finish().map_err(|error| error.offset())?;
    let prelude = parser.prelude().unwrap().clone();
    // What it announces can be asked for, whatever it is.
    for namespace in &prelude.namespaces {
        drop(namespace.metadata());
    }
    Ok((prelude, contents))
}

#[expect(clippy::disallowed_methods, reason = "a test's own switches")]
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn damaged_archives_are_refused_and_nothing_worse() {
    let real = &include_bytes!("fixtures/auction.archive")[..SEED_BYTES];
    // The fixture's first namespaces end within the seed; those that do not make it an archive that was cut off.
    let seeds = [sample(3).0, sample(500).0, super::tests::prelude(1, Vec::new()).encode(), real.to_vec()];
    let mut random = Random(setting("HOLDFAST_FUZZ_SEED").unwrap_or(1));
    let until = setting("HOLDFAST_FUZZ_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let originals: Vec<_> = seeds.iter().map(|seed| read(seed, &mut random)).collect();
    let (mut runs, mut refused) = (0_u64, 0_u64);
    while until.map_or(runs < MUTATIONS, |until| Instant::now() < until) {
        let at = random.below(seeds.len());
        let mut bytes = seeds[at].clone();
        let other = random.below(seeds.len());
        mutate(&mut random, &mut bytes, &seeds[other]);
        match read(&bytes, &mut random) {
            Err(offset) => {
                refused += 1;
                assert!(offset <= bytes.len() as u64, "a refusal at {offset} of {} bytes", bytes.len());
            }
            // Blocks that changed places, an empty block more: the same contents. Names in the prelude have no checksum.
            Ok((_, contents)) => {
                let known = originals.iter().flatten().any(|(_, original)| {
                    contents.iter().all(|content| content.is_empty() || original.contains(content))
                });
                assert!(known, "mutation {runs} of seed {at} was read as something else");
            }
        }
        runs += 1;
    }
    assert!(refused > runs / 2, "{refused} of {runs} were refused");
    drop(std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{runs} mutations, {refused} refused\n")));
}

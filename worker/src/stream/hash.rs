//! The two digests of a save: BLAKE3 over the raw bytes, SHA-256 over the stored ones (design §6).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! digest {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub [u8; 32]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = hex::FromHexError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let mut bytes = [0; 32];
                hex::decode_to_slice(text, &mut bytes)?;
                Ok(Self(bytes))
            }
        }

        impl TryFrom<String> for $name {
            type Error = hex::FromHexError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(digest: $name) -> String {
                digest.to_string()
            }
        }
    )+};
}

digest! {
    /// BLAKE3, 64 hex digits as text: of the raw bytes where nothing else is said.
    Blake3,
    /// SHA-256 of the stored bytes, 64 hex digits as text: what `sha256sum` prints.
    Sha256,
}

/// Counts bytes and takes their BLAKE3.
#[derive(Debug, Default)]
pub(super) struct RawHash {
    hasher: Box<blake3::Hasher>,
    pub(super) bytes: u64,
}

impl RawHash {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    pub(super) fn digest(&self) -> Blake3 {
        Blake3(*self.hasher.finalize().as_bytes())
    }
}

/// Counts bytes and takes their SHA-256.
pub(super) struct StoredHash {
    context: ring::digest::Context,
    pub(super) bytes: u64,
}

impl StoredHash {
    pub(super) fn new() -> Self {
        Self { context: ring::digest::Context::new(&ring::digest::SHA256), bytes: 0 }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    pub(super) fn digest(self) -> Sha256 {
        sha256_of(&self.context.finish())
    }
}

/// SHA-256 of bytes at hand (a manifest).
pub fn sha256(bytes: &[u8]) -> Sha256 {
    sha256_of(&ring::digest::digest(&ring::digest::SHA256, bytes))
}

fn sha256_of(digest: &ring::digest::Digest) -> Sha256 {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    Sha256(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_what_the_command_line_tools_print() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256(b"").to_string(), empty);
        assert_eq!(empty.parse::<Sha256>().unwrap(), sha256(b""));
        let abc = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85";
        let mut raw = RawHash::default();
        raw.update(b"a");
        raw.update(b"bc");
        assert_eq!(raw.digest().to_string(), abc);
        assert!("e3".parse::<Sha256>().is_err());
    }
}

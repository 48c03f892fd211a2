//! Opaque tokens: 32 random bytes in base62, behind a prefix by which scanners find a secret that has leaked, and before a
//! checksum by which they know that it is one. Whoever holds the rows, which have the SHA-256 alone, holds no token.

use ring::{
    digest::{SHA256, digest},
    rand::{SecureRandom, SystemRandom},
};
use secrecy::SecretString;
use shared::db::refresh::Hash;

use crate::error::ApiError;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 62^43 is more than 2^256.
const RANDOM: usize = 43;
const CHECKSUM: usize = 6;

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Exchanged for the next access token of a session.
    Refresh,
    /// Presented by a program with each call.
    Api,
}

impl Kind {
    /// What its tokens begin with.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Refresh => "hfr_",
            Self::Api => "hft_",
        }
    }
}

/// A new token and what is kept of it.
#[derive(Debug)]
pub struct Opaque {
    /// Shown once.
    pub text: SecretString,
    pub hash: Hash,
}

/// Makes a token.
pub fn generate(kind: Kind) -> Result<Opaque, ApiError> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| ApiError::Internal("there is no randomness".into()))?;
    let random = base62(bytes, RANDOM);
    let text = format!("{}{random}{}", kind.prefix(), checksum(&random));
    let hash = hash(&text);
    Ok(Opaque { text: text.into(), hash })
}

/// What a token of this kind is found by; none: it cannot be one.
#[must_use]
pub fn read(kind: Kind, text: &str) -> Option<Hash> {
    let rest = text.strip_prefix(kind.prefix()).filter(|rest| rest.len() == RANDOM + CHECKSUM && rest.is_ascii())?;
    let (random, sum) = rest.split_at(RANDOM);
    (checksum(random) == sum).then(|| hash(text))
}

fn hash(text: &str) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    hash
}

/// CRC-32 of the random part, as other makers of such tokens have it.
fn checksum(random: &str) -> String {
    let crc = random.bytes().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    });
    base62((!crc).to_be_bytes(), CHECKSUM)
}

/// A number, the most significant byte first, in so many digits.
fn base62<const N: usize>(mut number: [u8; N], digits: usize) -> String {
    let mut text = vec!['0'; digits];
    for digit in text.iter_mut().rev() {
        let mut rest = 0;
        for byte in &mut number {
            let value = rest * 256 + u32::from(*byte);
            // Below 256, as the rest is below 62.
            *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
            rest = value % 62;
        }
        *digit = ALPHABET.get(rest as usize).copied().map_or('0', char::from);
    }
    text.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_token_is_read_again_and_no_other_is() {
        for kind in [Kind::Refresh, Kind::Api] {
            let made = generate(kind).unwrap();
            let text = made.text.expose_secret();
            assert_eq!((text.len(), read(kind, text)), (53, Some(made.hash)), "{text}");
            assert_ne!(generate(kind).unwrap().hash, made.hash);
            let other = if kind == Kind::Api { Kind::Refresh } else { Kind::Api };
            assert_eq!(read(other, text), None);
            for place in 4..53 {
                let mut wrong = text.as_bytes().to_vec();
                wrong[place] = if wrong[place] == b'x' { b'y' } else { b'x' };
                assert_eq!(read(kind, std::str::from_utf8(&wrong).unwrap()), None, "letter {place} of {text}");
            }
            for wrong in ["", "hft_", &text[..52], &format!("{text}0"), &format!(" {text}"), &"é".repeat(40)] {
                assert_eq!(read(kind, wrong), None, "{wrong:?}");
            }
        }
    }

    #[test]
    fn numbers_and_sums_are_what_others_make_of_them() {
        assert_eq!(base62([0; 32], 43), "0".repeat(43));
        assert_eq!(base62([255; 4], 6), "4gfFC3");
        assert_eq!(base62([0, 0, 0, 62], 3), "010");
        // The check value of CRC-32/ISO-HDLC is 0xcbf43926.
        assert_eq!(checksum("123456789"), base62(0xcbf4_3926_u32.to_be_bytes(), 6));
    }
}

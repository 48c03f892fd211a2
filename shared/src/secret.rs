//! Secrets at rest: credentials sealed with HPKE (RFC 9180) so that only workers can open them (design §11).
//! X25519-HKDF-SHA256, HKDF-SHA256, ChaCha20-Poly1305, base mode; the row and field are bound as associated data.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem as _, OpModeR, OpModeS, Serializable};
use secrecy::zeroize::{Zeroize, Zeroizing};
use secrecy::{ExposeSecret, SecretString};

type Suite = X25519HkdfSha256;
type RawPublic = <Suite as hpke::Kem>::PublicKey;
type RawPrivate = <Suite as hpke::Kem>::PrivateKey;
type Encapped = <Suite as hpke::Kem>::EncappedKey;

/// The format that [`seal`] writes.
pub const VERSION: i16 = 1;

const INFO: &[u8] = b"holdfast/v1";

/// What can go wrong. The texts are constant but for key ids, which are public.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error("is not a key of 32 bytes in hex or base64")]
    BadKey,
    #[error("the secret could not be sealed")]
    Seal,
    #[error("the secret was sealed to key {key_id}, which is not in this worker's key ring")]
    UnknownKey { key_id: String },
    #[error("the secret is sealed in format {version}, which this version does not know")]
    UnknownVersion { version: i16 },
    #[error("the secret could not be opened: it was changed, or it belongs to another row or field")]
    Open,
}

impl SecretError {
    /// All of them stay until somebody changes a key or the row.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        true
    }
}

/// What a secret is bound to: it opens only in the table, row and field it was sealed for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aad(String);

impl Aad {
    /// `holdfast/v1|table|row_id|field`. Table and field are names in our source, never input: they hold no `|`.
    #[must_use]
    pub fn new(table: &'static str, row_id: uuid::Uuid, field: &'static str) -> Self {
        Self(format!("holdfast/v1|{table}|{}|{field}", row_id.hyphenated()))
    }
}

/// A sealed secret, as its columns hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    pub version: i16,
    /// Which key of the ring opens it.
    pub key_id: String,
    /// The encapsulated key, 32 bytes.
    pub encapped: Vec<u8>,
    /// The secret and a tag of 16 bytes.
    pub ciphertext: Vec<u8>,
}

/// What credentials are sealed to. Anybody may know it.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(RawPublic);

impl PublicKey {
    /// Parses 32 bytes in hex, base64 or base64url.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let bytes = key_bytes(text)?;
        RawPublic::from_bytes(&bytes).map(Self).map_err(|_| SecretError::BadKey)
    }

    /// The first 8 bytes of BLAKE3 of the key, in hex.
    #[must_use]
    pub fn key_id(&self) -> String {
        hex::encode(blake3::hash(&self.0.to_bytes()).as_bytes().get(..8).unwrap_or_default())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0.to_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// The private keys of the workers by key id. `Debug` shows the ids alone.
#[derive(Clone, Default)]
pub struct KeyRing(BTreeMap<String, RawPrivate>);

impl KeyRing {
    /// Adds a private key (hex, base64 or base64url) and says its id.
    pub fn add(&mut self, text: &str) -> Result<String, SecretError> {
        let mut bytes = key_bytes(text)?;
        let private = RawPrivate::from_bytes(&bytes).map_err(|_| SecretError::BadKey);
        bytes.zeroize();
        let private = private?;
        let id = PublicKey(Suite::sk_to_pk(&private)).key_id();
        self.0.insert(id.clone(), private);
        Ok(id)
    }

    /// Adds one key a line; empty lines and what follows `#` are skipped.
    pub fn add_lines(&mut self, text: &str) -> Result<(), SecretError> {
        let keys = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        keys.filter(|key| !key.is_empty()).try_for_each(|key| self.add(key).map(|_| ()))
    }

    #[must_use]
    pub fn contains(&self, key_id: &str) -> bool {
        self.0.contains_key(key_id)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A secret of 32 bytes derived from each key, for a use that has this name; with the key's id.
    pub fn derive(&self, context: &str) -> Vec<(String, Zeroizing<[u8; 32]>)> {
        let derived = |(id, private): (&String, &RawPrivate)| {
            let mut bytes = private.to_bytes();
            let seed = Zeroizing::new(blake3::derive_key(context, &bytes));
            bytes.as_mut_slice().zeroize();
            (id.clone(), seed)
        };
        self.0.iter().map(derived).collect()
    }

    /// The ids of all keys.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyRing").field(&self.0.keys()).finish()
    }
}

/// A new private key in hex and its public key, from the operating system's randomness.
#[must_use]
pub fn generate_keypair() -> (SecretString, PublicKey) {
    let (private, public) = Suite::gen_keypair();
    let mut bytes = private.to_bytes();
    let text = SecretString::from(hex::encode(bytes));
    bytes.as_mut_slice().zeroize();
    (text, PublicKey(public))
}

/// Seals a secret to the workers. Two seals of one secret differ.
pub fn seal(to: &PublicKey, aad: &Aad, secret: &SecretString) -> Result<Sealed, SecretError> {
    let plain = secret.expose_secret().as_bytes();
    let (encapped, ciphertext) = hpke::single_shot_seal::<ChaCha20Poly1305, HkdfSha256, Suite>(
        &OpModeS::Base,
        &to.0,
        INFO,
        plain,
        aad.0.as_bytes(),
    )
    .map_err(|_| SecretError::Seal)?;
    Ok(Sealed { version: VERSION, key_id: to.key_id(), encapped: encapped.to_bytes().to_vec(), ciphertext })
}

/// Opens a secret where it was sealed for.
pub fn open(ring: &KeyRing, aad: &Aad, sealed: &Sealed) -> Result<SecretString, SecretError> {
    if sealed.version != VERSION {
        return Err(SecretError::UnknownVersion { version: sealed.version });
    }
    let unknown = || SecretError::UnknownKey { key_id: sealed.key_id.clone() };
    let private = ring.0.get(&sealed.key_id).ok_or_else(unknown)?;
    let encapped = Encapped::from_bytes(&sealed.encapped).map_err(|_| SecretError::Open)?;
    let plain = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, Suite>(
        &OpModeR::Base,
        private,
        &encapped,
        INFO,
        &sealed.ciphertext,
        aad.0.as_bytes(),
    )
    .map_err(|_| SecretError::Open)?;
    String::from_utf8(plain).map(SecretString::from).map_err(|error| {
        error.into_bytes().zeroize();
        SecretError::Open
    })
}

fn key_bytes(text: &str) -> Result<Vec<u8>, SecretError> {
    let text = text.trim();
    let bare = text.trim_end_matches('=');
    let decoded = match text.len() {
        64 => hex::decode(text).ok(),
        _ => STANDARD_NO_PAD.decode(bare).or_else(|_| URL_SAFE_NO_PAD.decode(bare)).ok(),
    };
    decoded.filter(|bytes| bytes.len() == 32).ok_or(SecretError::BadKey)
}

#[cfg(test)]
mod tests;

//! Signatures of manifests (docs/adr/0022-signed-manifests.md): Ed25519 over the exact bytes of `manifest.json`, as they lie
//! in the store, whether they are encrypted or not, so that nobody needs an identity to check one.
//!
//! A signed manifest is the unsigned one with one line more before its last brace, which holds the signature as member
//! `signature` of the object. Taking the line away, and the comma before it, gives the signed bytes back. What reads JSON
//! alone reads it as before.

use std::{collections::BTreeMap, fmt};

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use shared::secret::KeyRing;

/// What the keys of the ring are turned into a signer's with: another use of them gives another key.
const CONTEXT: &str = "holdfast 2026-11-22 ed25519 signature of manifests";

const LINE: &[u8] = b",\n  \"signature\": ";
const END: &[u8] = b"\n}";

/// Signs with one key; knows the public keys of the whole ring. `Debug` shows ids alone.
pub struct Signer {
    /// None: this worker has no key.
    own: Option<(String, Ed25519KeyPair)>,
    known: BTreeMap<String, Vec<u8>>,
}

/// The signature as a manifest holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// The id of the key in the workers' ring that the signer's was derived from.
    pub signer: String,
    /// In hex.
    pub public_key: String,
    /// In hex.
    pub ed25519: String,
}

/// What became of a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// By a key of this worker's ring.
    Known { signer: String },
    /// Good, by a key that nobody here knows: anybody can make one.
    Unknown { signer: String },
    /// There is none.
    Unsigned,
}

/// A signature that does not fit its bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("the manifest's signature cannot be read")]
    Unreadable,
    #[error("the manifest is not what was signed")]
    Wrong,
}

impl SignatureError {
    /// The bytes stay what they are.
    pub fn is_permanent(&self) -> bool {
        true
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = self.own.as_ref().map(|(id, _)| id);
        f.debug_struct("Signer").field("own", &own).field("known", &self.known.keys()).finish()
    }
}

impl Signer {
    /// Derives a signer from each key of the ring. The one of `preferred`, the key that credentials are sealed to now, signs;
    /// where it is not said or not there, the first.
    pub fn of(ring: &KeyRing, preferred: Option<&str>) -> Self {
        let mut pairs: BTreeMap<String, Ed25519KeyPair> = BTreeMap::new();
        for (id, seed) in ring.derive(CONTEXT) {
            // Every 32 bytes are a seed.
            if let Ok(pair) = Ed25519KeyPair::from_seed_unchecked(seed.as_ref()) {
                pairs.insert(id, pair);
            }
        }
        let known = pairs.iter().map(|(id, pair)| (id.clone(), pair.public_key().as_ref().to_vec())).collect();
        let own = preferred.and_then(|id| pairs.remove_entry(id)).or_else(|| pairs.pop_first());
        Self { own, known }
    }

    /// The manifest with its signature; without a key, as it was.
    pub fn sign(&self, manifest: Vec<u8>) -> Vec<u8> {
        let (Some((id, pair)), Some(body)) = (&self.own, manifest.strip_suffix(END)) else { return manifest };
        let signature = Signature {
            signer: id.clone(),
            public_key: hex::encode(pair.public_key().as_ref()),
            ed25519: hex::encode(pair.sign(&manifest).as_ref()),
        };
        // Three texts of hex digits: nothing in them can fail to be JSON.
        let Ok(signature) = serde_json::to_vec(&signature) else { return manifest };
        [body, LINE, &signature, END].concat()
    }

    /// The bytes that were signed, and by whom. Whoever reads the manifest reads these, and not the bytes around them.
    pub fn check(&self, stored: &[u8]) -> Result<(Vec<u8>, Verdict), SignatureError> {
        let Some(at) = stored.windows(LINE.len()).rposition(|bytes| bytes == LINE) else {
            return Ok((stored.to_vec(), Verdict::Unsigned));
        };
        let (body, rest) = stored.split_at(at);
        let line = rest.strip_prefix(LINE).and_then(|rest| rest.strip_suffix(END)).ok_or(SignatureError::Unreadable)?;
        let Signature { signer, public_key, ed25519 } =
            serde_json::from_slice(line).map_err(|_| SignatureError::Unreadable)?;
        let key = hex::decode(public_key).map_err(|_| SignatureError::Unreadable)?;
        let signature = hex::decode(ed25519).map_err(|_| SignatureError::Unreadable)?;
        let signed = [body, END].concat();
        UnparsedPublicKey::new(&ED25519, &key).verify(&signed, &signature).map_err(|_| SignatureError::Wrong)?;
        let verdict = match self.known.get(&signer) {
            Some(known) if *known == key => Verdict::Known { signer },
            _ => Verdict::Unknown { signer },
        };
        Ok((signed, verdict))
    }

    /// Key id and public key of who signs here.
    pub fn public(&self) -> Option<(&str, String)> {
        self.own.as_ref().map(|(id, pair)| (id.as_str(), hex::encode(pair.public_key().as_ref())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "0101010101010101010101010101010101010101010101010101010101010101";
    const TWO: &str = "0202020202020202020202020202020202020202020202020202020202020202";

    fn ring(keys: &[&str]) -> KeyRing {
        let mut ring = KeyRing::default();
        for key in keys {
            drop(ring.add(key).unwrap());
        }
        ring
    }

    fn manifest() -> Vec<u8> {
        serde_json::to_vec_pretty(&serde_json::json!({ "format": 1, "note": ",\n  \"signature\": {}\n}" })).unwrap()
    }

    #[test]
    fn what_was_signed_comes_back_and_is_json_still() {
        let signer = Signer::of(&ring(&[ONE]), None);
        let stored = signer.sign(manifest());
        let (id, public) = signer.public().unwrap();
        let json: serde_json::Value = serde_json::from_slice(&stored).unwrap();
        assert_eq!((&json["format"], &json["signature"]["public_key"]), (&1.into(), &public.clone().into()));
        let (body, verdict) = signer.check(&stored).unwrap();
        assert_eq!((body, verdict), (manifest(), Verdict::Known { signer: id.to_owned() }));
        // The same key makes the same signer everywhere.
        assert_eq!(Signer::of(&ring(&[ONE, TWO]), Some(id)).public().unwrap(), (id, public));
    }

    #[test]
    fn strangers_are_told_from_those_who_are_known() {
        let stored = Signer::of(&ring(&[TWO]), None).sign(manifest());
        let here = Signer::of(&ring(&[ONE]), None);
        assert!(matches!(here.check(&stored).unwrap().1, Verdict::Unknown { .. }));
        assert!(matches!(Signer::of(&ring(&[ONE, TWO]), None).check(&stored).unwrap().1, Verdict::Known { .. }));
        assert_eq!(here.check(&manifest()).unwrap(), (manifest(), Verdict::Unsigned));
        let nobody = Signer::of(&KeyRing::default(), None);
        assert_eq!(nobody.sign(manifest()), manifest());
        // A stranger who takes a known name is none the more known.
        let stolen = String::from_utf8(stored).unwrap();
        let theirs = Signer::of(&ring(&[TWO]), None).public().unwrap().0.to_owned();
        let stolen = stolen.replace(&theirs, here.public().unwrap().0);
        assert!(matches!(here.check(stolen.as_bytes()).unwrap().1, Verdict::Unknown { .. }));
    }

    #[test]
    fn every_changed_byte_is_found() {
        let signer = Signer::of(&ring(&[ONE]), None);
        let stored = signer.sign(manifest());
        for at in 0..stored.len() {
            let mut changed = stored.clone();
            changed[at] ^= 1;
            let told = signer.check(&changed);
            let trusted = matches!(&told, Ok((_, Verdict::Known { .. })));
            assert!(!trusted, "at {at}: {}", String::from_utf8_lossy(&changed));
        }
        let mut longer = stored;
        longer.extend_from_slice(b"\n");
        assert!(signer.check(&longer).is_err());
    }
}

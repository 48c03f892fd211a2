//! `[secrets]`: the keys that credentials are sealed to and opened with.

use secrecy::ExposeSecret;

use super::reader::Section;
use crate::secret::{KeyRing, PublicKey};

/// Sealing needs the public key; opening needs the ring, which only workers may hold.
#[derive(Debug)]
pub struct Secrets {
    /// What credentials are sealed to.
    pub public_key: Option<PublicKey>,
    /// What opens them. The API refuses to start with one.
    pub ring: Option<KeyRing>,
}

impl Secrets {
    pub(super) fn read(s: &mut Section<'_>) -> Self {
        let public_key = s.optional::<String>("public_key", "text").and_then(|text| {
            PublicKey::parse(&text)
                .inspect_err(|error| {
                    s.fail("public_key", &error.to_string(), "give the public key that `holdfast-worker keys` printed");
                })
                .ok()
        });
        let mut ring = KeyRing::default();
        if let Some(text) = s.secret("key_ring")
            && let Err(error) = ring.add_lines(text.expose_secret())
        {
            s.fail("key_ring", &error.to_string(), "write one private key a line, in hex or base64");
        }
        let mut table = s.table("private_keys");
        for id in table.names() {
            let Some(text) = table.secret(&id) else { continue };
            match ring.add(text.expose_secret().trim()) {
                Ok(actual) if actual == id => {}
                Ok(actual) => {
                    table.fail(&id, &format!("holds the private key of {actual}"), "file it under its own id");
                }
                Err(error) => table.fail(&id, &error.to_string(), "give the private key in hex or base64"),
            }
        }
        Self { public_key, ring: (!ring.is_empty()).then_some(ring) }
    }
}

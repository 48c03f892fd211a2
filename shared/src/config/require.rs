//! What each process needs beyond what is always checked.

use super::{Config, ConfigErrors, EventMode, Problem};

impl Config {
    /// What the API needs, and must not have.
    pub fn for_api(&self) -> Result<(), ConfigErrors> {
        let mut missing = Vec::new();
        self.needs_database(&mut missing);
        if self.auth.keys.is_empty() {
            missing.push(self.problem(
                "auth.keys",
                "holds no key, so nobody could log in",
                "add one, at least 32 random bytes in base64url",
            ));
        }
        if self.auth.active_key.is_none() {
            missing.push(self.problem("auth.active_key", "is missing", "name the key of auth.keys that signs"));
        }
        if self.secrets.public_key.is_none() {
            missing.push(self.problem(
                "secrets.public_key",
                "is missing",
                "make a pair by `holdfast-worker keys` and give the public key",
            ));
        }
        if self.secrets.ring.is_some() {
            missing.push(self.problem(
                "secrets.key_ring",
                "the API must not be able to open credentials",
                "give private keys to workers alone",
            ));
        }
        for (name, store) in &self.stores {
            if store.encryption.as_ref().is_some_and(super::Encryption::can_read) {
                missing.push(self.problem(
                    &format!("stores.{name}.encryption.identity"),
                    "the API must not be able to read saves",
                    "give identities and passphrases to workers alone",
                ));
            }
        }
        for (name, scratch) in &self.scratch {
            if scratch.password.is_some() {
                missing.push(self.problem(
                    &format!("scratch.{name}.password"),
                    "the API connects to no database of anybody's",
                    "declare scratch servers in the configuration of workers alone",
                ));
            }
        }
        result(missing)
    }

    /// What a worker needs.
    pub fn for_worker(&self) -> Result<(), ConfigErrors> {
        let mut missing = Vec::new();
        self.needs_database(&mut missing);
        if self.secrets.ring.is_none() {
            missing.push(self.problem(
                "secrets.key_ring",
                "is missing, so no credential could be opened",
                "give the private keys, best as secrets.key_ring_file",
            ));
        }
        if self.stores.is_empty() {
            missing.push(self.problem(
                "stores",
                "none is declared, so there is no place for saves",
                "add a table [stores.<name>]",
            ));
        }
        if self.events.mode == EventMode::RabbitMq && self.events.url.is_none() {
            missing.push(self.problem(
                "events.url",
                "is missing",
                "give the broker's URL, or set events.mode = \"off\"",
            ));
        }
        result(missing)
    }

    /// What `migrate` needs: the owner role.
    pub fn for_migrate(&self) -> Result<(), ConfigErrors> {
        let mut missing = Vec::new();
        if self.database.owner_url.is_none() {
            missing.push(self.problem(
                "database.owner_url",
                "is missing",
                "give the URL of the role that owns Holdfast's tables",
            ));
        }
        result(missing)
    }

    fn needs_database(&self, missing: &mut Vec<Problem>) {
        if self.database.url.is_none() {
            missing.push(self.problem("database.url", "is missing", "give the URL of the application role"));
        }
    }
}

fn result(problems: Vec<Problem>) -> Result<(), ConfigErrors> {
    if problems.is_empty() { Ok(()) } else { Err(ConfigErrors(problems)) }
}

//! `[stores.<name>.encryption]`: to whom the bytes of a store are encrypted, and who may read them again.

use std::fmt;

use age::x25519::{Identity, Recipient};
use secrecy::{ExposeSecret, SecretString};

use super::reader::Section;

/// How a store is encrypted. Writing needs recipients alone; reading needs an identity of one of them.
#[derive(Clone)]
pub struct Encryption {
    pub lock: Lock,
    /// What opens it. A worker that only backs up has none.
    pub identities: Vec<Identity>,
}

/// What is needed to encrypt.
#[derive(Debug, Clone)]
pub enum Lock {
    /// At least one, each once, in order of their text.
    Recipients(Vec<Recipient>),
    /// Encrypts and decrypts: whoever backs up can read too.
    Passphrase(SecretString),
}

impl fmt::Debug for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encryption").field("lock", &self.lock).field("identities", &self.identities.len()).finish()
    }
}

impl Encryption {
    /// Whether this process can read what it encrypts.
    #[must_use]
    pub fn can_read(&self) -> bool {
        matches!(self.lock, Lock::Passphrase(_)) || !self.identities.is_empty()
    }
}

/// None where the table is absent. A table that is there and wrong never means plain bytes: it is an error.
pub(super) fn read(s: &mut Section<'_>) -> Option<Encryption> {
    if !s.is_given() {
        return None;
    }
    let recipients: Option<Vec<String>> = s.optional("recipients", "a list of public keys, [\"age1...\"]");
    let passphrase = s.secret("passphrase");
    let identity = s.secret("identity");
    let failed = ["recipients", "passphrase", "passphrase_file", "identity", "identity_file"]
        .iter()
        .any(|name| s.has_failed(name));
    let lock = match (recipients, passphrase) {
        (Some(_), Some(_)) => {
            s.fail(
                "passphrase",
                "is given beside recipients, and age encrypts to the one or the others",
                "remove one of them",
            );
            return None;
        }
        (Some(recipients), None) => Lock::Recipients(recipients_of(s, &recipients)?),
        (None, Some(passphrase)) => Lock::Passphrase(passphrase),
        (None, None) => {
            if !failed {
                s.fail(
                    "recipients",
                    "is missing, and there is no passphrase",
                    "give the public keys that `age-keygen` printed",
                );
            }
            return None;
        }
    };
    let identities = match identity {
        None => Vec::new(),
        Some(text) => identities_of(s, &text)?,
    };
    match &lock {
        Lock::Passphrase(_) if !identities.is_empty() => {
            s.fail("identity", "is of no use beside a passphrase, which opens what it encrypts", "remove it");
            None
        }
        Lock::Recipients(recipients)
            if !identities.is_empty() && !identities.iter().any(|i| recipients.contains(&i.to_public())) =>
        {
            s.fail(
                "identity",
                "belongs to none of the recipients, so this worker could not read what it stores",
                "add its public key (`age-keygen -y`) to recipients, or give the identity of one of them",
            );
            None
        }
        _ => Some(Encryption { lock, identities }),
    }
}

fn recipients_of(s: &mut Section<'_>, texts: &[String]) -> Option<Vec<Recipient>> {
    let mut recipients = Vec::new();
    for text in texts {
        match text.trim().parse::<Recipient>() {
            Ok(recipient) => recipients.push(recipient),
            Err(problem) => {
                // A secret key pasted here by mistake is not repeated.
                let shown = if text.to_ascii_uppercase().contains("SECRET") { "a secret key" } else { text.as_str() };
                let problem = format!("{shown:?} is not a public key of age ({problem})");
                s.fail("recipients", &problem, "give X25519 keys, age1..., as `age-keygen -y` prints them");
            }
        }
    }
    recipients.sort_by_key(ToString::to_string);
    recipients.dedup();
    if recipients.is_empty() && !s.has_failed("recipients") {
        s.fail("recipients", "is an empty list", "give at least one public key");
    }
    (!s.has_failed("recipients")).then_some(recipients)
}

/// One key a line, as `age-keygen` writes them; lines that begin with # are comments.
fn identities_of(s: &mut Section<'_>, text: &SecretString) -> Option<Vec<Identity>> {
    let lines = text.expose_secret().lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let identities: Result<Vec<Identity>, _> = lines.map(str::parse::<Identity>).collect();
    match identities {
        Ok(identities) if !identities.is_empty() => Some(identities),
        Ok(_) => {
            s.fail("identity", "holds no key", "give the file that `age-keygen` wrote");
            None
        }
        Err(problem) => {
            let problem = format!("holds a line that is no secret key of age ({problem})");
            s.fail("identity", &problem, "give AGE-SECRET-KEY-1..., one a line; keys with a passphrase are not read");
            None
        }
    }
}

//! Passwords: argon2id in PHC strings, never more at once than there are cores (guarantees §4.1).

use std::sync::Arc;

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

/// Why a password was not hashed or checked.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    #[error("a password has 12 to 128 characters")]
    Length,
    #[error("the password could not be hashed: {0}")]
    Hash(String),
    #[error("hashing was interrupted")]
    Interrupted,
}

impl PasswordError {
    /// Whether the same password would fail again.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        matches!(self, Self::Length)
    }
}

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Wrong,
    Right,
    /// Right, and the hash was made under older parameters: hash it anew.
    RightButOld,
}

/// Hashes and checks on threads of their own; clones share the bound.
#[derive(Debug, Clone)]
pub struct Passwords {
    permits: Arc<Semaphore>,
    /// Checked where there is no such admin, so that both answers take the same time.
    dummy: Arc<str>,
}

// OWASP's first choice: 46 MiB, one pass, one lane.
const MEMORY_KIB: u32 = 47_104;

fn hasher() -> Result<Argon2<'static>, PasswordError> {
    let params = Params::new(MEMORY_KIB, 1, 1, Some(32)).map_err(|e| PasswordError::Hash(e.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash_now(password: &SecretString) -> Result<String, PasswordError> {
    let hash =
        hasher()?.hash_password(password.expose_secret().as_bytes()).map_err(|e| PasswordError::Hash(e.to_string()))?;
    Ok(hash.to_string())
}

fn verify_now(password: &SecretString, phc: &str) -> Verdict {
    let Ok(parsed) = PasswordHash::new(phc) else { return Verdict::Wrong };
    match hasher().map(|h| h.verify_password(password.expose_secret().as_bytes(), &parsed)) {
        Ok(Ok(())) if phc.starts_with(&format!("$argon2id$v=19$m={MEMORY_KIB},t=1,p=1$")) => Verdict::Right,
        Ok(Ok(())) => Verdict::RightButOld,
        _ => Verdict::Wrong,
    }
}

/// Whether a password may be chosen: 12 to 128 characters.
pub fn check(password: &SecretString) -> Result<(), PasswordError> {
    if (12..=128).contains(&password.expose_secret().chars().count()) { Ok(()) } else { Err(PasswordError::Length) }
}

impl Passwords {
    /// Hashes a random password for [`Self::verify_nobody`].
    pub fn new() -> Result<Self, PasswordError> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let dummy = hash_now(&SecretString::from(uuid::Uuid::new_v4().to_string()))?;
        Ok(Self { permits: Arc::new(Semaphore::new(cores)), dummy: dummy.into() })
    }

    /// The PHC string of a new password.
    pub async fn hash(&self, password: SecretString) -> Result<String, PasswordError> {
        check(&password)?;
        self.run(move || hash_now(&password)).await?
    }

    /// Checks a password against a PHC string.
    pub async fn verify(&self, password: SecretString, phc: String) -> Result<Verdict, PasswordError> {
        if password.expose_secret().len() > 512 {
            return Ok(Verdict::Wrong);
        }
        self.run(move || verify_now(&password, &phc)).await
    }

    /// Spends the time of a check where there is nobody to check: always wrong.
    pub async fn verify_nobody(&self, password: SecretString) -> Result<Verdict, PasswordError> {
        self.verify(password, self.dummy.to_string()).await.map(|_| Verdict::Wrong)
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, PasswordError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| PasswordError::Interrupted)?;
        tokio::task::spawn_blocking(move || {
            // Held by the thread: a caller that goes away does not make room for another hash beside it.
            let _permit = permit;
            work()
        })
        .await
        .map_err(|_| PasswordError::Interrupted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_checked_and_an_old_hash_noticed() {
        let passwords = Passwords::new().unwrap();
        let phc = passwords.hash("correct horse battery".into()).await.unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=47104,t=1,p=1$"), "{phc}");
        assert_eq!(passwords.verify("correct horse battery".into(), phc.clone()).await.unwrap(), Verdict::Right);
        assert_eq!(passwords.verify("correct horse batterx".into(), phc.clone()).await.unwrap(), Verdict::Wrong);
        assert_eq!(passwords.verify("x".into(), "no phc".into()).await.unwrap(), Verdict::Wrong);
        let weak = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(19_456, 2, 1, Some(32)).unwrap());
        let old = weak.hash_password(b"correct horse battery").unwrap().to_string();
        assert_eq!(passwords.verify("correct horse battery".into(), old).await.unwrap(), Verdict::RightButOld);
        assert_ne!(phc, passwords.hash("correct horse battery".into()).await.unwrap(), "the salt is random");
    }

    #[test]
    fn lengths_are_bounded_in_characters() {
        for (password, good) in
            [("e".repeat(11), false), ("é".repeat(12), true), ("é".repeat(128), true), ("e".repeat(129), false)]
        {
            assert_eq!(check(&SecretString::from(password)).is_ok(), good);
        }
    }
}

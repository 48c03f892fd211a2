//! Passwords: which are taken, argon2id in PHC strings, never more at once than there are cores (guarantees §4.1).

use std::sync::Arc;

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use secrecy::{ExposeSecret, SecretString};
use shared::admin::prepared;
use tokio::sync::Semaphore;
use zxcvbn::Score;

/// Why a password was not hashed or checked.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    #[error("a password has 12 to 128 characters")]
    Length,
    #[error("is too easy to guess: {0}")]
    Guessable(String),
    #[error("the password could not be hashed: {0}")]
    Hash(String),
    #[error("hashing was interrupted")]
    Interrupted,
}

impl PasswordError {
    /// Whether the same password would fail again.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        matches!(self, Self::Length | Self::Guessable(_))
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

/// The longest that is looked at, in bytes: 128 characters of whatever script.
const MAX_BYTES: usize = 512;
/// Fewer guesses than 10^8 are within reach of whoever steals the hashes.
const LEAST_SCORE: Score = Score::Three;

/// Whether a new password is taken. Characters are counted, not bytes, of the form that is hashed.
fn check(password: &SecretString, about: &[String]) -> Result<(), PasswordError> {
    let text = password.expose_secret();
    let prepared = prepared(text);
    if text.len() > MAX_BYTES || !(12..=128).contains(&prepared.chars().count()) {
        return Err(PasswordError::Length);
    }
    if little_more_than(&prepared, about) {
        return Err(PasswordError::Guessable(
            "It is little more than your name or the word Holdfast. Add another word or two.".into(),
        ));
    }
    let about: Vec<&str> = about.iter().map(String::as_str).chain(["holdfast"]).collect();
    let estimate = zxcvbn::zxcvbn(&prepared, &about);
    if estimate.score() >= LEAST_SCORE {
        return Ok(());
    }
    // Words of the estimate's own, which never quote the password.
    let mut why: Vec<String> = Vec::new();
    if let Some(feedback) = estimate.feedback() {
        why.extend(feedback.warning().map(|warning| warning.to_string()));
        why.extend(feedback.suggestions().iter().map(ToString::to_string));
    }
    if why.is_empty() {
        why.push("Add another word or two. Uncommon words are better.".into());
    }
    Err(PasswordError::Guessable(why.join(" ")))
}

/// Whether few characters are left of a password without the words that are guessed first. The estimate takes three parts for
/// hard to guess, whatever they are.
fn little_more_than(password: &str, about: &[String]) -> bool {
    let mut rest = password.to_lowercase();
    for word in about.iter().map(String::as_str).chain(["holdfast"]).filter(|word| word.chars().count() >= 3) {
        rest = rest.replace(&word.to_lowercase(), "");
    }
    rest.chars().count() < 6
}

fn hash_now(password: &SecretString) -> Result<String, PasswordError> {
    let text = prepared(password.expose_secret());
    let hash = hasher()?.hash_password(text.as_bytes()).map_err(|e| PasswordError::Hash(e.to_string()))?;
    Ok(hash.to_string())
}

fn verify_now(password: &SecretString, phc: &str) -> Verdict {
    let Ok(parsed) = PasswordHash::new(phc) else { return Verdict::Wrong };
    let is = |text: &str| hasher().is_ok_and(|h| h.verify_password(text.as_bytes(), &parsed).is_ok());
    let text = password.expose_secret();
    let prepared = prepared(text);
    if is(&prepared) {
        let current = phc.starts_with(&format!("$argon2id$v=19$m={MEMORY_KIB},t=1,p=1$"));
        return if current { Verdict::Right } else { Verdict::RightButOld };
    }
    // Hashed before passwords were prepared.
    if prepared != text && is(text) { Verdict::RightButOld } else { Verdict::Wrong }
}

/// A name, and each word of it: of `anna.schmidt@example.org` "schmidt" alone is easy to guess, too.
fn words(name: &str) -> Vec<String> {
    let parts = name.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty());
    [name].into_iter().chain(parts).map(str::to_owned).collect()
}

impl Passwords {
    /// Hashes a random password for [`Self::verify_nobody`].
    pub fn new() -> Result<Self, PasswordError> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let dummy = hash_now(&SecretString::from(uuid::Uuid::new_v4().to_string()))?;
        Ok(Self { permits: Arc::new(Semaphore::new(cores)), dummy: dummy.into() })
    }

    /// The PHC string of a new password. It is refused where it is too short, too long, or easy to guess, also for those
    /// who know what it is `about`: the admin's name.
    pub async fn hash_new(&self, password: SecretString, about: &str) -> Result<String, PasswordError> {
        let about = words(about);
        self.run(move || check(&password, &about).and_then(|()| hash_now(&password))).await?
    }

    /// The PHC string of a password that is somebody's already.
    pub async fn hash(&self, password: SecretString) -> Result<String, PasswordError> {
        self.run(move || hash_now(&password)).await?
    }

    /// Checks a password against a PHC string.
    pub async fn verify(&self, password: SecretString, phc: String) -> Result<Verdict, PasswordError> {
        if password.expose_secret().len() > MAX_BYTES {
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

    #[tokio::test]
    async fn one_password_is_right_in_whatever_form_a_keyboard_sends_it() {
        let passwords = Passwords::new().unwrap();
        let phc = passwords.hash_new("gr\u{fc}ne wiesen am fj\u{f6}rd".into(), "anna").await.unwrap();
        let decomposed = "gru\u{308}ne wiesen am\u{a0}fjo\u{308}rd";
        assert_eq!(passwords.verify(decomposed.into(), phc.clone()).await.unwrap(), Verdict::Right);
        assert_eq!(passwords.verify("grune wiesen am fjord".into(), phc).await.unwrap(), Verdict::Wrong);
        let raw = hasher().unwrap().hash_password(decomposed.as_bytes()).unwrap().to_string();
        assert_eq!(passwords.verify(decomposed.into(), raw).await.unwrap(), Verdict::RightButOld);
    }

    fn checked(password: &str) -> Result<(), PasswordError> {
        check(&SecretString::from(password), &words("anna.brightwater@example.org"))
    }

    #[test]
    fn lengths_are_bounded_in_characters() {
        let text = "q7Ж!é🦀".repeat(30);
        for (characters, good) in [(11, false), (12, true), (128, true), (129, false)] {
            let password: String = text.chars().take(characters).collect();
            assert_eq!(!matches!(checked(&password), Err(PasswordError::Length)), good, "{password}");
        }
        // Two forms of as many characters: what is counted is what is hashed.
        let decomposed = "e\u{301}".repeat(100);
        assert!(!matches!(checked(&decomposed), Err(PasswordError::Length)));
        // Characters that are mapped to nothing do not make it longer, and cannot be sent by the thousand.
        assert!(matches!(checked(&format!("short{}", "\u{ad}".repeat(20))), Err(PasswordError::Length)));
        assert!(matches!(checked(&"\u{ad}".repeat(300)), Err(PasswordError::Length)));
    }

    #[test]
    fn what_everybody_tries_first_is_refused_in_words() {
        for guessable in [
            "password1234",
            "P@ssword1234",
            "123456789012",
            "qwertyuiop[]",
            "aaaaaaaaaaaaaaaa",
            "abcabcabcabcabc",
            "holdfast1234",
            "holdfastholdfast",
            "Holdfast-Holdfast",
            "Brightwater.12",
            "brightwater1",
            "anna.brightwater@example.org",
            "annabrightwater",
        ] {
            let Err(PasswordError::Guessable(why)) = checked(guessable) else { panic!("{guessable} was taken") };
            assert!(why.ends_with('.') && !why.contains(guessable), "{guessable}: {why}");
        }
        for good in ["correct horse battery staple 7", "tungsten-violet-march", "k9#Vt!r2Lq0z", "grüne wiesen am fjord"]
        {
            assert!(checked(good).is_ok(), "{good}: {:?}", checked(good));
        }
    }
}

//! age around the stored bytes: what a store's configuration says, as stages and small objects use it.
//!
//! The plain text is in 64 KiB chunks, each with its own authentication, so memory does not grow with the stream. A store
//! holds what `age -d` reads.

use std::io::{self, BufRead, Read, Write};
use std::iter;

use age::{DecryptError, Decryptor, Encryptor};
use bytes::Bytes;
use secrecy::ExposeSecret;
use shared::config::{self, Lock};
use shared::manifest::Sealing;
use shared::name::Slug;
use tokio::sync::mpsc::{Receiver, Sender};

use super::progress::Watch;
use super::{Block, BlockPool, StageTime, StreamError};

/// scrypt's cost for passphrases: 64 MiB and a fraction of a second per object. A measured one would take a quarter of a GiB.
const WORK_FACTOR: u8 = 16;
/// What others may have asked for: 1 GiB.
const MAX_WORK_FACTOR: u8 = 20;
/// An age header is a few lines; damage must not make the parser collect the whole object.
const HEADER_BYTES: usize = 256 << 10;

/// How one store encrypts, and whether this worker can read it again. `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct Encryption {
    store: Slug,
    settings: config::Encryption,
}

/// Why something cannot be encrypted or decrypted.
#[derive(Debug, thiserror::Error)]
pub enum CryptError {
    #[error("the copy in store {store} is encrypted, and this worker has no identity that could read it")]
    IdentityMissing { store: Slug },
    #[error("the copy in store {store} is encrypted to others than this worker's identities for that store")]
    IdentityWrong {
        store: Slug,
        #[source]
        source: Box<DecryptError>,
    },
    /// The bytes are not what age wrote.
    #[error("the encrypted bytes are damaged ({detail})")]
    Damaged { detail: String },
    #[error("encrypting for store {store} failed")]
    Encrypt {
        store: Slug,
        #[source]
        source: io::Error,
    },
}

impl CryptError {
    /// Whether another attempt of this worker must fail in the same way.
    pub fn is_permanent(&self) -> bool {
        !matches!(self, Self::Encrypt { .. })
    }

    /// A stable word for records, events and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::IdentityMissing { .. } => "identity_missing",
            Self::IdentityWrong { .. } => "identity_wrong",
            Self::Damaged { .. } => "object_corrupt",
            Self::Encrypt { .. } => "encryption_failed",
        }
    }

    /// A copy in a store that this worker's configuration does not know to be encrypted.
    pub fn missing(store: &Slug) -> Self {
        Self::IdentityMissing { store: store.clone() }
    }
}

impl Encryption {
    /// As declared for `store`.
    pub fn new(store: Slug, settings: config::Encryption) -> Self {
        Self { store, settings }
    }

    /// Whether this worker may read what it writes there.
    pub fn can_read(&self) -> bool {
        self.settings.can_read()
    }

    /// Whether both encrypt to the same, so that one encrypted stream serves both stores.
    pub fn is_same_lock(&self, other: &Self) -> bool {
        match (&self.settings.lock, &other.settings.lock) {
            (Lock::Recipients(mine), Lock::Recipients(theirs)) => mine == theirs,
            (Lock::Passphrase(mine), Lock::Passphrase(theirs)) => mine.expose_secret() == theirs.expose_secret(),
            (Lock::Recipients(_), Lock::Passphrase(_)) | (Lock::Passphrase(_), Lock::Recipients(_)) => false,
        }
    }

    /// To whom, as a manifest's head says it.
    pub fn sealing(&self) -> Sealing {
        match &self.settings.lock {
            Lock::Recipients(recipients) => {
                Sealing::AgeRecipients(recipients.iter().map(ToString::to_string).collect())
            }
            Lock::Passphrase(_) => Sealing::AgePassphrase,
        }
    }

    /// An age file of bytes at hand.
    pub fn encrypt_all(&self, plain: &[u8]) -> Result<Vec<u8>, CryptError> {
        let sealed = || {
            let mut writer = self.encryptor()?.wrap_output(Vec::with_capacity(plain.len() + 1024))?;
            writer.write_all(plain)?;
            writer.finish()
        };
        sealed().map_err(|source| self.encrypt_error(source))
    }

    /// What an age file holds, all at once: for small objects.
    pub fn decrypt_all(&self, stored: &[u8]) -> Result<Vec<u8>, CryptError> {
        let mut plain = Vec::new();
        self.reader(stored)?.read_to_end(&mut plain).map_err(|error| damaged(&error))?;
        Ok(plain)
    }

    /// Writes what an age file holds to `plain` while the file comes in blocks: for a thread of its own. Errors of `plain`
    /// are those of damaged bytes.
    pub fn decrypt_to(&self, stored: Receiver<Bytes>, plain: &mut impl Write) -> Result<(), CryptError> {
        let mut reader = self.reader(Incoming { input: stored, block: Bytes::new(), head: 0 })?;
        io::copy(&mut reader, plain).map(drop).map_err(|error| damaged(&error))
    }

    fn encrypt_error(&self, source: io::Error) -> CryptError {
        CryptError::Encrypt { store: self.store.clone(), source }
    }

    fn encryptor(&self) -> io::Result<Encryptor> {
        let encryptor = match &self.settings.lock {
            Lock::Recipients(recipients) => {
                Encryptor::with_recipients(recipients.iter().map(|r| r as &dyn age::Recipient))
            }
            Lock::Passphrase(passphrase) => {
                let mut recipient = age::scrypt::Recipient::new(passphrase.clone());
                recipient.set_work_factor(WORK_FACTOR);
                Encryptor::with_recipients(iter::once(&recipient as &dyn age::Recipient))
            }
        };
        encryptor.map_err(io::Error::other)
    }

    /// The plain text of an age file, as it is read.
    fn reader<R: BufRead>(&self, stored: R) -> Result<impl Read + use<R>, CryptError> {
        if !self.can_read() {
            return Err(CryptError::missing(&self.store));
        }
        let decryptor = Decryptor::new_buffered(stored).map_err(|error| damaged(&error))?;
        let opened = match &self.settings.lock {
            Lock::Recipients(_) => {
                decryptor.decrypt(self.settings.identities.iter().map(|identity| identity as &dyn age::Identity))
            }
            Lock::Passphrase(passphrase) => {
                let mut identity = age::scrypt::Identity::new(passphrase.clone());
                identity.set_max_work_factor(MAX_WORK_FACTOR);
                decryptor.decrypt(iter::once(&identity as &dyn age::Identity))
            }
        };
        opened.map_err(|error| match error {
            error @ (DecryptError::NoMatchingKeys
            | DecryptError::KeyDecryptionFailed
            | DecryptError::DecryptionFailed
            | DecryptError::ExcessiveWork { .. }) => {
                CryptError::IdentityWrong { store: self.store.clone(), source: Box::new(error) }
            }
            error => damaged(&error),
        })
    }
}

fn damaged(error: &dyn std::error::Error) -> CryptError {
    CryptError::Damaged { detail: error.to_string() }
}

/// The stage of a dump: compressed blocks in, an age file in blocks out.
pub(super) fn encrypt(
    name: &str,
    encryption: &Encryption,
    mut input: Receiver<Bytes>,
    output: Sender<Bytes>,
    pool: BlockPool,
) -> Result<StageTime, StreamError> {
    let mut watch = Watch::of_thread(name);
    let failed = |source| StreamError::Crypt(encryption.encrypt_error(source));
    // The header goes before the first byte, so that nothing is an age file of nothing too.
    let out = Packer { pool, block: None, output, closed: false };
    let mut writer = encryption.encryptor().and_then(|encryptor| encryptor.wrap_output(out)).map_err(failed)?;
    watch.was_busy();
    while let Some(block) = input.blocking_recv() {
        watch.was_waiting();
        match writer.write_all(&block) {
            Ok(()) => watch.was_busy(),
            // The copies are gone, and say why themselves.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(watch.time()),
            Err(error) => return Err(failed(error)),
        }
    }
    watch.was_waiting();
    match writer.finish().and_then(|mut out| out.send()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    watch.was_busy();
    Ok(watch.time())
}

/// The stage of a restore: an age file in blocks in, compressed blocks out.
pub(super) fn decrypt(
    encryption: &Encryption,
    input: Receiver<Bytes>,
    output: &Sender<Bytes>,
    mut pool: BlockPool,
) -> Result<StageTime, StreamError> {
    let mut watch = Watch::of_thread("age");
    let mut reader = encryption.reader(Incoming { input, block: Bytes::new(), head: 0 })?;
    loop {
        let mut block = pool.blocking_take();
        let mut ended = false;
        while !block.is_full() && !ended {
            let n = reader.read(block.spare()).map_err(|error| damaged(&error))?;
            ended = n == 0;
            block.advance(n);
        }
        watch.was_busy();
        // Closed means that a later stage has failed and will say why.
        if !block.is_empty() && output.blocking_send(block.freeze()).is_err() || ended {
            watch.was_waiting();
            return Ok(watch.time());
        }
        watch.was_waiting();
    }
}

/// Fills whole blocks with what age writes.
struct Packer {
    pool: BlockPool,
    block: Option<Block>,
    output: Sender<Bytes>,
    closed: bool,
}

impl Packer {
    fn send(&mut self) -> io::Result<()> {
        let Some(block) = self.block.take().filter(|block| !block.is_empty()) else { return Ok(()) };
        self.closed |= self.output.blocking_send(block.freeze()).is_err();
        if self.closed { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }
}

impl Write for Packer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let block = match &mut self.block {
            Some(block) => block,
            empty => empty.insert(self.pool.blocking_take()),
        };
        let spare = block.spare();
        let n = spare.len().min(bytes.len());
        if let (Some(to), Some(from)) = (spare.get_mut(..n), bytes.get(..n)) {
            to.copy_from_slice(from);
        }
        block.advance(n);
        if block.is_full() {
            self.send()?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Blocks of a channel as a reader. Only the header is read through `BufRead`, and it is bounded.
struct Incoming {
    input: Receiver<Bytes>,
    block: Bytes,
    head: usize,
}

impl Incoming {
    fn fill(&mut self) {
        while self.block.is_empty() {
            match self.input.blocking_recv() {
                Some(block) => self.block = block,
                None => return,
            }
        }
    }
}

impl Read for Incoming {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.fill();
        let taken = self.block.split_to(to.len().min(self.block.len()));
        if let Some(to) = to.get_mut(..taken.len()) {
            to.copy_from_slice(&taken);
        }
        Ok(taken.len())
    }
}

impl BufRead for Incoming {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.head > HEADER_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the header has no end"));
        }
        self.fill();
        let most = HEADER_BYTES + 1 - self.head;
        Ok(self.block.get(..self.block.len().min(most)).unwrap_or_default())
    }

    fn consume(&mut self, n: usize) {
        self.head += n;
        drop(self.block.split_to(n.min(self.block.len())));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use age::x25519::Identity;

    use super::*;

    pub(in crate::stream) fn to(identities: &[&Identity], readers: &[&Identity]) -> Encryption {
        let mut recipients: Vec<_> = identities.iter().map(|identity| identity.to_public()).collect();
        recipients.sort_by_key(ToString::to_string);
        let settings = config::Encryption {
            lock: Lock::Recipients(recipients),
            identities: readers.iter().map(|identity| (*identity).clone()).collect(),
        };
        Encryption::new(Slug::parse("disk").unwrap(), settings)
    }

    #[test]
    fn each_of_several_identities_opens_it_and_no_other() {
        let (one, two, stranger) = (Identity::generate(), Identity::generate(), Identity::generate());
        let plain = vec![7; 200_000];
        let sealed = to(&[&one, &two], &[]).encrypt_all(&plain).unwrap();
        for reader in [&one, &two] {
            assert!(to(&[&one, &two], &[reader]).decrypt_all(&sealed).unwrap() == plain);
        }
        assert_eq!(to(&[&one], &[&stranger]).decrypt_all(&sealed).unwrap_err().code(), "identity_wrong");
        assert_eq!(to(&[&one], &[]).decrypt_all(&sealed).unwrap_err().code(), "identity_missing");
        assert!(to(&[&one, &two], &[]).is_same_lock(&to(&[&two, &one], &[&one])));
        assert!(!to(&[&one, &two], &[]).is_same_lock(&to(&[&two], &[])));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let one = Identity::generate();
        let both = to(&[&one], &[&one]);
        let sealed = both.encrypt_all(&vec![7; 70_000]).unwrap();
        for at in (0..sealed.len()).step_by(997).chain(0..300).chain(sealed.len() - 20..sealed.len()) {
            let mut damaged = sealed.clone();
            damaged[at] ^= 4;
            let error = both.decrypt_all(&damaged).unwrap_err();
            assert!(["object_corrupt", "identity_wrong"].contains(&error.code()), "{at}: {error}");
            assert_eq!(both.decrypt_all(&sealed[..at]).unwrap_err().code(), "object_corrupt", "{at}");
        }
    }

    #[test]
    fn a_passphrase_opens_what_it_sealed() {
        let with = |text: &str| {
            let settings = config::Encryption { lock: Lock::Passphrase(text.into()), identities: Vec::new() };
            Encryption::new(Slug::parse("disk").unwrap(), settings)
        };
        let sealed = with("correct horse").encrypt_all(b"text").unwrap();
        assert_eq!(with("correct horse").decrypt_all(&sealed).unwrap(), b"text");
        let error = with("battery staple").decrypt_all(&sealed).unwrap_err();
        assert_eq!(error.code(), "identity_wrong");
        assert!(!format!("{error} {:?}", with("correct horse")).contains("horse"));
    }
}

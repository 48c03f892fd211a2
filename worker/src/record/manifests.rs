//! `manifest.json` as it lies in a store: the manifest's JSON, on an encrypted store sealed behind a clear head.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use shared::{
    manifest::{self, Manifest, SealedManifest, Sealing},
    name::Slug,
};

use crate::stream::{CryptError, Encryption};

/// Why a manifest cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("the manifest is not what Holdfast writes")]
    Json(#[source] serde_json::Error),
    #[error("the body of the manifest is not base64")]
    Base64(#[source] base64::DecodeError),
    #[error(transparent)]
    Crypt(#[from] CryptError),
    #[error("the manifest's head and its body differ: somebody put them together")]
    HeadDiffers,
    #[error("the manifest has format {found}, this version reads up to {}", manifest::FORMAT)]
    Newer { found: u32 },
}

impl ManifestError {
    /// The same bytes give the same answer, with these keys and this version.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        true
    }

    /// A stable word for records, events and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Json(_) | Self::Base64(_) | Self::HeadDiffers => "manifest_unreadable",
            Self::Newer { .. } => "format_unsupported",
            Self::Crypt(error) => error.code(),
        }
    }
}

/// The bytes of `manifest.json`. What `text` adds to the manifest (a signature) is sealed with it.
pub fn write(manifest: &Manifest, text: &[u8], encryption: Option<&Encryption>) -> Result<Vec<u8>, ManifestError> {
    let Some(encryption) = encryption else { return Ok(text.to_vec()) };
    let sealed = SealedManifest {
        format: manifest.format,
        installation: manifest.installation,
        save: manifest.save,
        service: manifest.service.clone(),
        target: manifest.target.clone(),
        encryption: encryption.sealing(),
        body: STANDARD.encode(encryption.encrypt_all(text)?),
    };
    serde_json::to_vec_pretty(&sealed).map_err(ManifestError::Json)
}

/// The JSON of a manifest.
pub fn text(manifest: &Manifest) -> Result<Vec<u8>, ManifestError> {
    serde_json::to_vec_pretty(manifest).map_err(ManifestError::Json)
}

/// What a store's `manifest.json` says: the manifest, and the JSON it was read from, as it was before it was sealed.
pub fn read(
    stored: &[u8],
    store: &Slug,
    encryption: Option<&Encryption>,
) -> Result<(Manifest, Vec<u8>), ManifestError> {
    #[derive(Deserialize)]
    struct Head {
        format: u32,
        body: Option<serde_json::Value>,
    }
    let head: Head = serde_json::from_slice(stored).map_err(ManifestError::Json)?;
    if head.format > manifest::FORMAT {
        return Err(ManifestError::Newer { found: head.format });
    }
    if head.body.is_none() {
        return Ok((serde_json::from_slice(stored).map_err(ManifestError::Json)?, stored.to_vec()));
    }
    let sealed: SealedManifest = serde_json::from_slice(stored).map_err(ManifestError::Json)?;
    let body = STANDARD.decode(&sealed.body).map_err(ManifestError::Base64)?;
    let text = encryption.ok_or_else(|| CryptError::missing(store))?.decrypt_all(&body)?;
    let manifest: Manifest = serde_json::from_slice(&text).map_err(ManifestError::Json)?;
    let named = (manifest.installation, manifest.save, &manifest.service, &manifest.target);
    if named != (sealed.installation, sealed.save, &sealed.service, &sealed.target) {
        return Err(ManifestError::HeadDiffers);
    }
    Ok((manifest, text))
}

/// To whom a store's `manifest.json` says that the copy is encrypted; none if it is not.
pub fn sealing(stored: &[u8]) -> Option<Sealing> {
    serde_json::from_slice::<SealedManifest>(stored).ok().map(|sealed| sealed.encryption)
}

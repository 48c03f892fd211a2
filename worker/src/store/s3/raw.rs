//! The requests that `object_store` does not make: unsigned ones, and those on a version of an object. They go by signed
//! URLs, which must not be seen: an error's URL is taken off before anyone shows it.

use std::time::Duration;

use object_store::{
    aws::AmazonS3,
    path::Path,
    signer::{SignedUrlOptions, Signer},
};
use reqwest::{Method, Response, Url};

/// For how long a signed URL holds.
const SIGNED_FOR: Duration = Duration::from_mins(5);

#[derive(Clone)]
pub(super) struct Raw {
    signer: AmazonS3,
    http: reqwest::Client,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum RawError {
    #[error("the request cannot be signed")]
    Sign(#[source] object_store::Error),
    #[error("the request was not answered")]
    Http(#[source] reqwest::Error),
}

impl Raw {
    pub(super) fn new(signer: AmazonS3, http: reqwest::Client) -> Self {
        Self { signer, http }
    }

    /// A request on one version of an object.
    pub(super) async fn on_version(&self, method: Method, path: &Path, version: &str) -> Result<Response, RawError> {
        let url = self.signed(&method, path, &[("versionId", version)]).await?;
        self.send(method, url).await
    }

    /// Asks for an object as a stranger would.
    pub(super) async fn get_unsigned(&self, path: &Path) -> Result<Response, RawError> {
        let mut url = self.signed(&Method::GET, path, &[]).await?;
        url.set_query(None);
        self.send(Method::GET, url).await
    }

    /// Asks for a list of objects as a stranger would.
    pub(super) async fn list_unsigned(&self, prefix: &str) -> Result<Response, RawError> {
        let mut url = self.signed(&Method::GET, &Path::ROOT, &[]).await?;
        url.set_query(None);
        url.query_pairs_mut().append_pair("list-type", "2").append_pair("max-keys", "1").append_pair("prefix", prefix);
        self.send(Method::GET, url).await
    }

    async fn signed(&self, method: &Method, path: &Path, query: &[(&str, &str)]) -> Result<Url, RawError> {
        let options = SignedUrlOptions::default().with_query(query.iter().copied());
        self.signer.signed_url_opts(method.clone(), path, SIGNED_FOR, &options).await.map_err(RawError::Sign)
    }

    async fn send(&self, method: Method, url: Url) -> Result<Response, RawError> {
        self.http.request(method, url).send().await.map_err(|error| RawError::Http(error.without_url()))
    }
}

//! From the settings to the two clients: `object_store`'s, and a plain one for the few requests that it does not make.

use std::{path::Path, time::Duration};

use object_store::{
    BackoffConfig, Certificate, ClientOptions, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
};
use secrecy::ExposeSecret;
use shared::config;

use super::raw::Raw;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may take, the sending of a part included: 16 MiB at 140 kB/s.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(2);
/// A service that fails for a moment must not cost a dump of hours; one that is down is the job's to try again.
const RETRIES: usize = 8;
const RETRY_PAUSE: Duration = Duration::from_secs(10);
const RETRY_TIMEOUT: Duration = Duration::from_mins(1);

/// What is wrong, without secrets.
pub(super) fn connect(settings: &config::S3) -> Result<(AmazonS3, Raw), String> {
    // The process's default for every TLS client of this kind; refused where there is one already.
    rustls::crypto::ring::default_provider().install_default().ok();
    let (builder, http) = match &settings.keys {
        Some((id, secret)) => (
            AmazonS3Builder::new()
                .with_access_key_id(id.expose_secret())
                .with_secret_access_key(secret.expose_secret()),
            is_http(settings),
        ),
        // The standard chain: environment, web identity, container, instance metadata.
        None => (AmazonS3Builder::from_env(), is_http(settings)),
    };
    let mut options = ClientOptions::new()
        .with_allow_http(http)
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_read_timeout(ANSWER_TIMEOUT)
        // A download takes as long as it takes.
        .with_timeout_disabled();
    let mut raw = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(Duration::from_secs(30));
    if let Some(file) = &settings.ca_file {
        let pem = read(file)?;
        let unreadable = || format!("{} holds no certificate in PEM", file.display());
        for certificate in Certificate::from_pem_bundle(&pem).map_err(|_| unreadable())? {
            options = options.with_root_certificate(certificate);
        }
        raw = raw.tls_certs_merge(reqwest::Certificate::from_pem_bundle(&pem).map_err(|_| unreadable())?);
    }
    let retries = RetryConfig {
        backoff: BackoffConfig { max_backoff: RETRY_PAUSE, ..BackoffConfig::default() },
        max_retries: RETRIES,
        retry_timeout: RETRY_TIMEOUT,
    };
    let mut builder = builder
        .with_bucket_name(&settings.bucket)
        .with_region(&settings.region)
        .with_virtual_hosted_style_request(!settings.path_style)
        .with_allow_http(http)
        .with_client_options(options)
        .with_retry(retries)
        // One request per key: several services do not know the other one.
        .with_disable_bulk_delete(true)
        // TLS keeps the parts whole on their way, and read-back proves it; a digest of each costs a third of a dump.
        .with_unsigned_payload(!http);
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(bucket_endpoint(endpoint, settings));
    }
    let client = builder.build().map_err(|error| format!("the settings do not make a client: {error}"))?;
    let raw = raw.build().map_err(|error| format!("no client for HTTP can be made: {error}"))?;
    Ok((client.clone(), Raw::new(client, raw)))
}

fn is_http(settings: &config::S3) -> bool {
    settings.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"))
}

/// The library wants the bucket in the endpoint's host where requests are to name it there.
fn bucket_endpoint(endpoint: &str, settings: &config::S3) -> String {
    match (settings.path_style, endpoint.split_once("://")) {
        (false, Some((scheme, host))) => format!("{scheme}://{}.{host}", settings.bucket),
        _ => endpoint.to_owned(),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()))
}

//! TLS for our own sessions on targets, with libpq's meaning of the modes: a CA that was given is the only one trusted,
//! and without one the system's are (the same file that the tools are given).

use std::sync::Arc;

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};

use super::super::{Connection, EngineError, ErrorCode, TlsMode};

/// The system's certificate authorities, as distributions collect them.
pub(in crate::engine) const SYSTEM_CA: &str = "/etc/ssl/certs/ca-certificates.crt";

/// How a connection of this mode is made; every mode but `disable`.
pub(super) fn client_config(at: &Connection) -> Result<ClientConfig, EngineError> {
    let provider = Arc::new(ring::default_provider());
    let chain = if at.tls.verifies() {
        let roots = Arc::new(roots(at)?);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
        Some(verifier.map_err(|error| failed("the CA cannot be used").with_source(error))?)
    } else {
        None
    };
    let verifier = Verifier { chain, any_name: at.tls != TlsMode::VerifyFull, provider: Arc::clone(&provider) };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed("TLS could not be set up").with_source(error))?;
    Ok(config.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
}

fn roots(at: &Connection) -> Result<RootCertStore, EngineError> {
    let unreadable = || failed("the CA's certificates cannot be read");
    let pem = match &at.ca_pem {
        Some(pem) => pem.clone().into_bytes(),
        None => std::fs::read(SYSTEM_CA).map_err(|error| {
            failed(&format!("{SYSTEM_CA} cannot be read, and the server has no CA of its own")).with_source(error)
        })?,
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| unreadable().with_source(error))?;
        match roots.add(certificate) {
            // Of the system's many certificates one may be too old for this library.
            Err(error) if at.ca_pem.is_some() => return Err(unreadable().with_source(error)),
            _ => {}
        }
    }
    if roots.is_empty() { Err(unreadable()) } else { Ok(roots) }
}

pub(super) fn failed(message: &str) -> EngineError {
    EngineError::new(ErrorCode::TlsFailed, message)
}

#[derive(Debug)]
struct Verifier {
    /// None: whoever answers is taken.
    chain: Option<Arc<WebPkiServerVerifier>>,
    any_name: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.any_name => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use shared::name::{DatabaseName, HostName, UserName};
    use uuid::Uuid;

    use super::{
        super::super::{EngineKind, SessionTag},
        *,
    };

    const AUTHORITY: &str = "-----BEGIN CERTIFICATE-----\n\
        MIIBmTCCAT+gAwIBAgIUBCosFeYejkwI0U+oms4uOOJlc6cwCgYIKoZIzj0EAwIw\n\
        ITEfMB0GA1UEAwwWYW4gYXV0aG9yaXR5IG9mIGEgdGVzdDAgFw0yNjExMjExNzMz\n\
        MjBaGA8yMTI2MTAyODE3MzMyMFowITEfMB0GA1UEAwwWYW4gYXV0aG9yaXR5IG9m\n\
        IGEgdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABKAIb1y76SitslqNlcT1\n\
        YSaFmlKWtGp4B1ob+ieRw3ozYBi0zYa9SmPOGWP5FIg1rYfRypDlO2IjFPmLJl3n\n\
        IbajUzBRMB0GA1UdDgQWBBS1OHV3hDVuxYssE4OFx6lEOq9I+TAfBgNVHSMEGDAW\n\
        gBS1OHV3hDVuxYssE4OFx6lEOq9I+TAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49\n\
        BAMCA0gAMEUCIAtajOWx3Jn3xK3NKKbuF4Y/6obkF0PVe8qfviI5JZfbAiEA9ZXx\n\
        Jsx4shzNrb08L5yHJYUusvr3yqmgkwgjf+2D4mE=\n\
        -----END CERTIFICATE-----";

    fn connection(tls: TlsMode, ca_pem: Option<&str>) -> Connection {
        Connection {
            engine: EngineKind::Postgres,
            host: HostName::parse("localhost").unwrap(),
            port: 5432,
            user: UserName::parse("somebody").unwrap(),
            password: "x".into(),
            tls,
            ca_pem: ca_pem.map(str::to_owned),
            maintenance_database: DatabaseName::parse("postgres").unwrap(),
            session: SessionTag { job: Uuid::nil(), epoch: 1 },
            installation: Uuid::nil(),
        }
    }

    #[test]
    fn a_given_authority_is_the_only_one_that_is_trusted() {
        assert_eq!(roots(&connection(TlsMode::VerifyFull, Some(AUTHORITY))).unwrap().len(), 1);
        let two = format!("{AUTHORITY}\n{AUTHORITY}");
        assert_eq!(roots(&connection(TlsMode::VerifyCa, Some(&two))).unwrap().len(), 2);
    }

    #[test]
    fn an_authority_that_cannot_be_read_is_an_error_and_not_the_systems() {
        for bad in ["", "junk", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"] {
            let error = client_config(&connection(TlsMode::VerifyFull, Some(bad))).unwrap_err();
            assert_eq!(error.code(), ErrorCode::TlsFailed, "{bad}");
        }
    }
}

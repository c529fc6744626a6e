//! TLS to PostgreSQL, with the verification that `sslmode` asks for.
//!
//! Promises: a server always proves that it has the key of its certificate.

use std::{io, path::Path, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::session::store::postgres::url::{CertificateVerification, PostgresUrl};

/// Creates the TLS connector of a server. The error names the file that could not be used.
pub(super) fn connector(url: &PostgresUrl) -> Result<MakeRustlsConnect, String> {
    let provider = Arc::new(ring::default_provider());
    let roots = match (url.verification, url.root_certificates.as_deref()) {
        (CertificateVerification::None, _) => None,
        (_, Some(path)) => Some(read_roots(path).map_err(|error| format!("sslrootcert: {}: {error}", path.display()))?),
        (_, None) => Some(system_roots()?),
    };
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let config = match (url.verification, roots) {
        (CertificateVerification::Full, Some(roots)) => config.with_root_certificates(roots),
        (_, roots) => {
            config.dangerous().with_custom_certificate_verifier(Arc::new(RelaxedVerifier::new(provider, roots)?))
        }
    };
    Ok(MakeRustlsConnect::new(config.with_no_client_auth()))
}

fn read_roots(path: &Path) -> Result<RootCertStore, io::Error> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(io::Error::other)? {
        roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
    }
    if roots.is_empty() { Err(io::Error::other("it holds no certificate")) } else { Ok(roots) }
}

fn system_roots() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err("the system has no certificate authorities; name a file with `sslrootcert`".to_owned());
    }
    Ok(roots)
}

/// A verifier that checks less than chain and name, as the operator asks for with `sslmode`. Signatures are always
/// checked.
#[derive(Debug)]
struct RelaxedVerifier {
    provider: Arc<CryptoProvider>,
    /// Verifier of the chain; absent: any certificate is accepted.
    chain: Option<Arc<WebPkiServerVerifier>>,
}

impl RelaxedVerifier {
    fn new(provider: Arc<CryptoProvider>, roots: Option<RootCertStore>) -> Result<Self, String> {
        let verifier =
            |roots| WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
        let chain = roots.map(verifier).transpose().map_err(|error| error.to_string())?;
        Ok(Self { provider, chain })
    }
}

impl ServerCertVerifier for RelaxedVerifier {
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
            // The name is compared last: a certificate that fails there has passed all other checks.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
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

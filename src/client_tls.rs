//! TLS to the servers that the gate asks: trust anchors, and which fault of a certificate has which mend.
//!
//! Promises: a `ca_file` that cannot be used is an error; a certificate counts only for its name and within its validity, be
//! it an authority's or the very one that `ca_file` names.

use std::{collections::HashSet, error::Error as StdError, fmt, io, path::PathBuf, sync::Arc, time::Duration};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    server::ParsedCertificate,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _};
use x509_parser::time::ASN1Time;

/// A PEM file of certificates as it was when it was read.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pem {
    /// Path of the file.
    pub path: PathBuf,
    /// Content of the file.
    pub content: Arc<[u8]>,
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pem").field("path", &self.path).field("bytes", &self.content.len()).finish()
    }
}

/// Need for an authority to trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authorities {
    /// Something is asked over https.
    Required,
    /// Everything may be asked in clear.
    Optional,
}

/// Errors of the trust anchors. The gate does not start then.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TrustAnchorError {
    /// The file is not PEM.
    #[error("ca_file {path}: {reason}; mend: name a file of PEM certificates", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The parser's error.
        reason: String,
    },
    /// The file holds no certificate.
    #[error("ca_file {path} holds no certificate; mend: put the authority's certificate in it, as PEM", path = .0.display())]
    Empty(PathBuf),
    /// Neither the system nor the configuration names an authority.
    #[error("no certificate authority is known for an https address; mend: install ca-certificates or set ca_file")]
    Missing,
}

/// The verifier of a server's certificate: the authorities of the system and of `ca_file`, and the certificates in
/// `ca_file` themselves where a server presents one of them.
#[derive(Debug)]
struct NamedCertVerifier {
    authorities: Arc<WebPkiServerVerifier>,
    named: HashSet<CertificateDer<'static>>,
}

/// Returns the configuration of a client that trusts the system's authorities and the certificates in `ca`.
pub fn client_config(ca: Option<&Pem>, authorities: Authorities) -> Result<ClientConfig, TrustAnchorError> {
    let mut roots = RootCertStore::empty();
    // A single certificate of the system that does not parse takes nothing away from the others.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let named = ca.map_or_else(|| Ok(HashSet::new()), |pem| add_authorities(&mut roots, pem))?;
    if roots.is_empty() && authorities == Authorities::Required {
        return Err(TrustAnchorError::Missing);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring implements the default protocol versions");
    if named.is_empty() {
        return Ok(builder.with_root_certificates(roots).with_no_client_auth());
    }
    let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .expect("there are roots, and no revocation lists");
    let verifier = Arc::new(NamedCertVerifier { authorities, named });
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// Adds every certificate of a PEM file, and returns them; one that cannot be used is an error.
fn add_authorities(roots: &mut RootCertStore, pem: &Pem) -> Result<HashSet<CertificateDer<'static>>, TrustAnchorError> {
    let unreadable = |reason: String| TrustAnchorError::Unreadable { path: pem.path.clone(), reason };
    let mut named = HashSet::new();
    for certificate in CertificateDer::pem_slice_iter(&pem.content) {
        let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
        roots.add(certificate.clone()).map_err(|error| unreadable(error.to_string()))?;
        named.insert(certificate);
    }
    if named.is_empty() { Err(TrustAnchorError::Empty(pem.path.clone())) } else { Ok(named) }
}

impl ServerCertVerifier for NamedCertVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // `openssl req -x509` makes such certificates: nobody but itself vouches for it, and the operator has named it.
            Err(rustls::Error::InvalidCertificate(error))
                if is_only_without_authority(&error) && self.named.contains(end_entity) =>
            {
                check_validity(end_entity, now)?;
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

/// Returns `true` for the two errors that say no more than that no authority vouches for a certificate: it has no known issuer,
/// or is an authority itself.
fn is_only_without_authority(error: &CertificateError) -> bool {
    match error {
        CertificateError::UnknownIssuer => true,
        CertificateError::Other(OtherError(error)) => {
            matches!(error.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
        }
        _ => false,
    }
}

/// Checks the validity of a certificate (RFC 5280, section 4.1.2.5).
fn check_validity(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), CertificateError> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|_| CertificateError::BadEncoding)?;
    // A time before 1970 is past, as 1970 is.
    let time = |time: ASN1Time| {
        UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or_default()))
    };
    let (not_before, not_after) = (time(parsed.validity().not_before), time(parsed.validity().not_after));
    if now < not_before {
        return Err(CertificateError::NotValidYetContext { time: now, not_before });
    }
    if now > not_after {
        return Err(CertificateError::ExpiredContext { time: now, not_after });
    }
    Ok(())
}

/// A fault of a server's certificate, with its own mend.
#[derive(Clone, Debug)]
pub struct CertificateFault(CertificateError);

/// Returns the fault of a certificate that is at the bottom of an error.
#[must_use]
pub fn certificate_fault(error: &(dyn StdError + 'static)) -> Option<CertificateFault> {
    causes(error).filter_map(<dyn StdError>::downcast_ref).find_map(|cause| match cause {
        rustls::Error::InvalidCertificate(fault) => Some(CertificateFault(fault.clone())),
        _ => None,
    })
}

/// Returns the texts of an error and its causes, outermost first.
#[must_use]
pub fn error_chain(error: &(dyn StdError + 'static)) -> String {
    let mut texts: Vec<_> = causes(error).map(ToString::to_string).collect();
    texts.dedup();
    texts.join(": ")
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        // `io::Error::source` would skip the error that it wraps.
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    })
}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = |time: &UnixTime| {
            let since_epoch = Duration::from_secs(time.as_secs());
            humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + since_epoch)
        };
        match &self.0 {
            CertificateError::ExpiredContext { not_after, .. } => write!(
                f,
                "its certificate has expired, at {}; mend: renew it at the server, or set this machine's clock",
                date(not_after)
            ),
            CertificateError::Expired => f.write_str("its certificate has expired; mend: renew it at the server"),
            CertificateError::NotValidYetContext { not_before, .. } => write!(
                f,
                "its certificate is not valid before {}; mend: set this machine's clock, or the server's and make the \
                 certificate again",
                date(not_before)
            ),
            CertificateError::NotValidForNameContext { expected, presented } if presented.is_empty() => write!(
                f,
                "its certificate has no subjectAltName, so it counts for no name; mend: make it again with one for {}",
                expected.to_str()
            ),
            CertificateError::NotValidForNameContext { expected, presented } => write!(
                f,
                "its certificate is not for {} but for {}; mend: write one of those names in the issuer, if the provider \
                 calls itself so, or make a certificate for this one",
                expected.to_str(),
                presented.iter().map(|name| plain_name(name)).collect::<Vec<_>>().join(", ")
            ),
            CertificateError::UnknownIssuer => f.write_str(
                "its certificate is signed by an authority that is not known here; mend: if that is a private authority, \
                 name its certificate in ca_file; if it is a public one, have the server send the intermediate \
                 certificates too",
            ),
            CertificateError::BadSignature => f.write_str(
                "its certificate is not signed by the key of the authority that it names; mend: name the certificate that \
                 the authority has now in ca_file",
            ),
            error if is_only_without_authority(error) => f.write_str(
                "its certificate is one of an authority itself, and not the one that ca_file names; mend: name this very \
                 certificate in ca_file",
            ),
            error => write!(f, "its certificate cannot be used: {error}; mend: make another one for the server"),
        }
    }
}

/// Returns a name as rustls tells it, such as `DnsName("id.example.com")`, without what is around it.
fn plain_name(presented: &str) -> &str {
    let inner = presented.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.map_or(presented, |name| name.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    use super::*;

    /// The time of the tests: 2027-01-15.
    const NOW: u64 = 1_800_000_000;
    const DAY: u64 = 86_400;

    fn authority(from: u64, until: u64) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(["id.example.com".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let time = |unix: u64| (std::time::UNIX_EPOCH + Duration::from_secs(unix)).into();
        (params.not_before, params.not_after) = (time(from), time(until));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn verify(named: &CertificateDer<'static>, presented: &CertificateDer<'_>, name: &str) -> Result<(), String> {
        let mut roots = RootCertStore::empty();
        roots.add(named.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = NamedCertVerifier {
            authorities: WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap(),
            named: [named.clone()].into(),
        };
        let (name, now) = (ServerName::try_from(name).unwrap(), UnixTime::since_unix_epoch(Duration::from_secs(NOW)));
        match verifier.verify_server_cert(presented, &[], &name, &[], now) {
            Ok(_) => Ok(()),
            Err(rustls::Error::InvalidCertificate(error)) => Err(CertificateFault(error).to_string()),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_self_signed_authority_counts_where_it_is_named_and_each_fault_has_its_own_mend() {
        let named = authority(NOW - DAY, NOW + DAY);
        assert_eq!(verify(&named, &named, "id.example.com"), Ok(()));

        let other = authority(NOW - DAY, NOW + DAY);
        let (expired, early) = (authority(NOW - 2 * DAY, NOW - DAY), authority(NOW + DAY, NOW + 2 * DAY));
        for (named, presented, name, fault, mend) in [
            (&named, &named, "other.example.com", "not for other.example.com but for id.example.com;", "issuer"),
            (&named, &other, "id.example.com", "authority itself", "very certificate"),
            (&expired, &expired, "id.example.com", "expired, at 2027-01-14", "renew"),
            (&early, &early, "id.example.com", "not valid before 2027-01-16", "clock"),
        ] {
            let text = verify(named, presented, name).unwrap_err();
            assert!(text.contains(fault) && text.contains(mend), "{name}: {text}");
        }
    }

    #[test]
    fn validity_is_checked_by_itself_too() {
        let now = UnixTime::since_unix_epoch(Duration::from_secs(NOW));
        assert_eq!(check_validity(&authority(NOW - DAY, NOW + DAY), now), Ok(()));
        for (from, until) in [(NOW - 2 * DAY, NOW - DAY), (NOW + DAY, NOW + 2 * DAY)] {
            check_validity(&authority(from, until), now).unwrap_err();
        }
    }
}

//! TLS certificates: loaded at start, reloaded when their files change.
//!
//! Files are compared by content, so that a Kubernetes symlink swap, a copy and a rename all count. Files that
//! cannot be used change nothing.

use std::{
    convert::Infallible,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{task::spawn_blocking, time::sleep};
use tokio_rustls::TlsAcceptor;

use super::Error;
use crate::{
    clock::{Clock, Timestamp},
    crypto,
    metrics::CertificateMetrics,
};

const CERT: &str = "server.tls.cert";
const KEY: &str = "server.tls.key";
const CLIENT_CA: &str = "server.tls.client_ca";

/// Interval between comparisons of the files.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Time before the end of the certificate from which on it is warned of.
pub const EXPIRY_NOTICE: Duration = Duration::from_hours(30 * 24);

/// Interval between warnings of one certificate.
const WARNING_INTERVAL: Duration = Duration::from_hours(24);

/// TLS as configured. All files are read again when they change.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// Certificate chain, PEM.
    pub cert: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
    /// Authorities whose client certificates are required, PEM; absent: clients need none.
    pub client_ca: Option<PathBuf>,
}

impl TlsSettings {
    /// Loads the files as they are now, and fails if they cannot be used. Blocks while it reads them.
    pub fn try_out(&self) -> Result<(), Error> {
        TlsFiles::read(self)?.config().map(drop)
    }

    /// Returns the end of the certificate itself, the first of the chain, as it is now. Blocks while it reads the file.
    #[must_use]
    pub fn not_after(&self) -> Option<Timestamp> {
        not_after(&read(CERT, &self.cert).ok()?)
    }
}

/// Digest of the files' content.
type FilesDigest = [u8; 32];

/// Certificate in use, and the files of the next one.
pub(super) struct Certificates {
    settings: TlsSettings,
    current: ArcSwap<ServerConfig>,
    digest: ArcSwap<FilesDigest>,
    expiry: ArcSwapOption<Timestamp>,
}

impl Certificates {
    /// Loads the files. An authority that cannot be read is an error: without it any client could connect.
    pub(super) async fn load(settings: TlsSettings) -> Result<Self, Error> {
        let files = TlsFiles::load(settings.clone()).await?;
        let current = ArcSwap::from_pointee(files.config()?);
        let expiry = ArcSwapOption::new(not_after(&files.cert).map(Arc::new));
        Ok(Self { settings, current, digest: ArcSwap::from_pointee(files.digest()), expiry })
    }

    /// Returns the acceptor for new handshakes.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }

    /// Reloads changed files, and warns of the certificate's end, for as long as it is polled.
    pub(super) async fn follow(&self, metrics: &CertificateMetrics) -> Infallible {
        let mut problem = ReloadProblem::None;
        // The warnings of the configuration have told about this one.
        let mut warning = ExpiryWarning { of: self.not_after(), at: Clock::System.now() };
        loop {
            if let Some(end) = self.not_after() {
                metrics.set_not_after(end.unix());
            }
            sleep(POLL_INTERVAL).await;
            problem = self.poll_files(problem).await;
            warning = warning.repeated_if_due(self.not_after(), Clock::System.now());
        }
    }

    /// Returns the end of the certificate in use.
    fn not_after(&self) -> Option<Timestamp> {
        self.expiry.load().as_deref().copied()
    }

    /// Compares the files once. A problem is logged when it is seen for the second time: between the writing of a certificate
    /// and that of its key the two do not fit, and that is no mistake.
    async fn poll_files(&self, before: ReloadProblem) -> ReloadProblem {
        match self.reload_changed().await {
            Ok(CertificateReload::Unchanged) => ReloadProblem::None,
            Ok(CertificateReload::Reloaded) => {
                tracing::info!("TLS certificate reloaded");
                ReloadProblem::None
            }
            Err(error) => before.seen_again(error.to_string()),
        }
    }

    async fn reload_changed(&self) -> Result<CertificateReload, Error> {
        let files = TlsFiles::load(self.settings.clone()).await?;
        let digest = files.digest();
        if digest == **self.digest.load() {
            return Ok(CertificateReload::Unchanged);
        }
        self.current.store(Arc::new(files.config()?));
        self.digest.store(Arc::new(digest));
        self.expiry.store(not_after(&files.cert).map(Arc::new));
        Ok(CertificateReload::Reloaded)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CertificateReload {
    Unchanged,
    Reloaded,
}

/// Last warning of a certificate's end.
#[derive(Clone, Copy, Debug, PartialEq)]
struct ExpiryWarning {
    of: Option<Timestamp>,
    at: Timestamp,
}

impl ExpiryWarning {
    /// Warns of a certificate that ends soon or has ended, where it is another one or a day has gone by.
    fn repeated_if_due(self, of: Option<Timestamp>, now: Timestamp) -> Self {
        let Some(end) = of.filter(|end| *end < now.plus(EXPIRY_NOTICE)) else { return Self { of, ..self } };
        if self.of == of && now < self.at.plus(WARNING_INTERVAL) {
            return self;
        }
        let days = end.since(now).as_secs() / (24 * 60 * 60);
        tracing::warn!(%end, days, "the TLS certificate ends soon: edges refuse the gate then; renew it, and its files are read again");
        Self { of, at: now }
    }
}

/// Problem of changed files, seen once or logged.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ReloadProblem {
    None,
    Seen(String),
    Logged(String),
}

impl ReloadProblem {
    fn seen_again(self, problem: String) -> Self {
        match self {
            Self::Seen(known) if known == problem => {
                tracing::warn!(problem, "changed TLS files cannot be used; keeping the certificate in use");
                Self::Logged(problem)
            }
            Self::Logged(known) if known == problem => Self::Logged(known),
            _ => Self::Seen(problem),
        }
    }
}

/// Content of the files.
struct TlsFiles {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl TlsFiles {
    /// Reads the files on a blocking thread: a slow disk must not stall a worker.
    async fn load(settings: TlsSettings) -> Result<Self, Error> {
        spawn_blocking(move || Self::read(&settings)).await.expect("reading files does not panic")
    }

    fn read(settings: &TlsSettings) -> Result<Self, Error> {
        let client_ca = match &settings.client_ca {
            Some(path) => Some(read(CLIENT_CA, path)?),
            None => None,
        };
        Ok(Self { cert: read(CERT, &settings.cert)?, key: read(KEY, &settings.key)?, client_ca })
    }

    fn digest(&self) -> FilesDigest {
        let files = [Some(&self.cert), Some(&self.key), self.client_ca.as_ref()];
        let digests: Vec<u8> = files.into_iter().flatten().flat_map(|content| crypto::digest(content)).collect();
        crypto::digest(&digests)
    }

    /// Returns a new configuration with new keys for session tickets: a session that was begun under another authority cannot be resumed under this one.
    fn config(&self) -> Result<ServerConfig, Error> {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| problem(CERT, format!("TLS cannot be set up: {error}")))?;
        let builder = match &self.client_ca {
            Some(pem) => builder.with_client_cert_verifier(verifier(pem, provider)?),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(certificates(CERT, &self.cert)?, private_key(&self.key)?).map_err(
            |error| problem(KEY, format!("the key and the certificate cannot be used together ({error}); give the key that the certificate was made for")),
        )?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // A resumed connection uses one up and gets one, and edges keep the last.
        config.send_tls13_tickets = 1;
        config.ticketer = ring::Ticketer::new()
            .map_err(|error| problem(KEY, format!("no keys for session tickets could be made: {error}")))?;
        Ok(config)
    }
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| {
        let mend = match error.kind() {
            io::ErrorKind::NotFound => "put it there, or correct the path",
            io::ErrorKind::PermissionDenied => "let the user that runs doorward read it",
            _ => "see that it is a file that can be read",
        };
        problem(key, format!("cannot read {}: {error}; {mend}", path.display()))
    })
}

fn certificates(key: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| problem(key, format!("not a chain of PEM certificates: {error}")))?;
    if chain.is_empty() {
        return Err(problem(key, "holds no certificate; it has to be PEM (-----BEGIN CERTIFICATE-----)".to_owned()));
    }
    Ok(chain)
}

/// Returns the end of the first certificate of a chain.
fn not_after(chain: &[u8]) -> Option<Timestamp> {
    let chain = certificates(CERT, chain).ok()?;
    let (_, certificate) = x509_parser::parse_x509_certificate(chain.first()?).ok()?;
    let seconds = certificate.validity().not_after.timestamp();
    Some(Timestamp::from_unix(seconds.try_into().unwrap_or_default()))
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| {
        problem(
            KEY,
            format!("holds no usable private key ({error}); it has to be PEM, PKCS #8 or older, without a password"),
        )
    })
}

fn verifier(pem: &[u8], provider: Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(CLIENT_CA, pem)? {
        roots
            .add(certificate)
            .map_err(|error| problem(CLIENT_CA, format!("a certificate cannot be an authority: {error}")))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| problem(CLIENT_CA, format!("clients cannot be verified: {error}")))
}

fn problem(key: &'static str, problem: String) -> Error {
    Error::Tls { key, problem }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::{ClientConfig, pki_types::ServerName};
    use tempfile::TempDir;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_rustls::TlsConnector;

    use super::*;

    type TestCa = CertifiedIssuer<'static, KeyPair>;

    fn authority() -> TestCa {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    /// Issues a certificate and its key, PEM.
    fn issue(authority: &TestCa) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.signed_by(&key, authority).unwrap().pem(), key.serialize_pem())
    }

    /// Volume as Kubernetes mounts it: names that lead through a symlink that is swapped.
    struct KubernetesVolume {
        directory: TempDir,
        generation: u32,
    }

    impl KubernetesVolume {
        fn new(files: &[(&str, &str)]) -> Self {
            let mut volume = Self { directory: tempfile::tempdir().unwrap(), generation: 0 };
            volume.swap(files);
            for (name, _) in files {
                std::os::unix::fs::symlink(format!("..data/{name}"), volume.path(name)).unwrap();
            }
            volume
        }

        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        fn swap(&mut self, files: &[(&str, &str)]) {
            self.generation += 1;
            let generation = format!("..{}", self.generation);
            std::fs::create_dir(self.path(&generation)).unwrap();
            for (name, content) in files {
                std::fs::write(self.path(&generation).join(name), content).unwrap();
            }
            std::os::unix::fs::symlink(&generation, self.path("..new")).unwrap();
            std::fs::rename(self.path("..new"), self.path("..data")).unwrap();
        }

        fn settings(&self, client_ca: Option<&str>) -> TlsSettings {
            TlsSettings {
                cert: self.path("cert"),
                key: self.path("key"),
                client_ca: client_ca.map(|name| self.path(name)),
            }
        }
    }

    fn client(trusts: &TestCa, shows: Option<(String, String)>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(trusts.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        match shows {
            Some((cert, key)) => {
                let chain = certificates(CERT, cert.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, private_key(key.as_bytes()).unwrap()).unwrap()
            }
            None => builder.with_no_client_auth(),
        }
    }

    /// Returns `true` if a byte makes it through TLS and back.
    async fn is_served(certificates: &Certificates, client: ClientConfig) -> bool {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let serving = async {
            let mut stream = certificates.acceptor().accept(near).await?;
            let byte = stream.read_u8().await?;
            stream.write_u8(byte).await?;
            stream.shutdown().await
        };
        let asking = async {
            let name = ServerName::try_from("localhost").unwrap();
            let mut stream = TlsConnector::from(Arc::new(client)).connect(name, far).await?;
            stream.write_u8(7).await?;
            stream.read_u8().await
        };
        let (served, asked) = tokio::join!(serving, asking);
        served.is_ok() && asked.is_ok_and(|byte| byte == 7)
    }

    #[tokio::test]
    async fn a_changed_certificate_is_reloaded_and_a_bad_one_is_not() {
        let (old, new) = (authority(), authority());
        let ((cert, key), (next_cert, next_key)) = (issue(&old), issue(&new));
        let mut volume = KubernetesVolume::new(&[("cert", &cert), ("key", &key)]);
        let certificates = Certificates::load(volume.settings(None)).await.unwrap();
        assert!(is_served(&certificates, client(&old, None)).await);
        assert_eq!(certificates.reload_changed().await.unwrap(), CertificateReload::Unchanged);

        volume.swap(&[("cert", &next_cert), ("key", &key)]);
        let problem = certificates.poll_files(ReloadProblem::None).await;
        assert!(matches!(&problem, ReloadProblem::Seen(text) if text.starts_with("server.tls.key: ")), "{problem:?}");
        let problem = certificates.poll_files(problem).await;
        assert!(matches!(problem, ReloadProblem::Logged(_)), "logged when it stays");
        assert_eq!(certificates.poll_files(problem.clone()).await, problem, "and once");
        assert!(is_served(&certificates, client(&old, None)).await, "the certificate before stays in use");

        volume.swap(&[("cert", &next_cert), ("key", &next_key)]);
        assert_eq!(certificates.poll_files(problem).await, ReloadProblem::None);
        assert!(is_served(&certificates, client(&new, None)).await);
        assert!(!is_served(&certificates, client(&old, None)).await);
    }

    #[tokio::test]
    async fn with_a_client_ca_only_clients_with_its_certificates_are_served() {
        let (ours, clients) = (authority(), authority());
        let (cert, key) = issue(&ours);
        let volume = KubernetesVolume::new(&[("cert", &cert), ("key", &key), ("ca", &clients.pem())]);
        let certificates = Certificates::load(volume.settings(Some("ca"))).await.unwrap();
        assert!(is_served(&certificates, client(&ours, Some(issue(&clients)))).await);
        assert!(!is_served(&certificates, client(&ours, Some(issue(&ours)))).await);
        assert!(!is_served(&certificates, client(&ours, None)).await);
    }

    #[tokio::test]
    async fn a_tls_session_begun_under_one_authority_is_not_resumed_under_another() {
        let (ours, clients, others) = (authority(), authority(), authority());
        let (cert, key) = issue(&ours);
        let mut volume = KubernetesVolume::new(&[("cert", &cert), ("key", &key), ("ca", &clients.pem())]);
        let certificates = Certificates::load(volume.settings(Some("ca"))).await.unwrap();
        let client = client(&ours, Some(issue(&clients)));
        assert!(is_served(&certificates, client.clone()).await);
        volume.swap(&[("cert", &cert), ("key", &key), ("ca", &others.pem())]);
        assert_eq!(certificates.reload_changed().await.unwrap(), CertificateReload::Reloaded);
        assert!(!is_served(&certificates, client).await);
    }

    #[tokio::test]
    async fn files_that_cannot_be_used_are_named_by_their_key_and_stop_the_start() {
        let ours = authority();
        let (cert, key) = issue(&ours);
        let other_key = issue(&ours).1;
        for (files, key_at_fault, part) in [
            (vec![("key", key.as_str()), ("ca", cert.as_str())], CERT, "cannot read"),
            (vec![("cert", cert.as_str()), ("ca", cert.as_str())], KEY, "cannot read"),
            (vec![("cert", cert.as_str()), ("key", key.as_str())], CLIENT_CA, "cannot read"),
            (vec![("cert", "hello"), ("key", &key), ("ca", &cert)], CERT, "holds no certificate"),
            (vec![("cert", &cert), ("key", "hello"), ("ca", &cert)], KEY, "no usable private key"),
            (vec![("cert", &cert), ("key", &key), ("ca", "")], CLIENT_CA, "holds no certificate"),
            (vec![("cert", &cert), ("key", &other_key), ("ca", &cert)], KEY, "cannot be used together"),
        ] {
            let volume = KubernetesVolume::new(&files);
            let Err(error) = Certificates::load(volume.settings(Some("ca"))).await else {
                panic!("{key_at_fault} was used");
            };
            assert!(error.to_string().starts_with(&format!("{key_at_fault}: ")), "{error}");
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn a_certificate_that_ends_soon_is_warned_of_once_a_day_and_another_one_at_once() {
        let (now, day) = (Timestamp::from_unix(1_800_000_000), Duration::from_hours(24));
        let (soon, later) = (Some(now.plus(3 * day)), Some(now.plus(60 * day)));
        let told = ExpiryWarning { of: soon, at: now };
        assert_eq!(told.repeated_if_due(soon, now.plus(day / 2)), told);
        assert_eq!(told.repeated_if_due(soon, now.plus(day)).at, now.plus(day));
        let ended = now.plus(4 * day);
        assert_eq!(told.repeated_if_due(soon, ended).at, ended);
        let renewed = told.repeated_if_due(later, now.plus(day));
        assert_eq!(renewed, ExpiryWarning { of: later, at: now });
        assert_eq!(renewed.repeated_if_due(soon, now.plus(day)), ExpiryWarning { of: soon, at: now.plus(day) });
    }
}

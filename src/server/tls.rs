//! Certificates: read at start, read again when they are renewed.
//!
//! Files are compared by content, so that a Kubernetes symlink swap, a copy and a rename all count. A renewal that
//! cannot be used changes nothing. It must not know what is spoken inside TLS.

use std::{convert::Infallible, io, path::Path, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{task::spawn_blocking, time::sleep};
use tokio_rustls::TlsAcceptor;

use super::{Error, TlsSettings};
use crate::crypto;

const CERT: &str = "server.tls.cert";
const KEY: &str = "server.tls.key";
const CLIENT_CA: &str = "server.tls.client_ca";

/// How often the files are compared.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The certificate in use, and where the next one comes from.
pub(super) struct Certificates {
    settings: TlsSettings,
    current: ArcSwap<ServerConfig>,
    print: ArcSwap<Print>,
}

/// What tells one content of the files from another.
type Print = [u8; 32];

impl Certificates {
    /// Reads the files. An authority that cannot be read is an error: without it anybody would be heard.
    pub(super) async fn load(settings: TlsSettings) -> Result<Self, Error> {
        let files = Files::fetch(settings.clone()).await?;
        let current = ArcSwap::from_pointee(files.config()?);
        Ok(Self { settings, current, print: ArcSwap::from_pointee(files.print()) })
    }

    /// What handshakes that begin now are done with.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }

    /// Takes up renewed files, for as long as it is polled.
    pub(super) async fn follow(&self) -> Infallible {
        let mut trouble = Trouble::None;
        loop {
            sleep(LOOK_EVERY).await;
            trouble = self.look(trouble).await;
        }
    }

    /// Looks once whether the files have changed. What is wrong is told when it is seen for the second time: between the
    /// writing of a certificate and that of its key the two do not fit, and that is nobody's fault.
    async fn look(&self, before: Trouble) -> Trouble {
        match self.renew().await {
            Ok(Renewal::Same) => Trouble::None,
            Ok(Renewal::Taken) => {
                tracing::info!("the TLS certificate has been renewed");
                Trouble::None
            }
            Err(error) => before.seen_again(error.to_string()),
        }
    }

    async fn renew(&self) -> Result<Renewal, Error> {
        let files = Files::fetch(self.settings.clone()).await?;
        let print = files.print();
        if print == **self.print.load() {
            return Ok(Renewal::Same);
        }
        self.current.store(Arc::new(files.config()?));
        self.print.store(Arc::new(print));
        Ok(Renewal::Taken)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Renewal {
    Same,
    Taken,
}

impl TlsSettings {
    /// Whether the files can be used as they are now. Blocks while it reads them.
    pub fn try_out(&self) -> Result<(), Error> {
        Files::read(self)?.config().map(drop)
    }
}

/// What is wrong with the files, and whether it has been told.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trouble {
    None,
    Seen(String),
    Told(String),
}

impl Trouble {
    fn seen_again(self, problem: String) -> Self {
        match self {
            Self::Seen(known) if known == problem => {
                tracing::warn!(problem, "the renewed TLS files cannot be used; the certificate before stays in use");
                Self::Told(problem)
            }
            Self::Told(known) if known == problem => Self::Told(known),
            _ => Self::Seen(problem),
        }
    }
}

struct Files {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Files {
    /// Reads the files where a disk that takes its time holds nobody up.
    async fn fetch(settings: TlsSettings) -> Result<Self, Error> {
        spawn_blocking(move || Self::read(&settings)).await.expect("reading files does not panic")
    }

    fn read(settings: &TlsSettings) -> Result<Self, Error> {
        let client_ca = match &settings.client_ca {
            Some(path) => Some(read(CLIENT_CA, path)?),
            None => None,
        };
        Ok(Self { cert: read(CERT, &settings.cert)?, key: read(KEY, &settings.key)?, client_ca })
    }

    fn print(&self) -> Print {
        let parts = [Some(&self.cert), Some(&self.key), self.client_ca.as_ref()];
        let prints: Vec<u8> = parts.into_iter().flatten().flat_map(|part| crypto::digest(part)).collect();
        crypto::digest(&prints)
    }

    /// Everything anew, tickets too: a session that was begun under another authority cannot be resumed under this one.
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
        // A resumed connection takes one and brings one, and edges keep the last.
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
    use std::path::PathBuf;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::{ClientConfig, pki_types::ServerName};
    use tempfile::TempDir;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_rustls::TlsConnector;

    use super::*;

    type Authority = CertifiedIssuer<'static, KeyPair>;

    fn authority() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    /// A certificate and its key, PEM.
    fn issue(authority: &Authority) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.signed_by(&key, authority).unwrap().pem(), key.serialize_pem())
    }

    /// Files as Kubernetes mounts them: names that lead through a link that is swapped.
    struct Mount {
        directory: TempDir,
        generation: u32,
    }

    impl Mount {
        fn new(files: &[(&str, &str)]) -> Self {
            let mut mount = Self { directory: tempfile::tempdir().unwrap(), generation: 0 };
            mount.swap(files);
            for (name, _) in files {
                std::os::unix::fs::symlink(format!("..data/{name}"), mount.path(name)).unwrap();
            }
            mount
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

    fn client(trusts: &Authority, shows: Option<(String, String)>) -> ClientConfig {
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

    /// Whether a byte makes it through TLS and back.
    async fn is_heard(certificates: &Certificates, client: ClientConfig) -> bool {
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
    async fn a_renewed_certificate_is_taken_up_and_a_bad_one_is_not() {
        let (old, new) = (authority(), authority());
        let ((cert, key), (next_cert, next_key)) = (issue(&old), issue(&new));
        let mut mount = Mount::new(&[("cert", &cert), ("key", &key)]);
        let certificates = Certificates::load(mount.settings(None)).await.unwrap();
        assert!(is_heard(&certificates, client(&old, None)).await);
        assert_eq!(certificates.renew().await.unwrap(), Renewal::Same);

        mount.swap(&[("cert", &next_cert), ("key", &key)]);
        let trouble = certificates.look(Trouble::None).await;
        assert!(matches!(&trouble, Trouble::Seen(text) if text.starts_with("server.tls.key: ")), "{trouble:?}");
        let trouble = certificates.look(trouble).await;
        assert!(matches!(trouble, Trouble::Told(_)), "told when it stays");
        assert_eq!(certificates.look(trouble.clone()).await, trouble, "and once");
        assert!(is_heard(&certificates, client(&old, None)).await, "the certificate before stays in use");

        mount.swap(&[("cert", &next_cert), ("key", &next_key)]);
        assert_eq!(certificates.look(trouble).await, Trouble::None);
        assert!(is_heard(&certificates, client(&new, None)).await);
        assert!(!is_heard(&certificates, client(&old, None)).await);
    }

    #[tokio::test]
    async fn with_an_authority_for_clients_only_those_it_vouches_for_are_heard() {
        let (ours, clients) = (authority(), authority());
        let (cert, key) = issue(&ours);
        let mount = Mount::new(&[("cert", &cert), ("key", &key), ("ca", &clients.pem())]);
        let certificates = Certificates::load(mount.settings(Some("ca"))).await.unwrap();
        assert!(is_heard(&certificates, client(&ours, Some(issue(&clients)))).await);
        assert!(!is_heard(&certificates, client(&ours, Some(issue(&ours)))).await);
        assert!(!is_heard(&certificates, client(&ours, None)).await);
    }

    #[tokio::test]
    async fn a_session_begun_under_one_authority_is_not_resumed_under_another() {
        let (ours, clients, others) = (authority(), authority(), authority());
        let (cert, key) = issue(&ours);
        let mut mount = Mount::new(&[("cert", &cert), ("key", &key), ("ca", &clients.pem())]);
        let certificates = Certificates::load(mount.settings(Some("ca"))).await.unwrap();
        let client = client(&ours, Some(issue(&clients)));
        assert!(is_heard(&certificates, client.clone()).await);
        mount.swap(&[("cert", &cert), ("key", &key), ("ca", &others.pem())]);
        assert_eq!(certificates.renew().await.unwrap(), Renewal::Taken);
        assert!(!is_heard(&certificates, client).await);
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
            let mount = Mount::new(&files);
            let Err(error) = Certificates::load(mount.settings(Some("ca"))).await else {
                panic!("{key_at_fault} was used");
            };
            assert!(error.to_string().starts_with(&format!("{key_at_fault}: ")), "{error}");
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}

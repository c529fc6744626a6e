//! HTTP transport: trust anchors, kept connections and stale connections.

use std::{fs, io::Write as _, sync::Arc};

use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tempfile::NamedTempFile;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;
use url::Url;

use super::{fake_provider::spawn, settings};
use crate::oidc::{HttpTransport, Pem, TransportError, TrustAnchorError};

pub(super) fn file(content: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(content.as_bytes()).unwrap();
    file
}

/// Returns a file as the configuration reads it.
pub(super) fn pem(file: &NamedTempFile) -> Pem {
    Pem { path: file.path().to_owned(), content: fs::read(file.path()).unwrap().into() }
}

/// Returns a TLS acceptor for `localhost` with these ALPN protocols, and the certificate to trust.
pub(super) fn acceptor(protocols: &[&[u8]]) -> (TlsAcceptor, String) {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    (TlsAcceptor::from(Arc::new(config)), own.cert.pem())
}

/// Starts an https server that answers with the HTTP version of the request. Returns its address and its certificate.
async fn https() -> (Url, String) {
    let (acceptor, certificate) = acceptor(&[b"h2", b"http/1.1"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("https://localhost:{}/", listener.local_addr().unwrap().port())).unwrap();
    spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let service = service_fn(async |request: http::Request<Incoming>| {
                Ok::<_, std::convert::Infallible>(http::Response::new(Full::<bytes::Bytes>::from(format!(
                    "{:?}",
                    request.version()
                ))))
            });
            spawn(async move {
                let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (url, certificate)
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_ca_file_names_it() {
    let (url, certificate) = https().await;
    let mut settings = settings(url.as_str());
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let wrong = file(&other.cert.pem());
    settings.ca = Some(pem(&wrong));
    let failure = HttpTransport::new(&settings).unwrap().get(&url, None).await.unwrap_err();
    assert!(matches!(failure, TransportError::UntrustedCertificate(_)), "{failure:?}");
    assert!(failure.to_string().contains("ca_file"), "{failure}");

    let right = file(&certificate);
    settings.ca = Some(pem(&right));
    let response = HttpTransport::new(&settings).unwrap().get(&url, None).await.unwrap();
    assert_eq!(response.body(), b"HTTP/2.0", "ALPN chose");
}

#[test]
fn a_ca_file_that_cannot_be_used_is_an_error() {
    let empty = file("");
    let broken = file("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let garbled = file("-----BEGIN CERTIFICATE-----\n!\n");
    for (file, expected) in [(empty, "no certificate"), (broken, "mend"), (garbled, "mend")] {
        let mut settings = settings("https://id.example.com/");
        settings.ca = Some(pem(&file));
        let error: TrustAnchorError = HttpTransport::new(&settings).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(expected) && text.contains(file.path().to_str().unwrap()), "{text}");
    }
}

#[tokio::test]
async fn nothing_leaves_in_clear_for_an_https_issuer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/token", listener.local_addr().unwrap())).unwrap();
    let (_, certificate) = https().await;
    let trusted = file(&certificate);
    let mut settings = settings("https://id.example.com/");
    settings.ca = Some(pem(&trusted));
    let failure = HttpTransport::new(&settings).unwrap().get(&url, None).await.unwrap_err();
    assert!(matches!(failure, TransportError::Cleartext), "{failure:?}");
}

/// Answers one request on each of `connections` connections without `Connection: close`, and closes them all the same.
/// Returns the number of requests.
async fn close_after_each_response(listener: TcpListener, connections: usize) -> usize {
    let mut requests = 0;
    for _ in 0..connections {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        if stream.read(&mut request).await.unwrap() > 0 {
            requests += 1;
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
    }
    requests
}

#[tokio::test]
async fn a_stale_pooled_connection_is_replaced() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let transport = HttpTransport::new(&settings(url.as_str())).unwrap();
    let client = async {
        for _ in 0..5 {
            assert_eq!(transport.get(&url, None).await.unwrap().body(), b"{}");
        }
    };
    let (requests, ()) = tokio::join!(close_after_each_response(listener, 5), client);
    assert_eq!(requests, 5);
}

#[tokio::test]
async fn a_connection_is_pooled_for_the_next_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let transport = HttpTransport::new(&settings(url.as_str())).unwrap();
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        for _ in 0..3 {
            let mut request = [0; 4096];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
        }
    };
    let client = async {
        for _ in 0..3 {
            transport.get(&url, None).await.unwrap();
        }
    };
    tokio::join!(server, client);
}

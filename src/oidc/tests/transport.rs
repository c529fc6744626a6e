//! HTTP transport: trust anchors, kept connections and stale connections.

use std::{
    fs,
    io::Write as _,
    sync::{Arc, Mutex},
};

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

use super::{
    RelyingParty,
    fake_provider::{FakeProvider, spawn},
    settings,
};
use crate::{
    client_tls::{Pem, TrustAnchorError},
    oidc::{HttpTransport, ProxyAddress, ProxySetting, TransportError},
};

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
    (acceptor_of(own.cert.der().clone(), &own.signing_key, protocols), own.cert.pem())
}

fn acceptor_of(
    certificate: rustls_pki_types::CertificateDer<'static>,
    key: &rcgen::KeyPair,
    protocols: &[&[u8]],
) -> TlsAcceptor {
    let key = rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// Starts an https server that answers with the HTTP version of the request. Returns its address and its certificate.
async fn https() -> (Url, String) {
    let (acceptor, certificate) = acceptor(&[b"h2", b"http/1.1"]);
    (serve_versions(acceptor).await, certificate)
}

async fn serve_versions(acceptor: TlsAcceptor) -> Url {
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
    url
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

/// A certificate for `localhost` that calls itself an authority, as `openssl req -x509` makes it.
fn self_signed_authority(name: &str, from: i32, until: i32) -> (TlsAcceptor, String) {
    let mut params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let own = params.self_signed(&key).unwrap();
    (acceptor_of(own.der().clone(), &key, &[b"http/1.1"]), own.pem())
}

#[tokio::test]
async fn the_very_certificate_counts_where_ca_file_names_it() {
    for (name, from, until, fault, mend) in [
        ("localhost", 2000, 2100, None, ""),
        ("other.example.com", 2000, 2100, Some("not for localhost but for other.example.com"), "issuer"),
        ("localhost", 2000, 2001, Some("expired"), "renew"),
        ("localhost", 2099, 2100, Some("not valid before 2099-01-01"), "clock"),
    ] {
        let (acceptor, certificate) = self_signed_authority(name, from, until);
        let url = serve_versions(acceptor).await;
        let mut settings = settings(url.as_str());
        let named = file(&certificate);
        settings.ca = Some(pem(&named));
        let result = HttpTransport::new(&settings).unwrap().get(&url, None).await;
        let text = result.as_ref().err().map(ToString::to_string);
        match fault {
            None => assert_eq!(result.unwrap().status(), 200),
            Some(fault) => {
                let text = text.unwrap_or_default();
                assert!(text.contains(fault) && text.contains(mend) && !text.contains("ca_file"), "{text}");
            }
        }
    }
    let (acceptor, _) = self_signed_authority("localhost", 2000, 2100);
    let url = serve_versions(acceptor).await;
    let mut settings = settings(url.as_str());
    let other = file(&self_signed_authority("localhost", 2000, 2100).1);
    settings.ca = Some(pem(&other));
    let failure = HttpTransport::new(&settings).unwrap().get(&url, None).await.unwrap_err();
    assert!(failure.to_string().contains("ca_file"), "another one of the same name is not named: {failure}");
}

/// A forward proxy that knows every name as `target`. Returns its address and the first lines of what it was asked.
async fn forward_proxy(target: std::net::SocketAddr) -> (Url, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://user:secret@{}", listener.local_addr().unwrap()).parse().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&asked);
    spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(client.read_u8().await.unwrap());
            }
            let text = String::from_utf8(head.clone()).unwrap();
            all.lock().unwrap().push(text.clone());
            let mut server = tokio::net::TcpStream::connect(target).await.unwrap();
            if text.starts_with("CONNECT ") {
                client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
            } else {
                server.write_all(&head).await.unwrap();
            }
            spawn(async move {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (url, asked)
}

#[tokio::test]
async fn a_proxy_tunnels_https_and_is_asked_for_http() {
    let (acceptor, certificate) = acceptor(&[b"h2", b"http/1.1"]);
    let behind = serve_versions(acceptor).await;
    let port = behind.port().unwrap();
    let (proxy, asked) = forward_proxy(([127, 0, 0, 1], port).into()).await;
    let mut own = settings("https://localhost/");
    let named = file(&certificate);
    own.ca = Some(pem(&named));
    own.proxy = ProxySetting::Address(ProxyAddress::parse(proxy.as_str()).unwrap());
    let transport = HttpTransport::new(&own).unwrap();
    let url: Url = "https://localhost/token".parse().unwrap();
    let response = transport.get(&url, None).await.unwrap();
    assert_eq!(response.body(), b"HTTP/2.0", "TLS is with the provider, and ALPN chose");
    let said = asked.lock().unwrap().remove(0);
    assert!(said.starts_with("CONNECT localhost:443 HTTP/1.1\r\n"), "{said}");
    assert!(said.contains("Proxy-Authorization: Basic dXNlcjpzZWNyZXQ="), "{said}");
    let shown = transport.proxy_of(&url).unwrap();
    assert!(shown.starts_with("http://127.0.0.1:") && !shown.contains("secret"), "{shown}");

    let fake = FakeProvider::start().await;
    let (proxy, asked) = forward_proxy(fake.address).await;
    let mut own = settings("http://id.example.test/o/doorward/");
    fake.script().issuer = own.issuer.to_string();
    own.proxy = ProxySetting::Address(ProxyAddress::parse(proxy.as_str()).unwrap());
    RelyingParty::new(own).redeem().await.unwrap();
    let said = asked.lock().unwrap().join("");
    let target = "GET http://id.example.test/o/doorward/.well-known/openid-configuration HTTP/1.1\r\n";
    assert!(said.contains(target) && said.contains("proxy-authorization: Basic"), "{said}");
}

#[tokio::test]
async fn a_proxy_that_cannot_be_reached_is_named_without_its_password() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://user:secret@{}", listener.local_addr().unwrap());
    drop(listener);
    let mut own = settings("http://id.example.test/");
    own.proxy = ProxySetting::Address(ProxyAddress::parse(&address).unwrap());
    let failure = HttpTransport::new(&own).unwrap().get(&own.issuer, None).await.unwrap_err().to_string();
    assert!(failure.contains("by way of the proxy http://127.0.0.1:") && !failure.contains("secret"), "{failure}");
}

#[tokio::test]
async fn the_gate_asks_inside_and_browsers_go_to_the_issuer() {
    let fake = FakeProvider::start().await;
    let mut own = settings("https://id.example.test/o/doorward/");
    fake.script().issuer = own.issuer.to_string();
    fake.claims(serde_json::json!({ "groups": null }));
    fake.script().userinfo = Some(serde_json::json!({ "sub": "subject-1", "groups": ["inside"] }));
    own.internal_url = Some(format!("http://{}", fake.address).parse().unwrap());
    let rp = RelyingParty::new(own);
    let signed_in = rp.redeem().await.unwrap();
    assert_eq!(signed_in.identity.groups, ["inside"]);
    for (endpoint, requests) in [("openid-configuration", 1), ("jwks", 1), ("token", 1), ("userinfo", 1)] {
        assert_eq!(fake.requests(endpoint), requests, "{endpoint}");
    }
    let headers = fake.script().last_headers.clone();
    assert_eq!(headers["host"], "id.example.test");
    assert_eq!(headers["x-forwarded-host"], "id.example.test");
    assert_eq!(headers["x-forwarded-proto"], "https");
    let browser = rp.authorize().await.unwrap();
    assert!(browser.as_str().starts_with("https://id.example.test/o/doorward/authorize?"), "{browser}");
}

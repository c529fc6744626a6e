//! Tests of the pooled client, against real servers on loopback.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Body as _, Frame, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tower::BoxError;
use url::Url;

use super::{Error, RequestBody, Settings, Upstream, Upstreams, empty, resolver::Resolver};
use crate::{
    client_tls::Pem,
    metrics::{self, Metrics, UpstreamState},
};

/// Longer than any step of a test takes.
const PATIENCE: Duration = Duration::from_secs(20);

type TestBody = UnsyncBoxBody<Bytes, Infallible>;

/// Server that counts connections and requests.
struct CountingServer {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl CountingServer {
    /// A server that answers with `serve`.
    async fn start<F>(serve: impl Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response<TestBody>> + Send + 'static,
    {
        Self::at("127.0.0.1:0".parse().unwrap(), None, serve).await
    }

    async fn at<F>(
        address: SocketAddr,
        tls: Option<TlsAcceptor>,
        serve: impl Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response<TestBody>> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, requests) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (opened, asked) = (Arc::clone(&connections), Arc::clone(&requests));
        let task = spawn(async move {
            // Ends, with its connections, when the server is stopped.
            let mut served = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                opened.fetch_add(1, Ordering::SeqCst);
                let (serve, asked, tls) = (serve.clone(), Arc::clone(&asked), tls.clone());
                served.spawn(async move {
                    let service = service_fn(move |request| {
                        asked.fetch_add(1, Ordering::SeqCst);
                        let answer = serve(request);
                        async move { Ok::<_, Infallible>(answer.await) }
                    });
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let _ended = match tls {
                        None => builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await,
                        Some(tls) => {
                            let Ok(stream) = tls.accept(stream).await else { return };
                            builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await
                        }
                    };
                });
            }
        });
        Self { address, connections, requests, task }
    }

    fn settings(&self) -> Settings {
        settings(&format!("http://{}", self.address))
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Stops it: its connections are cut.
    async fn stop(self) -> SocketAddr {
        self.task.abort();
        let _aborted = self.task.await;
        self.address
    }
}

#[expect(clippy::disallowed_methods, reason = "a test has no `Tasks`; its runtime ends what it spawned")]
fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> tokio::task::JoinHandle<T> {
    tokio::spawn(work)
}

fn settings(url: &str) -> Settings {
    Settings::new(Url::parse(url).unwrap())
}

fn whole(text: impl Into<Bytes>) -> TestBody {
    Full::new(text.into()).boxed_unsync()
}

async fn hello(_: Request<Incoming>) -> Response<TestBody> {
    Response::new(whole("hello"))
}

fn metrics() -> Metrics {
    Metrics::new(&metrics::Settings { backend: "memory", version: "0", commit: "none" })
}

fn client(settings: Settings) -> Upstream {
    let metrics = metrics().upstreams.of(&settings.origin());
    Upstream::new(settings, metrics).unwrap()
}

fn get(target: &str) -> Request<RequestBody> {
    Request::get(target).header(header::HOST, "app.example.com").body(empty()).unwrap()
}

fn post(body: RequestBody) -> Request<RequestBody> {
    Request::post("/").header(header::HOST, "app.example.com").body(body).unwrap()
}

fn bytes(text: &'static str) -> RequestBody {
    Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync()
}

/// Returns a body that is sent as it comes.
fn streamed() -> (mpsc::Sender<Result<&'static str, BoxError>>, RequestBody) {
    let (sender, receiver) = mpsc::channel(1);
    let frames = stream::unfold(receiver, async |mut receiver| {
        let sent: Result<&'static str, BoxError> = receiver.recv().await?;
        Some((sent.map(|text| Frame::data(Bytes::from(text))), receiver))
    });
    (sender, StreamBody::new(frames).boxed_unsync())
}

async fn text(client: &Upstream, request: Request<RequestBody>) -> Result<String, Error> {
    let response = timeout(PATIENCE, client.send(request)).await.expect("it is answered")?;
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

#[test]
fn a_configuration_that_keeps_an_upstream_keeps_its_connections() {
    let upstreams = Upstreams::new(metrics().upstreams);
    let (app, other) = (settings("http://app:3000/"), settings("http://app:3001/"));
    let first = upstreams.prepare([&app].into_iter()).unwrap();
    let second = upstreams.prepare([&other, &app].into_iter()).unwrap();
    let client = |set: &super::ConfiguredUpstreams, settings| set.get(settings).map(Arc::clone).unwrap();
    assert!(Arc::ptr_eq(&client(&first, &app), &client(&second, &app)));
    assert!(!Arc::ptr_eq(&client(&second, &app), &client(&second, &other)));
    assert!(first.get(&other).is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_requests_at_sixty_four_at_a_time_open_at_most_sixty_four_connections() {
    let server = CountingServer::start(hello).await;
    let metrics = metrics().upstreams.of("it");
    let client = Arc::new(Upstream::new(server.settings(), metrics.clone()).unwrap());
    let left = Arc::new(AtomicUsize::new(10_000));
    let workers = (0..64).map(|_| {
        let (client, left) = (Arc::clone(&client), Arc::clone(&left));
        spawn(async move {
            while left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
                assert_eq!(text(&client, get("/a?b=c")).await.unwrap(), "hello");
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
    assert_eq!(server.requests.load(Ordering::SeqCst), 10_000);
    assert!(server.connections() <= 64, "{} connections", server.connections());
    let count = |state| metrics.connections(state).get();
    assert_eq!(count(UpstreamState::Used), 0);
    assert_eq!(usize::try_from(count(UpstreamState::Idle)).unwrap(), server.connections());
    drop(client);
    assert_eq!(count(UpstreamState::Idle), 0, "nothing is left behind");
}

#[tokio::test]
async fn a_request_reaches_the_path_below_the_address_with_the_headers_that_it_has() {
    let server = CountingServer::start(async |request: Request<Incoming>| {
        let host = request.headers()[header::HOST].to_str().unwrap().to_owned();
        Response::new(whole(format!("{} {host}", request.uri())))
    })
    .await;
    let client = client(settings(&format!("http://{}/base/", server.address)));
    assert_eq!(text(&client, get("/a%2Fb?x=/..")).await.unwrap(), "/base/a%2Fb?x=/.. app.example.com");
}

#[tokio::test]
async fn a_server_that_starts_anew_costs_no_request_that_can_be_sent_again() {
    let server = CountingServer::start(hello).await;
    let client = client(server.settings());
    for body in [None, Some("posted")] {
        let request = || body.map_or_else(|| get("/"), |text| post(bytes(text)));
        text(&client, request()).await.unwrap();
    }
    let address = server.stop().await;
    let server = CountingServer::at(address, None, hello).await;
    assert_eq!(text(&client, get("/")).await.unwrap(), "hello");
    let address = server.stop().await;
    let _again = CountingServer::at(address, None, hello).await;
    // The connection is known to be closed, or nothing is sent on it.
    assert_eq!(text(&client, post(bytes("posted"))).await.unwrap(), "hello");
}

/// Starts a server that reads one request on each connection, answers it, and cuts the connection once it has read another.
async fn start_cutting() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, requests) = (listener.local_addr().unwrap(), Arc::<AtomicUsize>::default());
    let counted = Arc::clone(&requests);
    spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let counted = Arc::clone(&counted);
            spawn(async move {
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer).await.unwrap_or(0) > 0 {
                    if counted.fetch_add(1, Ordering::SeqCst) % 2 == 1 {
                        return;
                    }
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await.unwrap();
                }
            });
        }
    });
    (address, requests)
}

#[tokio::test]
async fn a_connection_that_is_cut_under_a_request_is_replaced_once_and_only_where_that_is_safe() {
    let (address, requests) = start_cutting().await;
    let client = client(settings(&format!("http://{address}")));
    text(&client, get("/")).await.unwrap();
    assert_eq!(text(&client, get("/")).await.unwrap(), "hello");
    assert_eq!(requests.load(Ordering::SeqCst), 3, "one was sent twice");

    // What it did with this one nobody knows.
    let error = text(&client, post(bytes("posted"))).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    assert_eq!(requests.load(Ordering::SeqCst), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_moves_under_load_refuses_nobody() {
    let first = CountingServer::start(hello).await;
    let second = CountingServer::start(hello).await;
    let told = Arc::new(Mutex::new(first.address));
    let resolver = {
        let told = Arc::clone(&told);
        Resolver::Told(Arc::new(move || vec![*told.lock().unwrap()]))
    };
    let metrics = metrics().upstreams.of("it");
    let client = Arc::new(Upstream::with_resolver(settings("http://moving.test/"), metrics, resolver).unwrap());
    let stop = Arc::<std::sync::atomic::AtomicBool>::default();
    let workers: Vec<_> = (0..16)
        .map(|_| {
            let (client, stop) = (Arc::clone(&client), Arc::clone(&stop));
            spawn(async move {
                let mut answered = 0;
                while !stop.load(Ordering::SeqCst) {
                    assert_eq!(text(&client, get("/")).await.unwrap(), "hello");
                    answered += 1;
                }
                answered
            })
        })
        .collect();
    let reached = async |server: &CountingServer, requests: usize| {
        let enough = async {
            while server.requests.load(Ordering::SeqCst) < requests {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, enough).await.expect("the load reaches it");
    };
    reached(&first, 500).await;
    *told.lock().unwrap() = second.address;
    first.stop().await;
    reached(&second, 500).await;
    stop.store(true, Ordering::SeqCst);
    for worker in workers {
        assert!(worker.await.unwrap() > 0);
    }
}

#[tokio::test]
async fn all_addresses_of_a_name_are_tried() {
    let server = CountingServer::start(hello).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let addresses = vec![closed, server.address];
    let resolver = Resolver::Told(Arc::new(move || addresses.clone()));
    let client = Upstream::with_resolver(settings("http://two.test/"), metrics().upstreams.of("it"), resolver).unwrap();
    assert_eq!(text(&client, get("/")).await.unwrap(), "hello");
}

#[tokio::test]
async fn an_upstream_that_refuses_or_is_slow_is_told_apart() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let refusing = client(settings(&format!("http://{closed}")));
    let error = text(&refusing, get("/")).await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable(text) if text.contains("refused")), "{error}");

    let slow = CountingServer::start(async |_| std::future::pending().await).await;
    let slow = client(Settings { first_byte_timeout: Duration::from_millis(100), ..slow.settings() });
    let error = text(&slow, get("/")).await.unwrap_err();
    assert!(matches!(error, Error::Timeout(_)), "{error}");
}

#[tokio::test]
async fn an_upload_may_take_longer_than_the_first_byte_but_not_stand_still() {
    let server = CountingServer::start(async |request: Request<Incoming>| {
        let read = request.into_body().collect().await;
        Response::new(whole(read.map(http_body_util::Collected::to_bytes).unwrap_or_default()))
    })
    .await;
    let limits = Settings {
        first_byte_timeout: Duration::from_millis(250),
        silence_timeout: Duration::from_secs(5),
        ..server.settings()
    };
    let client = client(limits.clone());
    let (sender, body) = streamed();
    let sending = async {
        let begun = tokio::time::Instant::now();
        while begun.elapsed() < 3 * limits.first_byte_timeout {
            sender.send(Ok("x")).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        drop(sender);
    };
    let (sent, ()) = tokio::join!(text(&client, post(body)), sending);
    assert!(!sent.unwrap().is_empty());

    let client = self::client(Settings { silence_timeout: Duration::from_millis(100), ..limits });
    let (_silent, body) = streamed();
    let error = text(&client, post(body)).await.unwrap_err();
    assert!(matches!(error, Error::Request(_)), "{error}");

    let (sender, body) = streamed();
    sender.send(Err("gone".into())).await.unwrap();
    let error = text(&client, post(body)).await.unwrap_err();
    assert!(matches!(error, Error::Request(_)), "a client that breaks off is no failure of the upstream: {error}");
}

#[tokio::test]
async fn a_response_that_stands_still_is_an_error_and_its_connection_is_not_used_again() {
    let server = CountingServer::start(async |request: Request<Incoming>| {
        if request.uri() == "/still" {
            let frames = stream::iter([Ok(Frame::data(Bytes::from("some")))]).chain(stream::pending());
            return Response::new(StreamBody::new(frames).boxed_unsync());
        }
        Response::new(whole("hello"))
    })
    .await;
    let client = client(Settings { silence_timeout: Duration::from_millis(100), ..server.settings() });
    let mut body = client.send(get("/still")).await.unwrap().into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "some");
    body.frame().await.unwrap().unwrap_err();
    assert_eq!(text(&client, get("/")).await.unwrap(), "hello");
    assert_eq!(server.connections(), 2);

    // A response of which nobody reads the end is none that a connection could go on behind.
    drop(client.send(get("/still")).await.unwrap());
    assert_eq!(text(&client, get("/")).await.unwrap(), "hello");
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn a_connection_is_kept_for_less_time_than_the_upstream_says() {
    let server = CountingServer::start(async |_| {
        let mut response = Response::new(whole("hello"));
        response.headers_mut().insert("keep-alive", "timeout=1, max=100".parse().unwrap());
        response
    })
    .await;
    let client = client(server.settings());
    for _ in 0..3 {
        text(&client, get("/")).await.unwrap();
    }
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn an_upgraded_connection_is_nobody_elses_and_counts_until_it_ends() {
    let server = CountingServer::start(async |mut request: Request<Incoming>| {
        let Some(protocol) = request.headers().get(header::UPGRADE).cloned() else { return hello(request).await };
        spawn(async move {
            let mut io = TokioIo::new(hyper::upgrade::on(&mut request).await.unwrap());
            let mut word = [0; 4];
            io.read_exact(&mut word).await.unwrap();
            io.write_all(&word).await.unwrap();
        });
        let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
        response.header(header::CONNECTION, "upgrade").header(header::UPGRADE, protocol).body(whole("")).unwrap()
    })
    .await;
    let metrics = metrics().upstreams.of("it");
    let client = Upstream::new(server.settings(), metrics.clone()).unwrap();
    text(&client, get("/")).await.unwrap();
    let mut request = get("/ws");
    request.headers_mut().insert(header::CONNECTION, "upgrade".parse().unwrap());
    request.headers_mut().insert(header::UPGRADE, "words".parse().unwrap());
    let mut response = client.send(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let mut io = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    io.write_all(b"echo").await.unwrap();
    let mut word = [0; 4];
    io.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"echo");
    text(&client, get("/")).await.unwrap();
    assert_eq!(server.connections(), 2, "it has one of its own");
    assert_eq!(metrics.connections(UpstreamState::Used).get(), 1);
    drop(response);
    assert_eq!(metrics.connections(UpstreamState::Used).get(), 0);
}

/// Makes an authority, and a server's TLS with a certificate of it for `localhost`.
fn tls(protocols: &[&str]) -> (Pem, TlsAcceptor) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.serialize_der().try_into().unwrap())
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let pem = Pem { path: "/ca.pem".into(), content: authority.pem().into_bytes().into() };
    (pem, TlsAcceptor::from(Arc::new(config)))
}

async fn version(request: Request<Incoming>) -> Response<TestBody> {
    let authority = request.uri().authority().map(ToString::to_string);
    let host = authority.unwrap_or_else(|| request.headers()[header::HOST].to_str().unwrap().to_owned());
    let kind = if request.version() == Version::HTTP_2 { "h2" } else { "h1" };
    Response::new(whole(format!("{kind} {host}{}", request.uri().path())))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_2_is_spoken_where_it_is_offered_over_one_connection() {
    for (protocols, kind, most) in [(&["h2", "http/1.1"][..], "h2", 1), (&["http/1.1"], "h1", 32), (&[], "h1", 32)] {
        let (ca, acceptor) = tls(protocols);
        let server = CountingServer::at("127.0.0.1:0".parse().unwrap(), Some(acceptor), version).await;
        let url = format!("https://localhost:{}/", server.address.port());
        let client = Arc::new(client(Settings { ca: Some(ca), ..settings(&url) }));
        let asking = (0..32).map(|_| {
            let client = Arc::clone(&client);
            spawn(async move { text(&client, get("/x")).await.unwrap() })
        });
        for answer in asking.collect::<Vec<_>>() {
            assert_eq!(answer.await.unwrap(), format!("{kind} app.example.com/x"));
        }
        assert!(server.connections() <= most, "{kind}: {} connections", server.connections());
    }
}

#[tokio::test]
async fn trailers_are_asked_for_in_both_versions() {
    let options = async |request: Request<Incoming>| {
        let header = |name: &str| request.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        Response::new(whole(format!("{} {}", header("te"), header("connection"))))
    };
    for (protocols, expected) in [(&["h2"][..], "trailers "), (&["http/1.1"], "trailers te")] {
        let (ca, acceptor) = tls(protocols);
        let server = CountingServer::at("127.0.0.1:0".parse().unwrap(), Some(acceptor), options).await;
        let url = format!("https://localhost:{}/", server.address.port());
        let client = client(Settings { ca: Some(ca), ..settings(&url) });
        let mut request = get("/");
        request.headers_mut().insert(header::TE, "trailers".parse().unwrap());
        request.headers_mut().insert(header::CONNECTION, "te".parse().unwrap());
        assert_eq!(text(&client, request).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn an_authority_that_is_not_known_is_named_with_its_mend() {
    let (_, acceptor) = tls(&[]);
    let server = CountingServer::at("127.0.0.1:0".parse().unwrap(), Some(acceptor), version).await;
    let client = client(settings(&format!("https://localhost:{}/", server.address.port())));
    let error = text(&client, get("/")).await.unwrap_err().to_string();
    assert!(error.contains("signed by an authority that is not known here; mend:"), "{error}");
}

#[tokio::test]
async fn an_answer_before_the_end_of_an_upload_costs_its_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    spawn(async move {
        loop {
            let (mut stream, _): (TcpStream, _) = listener.accept().await.unwrap();
            spawn(async move {
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer).await.unwrap_or(0) > 0 {
                    stream.write_all(b"HTTP/1.1 413 No\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                }
            });
        }
    });
    let metrics = metrics().upstreams.of("it");
    let client = Upstream::new(settings(&format!("http://{address}")), metrics.clone()).unwrap();
    let (sender, body) = streamed();
    sender.send(Ok("x")).await.unwrap();
    let response = timeout(PATIENCE, client.send(post(body))).await.unwrap().unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert!(response.body().is_end_stream());
    assert_eq!(metrics.connections(UpstreamState::Idle).get(), 0);
    assert_eq!(client.send(get("/")).await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(metrics.connections(UpstreamState::Idle).get(), 1);
}

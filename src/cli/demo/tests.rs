//! Tests of the whole demo, with a client that behaves like a browser.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use cookie::Cookie;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client as Http, connect::HttpConnector},
    rt::TokioExecutor,
};

use super::*;

/// Limit of redirects, so that a loop fails instead of hanging.
const MAX_REDIRECTS: usize = 10;

/// A demo that runs on free ports.
struct RunningDemo {
    origins: DemoOrigins,
    stop: Signal,
    tasks: Tasks,
}

impl RunningDemo {
    async fn new() -> Self {
        let demo = Demo::build(Some(0)).await.unwrap();
        let (origins, stop) = (demo.origins, Signal::default());
        let (tasks, own) = (Tasks::new(stop.clone()), stop.clone());
        tasks.spawn(async move { demo.run(own).await.unwrap() });
        Self { origins, stop, tasks }
    }

    fn notes(&self, target: &str) -> Url {
        Url::parse(&format!("{}{target}", self.origins.app(SampleApp::Notes))).unwrap()
    }

    fn admin(&self, target: &str) -> Url {
        Url::parse(&format!("{}{target}", self.origins.app(SampleApp::Admin))).unwrap()
    }

    async fn stopped(self) {
        self.stop.raise();
        self.tasks.joined().await;
    }
}

/// Client with the relevant behaviour of a browser: names below `.localhost` are this machine, cookies belong to a host.
struct TestBrowser {
    http: Http<HttpConnector, Full<Bytes>>,
    cookies: HashMap<String, BTreeMap<String, String>>,
}

struct BrowserPage {
    at: Url,
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl TestBrowser {
    fn new() -> Self {
        Self { http: Http::builder(TokioExecutor::new()).build_http(), cookies: HashMap::new() }
    }

    async fn send(&mut self, method: Method, url: &Url, headers: &[(&str, &str)], form: &str) -> BrowserPage {
        let host = url.host_str().unwrap().to_owned();
        let port = url.port().unwrap();
        let named = format!("{host}:{port}");
        let target = &url[url::Position::BeforePath..];
        let request = headers
            .iter()
            .fold(Request::builder().method(method), |request, (name, value)| request.header(*name, *value))
            .uri(format!("http://127.0.0.1:{port}{target}"))
            .header(header::HOST, named)
            .header(header::COOKIE, self.jar(&host))
            .body(Full::from(form.to_owned()))
            .unwrap();
        let (parts, body) = self.http.request(request).await.unwrap().into_parts();
        for line in parts.headers.get_all(header::SET_COOKIE) {
            self.keep(&host, &Cookie::parse(line.to_str().unwrap()).unwrap());
        }
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        BrowserPage { at: url.clone(), status: parts.status, headers: parts.headers, body }
    }

    fn jar(&self, host: &str) -> String {
        let own = self.cookies.get(host).into_iter().flatten();
        own.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    fn keep(&mut self, host: &str, line: &Cookie<'_>) {
        let own = self.cookies.entry(host.to_owned()).or_default();
        if line.max_age().is_some_and(cookie::time::Duration::is_zero) {
            own.remove(line.name());
        } else {
            own.insert(line.name().to_owned(), line.value().to_owned());
        }
    }

    /// Opens a page and follows redirects.
    async fn open(&mut self, url: &Url) -> BrowserPage {
        let shown = self.send(Method::GET, url, &PAGE, "").await;
        self.follow(shown).await
    }

    async fn follow(&mut self, mut shown: BrowserPage) -> BrowserPage {
        for _ in 0..MAX_REDIRECTS {
            let Some(location) = shown.headers.get(header::LOCATION) else { return shown };
            let next = Url::parse(location.to_str().unwrap()).unwrap();
            shown = self.send(Method::GET, &next, &PAGE, "").await;
        }
        panic!("redirect loop, last at {}", shown.at);
    }

    /// Chooses a user on the provider's page.
    async fn choose(&mut self, shown: &BrowserPage, user: &str) -> BrowserPage {
        assert!(shown.body.contains(&format!("Sign in as {user}")), "this is not the provider's page: {}", shown.body);
        let answer = self.send(Method::POST, &shown.at, &PAGE, &format!("user={user}")).await;
        self.follow(answer).await
    }
}

const PAGE: [(&str, &str); 3] =
    [("accept", "text/html"), ("sec-fetch-mode", "navigate"), ("sec-fetch-site", "same-origin")];

#[tokio::test]
async fn alice_signs_in_once_and_reaches_both_apps() {
    let demo = RunningDemo::new().await;
    let mut browser = TestBrowser::new();
    let asked = browser.open(&demo.notes("/a%2Fb?x=1&y=%20")).await;
    assert_eq!(asked.at.host_str(), Some("127.0.0.1"), "the provider asks who it is");
    let shown = browser.choose(&asked, "alice").await;
    assert_eq!((shown.status, &shown.at), (StatusCode::OK, &demo.notes("/a%2Fb?x=1&y=%20")));
    assert!(shown.body.contains("Hello, alice"), "{}", shown.body);
    let other = browser.open(&demo.admin("/")).await;
    assert_eq!((other.status, &other.at), (StatusCode::OK, &demo.admin("/")), "nobody asks again");
    assert!(other.body.contains("admins,staff"), "{}", other.body);
    demo.stopped().await;
}

#[tokio::test]
async fn bob_is_refused_at_the_app_of_admins() {
    let demo = RunningDemo::new().await;
    let mut browser = TestBrowser::new();
    let asked = browser.open(&demo.admin("/")).await;
    let refused = browser.choose(&asked, "bob").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.body);
    assert_eq!(refused.headers["doorward-reason"], "group_missing");
    let shown = browser.open(&demo.notes("/")).await;
    assert!(shown.body.contains("Hello, bob"), "{}", shown.body);
    demo.stopped().await;
}

#[tokio::test]
async fn signing_out_ends_the_session_here_and_at_the_provider() {
    let demo = RunningDemo::new().await;
    let mut browser = TestBrowser::new();
    let asked = browser.open(&demo.notes("/")).await;
    browser.choose(&asked, "alice").await;
    let out = browser.open(&demo.notes("/_doorward/sign_out")).await;
    assert_eq!((out.status, out.at.path()), (StatusCode::UNAUTHORIZED, "/_doorward/signed_out"), "{}", out.body);
    let again = browser.open(&demo.notes("/")).await;
    assert!(again.body.contains("Sign in as bob"), "the provider asks again: {}", again.body);
    demo.stopped().await;
}

#[tokio::test]
async fn a_signed_in_person_cannot_add_identity_headers() {
    let demo = RunningDemo::new().await;
    let mut browser = TestBrowser::new();
    let asked = browser.open(&demo.notes("/")).await;
    browser.choose(&asked, "bob").await;
    let forged = [("remote-user", "root"), ("Remote_Groups", "root"), ("x.authentik.username", "root")];
    let answer = browser.send(Method::GET, &demo.notes("/headers.json"), &forged, "").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.body.contains(r#"["remote-user","bob"]"#), "{}", answer.body);
    assert!(!answer.body.contains("root"), "{}", answer.body);
    demo.stopped().await;
}

#[tokio::test]
async fn a_program_gets_a_login_url_and_is_never_redirected() {
    let demo = RunningDemo::new().await;
    let answer = TestBrowser::new().send(Method::GET, &demo.notes("/"), &[("accept", "*/*")], "").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let json: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(json["error"], "login_required");
    assert!(json["login_url"].as_str().unwrap().starts_with(demo.notes("/").as_str()), "{json}");
    demo.stopped().await;
}

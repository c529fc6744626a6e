//! A gate whose store and provider fail as planned, and requests to it.

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::Guard;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header, request::Parts};
use http_body_util::BodyExt as _;
use serde_json::json;

use super::{
    adopting,
    plan::{FaultPlan, StoreFault, WireFault},
    wire,
};
use crate::{
    clock::{Clock, Timestamp},
    config::{self, Config, ConfigFile},
    crypto::Keyring,
    edge::{Edge, Subrequest},
    flow::{self, Gate, SubrequestAnswer, backchannel_logout::LogoutForm},
    identity::{Identity, SessionScope, Subject, Tokens},
    metrics::{self, Metrics},
    oidc::{self, tests::FakeIssuer},
    pages::Pages,
    policy::Policy,
    session::{
        NewSession, Sessions,
        service_tokens::admin::ServiceTokenAdmin,
        tests::faulty_store::{FaultyStore, recover, sessions_over, tokens_over},
    },
    shutdown::{Signal, Tasks},
    upstream::Upstreams,
};

/// The time at which the fake provider's tokens are issued.
const NOW: u64 = 1_800_000_000;

/// Long enough for a busy machine: requests that stall on purpose are waited for together.
const PROVIDER_TIMEOUT: Duration = Duration::from_secs(6);

/// One for all, because it reads the system's certificates. No connection is used twice.
static TRANSPORT: OnceLock<oidc::HttpTransport> = OnceLock::new();

const CONFIG: &str = r#"
[server]
listen = "127.0.0.1:0"
management = "127.0.0.1:0"

[session]
secrets = ["a secret of one test, which is long enough"]
outage_grace = "1h"

[store]
url = "memory:"

[[providers]]
name = "authentik"
issuer = "ISSUER"
client_id = "doorward"
client_secret = "a secret of the client"

[bearer]
introspection = true
app_passwords = true

[[bearer.issuers]]
issuer = "ISSUER"
audience = "api"

[tokens]

[limits]
sign_in = { per_minute = 100000, burst = 100000 }
callback = { per_minute = 100000, burst = 100000 }
credentials = { per_minute = 100000, burst = 100000 }

[adopt]
url = "http://OUTPOST/outpost.goauthentik.io/auth/traefik"
per_minute = 100000

[[apps]]
name = "app"
hosts = ["app.test"]
allow = { groups = ["admins"] }

[[apps.rules]]
path = "/optional"
access = "optional"

[[apps.rules]]
path = { prefix = "/api/" }
access = "bearer"

[[apps]]
name = "closed"
hosts = ["closed.test"]
allow = { groups = ["board"] }

[[apps]]
name = "fresh"
hosts = ["fresh.test"]
reauthorize = "1h"

[[apps]]
name = "strong"
hosts = ["strong.test"]
allow = { groups = ["admins"], acr = ["mfa"] }
"#;

/// What outlives a process: the store, the provider, and the time.
pub(super) struct World {
    pub(super) store: Arc<FaultPlan<StoreFault>>,
    pub(super) wire: Arc<FaultPlan<WireFault>>,
    pub(super) issuer: FakeIssuer,
    pub(super) rows: Arc<FaultyStore>,
    config: Config,
    transport: oidc::HttpTransport,
    clock: Clock,
    time: Arc<AtomicU64>,
}

/// One process.
pub(super) struct GateProcess {
    gate: Arc<Gate>,
    sessions: Arc<Sessions>,
    stop: Signal,
}

/// A request to the gate.
#[derive(Clone)]
pub(super) struct Question {
    /// Traefik's question about a request, or else a request for one of the gate's own endpoints.
    is_subrequest: bool,
    parts: Parts,
    /// Path of the endpoint, below the prefix.
    path: String,
}

/// Answer of the gate.
pub(super) struct Seen {
    is_subrequest: bool,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl World {
    pub(super) async fn new(is_store_shared: bool) -> Self {
        let (store, wire) = (Arc::new(FaultPlan::new()), Arc::new(FaultPlan::new()));
        let issuer = FakeIssuer::start().await;
        let front = wire::start(issuer.address(), Arc::clone(&wire)).await;
        let outpost = wire::start(adopting::start_outpost().await, Arc::clone(&wire)).await;
        let text = CONFIG.replace("ISSUER", &issuer.stands_behind(front)).replace("OUTPOST", &outpost.to_string());
        let source = ConfigFile { path: "faults.toml".into(), text };
        let mut config = config::load_from(Some(&source), &config::Environment::new()).unwrap();
        config.providers[0].timeout = PROVIDER_TIMEOUT;
        let transport = TRANSPORT.get_or_init(|| oidc::HttpTransport::new(&config.providers[0]).unwrap()).clone();
        let rows = FaultyStore::new(Arc::clone(&store), is_store_shared);
        let (clock, time) = Clock::manual(Timestamp::from_unix(NOW));
        Self { store, wire, issuer, rows, config, transport, clock, time }
    }

    /// A process with nothing in memory.
    pub(super) fn replica(&self) -> GateProcess {
        let metrics = Metrics::new(&metrics::Settings { backend: "memory", version: "", commit: "" });
        let apps: Vec<_> = self.config.policy.apps.iter().map(|app| app.name.as_str()).collect();
        let bound = metrics.bind(&Edge::LABELS, &apps, &["authentik"]);
        let keyring = Arc::new(Keyring::new(&self.config.secrets).unwrap());
        let sessions = sessions_over(&self.rows, &self.config.session, Arc::clone(&keyring), &self.clock, &metrics);
        let (settings, numbers) = (self.config.providers[0].clone(), bound.providers[0].clone());
        let provider = oidc::Provider::new(settings, self.transport.clone(), self.clock.clone(), numbers);
        let components = flow::GateComponents {
            policy: Policy::new(self.config.policy.clone()),
            sessions: Arc::clone(&sessions),
            providers: vec![Arc::new(provider)],
            token_issuers: Vec::new(),
            upstreams: Upstreams::new(metrics.upstreams.clone()).prepare(self.config.gate.upstreams()).unwrap(),
            pages: Pages::new(self.config.brand.clone()),
            keyring,
            clock: self.clock.clone(),
            metrics: bound,
        };
        let gate = Arc::new(Gate::new(self.config.gate.clone(), components));
        let stop = Signal::default();
        let tasks = Tasks::new(stop.clone());
        tasks.spawn(gate.renewer().run(tasks.clone(), stop.clone()));
        GateProcess { gate, sessions, stop }
    }

    /// Moves the time on, for the provider's tokens too.
    pub(super) fn advance(&self, by: Duration, renewed: serde_json::Value) {
        let now = self.time.fetch_add(by.as_secs(), Ordering::SeqCst) + by.as_secs();
        let mut renewed = renewed;
        renewed["nonce"] = json!(null);
        self.issuer.claims(json!({ "iat": now, "exp": now + 300 }), renewed);
    }

    /// Moves the time on.
    pub(super) fn tick(&self, by: Duration) {
        self.time.fetch_add(by.as_secs(), Ordering::SeqCst);
    }

    /// Service tokens as an operator makes and revokes them.
    pub(super) fn token_admin(&self) -> ServiceTokenAdmin {
        let metrics = Metrics::new(&metrics::Settings { backend: "memory", version: "", commit: "" });
        let keyring = Arc::new(Keyring::new(&self.config.secrets).unwrap());
        tokens_over(&self.rows, keyring, &self.clock, &metrics)
    }

    /// Returns the provider's issuer identifier.
    pub(super) fn issuer_name(&self) -> String {
        self.config.providers[0].issuer.to_string()
    }

    /// Has the provider's ID tokens answer the sign-in with this nonce.
    pub(super) fn expect_nonce(&self, nonce: &str) {
        self.issuer.claims(json!({ "nonce": nonce }), json!({}));
    }

    /// A session of ann's at this host, whose access token ends after a time.
    pub(super) fn session(&self, host: &str, access: Duration) -> NewSession {
        let secret = |text: &str| Some(text.to_owned().into());
        let identity = Identity {
            provider: "authentik".to_owned(),
            subject: Subject("subject-1".to_owned()),
            user: "ann".to_owned(),
            email: "ann@example.com".to_owned(),
            email_verified: true,
            name: "Ann Example".to_owned(),
            groups: vec!["admins".to_owned()],
            claims: serde_json::Map::new(),
            standing: crate::identity::ClaimsStanding { told: self.clock.now(), ..Default::default() },
        };
        let tokens = Tokens {
            access: secret("an-access-token"),
            access_ends: Some(self.clock.now().plus(access)),
            refresh: secret("a-refresh-token"),
            id: None,
        };
        let scope = SessionScope { audience: host.to_owned(), registration: self.config.providers[0].registration() };
        NewSession { identity, tokens, sid: Some("sid-1".to_owned()), scope }
    }
}

impl GateProcess {
    /// Makes a session and returns its cookie.
    pub(super) async fn create(&self, new: NewSession) -> String {
        format!("__Host-doorward={}", self.sessions.create(new).await.unwrap())
    }

    /// Has the store asked whether it answers again.
    pub(super) async fn recover(&self) {
        recover(&self.sessions).await;
    }

    /// Has the provider's metadata read, as by the first sign-in.
    pub(super) async fn warm_up(&self) {
        let begun = self.ask(&Question::page("app.test", "/", "")).await;
        assert_eq!(begun.reason(), "no_session", "{begun:?}");
    }

    /// Asks the gate as an edge does: first what memory can answer.
    pub(super) async fn ask(&self, question: &Question) -> Seen {
        let (now, peer) = (Guard::into_inner(self.gate.now()), IpAddr::from([127, 0, 0, 1]));
        let response = if question.is_subrequest {
            let subrequest = Subrequest {
                edge: Edge::Traefik,
                namespace: crate::edge::Namespace::Own,
                peer,
                parts: &question.parts,
                target: "",
            };
            match now.admit_at_once(subrequest) {
                SubrequestAnswer::Ready(response) => response,
                SubrequestAnswer::Pending(pending) => pending.resolve().await,
            }
        } else {
            now.answer_endpoint(peer, &question.parts, crate::edge::Namespace::Own, &question.path).await
        };
        let (head, body) = response.into_parts();
        let Ok(body) = body.collect().await;
        Seen {
            is_subrequest: question.is_subrequest,
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
        }
    }
}

impl Drop for GateProcess {
    fn drop(&mut self) {
        self.stop.raise();
    }
}

impl Question {
    /// An edge's question about a page that is opened.
    pub(super) fn page(host: &str, target: &str, cookies: &str) -> Self {
        Self::subrequest(host, target, cookies, "navigate")
    }

    /// An edge's question about a fetch.
    pub(super) fn fetch(host: &str, target: &str, cookies: &str) -> Self {
        Self::subrequest(host, target, cookies, "cors")
    }

    /// The same with another header.
    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.parts.headers.insert(name, value.parse().unwrap());
        self
    }

    fn subrequest(host: &str, target: &str, cookies: &str, mode: &str) -> Self {
        let request = Request::get("/_doorward/auth/traefik")
            .header("x-forwarded-method", "GET")
            .header("x-forwarded-host", host)
            .header("x-forwarded-uri", target);
        Self::built(true, request, cookies, mode, "")
    }

    /// A page of the gate's own that is opened over a direct route.
    pub(super) fn direct(host: &str, target: &str, cookies: &str, mode: &str) -> Self {
        let request = Request::get(format!("/_doorward{target}")).header(header::HOST, host);
        Self::built(false, request, cookies, mode, target.split('?').next().unwrap())
    }

    /// A logout token of the provider.
    pub(super) fn logout(host: &str, token: &str) -> Self {
        let request = Request::post("/_doorward/backchannel_logout")
            .header(header::HOST, host)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .extension(LogoutForm(Bytes::from(format!("logout_token={token}"))));
        Self::built(false, request, "", "cors", "/backchannel_logout")
    }

    fn built(is_subrequest: bool, request: http::request::Builder, cookies: &str, mode: &str, path: &str) -> Self {
        let accept = if mode == "navigate" { "text/html" } else { "application/json" };
        let request = request
            .header("sec-fetch-mode", mode)
            .header("sec-fetch-site", "same-origin")
            .header(header::ACCEPT, accept)
            .header(header::COOKIE, cookies);
        Self { is_subrequest, parts: request.body(()).unwrap().into_parts().0, path: path.to_owned() }
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = String::from_utf8_lossy(self.body.get(..200).unwrap_or(&self.body)).into_owned();
        write!(f, "{} {:?} {body}", self.status, self.headers)
    }
}

impl Seen {
    /// Returns `true` if the edge lets the request in.
    pub(super) fn lets_in(&self) -> bool {
        self.is_subrequest && self.status.is_success()
    }

    pub(super) fn reason(&self) -> &str {
        self.header("doorward-reason")
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Returns the cookie of this name that is set, as it is sent back.
    pub(super) fn set_cookie(&self, name: &str) -> Option<String> {
        let lines = self.headers.get_all(header::SET_COOKIE).iter().map(|line| line.to_str().unwrap());
        let mut set = lines.filter(|line| !line.ends_with("Max-Age=0")).filter_map(|line| line.split(';').next());
        set.find(|pair| pair.split('=').next() == Some(name)).map(str::to_owned)
    }

    /// Returns `true` if the session cookie is deleted.
    pub(super) fn deletes_the_session(&self) -> bool {
        let mut lines = self.headers.get_all(header::SET_COOKIE).iter().map(|line| line.to_str().unwrap());
        lines.any(|line| line.starts_with("__Host-doorward=") && line.ends_with("Max-Age=0"))
    }

    /// Returns a parameter of the address that the browser is sent to.
    pub(super) fn parameter(&self, name: &str) -> String {
        let location = url::Url::parse(self.header("location")).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        location.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned()
    }
}

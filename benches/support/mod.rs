//! A gate in this process, with sessions in memory and no provider: what benches and the allocation test ask.

use std::{net::IpAddr, sync::Arc};

use doorward::{
    clock::Clock,
    config::{self, Source},
    crypto::Keyring,
    edge::{Edge, Response},
    flow::{self, Gate},
    identity::{Identity, Subject, Tokens},
    metrics::{self, Metrics},
    oidc,
    pages::Pages,
    policy::Policy,
    session::{NewSession, Sessions},
};
use http::{Request, request::Parts};

const CONFIG: &str = r#"
[server]
listen = "127.0.0.1:0"
management = "127.0.0.1:0"

[session]
secrets = ["a secret of a bench, which is no secret at all"]

[store]
url = "memory:"

[[providers]]
name = "none"
issuer = "https://127.0.0.1:9/"
client_id = "bench"

[[apps]]
name = "grafana"
hosts = ["grafana.example.com"]
headers = ["remote", "authentik"]
allow = { groups = ["staff"] }

[[apps.rules]]
path = { prefix = "/public/" }
access = "public"
"#;

/// A gate and the cookies of the people who are signed in at it.
pub(crate) struct Bench {
    /// The gate.
    pub(crate) gate: Arc<Gate>,
    /// Values of session cookies.
    pub(crate) cookies: Vec<String>,
}

impl Bench {
    /// A gate at which `people` are signed in, each with five groups.
    pub(crate) async fn with(people: usize) -> Self {
        let source = Source { path: "bench.toml".into(), text: CONFIG.to_owned() };
        let config =
            config::load_from(Some(&source), &config::Environment::new()).expect("the bench's configuration is valid");
        let metrics = Arc::new(Metrics::new(&metrics::Settings {
            apps: config.policy.apps.iter().map(|app| app.name.as_str()).collect(),
            providers: vec!["none"],
            backend: "memory",
            config_hash: "bench",
            version: "bench",
            commit: "bench",
        }));
        let keyring = Arc::new(Keyring::new(&config.secrets).expect("the bench's secret is long enough"));
        let (sessions, store) = (metrics.sessions.clone(), metrics.store.clone());
        let sessions = Sessions::open(config.session, Arc::clone(&keyring), Clock::System, sessions, store).await;
        let sessions = Arc::new(sessions.expect("memory can always be opened"));
        let nowhere = config.providers.first().expect("there is one provider").clone();
        let transport = oidc::Transport::new(&nowhere).expect("the system has certificates");
        let numbers = metrics.provider(0).expect("there is one provider").clone();
        let provider = oidc::Provider::new(nowhere, transport, Clock::System, numbers);
        let settings = flow::Settings {
            prefix: config.prefix,
            transport: config.transport,
            trusted_proxies: config.trusted_proxies,
            cookie_name: config.cookie_name,
            cookie_domain: config.cookie_domain,
            legacy_cookies: config.legacy_cookies,
        };
        let components = flow::Components {
            policy: Policy::new(config.policy),
            sessions: Arc::clone(&sessions),
            providers: vec![Arc::new(provider)],
            pages: Pages::new(config.brand),
            keyring,
            clock: Clock::System,
            metrics,
        };
        let gate = Arc::new(Gate::new(settings, components));
        let mut cookies = Vec::with_capacity(people);
        for person in 0..people {
            cookies.push(sessions.create(somebody(person)).await.expect("memory takes a session"));
        }
        Self { gate, cookies }
    }

    /// Asks as Traefik does and expects the status.
    pub(crate) async fn ask(&self, request: &Parts) -> Response {
        self.gate.authorize(Edge::Traefik, IpAddr::from([127, 0, 0, 1]), request, "").await
    }
}

fn somebody(person: usize) -> NewSession {
    let groups = ["staff", "engineering", "on-call", "grafana-editors", "vpn"];
    let identity = Identity {
        provider: "none".to_owned(),
        subject: Subject(format!("4f1c8a1e-0000-4000-8000-{person:012}")),
        user: format!("person{person}"),
        email: format!("person{person}@example.com"),
        name: format!("Person {person}"),
        groups: groups.map(ToOwned::to_owned).to_vec(),
        claims: serde_json::Map::new(),
    };
    NewSession { identity, tokens: Tokens::default(), sid: None }
}

/// The request that Traefik 3.7 really sends for a page, with a kilobyte of the app's own cookies around ours.
pub(crate) fn traefik_asks(uri: &str, cookie: Option<&str>) -> Parts {
    let own = cookie.map(|value| format!("__Host-doorward={value}; ")).unwrap_or_default();
    let cookies = format!("grafana_session={}; {own}theme=dark; _ga={}", "a".repeat(500), "b".repeat(440));
    let request = Request::get("/_doorward/auth/traefik")
        .header("Host", "127.0.0.1:9000")
        .header("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")
        .header("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
        .header("Accept-Encoding", "gzip, deflate, br")
        .header("Accept-Language", "en-US,en;q=0.5")
        .header("Cookie", cookies)
        .header("Sec-Fetch-Dest", "document")
        .header("Sec-Fetch-Mode", "navigate")
        .header("Sec-Fetch-Site", "none")
        .header("Sec-Fetch-User", "?1")
        .header("Upgrade-Insecure-Requests", "1")
        .header("X-Forwarded-For", "192.0.2.7")
        .header("X-Forwarded-Host", "grafana.example.com")
        .header("X-Forwarded-Method", "GET")
        .header("X-Forwarded-Port", "443")
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Server", "traefik-7d9f")
        .header("X-Forwarded-Uri", uri)
        .header("X-Real-Ip", "192.0.2.7")
        .body(());
    request.expect("a well-formed request").into_parts().0
}

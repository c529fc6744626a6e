//! A gate in this process with any number of sessions and hosts and no provider.

use std::{net::IpAddr, sync::Arc, time::Duration};

use arc_swap::Guard;
use doorward::{
    clock::Clock,
    config::{self, ConfigFile},
    crypto::Keyring,
    edge::{Edge, Namespace, Response, Subrequest},
    flow::{self, Gate, SubrequestAnswer},
    identity::{Identity, Registration, SessionScope, Subject, Tokens},
    metrics::{self, Metrics},
    oidc,
    pages::Pages,
    policy::Policy,
    session::{Cookie, NewSession, Sessions},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::request::Parts;
use secrecy::SecretString;
use serde_json::{Map, json};

use super::{configuration::Configuration, subrequest::HOST, token_issuer::TokenIssuer};

/// Number of the first person. Seven digits for all, so that all responses have the same length, and digits that occur nowhere
/// else in a response, so that they can be found.
pub(crate) const FIRST_PERSON: usize = 1_000_000;

/// Concurrent sign-ins.
const CONCURRENCY: usize = 64;

/// Size of a gate, on which the cost of a check should not depend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Number of signed-in people.
    pub(crate) people: usize,
    /// Number of hosts, each with an app of its own.
    pub(crate) hosts: usize,
}

/// A gate and the cookies of its signed-in people.
pub(crate) struct Bench {
    /// The gate.
    pub(crate) gate: Arc<Gate>,
    /// Its sessions.
    pub(crate) sessions: Arc<Sessions>,
    /// Its metrics.
    pub(crate) metrics: Arc<Metrics>,
    /// Values of session cookies, by person; or tokens, by API client.
    pub(crate) cookies: Arc<Vec<String>>,
    pub(crate) registration: Registration,
}

impl Bench {
    /// A gate with one host at which `people` are signed in, each with five groups.
    pub(crate) async fn with(people: usize) -> Self {
        Self::of(Size { people, hosts: 1 }).await
    }

    /// A gate of this size.
    pub(crate) async fn of(size: Size) -> Self {
        let mut bench = Self::on("memory:", size.hosts).await;
        bench.sign_in(size.people).await;
        bench
    }

    /// A gate with a number of hosts and a store that may contain sessions already.
    pub(crate) async fn on(store: &str, hosts: usize) -> Self {
        Self::at(store, hosts, Clock::System).await
    }

    /// A gate that lets API clients in with the tokens of an issuer, in place of the cookies of people.
    pub(crate) async fn for_api_clients(issuer: &TokenIssuer, clients: usize) -> Self {
        let configuration = Configuration { tables: issuer.tables(), ..Configuration::of("memory:") };
        let bench = Self::configured(&configuration, Clock::System).await;
        Self { cookies: Arc::new((0..clients).map(|client| issuer.token(client)).collect()), ..bench }
    }

    /// A gate as of [`Bench::on`] with another clock.
    pub(crate) async fn at(store: &str, hosts: usize, clock: Clock) -> Self {
        Self::configured(&Configuration { apps: hosts, ..Configuration::of(store) }, clock).await
    }

    /// A gate with this configuration.
    pub(crate) async fn configured(configuration: &Configuration, clock: Clock) -> Self {
        let source = ConfigFile { path: "bench.toml".into(), text: configuration.text() };
        let config =
            config::load_from(Some(&source), &config::Environment::new()).expect("the bench's configuration is valid");
        let metrics =
            Arc::new(Metrics::new(&metrics::Settings { backend: "memory", version: "bench", commit: "bench" }));
        let apps: Vec<_> = config.policy.apps.iter().map(|app| app.name.as_str()).collect();
        let bound = metrics.bind(&Edge::LABELS, &apps, &["none"]);
        let keyring = Arc::new(Keyring::new(&config.secrets).expect("the bench's secret is long enough"));
        let (sessions, store) = (metrics.sessions.clone(), metrics.store.clone());
        let sessions = Sessions::open(&config.session, Arc::clone(&keyring), clock.clone(), sessions, store).await;
        let sessions = Arc::new(sessions.expect("the store can be opened"));
        let nowhere = config.providers.first().expect("there is one provider").clone();
        let registration = nowhere.registration();
        let transport = oidc::HttpTransport::new(&nowhere).expect("the system has certificates");
        let numbers = bound.providers.first().expect("there is one provider").clone();
        let provider = oidc::Provider::new(nowhere, transport, clock.clone(), numbers);
        let token_issuers = config.gate.bearer.iter().flat_map(flow::BearerSettings::own_issuers).cloned();
        let token_issuers = token_issuers.map(|issuer| {
            let transport = oidc::HttpTransport::new(&issuer).expect("the system has certificates");
            let numbers = metrics.of_issuer(&issuer.name);
            Arc::new(oidc::Provider::new(issuer, transport, clock.clone(), numbers))
        });
        let token_issuers = token_issuers.collect();
        let components = flow::GateComponents {
            policy: Policy::new(config.policy),
            sessions: Arc::clone(&sessions),
            providers: vec![Arc::new(provider)],
            token_issuers,
            upstreams: doorward::upstream::ConfiguredUpstreams::default(),
            pages: Pages::new(config.brand),
            keyring,
            clock,
            metrics: bound,
        };
        let gate = Arc::new(Gate::new(config.gate, components));
        Self { gate, sessions, metrics, cookies: Arc::default(), registration }
    }

    /// Signs a number of people in.
    pub(crate) async fn sign_in(&mut self, people: usize) {
        self.sign_in_with(people, &tokens()).await;
    }

    /// Signs a number of people in, with these tokens.
    pub(crate) async fn sign_in_with(&mut self, people: usize, tokens: &Tokens) {
        let scope = SessionScope { audience: HOST.to_owned(), registration: self.registration };
        let new = |person| NewSession {
            identity: identity_of(person),
            tokens: tokens.clone(),
            sid: None,
            scope: scope.clone(),
        };
        let written = stream::iter(0..people).map(|person| self.sessions.create(new(person)));
        let cookies = written.buffered(CONCURRENCY).try_collect().await.expect("the store takes sessions");
        self.cookies = Arc::new(cookies);
    }

    /// Checks a subrequest of Traefik as the server does: first against the cache, then against the store.
    pub(crate) async fn ask(&self, request: &Parts) -> Response {
        let peer = IpAddr::from([127, 0, 0, 1]);
        let subrequest =
            Subrequest { edge: Edge::Traefik, namespace: Namespace::Own, peer, parts: request, target: "" };
        if let SubrequestAnswer::Ready(response) = self.gate.now().admit_at_once(subrequest) {
            return response;
        }
        let now = Guard::into_inner(self.gate.now());
        Box::pin(now.authorize(subrequest)).await
    }
}

/// Returns a session cookie as sent to [`HOST`].
pub(crate) fn sent(value: &str) -> Cookie<'_> {
    Cookie { value: value.as_bytes(), audience: HOST }
}

/// Returns tokens that are due for renewal tomorrow, so that each check has to compare the time. They are short, because the
/// memory of a store in this process is not to be measured.
pub(crate) fn tokens() -> Tokens {
    let token = |name: &str| Some(SecretString::from(name));
    let tomorrow = Clock::System.now().plus(Duration::from_hours(24));
    Tokens { access: token("a"), access_ends: Some(tomorrow), refresh: token("r"), id: token("i") }
}

fn identity_of(person: usize) -> Identity {
    let number = FIRST_PERSON + person;
    let groups = ["staff", "engineering", "on-call", "grafana-editors", "vpn"];
    let claims = [("team", json!("observability")), ("office", json!("Ljubljana")), ("locale", json!("sl-SI"))];
    Identity {
        provider: "none".to_owned(),
        subject: Subject(format!("4f1c8a1e-5b7d-4c3e-8a9f-{number:012}")),
        user: format!("person{number}"),
        email: format!("person{number}@example.com"),
        email_verified: true,
        name: format!("Person {number}"),
        groups: groups.map(ToOwned::to_owned).to_vec(),
        claims: claims.map(|(name, value)| (name.to_owned(), value)).into_iter().collect::<Map<_, _>>(),
        standing: doorward::identity::ClaimsStanding::default(),
    }
}

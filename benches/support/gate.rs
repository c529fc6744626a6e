//! A gate in this process, with as many sessions and hosts as are wanted and no provider.

use std::{net::IpAddr, sync::Arc, time::Duration};

use arc_swap::Guard;
use doorward::{
    clock::Clock,
    config::{self, Source},
    crypto::Keyring,
    edge::{Edge, Response, Subrequest},
    flow::{self, Gate, SubrequestAnswer},
    identity::{Identity, Registration, Scope, Subject, Tokens},
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

use super::{configuration::Configuration, question::HOST};

/// The number of the first person. Seven digits for everybody, so that all answers are of one length, and digits that
/// occur nowhere else in an answer, so that they can be found.
pub(crate) const FIRST_PERSON: usize = 1_000_000;

/// Sign-ins under way at once.
const AT_ONCE: usize = 64;

/// How much there is of what a check should not depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// People who are signed in.
    pub(crate) people: usize,
    /// Hosts, each with an app of its own.
    pub(crate) hosts: usize,
}

/// A gate and the cookies of the people who are signed in at it.
pub(crate) struct Bench {
    /// The gate.
    pub(crate) gate: Arc<Gate>,
    /// Its sessions.
    pub(crate) sessions: Arc<Sessions>,
    /// Its numbers.
    pub(crate) metrics: Arc<Metrics>,
    /// Values of session cookies, by person.
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

    /// A gate with so many hosts in front of a store that may hold sessions already.
    pub(crate) async fn on(store: &str, hosts: usize) -> Self {
        Self::at(store, hosts, Clock::System).await
    }

    /// The same by another clock.
    pub(crate) async fn at(store: &str, hosts: usize, clock: Clock) -> Self {
        let source =
            Source { path: "bench.toml".into(), text: Configuration { hosts, ..Configuration::of(store) }.text() };
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
        let transport = oidc::Transport::new(&nowhere).expect("the system has certificates");
        let numbers = bound.providers.first().expect("there is one provider").clone();
        let provider = oidc::Provider::new(nowhere, transport, clock.clone(), numbers);
        let components = flow::GateComponents {
            policy: Policy::new(config.policy),
            sessions: Arc::clone(&sessions),
            providers: vec![Arc::new(provider)],
            pages: Pages::new(config.brand),
            keyring,
            clock,
            metrics: bound,
        };
        let gate = Arc::new(Gate::new(config.gate, components));
        Self { gate, sessions, metrics, cookies: Arc::default(), registration }
    }

    /// Signs so many people in.
    pub(crate) async fn sign_in(&mut self, people: usize) {
        self.sign_in_with(people, &tokens()).await;
    }

    /// Signs so many people in, with these tokens.
    pub(crate) async fn sign_in_with(&mut self, people: usize, tokens: &Tokens) {
        let scope = Scope { audience: HOST.to_owned(), registration: self.registration };
        let new =
            |person| NewSession { identity: somebody(person), tokens: tokens.clone(), sid: None, scope: scope.clone() };
        let written = stream::iter(0..people).map(|person| self.sessions.create(new(person)));
        let cookies = written.buffered(AT_ONCE).try_collect().await.expect("the store takes sessions");
        self.cookies = Arc::new(cookies);
    }

    /// Asks as Traefik does, first of memory, as the server does.
    pub(crate) async fn ask(&self, request: &Parts) -> Response {
        let peer = IpAddr::from([127, 0, 0, 1]);
        let subrequest = Subrequest { edge: Edge::Traefik, peer, parts: request, target: "" };
        if let SubrequestAnswer::Ready(response) = self.gate.now().admit_at_once(subrequest) {
            return response;
        }
        let now = Guard::into_inner(self.gate.now());
        Box::pin(now.authorize(subrequest)).await
    }
}

/// A session cookie as it is sent to the host that is asked.
pub(crate) fn sent(value: &str) -> Cookie<'_> {
    Cookie { value: value.as_bytes(), audience: HOST }
}

/// What everybody has: tokens that are to be renewed tomorrow, so that each check sees whether it is time. They are short,
/// because a store in the memory of this process is not what is measured.
pub(crate) fn tokens() -> Tokens {
    let token = |name: &str| Some(SecretString::from(name));
    let tomorrow = Clock::System.now().plus(Duration::from_hours(24));
    Tokens { access: token("a"), access_ends: Some(tomorrow), refresh: token("r"), id: token("i") }
}

fn somebody(person: usize) -> Identity {
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
    }
}

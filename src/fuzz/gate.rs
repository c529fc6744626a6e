//! A gate in memory with one signed-in user, whose provider's metadata is known and never requested.

use std::{net::IpAddr, sync::Arc, time::Duration};

use arc_swap::Guard;
use http::request::Parts;
use serde_json::{Map, json};
use tokio::runtime::{Builder, Runtime};

use super::fixture::CONFIG;
use crate::{
    clock::{Clock, Timestamp},
    crypto::Keyring,
    edge::{Edge, Response, Subrequest},
    flow::{self, Gate, SubrequestAnswer},
    identity::{Identity, SessionScope, Subject, Tokens},
    metrics::{self, Metrics},
    oidc,
    pages::Pages,
    policy::Policy,
    session::{Cookie, LookupOutcome, NewSession, Sessions},
    upstream::ConfiguredUpstreams,
};

/// Host of the session.
const HOST: &str = "app.test";

/// The gate, and the runtime that drives it.
pub(super) struct FuzzGate {
    pub(super) runtime: Runtime,
    gate: Gate,
    sessions: Arc<Sessions>,
}

impl FuzzGate {
    pub(super) fn start() -> Self {
        // Without I/O driver: no request may wait for a socket.
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime can be built");
        let (gate, sessions) = runtime.block_on(built());
        Self { runtime, gate, sessions }
    }

    /// Creates a session and returns its cookie.
    pub(super) fn sign_in(&self) -> String {
        let identity = Identity {
            provider: "authentik".to_owned(),
            subject: Subject("subject-1".to_owned()),
            user: "ann".to_owned(),
            email: "ann@app.test".to_owned(),
            email_verified: true,
            name: "Ann".to_owned(),
            groups: vec!["staff".to_owned()],
            claims: [("team".to_owned(), json!("red"))].into_iter().collect::<Map<_, _>>(),
            standing: crate::identity::ClaimsStanding::default(),
        };
        let registration = CONFIG.providers.first().expect("gate.toml has a provider").registration();
        let scope = SessionScope { audience: HOST.to_owned(), registration };
        let new = NewSession { identity, tokens: Tokens::default(), sid: None, scope };
        self.runtime.block_on(self.sessions.create(new)).expect("the memory store accepts sessions")
    }

    /// Returns `true` while a cookie's session is valid.
    pub(super) fn knows(&self, cookie: &str) -> bool {
        let cookie = Cookie { value: cookie.as_bytes(), audience: HOST };
        matches!(self.runtime.block_on(self.sessions.find(cookie)), Ok(LookupOutcome::Live(_)))
    }

    /// Checks a request as the server does: first against the cache, then against the store.
    pub(super) fn ask(&self, edge: Edge, request: &Parts, envoy_target: &str) -> Response {
        let peer = IpAddr::from([127, 0, 0, 1]);
        let now = Guard::into_inner(self.gate.now());
        match now.admit_at_once(Subrequest {
            edge,
            namespace: crate::edge::Namespace::Own,
            peer,
            parts: request,
            target: envoy_target,
        }) {
            SubrequestAnswer::Ready(response) => response,
            SubrequestAnswer::Pending(pending) => self.runtime.block_on(Box::pin(pending.resolve())),
        }
    }
}

async fn built() -> (Gate, Arc<Sessions>) {
    let config = CONFIG.clone();
    // Time stands still, so that a run is reproducible.
    let (clock, _hand) = Clock::manual(Timestamp::from_unix(1_800_000_000));
    let metrics = Metrics::new(&metrics::Settings { backend: "memory", version: "fuzz", commit: "fuzz" });
    let apps: Vec<_> = config.policy.apps.iter().map(|app| app.name.as_str()).collect();
    let bound = metrics.bind(&Edge::LABELS, &apps, &["authentik"]);
    let keyring = Arc::new(Keyring::new(&config.secrets).expect("the secret is long enough"));
    let (counts, store) = (metrics.sessions.clone(), metrics.store.clone());
    let sessions = Sessions::open(&config.session, Arc::clone(&keyring), clock.clone(), counts, store).await;
    let sessions = Arc::new(sessions.expect("the memory store opens"));
    let settings = config.providers.first().expect("gate.toml has a provider").clone();
    let settings = oidc::Settings { timeout: Duration::from_secs(1), ..settings };
    let transport = oidc::HttpTransport::new(&settings).expect("the system has certificates");
    let numbers = bound.providers.first().expect("gate.toml has a provider").clone();
    let provider = oidc::Provider::new(settings, transport, clock.clone(), numbers);
    oidc::fuzz::preload_metadata(&provider);
    let components = flow::GateComponents {
        policy: Policy::new(config.policy),
        sessions: Arc::clone(&sessions),
        providers: vec![Arc::new(provider)],
        token_issuers: Vec::new(),
        upstreams: ConfiguredUpstreams::default(),
        pages: Pages::new(config.brand),
        keyring,
        clock,
        metrics: bound,
    };
    (Gate::new(config.gate, components), sessions)
}

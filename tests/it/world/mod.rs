//! The world of one test: a provider, a gate, an edge and an app, each real, each on ports of its own.

mod app;
mod browser;
#[expect(dead_code, reason = "the tests of the session store use all of it")]
pub(crate) mod database;
mod edge;
mod gate;
mod ports;
mod process;
mod provider;
pub(crate) mod raw;
mod tls;
mod visitor;

use std::{path::Path, time::Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) use self::{
    app::{App, spawn},
    browser::Browser,
    edge::{Cookies, Edge, Kind, Pages},
    gate::Gate,
    process::{PATIENCE, STEP, Signal, system},
    provider::Provider,
    visitor::{Answer, As, Visitor, answers, get},
};

/// How bytes travel between two of the parties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// In clear text.
    Plain,
    /// Over TLS.
    Tls,
}

impl Wire {
    pub(crate) fn scheme(self) -> &'static str {
        match self {
            Self::Plain => "http",
            Self::Tls => "https",
        }
    }
}

/// The edge that most stories are told with: what the documentation advises.
pub(crate) const TRAEFIK: Kind = Kind::Traefik { entry: Wire::Tls, gate: Wire::Tls, pages: Pages::Routed };

/// What a test wants its world to be like.
pub(crate) struct Plan {
    kind: Kind,
    server: String,
    session: String,
    tables: String,
    store: Option<String>,
    provider: Value,
    changes: Vec<(&'static str, &'static str, &'static str)>,
}

/// A running world. Everything in it ends with it.
pub(crate) struct World {
    pub(crate) app: App,
    pub(crate) provider: Provider,
    pub(crate) gate: Gate,
    pub(crate) edge: Edge,
    plan: Plan,
    // The last to go: the others write into it.
    dir: TempDir,
}

impl Plan {
    /// This edge, and the gate as it comes.
    pub(crate) fn with(kind: Kind) -> Self {
        Self {
            kind,
            server: String::new(),
            session: String::new(),
            tables: String::new(),
            store: None,
            provider: json!({}),
            changes: Vec::new(),
        }
    }

    /// Further lines of `[server]`.
    pub(crate) fn server(self, lines: &str) -> Self {
        Self { server: lines.to_owned(), ..self }
    }

    /// Further lines of `[session]`.
    pub(crate) fn session(self, lines: &str) -> Self {
        Self { session: lines.to_owned(), ..self }
    }

    /// Further tables, behind all others.
    pub(crate) fn tables(self, lines: &str) -> Self {
        Self { tables: lines.to_owned(), ..self }
    }

    /// Sessions somewhere else than in a file.
    pub(crate) fn store(self, url: &str) -> Self {
        Self { store: Some(url.to_owned()), ..self }
    }

    /// Further settings of `provider.mjs`.
    pub(crate) fn provider(self, settings: Value) -> Self {
        Self { provider: settings, ..self }
    }

    /// An edge whose operator has changed its files: a file, a text in it, another in its place.
    pub(crate) fn edge(self, changes: &[(&'static str, &'static str, &'static str)]) -> Self {
        Self { changes: changes.to_vec(), ..self }
    }

    /// Starts everything but the provider.
    pub(crate) async fn without_provider(self) -> World {
        let dir = tempfile::tempdir().unwrap();
        tls::issue(dir.path());
        let hides = self.session.contains("hide_cookies = true");
        let cookies = if hides { Cookies::AsAnswered } else { Cookies::Everybodys };
        let edge = Edge::new(self.kind, self.changes.clone()).with(cookies);
        let origins = ["app", "admin", "rules"].map(|host| origin(self.kind, &edge, host));
        let mut world = World {
            app: App::start().await,
            provider: Provider::new(dir.path(), &origins, &self.provider),
            gate: Gate::new(dir.path()),
            edge,
            plan: self,
            dir,
        };
        world.gate.configure(&world.config());
        world.gate.start().await;
        world.edge.start(world.dir.path(), world.gate.port, world.app.port).await;
        world
    }

    /// Starts everything.
    pub(crate) async fn start(self) -> World {
        let mut world = self.without_provider().await;
        world.start_provider().await;
        world
    }
}

impl World {
    /// A world as most tests want it.
    pub(crate) async fn new() -> Self {
        Plan::with(TRAEFIK).start().await
    }

    /// An address at the edge: `at("app", "/a?b")`. Hosts: `app` (anyone signed in), `admin` (group admins), `rules`
    /// (see [`World::config`]); all others are unknown to the gate.
    pub(crate) fn at(&self, host: &str, target: &str) -> String {
        format!("{}{target}", origin(self.plan.kind, &self.edge, host))
    }

    /// A browser without cookies.
    pub(crate) fn visitor(&self) -> Visitor {
        Visitor::new(self.dir.path())
    }

    /// A browser whose owner signs in as `user` wherever the provider asks.
    pub(crate) fn person(&self, user: &str) -> Visitor {
        let visitor = self.visitor();
        visitor.keep(&self.provider.issuer(), &format!("user={user}; Path=/"));
        visitor
    }

    /// A browser that is signed in.
    pub(crate) async fn signed_in(&self, user: &str) -> Visitor {
        let person = self.person(user);
        person.visit(&self.at("app", "/")).await.echo();
        person
    }

    /// Starts the provider, or starts it again.
    pub(crate) async fn start_provider(&mut self) {
        self.provider.start().await;
    }

    /// What the gate is configured with.
    pub(crate) fn config(&self) -> String {
        self.config_of(&self.gate)
    }

    /// What another replica would be configured with.
    pub(crate) fn config_of(&self, gate: &Gate) -> String {
        let Plan { kind, server, session, tables, store, .. } = &self.plan;
        let authority = match self.provider.wire {
            Wire::Plain => String::new(),
            Wire::Tls => format!("ca_file = {:?}", self.file("ca.pem")),
        };
        let tls = match kind.gate() {
            Wire::Plain => String::new(),
            Wire::Tls => format!("tls = {{ cert = {0:?}, key = {1:?} }}", self.file("tls.pem"), self.file("tls.key")),
        };
        format!(
            r#"
[server]
listen = "127.0.0.1:{port}"
management = "127.0.0.1:{management}"
scheme = "{scheme}"
{tls}
{server}

[session]
secrets = ["the first secret of one test, which is long enough"]
{session}

[store]
url = "{store}"

[[providers]]
name = "neighbour"
issuer = "{issuer}"
client_id = "doorward"
client_secret = "{client_secret}"
{authority}

[[apps]]
name = "app"
hosts = ["app.example.test"]
headers = ["remote", "authentik"]

[[apps]]
name = "admin"
hosts = ["admin.example.test"]
allow = {{ groups = ["admins"] }}

[[apps]]
name = "rules"
hosts = ["rules.example.test"]

[[apps.rules]]
path = "/health"
access = "public"

[[apps.rules]]
path = {{ prefix = "/open/" }}
access = "optional"

[[apps.rules]]
path = {{ prefix = "/never/" }}
access = "deny"

[[apps.rules]]
path = {{ prefix = "/admin/" }}
allow = {{ groups = ["admins"] }}

{tables}
"#,
            port = gate.port,
            management = gate.management,
            scheme = kind.entry().scheme(),
            store = store.clone().unwrap_or_else(|| format!("sqlite:{}", self.file("sessions.db"))),
            issuer = self.provider.issuer(),
            client_secret = provider::CLIENT_SECRET,
        )
    }

    /// The folder that everything in this world writes into.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }
}

/// Waits until `found` finds something. What is waited for has a bound of its own in the contract; this is the way out.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut found: impl FnMut() -> F) -> T {
    let patience = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found().await {
            return found;
        }
        assert!(Instant::now() < patience, "never: {what}");
        tokio::time::sleep(STEP).await;
    }
}

fn origin(kind: Kind, edge: &Edge, host: &str) -> String {
    format!("{}://{host}.example.test:{}", kind.entry().scheme(), edge.port())
}

//! The world of one test: a real provider, gate, edge and app, each on ports of its own.
//!
//! Everything in it ends with the test.

mod app;
mod app_server;
mod browser;
mod connection;
#[expect(dead_code, reason = "the tests of the session store use all of it")]
pub(crate) mod database;
mod edge;
mod forwarding;
mod gate;
pub(crate) mod keepalive_proxy;
mod keycloak;
mod mcp;
pub(crate) mod misbehaving_provider;
mod mod_auth_openidc;
pub(crate) mod old_outpost;
pub(crate) mod outpost;
mod ports;
mod process;
mod provider;
pub(crate) mod raw;
pub(crate) mod raw_app;
mod relay;
mod streams;
mod tls;
mod visitor;

use std::{path::Path, time::Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) use self::{
    app::{App, spawn},
    app_server::AppServer,
    browser::Browser,
    connection::ClientConnection,
    edge::{EDGES, Edge, EdgeKind, ForwardedCookies, PageRouting},
    forwarding::ForwardingGate,
    gate::Gate,
    keycloak::Realm,
    mcp::{McpServer, mcp_client},
    misbehaving_provider::MisbehavingProvider,
    mod_auth_openidc::ModAuthOpenidc,
    ports::free as free_port,
    process::{POLL_INTERVAL, Signal, TIMEOUT, system},
    provider::{CLIENT_SECRET, Provider},
    relay::Relay,
    streams::EVENTS,
    visitor::{Answer, RequestMode, Visitor, answers, get},
};

/// Transport between two of the parties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Clear text.
    Plain,
    /// TLS.
    Tls,
}

impl Transport {
    pub(crate) fn scheme(self) -> &'static str {
        match self {
            Self::Plain => "http",
            Self::Tls => "https",
        }
    }
}

/// Edge of most tests, as the documentation recommends it.
pub(crate) const TRAEFIK: EdgeKind =
    EdgeKind::Traefik { entry: Transport::Tls, gate: Transport::Tls, pages: PageRouting::Routed };

/// The gate as a client of a provider other than the world's own, which then does not run.
#[derive(Clone)]
pub(crate) struct Registration {
    /// Issuer identifier.
    pub(crate) issuer: String,
    /// Further lines of `[[providers]]`.
    pub(crate) lines: String,
}

/// Builder of a world.
pub(crate) struct WorldBuilder {
    kind: EdgeKind,
    server: String,
    session: String,
    app: String,
    tables: String,
    store: Option<String>,
    provider: Value,
    registration: Option<Registration>,
    changes: Vec<(&'static str, &'static str, &'static str)>,
    relayed: bool,
    asked: Option<u16>,
    served: Option<u16>,
    ready_at: &'static str,
}

/// A running world.
pub(crate) struct World {
    pub(crate) app: App,
    pub(crate) provider: Provider,
    pub(crate) gate: Gate,
    pub(crate) edge: Edge,
    /// Between edge and gate.
    pub(crate) relay: Option<Relay>,
    plan: WorldBuilder,
    // Dropped last: the others write into it.
    dir: TempDir,
}

impl WorldBuilder {
    /// A world with this edge and a gate with default settings.
    pub(crate) fn with(kind: EdgeKind) -> Self {
        Self {
            kind,
            server: String::new(),
            session: String::new(),
            app: "headers = [\"remote\", \"authentik\"]".to_owned(),
            tables: String::new(),
            store: None,
            provider: json!({}),
            registration: None,
            changes: Vec::new(),
            relayed: false,
            asked: None,
            served: None,
            ready_at: "/",
        }
    }

    /// Adds lines to `[server]`.
    pub(crate) fn server(self, lines: &str) -> Self {
        Self { server: lines.to_owned(), ..self }
    }

    /// Adds lines to `[session]`.
    pub(crate) fn session(self, lines: &str) -> Self {
        Self { session: lines.to_owned(), ..self }
    }

    /// Sets the lines of the app `app` behind its hosts.
    pub(crate) fn app(self, lines: &str) -> Self {
        Self { app: lines.to_owned(), ..self }
    }

    /// Appends tables.
    pub(crate) fn tables(self, lines: &str) -> Self {
        Self { tables: lines.to_owned(), ..self }
    }

    /// Sets `store.url` in place of a file.
    pub(crate) fn store(self, url: &str) -> Self {
        Self { store: Some(url.to_owned()), ..self }
    }

    /// Sets settings of `provider.mjs`.
    pub(crate) fn provider(self, settings: Value) -> Self {
        Self { provider: settings, ..self }
    }

    /// Has people sign in at another provider than the world's own.
    pub(crate) fn registered(self, registration: Registration) -> Self {
        Self { registration: Some(registration), ..self }
    }

    /// Changes the edge's files: file, text in it, replacement.
    pub(crate) fn edge(self, changes: &[(&'static str, &'static str, &'static str)]) -> Self {
        Self { changes: changes.to_vec(), ..self }
    }

    /// Counts what the edge sends to the gate.
    pub(crate) fn relayed(self) -> Self {
        Self { relayed: true, ..self }
    }

    /// Has the edge ask this port in place of the gate's.
    pub(crate) fn asking(self, port: u16) -> Self {
        Self { asked: Some(port), ..self }
    }

    /// Has the edge serve this port in place of the app's.
    pub(crate) fn serving(self, port: u16) -> Self {
        Self { served: Some(port), ..self }
    }

    /// Sets the path at which the edge has a route.
    pub(crate) fn ready_at(self, path: &'static str) -> Self {
        Self { ready_at: path, ..self }
    }

    /// Starts everything but the provider.
    pub(crate) async fn without_provider(self) -> World {
        let dir = tempfile::tempdir().unwrap();
        tls::issue(dir.path());
        let hides = self.session.contains("hide_cookies = true");
        let cookies = if hides { ForwardedCookies::FromGate } else { ForwardedCookies::Unchanged };
        let edge = Edge::new(self.kind, self.changes.clone()).with(cookies).ready_at(self.ready_at);
        let origins = ["app", "admin", "rules"].map(|host| origin(self.kind, &edge, host));
        let mut world = World {
            app: App::start().await,
            provider: Provider::new(dir.path(), &origins, &self.provider),
            gate: Gate::new(dir.path()),
            edge,
            relay: None,
            plan: self,
            dir,
        };
        world.gate.configure(&world.config());
        world.gate.start().await;
        if world.plan.relayed {
            world.relay = Some(Relay::to(world.gate.port).await);
        }
        let relay = world.relay.as_ref().map(|relay| relay.port);
        let gate = world.plan.asked.or(relay).unwrap_or(world.gate.port);
        let app = world.plan.served.unwrap_or(world.app.port);
        world.edge.start(world.dir.path(), gate, app).await;
        world
    }

    /// Starts everything.
    pub(crate) async fn start(self) -> World {
        let has_provider = self.registration.is_none();
        let mut world = self.without_provider().await;
        if has_provider {
            world.start_provider().await;
        }
        world
    }
}

impl World {
    /// The world of most tests.
    pub(crate) async fn new() -> Self {
        WorldBuilder::with(TRAEFIK).start().await
    }

    /// Returns a URL at the edge: `at("app", "/a?b")`. Hosts: `app` (anyone signed in), `admin` (group admins), `rules`
    /// (see [`World::config`]); all others are unknown to the gate.
    pub(crate) fn at(&self, host: &str, target: &str) -> String {
        format!("{}{target}", origin(self.plan.kind, &self.edge, host))
    }

    /// A browser without cookies.
    pub(crate) fn visitor(&self) -> Visitor {
        Visitor::new(self.dir.path())
    }

    /// A browser whose owner signs in as `user` at the provider.
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

    /// Starts or restarts the provider.
    pub(crate) async fn start_provider(&mut self) {
        self.provider.start().await;
    }

    /// Returns the gate's configuration.
    pub(crate) fn config(&self) -> String {
        self.config_of(&self.gate)
    }

    /// Returns the configuration of another replica.
    pub(crate) fn config_of(&self, gate: &Gate) -> String {
        let WorldBuilder { kind, server, session, app, tables, store, .. } = &self.plan;
        let authority = match self.provider.wire {
            Transport::Plain => String::new(),
            Transport::Tls => format!("ca_file = {:?}", self.file("ca.pem")),
        };
        let own = Registration { issuer: self.provider.issuer(), lines: authority };
        let Registration { issuer, lines } = self.plan.registration.as_ref().unwrap_or(&own);
        let tls = match kind.gate() {
            Transport::Plain => String::new(),
            Transport::Tls => {
                format!("tls = {{ cert = {0:?}, key = {1:?} }}", self.file("tls.pem"), self.file("tls.key"))
            }
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
{lines}

[[apps]]
name = "app"
hosts = ["app.example.test"]
{app}

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
            client_secret = CLIENT_SECRET,
        )
    }

    /// Folder for all files of this world.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }
}

/// Polls until `found` returns something. Processes are waited for in real time; [`TIMEOUT`] is only the bound of a failing
/// test, not an expectation.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut found: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        if let Some(found) = found().await {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

fn origin(kind: EdgeKind, edge: &Edge, host: &str) -> String {
    format!("{}://{host}.example.test:{}", kind.entry().scheme(), edge.port())
}

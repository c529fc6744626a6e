//! `doorward demo`: everything on one machine and nothing to install.
//!
//! An identity provider with two people, two sample apps, an edge in front of them, and the gate: the same one that
//! `serve` runs, asked over HTTP as Traefik asks it. Everything listens on loopback and is forgotten at the end.

mod apps;
mod edge;
mod gate;
mod names;
mod page;
mod provider;
mod site;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    io::{self, Write},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use tokio::net::TcpListener;
use url::Url;

use self::{
    apps::Apps,
    edge::Edge,
    gate::Wiring,
    names::{App, Origins},
    provider::{Client, Provider},
};
use crate::{
    app,
    cli::{logging, serve},
    clock::Clock,
    config::{Log, LogFormat},
    crypto,
    shutdown::{Signal, Tasks},
};

/// The port that the demo takes when it is free.
const USUAL_PORT: u16 = 8080;

/// The gate's name at the demo's provider.
const CLIENT_ID: &str = "doorward-demo";

/// How long connections may take to finish.
const GRACE: Duration = Duration::from_secs(5);

/// What `doorward demo` can be told.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// The port to open in the browser; without it 8080, or a free one where 8080 is taken
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
}

/// Runs the demo until it is interrupted, and says on stdout where to look.
pub async fn run(options: Options) -> anyhow::Result<()> {
    logging::start(&Log { level: "info".to_owned(), format: LogFormat::Text })?;
    let demo = Demo::build(options.port).await?;
    writeln!(io::stdout(), "{}", Welcome(demo.origins)).context("writing to stdout")?;
    let stop = Signal::default();
    serve::on_signal(stop.clone())?;
    demo.run(stop).await
}

/// A demo that is bound and ready to run.
struct Demo {
    origins: Origins,
    provider: (TcpListener, Arc<Provider>),
    apps: (TcpListener, Arc<Apps>),
    edge: (Vec<TcpListener>, Arc<Edge>),
    gate: app::BoundApp,
}

impl Demo {
    /// Binds everything, on loopback only, and wires it up.
    async fn build(port: Option<u16>) -> anyhow::Result<Self> {
        let edges = edge_listeners(port).await?;
        let apps = site::listen(0).await.context("binding a port for the sample apps")?;
        let provider = site::listen(0).await.context("binding a port for the identity provider")?;
        let origins = Origins { port: address(edges.first().context("the edge has no listener")?)?.port() };
        // By address: a browser knows what `*.localhost` means, the resolver that the gate asks may not.
        let issuer = Url::parse(&format!("http://{}/", address(&provider)?))?;
        let client_secret = crypto::encode(&crypto::random::<32>());
        let sealing_secret = crypto::encode(&crypto::random::<32>());
        let wiring = Wiring {
            issuer: &issuer,
            client_id: CLIENT_ID,
            client_secret: &client_secret,
            sealing_secret: &sealing_secret,
        };
        let gate = app::BoundApp::build(gate::config(&wiring)?).await?;
        let (asked_at, _management) = gate.addresses();
        let edge = Edge::new(origins, asked_at, address(&apps)?);
        let site = Provider::new(issuer, client(origins, &client_secret), Clock::System)?;
        Ok(Self {
            origins,
            provider: (provider, Arc::new(site)),
            apps: (apps, Arc::new(Apps::new(origins))),
            edge: (edges, Arc::new(edge)),
            gate,
        })
    }

    /// Runs until `stop` is raised and everything has ended.
    async fn run(self, stop: Signal) -> anyhow::Result<()> {
        let tasks = Tasks::new(stop.clone());
        // What the gate and the edge still need while they finish goes last.
        let last = Signal::default();
        tasks.supervise("demo provider", site::serve(self.provider.0, self.provider.1, tasks.clone(), last.clone()));
        tasks.supervise("demo apps", site::serve(self.apps.0, self.apps.1, tasks.clone(), last.clone()));
        for listener in self.edge.0 {
            let edge = Arc::clone(&self.edge.1);
            tasks.supervise("demo edge", site::serve(listener, edge, tasks.clone(), stop.clone()));
        }
        let ended = tokio::select! {
            ended = self.gate.run(stop.clone()) => ended,
            () = tasks.failed() => Err(anyhow::anyhow!("a part of the demo ended by itself")),
        };
        stop.raise();
        last.raise();
        if tokio::time::timeout(GRACE, tasks.joined()).await.is_err() {
            tracing::warn!("the demo stopped with connections open");
        }
        ended
    }
}

/// The port that was asked for or none; nobody having asked, the usual one or any.
async fn edge_listeners(port: Option<u16>) -> anyhow::Result<Vec<TcpListener>> {
    if let Some(port) = port {
        return site::listen_on_both(port)
            .await
            .with_context(|| format!("cannot listen on port {port} of this machine; choose another with --port"));
    }
    match site::listen_on_both(USUAL_PORT).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => site::listen_on_both(0).await,
        other => other,
    }
    .context("binding a port for the edge")
}

fn address(listener: &TcpListener) -> anyhow::Result<SocketAddr> {
    listener.local_addr().context("asking for the port that was bound")
}

/// What the provider knows of the gate.
fn client(origins: Origins, secret: &str) -> Client {
    Client {
        id: CLIENT_ID.to_owned(),
        secret: crypto::digest(secret.as_bytes()),
        redirect_uris: origins.on_every_app("/_doorward/callback"),
        post_logout_redirect_uris: origins.on_every_app("/_doorward/signed_out"),
    }
}

/// What is said at the start.
struct Welcome(Origins);

impl fmt::Display for Welcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(origins) = self;
        let (landing, port) = (origins.landing(), origins.port);
        let (notes, admin) = (origins.app(App::Notes), origins.app(App::Admin));
        write!(
            f,
            "
  The Doorward demo is running, on this machine only.

    Open        {landing}/

    Apps        {notes}/   everybody who is signed in
                {admin}/   members of the group admins

    Sign in as  alice (admins, staff) or bob (staff); no password

    Try         curl -i {notes}/
                  a program gets 401 and JSON
                curl -i -H 'Accept: text/html' {notes}/
                  a page being opened is sent to sign in

  If curl cannot find the name: curl -i -H 'Host: notes.localhost:{port}' http://127.0.0.1:{port}/
  Ctrl-C stops the demo and forgets everything.
"
        )
    }
}

//! `doorward demo`: a complete setup in one process, with nothing to install.
//!
//! An identity provider with two people, two sample apps, an edge in front of them, and the gate: the same one that
//! `serve` runs, with subrequests over HTTP as Traefik sends them. Everything listens on loopback and is kept in memory.

mod apps;
mod edge;
mod gate;
mod names;
mod page;
mod provider;
mod web;

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
    apps::SampleApps,
    edge::DemoEdge,
    gate::GateParameters,
    names::{DemoOrigins, SampleApp},
    provider::{DemoProvider, RegisteredClient},
};
use crate::{
    app,
    cli::{logging, serve},
    clock::Clock,
    config::{Log, LogFormat},
    crypto,
    shutdown::{Signal, Tasks},
};

/// Port of the demo if it is free.
const DEFAULT_PORT: u16 = 8080;

/// The gate's client ID at the demo's provider.
const CLIENT_ID: &str = "doorward-demo";

/// Time for connections to finish at the end.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// Options of `doorward demo`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// The port to open in the browser; without it 8080, or a free one where 8080 is taken
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
}

/// Runs the demo until it is interrupted, and prints its addresses on stdout.
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
    origins: DemoOrigins,
    provider: (TcpListener, Arc<DemoProvider>),
    apps: (TcpListener, Arc<SampleApps>),
    edge: (Vec<TcpListener>, Arc<DemoEdge>),
    gate: app::BoundApp,
}

impl Demo {
    /// Binds all listeners, on loopback only, and connects the components.
    async fn build(port: Option<u16>) -> anyhow::Result<Self> {
        let edges = edge_listeners(port).await?;
        let apps = web::listen(0).await.context("binding a port for the sample apps")?;
        let provider = web::listen(0).await.context("binding a port for the identity provider")?;
        let origins = DemoOrigins { port: address(edges.first().context("the edge has no listener")?)?.port() };
        // By address: browsers know `*.localhost`, the gate's resolver may not.
        let issuer = Url::parse(&format!("http://{}/", address(&provider)?))?;
        let client_secret = crypto::encode(&crypto::random::<32>());
        let sealing_secret = crypto::encode(&crypto::random::<32>());
        let parameters = GateParameters {
            issuer: &issuer,
            client_id: CLIENT_ID,
            client_secret: &client_secret,
            sealing_secret: &sealing_secret,
        };
        let gate = app::BoundApp::build(gate::config(&parameters)?).await?;
        let (asked_at, _management) = gate.addresses();
        let edge = DemoEdge::new(origins, asked_at, address(&apps)?);
        let site = DemoProvider::new(issuer, client(origins, &client_secret), Clock::System)?;
        Ok(Self {
            origins,
            provider: (provider, Arc::new(site)),
            apps: (apps, Arc::new(SampleApps::new(origins))),
            edge: (edges, Arc::new(edge)),
            gate,
        })
    }

    /// Runs until `stop` is raised and everything has ended.
    async fn run(self, stop: Signal) -> anyhow::Result<()> {
        let tasks = Tasks::new(stop.clone());
        // Provider and apps stop last: the gate and the edge need them while they finish.
        let last = Signal::default();
        tasks.supervise("demo provider", web::serve(self.provider.0, self.provider.1, tasks.clone(), last.clone()));
        tasks.supervise("demo apps", web::serve(self.apps.0, self.apps.1, tasks.clone(), last.clone()));
        for listener in self.edge.0 {
            let edge = Arc::clone(&self.edge.1);
            tasks.supervise("demo edge", web::serve(listener, edge, tasks.clone(), stop.clone()));
        }
        let ended = tokio::select! {
            ended = self.gate.run(stop.clone()) => ended,
            () = tasks.failed() => Err(anyhow::anyhow!("a part of the demo ended by itself")),
        };
        stop.raise();
        last.raise();
        if tokio::time::timeout(SHUTDOWN_GRACE, tasks.joined()).await.is_err() {
            tracing::warn!("the demo stopped with connections open");
        }
        ended
    }
}

/// Binds the given port; without one the default port, or any if that is taken.
async fn edge_listeners(port: Option<u16>) -> anyhow::Result<Vec<TcpListener>> {
    if let Some(port) = port {
        return web::listen_on_both(port)
            .await
            .with_context(|| format!("cannot listen on port {port} of this machine; choose another with --port"));
    }
    match web::listen_on_both(DEFAULT_PORT).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => web::listen_on_both(0).await,
        other => other,
    }
    .context("binding a port for the edge")
}

fn address(listener: &TcpListener) -> anyhow::Result<SocketAddr> {
    listener.local_addr().context("asking for the port that was bound")
}

/// Returns the gate as a client registered at the provider.
fn client(origins: DemoOrigins, secret: &str) -> RegisteredClient {
    RegisteredClient {
        id: CLIENT_ID.to_owned(),
        secret: crypto::digest(secret.as_bytes()),
        redirect_uris: origins.on_every_app("/_doorward/callback"),
        post_logout_redirect_uris: origins.on_every_app("/_doorward/signed_out"),
    }
}

/// Message at the start.
struct Welcome(DemoOrigins);

impl fmt::Display for Welcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(origins) = self;
        let (landing, port) = (origins.landing(), origins.port);
        let (notes, admin) = (origins.app(SampleApp::Notes), origins.app(SampleApp::Admin));
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

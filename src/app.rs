//! Building and running: configuration in, a running gate out. The only place that wires and spawns.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context as _, bail};

use crate::{
    clock::Clock,
    config::Config,
    crypto::Keyring,
    flow::{self, Gate},
    metrics::{self, Metrics},
    oidc::{Provider, Transport},
    pages::Pages,
    policy::Policy,
    server::Server,
    session::Sessions,
    shutdown,
};

/// A gate that is bound and ready to run.
pub struct App {
    server: Server,
    gate: Arc<Gate>,
    sessions: Arc<Sessions>,
    providers: Vec<Arc<Provider>>,
    metrics: Arc<Metrics>,
}

impl App {
    /// Builds every component bottom-up and binds the listeners. Fails where waiting cannot help.
    pub async fn build(config: Config) -> anyhow::Result<Self> {
        let metrics = Arc::new(metrics(&config));
        metrics.configuration.loaded(&config.hash);
        let bound = bind(&metrics, &config);
        let clock = Clock::System;
        let keyring = Arc::new(Keyring::new(&config.secrets).context("session.secrets")?);
        let providers = providers(&config, &clock, &bound)?;
        let backend = config.session.backend.kind();
        let sessions = Sessions::open(
            &config.session,
            Arc::clone(&keyring),
            clock.clone(),
            metrics.sessions.clone(),
            metrics.store.clone(),
        )
        .await
        .context("store.url")?;
        let sessions = Arc::new(sessions);
        let components = flow::Components {
            policy: Policy::new(config.policy),
            sessions: Arc::clone(&sessions),
            providers: providers.clone(),
            pages: Pages::new(config.brand),
            keyring,
            clock,
            metrics: bound,
        };
        let gate = Arc::new(Gate::new(config.gate, components));
        let server = Server::bind(config.server).await?;
        let (listen, management) = server.addresses();
        tracing::info!(%listen, %management, store = backend, version = env!("CARGO_PKG_VERSION"), "bound");
        Ok(Self { server, gate, sessions, providers, metrics })
    }

    /// The addresses that were bound: the gate's and the management's.
    #[must_use]
    pub fn addresses(&self) -> (SocketAddr, SocketAddr) {
        self.server.addresses()
    }

    /// Runs until `stop` is raised and everything has drained. An error means that the process had to stop.
    pub async fn run(self, stop: shutdown::Signal) -> anyhow::Result<()> {
        let tasks = shutdown::Tasks::new(stop.clone());
        // The stores and providers outlive the listeners: requests that are being finished still need them.
        let drained = shutdown::Signal::default();
        let background = shutdown::Tasks::new(drained.clone());
        let sessions = Arc::clone(&self.sessions);
        let until = drained.clone();
        background.supervise("sessions", async move { sessions.maintain(until).await });
        let renewals = self.gate.renewer().work(background.clone(), drained.clone());
        background.supervise("renewals", renewals);
        for provider in self.providers {
            let until = drained.clone();
            background.supervise("provider", async move { provider.maintain(until).await });
        }
        let serving = self.server.run(self.gate, self.metrics, tasks.clone(), stop.clone());
        let lost = async {
            tokio::select! { () = tasks.lost() => {}, () = background.lost() => {} }
            stop.raise();
        };
        let asked = {
            tokio::pin!(serving);
            tokio::select! {
                () = &mut serving => true,
                () = lost => { serving.await; false }
            }
        };
        drained.raise();
        tasks.joined().await;
        background.joined().await;
        tracing::info!("stopped");
        if asked { Ok(()) } else { bail!("a background task ended by itself; the log says which") }
    }
}

fn metrics(config: &Config) -> Metrics {
    Metrics::new(&metrics::Settings {
        backend: config.session.backend.kind(),
        version: env!("CARGO_PKG_VERSION"),
        commit: env!("DOORWARD_COMMIT"),
    })
}

fn bind(metrics: &Metrics, config: &Config) -> metrics::Bound {
    let apps: Vec<_> = config.policy.apps.iter().map(|app| app.name.as_str()).collect();
    let providers: Vec<_> = config.providers.iter().map(|provider| provider.name.as_str()).collect();
    metrics.bind(&apps, &providers)
}

fn providers(config: &Config, clock: &Clock, bound: &metrics::Bound) -> anyhow::Result<Vec<Arc<Provider>>> {
    let mut providers = Vec::with_capacity(config.providers.len());
    for (index, (settings, numbers)) in config.providers.iter().zip(&bound.providers).enumerate() {
        let transport = Transport::new(settings).with_context(|| format!("providers[{index}]"))?;
        providers.push(Arc::new(Provider::new(settings.clone(), transport, clock.clone(), numbers.clone())));
    }
    Ok(providers)
}

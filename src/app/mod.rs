//! Building and running: configuration in, a running gate out. The only place that wires and spawns.

mod memory;
mod providers;
mod reload;
#[cfg(test)]
mod tests;

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context as _, bail};

pub use self::reload::Changes;
use self::{providers::Caretaker, reload::Reload};
use crate::{
    clock::Clock,
    config::{Config, Difference},
    crypto::Keyring,
    edge::Edge,
    flow::{self, Gate},
    metrics::{self, Metrics},
    oidc::Provider,
    pages::Pages,
    policy::Policy,
    server::{Capacity, Server},
    session::Sessions,
    shutdown,
};

/// A gate that is bound and ready to run.
pub struct App {
    server: Server,
    works: Works,
    changes: Option<Changes>,
}

/// What stays for as long as the process runs, and the configuration that it works by.
struct Works {
    config: Config,
    gate: Arc<Gate>,
    sessions: Arc<Sessions>,
    providers: Vec<Arc<Provider>>,
    metrics: Arc<Metrics>,
    clock: Clock,
}

impl App {
    /// Builds every component bottom-up and binds the listeners. Fails where waiting cannot help.
    pub async fn build(config: Config) -> anyhow::Result<Self> {
        let backend = config.session.backend.kind();
        let works = Works::build(config).await?;
        warn_of(&works.config);
        let server = Server::bind(works.config.server.clone()).await?;
        let (listen, management) = server.addresses();
        let Capacity { files, connections } = server.capacity();
        tracing::info!(%listen, %management, store = backend, files, connections, version = env!("CARGO_PKG_VERSION"), "bound");
        Ok(Self { server, works, changes: None })
    }

    /// The same gate, which follows the changes of its configuration while it runs.
    #[must_use]
    pub fn following(self, changes: Changes) -> Self {
        Self { changes: Some(changes), ..self }
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
        let (gate, metrics) = (Arc::clone(&self.works.gate), Arc::clone(&self.works.metrics));
        let sessions = Arc::clone(&self.works.sessions);
        let until = drained.clone();
        background.supervise("sessions", async move { sessions.maintain(until).await });
        let renewals = gate.renewer().run(background.clone(), drained.clone());
        background.supervise("renewals", renewals);
        let (counting, until) = (Arc::clone(&gate), drained.clone());
        background.supervise("refusals", async move { counting.log_refusals(until).await });
        let (until, threads) = (drained.clone(), background.clone());
        background.supervise("memory", async move {
            tokio::select! { never = memory::give_back(threads) => match never {}, () = until.raised() => {} }
        });
        let mut caretaker = Caretaker::new(background.clone(), drained.clone());
        caretaker.look_after(&self.works.providers);
        if let Some(changes) = self.changes {
            let (reload, until) = (Reload { works: self.works, caretaker }, stop.clone());
            tasks.supervise("configuration", async move {
                tokio::select! { never = reload.follow(changes) => match never {}, () = until.raised() => {} }
            });
        }
        let serving = self.server.run(gate, metrics, tasks.clone(), stop.clone());
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

impl Works {
    async fn build(config: Config) -> anyhow::Result<Self> {
        let clock = Clock::System;
        let keyring = keyring(&config)?;
        let prepared = providers::prepare(&[], &config.providers)?;
        let metrics = Arc::new(Metrics::new(&metrics::Settings {
            backend: config.session.backend.kind(),
            version: env!("CARGO_PKG_VERSION"),
            commit: env!("DOORWARD_COMMIT"),
        }));
        metrics.configuration.loaded(&config.hash);
        let bound = bind(&metrics, &config);
        let providers = providers::made(prepared, &bound.providers, &clock);
        let sessions = Sessions::open(
            &config.session,
            Arc::clone(&keyring),
            clock.clone(),
            metrics.sessions.clone(),
            metrics.store.clone(),
        );
        let sessions = Arc::new(sessions.await.context("store.url")?);
        let components = flow::GateComponents {
            policy: Policy::new(config.policy.clone()),
            sessions: Arc::clone(&sessions),
            providers: providers.clone(),
            pages: Pages::new(config.brand.clone()),
            keyring,
            clock: clock.clone(),
            metrics: bound,
        };
        let gate = Arc::new(Gate::new(config.gate.clone(), components));
        Ok(Self { config, gate, sessions, providers, metrics, clock })
    }

    /// Puts another configuration in force, from the next request on, and says what differs. Where that fails, nothing has
    /// changed.
    fn change(&mut self, next: Config) -> anyhow::Result<Difference> {
        let (config, difference) = next.after(&self.config);
        if difference.is_none() {
            return Ok(difference);
        }
        let keyring = keyring(&config)?;
        let prepared = providers::prepare(&self.providers, &config.providers)?;
        // Nothing fails from here on, and nothing is waited for. Taken apart, so that nothing is forgotten: the listeners
        // stay as they are, the log is its owner's.
        let Config {
            server: _,
            gate,
            secrets: _,
            session,
            providers: _,
            policy,
            brand,
            log: _,
            effective: _,
            hash,
            warnings: _,
        } = config.clone();
        let bound = bind(&self.metrics, &config);
        let providers = providers::made(prepared, &bound.providers, &self.clock);
        self.sessions.change(&session, Arc::clone(&keyring));
        let components = flow::GateComponents {
            policy: Policy::new(policy),
            sessions: Arc::clone(&self.sessions),
            providers: providers.clone(),
            pages: Pages::new(brand),
            keyring,
            clock: self.clock.clone(),
            metrics: bound,
        };
        self.gate.change(gate, components);
        self.metrics.configuration.loaded(&hash);
        for gone in self.config.providers.iter().filter(|before| !has(&config, &before.name)) {
            self.metrics.forget_provider(&gone.name);
        }
        (self.config, self.providers) = (config, providers);
        Ok(difference)
    }
}

/// Logs what `check` warns of.
fn warn_of(config: &Config) {
    for warning in &config.warnings {
        let (key, problem, mend) = (&warning.key, &warning.problem, &warning.hint);
        tracing::warn!(place = %warning.origin, key, problem, mend, "the configuration is valid and may not be meant so");
    }
}

fn keyring(config: &Config) -> anyhow::Result<Arc<Keyring>> {
    Ok(Arc::new(Keyring::new(&config.secrets).context("session.secrets")?))
}

fn bind(metrics: &Metrics, config: &Config) -> metrics::Bound {
    let apps: Vec<_> = config.policy.apps.iter().map(|app| app.name.as_str()).collect();
    let providers: Vec<_> = config.providers.iter().map(|provider| provider.name.as_str()).collect();
    metrics.bind(&Edge::LABELS, &apps, &providers)
}

fn has(config: &Config, provider: &str) -> bool {
    config.providers.iter().any(|known| known.name == provider)
}

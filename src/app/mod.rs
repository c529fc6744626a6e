//! Application: builds every component from the configuration, and runs them.
//!
//! The only place that wires and spawns.

mod memory;
mod providers;
mod reload;
#[cfg(test)]
mod tests;

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context as _, bail};

pub use self::reload::ReloadSources;
use self::{providers::ProviderTasks, reload::ConfigReloader};
use crate::{
    clock::Clock,
    config::{Config, Difference},
    crypto::Keyring,
    flow::{self, Gate},
    metrics::{self, Metrics},
    oidc::Provider,
    pages::Pages,
    policy::Policy,
    server::{Capacity, Server},
    session::Sessions,
    shutdown,
};

/// Gate that is bound and ready to run.
pub struct BoundApp {
    server: Server,
    components: AppComponents,
    reload: Option<ReloadSources>,
}

/// Components that live as long as the process, with the configuration in force.
struct AppComponents {
    config: Config,
    gate: Arc<Gate>,
    sessions: Arc<Sessions>,
    providers: Vec<Arc<Provider>>,
    metrics: Arc<Metrics>,
    clock: Clock,
}

impl BoundApp {
    /// Builds every component bottom-up and binds the listeners. A store or provider that is unavailable is no error.
    pub async fn build(config: Config) -> anyhow::Result<Self> {
        let backend = config.session.backend.kind();
        let components = AppComponents::build(config).await?;
        log_warnings(&components.config);
        let server = Server::bind(components.config.server.clone()).await?;
        let (listen, management) = server.addresses();
        let Capacity { files, connections } = server.capacity();
        tracing::info!(%listen, %management, store = backend, files, connections, version = env!("CARGO_PKG_VERSION"), "bound");
        Ok(Self { server, components, reload: None })
    }

    /// Reloads the configuration while the gate runs, whenever `sources` have a change.
    #[must_use]
    pub fn with_reload(self, sources: ReloadSources) -> Self {
        Self { reload: Some(sources), ..self }
    }

    /// Addresses that were bound: the gate's and the management's.
    #[must_use]
    pub fn addresses(&self) -> (SocketAddr, SocketAddr) {
        self.server.addresses()
    }

    /// Runs until `stop` is raised and everything has drained. Fails if a background task ended by itself.
    pub async fn run(self, stop: shutdown::Signal) -> anyhow::Result<()> {
        let tasks = shutdown::Tasks::new(stop.clone());
        // The store and the providers outlive the listeners: requests in flight still need them.
        let drained = shutdown::Signal::default();
        let background = shutdown::Tasks::new(drained.clone());
        let (gate, metrics) = (Arc::clone(&self.components.gate), Arc::clone(&self.components.metrics));
        let sessions = Arc::clone(&self.components.sessions);
        let until = drained.clone();
        background.supervise("sessions", async move { sessions.maintain(until).await });
        let renewals = gate.renewer().work(background.clone(), drained.clone());
        background.supervise("renewals", renewals);
        let (counting, until) = (Arc::clone(&gate), drained.clone());
        background.supervise("refusals", async move { counting.log_refusals(until).await });
        let (until, threads) = (drained.clone(), background.clone());
        background.supervise("memory", async move {
            tokio::select! { never = memory::return_free_pages(threads) => match never {}, () = until.raised() => {} }
        });
        let mut provider_tasks = ProviderTasks::new(background.clone(), drained.clone());
        provider_tasks.follow(&self.components.providers);
        if let Some(sources) = self.reload {
            let (reloader, until) = (ConfigReloader { components: self.components, provider_tasks }, stop.clone());
            tasks.supervise("configuration", async move {
                tokio::select! { never = reloader.run(sources) => match never {}, () = until.raised() => {} }
            });
        }
        let serving = self.server.run(gate, metrics, tasks.clone(), stop.clone());
        let lost = async {
            tokio::select! { () = tasks.lost() => {}, () = background.lost() => {} }
            stop.raise();
        };
        let was_asked = {
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
        if was_asked { Ok(()) } else { bail!("a background task ended by itself; the log says which") }
    }
}

impl AppComponents {
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
        let bound = bind_metrics(&metrics, &config);
        let providers = providers::make(prepared, &bound.providers, &clock);
        let sessions = Sessions::open(
            &config.session,
            Arc::clone(&keyring),
            clock.clone(),
            metrics.sessions.clone(),
            metrics.store.clone(),
        );
        let sessions = Arc::new(sessions.await.context("store.url")?);
        let components = flow::Components {
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

    /// Applies another configuration from the next request on, and returns the difference. On an error nothing has changed.
    fn apply(&mut self, next: Config) -> anyhow::Result<Difference> {
        let (config, difference) = next.after(&self.config);
        if difference.is_none() {
            return Ok(difference);
        }
        let keyring = keyring(&config)?;
        let prepared = providers::prepare(&self.providers, &config.providers)?;
        // Nothing fails and nothing is awaited from here on. Destructured, so that no field is forgotten: the listeners
        // stay as they are, and the caller applies the log level.
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
        let bound = bind_metrics(&self.metrics, &config);
        let providers = providers::make(prepared, &bound.providers, &self.clock);
        self.sessions.change(&session, Arc::clone(&keyring));
        let components = flow::Components {
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
        for removed in self.config.providers.iter().filter(|before| !has_provider(&config, &before.name)) {
            self.metrics.forget_provider(&removed.name);
        }
        (self.config, self.providers) = (config, providers);
        Ok(difference)
    }
}

/// Logs the warnings that `check` prints.
fn log_warnings(config: &Config) {
    for warning in &config.warnings {
        let (key, problem, mend) = (&warning.key, &warning.problem, &warning.hint);
        tracing::warn!(place = %warning.origin, key, problem, mend, "the configuration is valid and may not be meant so");
    }
}

fn keyring(config: &Config) -> anyhow::Result<Arc<Keyring>> {
    Ok(Arc::new(Keyring::new(&config.secrets).context("session.secrets")?))
}

fn bind_metrics(metrics: &Metrics, config: &Config) -> metrics::Bound {
    let apps: Vec<_> = config.policy.apps.iter().map(|app| app.name.as_str()).collect();
    let providers: Vec<_> = config.providers.iter().map(|provider| provider.name.as_str()).collect();
    metrics.bind(&apps, &providers)
}

fn has_provider(config: &Config, provider: &str) -> bool {
    config.providers.iter().any(|known| known.name == provider)
}

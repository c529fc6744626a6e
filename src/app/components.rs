//! Components of the gate, wired bottom-up, and the changes of a reload to them.
//!
//! A reload either applies as a whole or changes nothing.

use std::sync::Arc;

use anyhow::Context as _;

use super::providers;
use crate::{
    clock::Clock,
    config::{Config, ConfigDiff},
    crypto::Keyring,
    edge::Edge,
    flow::{self, Gate},
    metrics::{self, Metrics},
    oidc::{self, Provider},
    pages::Pages,
    policy::Policy,
    session::Sessions,
    upstream::Upstreams,
};

/// Components that live as long as the process, with the configuration in force.
pub(super) struct AppComponents {
    pub(super) config: Config,
    pub(super) gate: Arc<Gate>,
    pub(super) sessions: Arc<Sessions>,
    /// The providers, and behind them the issuers at which nobody signs in.
    pub(super) providers: Vec<Arc<Provider>>,
    pub(super) metrics: Arc<Metrics>,
    upstreams: Upstreams,
    clock: Clock,
}

impl AppComponents {
    /// Builds every component bottom-up.
    pub(super) async fn build(config: Config) -> anyhow::Result<Self> {
        let clock = Clock::System;
        let keyring = keyring(&config)?;
        let prepared = providers::prepare(&[], &every_issuer(&config))?;
        let metrics = Arc::new(Metrics::new(&metrics::Settings {
            backend: config.session.backend.kind(),
            version: env!("CARGO_PKG_VERSION"),
            commit: env!("DOORWARD_COMMIT"),
        }));
        metrics.configuration.set_hash(&config.hash);
        let upstreams = Upstreams::new(metrics.upstreams.clone());
        let configured = upstreams.prepare(config.gate.upstreams()).context("upstream")?;
        let bound = bind_metrics(&metrics, &config);
        let providers = providers::make(prepared, &issuer_metrics(&metrics, &bound, &config), &clock);
        let sessions = Sessions::open(
            &config.session,
            Arc::clone(&keyring),
            clock.clone(),
            metrics.sessions.clone(),
            metrics.store.clone(),
        );
        let sessions = Arc::new(sessions.await.context("store.url")?);
        let (sign_in, token_issuers) = split(&providers, &config);
        let components = flow::GateComponents {
            policy: Policy::new(config.policy.clone()),
            sessions: Arc::clone(&sessions),
            providers: sign_in,
            token_issuers,
            upstreams: configured,
            pages: Pages::new(config.brand.clone()),
            keyring,
            clock: clock.clone(),
            metrics: bound,
        };
        let gate = Arc::new(Gate::new(config.gate.clone(), components));
        Ok(Self { config, gate, sessions, providers, metrics, upstreams, clock })
    }

    /// Applies another configuration from the next request on, and returns the difference. On an error nothing has changed.
    pub(super) fn apply(&mut self, next: Config) -> anyhow::Result<ConfigDiff> {
        let (config, difference) = next.reloaded_over(&self.config);
        if difference.is_empty() {
            return Ok(difference);
        }
        let keyring = keyring(&config)?;
        let prepared = providers::prepare(&self.providers, &every_issuer(&config))?;
        let configured = self.upstreams.prepare(config.gate.upstreams()).context("upstream")?;
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
        let providers = providers::make(prepared, &issuer_metrics(&self.metrics, &bound, &config), &self.clock);
        let (sign_in, token_issuers) = split(&providers, &config);
        self.sessions.change(&session, Arc::clone(&keyring));
        let components = flow::GateComponents {
            policy: Policy::new(policy),
            sessions: Arc::clone(&self.sessions),
            providers: sign_in,
            token_issuers,
            upstreams: configured,
            pages: Pages::new(brand),
            keyring,
            clock: self.clock.clone(),
            metrics: bound,
        };
        self.gate.change(gate, components);
        self.metrics.configuration.set_hash(&hash);
        for removed in self.providers.iter().map(|before| &before.settings().name) {
            if !providers.iter().any(|kept| kept.settings().name == *removed) {
                self.metrics.remove_provider_gauges(removed);
            }
        }
        (self.config, self.providers) = (config, providers);
        Ok(difference)
    }
}

/// Logs the warnings that `check` prints.
pub(super) fn log_warnings(config: &Config) {
    for warning in &config.warnings {
        let (key, problem, mend) = (&warning.key, &warning.problem, &warning.hint);
        tracing::warn!(place = %warning.origin, key, problem, mend, "configuration warning: valid, but probably not intended");
    }
}

fn keyring(config: &Config) -> anyhow::Result<Arc<Keyring>> {
    Ok(Arc::new(Keyring::new(&config.secrets).context("session.secrets")?))
}

fn bind_metrics(metrics: &Metrics, config: &Config) -> metrics::BoundMetrics {
    let apps: Vec<_> = config.policy.apps.iter().map(|app| app.name.as_str()).collect();
    let providers: Vec<_> = config.providers.iter().map(|provider| provider.name.as_str()).collect();
    metrics.bind(&Edge::LABELS, &apps, &providers)
}

/// Returns the settings of the providers, and behind them of the issuers at which nobody signs in.
fn every_issuer(config: &Config) -> Vec<oidc::Settings> {
    let token_issuers = config.gate.bearer.iter().flat_map(flow::BearerSettings::own_issuers);
    config.providers.iter().chain(token_issuers).cloned().collect()
}

/// Returns the metrics of all of them, in the same order.
fn issuer_metrics(metrics: &Metrics, bound: &metrics::BoundMetrics, config: &Config) -> Vec<metrics::ProviderMetrics> {
    let token_issuers = config.gate.bearer.iter().flat_map(flow::BearerSettings::own_issuers);
    let of_token_issuers = token_issuers.map(|issuer| metrics.of_issuer(&issuer.name));
    bound.providers.iter().cloned().chain(of_token_issuers).collect()
}

/// Splits them into the providers and the issuers at which nobody signs in.
fn split(issuers: &[Arc<Provider>], config: &Config) -> (Vec<Arc<Provider>>, Vec<Arc<Provider>>) {
    let (providers, token_issuers) = issuers.split_at(config.providers.len());
    (providers.to_vec(), token_issuers.to_vec())
}

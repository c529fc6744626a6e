//! What is counted for each provider: its health, sign-ins and renewals.

use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::{Endpoint, Login, Outcome, Renewal, counters, increment, register};

/// The metrics with a label `provider`.
pub(super) struct Families {
    up: IntGaugeVec,
    refresh_tokens: IntGaugeVec,
    requests: IntCounterVec,
    durations: HistogramVec,
    jwks_refreshes: IntCounterVec,
    logins: IntCounterVec,
    renewals: IntCounterVec,
}

impl Families {
    pub(super) fn new(registry: &Registry) -> Self {
        let gauge = |name: &str, help: &str| register(registry, IntGaugeVec::new(Opts::new(name, help), &["provider"]));
        let opts = HistogramOpts::new("doorward_provider_duration_seconds", "Time of requests to the provider");
        Self {
            up: gauge("doorward_provider_up", "Whether the provider answers"),
            refresh_tokens: gauge(
                "doorward_provider_refresh_tokens",
                "Whether the provider's last answer held a refresh token",
            ),
            requests: counters(
                registry,
                "doorward_provider_requests_total",
                "Requests to the provider",
                &["provider", "endpoint", "result"],
            ),
            durations: register(registry, HistogramVec::new(opts, &["provider", "endpoint"])),
            jwks_refreshes: counters(
                registry,
                "doorward_jwks_refreshes_total",
                "Signing keys fetched",
                &["provider", "result"],
            ),
            logins: counters(registry, "doorward_logins_total", "Sign-ins", &["provider", "result"]),
            renewals: counters(registry, "doorward_renewals_total", "Renewals of sessions", &["provider", "result"]),
        }
    }

    pub(super) fn of(&self, name: &str) -> Provider {
        Provider {
            up: self.up.with_label_values(&[name]),
            refresh_tokens: self.refresh_tokens.with_label_values(&[name]),
            requests: Endpoint::ALL
                .iter()
                .flat_map(|endpoint| Outcome::ALL.iter().map(move |outcome| (endpoint, outcome)))
                .map(|(endpoint, outcome)| self.requests.with_label_values(&[name, endpoint.label(), outcome.label()]))
                .collect(),
            durations: Endpoint::ALL
                .iter()
                .map(|endpoint| self.durations.with_label_values(&[name, endpoint.label()]))
                .collect(),
            jwks_refreshes: Outcome::ALL
                .iter()
                .map(|outcome| self.jwks_refreshes.with_label_values(&[name, outcome.label()]))
                .collect(),
        }
    }

    pub(super) fn logins(&self, providers: &[&str]) -> Logins {
        let pairs = providers.iter().flat_map(|provider| Login::ALL.iter().map(move |result| (*provider, result)));
        Logins { handles: pairs.map(|(p, r)| self.logins.with_label_values(&[p, r.label()])).collect() }
    }

    pub(super) fn renewals(&self, providers: &[&str]) -> Renewals {
        let pairs = providers.iter().flat_map(|provider| Renewal::ALL.iter().map(move |result| (*provider, result)));
        Renewals { handles: pairs.map(|(p, r)| self.renewals.with_label_values(&[p, r.label()])).collect() }
    }

    /// Takes back what was said about how a provider is now.
    pub(super) fn forget(&self, name: &str) {
        for gauge in [&self.up, &self.refresh_tokens] {
            // It fails where nothing was said.
            let _not_there = gauge.remove_label_values(&[name]);
        }
    }
}

/// One provider's health.
#[derive(Clone)]
pub struct Provider {
    up: IntGauge,
    refresh_tokens: IntGauge,
    requests: Vec<IntCounter>,
    durations: Vec<Histogram>,
    jwks_refreshes: Vec<IntCounter>,
}

impl Provider {
    /// Notes whether the provider answers.
    pub fn set_up(&self, up: bool) {
        self.up.set(i64::from(up));
    }

    /// Notes whether the provider's last token answer held a refresh token.
    pub fn set_refresh_tokens(&self, given: bool) {
        self.refresh_tokens.set(i64::from(given));
    }

    /// Counts one request to the provider.
    pub fn requested(&self, endpoint: Endpoint, outcome: Outcome, took: Duration) {
        increment(&self.requests, endpoint as usize * Outcome::ALL.len() + outcome as usize, 1);
        if let Some(histogram) = self.durations.get(endpoint as usize) {
            histogram.observe(took.as_secs_f64());
        }
        if endpoint == Endpoint::Jwks {
            increment(&self.jwks_refreshes, outcome as usize, 1);
        }
    }
}

/// Sign-ins by provider and result.
#[derive(Clone)]
pub struct Logins {
    handles: Vec<IntCounter>,
}

impl Logins {
    /// Counts one sign-in at the provider with this place in the configuration.
    pub fn count(&self, provider: usize, result: Login) {
        increment(&self.handles, provider * Login::ALL.len() + result as usize, 1);
    }
}

/// Renewals by provider and result.
#[derive(Clone)]
pub struct Renewals {
    handles: Vec<IntCounter>,
}

impl Renewals {
    /// Counts one renewal at the provider with this place in the configuration.
    pub fn count(&self, provider: usize, result: Renewal) {
        increment(&self.handles, provider * Renewal::ALL.len() + result as usize, 1);
    }
}

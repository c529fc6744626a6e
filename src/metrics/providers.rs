//! Metrics of each provider: its health, sign-ins and renewals.

use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::{
    labels::{Endpoint, LoginResult, ProviderResult, RenewalResult},
    registry::{counters, increment, register},
};

const REFRESH_TOKENS: (&str, &str) =
    ("doorward_provider_refresh_tokens", "Whether the provider's last answer to a sign-in held a refresh token");
const KEEPS_SID: (&str, &str) =
    ("doorward_provider_keeps_sid", "Whether renewed ID tokens of the provider carry the sid of their session");

/// Gauges that have no sample at first, with their help texts.
pub(super) const UNSAMPLED_GAUGES: &[(&str, &str)] = &[REFRESH_TOKENS, KEEPS_SID];

/// The metric families with a label `provider`.
pub(super) struct ProviderFamilies {
    up: IntGaugeVec,
    refresh_tokens: IntGaugeVec,
    keeps_sid: IntGaugeVec,
    clock_offset: IntGaugeVec,
    requests: IntCounterVec,
    durations: HistogramVec,
    jwks_refreshes: IntCounterVec,
    logins: IntCounterVec,
    renewals: IntCounterVec,
    renewal_waits: IntCounterVec,
}

impl ProviderFamilies {
    pub(super) fn new(registry: &Registry) -> Self {
        let gauge = |name: &str, help: &str| register(registry, IntGaugeVec::new(Opts::new(name, help), &["provider"]));
        let opts = HistogramOpts::new("doorward_provider_duration_seconds", "Time of requests to the provider");
        Self {
            up: gauge("doorward_provider_up", "Whether the provider answers"),
            refresh_tokens: gauge(REFRESH_TOKENS.0, REFRESH_TOKENS.1),
            keeps_sid: gauge(KEEPS_SID.0, KEEPS_SID.1),
            clock_offset: gauge(
                "doorward_provider_clock_offset_seconds",
                "How far the provider's clock is ahead of this machine's",
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
            renewal_waits: counters(
                registry,
                "doorward_renewal_waits_total",
                "Requests that waited for a renewal because the access token had ended",
                &["provider"],
            ),
        }
    }

    /// Binds the handles for a provider.
    pub(super) fn of(&self, name: &str) -> ProviderMetrics {
        ProviderMetrics {
            up: self.up.with_label_values(&[name]),
            refresh_tokens: (self.refresh_tokens.clone(), name.to_owned()),
            keeps_sid: (self.keeps_sid.clone(), name.to_owned()),
            clock_offset: self.clock_offset.with_label_values(&[name]),
            requests: Endpoint::ALL
                .iter()
                .flat_map(|endpoint| ProviderResult::ALL.iter().map(move |outcome| (endpoint, outcome)))
                .map(|(endpoint, outcome)| self.requests.with_label_values(&[name, endpoint.label(), outcome.label()]))
                .collect(),
            durations: Endpoint::ALL
                .iter()
                .map(|endpoint| self.durations.with_label_values(&[name, endpoint.label()]))
                .collect(),
            jwks_refreshes: ProviderResult::ALL
                .iter()
                .map(|outcome| self.jwks_refreshes.with_label_values(&[name, outcome.label()]))
                .collect(),
        }
    }

    /// Binds the counters of sign-ins for these providers.
    pub(super) fn logins(&self, providers: &[&str]) -> LoginMetrics {
        let pairs =
            providers.iter().flat_map(|provider| LoginResult::ALL.iter().map(move |result| (*provider, result)));
        LoginMetrics { handles: pairs.map(|(p, r)| self.logins.with_label_values(&[p, r.label()])).collect() }
    }

    /// Binds the counters of renewals for these providers.
    pub(super) fn renewals(&self, providers: &[&str]) -> RenewalMetrics {
        let pairs =
            providers.iter().flat_map(|provider| RenewalResult::ALL.iter().map(move |result| (*provider, result)));
        RenewalMetrics {
            handles: pairs.map(|(p, r)| self.renewals.with_label_values(&[p, r.label()])).collect(),
            waits: providers.iter().map(|provider| self.renewal_waits.with_label_values(&[*provider])).collect(),
        }
    }

    /// Removes the gauges of a provider.
    pub(super) fn remove_gauges(&self, name: &str) {
        for gauge in [&self.up, &self.refresh_tokens, &self.keeps_sid, &self.clock_offset] {
            // Fails where it was never set.
            let _not_there = gauge.remove_label_values(&[name]);
        }
    }
}

/// One provider: availability, requests and key fetches.
#[derive(Clone)]
pub struct ProviderMetrics {
    up: IntGauge,
    /// Has no sample until somebody has signed in, hence the family and the provider's name.
    refresh_tokens: (IntGaugeVec, String),
    /// The family and the provider's name: there is no sample before there is something to say.
    keeps_sid: (IntGaugeVec, String),
    clock_offset: IntGauge,
    requests: Vec<IntCounter>,
    durations: Vec<Histogram>,
    jwks_refreshes: Vec<IntCounter>,
}

impl ProviderMetrics {
    /// Sets whether the provider answers.
    pub fn set_up(&self, up: bool) {
        self.up.set(i64::from(up));
    }

    /// Sets whether the provider's last token response held a refresh token.
    pub fn set_refresh_tokens(&self, given: bool) {
        let (family, name) = &self.refresh_tokens;
        family.with_label_values(&[name.as_str()]).set(i64::from(given));
    }

    /// Sets whether the provider repeats `sid` in renewed ID tokens; `None` where that is not known.
    pub fn set_keeps_sid(&self, keeps: Option<bool>) {
        let (family, name) = &self.keeps_sid;
        if let Some(keeps) = keeps {
            family.with_label_values(&[name]).set(i64::from(keeps));
        } else {
            // Fails where it was never set.
            let _not_there = family.remove_label_values(&[name]);
        }
    }

    /// Sets the number of seconds by which the provider's clock is ahead.
    pub fn set_clock_offset(&self, seconds: i64) {
        self.clock_offset.set(seconds);
    }

    /// Counts a request to the provider.
    pub fn count_request(&self, endpoint: Endpoint, outcome: ProviderResult, took: Duration) {
        increment(&self.requests, endpoint as usize * ProviderResult::ALL.len() + outcome as usize, 1);
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
pub struct LoginMetrics {
    handles: Vec<IntCounter>,
}

impl LoginMetrics {
    /// Counts a sign-in at the provider with this index in the configuration.
    pub fn count(&self, provider: usize, result: LoginResult) {
        increment(&self.handles, provider * LoginResult::ALL.len() + result as usize, 1);
    }
}

/// Renewals by provider and result.
#[derive(Clone)]
pub struct RenewalMetrics {
    handles: Vec<IntCounter>,
    waits: Vec<IntCounter>,
}

impl RenewalMetrics {
    /// Counts a renewal at the provider with this index in the configuration.
    pub fn count(&self, provider: usize, result: RenewalResult) {
        increment(&self.handles, provider * RenewalResult::ALL.len() + result as usize, 1);
    }

    /// Counts a request that waits for a renewal at the provider with this index in the configuration.
    pub fn count_wait(&self, provider: usize) {
        increment(&self.waits, provider, 1);
    }
}

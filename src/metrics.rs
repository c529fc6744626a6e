//! Metrics in the Prometheus text format: every metric of the product and its labels.
//!
//! Each area gets a struct of its own, with handles bound beforehand: once, or for the names of one configuration
//! ([`Metrics::bind`]). Promises: label values come from closed enums and from the configuration, never from a request.

mod configuration;
mod connections;
mod labels;
mod providers;
mod registry;
mod requests;
mod sessions;
mod store;

use prometheus::{IntGauge, Opts, Registry, TextEncoder};

pub use self::{
    configuration::ConfigMetrics,
    connections::{ConnectionMetrics, HandshakeMetrics},
    labels::*,
    providers::{LoginMetrics, ProviderMetrics, RenewalMetrics},
    registry::Gauge,
    requests::{AppIndex, AuthMetrics, EdgeIndex},
    sessions::SessionMetrics,
    store::StoreMetrics,
};
use self::{providers::ProviderFamilies, registry::register, requests::RequestFamilies};

/// Gauges that may be without a sample.
const SAMPLED_LATER: &[(&str, &str)] = &[providers::KEEPS_SID];

/// All metrics of a process, and the registry that prints them.
pub struct Metrics {
    registry: Registry,
    /// Session look-ups.
    pub sessions: SessionMetrics,
    /// The session store.
    pub store: StoreMetrics,
    /// The configuration in force.
    pub configuration: ConfigMetrics,
    /// Connections to the listeners.
    pub connections: ConnectionMetrics,
    requests: RequestFamilies,
    providers: ProviderFamilies,
}

/// Label values that stay the same for as long as the process runs.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// The store's kind, such as `sqlite`.
    pub backend: &'a str,
    /// The version of the build.
    pub version: &'a str,
    /// The commit of the build.
    pub commit: &'a str,
}

/// Metrics with the apps and providers of one configuration as labels. A series goes on in the next configuration that
/// has the same name.
pub struct BoundMetrics {
    /// Authorization requests.
    pub auth: AuthMetrics,
    /// Sign-ins.
    pub logins: LoginMetrics,
    /// Renewals of sessions.
    pub renewals: RenewalMetrics,
    /// The providers, in the order of the configuration.
    pub providers: Vec<ProviderMetrics>,
}

impl Metrics {
    /// Registers every metric, so that each exists from the first scrape on.
    #[must_use]
    pub fn new(settings: &Settings<'_>) -> Self {
        let registry = Registry::new();
        let info = |name: &str, help: &str, labels: &[(&str, &str)]| {
            let opts = labels.iter().fold(Opts::new(name, help), |opts, (key, value)| opts.const_label(*key, *value));
            register(&registry, IntGauge::with_opts(opts)).set(1);
        };
        info("doorward_build_info", "The running build", &[("version", settings.version), ("commit", settings.commit)]);
        info("doorward_store_info", "The kind of session store", &[("backend", settings.backend)]);
        #[cfg(target_os = "linux")]
        {
            let process = prometheus::process_collector::ProcessCollector::for_self();
            registry.register(Box::new(process)).expect("process metrics are registered once");
        }
        Self {
            sessions: SessionMetrics::new(&registry),
            store: StoreMetrics::new(&registry, settings.backend),
            configuration: ConfigMetrics::new(&registry),
            connections: ConnectionMetrics::new(&registry),
            requests: RequestFamilies::new(&registry),
            providers: ProviderFamilies::new(&registry),
            registry,
        }
    }

    /// Binds the handles for these edges, apps and providers: edges by label in the order of [`EdgeIndex`], the others in the
    /// order of the configuration.
    #[must_use]
    pub fn bind(&self, edges: &[&'static str], apps: &[&str], providers: &[&str]) -> BoundMetrics {
        BoundMetrics {
            auth: self.requests.of(edges, apps),
            logins: self.providers.logins(providers),
            renewals: self.providers.renewals(providers),
            providers: providers.iter().map(|name| self.providers.of(name)).collect(),
        }
    }

    /// Removes the gauges of a provider that is no longer configured, so that no alert waits for it. Its counters stay.
    pub fn remove_provider_gauges(&self, name: &str) {
        self.providers.remove_gauges(name);
    }

    /// Prints all metrics in the Prometheus text format.
    #[must_use]
    pub fn print(&self) -> String {
        let mut text = TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .expect("the registry holds well-formed metrics only");
        // The registry leaves out a family without a sample, and a metric exists where its type is printed.
        for (name, help) in SAMPLED_LATER {
            let kind = format!("# TYPE {name} gauge\n");
            if !text.contains(&kind) {
                text.extend(["# HELP ", name, " ", help, "\n", &kind]);
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const EDGES: &[&str] = &["traefik", "caddy", "nginx", "envoy"];

    fn metrics() -> Metrics {
        Metrics::new(&Settings { backend: "sqlite", version: "0", commit: "none" })
    }

    fn bound(metrics: &Metrics) -> BoundMetrics {
        metrics.bind(EDGES, &["grafana", "wiki"], &["authentik"])
    }

    #[test]
    fn every_metric_exists_before_anything_happened() {
        let metrics = metrics();
        let _handles = bound(&metrics);
        metrics.configuration.set_hash("abc");
        let text = metrics.print();
        for name in [
            "doorward_auth_requests_total",
            "doorward_auth_duration_seconds",
            "doorward_sessions_cached",
            "doorward_session_lookups_total",
            "doorward_session_rows_to_reseal",
            "doorward_session_stale_served_total",
            "doorward_store_connections",
            "doorward_store_up",
            "doorward_store_info",
            "doorward_store_duration_seconds",
            "doorward_store_errors_total",
            "doorward_logins_total",
            "doorward_logouts_total",
            "doorward_renewals_total",
            "doorward_renewal_waits_total",
            "doorward_provider_up",
            "doorward_provider_refresh_tokens",
            "doorward_provider_clock_offset_seconds",
            "doorward_provider_keeps_sid",
            "doorward_provider_requests_total",
            "doorward_provider_duration_seconds",
            "doorward_jwks_refreshes_total",
            "doorward_connections",
            "doorward_tls_handshakes_total",
            "doorward_config_info",
            "doorward_config_reloads_total",
            "doorward_build_info",
            "process_resident_memory_bytes",
        ] {
            assert!(text.contains(&format!("# TYPE {name} ")), "{name} is missing");
        }
    }

    #[test]
    fn a_request_is_counted_under_its_own_app_and_an_unknown_host_under_none() {
        let metrics = metrics();
        let auth = bound(&metrics).auth;
        auth.count(0, Some(1), VerdictLabel::Allow, Duration::from_micros(20));
        auth.count(2, None, VerdictLabel::Forbidden, Duration::from_micros(20));
        let text = metrics.print();
        assert!(
            text.contains(r#"doorward_auth_requests_total{app="wiki",edge="traefik",verdict="allow"} 1"#),
            "{text}"
        );
        assert!(text.contains(r#"doorward_auth_requests_total{app="-",edge="nginx",verdict="forbidden"} 1"#), "{text}");
        assert!(text.contains(r#"doorward_auth_duration_seconds_count{edge="traefik"} 1"#), "{text}");
    }

    #[test]
    fn the_series_of_a_name_go_on_wherever_it_stands_in_the_next_configuration() {
        let metrics = metrics();
        let count = |bound: &BoundMetrics, app, provider| {
            bound.auth.count(1, Some(app), VerdictLabel::Allow, Duration::ZERO);
            bound.logins.count(provider, LoginResult::Denied);
            bound.renewals.count(provider, RenewalResult::Shared);
        };
        count(&metrics.bind(EDGES, &["grafana", "wiki"], &["authentik"]), 1, 0);
        count(&metrics.bind(EDGES, &["wiki"], &["dex", "authentik"]), 0, 1);
        let text = metrics.print();
        for series in [
            r#"doorward_auth_requests_total{app="wiki",edge="caddy",verdict="allow"} 2"#,
            r#"doorward_logins_total{provider="authentik",result="denied"} 2"#,
            r#"doorward_logins_total{provider="dex",result="denied"} 0"#,
            r#"doorward_renewals_total{provider="authentik",result="shared"} 2"#,
        ] {
            assert!(text.contains(series), "{series} in {text}");
        }
    }

    #[test]
    fn a_count_for_no_provider_is_nobodys() {
        let metrics = metrics();
        let bound = bound(&metrics);
        bound.logins.count(0, LoginResult::Restarted);
        bound.logins.count(7, LoginResult::Restarted);
        bound.renewals.count(1, RenewalResult::Shared);
        let text = metrics.print();
        assert!(text.contains(r#"doorward_logins_total{provider="authentik",result="restarted"} 1"#), "{text}");
        assert!(text.contains(r#"doorward_renewals_total{provider="authentik",result="shared"} 0"#), "{text}");
    }

    #[test]
    fn a_provider_that_is_configured_no_more_is_not_waited_for() {
        let metrics = metrics();
        let bound = metrics.bind(EDGES, &[], &["gone", "stays"]);
        bound.providers.iter().for_each(|provider| provider.set_up(false));
        bound.logins.count(0, LoginResult::Succeeded);
        metrics.remove_provider_gauges("gone");
        let text = metrics.print();
        assert!(!text.contains(r#"doorward_provider_up{provider="gone"}"#), "{text}");
        assert!(text.contains(r#"doorward_provider_up{provider="stays"} 0"#), "{text}");
        assert!(text.contains(r#"doorward_logins_total{provider="gone",result="succeeded"} 1"#), "{text}");
    }
}

//! Metrics in the Prometheus text format: every metric of the product and its labels.
//!
//! Each area gets a struct of its own, with handles bound beforehand: once, or for the names of one configuration
//! ([`Metrics::bind`]). Promises: label values come from closed enums and from the configuration, never from a request.

mod adoptions;
mod configuration;
mod connections;
mod emergency;
mod headers;
mod labels;
mod providers;
mod registry;
mod requests;
mod sessions;
mod store;
mod upstreams;

use prometheus::{IntGauge, Opts, Registry, TextEncoder};

pub use self::{
    adoptions::AdoptionMetrics,
    configuration::ConfigMetrics,
    connections::{CertificateMetrics, ConnectionMetrics, HandshakeMetrics},
    emergency::EmergencyMetrics,
    headers::HeaderMetrics,
    labels::*,
    providers::{LoginMetrics, ProviderMetrics, RenewalMetrics},
    registry::Gauge,
    requests::{AppIndex, AuthMetrics, EdgeIndex, RefusalMetrics},
    sessions::SessionMetrics,
    store::StoreMetrics,
    upstreams::{BoundUpstreamMetrics, UpstreamMetrics},
};
use self::{providers::ProviderFamilies, registry::register, requests::RequestFamilies};

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
    /// Connections to upstreams.
    pub upstreams: UpstreamMetrics,
    requests: RequestFamilies,
    headers: HeaderMetrics,
    providers: ProviderFamilies,
    emergency: EmergencyMetrics,
    adoptions: AdoptionMetrics,
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
    /// Refusals.
    pub refusals: RefusalMetrics,
    /// Identity headers that do not fit.
    pub headers: HeaderMetrics,
    /// Sign-ins.
    pub logins: LoginMetrics,
    /// Renewals of sessions.
    pub renewals: RenewalMetrics,
    /// The emergency sign-in.
    pub emergency: EmergencyMetrics,
    /// Adoption of an old outpost's sessions.
    pub adoptions: AdoptionMetrics,
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
            upstreams: UpstreamMetrics::new(&registry),
            requests: RequestFamilies::new(&registry),
            headers: HeaderMetrics::new(&registry),
            providers: ProviderFamilies::new(&registry),
            emergency: EmergencyMetrics::new(&registry),
            adoptions: AdoptionMetrics::new(&registry),
            registry,
        }
    }

    /// Binds the handles for these edges, apps and providers: edges by label in the order of [`EdgeIndex`], the others in the
    /// order of the configuration.
    #[must_use]
    pub fn bind(&self, edges: &[&'static str], apps: &[&str], providers: &[&str]) -> BoundMetrics {
        BoundMetrics {
            auth: self.requests.of(edges, apps),
            refusals: self.requests.refusals(apps),
            headers: self.headers.of(apps),
            logins: self.providers.logins(providers),
            renewals: self.providers.renewals(providers),
            emergency: self.emergency.clone(),
            adoptions: self.adoptions.clone(),
            providers: providers.iter().map(|name| self.providers.of(name)).collect(),
        }
    }

    /// Binds the handles for an issuer at which nobody signs in.
    #[must_use]
    pub fn of_issuer(&self, name: &str) -> ProviderMetrics {
        self.providers.of(name)
    }

    /// Removes the gauges of a provider that is no longer configured, so that no alert waits for it. Its counters stay.
    pub fn remove_provider_gauges(&self, name: &str) {
        self.providers.remove_gauges(name);
    }

    /// Prints all metrics in the Prometheus text format.
    #[must_use]
    pub fn print(&self) -> String {
        let families = self.registry.gather();
        let mut text =
            TextEncoder::new().encode_to_string(&families).expect("the registry holds well-formed metrics only");
        // The registry leaves out a family without a sample; whoever looks for its name is to find it all the same.
        let gauges = [connections::CERTIFICATE_NOT_AFTER, upstreams::CONNECTIONS].map(|family| (family, "gauge"));
        let counters = [(upstreams::CONNECTS, "counter")];
        let of_providers = providers::UNSAMPLED_GAUGES.iter().map(|family| (*family, "gauge"));
        for ((name, help), kind) in of_providers.chain(gauges).chain(counters) {
            if !families.iter().any(|family| family.name() == name) {
                text.extend(["# HELP ", name, " ", help, "\n# TYPE ", name, " ", kind, "\n"]);
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
    fn whether_refresh_tokens_come_has_no_sample_before_somebody_has_signed_in() {
        let metrics = metrics();
        let bound = bound(&metrics);
        let samples =
            || metrics.print().lines().filter(|line| line.starts_with("doorward_provider_refresh_tokens")).count();
        assert_eq!(samples(), 0);
        for given in [false, true] {
            bound.providers[0].set_refresh_tokens(given);
            let expected = format!("doorward_provider_refresh_tokens{{provider=\"authentik\"}} {}", u8::from(given));
            assert!(metrics.print().lines().any(|line| line == expected), "{expected}");
        }
        assert_eq!(metrics.print().matches("# TYPE doorward_provider_refresh_tokens ").count(), 1);
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
            "doorward_config_last_reload_successful",
            "doorward_upstream_connects_total",
            "doorward_upstream_connections",
            "doorward_tls_certificate_not_after_seconds",
            "doorward_refusals_total",
            "doorward_groups_cut_total",
            "doorward_tokens_left_out_total",
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
            "doorward_emergency_active",
            "doorward_emergency_total",
            "doorward_adopted_total",
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
    fn every_app_is_counted_from_zero_unless_there_are_too_many() {
        let print = |many: usize| {
            let (metrics, names) = (metrics(), (0..many).map(|n| format!("app{n}")).collect::<Vec<_>>());
            let apps: Vec<_> = names.iter().map(String::as_str).collect();
            let _handles = metrics.bind(EDGES, &apps, &[]);
            metrics.print()
        };
        let (some, many) = (print(200), print(201));
        let request = r#"doorward_auth_requests_total{app="app199",edge="caddy",verdict="login"} 0"#;
        assert!(some.contains(request) && !many.contains(request));
        for text in [some, many] {
            for reason in ["store_unavailable", "provider_unavailable", "group_missing"] {
                let refusal = format!(r#"doorward_refusals_total{{app="app199",reason="{reason}"}} 0"#);
                assert!(text.contains(&refusal), "{refusal}");
            }
        }
    }

    #[test]
    fn a_refusal_is_counted_under_its_app_and_reason_and_no_made_up_app() {
        let metrics = metrics();
        let refusals = bound(&metrics).refusals;
        refusals.count(Some("wiki"), "group_missing");
        refusals.count(Some("made-up"), "rule_denied");
        refusals.count(None, "unknown_host");
        let text = metrics.print();
        for series in [
            r#"doorward_refusals_total{app="wiki",reason="group_missing"} 1"#,
            r#"doorward_refusals_total{app="-",reason="rule_denied"} 1"#,
            r#"doorward_refusals_total{app="-",reason="unknown_host"} 1"#,
        ] {
            assert!(text.contains(series), "{series} in {text}");
        }
    }

    #[test]
    fn what_headers_lack_is_counted_for_each_app_from_zero() {
        let metrics = metrics();
        bound(&metrics).headers.count(Some("wiki"), 12, 1);
        let text = metrics.print();
        for series in [
            r#"doorward_groups_cut_total{app="grafana"} 0"#,
            r#"doorward_groups_cut_total{app="wiki"} 12"#,
            r#"doorward_groups_cut_total{app="-"} 0"#,
            r#"doorward_tokens_left_out_total{app="grafana"} 0"#,
            r#"doorward_tokens_left_out_total{app="wiki"} 1"#,
        ] {
            assert!(text.contains(series), "{series} in {text}");
        }
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
    fn the_emergency_sign_in_counts_from_zero_and_is_closed() {
        let metrics = metrics();
        let emergency = bound(&metrics).emergency;
        let line = |line: &str| assert!(metrics.print().lines().any(|printed| printed == line), "{line}");
        line("doorward_emergency_active 0");
        for result in EmergencyResult::ALL {
            line(&format!("doorward_emergency_total{{result=\"{}\"}} 0", result.label()));
        }
        emergency.set_active(true);
        emergency.count(EmergencyResult::Challenged);
        line("doorward_emergency_active 1");
        line(r#"doorward_emergency_total{result="challenged"} 1"#);
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
        for provider in &bound.providers {
            provider.set_refresh_tokens(true);
        }
        metrics.remove_provider_gauges("gone");
        let text = metrics.print();
        assert!(!text.contains(r#"doorward_provider_up{provider="gone"}"#), "{text}");
        assert!(text.contains(r#"doorward_provider_up{provider="stays"} 0"#), "{text}");
        assert!(text.contains(r#"doorward_logins_total{provider="gone",result="succeeded"} 1"#), "{text}");
    }
}

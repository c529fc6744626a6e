//! The numbers that `/metrics` shows: every metric of the product, its labels, and who counts on it.
//!
//! Each area is handed its own struct with handles bound beforehand: once, or for the names of one configuration
//! ([`Metrics::bind`]). Label values come from closed enums and from the configuration, never from a request. It must not
//! know what the areas do.

mod configuration;
mod connections;
mod labels;
mod providers;
mod sessions;

use std::{sync::OnceLock, time::Duration};

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder, core::Collector,
};

use self::providers::Families;
pub use self::{
    configuration::Configuration,
    connections::{Connections, Handshakes},
    labels::*,
    providers::{Logins, Provider, Renewals},
    sessions::Sessions,
};

/// A number that goes up and down.
pub type Gauge = IntGauge;

/// An app's place in the configuration; what the metrics know of it.
pub type AppIndex = usize;

/// An edge's place among the labels that [`Metrics::bind`] was given.
pub type EdgeIndex = usize;

/// The label of requests for a host that no app names.
const NO_APP: &str = "-";

/// All metrics of a process, and the registry that prints them.
pub struct Metrics {
    registry: Registry,
    /// Session look-ups.
    pub sessions: Sessions,
    /// The session store.
    pub store: Store,
    /// The configuration in force.
    pub configuration: Configuration,
    /// Connections to the listeners.
    pub connections: Connections,
    requests: IntCounterVec,
    durations: HistogramVec,
    providers: Families,
}

/// What is the same for as long as the process runs.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// The store's kind, such as `sqlite`.
    pub backend: &'a str,
    /// The version of the build.
    pub version: &'a str,
    /// The commit of the build.
    pub commit: &'a str,
}

/// What is counted under the names of one configuration. The series of a name go on from one configuration to the next.
pub struct Bound {
    /// Authorization requests.
    pub auth: Auth,
    /// Sign-ins.
    pub logins: Logins,
    /// Renewals of sessions.
    pub renewals: Renewals,
    /// The providers, in the order of the configuration.
    pub providers: Vec<Provider>,
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
            sessions: Sessions::new(&registry),
            store: Store::new(&registry, settings.backend),
            configuration: Configuration::new(&registry),
            connections: Connections::new(&registry),
            requests: requests(&registry),
            durations: durations(&registry),
            providers: Families::new(&registry),
            registry,
        }
    }

    /// The handles for these edges, apps and providers: edges by their labels in the order of [`EdgeIndex`], the others in the
    /// order of the configuration.
    #[must_use]
    pub fn bind(&self, edges: &[&'static str], apps: &[&str], providers: &[&str]) -> Bound {
        Bound {
            auth: Auth::new(edges, self.requests.clone(), &self.durations, apps),
            logins: self.providers.logins(providers),
            renewals: self.providers.renewals(providers),
            providers: providers.iter().map(|name| self.providers.of(name)).collect(),
        }
    }

    /// A provider is configured no more: nobody is to wait for it to come back. What was counted stays.
    pub fn forget_provider(&self, name: &str) {
        self.providers.forget(name);
    }

    /// All metrics in the Prometheus text format.
    #[must_use]
    pub fn print(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .expect("the registry holds well-formed metrics only")
    }
}

fn requests(registry: &Registry) -> IntCounterVec {
    counters(registry, "doorward_auth_requests_total", "Authorization requests", &["edge", "app", "verdict"])
}

fn durations(registry: &Registry) -> HistogramVec {
    // 10 µs to 10 s: an answer from memory, from the store, and the deadline.
    let buckets =
        vec![1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 5e-2, 0.1, 0.5, 1.0, 5.0, 10.0];
    let opts = HistogramOpts::new("doorward_auth_duration_seconds", "Time to answer an authorization request")
        .buckets(buckets);
    register(registry, HistogramVec::new(opts, &["edge"]))
}

/// Authorization requests by edge, app and verdict.
pub struct Auth {
    requests: IntCounterVec,
    /// One handle for each combination, made when it is first counted: most combinations never occur.
    handles: Vec<OnceLock<IntCounter>>,
    edges: Vec<&'static str>,
    apps: Vec<String>,
    durations: Vec<Histogram>,
}

impl Auth {
    /// Every series of a host that no app names exists from here on, and so does every duration.
    fn new(edges: &[&'static str], requests: IntCounterVec, durations: &HistogramVec, apps: &[&str]) -> Self {
        for edge in edges {
            for verdict in Verdict::ALL {
                requests.with_label_values(&[edge, NO_APP, verdict.label()]);
            }
        }
        let apps: Vec<_> = apps.iter().copied().chain([NO_APP]).map(ToOwned::to_owned).collect();
        let combinations = apps.len() * edges.len() * Verdict::ALL.len();
        let handles = std::iter::repeat_with(OnceLock::new).take(combinations).collect();
        let durations = edges.iter().map(|edge| durations.with_label_values(&[edge])).collect();
        Self { requests, handles, edges: edges.to_owned(), apps, durations }
    }

    /// Counts one answered request. `app` is `None` where no app was found.
    pub fn count(&self, edge: EdgeIndex, app: Option<AppIndex>, verdict: Verdict, took: Duration) {
        let last = self.apps.len() - 1;
        let app = app.unwrap_or(last).min(last);
        let slot = (app * self.edges.len() + edge) * Verdict::ALL.len() + verdict as usize;
        if let Some(handle) = self.handles.get(slot) {
            handle.get_or_init(|| self.bind(edge, app, verdict)).inc();
        }
        if let Some(histogram) = self.durations.get(edge) {
            histogram.observe(took.as_secs_f64());
        }
    }

    #[cold]
    fn bind(&self, edge: EdgeIndex, app: AppIndex, verdict: Verdict) -> IntCounter {
        let edge = self.edges.get(edge).copied().unwrap_or_default();
        let app = self.apps.get(app).map(String::as_str).unwrap_or_default();
        self.requests.with_label_values(&[edge, app, verdict.label()])
    }
}

/// The session store's health.
#[derive(Clone)]
pub struct Store {
    up: IntGauge,
    idle: IntGauge,
    used: IntGauge,
    durations: Vec<Histogram>,
    errors: Vec<IntCounter>,
}

impl Store {
    fn new(registry: &Registry, backend: &str) -> Self {
        let up = register(
            registry,
            IntGaugeVec::new(Opts::new("doorward_store_up", "Whether the session store answers"), &["backend"]),
        );
        let opts = HistogramOpts::new("doorward_store_duration_seconds", "Time of store operations");
        let durations = register(registry, HistogramVec::new(opts, &["operation"]));
        let errors = counters(registry, "doorward_store_errors_total", "Store operations that failed", &["operation"]);
        let connections = register(
            registry,
            IntGaugeVec::new(
                Opts::new("doorward_store_connections", "Connections to the session store's server"),
                &["state"],
            ),
        );
        Self {
            up: up.with_label_values(&[backend]),
            idle: connections.with_label_values(&["idle"]),
            used: connections.with_label_values(&["used"]),
            durations: Operation::ALL.iter().map(|op| durations.with_label_values(&[op.label()])).collect(),
            errors: Operation::ALL.iter().map(|op| errors.with_label_values(&[op.label()])).collect(),
        }
    }

    /// Notes whether the store answers.
    pub fn set_up(&self, up: bool) {
        self.up.set(i64::from(up));
    }

    /// Notes how many connections to its server wait and how many work.
    pub fn connections(&self, idle: usize, used: usize) {
        let number = |many| i64::try_from(many).unwrap_or(i64::MAX);
        self.idle.set(number(idle));
        self.used.set(number(used));
    }

    /// Counts one operation and how it ended.
    pub fn observed(&self, operation: Operation, took: Duration, failed: bool) {
        if let Some(histogram) = self.durations.get(operation as usize) {
            histogram.observe(took.as_secs_f64());
        }
        increment(&self.errors, operation as usize, u64::from(failed));
    }
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, metric: prometheus::Result<C>) -> C {
    let metric = metric.expect("names and labels of metrics are literals");
    registry.register(Box::new(metric.clone())).expect("every metric is registered once");
    metric
}

fn increment(handles: &[IntCounter], at: usize, by: u64) {
    if let Some(handle) = handles.get(at) {
        handle.inc_by(by);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EDGES: &[&str] = &["traefik", "caddy", "nginx", "envoy"];

    fn metrics() -> Metrics {
        Metrics::new(&Settings { backend: "sqlite", version: "0", commit: "none" })
    }

    fn bound(metrics: &Metrics) -> Bound {
        metrics.bind(EDGES, &["grafana", "wiki"], &["authentik"])
    }

    #[test]
    fn every_metric_exists_before_anything_happened() {
        let metrics = metrics();
        let _handles = bound(&metrics);
        metrics.configuration.loaded("abc");
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
        auth.count(0, Some(1), Verdict::Allow, Duration::from_micros(20));
        auth.count(2, None, Verdict::Forbidden, Duration::from_micros(20));
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
        let count = |bound: &Bound, app, provider| {
            bound.auth.count(1, Some(app), Verdict::Allow, Duration::ZERO);
            bound.logins.count(provider, Login::Denied);
            bound.renewals.count(provider, Renewal::Shared);
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
        bound.logins.count(0, Login::Restarted);
        bound.logins.count(7, Login::Restarted);
        bound.renewals.count(1, Renewal::Shared);
        let text = metrics.print();
        assert!(text.contains(r#"doorward_logins_total{provider="authentik",result="restarted"} 1"#), "{text}");
        assert!(text.contains(r#"doorward_renewals_total{provider="authentik",result="shared"} 0"#), "{text}");
    }

    #[test]
    fn a_provider_that_is_configured_no_more_is_not_waited_for() {
        let metrics = metrics();
        let bound = metrics.bind(EDGES, &[], &["gone", "stays"]);
        bound.providers.iter().for_each(|provider| provider.set_up(false));
        bound.logins.count(0, Login::Succeeded);
        metrics.forget_provider("gone");
        let text = metrics.print();
        assert!(!text.contains(r#"doorward_provider_up{provider="gone"}"#), "{text}");
        assert!(text.contains(r#"doorward_provider_up{provider="stays"} 0"#), "{text}");
        assert!(text.contains(r#"doorward_logins_total{provider="gone",result="succeeded"} 1"#), "{text}");
    }
}

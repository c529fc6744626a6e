//! The numbers that `/metrics` shows: every metric of the product, its labels, and who counts on it.
//!
//! Each area is handed its own struct with handles bound at start. Label values come from closed enums and from the
//! configuration, never from a request. It must not know what the areas do.

mod labels;
mod renewals;
mod sessions;

use std::{sync::OnceLock, time::Duration};

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder, core::Collector,
};

pub use self::{labels::*, renewals::Renewals, sessions::Sessions};

/// An app's place in the configuration; what the metrics know of it.
pub type AppIndex = usize;

/// The label of requests for a host that no app names.
const NO_APP: &str = "-";

/// All metrics of a process, and the registry that prints them.
pub struct Metrics {
    registry: Registry,
    /// Authorization requests.
    pub auth: Auth,
    /// Session look-ups.
    pub sessions: Sessions,
    /// The session store.
    pub store: Store,
    /// Sign-ins and sign-outs.
    pub logins: Logins,
    /// Renewals of sessions.
    pub renewals: Renewals,
    providers: Vec<Provider>,
}

/// What the metrics have to know of the configuration: the values that labels may take.
pub struct Settings<'a> {
    /// The apps' names in their order.
    pub apps: Vec<&'a str>,
    /// The providers' names in their order.
    pub providers: Vec<&'a str>,
    /// The store's kind, such as `sqlite`.
    pub backend: &'a str,
    /// A hash of the effective configuration, to tell replicas apart.
    pub config_hash: &'a str,
    /// The version of the build.
    pub version: &'a str,
    /// The commit of the build.
    pub commit: &'a str,
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
        info("doorward_config_info", "The configuration in force", &[("hash", settings.config_hash)]);
        info("doorward_store_info", "The kind of session store", &[("backend", settings.backend)]);
        #[cfg(target_os = "linux")]
        {
            let process = prometheus::process_collector::ProcessCollector::for_self();
            registry.register(Box::new(process)).expect("process metrics are registered once");
        }
        Self {
            auth: Auth::new(&registry, &settings.apps),
            sessions: Sessions::new(&registry),
            store: Store::new(&registry, settings.backend),
            logins: Logins::new(&registry, &settings.providers),
            renewals: Renewals::new(&registry, &settings.providers),
            providers: Provider::all(&registry, &settings.providers),
            registry,
        }
    }

    /// The metrics of the provider at this place in the configuration.
    #[must_use]
    pub fn provider(&self, index: usize) -> Option<&Provider> {
        self.providers.get(index)
    }

    /// All metrics in the Prometheus text format.
    #[must_use]
    pub fn print(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .expect("the registry holds well-formed metrics only")
    }
}

/// Authorization requests by edge, app and verdict.
pub struct Auth {
    requests: IntCounterVec,
    /// One handle for each combination, made when it is first counted: most combinations never occur.
    handles: Vec<OnceLock<IntCounter>>,
    apps: Vec<String>,
    durations: Vec<Histogram>,
}

impl Auth {
    fn new(registry: &Registry, apps: &[&str]) -> Self {
        let requests =
            counters(registry, "doorward_auth_requests_total", "Authorization requests", &["edge", "app", "verdict"]);
        // 10 µs to 10 s: an answer from memory, from the store, and the deadline.
        let buckets =
            vec![1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 5e-2, 0.1, 0.5, 1.0, 5.0, 10.0];
        let opts = HistogramOpts::new("doorward_auth_duration_seconds", "Time to answer an authorization request")
            .buckets(buckets);
        let durations = register(registry, HistogramVec::new(opts, &["edge"]));
        let apps: Vec<_> = apps.iter().copied().chain([NO_APP]).map(ToOwned::to_owned).collect();
        for edge in Edge::ALL {
            for verdict in Verdict::ALL {
                requests.with_label_values(&[edge.label(), NO_APP, verdict.label()]);
            }
        }
        Self {
            requests,
            handles: std::iter::repeat_with(OnceLock::new)
                .take(apps.len() * Edge::ALL.len() * Verdict::ALL.len())
                .collect(),
            apps,
            durations: Edge::ALL.iter().map(|edge| durations.with_label_values(&[edge.label()])).collect(),
        }
    }

    /// Counts one answered request. `app` is `None` where no app was found.
    pub fn count(&self, edge: Edge, app: Option<AppIndex>, verdict: Verdict, took: Duration) {
        let last = self.apps.len() - 1;
        let app = app.unwrap_or(last).min(last);
        let slot = (app * Edge::ALL.len() + edge as usize) * Verdict::ALL.len() + verdict as usize;
        if let (Some(handle), Some(name)) = (self.handles.get(slot), self.apps.get(app)) {
            handle.get_or_init(|| self.requests.with_label_values(&[edge.label(), name, verdict.label()])).inc();
        }
        if let Some(histogram) = self.durations.get(edge as usize) {
            histogram.observe(took.as_secs_f64());
        }
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

/// Sign-ins by provider and result.
#[derive(Clone)]
pub struct Logins {
    handles: Vec<IntCounter>,
}

impl Logins {
    fn new(registry: &Registry, providers: &[&str]) -> Self {
        let logins = counters(registry, "doorward_logins_total", "Sign-ins", &["provider", "result"]);
        let handle = |provider: &&str, result: &Login| logins.with_label_values(&[*provider, result.label()]);
        Self {
            handles: providers
                .iter()
                .flat_map(|provider| Login::ALL.iter().map(move |result| (provider, result)))
                .map(|(p, r)| handle(p, r))
                .collect(),
        }
    }

    /// Counts one sign-in at the provider with this place in the configuration.
    pub fn count(&self, provider: usize, result: Login) {
        increment(&self.handles, provider * Login::ALL.len() + result as usize, 1);
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
    fn all(registry: &Registry, names: &[&str]) -> Vec<Self> {
        let gauge = |name: &str, help: &str| register(registry, IntGaugeVec::new(Opts::new(name, help), &["provider"]));
        let up = gauge("doorward_provider_up", "Whether the provider answers");
        let refresh_tokens =
            gauge("doorward_provider_refresh_tokens", "Whether the provider's last answer held a refresh token");
        let requests = counters(
            registry,
            "doorward_provider_requests_total",
            "Requests to the provider",
            &["provider", "endpoint", "result"],
        );
        let opts = HistogramOpts::new("doorward_provider_duration_seconds", "Time of requests to the provider");
        let durations = register(registry, HistogramVec::new(opts, &["provider", "endpoint"]));
        let jwks = counters(registry, "doorward_jwks_refreshes_total", "Signing keys fetched", &["provider", "result"]);
        names
            .iter()
            .map(|name| Self {
                up: up.with_label_values(&[*name]),
                refresh_tokens: refresh_tokens.with_label_values(&[*name]),
                requests: Endpoint::ALL
                    .iter()
                    .flat_map(|endpoint| Outcome::ALL.iter().map(move |outcome| (endpoint, outcome)))
                    .map(|(endpoint, outcome)| requests.with_label_values(&[*name, endpoint.label(), outcome.label()]))
                    .collect(),
                durations: Endpoint::ALL
                    .iter()
                    .map(|endpoint| durations.with_label_values(&[*name, endpoint.label()]))
                    .collect(),
                jwks_refreshes: Outcome::ALL
                    .iter()
                    .map(|outcome| jwks.with_label_values(&[*name, outcome.label()]))
                    .collect(),
            })
            .collect()
    }

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

    fn metrics() -> Metrics {
        Metrics::new(&Settings {
            apps: vec!["grafana", "wiki"],
            providers: vec!["authentik"],
            backend: "sqlite",
            config_hash: "abc",
            version: "0",
            commit: "none",
        })
    }

    #[test]
    fn every_metric_exists_before_anything_happened() {
        let text = metrics().print();
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
            "doorward_provider_up",
            "doorward_provider_refresh_tokens",
            "doorward_provider_requests_total",
            "doorward_provider_duration_seconds",
            "doorward_jwks_refreshes_total",
            "doorward_config_info",
            "doorward_build_info",
            "process_resident_memory_bytes",
        ] {
            assert!(text.contains(&format!("# TYPE {name} ")), "{name} is missing");
        }
    }

    #[test]
    fn a_request_is_counted_under_its_own_app_and_an_unknown_host_under_none() {
        let metrics = metrics();
        metrics.auth.count(Edge::Traefik, Some(1), Verdict::Allow, Duration::from_micros(20));
        metrics.auth.count(Edge::Nginx, None, Verdict::Forbidden, Duration::from_micros(20));
        let text = metrics.print();
        assert!(
            text.contains(r#"doorward_auth_requests_total{app="wiki",edge="traefik",verdict="allow"} 1"#),
            "{text}"
        );
        assert!(text.contains(r#"doorward_auth_requests_total{app="-",edge="nginx",verdict="forbidden"} 1"#), "{text}");
        assert!(text.contains(r#"doorward_auth_duration_seconds_count{edge="traefik"} 1"#), "{text}");
    }

    #[test]
    fn a_login_is_counted_at_its_own_provider() {
        let metrics = metrics();
        metrics.logins.count(0, Login::Restarted);
        metrics.logins.count(7, Login::Restarted);
        assert!(metrics.print().contains(r#"doorward_logins_total{provider="authentik",result="restarted"} 1"#));
    }

    #[test]
    fn a_renewal_is_counted_at_its_own_provider() {
        let metrics = metrics();
        metrics.renewals.count(0, Renewal::Shared);
        metrics.renewals.count(1, Renewal::Shared);
        assert!(metrics.print().contains(r#"doorward_renewals_total{provider="authentik",result="shared"} 1"#));
    }
}

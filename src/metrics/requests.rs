//! Metrics of authorization requests: verdicts by edge and app, durations by edge, and refusals by app and reason.

use std::{collections::HashSet, sync::OnceLock, time::Duration};

use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Registry};

use super::{
    labels::VerdictLabel,
    registry::{counters, register},
};

/// Index of an app in the configuration.
pub type AppIndex = usize;

/// Index of an edge among the labels that [`super::Metrics::bind`] was given.
pub type EdgeIndex = usize;

/// App label of requests for a host without an app.
pub(super) const NO_APP: &str = "-";

/// The most apps of which every series of requests exists from the beginning. There are two dozen for each: of more apps they
/// exist from the first request on.
const MAX_APPS_FROM_ZERO: usize = 200;

/// Reasons that alerts are made of: their series exist from the beginning.
const REASONS_FROM_ZERO: [&str; 3] = ["store_unavailable", "provider_unavailable", "group_missing"];

/// The metric families of authorization requests.
pub(super) struct RequestFamilies {
    requests: IntCounterVec,
    durations: HistogramVec,
    refusals: IntCounterVec,
}

impl RequestFamilies {
    pub(super) fn new(registry: &Registry) -> Self {
        let requests =
            counters(registry, "doorward_auth_requests_total", "Authorization requests", &["edge", "app", "verdict"]);
        // 10 µs to 10 s: from an answer out of memory to the deadline.
        let buckets =
            vec![1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 5e-2, 0.1, 0.5, 1.0, 5.0, 10.0];
        let opts = HistogramOpts::new("doorward_auth_duration_seconds", "Time to answer an authorization request")
            .buckets(buckets);
        let durations = register(registry, HistogramVec::new(opts, &["edge"]));
        let help = "Requests refused with another status than 401";
        Self { requests, durations, refusals: counters(registry, "doorward_refusals_total", help, &["app", "reason"]) }
    }

    /// Binds the counters of refusals for these apps. From here on their series for [`REASONS_FROM_ZERO`] exist.
    pub(super) fn refusals(&self, apps: &[&str]) -> RefusalMetrics {
        for app in apps.iter().chain([&NO_APP]) {
            for reason in REASONS_FROM_ZERO {
                self.refusals.with_label_values(&[app, reason]);
            }
        }
        RefusalMetrics { refusals: self.refusals.clone(), apps: apps.iter().copied().map(ToOwned::to_owned).collect() }
    }

    /// Binds the handles for these edges and apps. From here on every series of a host without an app exists, of up to
    /// [`MAX_APPS_FROM_ZERO`] apps, and every duration.
    pub(super) fn of(&self, edges: &[&'static str], apps: &[&str]) -> AuthMetrics {
        let from_zero = if apps.len() <= MAX_APPS_FROM_ZERO { apps } else { &[] };
        for app in from_zero.iter().chain([&NO_APP]) {
            for edge in edges {
                for verdict in VerdictLabel::ALL {
                    self.requests.with_label_values(&[edge, app, verdict.label()]);
                }
            }
        }
        let apps: Vec<_> = apps.iter().copied().chain([NO_APP]).map(ToOwned::to_owned).collect();
        let combinations = apps.len() * edges.len() * VerdictLabel::ALL.len();
        let handles = std::iter::repeat_with(OnceLock::new).take(combinations).collect();
        let durations = edges.iter().map(|edge| self.durations.with_label_values(&[edge])).collect();
        AuthMetrics { requests: self.requests.clone(), handles, edges: edges.to_owned(), apps, durations }
    }
}

/// Refusals by app and reason.
#[derive(Debug)]
pub struct RefusalMetrics {
    refusals: IntCounterVec,
    apps: HashSet<String>,
}

impl RefusalMetrics {
    /// Counts a refusal. An app that is not configured counts as none.
    pub fn count(&self, app: Option<&str>, reason: &'static str) {
        let app = app.filter(|app| self.apps.contains(*app)).unwrap_or(NO_APP);
        self.refusals.with_label_values(&[app, reason]).inc();
    }
}

/// Authorization requests by edge, app and verdict.
pub struct AuthMetrics {
    requests: IntCounterVec,
    /// One handle for each combination of labels, made when it is first counted: most never are.
    handles: Vec<OnceLock<IntCounter>>,
    edges: Vec<&'static str>,
    apps: Vec<String>,
    durations: Vec<Histogram>,
}

impl AuthMetrics {
    /// Counts an answered request. `app` is `None` for a host without an app.
    pub fn count(&self, edge: EdgeIndex, app: Option<AppIndex>, verdict: VerdictLabel, took: Duration) {
        let last = self.apps.len() - 1;
        let app = app.unwrap_or(last).min(last);
        let slot = (app * self.edges.len() + edge) * VerdictLabel::ALL.len() + verdict as usize;
        if let Some(handle) = self.handles.get(slot) {
            handle.get_or_init(|| self.bind(edge, app, verdict)).inc();
        }
        if let Some(histogram) = self.durations.get(edge) {
            histogram.observe(took.as_secs_f64());
        }
    }

    #[cold]
    fn bind(&self, edge: EdgeIndex, app: AppIndex, verdict: VerdictLabel) -> IntCounter {
        let edge = self.edges.get(edge).copied().unwrap_or_default();
        let app = self.apps.get(app).map(String::as_str).unwrap_or_default();
        self.requests.with_label_values(&[edge, app, verdict.label()])
    }
}

//! Metrics of authorization requests: verdicts by edge and app, and durations by edge.

use std::{sync::OnceLock, time::Duration};

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
const NO_APP: &str = "-";

/// The metric families of authorization requests.
pub(super) struct RequestFamilies {
    requests: IntCounterVec,
    durations: HistogramVec,
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
        Self { requests, durations: register(registry, HistogramVec::new(opts, &["edge"])) }
    }

    /// Binds the handles for these edges and apps. From here on every series of a host without an app exists, and so does every
    /// duration.
    pub(super) fn of(&self, edges: &[&'static str], apps: &[&str]) -> AuthMetrics {
        for edge in edges {
            for verdict in VerdictLabel::ALL {
                self.requests.with_label_values(&[edge, NO_APP, verdict.label()]);
            }
        }
        let apps: Vec<_> = apps.iter().copied().chain([NO_APP]).map(ToOwned::to_owned).collect();
        let combinations = apps.len() * edges.len() * VerdictLabel::ALL.len();
        let handles = std::iter::repeat_with(OnceLock::new).take(combinations).collect();
        let durations = edges.iter().map(|edge| self.durations.with_label_values(&[edge])).collect();
        AuthMetrics { requests: self.requests.clone(), handles, edges: edges.to_owned(), apps, durations }
    }
}

/// Authorization requests by edge, app and verdict.
pub struct AuthMetrics {
    requests: IntCounterVec,
    /// One handle for each combination of labels, made when it is first counted: most never occur.
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

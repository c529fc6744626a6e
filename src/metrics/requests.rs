//! Metrics of authorization requests: verdicts by edge and app, and durations by edge.

use std::{sync::OnceLock, time::Duration};

use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Registry};

use super::{
    labels::{Edge, VerdictLabel},
    registry::{counters, register},
};

/// Index of an app in the configuration.
pub type AppIndex = usize;

/// App label of requests for a host without an app.
const NO_APP: &str = "-";

/// The metric families of authorization requests.
pub(super) struct RequestFamilies {
    requests: IntCounterVec,
    /// In the order of [`Edge::ALL`].
    durations: Vec<Histogram>,
}

impl RequestFamilies {
    pub(super) fn new(registry: &Registry) -> Self {
        let requests =
            counters(registry, "doorward_auth_requests_total", "Authorization requests", &["edge", "app", "verdict"]);
        for edge in Edge::ALL {
            for verdict in VerdictLabel::ALL {
                requests.with_label_values(&[edge.label(), NO_APP, verdict.label()]);
            }
        }
        // 10 µs to 10 s: from an answer out of memory to the deadline.
        let buckets =
            vec![1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 5e-2, 0.1, 0.5, 1.0, 5.0, 10.0];
        let opts = HistogramOpts::new("doorward_auth_duration_seconds", "Time to answer an authorization request")
            .buckets(buckets);
        let durations = register(registry, HistogramVec::new(opts, &["edge"]));
        let durations = Edge::ALL.iter().map(|edge| durations.with_label_values(&[edge.label()])).collect();
        Self { requests, durations }
    }

    /// Binds the handles for these apps.
    pub(super) fn of(&self, apps: &[&str]) -> AuthMetrics {
        let apps: Vec<_> = apps.iter().copied().chain([NO_APP]).map(ToOwned::to_owned).collect();
        let combinations = apps.len() * Edge::ALL.len() * VerdictLabel::ALL.len();
        let handles = std::iter::repeat_with(OnceLock::new).take(combinations).collect();
        AuthMetrics { requests: self.requests.clone(), handles, apps, durations: self.durations.clone() }
    }
}

/// Authorization requests by edge, app and verdict.
pub struct AuthMetrics {
    requests: IntCounterVec,
    /// One handle for each combination of labels, made when it is first counted: most never occur.
    handles: Vec<OnceLock<IntCounter>>,
    apps: Vec<String>,
    durations: Vec<Histogram>,
}

impl AuthMetrics {
    /// Counts an answered request. `app` is `None` for a host without an app.
    pub fn count(&self, edge: Edge, app: Option<AppIndex>, verdict: VerdictLabel, took: Duration) {
        let last = self.apps.len() - 1;
        let app = app.unwrap_or(last).min(last);
        let slot = (app * Edge::ALL.len() + edge as usize) * VerdictLabel::ALL.len() + verdict as usize;
        if let (Some(handle), Some(name)) = (self.handles.get(slot), self.apps.get(app)) {
            handle.get_or_init(|| self.requests.with_label_values(&[edge.label(), name, verdict.label()])).inc();
        }
        if let Some(histogram) = self.durations.get(edge as usize) {
            histogram.observe(took.as_secs_f64());
        }
    }
}

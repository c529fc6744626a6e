//! Metrics of the session store: availability, operations and connections.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntGauge, IntGaugeVec, Opts, Registry};

use super::{
    labels::StoreOperation,
    registry::{counters, increment, register},
};

/// Metrics of the session store.
#[derive(Clone)]
pub struct StoreMetrics {
    up: IntGauge,
    idle: IntGauge,
    used: IntGauge,
    durations: Vec<Histogram>,
    errors: Vec<IntCounter>,
}

impl StoreMetrics {
    pub(super) fn new(registry: &Registry, backend: &str) -> Self {
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
            durations: StoreOperation::ALL.iter().map(|op| durations.with_label_values(&[op.label()])).collect(),
            errors: StoreOperation::ALL.iter().map(|op| errors.with_label_values(&[op.label()])).collect(),
        }
    }

    /// Sets whether the store answers.
    pub fn set_up(&self, up: bool) {
        self.up.set(i64::from(up));
    }

    /// Sets the numbers of idle and of used connections to its server.
    pub fn set_connections(&self, idle: usize, used: usize) {
        let number = |many| i64::try_from(many).unwrap_or(i64::MAX);
        self.idle.set(number(idle));
        self.used.set(number(used));
    }

    /// Records an operation, its duration and whether it failed.
    pub fn record_operation(&self, operation: StoreOperation, took: Duration, failed: bool) {
        if let Some(histogram) = self.durations.get(operation as usize) {
            histogram.observe(took.as_secs_f64());
        }
        increment(&self.errors, operation as usize, u64::from(failed));
    }
}

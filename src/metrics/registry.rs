//! Registration of metrics, and handles bound by label.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry, core::Collector};

/// A gauge that counts up and down.
pub type Gauge = IntGauge;

/// Registers a family of counters.
pub(super) fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

/// Registers a metric.
pub(super) fn register<C: Collector + Clone + 'static>(registry: &Registry, metric: prometheus::Result<C>) -> C {
    let metric = metric.expect("names and labels of metrics are literals");
    registry.register(Box::new(metric.clone())).expect("every metric is registered once");
    metric
}

/// Increments the handle at an index, which is a label's place in its enum.
pub(super) fn increment(handles: &[IntCounter], at: usize, by: u64) {
    if let Some(handle) = handles.get(at) {
        handle.inc_by(by);
    }
}

//! Metrics of the emergency sign-in: is it open, and how its answers end.

use prometheus::{IntCounter, IntGauge, Registry};

use super::{
    labels::EmergencyResult,
    registry::{counters, increment, register},
};

/// State of the emergency sign-in, and its answers.
#[derive(Clone, Debug)]
pub struct EmergencyMetrics {
    active: IntGauge,
    results: Vec<IntCounter>,
}

impl EmergencyMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let results = counters(registry, "doorward_emergency_total", "Answers of the emergency sign-in", &["result"]);
        let active = IntGauge::new("doorward_emergency_active", "1 while the emergency sign-in is open at any host");
        Self {
            active: register(registry, active),
            results: EmergencyResult::ALL.iter().map(|result| results.with_label_values(&[result.label()])).collect(),
        }
    }

    /// Sets whether it is open anywhere.
    pub fn set_active(&self, is_open: bool) {
        self.active.set(is_open.into());
    }

    /// Counts an answer.
    pub fn count(&self, result: EmergencyResult) {
        increment(&self.results, result as usize, 1);
    }
}

//! Metrics of adoption: what became of cookies of an old outpost.

use prometheus::{IntCounter, Registry};

use super::{
    labels::AdoptionResult,
    registry::{counters, increment},
};

/// Old cookies that were asked about, by result.
#[derive(Clone, Debug)]
pub struct AdoptionMetrics(Vec<IntCounter>);

impl AdoptionMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let results = counters(registry, "doorward_adopted_total", "Cookies of an old outpost", &["result"]);
        Self(AdoptionResult::ALL.iter().map(|result| results.with_label_values(&[result.label()])).collect())
    }

    /// Counts a result.
    pub fn count(&self, result: AdoptionResult) {
        increment(&self.0, result as usize, 1);
    }
}

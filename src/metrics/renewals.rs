//! How renewals of sessions ended.

use prometheus::{IntCounter, Registry};

use super::{Renewal, counters, increment};

/// Renewals by provider and result.
#[derive(Clone)]
pub struct Renewals {
    handles: Vec<IntCounter>,
}

impl Renewals {
    pub(super) fn new(registry: &Registry, providers: &[&str]) -> Self {
        let renewals = counters(registry, "doorward_renewals_total", "Renewals of sessions", &["provider", "result"]);
        let pairs = providers.iter().flat_map(|provider| Renewal::ALL.iter().map(move |result| (*provider, result)));
        Self { handles: pairs.map(|(p, r)| renewals.with_label_values(&[p, r.label()])).collect() }
    }

    /// Counts one renewal at the provider with this place in the configuration.
    pub fn count(&self, provider: usize, result: Renewal) {
        increment(&self.handles, provider * Renewal::ALL.len() + result as usize, 1);
    }
}

//! What becomes of sessions, in numbers.

use prometheus::{Gauge, GaugeVec, IntCounter, IntGauge, Opts, Registry};

use super::{Logout, Lookup, Secret, counters, increment, register};

/// Session look-ups, and how many sessions are in memory.
#[derive(Clone)]
pub struct Sessions {
    /// Sessions in memory.
    pub cached: IntGauge,
    /// Answers from sessions that the store could not vouch for.
    pub stale_served: IntCounter,
    lookups: Vec<IntCounter>,
    /// Why sessions ended.
    logouts: Vec<IntCounter>,
    /// Which rows the newest secret has not sealed.
    to_reseal: Vec<Gauge>,
}

impl Sessions {
    pub(super) fn new(registry: &Registry) -> Self {
        let lookups = counters(registry, "doorward_session_lookups_total", "Session cookies looked up", &["result"]);
        let logouts = counters(registry, "doorward_logouts_total", "Sessions ended", &["kind"]);
        let to_reseal = register(
            registry,
            GaugeVec::new(
                Opts::new("doorward_session_rows_to_reseal", "Rows in the store that the first secret has not sealed"),
                &["secret"],
            ),
        );
        let sessions = Self {
            cached: register(registry, IntGauge::new("doorward_sessions_cached", "Sessions in memory")),
            stale_served: register(
                registry,
                IntCounter::new(
                    "doorward_session_stale_served_total",
                    "Requests answered from a session in memory while the store was away",
                ),
            ),
            lookups: Lookup::ALL.iter().map(|result| lookups.with_label_values(&[result.label()])).collect(),
            logouts: Logout::ALL.iter().map(|kind| logouts.with_label_values(&[kind.label()])).collect(),
            to_reseal: Secret::ALL.iter().map(|secret| to_reseal.with_label_values(&[secret.label()])).collect(),
        };
        sessions.count_again();
        sessions
    }

    /// Counts one look-up.
    pub fn looked_up(&self, result: Lookup) {
        increment(&self.lookups, result as usize, 1);
    }

    /// Counts sessions that ended.
    pub fn ended(&self, kind: Logout, many: u64) {
        increment(&self.logouts, kind as usize, many);
    }

    /// Notes that nobody knows how many rows there are: nobody is to take it that a secret can be dropped.
    pub fn count_again(&self) {
        for gauge in &self.to_reseal {
            gauge.set(f64::NAN);
        }
    }

    /// Notes how many rows such secrets have sealed.
    pub fn left_to_reseal(&self, secret: Secret, many: u64) {
        if let Some(gauge) = self.to_reseal.get(secret as usize) {
            #[expect(clippy::cast_precision_loss, reason = "it is exact beyond any number of rows that is counted")]
            gauge.set(many as f64);
        }
    }
}

//! Metrics of sessions: look-ups, endings, and rows to reencrypt.

use prometheus::{Gauge, GaugeVec, IntCounter, IntGauge, Opts, Registry};

use super::{
    labels::{LogoutKind, Lookup, SealingSecret},
    registry::{counters, increment, register},
};

/// Session look-ups, endings, and the number of sessions in memory.
#[derive(Clone)]
pub struct SessionMetrics {
    /// Sessions in memory.
    pub cached: IntGauge,
    /// Answers from sessions that the store could not confirm.
    pub stale_served: IntCounter,
    lookups: Vec<IntCounter>,
    /// Ended sessions, by reason.
    logouts: Vec<IntCounter>,
    /// Rows not sealed by the newest secret, by the one that did.
    to_reencrypt: Vec<Gauge>,
}

impl SessionMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let lookups = counters(registry, "doorward_session_lookups_total", "Session cookies looked up", &["result"]);
        let logouts = counters(registry, "doorward_logouts_total", "Sessions ended", &["kind"]);
        let to_reencrypt = register(
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
            logouts: LogoutKind::ALL.iter().map(|kind| logouts.with_label_values(&[kind.label()])).collect(),
            to_reencrypt: SealingSecret::ALL
                .iter()
                .map(|secret| to_reencrypt.with_label_values(&[secret.label()]))
                .collect(),
        };
        sessions.reset_rows_to_reencrypt();
        sessions
    }

    /// Counts a look-up.
    pub fn count_lookup(&self, result: Lookup) {
        increment(&self.lookups, result as usize, 1);
    }

    /// Counts ended sessions.
    pub fn count_ended(&self, kind: LogoutKind, many: u64) {
        increment(&self.logouts, kind as usize, many);
    }

    /// Sets the numbers of rows to NaN: they are unknown, and must not read as if a secret could be dropped.
    pub fn reset_rows_to_reencrypt(&self) {
        for gauge in &self.to_reencrypt {
            gauge.set(f64::NAN);
        }
    }

    /// Sets the number of rows sealed by such secrets.
    pub fn set_rows_to_reencrypt(&self, secret: SealingSecret, many: u64) {
        if let Some(gauge) = self.to_reencrypt.get(secret as usize) {
            #[expect(clippy::cast_precision_loss, reason = "exact beyond any number of rows that is counted")]
            gauge.set(many as f64);
        }
    }
}

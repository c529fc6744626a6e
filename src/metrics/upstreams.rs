//! Metrics of the connections to upstreams.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::{
    labels::UpstreamState,
    registry::{Gauge, counters, register},
};

/// Families without a sample where no upstream is configured.
pub(super) const CONNECTS: (&str, &str) = (
    "doorward_upstream_connects_total",
    "Connections to upstreams that were opened: few beside the requests where keep-alive works",
);
pub(super) const CONNECTIONS: (&str, &str) = ("doorward_upstream_connections", "Open connections to upstreams");

/// Connections to upstreams, by the origin of each.
#[derive(Clone, Debug)]
pub struct UpstreamMetrics {
    connects: IntCounterVec,
    connections: IntGaugeVec,
}

/// Connections to one upstream.
#[derive(Clone, Debug)]
pub struct BoundUpstreamMetrics {
    connects: IntCounter,
    used: IntGauge,
    idle: IntGauge,
}

impl UpstreamMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let connections = Opts::new(CONNECTIONS.0, CONNECTIONS.1);
        Self {
            connects: counters(registry, CONNECTS.0, CONNECTS.1, &["upstream"]),
            connections: register(registry, IntGaugeVec::new(connections, &["upstream", "state"])),
        }
    }

    /// Binds the handles for one origin, such as `http://grafana:3000`.
    #[must_use]
    pub fn of(&self, origin: &str) -> BoundUpstreamMetrics {
        let gauge = |state: UpstreamState| self.connections.with_label_values(&[origin, state.label()]);
        BoundUpstreamMetrics {
            connects: self.connects.with_label_values(&[origin]),
            used: gauge(UpstreamState::Used),
            idle: gauge(UpstreamState::Idle),
        }
    }
}

impl BoundUpstreamMetrics {
    /// Counts a connection that was opened.
    pub fn count_connect(&self) {
        self.connects.inc();
    }

    /// Connections in this state.
    #[must_use]
    pub fn connections(&self, state: UpstreamState) -> &Gauge {
        match state {
            UpstreamState::Used => &self.used,
            UpstreamState::Idle => &self.idle,
        }
    }
}

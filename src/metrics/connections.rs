//! Metrics of connections: open ones by listener, and TLS handshakes by result.

use prometheus::{IntCounter, IntGaugeVec, Opts, Registry};

use super::{
    labels::{HandshakeResult, ListenerLabel},
    registry::{Gauge, counters, increment, register},
};

/// Gauge without a sample where no TLS is configured.
pub(super) const CERTIFICATE_NOT_AFTER: (&str, &str) = (
    "doorward_tls_certificate_not_after_seconds",
    "End of the certificate in use at server.listen, in seconds since 1970",
);

/// Connections and their TLS handshakes.
#[derive(Clone)]
pub struct ConnectionMetrics {
    open: IntGaugeVec,
    handshakes: HandshakeMetrics,
    certificate: CertificateMetrics,
}

/// End of the certificate in use.
#[derive(Clone)]
pub struct CertificateMetrics {
    not_after: IntGaugeVec,
}

/// TLS handshakes by result.
#[derive(Clone)]
pub struct HandshakeMetrics {
    handles: Vec<IntCounter>,
}

impl ConnectionMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let open = IntGaugeVec::new(Opts::new("doorward_connections", "Open connections"), &["listener"]);
        let open = register(registry, open);
        for listener in ListenerLabel::ALL {
            open.with_label_values(&[listener.label()]);
        }
        let ended = counters(registry, "doorward_tls_handshakes_total", "TLS handshakes that have ended", &["result"]);
        let handles = HandshakeResult::ALL.iter().map(|result| ended.with_label_values(&[result.label()])).collect();
        let (name, help) = CERTIFICATE_NOT_AFTER;
        let not_after = register(registry, IntGaugeVec::new(Opts::new(name, help), &[]));
        Self { open, handshakes: HandshakeMetrics { handles }, certificate: CertificateMetrics { not_after } }
    }

    /// Returns the gauge of a listener's open connections.
    #[must_use]
    pub fn open(&self, listener: ListenerLabel) -> Gauge {
        self.open.with_label_values(&[listener.label()])
    }

    /// Returns the gauge of the certificate's end.
    #[must_use]
    pub fn certificate(&self) -> CertificateMetrics {
        self.certificate.clone()
    }

    /// Returns the counters of TLS handshakes.
    #[must_use]
    pub fn handshakes(&self) -> HandshakeMetrics {
        self.handshakes.clone()
    }
}

impl CertificateMetrics {
    /// Sets the end of the certificate in use, in seconds since 1970.
    pub fn set_not_after(&self, seconds: u64) {
        let no_labels: &[&str] = &[];
        self.not_after.with_label_values(no_labels).set(seconds.try_into().unwrap_or(i64::MAX));
    }
}

impl HandshakeMetrics {
    /// Counts a handshake that has ended.
    pub fn count(&self, result: HandshakeResult) {
        increment(&self.handles, result as usize, 1);
    }
}

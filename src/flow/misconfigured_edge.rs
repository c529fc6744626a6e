//! Edges that do not pass on what the gate reads, and questions that were sent to no edge's path.
//!
//! Promises: what is wrong is logged with the lines that mend it; a request that is let in costs nothing here.

use std::time::Duration;

use http::header;

use super::{
    context::{RequestContext, Via},
    log_interval::LogInterval,
};
use crate::{
    clock::{AtomicTimestamp, Clock},
    edge::{self, Edge},
};

/// Interval between log lines about one edge, and the time for which a header that came from it proves that it passes them on.
const INTERVAL: Duration = Duration::from_hours(1);

/// Watch for edges that pass on neither `Accept` nor `Sec-Fetch-Mode`: every page is then answered as a script is.
pub(super) struct MissingHeaders {
    clock: Clock,
    edges: [Observed; Edge::ALL.len()],
}

/// What was observed of one edge.
struct Observed {
    /// Moment up to which it is known to pass the headers on.
    passes_until: AtomicTimestamp,
    log: LogInterval,
}

impl MissingHeaders {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, edges: std::array::from_fn(|_| Observed::new()) }
    }

    /// Looks at a request without a session, and logs what its edge lacks.
    pub(super) fn observe(&self, context: &RequestContext<'_>) {
        let Via::Subrequest(edge) = context.via else { return };
        let Some(observed) = self.edges.get(edge as usize) else { return };
        let now = self.clock.now();
        if edge::tells_intent(context.headers) {
            observed.passes_until.advance(now.plus(INTERVAL));
            return;
        }
        if !may_be_of_a_browser(context) || now < observed.passes_until.get() {
            return;
        }
        if let Some(count) = observed.log.count_if_due(now) {
            tracing::warn!(
                request_id = %context.id,
                edge = edge.label(),
                app = context.site.app.name,
                mend = edge::mend_headers(edge),
                count,
                "the edge passes neither Accept nor Sec-Fetch-Mode to the check: pages get 401 as scripts do, and nobody is sent to sign in"
            );
        }
    }
}

impl Observed {
    fn new() -> Self {
        Self { passes_until: AtomicTimestamp::default(), log: LogInterval::new(INTERVAL) }
    }
}

/// Returns `true` if a browser may have sent the request: programs without `Accept` give their name. An edge in Go that does not
/// pass on `User-Agent` gives its library's.
fn may_be_of_a_browser(context: &RequestContext<'_>) -> bool {
    let agent = context.headers.get(header::USER_AGENT).map_or(b"".as_slice(), |agent| agent.as_bytes());
    agent.is_empty() || [b"Mozilla/".as_slice(), b"Go-http-client/"].iter().any(|known| agent.starts_with(known))
}

/// Returns the paths at which edges ask.
pub(super) fn paths(prefix: &str) -> String {
    let paths: Vec<_> = Edge::ALL
        .iter()
        .filter_map(|edge| match edge {
            Edge::Traefik | Edge::Caddy | Edge::Nginx => Some(format!("{prefix}/auth/{}", edge.label())),
            Edge::Envoy => Some(format!("{prefix}/auth/{} (path_prefix, followed by the original path)", edge.label())),
            // Not below this prefix, and no edge that asks.
            Edge::OAuth2Proxy | Edge::Proxy => None,
        })
        .collect();
    format!("edges ask at {}", paths.join(", "))
}

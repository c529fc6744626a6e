//! Identity headers that do not fit into `server.header_budget`: counted, and logged once for each session and app.
//!
//! Promises: called only when headers are rendered; memory is bounded.

use moka::sync::Cache;

use super::refusal_log::truncate;
use crate::{
    crypto,
    identity::Principal,
    metrics::HeaderMetrics,
    policy::{Site, headers::HeaderCut},
};

/// The most sessions and apps that are remembered, of some hundred bytes each. Beyond them some are logged again.
const CAPACITY: u64 = 10_000;

const MEND: &str = "raise server.header_budget, up to 32KiB, where the edge takes it (nginx: proxy_buffer_size), or have the \
                    provider send fewer groups; docs/operations.md says how much each edge takes";

/// Sessions and apps of which it was said that headers do not fit.
pub(super) struct HeaderCuts {
    recorded: Cache<[u8; 32], ()>,
    metrics: HeaderMetrics,
}

impl HeaderCuts {
    /// Nothing is recorded yet.
    pub(super) fn new(metrics: HeaderMetrics) -> Self {
        Self { recorded: Cache::new(CAPACITY), metrics }
    }

    /// Counts and logs what of a principal's headers does not fit at an app, the first time.
    pub(super) fn record(&self, site: &Site<'_>, principal: &Principal<'_>, cut: &HeaderCut) {
        if !self.recorded.entry(key(site, principal)).or_insert(()).is_fresh() {
            return;
        }
        let groups = cut.groups.as_ref();
        let app = site.index.map(|_| site.app.name.as_str());
        self.metrics.count(app, groups.map_or(0, |groups| groups.of - groups.sent), cut.tokens.len());
        tracing::warn!(
            app = site.app.name,
            user = truncate(&principal.identity.user()),
            subject = truncate(&principal.identity.subject()),
            groups_sent = groups.map(|groups| groups.sent),
            groups = groups.map(|groups| groups.of),
            headers = truncate(cut),
            mend = MEND,
            "identity headers do not fit into server.header_budget"
        );
    }
}

/// Digest of a session and an app. Each part follows its length, so that no two look alike.
fn key(site: &Site<'_>, principal: &Principal<'_>) -> [u8; 32] {
    let (identity, since) = (principal.identity, principal.since.unix().to_be_bytes());
    let parts = [site.app.name.as_bytes(), identity.provider().as_bytes(), identity.subject().as_bytes(), &since];
    let parts = parts.iter().flat_map(|part| (part.len() as u64).to_be_bytes().into_iter().chain(part.iter().copied()));
    crypto::digest(&parts.collect::<Vec<_>>())
}

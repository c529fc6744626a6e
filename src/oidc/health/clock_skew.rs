//! Clock skew: the provider's clock against this machine's, from the `Date` of the metadata response.
//!
//! Promises: a skew beyond the leeway and its end are logged once each.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::UNIX_EPOCH,
};

use http::{HeaderMap, header};

use crate::{
    clock::{Clock, Timestamp},
    metrics,
    oidc::{jwt::LEEWAY, settings::Settings},
};

/// The clock skew of one provider, as it was when the clocks were last compared.
pub(super) struct ClockSkew {
    settings: Arc<Settings>,
    clock: Clock,
    metrics: metrics::ProviderMetrics,
    exceeds_leeway: AtomicBool,
}

impl ClockSkew {
    pub(super) fn new(settings: Arc<Settings>, clock: Clock, metrics: metrics::ProviderMetrics) -> Self {
        Self { settings, clock, metrics, exceeds_leeway: AtomicBool::new(false) }
    }

    /// Takes over the state of `previous`, so that a skew is not logged again.
    pub(super) fn with_state_of(self, previous: &Self) -> Self {
        self.exceeds_leeway.store(previous.exceeds_leeway.load(Ordering::Relaxed), Ordering::Relaxed);
        self
    }

    /// Compares the clocks by `Date` (RFC 9110, section 6.6.1), unless the response comes from a cache (`Age`). Beyond the
    /// leeway nobody can sign in, or not for long.
    pub(super) fn compare(&self, headers: &HeaderMap) {
        let date = headers.get(header::DATE).filter(|_| !headers.contains_key(header::AGE));
        let Some(theirs) = date.and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok()) else { return };
        let theirs = Timestamp::from_unix(theirs.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs());
        let ours = self.clock.now();
        let (ahead, behind) = (theirs.since(ours), ours.since(theirs));
        let skew = ahead.max(behind);
        let seconds = i64::try_from(skew.as_secs()).unwrap_or(i64::MAX);
        self.metrics.set_clock_offset(if behind > ahead { -seconds } else { seconds });
        let exceeds = skew > LEEWAY;
        let exceeded = self.exceeds_leeway.swap(exceeds, Ordering::Relaxed);
        let provider = &self.settings.name;
        if exceeds && !exceeded {
            let place = if behind > ahead { "ahead of" } else { "behind" };
            tracing::warn!(
                provider,
                seconds,
                "clock skew: this machine's clock is {place} the provider's: sign-ins may fail, and sessions keep the \
                 groups that they have; mend: set both clocks"
            );
        } else if exceeded && !exceeds {
            tracing::info!(
                provider,
                seconds,
                "clock skew is over: the provider's clock and this machine's agree again"
            );
        }
    }
}

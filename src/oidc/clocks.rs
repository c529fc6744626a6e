//! Whether a provider's clock and this machine's agree, from what the provider says with its metadata.
//!
//! Promises: a difference and its end are logged once each. It must not know what hangs on the time.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::UNIX_EPOCH,
};

use http::{HeaderMap, header};

use super::{Provider, id_token::LEEWAY};
use crate::clock::Timestamp;

/// How the clocks were when they were last compared.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    are_apart: AtomicBool,
}

impl Clocks {
    /// The same, apart from this one from now on.
    pub(super) fn copy(&self) -> Self {
        Self { are_apart: AtomicBool::new(self.are_apart.load(Ordering::Relaxed)) }
    }
}

impl Provider {
    /// The provider says what time it is (RFC 9110, section 6.6.1). Beyond a minute nobody can sign in, or not for long.
    pub(super) fn compare_clocks(&self, headers: &HeaderMap) {
        let said = headers.get(header::DATE).filter(|_| !headers.contains_key(header::AGE));
        let Some(theirs) = said.and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok()) else { return };
        let theirs = Timestamp::from_unix(theirs.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs());
        let ours = self.clock.now();
        let (ahead, behind) = (theirs.since(ours), ours.since(theirs));
        let apart = ahead.max(behind);
        let seconds = i64::try_from(apart.as_secs()).unwrap_or(i64::MAX);
        self.metrics.set_clock_offset(if behind > ahead { -seconds } else { seconds });
        let is_off = apart > LEEWAY;
        let was_off = self.discovery.clocks.are_apart.swap(is_off, Ordering::Relaxed);
        let provider = &self.settings.name;
        if is_off && !was_off {
            let place = if behind > ahead { "ahead of" } else { "behind" };
            tracing::warn!(
                provider,
                seconds,
                "this machine's clock is {place} the provider's: sign-ins may fail, and sessions keep the groups that they \
                 have; mend: set both clocks"
            );
        } else if was_off && !is_off {
            tracing::info!(provider, seconds, "the provider's clock and this machine's agree again");
        }
    }
}

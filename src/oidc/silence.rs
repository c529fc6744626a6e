//! Whether somebody who is new may be sent to a provider: not to one that does not answer.
//!
//! Promises: one answer that did not come is no outage; whoever comes during one has the provider asked again, but not as
//! often as people come. It must not know what the metadata say.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use tokio::time::{Instant, timeout};

use super::{
    Error, Provider,
    discovery::{Metadata, PATIENCE},
};

/// How long it counts for new visitors that the provider did not answer, before one of them has it asked again.
const AWAY_FOR: Duration = Duration::from_secs(1);
/// Answers in a row that did not come before it counts: slow is not away.
const MOST_MISSES: u32 = 1;

/// The metadata that did not come when they were last asked for.
#[derive(Debug, Default)]
pub(super) struct Silence(ArcSwapOption<Missed>);

#[derive(Debug)]
struct Missed {
    noted: Instant,
    times_in_a_row: u32,
    reason: String,
}

impl Silence {
    /// Notes how asking for metadata went.
    pub(super) fn note(&self, error: Option<&Error>) {
        let missed = match error {
            Some(Error::Unavailable(reason)) => {
                let before = self.0.load().as_ref().map_or(0, |missed| missed.times_in_a_row);
                let times_in_a_row = before.saturating_add(1);
                Some(Arc::new(Missed { noted: Instant::now(), times_in_a_row, reason: reason.clone() }))
            }
            _ => None,
        };
        self.0.store(missed);
    }

    /// The same, apart from this one from now on.
    pub(super) fn copy(&self) -> Self {
        Self(ArcSwapOption::new(self.0.load_full()))
    }

    fn is_an_outage(&self) -> Option<Arc<Missed>> {
        self.0.load_full().filter(|missed| missed.times_in_a_row > MOST_MISSES)
    }
}

impl Provider {
    /// The metadata for somebody whose browser is to be sent there.
    pub(super) async fn metadata_of_one_who_answers(&self) -> Result<Arc<Metadata>, Error> {
        if self.discovery.known().is_none() {
            return self.metadata().await;
        }
        let silence = &self.discovery.silence;
        if silence.is_an_outage().is_some_and(|missed| missed.noted.elapsed() >= AWAY_FOR) {
            // What became of it is noted.
            let _ = timeout(PATIENCE, self.ask()).await;
        }
        match silence.is_an_outage() {
            Some(missed) => Err(Error::Unavailable(missed.reason.clone())),
            None => self.metadata().await,
        }
    }
}

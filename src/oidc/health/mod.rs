//! Health of one provider: availability (by polls of its metadata and keys), the circuit breaker of its token endpoint, and
//! the skew of its clock.
//!
//! Promises: an outage shows within 10 s and its end within 20 s without any traffic, and each is logged once.

mod circuit_breaker;
mod clock_skew;

use std::{sync::Arc, time::Duration};

use http::HeaderMap;
use tokio::{sync::watch, time::Instant};

use self::{
    circuit_breaker::{BreakerPermit, CircuitBreaker},
    clock_skew::ClockSkew,
};
use super::{error::Error, settings::Settings};
use crate::{
    clock::{Clock, Timestamp},
    metrics,
};

// Is it available, may a new visitor be sent there, may the token endpoint be asked? The dearer a wrong answer, the more
// failures it takes.

/// Failed polls in a row, for whatever reason, before the provider counts as unavailable: in the log, in the metric, on the
/// management port, and for renewals that would keep a request waiting. One, because a wrong "unavailable" costs nobody a
/// session or a sign-in, and the next poll comes about a second later.
const FAILED_POLLS_TO_UNAVAILABLE: u32 = 1;
/// Metadata requests in a row that got no answer before new visitors see a page instead of being sent to the provider.
/// Two, because slow is not unavailable, and that page is all that a visitor sees. An invalid document ends the count: the
/// provider answers, and the last valid metadata still lead to its sign-in page.
const FAILED_FETCHES_TO_REFUSE_SIGN_INS: u32 = 2;
/// Token requests in a row that got no answer before renewals are put off. Three, because each may fail for a reason of its
/// own, and an open circuit puts off the renewals of everybody.
const FAILED_REFRESHES_TO_OPEN_CIRCUIT: u32 = 3;

/// Time for which new visitors are refused without a request, before one of them causes the next.
const SIGN_IN_PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// Poll interval of an available provider. With twice `DOCUMENT_TIMEOUT` it bounds how long an outage stays unseen.
const POLL_INTERVAL: Duration = Duration::from_secs(4);
/// Poll interval after the first failure; doubles up to `MAX_BACKOFF`.
const MIN_BACKOFF: Duration = Duration::from_secs(1);
/// With twice `DOCUMENT_TIMEOUT` it bounds how long a recovery stays unseen.
const MAX_BACKOFF: Duration = Duration::from_secs(10);

/// Health of one provider, from its polls and its token requests.
pub(super) struct ProviderHealth {
    settings: Arc<Settings>,
    clock: Clock,
    metrics: metrics::ProviderMetrics,
    polls: watch::Sender<PollState>,
    token_endpoint: CircuitBreaker,
    clock_skew: ClockSkew,
}

/// Outcome of the polls so far.
#[derive(Clone, Debug, Default)]
struct PollState {
    /// Polls since the start.
    count: u64,
    failed_in_a_row: u32,
    /// Time of the first of them.
    failing_since: Timestamp,
    last: Option<Result<(), Error>>,
    /// Metadata requests without an answer, since the last that got one.
    outage: Option<Arc<MetadataOutage>>,
}

/// Metadata requests in a row that got no answer.
#[derive(Debug)]
pub(super) struct MetadataOutage {
    last: Instant,
    failed_in_a_row: u32,
    reason: String,
}

/// Change of availability that is worth a line in the log.
#[derive(Clone, Copy, Debug)]
enum Transition<'a> {
    None,
    Available,
    Recovered,
    Unavailable(&'a Error),
}

impl ProviderHealth {
    /// Health of a provider that was never asked.
    pub(super) fn new(settings: Arc<Settings>, clock: Clock, metrics: metrics::ProviderMetrics) -> Self {
        Self {
            polls: watch::Sender::new(PollState::default()),
            token_endpoint: CircuitBreaker::new(clock.clone(), FAILED_REFRESHES_TO_OPEN_CIRCUIT),
            clock_skew: ClockSkew::new(Arc::clone(&settings), clock.clone(), metrics.clone()),
            settings,
            clock,
            metrics,
        }
    }

    /// Takes over the polls and the clock skew of `previous`. The circuit begins closed: other settings may be the cure.
    pub(super) fn with_state_of(self, previous: &Self) -> Self {
        self.polls.send_replace(previous.polls.borrow().clone());
        Self { clock_skew: self.clock_skew.with_state_of(&previous.clock_skew), ..self }
    }

    /// Returns `true` if the last poll brought metadata and keys.
    pub(super) fn is_available(&self) -> bool {
        self.polls.borrow().is_available()
    }

    /// Returns the outage because of which no new visitor is sent to the provider.
    pub(super) fn sign_in_outage(&self) -> Option<Arc<MetadataOutage>> {
        let outage = self.polls.borrow().outage.clone();
        outage.filter(|outage| outage.failed_in_a_row >= FAILED_FETCHES_TO_REFUSE_SIGN_INS)
    }

    /// Returns the permission for a token request at a renewal, or `None` while the circuit breaker is open.
    pub(super) fn admit_refresh(&self) -> Option<BreakerPermit<'_>> {
        self.token_endpoint.admit(rand::random())
    }

    /// Compares the provider's clock with this machine's.
    pub(super) fn compare_clocks(&self, headers: &HeaderMap) {
        self.clock_skew.compare(headers);
    }

    /// Number of polls so far.
    pub(super) fn polls(&self) -> u64 {
        self.polls.borrow().count
    }

    /// Outcome of the last poll.
    pub(super) fn last_poll(&self) -> Result<(), Error> {
        self.polls.borrow().last.clone().unwrap_or_else(|| Err(Error::Unavailable("it was never asked".into())))
    }

    /// Pause before the next poll, with jitter.
    pub(super) fn poll_delay(&self) -> Duration {
        poll_delay(self.polls.borrow().failed_in_a_row, rand::random())
    }

    /// Records the outcome of a metadata request. Part of a poll, and known before its end.
    pub(super) fn record_metadata_fetch(&self, error: Option<&Error>) {
        self.polls.send_modify(|state| {
            let failed_before = state.outage.as_ref().map_or(0, |outage| outage.failed_in_a_row);
            state.outage = match error {
                Some(Error::Unavailable(reason)) => Some(Arc::new(MetadataOutage {
                    last: Instant::now(),
                    failed_in_a_row: failed_before.saturating_add(1),
                    reason: reason.clone(),
                })),
                _ => None,
            };
        });
    }

    /// Records the outcome of a poll, and logs where the provider becomes available or unavailable.
    pub(super) fn record_poll(&self, outcome: &Result<(), Error>) {
        self.metrics.set_up(outcome.is_ok());
        let before = self.note_poll(outcome.clone());
        self.log(Transition::between(before.as_ref(), outcome));
    }

    /// Notes the outcome of a poll and returns that of the poll before.
    fn note_poll(&self, outcome: Result<(), Error>) -> Option<Result<(), Error>> {
        let mut before = None;
        self.polls.send_modify(|state| {
            state.count += 1;
            if outcome.is_err() && state.failed_in_a_row == 0 {
                state.failing_since = self.clock.now();
            }
            state.failed_in_a_row = if outcome.is_ok() { 0 } else { state.failed_in_a_row.saturating_add(1) };
            before = state.last.replace(outcome);
        });
        before
    }

    fn log(&self, transition: Transition<'_>) {
        let (provider, issuer) = (&self.settings.name, &self.settings.issuer);
        match transition {
            Transition::None => {}
            Transition::Available => tracing::info!(provider, %issuer, "the provider is available"),
            Transition::Recovered => {
                let failing_since = self.polls.borrow().failing_since;
                let unavailable_seconds = self.clock.now().since(failing_since).as_secs();
                tracing::info!(provider, %issuer, unavailable_seconds, "the provider is available again");
            }
            Transition::Unavailable(reason) => tracing::warn!(
                provider,
                %issuer,
                %reason,
                "the provider is unavailable: sessions go on, nobody new can sign in; check that the issuer is right and \
                 can be reached from here",
            ),
        }
    }

    /// Returns once the provider is, or is no longer, available.
    #[cfg(test)]
    pub(super) async fn becomes(&self, available: bool) {
        let mut polls = self.polls.subscribe();
        polls.wait_for(|state| state.is_available() == available).await.expect("we hold the sender");
    }
}

impl PollState {
    fn is_available(&self) -> bool {
        self.last.is_some() && self.failed_in_a_row < FAILED_POLLS_TO_UNAVAILABLE
    }
}

impl MetadataOutage {
    /// Returns `true` if a new visitor may cause the next metadata request.
    pub(super) fn is_probe_due(&self) -> bool {
        self.last.elapsed() >= SIGN_IN_PROBE_INTERVAL
    }

    /// Returns the outage as the error of a sign-in.
    pub(super) fn to_error(&self) -> Error {
        Error::Unavailable(self.reason.clone())
    }
}

impl<'a> Transition<'a> {
    fn between(before: Option<&Result<(), Error>>, now: &'a Result<(), Error>) -> Self {
        match (before, now) {
            (None, Ok(())) => Self::Available,
            (Some(Err(_)), Ok(())) => Self::Recovered,
            (None | Some(Ok(())), Err(reason)) => Self::Unavailable(reason),
            (Some(Ok(())), Ok(())) | (Some(Err(_)), Err(_)) => Self::None,
        }
    }
}

/// Returns the pause after a poll, spread by `jitter` from 0 to 1 so that replicas do not poll in step.
fn poll_delay(failed_in_a_row: u32, jitter: f64) -> Duration {
    let base = match failed_in_a_row {
        0 => POLL_INTERVAL,
        n => MIN_BACKOFF.saturating_mul(2_u32.saturating_pow(n - 1)).min(MAX_BACKOFF),
    };
    base.mul_f64(0.9 + 0.2 * jitter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        metrics::Metrics,
        oidc::{metered::DOCUMENT_TIMEOUT, tests::settings},
    };

    #[test]
    fn an_outage_shows_within_ten_seconds_and_its_end_within_twenty() {
        let polled_late = poll_delay(0, 1.0);
        assert!(polled_late + 2 * DOCUMENT_TIMEOUT < Duration::from_secs(10), "{polled_late:?}");
        for failures in 1..200 {
            let polled_late = poll_delay(failures, 1.0);
            assert!(polled_late + 2 * DOCUMENT_TIMEOUT < Duration::from_secs(20), "{failures}: {polled_late:?}");
        }
    }

    #[test]
    fn an_outage_and_its_end_are_reported_once() {
        let unavailable = Err(Error::Unavailable("a reason".into()));
        let metrics = Metrics::new(&metrics::Settings { backend: "memory", version: "0", commit: "none" });
        let metrics = metrics.bind(&[], &[], &["authentik"]).providers.remove(0);
        let health = ProviderHealth::new(Arc::new(settings("https://id.example/")), Clock::System, metrics);
        let outcomes =
            [unavailable.clone(), unavailable.clone(), Ok(()), Ok(()), unavailable.clone(), unavailable, Ok(())];
        let lines =
            outcomes.map(|now| format!("{:?}", Transition::between(health.note_poll(now.clone()).as_ref(), &now)));
        let lost = r#"Unavailable(Unavailable("a reason"))"#;
        assert_eq!(lines, [lost, "None", "Recovered", "None", lost, "None", "Recovered"]);
        assert!(health.is_available());
    }

    #[test]
    fn backoff_grows_while_the_provider_is_unavailable() {
        let pauses: Vec<_> = (1..=6).map(|failures| poll_delay(failures, 0.5).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 10, 10]);
    }
}

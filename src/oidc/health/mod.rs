//! Health of one provider: availability (by polls of its metadata and keys), the circuit breaker of its token endpoint, and
//! the skew of its clock.
//!
//! Promises: an outage shows within 60 s and its end within 20 s without any traffic; each is logged once, and each new reason
//! of an outage too.

mod circuit_breaker;
mod clock_skew;

use std::{sync::Arc, time::Duration};

use http::HeaderMap;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use self::{
    circuit_breaker::{BreakerPermit, CircuitBreaker},
    clock_skew::ClockSkew,
};
use super::{
    error::Error,
    metered::{Contact, PollReason},
    settings::Settings,
};
use crate::{
    clock::{Clock, Timestamp},
    metrics,
};

// Is it available, may a new visitor be sent there, may the token endpoint be asked? The dearer a wrong answer, the more
// failures it takes.

/// Failures in a row, of polls for whatever reason and of requests without an answer, before an available provider counts as
/// unavailable: in the log, in the metric, on the management port, and for renewals that would keep a request waiting. Two,
/// because one lost packet is no outage; the second poll comes a second later.
const FAILURES_TO_UNAVAILABLE: u32 = 2;
/// Metadata requests in a row that got no answer before new visitors see a page instead of being sent to the provider.
/// Two, because slow is not unavailable, and that page is all that a visitor sees. An invalid document ends the count: the
/// provider answers, and the last valid metadata still lead to its sign-in page.
const FAILED_FETCHES_TO_REFUSE_SIGN_INS: u32 = 2;
/// Token requests in a row that got no answer before renewals are put off. Three, because each may fail for a reason of its
/// own, and an open circuit puts off the renewals of everybody.
const FAILED_REFRESHES_TO_OPEN_CIRCUIT: u32 = 3;

/// Time for which new visitors are refused without a request, before one of them causes the next.
const SIGN_IN_PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// Poll interval of an available provider that answers nobody else meanwhile.
const IDLE_POLL_INTERVAL: Duration = Duration::from_secs(30);
/// The oldest that metadata become at a provider that is asked for other things all the time.
const MAX_METADATA_AGE: Duration = Duration::from_mins(10);
/// Interval before a failure is looked into, and between polls that are called for.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// Poll interval of an unavailable provider. With twice `DOCUMENT_TIMEOUT` it bounds how long a recovery stays unseen.
const OUTAGE_POLL_INTERVAL: Duration = Duration::from_secs(4);
/// Age of the last answer from which a visitor is not sent to the provider without a look at it.
const FRESH_ANSWER: Duration = Duration::from_secs(4);
/// The most reasons of one outage that are logged: a text may hold what the provider chooses.
const MAX_LOGGED_REASONS: usize = 16;

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
    available: bool,
    failed_in_a_row: u32,
    /// Time of the first of them.
    failing_since: Timestamp,
    last: Option<Result<(), Error>>,
    /// Reasons of this outage that have been logged.
    logged_reasons: Vec<String>,
    /// Metadata requests without an answer, since the last that got one.
    outage: Option<Arc<MetadataOutage>>,
}

/// Metadata requests in a row that got no answer.
#[derive(Debug)]
pub(super) struct MetadataOutage {
    first: Instant,
    last: Instant,
    failed_in_a_row: u32,
    reason: String,
}

/// Change of availability that is worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Transition {
    None,
    Available,
    Recovered {
        failing_since: Timestamp,
    },
    Unavailable(String),
    /// Still unavailable, for another reason.
    OtherReason(String),
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

    /// Returns `true` if metadata and keys came, and no failures in a row since.
    pub(super) fn is_available(&self) -> bool {
        self.polls.borrow().available
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

    /// Returns when the next poll is due, after one that ended at `polled`. Any answer since then is as good as a poll of an
    /// available provider, until the metadata are old. `jitter` from 0 to 1 spreads replicas.
    fn poll_due(&self, polled: Instant, answered: Option<Instant>, jitter: f64) -> Instant {
        let state = self.polls.borrow();
        let spread = |interval: Duration| interval.mul_f64(0.9 + 0.2 * jitter);
        match (state.available, state.failed_in_a_row) {
            (true, 0) => {
                let heard = answered.map_or(polled, |answered| answered.max(polled));
                (heard + spread(IDLE_POLL_INTERVAL)).min(polled + spread(MAX_METADATA_AGE))
            }
            (true, _) => polled + spread(PROBE_INTERVAL),
            (false, _) => polled + spread(OUTAGE_POLL_INTERVAL),
        }
    }

    /// Returns the earliest time of a poll that is called for, after one that ended at `polled`; `None` during an outage, in
    /// which failed requests are no news.
    fn called_poll_due(&self, polled: Instant) -> Option<Instant> {
        self.is_available().then(|| polled + PROBE_INTERVAL)
    }

    /// Returns when the next poll is due, after one that ended at `polled`: late while requests are answered, at once where one
    /// is not.
    pub(super) async fn poll_is_due(&self, contact: &Contact, polled: Instant) {
        let jitter = rand::random();
        loop {
            let due = self.poll_due(polled, contact.last_answer(), jitter);
            if due <= Instant::now() {
                return;
            }
            tokio::select! {
                () = sleep_until(due) => {}
                reason = contact.poll_called_for() => {
                    if let Some(due) = self.called_poll_due(polled) {
                        if reason == PollReason::FailedRequest {
                            self.note_failed_request();
                        }
                        sleep_until(due).await;
                        return;
                    }
                }
            }
        }
    }

    /// Notes a request without an answer: a poll that fails after it is the second failure in a row.
    fn note_failed_request(&self) {
        self.polls.send_modify(|state| {
            if state.failed_in_a_row == 0 {
                state.failing_since = self.clock.now();
                state.failed_in_a_row = 1;
            }
        });
    }

    /// Records the outcome of a metadata request. Part of a poll, and known before its end.
    pub(super) fn record_metadata_fetch(&self, error: Option<&Error>) {
        self.polls.send_modify(|state| {
            let now = Instant::now();
            let (first, failed_before) =
                state.outage.as_ref().map_or((now, 0), |outage| (outage.first, outage.failed_in_a_row));
            state.outage = match error {
                Some(Error::Unavailable(reason)) => Some(Arc::new(MetadataOutage {
                    first,
                    last: now,
                    failed_in_a_row: failed_before.saturating_add(1),
                    reason: reason.clone(),
                })),
                _ => None,
            };
        });
    }

    /// Records the outcome of a poll, and logs where the provider becomes available or unavailable.
    pub(super) fn record_poll(&self, outcome: &Result<(), Error>) {
        let transition = self.note_poll(outcome);
        self.metrics.set_up(self.is_available());
        self.log(&transition);
    }

    fn note_poll(&self, outcome: &Result<(), Error>) -> Transition {
        let (mut transition, now) = (Transition::None, self.clock.now());
        self.polls.send_modify(|state| transition = state.note(outcome, now));
        transition
    }

    fn log(&self, transition: &Transition) {
        let (provider, issuer) = (&self.settings.name, &self.settings.issuer);
        match transition {
            Transition::None => {}
            Transition::Available => tracing::info!(provider, %issuer, "the provider is available"),
            Transition::Recovered { failing_since } => {
                let unavailable_seconds = self.clock.now().since(*failing_since).as_secs();
                tracing::info!(provider, %issuer, unavailable_seconds, "the provider is available again");
            }
            Transition::Unavailable(reason) => tracing::warn!(
                provider,
                %issuer,
                reason,
                "the provider is unavailable: sessions go on, nobody new can sign in; check that the issuer is right and \
                 can be reached from here",
            ),
            Transition::OtherReason(reason) => {
                tracing::warn!(provider, %issuer, reason, "the provider is still unavailable, for another reason than before");
            }
        }
    }

    /// Returns once the provider is, or is no longer, available.
    #[cfg(test)]
    pub(super) async fn becomes(&self, available: bool) {
        let mut polls = self.polls.subscribe();
        polls.wait_for(|state| state.available == available).await.expect("we hold the sender");
    }
}

impl PollState {
    /// Notes the outcome of a poll, and returns what it changes.
    fn note(&mut self, outcome: &Result<(), Error>, now: Timestamp) -> Transition {
        let never_polled = self.last.is_none();
        self.count += 1;
        self.last = Some(outcome.clone());
        let was_available = self.available;
        let Err(reason) = outcome else {
            let failing_since = self.failing_since;
            self.available = true;
            self.failed_in_a_row = 0;
            self.logged_reasons.clear();
            return match (was_available, never_polled) {
                (true, _) => Transition::None,
                (false, true) => Transition::Available,
                (false, false) => Transition::Recovered { failing_since },
            };
        };
        if self.failed_in_a_row == 0 {
            self.failing_since = now;
        }
        self.failed_in_a_row = self.failed_in_a_row.saturating_add(1);
        if was_available && self.failed_in_a_row < FAILURES_TO_UNAVAILABLE {
            return Transition::None;
        }
        self.available = false;
        let reason = reason.to_string();
        if self.logged_reasons.contains(&reason) || self.logged_reasons.len() >= MAX_LOGGED_REASONS {
            return Transition::None;
        }
        self.logged_reasons.push(reason.clone());
        if was_available || never_polled { Transition::Unavailable(reason) } else { Transition::OtherReason(reason) }
    }
}

/// Returns `true` if an answer of that time says that the provider is there.
pub(super) fn is_fresh(answered: Option<Instant>) -> bool {
    answered.is_some_and(|answered| answered.elapsed() < FRESH_ANSWER)
}

impl MetadataOutage {
    /// Returns for how long no metadata request has got an answer.
    pub(super) fn lasted(&self) -> Duration {
        self.first.elapsed()
    }

    /// Returns `true` if a new visitor may cause the next metadata request.
    pub(super) fn is_probe_due(&self) -> bool {
        self.last.elapsed() >= SIGN_IN_PROBE_INTERVAL
    }

    /// Returns the outage as the error of a sign-in.
    pub(super) fn to_error(&self) -> Error {
        Error::Unavailable(self.reason.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        metrics::Metrics,
        oidc::{metered::DOCUMENT_TIMEOUT, tests::settings},
    };

    /// The longest that a poll takes: metadata and keys.
    const POLL: Duration = DOCUMENT_TIMEOUT.saturating_mul(2);

    fn health() -> ProviderHealth {
        let metrics = Metrics::new(&metrics::Settings { backend: "memory", version: "0", commit: "none" });
        let metrics = metrics.bind(&[], &[], &["authentik"]).providers.remove(0);
        ProviderHealth::new(Arc::new(settings("https://id.example/")), Clock::System, metrics)
    }

    fn away(reason: &str) -> Result<(), Error> {
        Err(Error::Unavailable(reason.into()))
    }

    #[test]
    fn an_outage_shows_within_a_minute_and_its_end_within_twenty_seconds() {
        let (health, polled) = (health(), Instant::now());
        let wait = |health: &ProviderHealth| health.poll_due(polled, None, 1.0) - polled;
        health.note_poll(&Ok(()));
        let first = wait(&health) + POLL;
        health.note_poll(&away("one"));
        assert!(health.is_available(), "one lost packet is no outage");
        let second = wait(&health) + POLL;
        health.note_poll(&away("one"));
        assert!(!health.is_available());
        assert!(first + second < Duration::from_mins(1), "{first:?} {second:?}");
        for _ in 0..200 {
            assert!(wait(&health) + POLL < Duration::from_secs(20));
            assert!(wait(&health) > Duration::from_secs(3), "it is not flooded either");
            health.note_poll(&away("one"));
        }
        health.note_poll(&Ok(()));
        assert!(health.is_available());
    }

    #[test]
    fn a_provider_that_answers_others_is_not_polled_until_its_metadata_are_old() {
        let (health, polled) = (health(), Instant::now());
        health.note_poll(&Ok(()));
        let due = |answered| health.poll_due(polled, answered, 0.5) - polled;
        assert_eq!(due(None), Duration::from_secs(30));
        let answered = polled + Duration::from_secs(20);
        assert_eq!(due(Some(answered)), Duration::from_secs(50));
        assert_eq!(due(Some(polled + Duration::from_hours(1))), MAX_METADATA_AGE);
        health.note_poll(&away("one"));
        assert_eq!(due(Some(answered)), PROBE_INTERVAL, "a failure is looked into, whatever others are told");
    }

    #[test]
    fn a_failed_request_and_a_failed_poll_are_an_outage() {
        let health = health();
        health.note_poll(&Ok(()));
        health.note_failed_request();
        assert!(health.is_available(), "the request may have failed for a reason of its own");
        health.note_poll(&Ok(()));
        health.note_failed_request();
        health.note_failed_request();
        health.note_poll(&away("one"));
        assert!(!health.is_available());
        assert_eq!(health.called_poll_due(Instant::now()), None);
    }

    #[test]
    fn an_outage_its_end_and_each_new_reason_are_reported_once() {
        let health = health();
        let polls = ["one", "one", "two", "one", "", "", "one", "", "one", "one", "one", "three", ""];
        let lines = polls.map(|reason| {
            let outcome = if reason.is_empty() { Ok(()) } else { away(reason) };
            match health.note_poll(&outcome) {
                Transition::None => String::new(),
                Transition::Recovered { .. } => "recovered".to_owned(),
                Transition::Unavailable(reason) => reason.replace("the provider is unavailable: ", "away: "),
                Transition::OtherReason(reason) => reason.replace("the provider is unavailable: ", "other: "),
                Transition::Available => "available".to_owned(),
            }
        });
        let expected = [
            "away: one",
            "",
            "other: two",
            "",
            "recovered",
            "",
            "",
            "",
            "",
            "away: one",
            "",
            "other: three",
            "recovered",
        ];
        assert_eq!(lines, expected);
    }
}

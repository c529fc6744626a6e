//! `sid` in renewals: whether a provider repeats in renewed ID tokens the `sid` that a session was made with.
//!
//! Promises: a `sid` that is missing or another one ends a session only at a provider that was seen to repeat it, or of which
//! the configuration says so; a renewal without an ID token says nothing. Pure, but for the log and the metric.

use std::sync::{
    Arc,
    atomic::{AtomicU8, AtomicU32, Ordering},
};

use super::settings::Settings;
use crate::metrics;

/// Sessions that end in a row, none with a repeated `sid` between them, before the log asks whether the provider has changed.
/// Fewer are people who signed out there.
const SUSPICIOUS: u32 = 3;

/// What a renewal says about the provider's own session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RenewedSid {
    /// The `sid` came again: the provider's session goes on.
    Repeated,
    /// The session was made without one, and this is its first.
    First(String),
    /// Nothing that counts: no ID token, or a provider that is not known to repeat it.
    Unconfirmed,
    /// The ID token lacks it, or has another, at a provider that repeats it: the provider's session is over.
    Lost,
}

/// The `sid` of a session before its renewal.
#[derive(Clone, Copy, Debug, Default)]
pub struct PreviousSid<'a> {
    /// The `sid` that the session was made with.
    pub sid: Option<&'a str>,
    /// `true` once a renewal of this very session has repeated it.
    pub was_repeated: bool,
}

/// What a renewal's ID token says of the `sid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ToldSid<'a> {
    /// Nothing: there is no ID token.
    Nothing,
    /// That there is none.
    Absent,
    /// This one.
    Given(&'a str),
}

/// What is known of one provider.
pub(super) struct SidRetention {
    settings: Arc<Settings>,
    metrics: metrics::ProviderMetrics,
    learned: Arc<Learned>,
}

/// What renewals have told so far.
#[derive(Default)]
struct Learned {
    answer: AtomicU8,
    lost_in_a_row: AtomicU32,
}

/// No renewal has told.
const UNKNOWN: u8 = 0;
/// A renewed ID token came without it, or with another.
const NOT_SEEN: u8 = 1;
/// A renewed ID token repeated it.
const SEEN: u8 = 2;

impl SidRetention {
    /// Nothing is known but what the configuration says.
    pub(super) fn new(settings: Arc<Settings>, metrics: metrics::ProviderMetrics) -> Self {
        Self { settings, metrics, learned: Arc::default() }.shown()
    }

    /// Takes over what `previous` has learned. What the configuration says is said anew.
    pub(super) fn with_state_of(self, previous: &Self) -> Self {
        Self { learned: Arc::clone(&previous.learned), ..self }.shown()
    }

    fn shown(self) -> Self {
        let learned = match self.learned.answer.load(Ordering::Relaxed) {
            UNKNOWN => None,
            answer => Some(answer == SEEN),
        };
        self.metrics.set_keeps_sid(self.settings.renewals_keep_sid.or(learned));
        self
    }

    /// Judges a renewal by the `sid` of its ID token.
    pub(super) fn judge(&self, previous: PreviousSid<'_>, told: ToldSid<'_>) -> RenewedSid {
        match (previous.sid, told) {
            (_, ToldSid::Nothing) | (None, ToldSid::Absent) => RenewedSid::Unconfirmed,
            (None, ToldSid::Given(first)) => RenewedSid::First(first.to_owned()),
            (Some(sid), ToldSid::Given(renewed)) if sid == renewed => {
                self.learned.lost_in_a_row.store(0, Ordering::Relaxed);
                self.learn(SEEN);
                RenewedSid::Repeated
            }
            (Some(_), ToldSid::Absent | ToldSid::Given(_)) if self.is_repeated(previous) => {
                self.count_lost();
                RenewedSid::Lost
            }
            // The first one stays: it is what the sign-in was told, and so what logout by the provider names.
            (Some(_), ToldSid::Absent | ToldSid::Given(_)) => {
                self.learn(NOT_SEEN);
                RenewedSid::Unconfirmed
            }
        }
    }

    fn is_repeated(&self, previous: PreviousSid<'_>) -> bool {
        self.settings.renewals_keep_sid.unwrap_or_else(|| {
            // Seen before the last restart, or by another replica.
            if previous.was_repeated {
                self.learn(SEEN);
            }
            self.learned.answer.load(Ordering::Relaxed) == SEEN
        })
    }

    fn learn(&self, answer: u8) {
        // What was seen once stays seen.
        let before = self.learned.answer.fetch_max(answer, Ordering::Relaxed);
        if before >= answer || self.settings.renewals_keep_sid.is_some() {
            return;
        }
        let provider = &self.settings.name;
        self.metrics.set_keeps_sid(Some(answer == SEEN));
        if answer == SEEN {
            tracing::info!(
                provider,
                "the provider keeps sid in renewals: a session whose renewed ID token lacks it, or has another, ends from now \
                 on; providers.renewals_keep_sid fixes this"
            );
        } else {
            tracing::info!(
                provider,
                "a renewed ID token came without the sid of its session, and the provider has not been seen to keep it: the \
                 session goes on; providers.renewals_keep_sid = true ends such sessions"
            );
        }
    }

    /// Counts a session that ends. An update of the provider that drops `sid` for everybody must not pass for sign-outs.
    fn count_lost(&self) {
        let sessions = self.learned.lost_in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let is_told = sessions == SUSPICIOUS || (sessions >= 10 && sessions.is_power_of_two());
        if is_told {
            tracing::warn!(
                provider = self.settings.name,
                sessions,
                "sessions have ended in a row because their renewed ID tokens lack the sid that they were made with: if \
                 nobody signed out at the provider it has changed; mend: renewals_keep_sid = false at this provider"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{metrics::Metrics, oidc::tests::settings};

    struct Fixture {
        metrics: Metrics,
        retention: SidRetention,
    }

    fn told(keeps: Option<bool>) -> Fixture {
        let metrics = Metrics::new(&metrics::Settings { backend: "memory", version: "0", commit: "none" });
        let own = metrics.bind(&[], &[], &["authentik"]).providers.remove(0);
        let settings = Settings { renewals_keep_sid: keeps, ..settings("https://id.example/") };
        Fixture { retention: SidRetention::new(Arc::new(settings), own), metrics }
    }

    fn made_with(sid: &str) -> PreviousSid<'_> {
        PreviousSid { sid: Some(sid), was_repeated: false }
    }

    impl Fixture {
        fn judge(&self, sid: &str, renewed: Option<&str>) -> RenewedSid {
            self.retention.judge(made_with(sid), renewed.map_or(ToldSid::Absent, ToldSid::Given))
        }

        /// Value of the metric.
        fn keeps(&self) -> Option<String> {
            let text = self.metrics.print();
            text.lines()
                .find_map(|line| line.strip_prefix(r#"doorward_provider_keeps_sid{provider="authentik"} "#))
                .map(ToOwned::to_owned)
        }
    }

    #[test]
    fn a_missing_sid_counts_once_the_provider_was_seen_to_keep_it() {
        let provider = told(None);
        assert_eq!(provider.keeps(), None);
        assert_eq!(provider.judge("a", None), RenewedSid::Unconfirmed);
        assert_eq!(provider.judge("a", Some("b")), RenewedSid::Unconfirmed);
        assert_eq!(provider.keeps().as_deref(), Some("0"));
        assert_eq!(provider.judge("c", Some("c")), RenewedSid::Repeated);
        assert_eq!(provider.keeps().as_deref(), Some("1"));
        assert_eq!(provider.judge("a", None), RenewedSid::Lost);
        assert_eq!(provider.judge("a", Some("b")), RenewedSid::Lost);
        assert_eq!(provider.keeps().as_deref(), Some("1"), "what was seen stays seen");
    }

    #[test]
    fn a_renewal_without_an_id_token_says_nothing() {
        let provider = told(Some(true));
        assert_eq!(provider.retention.judge(made_with("a"), ToldSid::Nothing), RenewedSid::Unconfirmed);
        assert_eq!(provider.retention.judge(PreviousSid::default(), ToldSid::Nothing), RenewedSid::Unconfirmed);
    }

    #[test]
    fn a_session_without_a_sid_loses_none() {
        let provider = told(Some(true));
        assert_eq!(provider.retention.judge(PreviousSid::default(), ToldSid::Absent), RenewedSid::Unconfirmed);
        let first = provider.retention.judge(PreviousSid::default(), ToldSid::Given("a"));
        assert_eq!(first, RenewedSid::First("a".to_owned()));
    }

    #[test]
    fn the_configuration_decides_where_it_says_so() {
        let (keeps, drops) = (told(Some(true)), told(Some(false)));
        assert_eq!((keeps.keeps().as_deref(), drops.keeps().as_deref()), (Some("1"), Some("0")));
        assert_eq!(keeps.judge("a", None), RenewedSid::Lost);
        assert_eq!(drops.judge("a", Some("a")), RenewedSid::Repeated);
        assert_eq!(drops.judge("a", None), RenewedSid::Unconfirmed);
        assert_eq!(drops.keeps().as_deref(), Some("0"));
    }

    #[test]
    fn what_a_session_has_seen_outlives_a_restart() {
        let provider = told(None);
        let renewed = PreviousSid { sid: Some("a"), was_repeated: true };
        assert_eq!(provider.retention.judge(renewed, ToldSid::Absent), RenewedSid::Lost);
        assert_eq!(provider.judge("b", None), RenewedSid::Lost, "and the others are judged by it");
    }

    #[test]
    fn a_reload_forgets_nothing_but_what_the_configuration_said() {
        let fixed = told(Some(true));
        let own = fixed.metrics.bind(&[], &[], &["authentik"]).providers.remove(0);
        let next = |keeps| {
            let settings = Settings { renewals_keep_sid: keeps, ..settings("https://id.example/") };
            SidRetention::new(Arc::new(settings), own.clone()).with_state_of(&fixed.retention)
        };
        let free = next(None);
        assert_eq!(fixed.keeps(), None);
        assert_eq!(free.judge(made_with("a"), ToldSid::Absent), RenewedSid::Unconfirmed);
        assert_eq!(free.judge(made_with("a"), ToldSid::Given("a")), RenewedSid::Repeated);
        assert_eq!(next(None).judge(made_with("a"), ToldSid::Absent), RenewedSid::Lost);
    }
}

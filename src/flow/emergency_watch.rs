//! Watch over the emergency sign-in: the metric, and the log of its opening, its end and its use.
//!
//! Promises: nobody is let in by an emergency password without a line that says who, from where and why it was open; repetitions
//! are counted in one line a minute; memory is bounded.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::context::RequestContext;
use crate::{
    clock::{Clock, Timestamp},
    metrics::{EmergencyMetrics, EmergencyResult},
};

/// Window in which repeated uses are counted, before a line says how many there were.
const WINDOW: Duration = Duration::from_mins(1);
/// The most pairs of a user and a client that are told apart. Beyond them uses are counted by user alone.
const MAX_PAIRS: usize = 1_024;

/// Watches over the emergency sign-in, whatever its configuration.
pub(super) struct EmergencyWatch {
    clock: Clock,
    metrics: EmergencyMetrics,
    opening: Mutex<Opening>,
    uses: Mutex<HashMap<Use, UseWindow>>,
}

/// State of the emergency sign-in, as it was logged.
#[derive(Default)]
struct Opening {
    since: Timestamp,
    /// Empty while it is closed.
    causes: Vec<String>,
}

/// Change that is worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
enum OpeningChange {
    None,
    Opened(String),
    /// Still open, for other causes.
    Changed(String),
    Closed {
        since: Timestamp,
        causes: String,
    },
}

/// Use of an emergency password by somebody.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Use {
    user: String,
    client: Option<IpAddr>,
}

/// Uses that are repetitions of each other.
struct UseWindow {
    app: String,
    ends: Timestamp,
    repeated: u64,
}

impl EmergencyWatch {
    pub(super) fn new(metrics: EmergencyMetrics, clock: Clock) -> Self {
        Self { clock, metrics, opening: Mutex::default(), uses: Mutex::default() }
    }

    pub(super) fn count(&self, result: EmergencyResult) {
        self.metrics.count(result);
    }

    /// Takes the causes for which it is open now, none where it is closed.
    pub(super) fn observe(&self, causes: &[&str]) {
        let transition = {
            let mut opening = locked(&self.opening);
            self.metrics.set_active(!causes.is_empty());
            opening.take(causes, self.clock.now())
        };
        match transition {
            OpeningChange::None => {}
            OpeningChange::Opened(unavailable) => tracing::warn!(
                unavailable,
                "the emergency sign-in is open: people without a known session can use emergency passwords until this is available again"
            ),
            OpeningChange::Changed(unavailable) => {
                tracing::warn!(unavailable, "the emergency sign-in is still open, for another cause than before");
            }
            OpeningChange::Closed { since, causes } => {
                let open_seconds = self.clock.now().since(since).as_secs();
                tracing::warn!(open_seconds, was_unavailable = causes, "the emergency sign-in is closed again");
            }
        }
    }

    /// Logs that somebody is let in, or counts it where it is a repetition.
    pub(super) fn record_use(&self, context: &RequestContext<'_>, user: &str, unavailable: &str) {
        let app = &context.site.app.name;
        if self.is_first(user, context.client, app) {
            tracing::warn!(
                request_id = %context.id,
                app,
                host = context.authority.host(),
                client = context.client_text(),
                user,
                unavailable,
                "emergency sign-in: let in by an emergency password"
            );
        }
    }

    fn is_first(&self, user: &str, client: Option<IpAddr>, app: &str) -> bool {
        let (mut windows, now) = (locked(&self.uses), self.clock.now());
        let mut key = Use { user: user.to_owned(), client };
        if windows.len() >= MAX_PAIRS && !windows.contains_key(&key) {
            key.client = None;
        }
        if let Some(window) = windows.get_mut(&key) {
            window.repeated += 1;
            return false;
        }
        windows.insert(key, UseWindow { app: app.to_owned(), ends: now.plus(WINDOW), repeated: 0 });
        true
    }

    /// Logs how often uses were repeated in windows that are over, or in all of them where the gate stops.
    pub(super) fn write_repeated(&self, is_over: impl Fn(Timestamp, Timestamp) -> bool) {
        for (Use { user, client }, app, count) in self.take_repeated(is_over) {
            let client = client.map(|address| address.to_string());
            tracing::warn!(user, client, app, count, "emergency sign-in: let in by an emergency password");
        }
    }

    /// Takes the uses that were repeated in a window that is over, and forgets those that were not.
    fn take_repeated(&self, is_over: impl Fn(Timestamp, Timestamp) -> bool) -> Vec<(Use, String, u64)> {
        let now = self.clock.now();
        let (mut repeated, mut uses) = (Vec::new(), locked(&self.uses));
        uses.retain(|pair, window| {
            if !is_over(window.ends, now) {
                return true;
            }
            let count = std::mem::take(&mut window.repeated);
            if count > 0 {
                repeated.push((pair.clone(), window.app.clone(), count));
                window.ends = now.plus(WINDOW);
            }
            count > 0
        });
        repeated
    }
}

impl Opening {
    fn take(&mut self, causes: &[&str], now: Timestamp) -> OpeningChange {
        if self.causes == causes {
            return OpeningChange::None;
        }
        let before = std::mem::replace(&mut self.causes, causes.iter().map(|cause| (*cause).to_owned()).collect());
        match (before.is_empty(), causes.is_empty()) {
            (true, _) => {
                self.since = now;
                OpeningChange::Opened(causes.join(", "))
            }
            (false, false) => OpeningChange::Changed(causes.join(", ")),
            (false, true) => OpeningChange::Closed { since: self.since, causes: before.join(", ") },
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::metrics::{self, Metrics};

    #[test]
    fn its_opening_each_other_cause_and_its_end_are_told_once() {
        let (mut opening, start) = (Opening::default(), Timestamp::from_unix(1_000));
        let text = |text: &str| text.to_owned();
        for (seconds, causes, expected) in [
            (0, &[][..], OpeningChange::None),
            (1, &["store"], OpeningChange::Opened(text("store"))),
            (2, &["store"], OpeningChange::None),
            (3, &["store", "idp"], OpeningChange::Changed(text("store, idp"))),
            (4, &["idp"], OpeningChange::Changed(text("idp"))),
            (5, &[], OpeningChange::Closed { since: start.plus(Duration::from_secs(1)), causes: text("idp") }),
            (6, &[], OpeningChange::None),
            (7, &["idp"], OpeningChange::Opened(text("idp"))),
        ] {
            assert_eq!(opening.take(causes, start.plus(Duration::from_secs(seconds))), expected, "{seconds}");
        }
    }

    #[test]
    fn the_first_use_of_somebody_from_somewhere_is_told_at_once_and_the_rest_counted() {
        let metrics = Metrics::new(&metrics::Settings { backend: "memory", version: "0", commit: "none" });
        let (clock, hand) = Clock::manual(Timestamp::from_unix(1_000));
        let watch = EmergencyWatch::new(metrics.bind(&[], &[], &[]).emergency, clock);
        let client = |last: u8| Some(IpAddr::from([203, 0, 113, last]));
        let over = |ends, now| ends <= now;
        assert!(watch.is_first("emergency:ann", client(1), "app"));
        assert!(!watch.is_first("emergency:ann", client(1), "wiki"));
        assert!(!watch.is_first("emergency:ann", client(1), "app"));
        assert!(watch.is_first("emergency:ann", client(2), "app") && watch.is_first("emergency:bob", client(1), "app"));
        assert!(watch.take_repeated(over).is_empty());
        hand.store(1_060, Ordering::Relaxed);
        let ann = Use { user: "emergency:ann".to_owned(), client: client(1) };
        assert_eq!(watch.take_repeated(over), [(ann, "app".to_owned(), 2)]);
        assert!(!watch.is_first("emergency:ann", client(1), "app"), "it goes on");
        assert!(watch.is_first("emergency:bob", client(1), "app"), "nothing was counted of it");
        hand.store(1_300, Ordering::Relaxed);
        watch.take_repeated(over);
        watch.take_repeated(|_, _| true);
        assert!(locked(&watch.uses).is_empty());
    }

    #[test]
    fn beyond_the_bound_uses_are_counted_by_user() {
        let metrics = Metrics::new(&metrics::Settings { backend: "memory", version: "0", commit: "none" });
        let watch = EmergencyWatch::new(metrics.bind(&[], &[], &[]).emergency, Clock::System);
        for place in 0..u32::try_from(MAX_PAIRS).unwrap() + 100 {
            watch.is_first("emergency:ann", Some(IpAddr::from(place.to_be_bytes())), "app");
        }
        assert_eq!(locked(&watch.uses).len(), MAX_PAIRS + 1);
    }
}

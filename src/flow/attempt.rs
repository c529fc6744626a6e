//! A sign-in under way: what travels sealed in `state`, and the login cookie that binds it to one browser.
//!
//! Nothing is stored for somebody who has not signed in. One login cookie serves any number of tabs: it names the
//! browser, and every attempt names the browser that it belongs to.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    crypto::{self, Keyring, Purpose},
    identity::Registration,
};

/// How long somebody may take to sign in before the attempt is begun afresh.
pub(super) const LIFETIME: Duration = Duration::from_hours(1);
/// The window in which rounds are counted, and how many begin again before a page explains.
const WINDOW: Duration = Duration::from_mins(1);
const MOST_ROUNDS: u8 = 3;

const BROWSER: usize = 16;

/// One attempt to sign in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Attempt {
    /// Whom it began with: no other provider is shown the code that comes back, be it configured under the same name.
    registration: Registration,
    /// The host (and port) that it began on and must come back to.
    pub(super) authority: String,
    /// Where the browser goes in the end: a [`crate::policy::redirect::RedirectTarget`], as text.
    pub(super) target: String,
    /// What the ID token has to repeat.
    pub(super) nonce: String,
    /// The PKCE verifier.
    pub(super) verifier: String,
    /// When it began, in Unix seconds.
    born: u64,
    /// The browser that it belongs to.
    browser: [u8; BROWSER],
    /// How often sign-in has gone round already.
    rounds: Rounds,
}

/// How often sign-in has gone round, and since when.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rounds {
    since: u64,
    count: u8,
}

/// What the login cookie holds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Browser {
    id: [u8; BROWSER],
    /// Sign-ins of late: more than a few in a minute, and still no session, means that it is not seen again.
    pub(super) rounds: Rounds,
}

impl Rounds {
    /// One round more; the count begins anew once the window has passed.
    pub(super) fn another(self, now: Timestamp) -> Self {
        if self.is_fresh(now) {
            Self { count: self.count.saturating_add(1), ..self }
        } else {
            Self { since: now.unix(), count: 1 }
        }
    }

    /// Whether beginning again would only go round once more.
    pub(super) fn are_too_many(self, now: Timestamp) -> bool {
        self.is_fresh(now) && self.count > MOST_ROUNDS
    }

    /// The one with more rounds: the browser may have lost either of them.
    pub(super) fn or_more(self, other: Self) -> Self {
        if self.count >= other.count { self } else { other }
    }

    fn is_fresh(self, now: Timestamp) -> bool {
        self.count > 0 && now.since(Timestamp::from_unix(self.since)) < WINDOW
    }
}

impl Browser {
    /// A browser that we have not seen yet.
    pub(super) fn new() -> Self {
        Self { id: crypto::random(), rounds: Rounds::default() }
    }

    /// The browser that a login cookie's value names, where the cookie was made for this host or domain.
    pub(super) fn open(keyring: &Keyring, audience: &str, value: &[u8]) -> Option<Self> {
        let sealed = crypto::decode(value)?;
        serde_json::from_slice(&keyring.open(Purpose::LoginCookie, audience.as_bytes(), &sealed)?).ok()
    }

    /// The value of the login cookie for a host or domain.
    pub(super) fn seal(&self, keyring: &Keyring, audience: &str) -> String {
        let plain = serde_json::to_vec(self).expect("numbers serialise");
        crypto::encode(&keyring.seal(Purpose::LoginCookie, audience.as_bytes(), &plain))
    }
}

impl Attempt {
    /// Begins an attempt of this browser.
    pub(super) fn new(
        registration: Registration,
        authority: String,
        target: String,
        browser: &Browser,
        now: Timestamp,
    ) -> Self {
        Self {
            registration,
            authority,
            target,
            nonce: crypto::encode(&crypto::random::<24>()),
            verifier: crypto::encode(&crypto::random::<32>()),
            born: now.unix(),
            browser: browser.id,
            rounds: browser.rounds,
        }
    }

    /// The value of `state`.
    pub(super) fn seal(&self, keyring: &Keyring) -> String {
        let plain = serde_json::to_vec(self).expect("text and numbers serialise");
        crypto::encode(&keyring.seal(Purpose::LoginAttempt, b"", &plain))
    }

    /// The attempt that a `state` stands for; `None` for anything that we did not make.
    pub(super) fn open(keyring: &Keyring, state: &str) -> Option<Self> {
        let sealed = crypto::decode(state.as_bytes())?;
        serde_json::from_slice(&keyring.open(Purpose::LoginAttempt, b"", &sealed)?).ok()
    }

    /// Whether this browser, on this host, at this provider may complete it now.
    pub(super) fn belongs_to(
        &self,
        browsers: &[Browser],
        authority: &str,
        registration: Registration,
        now: Timestamp,
    ) -> bool {
        browsers.iter().any(|browser| browser.id == self.browser)
            && self.authority == authority
            && self.registration == registration
            && self.born <= now.plus(WINDOW).unix()
            && now.since(Timestamp::from_unix(self.born)) < LIFETIME
    }

    /// How often sign-in had gone round when it began.
    pub(super) fn rounds(&self) -> Rounds {
        self.rounds
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_000_000);
    const P: Registration = Registration([1; 8]);
    const Q: Registration = Registration([2; 8]);

    fn keyring() -> Keyring {
        Keyring::new(&[SecretString::from("k".repeat(32))]).unwrap()
    }

    fn attempt(browser: &Browser) -> Attempt {
        Attempt::new(P, "app.example.com".into(), "https://app.example.com/x?y=z".into(), browser, NOW)
    }

    #[test]
    fn an_attempt_comes_back_as_it_went() {
        let (keyring, browser) = (keyring(), Browser::new());
        let sent = attempt(&browser);
        let state = sent.seal(&keyring);
        let back = Attempt::open(&keyring, &state).unwrap();
        assert_eq!((back.target, back.nonce, back.verifier), (sent.target, sent.nonce, sent.verifier));
        for cut in 0..state.len() {
            assert!(Attempt::open(&keyring, &state[..cut]).is_none());
        }
    }

    #[test]
    fn a_state_is_no_login_cookie_and_a_login_cookie_is_no_state() {
        let (keyring, browser) = (keyring(), Browser::new());
        assert!(Browser::open(&keyring, "", attempt(&browser).seal(&keyring).as_bytes()).is_none());
        assert!(Attempt::open(&keyring, &browser.seal(&keyring, "")).is_none());
    }

    #[test]
    fn a_login_cookie_counts_where_it_was_made() {
        let (keyring, browser) = (keyring(), Browser::new());
        let cookie = browser.seal(&keyring, "wiki.test");
        assert_eq!(Browser::open(&keyring, "wiki.test", cookie.as_bytes()).unwrap().id, browser.id);
        for elsewhere in ["admin.test", ".wiki.test", ".test", ""] {
            assert!(Browser::open(&keyring, elsewhere, cookie.as_bytes()).is_none(), "{elsewhere}");
        }
    }

    #[test]
    fn an_attempt_belongs_to_one_browser_one_host_one_provider_and_one_hour() {
        let (own, other) = (Browser::new(), Browser::new());
        let attempt = attempt(&own);
        let late = NOW.plus(LIFETIME);
        for (browsers, authority, registration, now, expected) in [
            (vec![own], "app.example.com", P, NOW, true),
            (vec![other, own], "app.example.com", P, NOW, true),
            (vec![other], "app.example.com", P, NOW, false),
            (vec![], "app.example.com", P, NOW, false),
            (vec![own], "app.example.com:8443", P, NOW, false),
            (vec![own], "app.example.com", Q, NOW, false),
            (vec![own], "app.example.com", P, late, false),
        ] {
            assert_eq!(
                attempt.belongs_to(&browsers, authority, registration, now),
                expected,
                "{authority} {registration:?} {now}"
            );
        }
    }

    #[test]
    fn sign_in_begins_again_three_times_a_minute_and_no_more() {
        let mut rounds = Rounds::default();
        for _ in 0..3 {
            rounds = rounds.another(NOW);
            assert!(!rounds.are_too_many(NOW));
        }
        rounds = rounds.another(NOW);
        assert!(rounds.are_too_many(NOW));
        assert!(!rounds.are_too_many(NOW.plus(WINDOW)));
        assert_eq!(rounds.another(NOW.plus(WINDOW)).count, 1);
    }
}

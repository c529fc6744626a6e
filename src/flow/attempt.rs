//! Sign-in attempt: sealed in `state` with its nonce and PKCE verifier, and bound to one browser by the login cookie (against
//! login CSRF).
//!
//! Promises: nothing is stored for people who have not signed in. One login cookie serves any number of tabs: it names the
//! browser, and every attempt names the browser that it belongs to.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::return_target::{KeptTargetId, ReturnTarget};
use crate::{
    clock::Timestamp,
    crypto::{self, Keyring, Purpose, SHORT_TAG_LENGTH},
    edge::Edge,
    identity::Registration,
    policy::StepUp,
};

/// Lifetime of an attempt; after it, sign-in begins anew.
pub(super) const LIFETIME: Duration = Duration::from_hours(1);
/// Window in which repeated sign-ins are counted.
pub(super) const WINDOW: Duration = Duration::from_mins(1);
/// The most repeated sign-ins in a window; beyond them a page explains.
const MAX_LOOPS: u8 = 3;

/// Bytes of a browser's random id: it cannot be guessed, and the whole cookie stays within 60 bytes.
const BROWSER_ID: usize = 10;
/// Bytes of a login cookie without its tag: the id, and the counter's beginning and count.
const PLAIN_LENGTH: usize = BROWSER_ID + 4 + 1;

/// Attempt to sign in. The serialised field names stay, because replicas of other versions open it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Attempt {
    /// The provider that it began with: no other is sent the code, even if it is configured under the same name.
    pub(super) registration: Registration,
    /// The host (and port) that it began on and must come back to.
    pub(super) authority: String,
    /// The address to return to, as text; the page without its query where the browser keeps the whole.
    pub(super) target: String,
    /// The target that the browser keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kept: Option<KeptTargetId>,
    /// The label of the edge whose question came without any cookies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    without_cookies: Option<String>,
    /// The nonce that the ID token has to repeat.
    pub(super) nonce: String,
    /// The PKCE `code_verifier` (RFC 7636).
    pub(super) verifier: String,
    /// Creation time, in Unix seconds.
    #[serde(rename = "born")]
    created: u64,
    /// The browser that it belongs to.
    browser: [u8; BROWSER_ID],
    /// Sign-ins before it that led to no session.
    #[serde(rename = "rounds")]
    loops: LoopCounter,
    /// The session that is to be authorized again; absent in a sign-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reauthorizes: Option<u64>,
    /// What was asked for beyond who somebody is; absent in a plain sign-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    step_up: Option<StepUp>,
}

/// Counter of sign-ins that led to no session, since the first of them: a redirect loop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LoopCounter {
    since: u64,
    count: u8,
}

/// Contents of the login cookie: every request to the host carries it while somebody signs in, so it is short.
#[derive(Debug, Clone, Copy)]
pub(super) struct LoginCookie {
    id: [u8; BROWSER_ID],
    /// Recent sign-ins: more than a few in a minute mean that sessions are not found again.
    pub(super) loops: LoopCounter,
}

impl LoopCounter {
    /// Adds one; counting begins anew once the window has passed.
    pub(super) fn incremented(self, now: Timestamp) -> Self {
        if self.is_fresh(now) {
            Self { count: self.count.saturating_add(1), ..self }
        } else {
            Self { since: now.unix(), count: 1 }
        }
    }

    /// Returns `true` if another sign-in would only loop once more.
    pub(super) fn is_exceeded(self, now: Timestamp) -> bool {
        self.is_fresh(now) && self.count > MAX_LOOPS
    }

    /// Returns `true` if it has counted as many as there may be, so that the next would be one too many.
    pub(super) fn is_used_up(self, now: Timestamp) -> bool {
        self.is_fresh(now) && self.count >= MAX_LOOPS
    }

    /// Returns the higher counter: the browser may have lost either of them.
    pub(super) fn max(self, other: Self) -> Self {
        if self.count >= other.count { self } else { other }
    }

    fn is_fresh(self, now: Timestamp) -> bool {
        self.count > 0 && now.since(Timestamp::from_unix(self.since)) < WINDOW
    }
}

impl LoginCookie {
    /// The cookie of a new browser.
    pub(super) fn new() -> Self {
        Self { id: crypto::random(), loops: LoopCounter::default() }
    }

    /// The same browser with another counter.
    pub(super) fn with_loops(self, loops: LoopCounter) -> Self {
        Self { loops, ..self }
    }

    /// Opens the value of a login cookie; `None` unless we made it for this host or domain.
    pub(super) fn open(keyring: &Keyring, audience: &str, value: &[u8]) -> Option<Self> {
        let bytes = crypto::decode_exact::<{ PLAIN_LENGTH + SHORT_TAG_LENGTH }>(value)?;
        let (plain, rest) = bytes.split_first_chunk::<PLAIN_LENGTH>()?;
        let (tag, _) = rest.split_first_chunk::<SHORT_TAG_LENGTH>()?;
        if !keyring.verify_short_tag(Purpose::LoginCookie, audience.as_bytes(), plain, tag) {
            return None;
        }
        let (id, rest) = plain.split_first_chunk::<BROWSER_ID>()?;
        let (since, count) = rest.split_first_chunk::<4>()?;
        let loops = LoopCounter { since: u32::from_be_bytes(*since).into(), count: *count.first()? };
        Some(Self { id: *id, loops })
    }

    /// Makes the value of the login cookie for a host or domain: its contents and their tag. Nothing in it is secret from the
    /// browser.
    pub(super) fn sign(&self, keyring: &Keyring, audience: &str) -> String {
        // The counter looks a minute back, so it may fail in the year 2106.
        let since = u32::try_from(self.loops.since).unwrap_or(u32::MAX).to_be_bytes();
        let plain = [self.id.as_slice(), &since, &[self.loops.count]].concat();
        let tag = keyring.short_tag(Purpose::LoginCookie, audience.as_bytes(), &plain);
        crypto::encode(&[plain.as_slice(), &tag].concat())
    }
}

impl Attempt {
    /// A new attempt of this browser.
    pub(super) fn new(
        registration: Registration,
        authority: String,
        target: &ReturnTarget,
        cookie: &LoginCookie,
        now: Timestamp,
    ) -> Self {
        let (target, kept) = target.in_state();
        Self {
            registration,
            authority,
            target: target.as_str().to_owned(),
            kept: kept.cloned(),
            without_cookies: None,
            nonce: crypto::encode(&crypto::random::<24>()),
            verifier: crypto::encode(&crypto::random::<32>()),
            created: now.unix(),
            browser: cookie.id,
            loops: cookie.loops,
            reauthorizes: None,
            step_up: None,
        }
    }

    /// Records that the question of this edge came without any cookies.
    pub(super) fn asked_without_cookies(self, edge: Option<Edge>) -> Self {
        Self { without_cookies: edge.map(|edge| edge.label().to_owned()), ..self }
    }

    /// Returns the edge whose question came without any cookies.
    pub(super) fn edge_without_cookies(&self) -> Option<Edge> {
        let label = self.without_cookies.as_deref()?;
        Edge::ALL.iter().copied().find(|edge| edge.label() == label)
    }

    /// Returns the moment in which it began.
    pub(super) fn created(&self) -> Timestamp {
        Timestamp::from_unix(self.created)
    }

    /// The same attempt for a session that is to be authorized again, or none.
    pub(super) fn reauthorizing(self, session: Option<u64>) -> Self {
        Self { reauthorizes: session, ..self }
    }

    /// The same attempt, of which this was asked.
    pub(super) fn asking_for(self, step_up: Option<&StepUp>) -> Self {
        Self { step_up: step_up.cloned(), ..self }
    }

    /// Returns what was asked for beyond who somebody is.
    pub(super) fn step_up(&self) -> Option<&StepUp> {
        self.step_up.as_ref()
    }

    /// Returns the session that is to be authorized again.
    pub(super) fn reauthorizes(&self) -> Option<u64> {
        self.reauthorizes
    }

    /// Seals the value of `state`.
    pub(super) fn seal(&self, keyring: &Keyring) -> String {
        let plain = serde_json::to_vec(self).expect("text and numbers serialise");
        crypto::encode(&keyring.seal(Purpose::LoginAttempt, b"", &plain))
    }

    /// Opens a `state`; `None` unless we made it.
    pub(super) fn open(keyring: &Keyring, state: &str) -> Option<Self> {
        let sealed = crypto::decode(state.as_bytes())?;
        serde_json::from_slice(&keyring.open(Purpose::LoginAttempt, b"", &sealed)?).ok()
    }

    /// Returns `true` if this browser, on this host, at this provider may complete it now.
    pub(super) fn belongs_to(
        &self,
        cookies: &[LoginCookie],
        authority: &str,
        registration: Registration,
        now: Timestamp,
    ) -> bool {
        cookies.iter().any(|cookie| cookie.id == self.browser)
            && self.authority == authority
            && self.registration == registration
            && self.created <= now.plus(WINDOW).unix()
            && now.since(Timestamp::from_unix(self.created)) < LIFETIME
    }

    /// Returns the counter of sign-ins when it began.
    pub(super) fn loops(&self) -> LoopCounter {
        self.loops
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;
    use crate::{
        host::Authority,
        policy::redirect::{RedirectBase, RedirectTarget},
    };

    const NOW: Timestamp = Timestamp::from_unix(1_000_000);
    const P: Registration = Registration([1; 8]);
    const Q: Registration = Registration([2; 8]);

    fn keyring() -> Keyring {
        Keyring::new(&[SecretString::from("k".repeat(32))]).unwrap()
    }

    fn root() -> ReturnTarget {
        let authority = Authority::parse("app.example.com").unwrap();
        let base = RedirectBase { scheme: "https", authority: &authority, prefixes: &["/_doorward".to_owned()] };
        ReturnTarget::Whole(RedirectTarget::root(base))
    }

    fn attempt(cookie: &LoginCookie) -> Attempt {
        Attempt::new(P, "app.example.com".into(), &root(), cookie, NOW)
    }

    #[test]
    fn an_attempt_comes_back_as_it_went() {
        let (keyring, browser) = (keyring(), LoginCookie::new());
        let sent = attempt(&browser);
        let state = sent.seal(&keyring);
        let back = Attempt::open(&keyring, &state).unwrap();
        assert_eq!((back.target, back.nonce, back.verifier), (sent.target, sent.nonce, sent.verifier));
        for cut in 0..state.len() {
            assert!(Attempt::open(&keyring, &state[..cut]).is_none());
        }
    }

    #[test]
    fn an_attempt_knows_the_session_that_it_reauthorizes() {
        let (keyring, browser) = (keyring(), LoginCookie::new());
        for session in [None, Some(7), Some(u64::MAX)] {
            let state = attempt(&browser).reauthorizing(session).seal(&keyring);
            assert_eq!(Attempt::open(&keyring, &state).unwrap().reauthorizes(), session);
        }
    }

    #[test]
    fn a_state_is_no_login_cookie_and_a_login_cookie_is_no_state() {
        let (keyring, browser) = (keyring(), LoginCookie::new());
        assert!(LoginCookie::open(&keyring, "", attempt(&browser).seal(&keyring).as_bytes()).is_none());
        assert!(Attempt::open(&keyring, &browser.sign(&keyring, "")).is_none());
    }

    #[test]
    fn a_login_cookie_counts_where_it_was_made() {
        let (keyring, browser) = (keyring(), LoginCookie::new());
        let cookie = browser.sign(&keyring, "wiki.test");
        assert_eq!(LoginCookie::open(&keyring, "wiki.test", cookie.as_bytes()).unwrap().id, browser.id);
        for elsewhere in ["admin.test", ".wiki.test", ".test", ""] {
            assert!(LoginCookie::open(&keyring, elsewhere, cookie.as_bytes()).is_none(), "{elsewhere}");
        }
    }

    #[test]
    fn a_login_cookie_comes_back_as_it_went_and_takes_60_bytes() {
        let loops = LoopCounter::default().incremented(NOW).incremented(NOW);
        let sent = LoginCookie { loops, ..LoginCookie::new() };
        let value = sent.sign(&keyring(), "wiki.test");
        let back = LoginCookie::open(&keyring(), "wiki.test", value.as_bytes()).unwrap();
        assert_eq!((back.id, back.loops), (sent.id, sent.loops));
        for name in ["__Host-doorward_login", "__Secure-doorward_login"] {
            assert!(format!("{name}={value}").len() <= 60, "{name}={value}");
        }
        for at in 0..value.len() {
            let mut changed = value.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert!(LoginCookie::open(&keyring(), "wiki.test", &changed).is_none(), "{at}");
        }
    }

    #[test]
    fn an_attempt_knows_which_edge_asked_without_cookies() {
        let (keyring, browser) = (keyring(), LoginCookie::new());
        for edge in [None, Some(Edge::Traefik), Some(Edge::Envoy)] {
            let state = attempt(&browser).asked_without_cookies(edge).seal(&keyring);
            assert_eq!(Attempt::open(&keyring, &state).unwrap().edge_without_cookies(), edge);
        }
    }

    #[test]
    fn an_attempt_belongs_to_one_browser_one_host_one_provider_and_one_hour() {
        let (own, other) = (LoginCookie::new(), LoginCookie::new());
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
        let mut loops = LoopCounter::default();
        for _ in 0..3 {
            loops = loops.incremented(NOW);
            assert!(!loops.is_exceeded(NOW));
        }
        loops = loops.incremented(NOW);
        assert!(loops.is_exceeded(NOW));
        assert!(!loops.is_exceeded(NOW.plus(WINDOW)));
        assert_eq!(loops.incremented(NOW.plus(WINDOW)).count, 1);
    }
}

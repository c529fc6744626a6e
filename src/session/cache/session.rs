//! A session in memory: what of it answers requests.
//!
//! Promises: what every request looks at stands together; headers are rendered once for as long as the session is in use.
//! It must not know how a session is kept, nor who may keep it.

use std::{
    fmt,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use crate::{
    clock::{AtomicTimestamp, Timestamp},
    identity::{HeaderCache, Packed, Principal, PrincipalSource, Tokens},
    session::{
        cookie::{CookieHash, CookieValue, SessionId, Token},
        freshness::{Asked, Validation},
        record::Record,
        store::Row,
    },
};

/// A session in memory: who it is of, and the headers that it answers with.
///
/// There may be millions of them, most of them of people who do something else at the moment, so what can be had again is
/// dropped while nobody asks (see [`CachedSession::rest`]), and what few have is apart. What every request looks at comes first and stays
/// together: a session is in no core's cache when somebody comes back after a while, and every 64 bytes are a wait of their
/// own.
#[repr(C)]
pub struct CachedSession {
    cookie: CookieValue,
    last_seen: AtomicTimestamp,
    /// When `last_seen` was last put forward for writing.
    noted: AtomicTimestamp,
    created: AtomicTimestamp,
    /// Which secrets its cookie was last held against; none yet where it is 0.
    edition: AtomicU32,
    voucher: Validation,
    /// When its access token ends, where there is a refresh token: otherwise never.
    ends: AtomicTimestamp,
    renewed: AtomicTimestamp,
    generation: u32,
    /// Until then no renewal is tried: the last one failed.
    resting: AtomicTimestamp,
    who: Packed,
    headers: HeaderCache,
    passed: Option<Box<ForwardedTokens>>,
}

/// The tokens that an app is passed.
pub(in crate::session) struct ForwardedTokens {
    tokens: Tokens,
    /// Roughly what they take while the session is in use, in bytes.
    size: u32,
}

static NO_TOKENS: Tokens = Tokens { access: None, access_ends: None, refresh: None, id: None };

impl CachedSession {
    /// The session of `token` as its row had it when the store was asked. Of its tokens only those that are `passed` on stay in
    /// memory: the others are asked for once in minutes, and are longer than all the rest.
    pub(in crate::session) fn new(
        record: &Record,
        token: &Token,
        row: &Row,
        asked: Asked,
        passed: Option<ForwardedTokens>,
    ) -> Self {
        let tokens = &record.tokens;
        let ends = tokens.refresh.as_ref().and(tokens.access_ends);
        Self {
            cookie: token.spelling(),
            last_seen: AtomicTimestamp::at(row.last_seen),
            noted: AtomicTimestamp::at(row.last_seen),
            created: AtomicTimestamp::at(record.created),
            edition: AtomicU32::new(0),
            voucher: Validation::new(asked),
            ends: AtomicTimestamp::at(ends.unwrap_or(AtomicTimestamp::NEVER)),
            renewed: AtomicTimestamp::at(record.renewed),
            generation: u32::try_from(row.generation).unwrap_or(u32::MAX),
            resting: AtomicTimestamp::default(),
            who: Packed::within(&record.identity, &record.scope),
            headers: HeaderCache::default(),
            passed: passed.map(Box::new),
        }
    }

    /// Who signed in.
    #[must_use]
    pub fn who(&self) -> &Packed {
        &self.who
    }

    /// Whether it has the tokens that are passed on.
    pub(in crate::session) fn has_tokens(&self) -> bool {
        self.passed.is_some()
    }

    /// When it was made.
    #[must_use]
    pub fn created(&self) -> Timestamp {
        self.created.get()
    }

    /// When its tokens were last renewed; when it was made, before that.
    #[must_use]
    pub fn renewed(&self) -> Timestamp {
        self.renewed.get()
    }

    /// When its access token ends, where it can be renewed.
    pub(in crate::session) fn ends(&self) -> Option<Timestamp> {
        Some(self.ends.get()).filter(|ends| *ends != AtomicTimestamp::NEVER)
    }

    /// Returns the person who signed in as a principal, valid until the access token ends.
    #[must_use]
    pub fn principal(&self) -> Principal<'_> {
        Principal {
            identity: &self.who,
            source: PrincipalSource::Session,
            valid_until: self.ends(),
            tokens: self.passed.as_ref().map_or(&NO_TOKENS, |passed| &passed.tokens),
            headers: &self.headers,
        }
    }

    /// Gives back what it only needs while it is asked for.
    pub(in crate::session) fn rest(&self) {
        self.headers.clear();
        self.who.rest();
    }

    /// Whether it has headers ready.
    #[cfg(test)]
    pub(in crate::session) fn has_headers(&self) -> bool {
        !self.headers.is_empty()
    }

    /// Whether this is the value of its cookie, sent to where it counts.
    pub(in crate::session) fn answers_to(&self, cookie: &CookieValue, audience: &str) -> bool {
        self.has(cookie) && self.who.is_at(audience)
    }

    /// Whether this is the value of its cookie, wherever it was sent to.
    pub(in crate::session) fn has(&self, cookie: &CookieValue) -> bool {
        self.cookie.is(cookie)
    }

    /// The key of its row: what logs and look-ups call it, useless as a cookie. It is worked out, for it is seldom asked for.
    #[must_use]
    pub fn key(&self) -> SessionId {
        self.token().key()
    }

    /// What its cookie is found by.
    pub(in crate::session) fn handle(&self) -> CookieHash {
        self.cookie.handle()
    }

    /// What its cookie holds.
    pub(in crate::session) fn token(&self) -> Token {
        self.cookie.read().expect("it was spelled by us")
    }

    /// Until when it is left alone after a renewal that failed.
    pub(in crate::session) fn resting_until(&self) -> Timestamp {
        self.resting.get()
    }

    /// Leaves it alone until then.
    pub(in crate::session) fn rest_until(&self, until: Timestamp) {
        self.resting.set(until);
    }

    /// The edition of the secrets that were last found to have made its cookie.
    pub(in crate::session) fn edition(&self) -> u32 {
        self.edition.load(Ordering::Relaxed)
    }

    pub(in crate::session) fn set_edition(&self, edition: u32) {
        self.edition.store(edition, Ordering::Relaxed);
    }

    /// How often its sealed part had been written.
    pub(in crate::session) fn generation(&self) -> u64 {
        self.generation.into()
    }

    /// What the store said last of it.
    pub(in crate::session) fn voucher(&self) -> &Validation {
        &self.voucher
    }

    /// Roughly what it takes in memory while it is in use, in bytes: the identity and its headers, the tables that it stands in.
    pub(in crate::session) fn weight(&self) -> u32 {
        let passed = self.passed.as_ref().map_or(0, |passed| passed.size);
        u32::try_from(900 + 2 * self.who.size()).unwrap_or(u32::MAX).saturating_add(passed)
    }

    /// When it was last used, as far as this process knows.
    pub(in crate::session) fn last_seen(&self) -> Timestamp {
        self.last_seen.get()
    }

    /// Notes that it is used now.
    pub(in crate::session) fn see(&self, now: Timestamp) {
        // A plain load first: most requests come within the same second and need not take the cache line from others.
        if self.last_seen() < now {
            self.last_seen.advance(now);
        }
    }

    /// Whether the caller is to put its last use forward for writing: true once in `interval`, for one of all who ask.
    pub(in crate::session) fn put_forward(&self, now: Timestamp, interval: Duration) -> bool {
        let noted = self.noted.get();
        now.since(noted) > interval && self.noted.exchange(noted, now)
    }

    /// Takes that back: there was no room.
    pub(in crate::session) fn put_back(&self) {
        self.noted.set(Timestamp::default());
    }
}

impl ForwardedTokens {
    /// Those of a record, which is sealed in this row. The refresh token is for nobody but the gate.
    pub(in crate::session) fn of(record: &Record, row: &Row) -> Self {
        let size = u32::try_from(size_of::<Self>() + 2 * row.sealed.len()).unwrap_or(u32::MAX);
        Self { tokens: Tokens { refresh: None, ..record.tokens.clone() }, size }
    }
}

impl fmt::Debug for CachedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedSession").field("key", &self.key()).field("who", &self.who).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;
    use crate::{
        crypto::Keyring,
        identity::{Registration, Scope},
        session::{freshness::ChangeFeed, record::NewSession},
    };

    fn live() -> CachedSession {
        let ring = Keyring::new(&[SecretString::from("a".repeat(32))]).unwrap();
        let token = Token::fresh(&ring, "app.test");
        let identity = serde_json::from_value(serde_json::json!({
            "provider": "p", "subject": "s", "user": "u", "email": "", "name": "", "groups": [], "claims": {}
        }));
        let tokens = Tokens { id: Some(SecretString::from("very-secret")), ..Tokens::default() };
        let scope = Scope { audience: "app.test".to_owned(), registration: Registration([1; 8]) };
        let new = NewSession { identity: identity.unwrap(), tokens, sid: None, scope };
        let record = Record::new(new, Timestamp::from_unix(1_000));
        let row = record.seal(&ring, token.key());
        let (asked, passed) =
            (ChangeFeed::of_nobody().asking(Timestamp::from_unix(1_000)), ForwardedTokens::of(&record, &row));
        CachedSession::new(&record, &token, &row, asked, Some(passed))
    }

    #[test]
    fn what_a_million_people_have_is_small() {
        // With the two counts of its `Arc` a size that allocators have.
        assert_eq!(size_of::<CachedSession>() + 2 * size_of::<usize>(), 160);
    }

    #[test]
    fn last_seen_never_goes_back_and_is_due_for_one_of_many() {
        let (live, minute) = (live(), Duration::from_mins(1));
        let at = Timestamp::from_unix;
        live.see(at(1_050));
        live.see(at(1_020));
        assert_eq!(live.last_seen(), at(1_050));
        assert!(!live.put_forward(at(1_060), minute));
        assert!(live.put_forward(at(1_061), minute));
        assert!(!live.put_forward(at(1_061), minute));
        live.put_back();
        assert!(live.put_forward(at(1_061), minute));
    }

    #[test]
    fn debug_output_holds_no_token_and_no_cookie() {
        let live = live();
        let printed = format!("{live:?}");
        assert!(printed.contains("provider") && !printed.contains("very-secret"), "{printed}");
        assert!(!printed.contains(&live.token().encode()[..16]), "{printed}");
    }
}

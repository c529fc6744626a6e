//! A session in memory: the part of it that answers requests.
//!
//! Promises: the fields that every request reads stand together; headers are rendered once while the session is in use.

use std::{
    fmt,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use crate::{
    clock::{AtomicTimestamp, Timestamp},
    identity::{HeaderCache, PackedIdentity, Principal, PrincipalSource, Tokens},
    session::{
        cookie::{CookieHash, CookieValue, SessionId, Token, is_adopted},
        freshness::{RequestTime, Validation},
        record::Record,
        store::Row,
    },
};

static NO_TOKENS: Tokens = Tokens { access: None, access_ends: None, refresh: None, id: None };

/// A session in memory: its identity, and the headers that it answers with.
///
/// There may be millions, most of them unused at the moment: everything that can be rendered again is dropped from those
/// (see [`CachedSession::drop_derived`]), and rare parts are boxed. The fields that every request reads come first and stay
/// together: a session that comes back after a while is in no core's cache, and every 64 bytes are a cache miss of their own.
#[repr(C)]
pub struct CachedSession {
    cookie: CookieValue,
    last_seen: AtomicTimestamp,
    /// Time at which `last_seen` was last queued to be written.
    last_seen_queued: AtomicTimestamp,
    created: AtomicTimestamp,
    /// Version of the keyring that last verified its cookie; 0 for none yet.
    keyring_version: AtomicU32,
    validation: Validation,
    /// End of its access token; [`AtomicTimestamp::NEVER`] without a refresh token.
    access_token_ends: AtomicTimestamp,
    renewed: AtomicTimestamp,
    generation: u32,
    /// Before this moment there is nothing to do about it: neither a renewal nor an authorization is due under any setting.
    due_at: AtomicTimestamp,
    identity: PackedIdentity,
    headers: HeaderCache,
    rare: Option<Box<RareParts>>,
}

/// Parts that few sessions have.
struct RareParts {
    forwarded: Option<ForwardedTokens>,
    /// Time of the last authorization, where that is not the creation.
    authorized: Option<Timestamp>,
}

/// The tokens that an app is passed.
pub(in crate::session) struct ForwardedTokens {
    tokens: Tokens,
    /// Approximate bytes that they take while the session is in use.
    size: u32,
}

impl CachedSession {
    /// The session of `token` as its row was at the request time. Of its tokens only the `forwarded` ones stay in memory: the
    /// others are needed once in minutes, and are longer than all the rest.
    pub(in crate::session) fn new(
        record: &Record,
        token: &Token,
        row: &Row,
        request: RequestTime,
        forwarded: Option<ForwardedTokens>,
    ) -> Self {
        let tokens = &record.tokens;
        let access_token_ends = tokens.refresh.as_ref().and(tokens.access_ends);
        let authorized = Some(record.authorized).filter(|authorized| *authorized != record.created);
        let has_rare = forwarded.is_some() || authorized.is_some();
        Self {
            cookie: token.value(),
            last_seen: AtomicTimestamp::new(row.last_seen),
            last_seen_queued: AtomicTimestamp::new(row.last_seen),
            created: AtomicTimestamp::new(record.created),
            keyring_version: AtomicU32::new(0),
            validation: Validation::new(request),
            access_token_ends: AtomicTimestamp::new(access_token_ends.unwrap_or(AtomicTimestamp::NEVER)),
            renewed: AtomicTimestamp::new(record.renewed),
            generation: u32::try_from(row.generation).unwrap_or(u32::MAX),
            // Something may be due until the settings in force have been asked.
            due_at: AtomicTimestamp::default(),
            identity: PackedIdentity::scoped(&record.identity, &record.scope),
            headers: HeaderCache::default(),
            rare: has_rare.then(|| Box::new(RareParts { forwarded, authorized })),
        }
    }

    /// The identity of the person who signed in.
    #[must_use]
    pub fn identity(&self) -> &PackedIdentity {
        &self.identity
    }

    /// Returns `true` if it was made of an old gate's cookies, and not at a sign-in.
    #[must_use]
    pub fn is_adopted(&self) -> bool {
        is_adopted(self.identity.audience())
    }

    fn forwarded(&self) -> Option<&ForwardedTokens> {
        self.rare.as_ref()?.forwarded.as_ref()
    }

    /// Returns `true` if it holds the tokens that apps are passed.
    pub(in crate::session) fn has_forwarded_tokens(&self) -> bool {
        self.forwarded().is_some()
    }

    /// Creation time.
    #[must_use]
    pub fn created(&self) -> Timestamp {
        self.created.get()
    }

    /// Time at which its provider last authorized the person in their browser: the sign-in, or a reauthorization since.
    #[must_use]
    pub fn authorized(&self) -> Timestamp {
        self.rare.as_ref().and_then(|rare| rare.authorized).unwrap_or_else(|| self.created())
    }

    /// Returns `true` where a renewal or a reauthorization may be due.
    #[must_use]
    pub fn may_be_due(&self, now: Timestamp) -> bool {
        now >= self.due_at.get()
    }

    /// Sets the moment before which neither is due.
    pub(in crate::session) fn set_due_at(&self, moment: Timestamp) {
        self.due_at.set(moment);
    }

    /// Time of the last renewal of its tokens; the creation time before the first.
    #[must_use]
    pub fn renewed(&self) -> Timestamp {
        self.renewed.get()
    }

    /// End of its access token; `None` where it cannot be renewed.
    pub(in crate::session) fn access_token_ends(&self) -> Option<Timestamp> {
        Some(self.access_token_ends.get()).filter(|ends| *ends != AtomicTimestamp::NEVER)
    }

    /// Returns the person who signed in as a principal, valid until the access token ends.
    #[must_use]
    #[inline]
    pub fn principal(&self) -> Principal<'_> {
        Principal {
            identity: &self.identity,
            source: PrincipalSource::Session,
            valid_until: self.access_token_ends(),
            since: self.created(),
            tokens: self.forwarded().map_or(&NO_TOKENS, |forwarded| &forwarded.tokens),
            headers: &self.headers,
        }
    }

    /// Drops headers and other parts that can be derived again at the next use.
    pub(in crate::session) fn drop_derived(&self) {
        self.headers.clear();
        self.identity.drop_parsed_claims();
    }

    /// Returns `true` if headers are rendered.
    #[cfg(test)]
    pub(in crate::session) fn has_headers(&self) -> bool {
        !self.headers.is_empty()
    }

    /// Returns `true` if this is the value of its cookie, sent to the host or domain that it was made for.
    pub(in crate::session) fn matches(&self, cookie: &CookieValue, audience: &str) -> bool {
        self.has_cookie(cookie) && self.identity.has_audience(audience)
    }

    /// Returns `true` if this is the value of its cookie, whatever host it was sent to.
    pub(in crate::session) fn has_cookie(&self, cookie: &CookieValue) -> bool {
        self.cookie.is(cookie)
    }

    /// Its public name and the key of its row: useless as a cookie. Hashed at each call, because it is seldom asked for.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.token().id()
    }

    /// The key under which requests find it.
    pub(in crate::session) fn cookie_hash(&self) -> CookieHash {
        self.cookie.hash()
    }

    /// The token that its cookie holds.
    pub(in crate::session) fn token(&self) -> Token {
        Token::decode(&self.cookie).expect("we encoded it")
    }

    /// Version of the keyring that last verified its cookie.
    pub(in crate::session) fn keyring_version(&self) -> u32 {
        self.keyring_version.load(Ordering::Acquire)
    }

    /// Sets that version, where it is still `seen`. Where it is not, two requests have verified the cookie at the moment of a
    /// change, and either may have left what it computed under the older settings: the next request verifies it again.
    pub(in crate::session) fn set_keyring_version(&self, seen: u32, version: u32) {
        if self.keyring_version.compare_exchange(seen, version, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            self.keyring_version.store(0, Ordering::Release);
        }
    }

    /// Number of times that its sealed record had been written.
    pub(in crate::session) fn generation(&self) -> u64 {
        self.generation.into()
    }

    /// The last confirmation by the store.
    pub(in crate::session) fn validation(&self) -> &Validation {
        &self.validation
    }

    /// Approximate bytes that it takes while it is in use: identity, headers, entries in the maps.
    pub(in crate::session) fn weight(&self) -> u32 {
        let forwarded = self.forwarded().map_or(0, |forwarded| forwarded.size);
        u32::try_from(900 + 2 * self.identity.size()).unwrap_or(u32::MAX).saturating_add(forwarded)
    }

    /// Time of its last use, as far as this process knows.
    pub(in crate::session) fn last_seen(&self) -> Timestamp {
        self.last_seen.get()
    }

    /// Records a use.
    pub(in crate::session) fn record_use(&self, now: Timestamp) {
        // A plain load first: most requests come within the same second and need not take the cache line from others.
        if self.last_seen() < now {
            self.last_seen.advance(now);
        }
    }

    /// Returns `true` for the one caller in `interval` who has to queue the last use to be written.
    pub(in crate::session) fn begin_write_of_last_use(&self, now: Timestamp, interval: Duration) -> bool {
        let queued = self.last_seen_queued.get();
        now.since(queued) > interval && self.last_seen_queued.compare_exchange(queued, now)
    }

    /// Takes that back, because the queue had no room.
    pub(in crate::session) fn cancel_write_of_last_use(&self) {
        self.last_seen_queued.set(Timestamp::default());
    }
}

impl ForwardedTokens {
    /// The tokens of a record that is sealed in this row. Refresh tokens are never passed on.
    pub(in crate::session) fn of(record: &Record, row: &Row) -> Self {
        let size = u32::try_from(size_of::<Self>() + 2 * row.sealed.len()).unwrap_or(u32::MAX);
        Self { tokens: Tokens { refresh: None, ..record.tokens.clone() }, size }
    }
}

impl fmt::Debug for CachedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedSession")
            .field("id", &self.id())
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;
    use crate::{
        crypto::Keyring,
        identity::{Registration, SessionScope},
        session::{freshness::ChangeFeed, record::NewSession},
    };

    fn session() -> CachedSession {
        let ring = Keyring::new(&[SecretString::from("a".repeat(32))]).unwrap();
        let token = Token::fresh(&ring, "app.test");
        let identity = serde_json::from_value(serde_json::json!({
            "provider": "p", "subject": "s", "user": "u", "email": "", "name": "", "groups": [], "claims": {}
        }));
        let tokens = Tokens { id: Some(SecretString::from("very-secret")), ..Tokens::default() };
        let scope = SessionScope { audience: "app.test".to_owned(), registration: Registration([1; 8]) };
        let new = NewSession { identity: identity.unwrap(), tokens, sid: None, scope };
        let record = Record::new(new, Timestamp::from_unix(1_000));
        let row = record.seal(&ring, token.id());
        let (request, forwarded) = (
            ChangeFeed::for_exclusive_store().request_time(Timestamp::from_unix(1_000)),
            ForwardedTokens::of(&record, &row),
        );
        CachedSession::new(&record, &token, &row, request, Some(forwarded))
    }

    #[test]
    fn a_session_in_memory_takes_160_bytes() {
        // With the two counts of its `Arc` a size that allocators have.
        assert_eq!(size_of::<CachedSession>() + 2 * size_of::<usize>(), 160);
    }

    #[test]
    fn last_seen_never_goes_back_and_is_queued_by_one_of_many() {
        let (session, minute) = (session(), Duration::from_mins(1));
        let at = Timestamp::from_unix;
        session.record_use(at(1_050));
        session.record_use(at(1_020));
        assert_eq!(session.last_seen(), at(1_050));
        assert!(!session.begin_write_of_last_use(at(1_060), minute));
        assert!(session.begin_write_of_last_use(at(1_061), minute));
        assert!(!session.begin_write_of_last_use(at(1_061), minute));
        session.cancel_write_of_last_use();
        assert!(session.begin_write_of_last_use(at(1_061), minute));
    }

    #[test]
    fn of_two_requests_that_verify_a_cookie_at_once_neither_has_the_last_word() {
        let session = session();
        session.set_keyring_version(0, 1);
        assert_eq!(session.keyring_version(), 1);
        session.set_keyring_version(1, 2);
        // It began before the change, and ends after the other.
        session.set_keyring_version(1, 1);
        assert_eq!(session.keyring_version(), 0);
    }

    #[test]
    fn debug_output_holds_no_token_and_no_cookie() {
        let session = session();
        let printed = format!("{session:?}");
        assert!(printed.contains("provider") && !printed.contains("very-secret"), "{printed}");
        assert!(!printed.contains(&session.token().encode()[..16]), "{printed}");
    }
}

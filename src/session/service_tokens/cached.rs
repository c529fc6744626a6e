//! A service token in memory: the part of it that answers requests.
//!
//! Promises: headers are rendered once; neither the token nor its tag is ever printed.

use std::{
    fmt,
    sync::atomic::{AtomicU32, Ordering},
};

use super::record::ServiceTokenRecord;
use crate::{
    clock::{AtomicTimestamp, Timestamp},
    identity::{Identity, OwnedPrincipal, PackedIdentity, Principal, PrincipalSource, Registration, SessionScope},
    session::{
        cookie::{CookieHash, CookieValue, SessionId, Token},
        freshness::{RequestTime, Validation},
    },
};

/// A service token in memory: its identity, the apps that it is for, and the headers that it answers with.
pub struct CachedServiceToken {
    value: CookieValue,
    id: SessionId,
    apps: Vec<String>,
    expires: Option<Timestamp>,
    principal: OwnedPrincipal,
    validation: Validation,
    /// Version of the keyring that last verified its tag.
    keyring_version: AtomicU32,
    /// Time of its last use, as far as this process knows; the epoch for never.
    last_used: AtomicTimestamp,
    /// Time of the last use that is in the store.
    last_used_written: AtomicTimestamp,
}

impl CachedServiceToken {
    /// A token as its row was at the request time.
    pub(super) fn new(
        token: &Token,
        record: ServiceTokenRecord,
        last_used: Option<Timestamp>,
        request: RequestTime,
        keyring_version: u32,
    ) -> Self {
        let ServiceTokenRecord { name, apps, groups, created, expires } = record;
        let identity = Identity::of_service_token(&name, &groups, created);
        // It counts by its apps, not by a host or a registration.
        let scope = SessionScope { audience: String::new(), registration: Registration([0; 8]) };
        let identity = PackedIdentity::scoped(&identity, &scope);
        let last_used = last_used.unwrap_or_default();
        Self {
            value: token.value(),
            id: token.id(),
            apps,
            expires,
            principal: OwnedPrincipal::new(identity, PrincipalSource::ServiceToken, created, expires),
            validation: Validation::new(request),
            keyring_version: AtomicU32::new(keyring_version),
            last_used: AtomicTimestamp::new(last_used),
            last_used_written: AtomicTimestamp::new(last_used),
        }
    }

    /// Returns the program that holds it as a principal.
    #[must_use]
    pub fn principal(&self) -> Principal<'_> {
        self.principal.principal()
    }

    /// The identity that rules judge.
    #[must_use]
    pub fn identity(&self) -> &PackedIdentity {
        self.principal.identity()
    }

    /// Returns `true` if it is for the app of this name.
    #[must_use]
    pub fn is_for(&self, app: &str) -> bool {
        self.apps.iter().any(|own| own == app)
    }

    /// The apps that it is for, by name.
    #[must_use]
    pub fn apps(&self) -> &[String] {
        &self.apps
    }

    /// Returns `true` from the second on in which it expires.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| now >= expires)
    }

    /// Returns `true` if this is its value, in constant time.
    pub(super) fn is(&self, value: &CookieValue) -> bool {
        self.value.is(value)
    }

    /// Its public name and the key of its row: useless as a token.
    pub(in crate::session) fn id(&self) -> SessionId {
        self.id
    }

    /// The key under which requests find it.
    pub(super) fn hash(&self) -> CookieHash {
        self.value.hash()
    }

    pub(super) fn token(&self) -> Token {
        Token::decode(&self.value).expect("we encoded it")
    }

    /// The last confirmation by the store.
    pub(in crate::session) fn validation(&self) -> &Validation {
        &self.validation
    }

    pub(super) fn keyring_version(&self) -> u32 {
        self.keyring_version.load(Ordering::Acquire)
    }

    /// Notes that its tag has been verified since the keyring was read at this version.
    pub(super) fn set_keyring_version(&self, version: u32) {
        self.keyring_version.store(version, Ordering::Release);
    }

    /// Records a use.
    pub(super) fn record_use(&self, now: Timestamp) {
        // A plain load first: most requests come within the same second and need not take the cache line from others.
        if self.last_used.get() < now {
            self.last_used.advance(now);
        }
    }

    /// The last use, and the last one that is in the store.
    pub(super) fn last_uses(&self) -> (Timestamp, Timestamp) {
        (self.last_used.get(), self.last_used_written.get())
    }

    /// Notes that the store knows of this use.
    pub(super) fn wrote_last_use(&self, at: Timestamp) {
        self.last_used_written.advance(at);
    }
}

impl fmt::Debug for CachedServiceToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedServiceToken")
            .field("id", &self.id)
            .field("user", &self.identity().user())
            .finish_non_exhaustive()
    }
}

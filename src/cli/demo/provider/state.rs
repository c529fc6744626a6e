//! State of the provider: its sessions, and the codes and tokens that it issued. In memory, bounded and with expiry.
//!
//! A code can be redeemed once, a refresh token is replaced at every use, and the end of a session revokes all codes and
//! tokens that were issued in it.

use std::{collections::VecDeque, time::Duration};

use super::users::User;
use crate::{clock::Timestamp, crypto};

/// Lifetime of an authorization code.
const CODE_LIFETIME: Duration = Duration::from_mins(1);

/// Lifetime of an access token: short, so that the gate's renewal can be observed.
pub(super) const ACCESS_LIFETIME: Duration = Duration::from_mins(5);

/// Lifetime of a session at the provider.
const SIGN_IN_LIFETIME: Duration = Duration::from_hours(12);

/// A session at the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProviderSession {
    /// User who is signed in.
    pub(super) user: User,
    /// Session ID, the `sid` claim of tokens.
    pub(super) sid: String,
    /// Time of the sign-in.
    pub(super) since: Timestamp,
}

/// Grant of an authorization code.
#[derive(Clone, Debug)]
pub(super) struct CodeGrant {
    /// Session in which the code was issued.
    pub(super) sign_in: ProviderSession,
    /// Redirect URI of the code, which the token request has to repeat.
    pub(super) redirect_uri: String,
    /// The PKCE challenge (RFC 7636), S256.
    pub(super) challenge: String,
    /// `nonce`, to be repeated in the ID token.
    pub(super) nonce: Option<String>,
    /// Online access, or offline access with a refresh token.
    pub(super) access: AccessType,
}

/// Requested duration of access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AccessType {
    /// Until the access token expires.
    Online,
    /// Longer, with a refresh token: `offline_access` was requested.
    Offline,
}

/// All state of the provider.
pub(super) struct ProviderState {
    sign_ins: ExpiringMap<ProviderSession>,
    codes: ExpiringMap<CodeGrant>,
    access: ExpiringMap<ProviderSession>,
    refresh: ExpiringMap<ProviderSession>,
}

impl ProviderState {
    pub(super) fn new() -> Self {
        Self {
            sign_ins: ExpiringMap::new(SIGN_IN_LIFETIME),
            codes: ExpiringMap::new(CODE_LIFETIME),
            access: ExpiringMap::new(ACCESS_LIFETIME),
            refresh: ExpiringMap::new(SIGN_IN_LIFETIME),
        }
    }

    /// Creates a session and returns the value of its cookie as well.
    pub(super) fn sign_in(&mut self, user: User, now: Timestamp) -> (String, ProviderSession) {
        let sign_in = ProviderSession { user, sid: crypto::encode(&crypto::random::<16>()), since: now };
        (self.sign_ins.insert(sign_in.clone(), now), sign_in)
    }

    /// Returns the session of a cookie's value.
    pub(super) fn signed_in(&self, cookie: &str, now: Timestamp) -> Option<&ProviderSession> {
        self.sign_ins.get(cookie, now)
    }

    /// Ends the session of a cookie's value and revokes its codes and tokens.
    pub(super) fn sign_out(&mut self, cookie: &str, now: Timestamp) {
        let Some(ended) = self.sign_ins.remove(cookie, now) else { return };
        self.codes.remove_if(|grant| grant.sign_in.sid == ended.sid);
        for tokens in [&mut self.access, &mut self.refresh] {
            tokens.remove_if(|sign_in| sign_in.sid == ended.sid);
        }
    }

    /// Issues a code for a grant.
    pub(super) fn issue_code(&mut self, grant: CodeGrant, now: Timestamp) -> String {
        self.codes.insert(grant, now)
    }

    /// Returns the grant of a code, which is invalid from then on.
    pub(super) fn redeem_code(&mut self, code: &str, now: Timestamp) -> Option<CodeGrant> {
        self.codes.remove(code, now)
    }

    /// Issues an access token.
    pub(super) fn issue_access(&mut self, sign_in: ProviderSession, now: Timestamp) -> String {
        self.access.insert(sign_in, now)
    }

    /// Returns the session of an access token.
    pub(super) fn bearer(&self, token: &str, now: Timestamp) -> Option<&ProviderSession> {
        self.access.get(token, now)
    }

    /// Issues a refresh token.
    pub(super) fn issue_refresh(&mut self, sign_in: ProviderSession, now: Timestamp) -> String {
        self.refresh.insert(sign_in, now)
    }

    /// Returns the session of a refresh token, which is invalid from then on.
    pub(super) fn redeem_refresh(&mut self, token: &str, now: Timestamp) -> Option<ProviderSession> {
        self.refresh.remove(token, now)
    }
}

/// Values by random name with one lifetime. The oldest is removed first, when it expires or the map is full.
struct ExpiringMap<V> {
    lifetime: Duration,
    entries: VecDeque<ExpiringEntry<V>>,
}

struct ExpiringEntry<V> {
    name: String,
    until: Timestamp,
    value: V,
}

impl<V> ExpiringMap<V> {
    /// More entries than the browsers of one machine need, and few enough for a linear search.
    const CAPACITY: usize = 1_000;

    fn new(lifetime: Duration) -> Self {
        Self { lifetime, entries: VecDeque::new() }
    }

    fn insert(&mut self, value: V, now: Timestamp) -> String {
        while self.entries.front().is_some_and(|oldest| oldest.until <= now) || self.entries.len() >= Self::CAPACITY {
            self.entries.pop_front();
        }
        let name = crypto::encode(&crypto::random::<32>());
        self.entries.push_back(ExpiringEntry { name: name.clone(), until: now.plus(self.lifetime), value });
        name
    }

    fn get(&self, name: &str, now: Timestamp) -> Option<&V> {
        self.entries.iter().find(|entries| entries.name == name && now < entries.until).map(|entries| &entries.value)
    }

    fn remove(&mut self, name: &str, now: Timestamp) -> Option<V> {
        let at = self.entries.iter().position(|entries| entries.name == name)?;
        self.entries.remove(at).filter(|entries| now < entries.until).map(|entries| entries.value)
    }

    fn remove_if(&mut self, gone: impl Fn(&V) -> bool) {
        self.entries.retain(|entries| !gone(&entries.value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp::from_unix(1_785_585_600);

    #[test]
    fn a_full_map_drops_the_oldest_and_never_grows() {
        let mut map = ExpiringMap::new(Duration::from_mins(1));
        let first = map.insert(0, NOON);
        for value in 1..=ExpiringMap::<usize>::CAPACITY {
            map.insert(value, NOON);
        }
        assert_eq!(map.get(&first, NOON), None);
        assert_eq!(map.entries.len(), ExpiringMap::<usize>::CAPACITY);
    }

    #[test]
    fn an_expired_value_is_gone_and_makes_room() {
        let mut map = ExpiringMap::new(Duration::from_mins(1));
        let name = map.insert("value", NOON);
        let later = NOON.plus(Duration::from_mins(1));
        assert_eq!(map.get(&name, later), None);
        map.insert("other", later);
        assert_eq!(map.entries.len(), 1);
    }

    #[test]
    fn signing_out_revokes_every_token_of_the_session_and_no_other() {
        let mut state = ProviderState::new();
        let (cookie, alice) = state.sign_in(User::Alice, NOON);
        let (_, bob) = state.sign_in(User::Bob, NOON);
        let (access, refresh) = (state.issue_access(alice.clone(), NOON), state.issue_refresh(alice, NOON));
        let bobs = state.issue_access(bob, NOON);
        state.sign_out(&cookie, NOON);
        assert_eq!(state.signed_in(&cookie, NOON), None);
        assert_eq!(state.bearer(&access, NOON), None);
        assert_eq!(state.redeem_refresh(&refresh, NOON), None);
        assert!(state.bearer(&bobs, NOON).is_some());
    }
}

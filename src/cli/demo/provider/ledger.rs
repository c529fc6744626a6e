//! What the provider remembers: who is signed in, and the codes and tokens that are out. In memory, bounded, timed.
//!
//! A code is redeemed once and a refresh token is replaced whenever it is used; ending a sign-in ends all that came of
//! it. It must not know HTTP or how tokens look.

use std::{collections::VecDeque, time::Duration};

use super::users::User;
use crate::{clock::Timestamp, crypto};

/// How long a code waits to be redeemed.
const CODE_LIFETIME: Duration = Duration::from_mins(1);

/// How long an access token is good for: short, so that the gate's silent renewal can be watched.
pub(super) const ACCESS_LIFETIME: Duration = Duration::from_mins(5);

/// How long somebody stays signed in at the provider.
const SIGN_IN_LIFETIME: Duration = Duration::from_hours(12);

/// Somebody who is signed in at the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SignIn {
    /// Who.
    pub(super) user: User,
    /// The provider's own name for it, which tokens state.
    pub(super) sid: String,
    /// When.
    pub(super) since: Timestamp,
}

/// What an authorization code stands for.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    /// Whose.
    pub(super) sign_in: SignIn,
    /// Where the code was sent; the redemption has to name the same address.
    pub(super) redirect_uri: String,
    /// The PKCE challenge (RFC 7636), S256.
    pub(super) challenge: String,
    /// To be repeated in the ID token.
    pub(super) nonce: Option<String>,
    /// What may be had for it.
    pub(super) access: Access,
}

/// For how long access was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// As long as an access token lasts.
    Online,
    /// Longer, with a refresh token: `offline_access` was asked for.
    Offline,
}

/// Everything the provider remembers.
pub(super) struct Ledger {
    sign_ins: Shelf<SignIn>,
    codes: Shelf<Grant>,
    access: Shelf<SignIn>,
    refresh: Shelf<SignIn>,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self {
            sign_ins: Shelf::new(SIGN_IN_LIFETIME),
            codes: Shelf::new(CODE_LIFETIME),
            access: Shelf::new(ACCESS_LIFETIME),
            refresh: Shelf::new(SIGN_IN_LIFETIME),
        }
    }

    /// Signs somebody in; also answers the value that stands for it in a cookie.
    pub(super) fn sign_in(&mut self, user: User, now: Timestamp) -> (String, SignIn) {
        let sign_in = SignIn { user, sid: crypto::encode(&crypto::random::<16>()), since: now };
        (self.sign_ins.put(sign_in.clone(), now), sign_in)
    }

    /// Who a cookie's value stands for.
    pub(super) fn signed_in(&self, cookie: &str, now: Timestamp) -> Option<&SignIn> {
        self.sign_ins.get(cookie, now)
    }

    /// Ends what a cookie's value stands for and everything that came of it.
    pub(super) fn sign_out(&mut self, cookie: &str, now: Timestamp) {
        let Some(ended) = self.sign_ins.take(cookie, now) else { return };
        self.codes.drop_where(|grant| grant.sign_in.sid == ended.sid);
        for tokens in [&mut self.access, &mut self.refresh] {
            tokens.drop_where(|sign_in| sign_in.sid == ended.sid);
        }
    }

    /// A code for a grant.
    pub(super) fn issue_code(&mut self, grant: Grant, now: Timestamp) -> String {
        self.codes.put(grant, now)
    }

    /// What a code stands for. Whatever becomes of it, the code is spent.
    pub(super) fn spend_code(&mut self, code: &str, now: Timestamp) -> Option<Grant> {
        self.codes.take(code, now)
    }

    /// An access token.
    pub(super) fn issue_access(&mut self, sign_in: SignIn, now: Timestamp) -> String {
        self.access.put(sign_in, now)
    }

    /// Who an access token stands for.
    pub(super) fn bearer(&self, token: &str, now: Timestamp) -> Option<&SignIn> {
        self.access.get(token, now)
    }

    /// A refresh token.
    pub(super) fn issue_refresh(&mut self, sign_in: SignIn, now: Timestamp) -> String {
        self.refresh.put(sign_in, now)
    }

    /// Who a refresh token stands for. The token is spent: its use brings a new one.
    pub(super) fn spend_refresh(&mut self, token: &str, now: Timestamp) -> Option<SignIn> {
        self.refresh.take(token, now)
    }
}

/// Values under random names, all kept equally long: the oldest goes first, when its time or the room is up.
struct Shelf<V> {
    lifetime: Duration,
    kept: VecDeque<Kept<V>>,
}

struct Kept<V> {
    name: String,
    until: Timestamp,
    value: V,
}

impl<V> Shelf<V> {
    /// More than one machine's browsers need, and little enough to search one by one.
    const ROOM: usize = 1_000;

    fn new(lifetime: Duration) -> Self {
        Self { lifetime, kept: VecDeque::new() }
    }

    fn put(&mut self, value: V, now: Timestamp) -> String {
        while self.kept.front().is_some_and(|oldest| oldest.until <= now) || self.kept.len() >= Self::ROOM {
            self.kept.pop_front();
        }
        let name = crypto::encode(&crypto::random::<32>());
        self.kept.push_back(Kept { name: name.clone(), until: now.plus(self.lifetime), value });
        name
    }

    fn get(&self, name: &str, now: Timestamp) -> Option<&V> {
        self.kept.iter().find(|kept| kept.name == name && now < kept.until).map(|kept| &kept.value)
    }

    fn take(&mut self, name: &str, now: Timestamp) -> Option<V> {
        let at = self.kept.iter().position(|kept| kept.name == name)?;
        self.kept.remove(at).filter(|kept| now < kept.until).map(|kept| kept.value)
    }

    fn drop_where(&mut self, gone: impl Fn(&V) -> bool) {
        self.kept.retain(|kept| !gone(&kept.value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp::from_unix(1_785_585_600);

    #[test]
    fn a_full_shelf_drops_the_oldest_and_never_grows() {
        let mut shelf = Shelf::new(Duration::from_mins(1));
        let first = shelf.put(0, NOON);
        for value in 1..=Shelf::<usize>::ROOM {
            shelf.put(value, NOON);
        }
        assert_eq!(shelf.get(&first, NOON), None);
        assert_eq!(shelf.kept.len(), Shelf::<usize>::ROOM);
    }

    #[test]
    fn what_has_expired_is_gone_and_makes_room() {
        let mut shelf = Shelf::new(Duration::from_mins(1));
        let name = shelf.put("value", NOON);
        let later = NOON.plus(Duration::from_mins(1));
        assert_eq!(shelf.get(&name, later), None);
        shelf.put("other", later);
        assert_eq!(shelf.kept.len(), 1);
    }

    #[test]
    fn signing_out_takes_every_token_along_and_nobody_elses() {
        let mut ledger = Ledger::new();
        let (cookie, alice) = ledger.sign_in(User::Alice, NOON);
        let (_, bob) = ledger.sign_in(User::Bob, NOON);
        let (access, refresh) = (ledger.issue_access(alice.clone(), NOON), ledger.issue_refresh(alice, NOON));
        let bobs = ledger.issue_access(bob, NOON);
        ledger.sign_out(&cookie, NOON);
        assert_eq!(ledger.signed_in(&cookie, NOON), None);
        assert_eq!(ledger.bearer(&access, NOON), None);
        assert_eq!(ledger.spend_refresh(&refresh, NOON), None);
        assert!(ledger.bearer(&bobs, NOON).is_some());
    }
}

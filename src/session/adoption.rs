//! Adoption: sessions that were made of an old gate's cookies, and are found again by a keyed hash of them.
//!
//! The hash takes the place of a cookie's random bits, so that look-up, revocation, revalidation and key rotation are those of
//! every other session; its audience is one that no cookie of ours has. Promises: nothing has to be sent to the browser; of the
//! same cookies at the same host a session is made once, whatever became of it; a session is looked for in the store only where
//! one was made.

use std::sync::Arc;

use crate::{
    clock::Timestamp,
    metrics::LogoutKind,
    session::{
        active_settings::ActiveSettings,
        cache::session::CachedSession,
        cookie::{Cookie, OldCookies, Token},
        create::SessionCreation,
        end::SessionEnding,
        load::in_time,
        lookup::{LookupOutcome, SessionLookup},
        record::NewSession,
        store::{
            Unavailable,
            adoptions::{AdoptionMark, Adoptions as _},
            lease::Leases as _,
        },
    },
};

/// Time for which cookies are remembered of which a session was made: browsers keep none for longer (RFC 6265bis, section 5.5).
const MARKED_FOR: std::time::Duration = std::time::Duration::from_hours(400 * 24);

/// What is known of an old gate's cookies at a host.
#[derive(Clone, Debug)]
pub enum AdoptedSession {
    /// A session was made of them that is in force.
    Live(Arc<CachedSession>),
    /// None is in force, and none will be made.
    Over,
    /// None has been made.
    Unknown,
}

/// Makes and finds adopted sessions.
pub struct SessionAdoption<'a> {
    pub(super) settings: &'a ActiveSettings,
    pub(super) lookup: SessionLookup<'a>,
    pub(super) creation: SessionCreation<'a>,
    pub(super) ending: SessionEnding<'a>,
}

impl SessionAdoption<'_> {
    /// Returns what `read` makes of the session that was made of these cookies, if memory alone can answer.
    pub fn get_cached<T>(
        &self,
        old: &OldCookies,
        read: impl FnOnce(&Arc<CachedSession>, Timestamp) -> Option<T>,
    ) -> Option<T> {
        let value = self.settings.keyring().with_newest_cookie_key(|key| old.token(key)).encode();
        let cookie = Cookie { value: value.as_bytes(), audience: old.audience() };
        self.lookup
            .get_cached(cookie, |session, now| if self.is_over(session, now) { None } else { read(session, now) })
    }

    /// Returns `true` if a session that was made of these cookies is in memory, whatever has become of it.
    #[must_use]
    pub fn is_in_memory(&self, old: &OldCookies) -> bool {
        self.token_in_memory(old).is_some()
    }

    /// Finds the session that was made of these cookies, by any of the secrets.
    pub async fn find(&self, old: &OldCookies) -> Result<AdoptedSession, Unavailable> {
        if let Some(token) = self.token_in_memory(old) {
            return self.find_by(old, &[token]).await;
        }
        if in_time(self.lookup.store.is_marked(&old.marks())).await? {
            self.find_marked(old).await
        } else {
            Ok(AdoptedSession::Unknown)
        }
    }

    /// Makes a session of these cookies, unless one was made already.
    pub async fn adopt(&self, old: &OldCookies, new: NewSession) -> Result<AdoptedSession, Unavailable> {
        let token = self.settings.keyring().with_newest_cookie_key(|key| old.token(key));
        let (until, [here, _]) = (self.lookup.clock.now().plus(MARKED_FOR), old.marks());
        match in_time(self.creation.adopt(new, &token, &here, until)).await? {
            Some(session) => Ok(AdoptedSession::Live(session)),
            None => self.find_marked(old).await,
        }
    }

    /// Has no session be made of these cookies from now on, at this host.
    pub async fn close(&self, old: &OldCookies) -> Result<(), Unavailable> {
        let [here, _] = old.marks();
        self.mark(&here).await
    }

    /// Has no session be made of these cookies from now on, at any host.
    pub async fn close_everywhere(&self, old: &OldCookies) -> Result<(), Unavailable> {
        let [here, anywhere] = old.marks();
        self.mark(&here).await?;
        self.mark(&anywhere).await
    }

    async fn mark(&self, mark: &AdoptionMark) -> Result<(), Unavailable> {
        let until = self.lookup.clock.now().plus(MARKED_FOR);
        in_time(self.lookup.store.record_jti(mark, until)).await.map(drop)
    }

    fn tokens(&self, old: &OldCookies) -> Vec<Token> {
        self.settings.keyring().with_cookie_keys(|key| old.token(key))
    }

    fn token_in_memory(&self, old: &OldCookies) -> Option<Token> {
        let is_cached = |token: &Token| self.lookup.cache.get(&token.value(), old.audience()).is_some();
        self.tokens(old).into_iter().find(is_cached)
    }

    async fn find_marked(&self, old: &OldCookies) -> Result<AdoptedSession, Unavailable> {
        if !self.settings.keyring().has_loaded_retired() {
            return Err(Unavailable::Failed("the cookie keys of retired secrets have not been loaded yet".to_owned()));
        }
        self.find_by(old, &self.tokens(old)).await
    }

    async fn find_by(&self, old: &OldCookies, tokens: &[Token]) -> Result<AdoptedSession, Unavailable> {
        for token in tokens {
            let value = token.encode();
            let cookie = Cookie { value: value.as_bytes(), audience: old.audience() };
            match self.lookup.find(cookie).await? {
                LookupOutcome::Live(session) if self.is_over(&session, self.lookup.clock.now()) => {
                    self.ending.end(token, LogoutKind::Expired).await?;
                }
                LookupOutcome::Live(session) => return Ok(AdoptedSession::Live(session)),
                LookupOutcome::Ended | LookupOutcome::NotOurs => {}
            }
        }
        Ok(AdoptedSession::Over)
    }

    fn is_over(&self, session: &CachedSession, now: Timestamp) -> bool {
        now.since(session.created()) >= self.settings.adopted_lifetime()
    }
}

//! Cookies of an old gate, and the token that is derived from them in place of a cookie of ours.
//!
//! Promises: no two sets of cookies, hosts or registrations give the same token; it is never sent to a browser, and no cookie of a
//! browser passes for it.

use crate::{
    crypto,
    identity::{Registration, SessionScope},
    session::cookie::token::Token,
};

/// Beginning of the audience of adopted sessions; the host follows. No host has a blank, so that no cookie passes for one.
const AUDIENCE: &str = "adopted ";

/// Cookies of an old gate that were sent to one host, for a registration at the provider that the old gate used as well.
#[derive(Clone, Debug)]
pub struct OldCookies {
    scope: SessionScope,
    /// Digest of the cookies, the host and the registration.
    here: [u8; 32],
    /// Digest of the cookies alone.
    anywhere: [u8; 32],
}

/// Returns `true` for the audience of an adopted session.
pub(in crate::session) fn is_adopted(audience: &str) -> bool {
    audience.starts_with(AUDIENCE)
}

impl OldCookies {
    /// Cookies by name and value, in any order, that were sent to a host.
    #[must_use]
    pub fn new(host: &str, registration: Registration, cookies: &[(&[u8], &[u8])]) -> Self {
        let mut sorted = cookies.to_vec();
        sorted.sort_unstable();
        let cookies: Vec<_> = sorted.into_iter().flat_map(|(name, value)| [name, value]).collect();
        let at_host = [b"adopted here".as_slice(), host.as_bytes(), &registration.0];
        let audience = format!("{AUDIENCE}{host}");
        Self {
            scope: SessionScope { audience, registration },
            here: digest(at_host.iter().chain(&cookies)),
            anywhere: digest([b"adopted anywhere".as_slice()].iter().chain(&cookies)),
        }
    }

    /// Key of what is remembered about them.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.here
    }

    /// Digests that are marked once a session was made of them at their host, and once they may not be adopted anywhere.
    pub(in crate::session) fn marks(&self) -> [[u8; 32]; 2] {
        [self.here, self.anywhere]
    }

    /// Audience of a session that is made of them.
    pub(in crate::session) fn audience(&self) -> &str {
        &self.scope.audience
    }

    /// Scope of a session that is made of them.
    #[must_use]
    pub fn scope(&self) -> SessionScope {
        self.scope.clone()
    }

    /// The token of a session that is made of them, by one key.
    pub(in crate::session) fn token(&self, key: &crypto::CookieKey<'_>) -> Token {
        Token::derived(key, &self.scope.audience, &self.here)
    }
}

/// Digest of parts, each behind its length, so that no two lists of them look alike.
fn digest<'p>(parts: impl Iterator<Item = &'p &'p [u8]>) -> [u8; 32] {
    let text: Vec<u8> =
        parts.flat_map(|part| (part.len() as u64).to_be_bytes().into_iter().chain(part.iter().copied())).collect();
    crypto::digest(&text)
}

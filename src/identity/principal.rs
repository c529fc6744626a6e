//! Principal: who is asking, apart from how that is known.
//!
//! Promises: a borrowed view of its source. Making one allocates nothing and renders nothing.

use super::{HeaderCache, Identity, PackedIdentity, PlanId, RenderedHeaders, Tokens};
use crate::clock::Timestamp;

/// Authenticated party of a request, as `flow::check` judges and admits it.
#[derive(Clone, Copy)]
pub struct Principal<'a> {
    /// The identity that rules judge.
    pub identity: &'a PackedIdentity,
    /// The kind of credential that it was authenticated by.
    pub source: PrincipalSource,
    /// The time from which on the source has to be asked again; `None` if that is never.
    pub valid_until: Option<Timestamp>,
    /// The time of the sign-in: with the subject it tells sessions apart.
    pub since: Timestamp,
    /// The tokens that apps may be passed.
    pub(crate) tokens: &'a Tokens,
    /// Identity headers that are ready.
    pub(crate) headers: &'a HeaderCache,
}

/// Kind of credential that a principal was authenticated by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrincipalSource {
    /// A session, by its cookie.
    Session,
    /// A session of an old outpost, by that one's cookies.
    Adopted,
    /// An access token (RFC 6750).
    Bearer,
    /// A user name and an app password, redeemed at the provider.
    AppPassword,
    /// A service token of the gate's own.
    ServiceToken,
    /// An emergency password.
    Emergency,
}

/// Principal that no session stands behind: the facts that a credential was verified for.
pub struct OwnedPrincipal {
    identity: PackedIdentity,
    source: PrincipalSource,
    valid_until: Option<Timestamp>,
    since: Timestamp,
    tokens: Tokens,
    headers: HeaderCache,
}

impl OwnedPrincipal {
    /// Principal of an identity that was verified at `since`, and counts until `valid_until`.
    #[must_use]
    pub fn new(
        identity: PackedIdentity,
        source: PrincipalSource,
        since: Timestamp,
        valid_until: Option<Timestamp>,
    ) -> Self {
        Self { identity, source, valid_until, since, tokens: Tokens::default(), headers: HeaderCache::default() }
    }

    /// The same, with tokens that apps may be passed.
    #[must_use]
    pub fn with_tokens(self, tokens: Tokens) -> Self {
        Self { tokens, ..self }
    }

    /// The identity that rules judge.
    #[must_use]
    pub fn identity(&self) -> &PackedIdentity {
        &self.identity
    }

    /// Returns it as a request's principal.
    #[must_use]
    pub fn principal(&self) -> Principal<'_> {
        let Self { identity, source, valid_until, since, tokens, headers } = self;
        Principal { identity, source: *source, valid_until: *valid_until, since: *since, tokens, headers }
    }
}

impl Principal<'_> {
    /// Hands the identity headers under a plan to `read`; `render` makes them where they are not ready.
    pub fn with_headers<T>(
        &self,
        plan: PlanId,
        render: impl Fn(&Identity, &Tokens) -> RenderedHeaders,
        read: impl FnOnce(&RenderedHeaders) -> T,
    ) -> T {
        self.headers.with(plan, || render(&self.identity.unpack(), self.tokens), read)
    }
}

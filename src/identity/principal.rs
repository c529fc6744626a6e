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

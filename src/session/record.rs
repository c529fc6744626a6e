//! What a session is: the record that is sealed into the store, and the live form that answers requests.

use http::HeaderMap;

use crate::{
    clock::Timestamp,
    identity::{Identity, Tokens},
    policy::headers::Plan,
};

/// What a sign-in yields.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Who signed in.
    pub identity: Identity,
    /// What the provider issued.
    pub tokens: Tokens,
    /// The provider's own name for its session (`sid`), for its sign-out.
    pub sid: Option<String>,
}

/// A session as it is kept.
#[derive(Clone, Debug)]
pub struct Record {
    /// Who signed in.
    pub identity: Identity,
    /// What the provider issued.
    pub tokens: Tokens,
    /// The provider's own name for its session.
    pub sid: Option<String>,
    /// When it was made.
    pub created: Timestamp,
}

/// A session in memory: the record, and the headers that it answers with.
#[derive(Debug)]
pub struct Live {
    /// The session.
    pub record: Record,
}

impl Live {
    /// The identity headers under a plan: rendered once, then shared.
    #[must_use]
    pub fn headers(&self, plan: &Plan) -> &HeaderMap {
        let _ = plan;
        unreachable!()
    }
}

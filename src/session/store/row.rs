//! Rows of sessions, and what selects them.

use crate::{clock::Timestamp, session::cookie::SessionId};

/// A session as the store keeps it. The columns only find it; whatever is trusted is in the sealed part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::session) struct Row {
    pub(in crate::session) key: SessionId,
    /// Configured name of the provider.
    pub(in crate::session) provider: String,
    /// The provider's identifier of the person (`sub`).
    pub(in crate::session) subject: String,
    /// The provider's identifier of its session (`sid`).
    pub(in crate::session) sid: Option<String>,
    /// Number of times that the record was written, from 1. The fencing token of renewals: see
    /// [`Leases::replace`](crate::session::store::lease::Leases::replace).
    pub(in crate::session) generation: u64,
    pub(in crate::session) created: Timestamp,
    pub(in crate::session) last_seen: Timestamp,
    /// The record, sealed with this key as its context.
    pub(in crate::session) sealed: Vec<u8>,
}

/// A use of a session, to be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) struct Touch {
    pub(in crate::session) key: SessionId,
    pub(in crate::session) last_seen: Timestamp,
}

/// Bounds below which rows have expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) struct Cutoffs {
    /// Rows created at this moment or earlier have expired.
    pub(in crate::session) created: Timestamp,
    /// Rows last used at this moment or earlier have expired.
    pub(in crate::session) last_seen: Timestamp,
}

/// The current generation of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) struct RowVersion {
    pub(in crate::session) key: SessionId,
    pub(in crate::session) generation: u64,
}

/// A choice of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::session) enum Selection {
    /// Rows under these keys.
    Keys(Vec<SessionId>),
    /// Rows of one person at a provider.
    Subject {
        provider: String,
        subject: String,
    },
    /// Rows of one of the provider's sessions.
    Sid {
        provider: String,
        sid: String,
    },
    Everything,
}

impl From<SessionId> for Selection {
    fn from(key: SessionId) -> Self {
        Self::Keys(vec![key])
    }
}

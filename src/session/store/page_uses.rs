//! Last pages that sessions opened at apps with an idle timeout of their own.
//!
//! Promises: a record is a digest and two times, and goes by itself once nothing can depend on it; the latest page counts,
//! whichever process records it.

use async_trait::async_trait;

use crate::{clock::Timestamp, session::store::error::Unavailable};

/// Digest of a session's id and an app's name.
pub(in crate::session) type PageUseKey = [u8; 32];

/// The last page that a session opened at an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) struct PageUse {
    pub(in crate::session) key: PageUseKey,
    pub(in crate::session) at: Timestamp,
    /// Time until which it is kept.
    pub(in crate::session) until: Timestamp,
}

/// The part of a store that keeps them.
#[async_trait]
pub(in crate::session) trait PageUseStore: Send + Sync {
    /// Records pages, each key once. An earlier one than is recorded changes nothing.
    async fn record_page_uses(&self, uses: &[PageUse]) -> Result<(), Unavailable>;
    /// Returns when the last page was opened; `None` where none is recorded.
    async fn last_page_use(&self, key: &PageUseKey) -> Result<Option<Timestamp>, Unavailable>;
}

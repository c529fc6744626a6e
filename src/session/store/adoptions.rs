//! Adoptions: sessions made of an old gate's cookies, each cookie once.
//!
//! Promises: whatever becomes of the session, a cookie that was marked is marked until the time that was given; a mark is a
//! digest and a time, so that it tells nothing of the cookie.

use async_trait::async_trait;

use crate::{
    clock::Timestamp,
    session::store::{error::Unavailable, row::Row},
};

/// Digest of an old gate's cookies at one host.
pub(in crate::session) type AdoptionMark = [u8; 32];

/// The part of a store that keeps the marks. They share a table with the `jti`s of logout tokens, of which they are none.
#[async_trait]
pub(in crate::session) trait Adoptions: Send + Sync {
    /// Sets a mark and inserts a session's row durably, both or neither; `false` where the mark was set already.
    async fn adopt(&self, row: Row, mark: &AdoptionMark, until: Timestamp) -> Result<bool, Unavailable>;
    /// Returns `true` if one of these marks is set.
    async fn is_marked(&self, marks: &[AdoptionMark; 2]) -> Result<bool, Unavailable>;
}

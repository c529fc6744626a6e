//! Freshness: for how long a session in memory may be served without asking the store.
//!
//! HTTP caching has the words for it (RFC 9111 §4.2, RFC 5861): a session is *fresh* for some seconds after the store last
//! confirmed it, or for as long as the [`ChangeFeed`] reports what others do. After that it is served while it is
//! revalidated in the background (*stale-while-revalidate*, [`Freshness::Revalidate`]), and then no more before the store
//! has been asked ([`Freshness::Stale`]). While the store is unavailable, a known session is served for
//! `session.outage_grace` (*stale-if-error*; `SessionLookup::serve_stale_if_error` decides).
//!
//! - [`change_feed`]: the connection that reports changes, and the freshness that follows from it;
//! - [`validation`]: the last time that the store confirmed one session;
//! - [`hints`]: change notifications that arrive while the store is being asked.
//!
//! Promises: nothing here knows sessions; it judges their [`Validation`] alone.

mod change_feed;
mod hints;
mod validation;

pub(super) use self::{
    change_feed::{ChangeFeed, Freshness},
    hints::{HintWatch, Hints},
    validation::{RequestTime, Validation},
};

//! Session cookies and the names of sessions that are derived from them.
//!
//! - [`token`]: what a cookie's value holds, a random id and a tag that proves that the gate made it;
//! - [`value`]: a cookie's value as text, as it is compared and hashed when a session in memory is looked up;
//! - [`old_cookies`]: cookies of an old gate, and the token that is derived from them;
//! - [`id`]: the public name of a session, a hash that is useless as a cookie.
//!
//! Promises: parsing and comparing touch neither heap nor store.

mod id;
mod old_cookies;
mod token;
mod value;

pub(super) use self::{
    id::CacheKey,
    old_cookies::is_adopted,
    token::Token,
    value::{CookieHash, CookieValue},
};
pub use self::{id::SessionId, old_cookies::OldCookies, token::Cookie};

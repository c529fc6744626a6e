//! Cookies on the wire (RFC 6265bis): reading `Cookie` lines and writing `Set-Cookie` lines.
//!
//! Promises: our own cookies are never passed on to an app; a cookie is removed with the attributes that it was set
//! with.

mod domain;
mod jar;
mod request;

pub use self::{
    jar::{GateCookies, HostCookies, SiteScheme},
    request::{names, pairs, values},
};

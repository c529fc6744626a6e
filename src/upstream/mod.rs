//! Upstreams: the servers to which the gate passes requests on, over pooled keep-alive connections. They are apps in
//! reverse-proxy mode, and old outposts.
//!
//! Promises: every wait has a deadline; a request is sent again only where that is safe; nothing here knows of sessions.
//!
//! The map: `settings` has what is configured of an upstream, `client` sends requests, `error` tells how they fail, `registry`
//! keeps the clients of one configuration for the next.

mod client;
mod error;
mod registry;
mod settings;
#[cfg(test)]
mod tests;

pub use self::{
    client::{RequestBody, ResponseBody, Upstream},
    error::{Error, FailedSide},
    registry::{ConfiguredUpstreams, Upstreams},
    settings::Settings,
};

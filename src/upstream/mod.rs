//! Upstreams: the servers to which the gate passes requests on, over pooled keep-alive connections. They are apps in
//! reverse-proxy mode, and old outposts.
//!
//! Promises: every wait has a deadline; a request is sent again only where that is safe; nothing here knows of sessions.
//!
//! The map: `settings` has what is configured of an upstream, `client` sends a request, `pool` has its connection, which
//! `connector` opens by a name that `resolver` knows, `upload` and `response_body` watch what goes over it, `error` tells how it fails; `registry` keeps
//! the clients of one configuration for the next.

mod client;
mod connector;
mod error;
mod pool;
mod registry;
mod resolver;
mod response_body;
mod settings;
#[cfg(test)]
mod tests;
mod upload;

pub use self::{
    client::Upstream,
    error::{Error, FailedSide},
    registry::{ConfiguredUpstreams, Upstreams},
    response_body::ResponseBody,
    settings::Settings,
    upload::{RequestBody, empty},
};

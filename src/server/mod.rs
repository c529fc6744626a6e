//! Listeners: accepting, TLS, HTTP/1.1 and HTTP/2, limits, deadlines, graceful shutdown.
//!
//! Every connection is bounded in number and time, every request in number and time, and every error is a refusal.
//!
//! The map, from the outside in: `run` has the `Server` with both listeners, `listener` accepts, `tls` has the
//! certificates, `connection` serves a connection from its first byte to its lingering close, `service` answers the requests at
//! `server.listen` through `router`, `forms` reads their bodies, `management` answers at `server.management`; `limits` bounds
//! the number of each, `body` has the type of all bodies that are written.

mod body;
mod connection;
mod error;
mod forms;
mod limits;
mod listener;
mod management;
mod proxied_body;
mod proxy;
mod router;
mod run;
mod service;
mod settings;
#[cfg(test)]
mod tests;
mod tls;

pub use self::{
    error::Error,
    run::{Capacity, Server},
    settings::Settings,
    tls::{EXPIRY_NOTICE, TlsSettings},
};

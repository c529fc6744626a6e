//! Limits on what the process holds at once: open files, connections, requests.
//!
//! The map: [`open_files`] raises the limit of file descriptors, [`connections`] shares a listener's connections between
//! edges and untrusted peers (nginx `worker_connections` and `limit_conn`), [`requests`] bounds requests in flight and
//! sheds load beyond that.

mod connections;
mod open_files;
mod peer;
mod requests;
#[cfg(test)]
mod tests;
mod untrusted_peers;

#[cfg(test)]
pub(super) use self::requests::{RequestBounds, bounded};
pub(super) use self::{
    connections::{ConnectionLimits, ConnectionSlot, ConnectionSlots},
    open_files::{max_connections, raise_limit},
    peer::{ConnSignals, PeerState},
    requests::{RequestClass, RequestLimits},
};

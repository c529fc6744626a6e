//! Connections, each from its first byte to its last.
//!
//! The map: [`serve`] has the life of a connection, TLS handshake first. [`detect`] is the version detection by the first bytes,
//! [`http_builders`] configures hyper within [`header_limits`], [`sensor_io`] records what hyper does not expose, [`deadlines`] enforces [`timeouts`] against
//! slow and idle clients (slowloris), [`drain`] has the phases of a graceful shutdown, [`lingering_close`] the end of a
//! connection, [`flow_controlled`] gives up HTTP/2 responses that are not taken, [`hyper_errors`] completes hyper's own refusals.

mod deadlines;
mod detect;
mod drain;
mod flow_controlled;
mod header_limits;
mod http_builders;
mod hyper_errors;
mod lingering_close;
mod sensor_io;
mod serve;
mod timeouts;

#[cfg(test)]
pub(super) use self::timeouts::Timeouts;
pub(super) use self::{
    drain::{Drain, Phase, drain_delay},
    header_limits::HeaderLimit,
    sensor_io::{FragmentDropped, StreamGuard},
    serve::{Bodies, ConnContext, PeerPolicy, RequestHandler},
    timeouts::ListenerTimeouts,
};

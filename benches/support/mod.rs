//! Shared code of benches and guards: a gate in this process, Traefik's subrequest, and servers that respond to it.

#![allow(dead_code, reason = "each bench and each guard uses a part of it")]

pub(crate) mod callgrind;
pub(crate) mod cases;
pub(crate) mod configuration;
pub(crate) mod gate;
pub(crate) mod servers;
pub(crate) mod solo;
pub(crate) mod subrequest;
pub(crate) mod token_issuer;

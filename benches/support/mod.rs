//! What benches and guards have in common: a gate in this process, the request that Traefik makes, and servers that
//! answer it.

#![allow(dead_code, reason = "each bench and each guard uses a part of it")]

pub(crate) mod callgrind;
pub(crate) mod cases;
pub(crate) mod configuration;
pub(crate) mod gate;
pub(crate) mod question;
pub(crate) mod servers;
pub(crate) mod solo;

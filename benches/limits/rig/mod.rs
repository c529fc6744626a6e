//! Building blocks of benches: servers, the load generator, and the CPU time of both.

pub(crate) mod account;
#[path = "../../../tests/it/world/tls.rs"]
#[allow(clippy::unwrap_used, reason = "it is the tests' own")]
pub(crate) mod authority;
pub(crate) mod contest;
pub(crate) mod contestant;
pub(crate) mod cores;
pub(crate) mod daemon;
#[path = "../../../tests/it/world/database.rs"]
#[allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "it is the tests' own, and they use all of it"
)]
mod database;
pub(crate) mod delay;
pub(crate) mod expected;
pub(crate) mod instructions;
pub(crate) mod line;
pub(crate) mod load;
pub(crate) mod nginx;
pub(crate) mod outpost;
pub(crate) mod people;
pub(crate) mod postgres;
pub(crate) mod program;
pub(crate) mod provider;
pub(crate) mod sign_in;
pub(crate) mod traefik;
pub(crate) mod upstream;

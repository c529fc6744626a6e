//! Doorward: a forward-auth gate.
//!
//! The map, top floor first. Imports point down only, and modules on the same floor do not import each other;
//! `tests/architecture.rs` checks it. ARCHITECTURE.md walks through it.

// floor 8: the command line
pub mod cli;
// floor 7: builds every component; the only place that spawns
pub mod app;
// floor 6: reads and checks every module's settings
pub mod config;
// floor 5: listeners, TLS, connections, limits, routing
pub mod server;
// floor 4: from a request to its verdict
pub mod flow;
// floor 3: independent of each other
pub mod emergency;
pub mod oidc;
pub mod pages;
pub mod session;
pub mod upstream;
// floor 2: pure
pub mod edge;
pub mod policy;
// floor 1
pub mod crypto;
pub mod identity;
pub mod metrics;
// floor 0: import nothing of ours
pub mod client_tls;
pub mod clock;
pub mod cookie;
pub mod host;
pub mod shutdown;
// no floor: entry points for fuzzing; not in a release
#[cfg(any(test, fuzzing))]
pub mod fuzz;
// no floor: a fault at every wait on the way to a verdict
#[cfg(test)]
mod faults;

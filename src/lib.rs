//! Doorward: a forward-auth gate.
//!
//! The map, top floor first. Imports point down only, and neighbours on a floor do not import each other;
//! `tests/architecture.rs` reads the source and holds us to it. ARCHITECTURE.md walks through it.

// floor 8: what the command line can be told
pub mod cli;
// floor 7: the only place that builds and spawns
pub mod app;
// floor 6: knows every module's settings; no module knows it
pub mod config;
// floor 5: listeners, TLS, routing
pub mod server;
// floor 4: what happens between a request and its verdict
pub mod flow;
// floor 3: strangers to each other
pub mod oidc;
pub mod pages;
pub mod session;
// floor 2: pure
pub mod edge;
pub mod policy;
// floor 1
pub mod crypto;
pub mod identity;
pub mod metrics;
// floor 0: import nothing of ours
pub mod clock;
pub mod cookie;
pub mod host;
pub mod shutdown;
// no floor: what arbitrary bytes are fed to; not in a release
#[cfg(any(test, fuzzing))]
pub mod fuzz;

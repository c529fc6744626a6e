//! Application: builds every component from the configuration, and runs them.
//!
//! The only place that wires and spawns. The map: `components` builds, `run` has the background tasks and the graceful shutdown,
//! `providers` the task of each provider, `reload` applies changes of the configuration, `memory` returns freed pages.

mod components;
mod memory;
mod providers;
mod reload;
mod run;
#[cfg(test)]
mod tests;

pub use self::{reload::ReloadSources, run::BoundApp};

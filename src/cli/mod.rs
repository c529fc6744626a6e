//! The commands, each in a file of its own.

#[cfg(feature = "demo")]
pub mod demo;

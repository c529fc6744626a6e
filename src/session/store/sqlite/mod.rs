//! Sessions in a SQLite file of this machine.
//!
//! Promises: a write that was answered survives a killed process and a power failure; the runtime is never blocked; no
//! more than a handful of threads wait for the disk.

mod adoptions;
mod file;
mod leases;
mod page_uses;
mod pool;
mod rotation;
mod service_tokens;
mod sql;
mod store;
mod write_probe;

pub(in crate::session) use self::store::SqliteStore;

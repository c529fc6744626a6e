//! Sessions in PostgreSQL, shared by any number of replicas.
//!
//! Promises: each call is one short statement that commits by itself and leaves nothing behind in its connection, so
//! that it works through a pooler in any mode; the process starts and lives while the server is unavailable; a deletion
//! notifies every replica (`NOTIFY`).

mod adoptions;
mod connect;
mod connection;
mod error;
#[cfg(any(test, fuzzing))]
pub(in crate::session) mod fuzz;
mod leases;
mod listen;
mod page_uses;
mod pool;
mod rotation;
mod schema;
mod service_tokens;
mod settings;
mod sql;
mod store;
mod tls;
mod url;

pub(in crate::session) use self::store::PostgresStore;
pub use self::{settings::Settings, url::PostgresUrl};

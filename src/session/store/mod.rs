//! Session stores: rows in memory, in a SQLite file or in PostgreSQL, behind one interface.
//!
//! Promises: a store never looks into the sealed part of a row; a store that fails is [`Unavailable`], which ends no
//! session.

pub(super) mod adoptions;
mod error;
pub(super) mod lease;
pub(super) mod memory;
mod observed;
pub(super) mod open;
pub(super) mod page_uses;
pub mod postgres;
pub(super) mod rotation;
mod row;
pub(super) mod service_tokens;
pub(super) mod sqlite;
mod traits;

pub use self::error::{DEADLINE, Unavailable};
pub(super) use self::{
    observed::ObservedStore,
    row::{Cutoffs, Row, RowVersion, Selection, Touch},
    traits::{Invalidations, Store},
};

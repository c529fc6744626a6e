//! Statements and values that the parts of the SQLite store share.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::{
    clock::Timestamp,
    session::{
        cookie::SessionId,
        store::{Row, Unavailable},
    },
};

/// The `SELECT` of the columns that [`read_row`] reads.
macro_rules! select_rows {
    () => {
        "SELECT key, provider, subject, sid, generation, created, last_seen, sealed FROM sessions"
    };
}

pub(super) use select_rows;

/// Reads a row of [`select_rows`].
pub(super) fn read_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        key: row.get(0).map(SessionId)?,
        provider: row.get(1)?,
        subject: row.get(2)?,
        sid: row.get(3)?,
        generation: row.get::<_, i64>(4)?.unsigned_abs(),
        created: timestamp(row.get(5)?),
        last_seen: timestamp(row.get(6)?),
        sealed: row.get(7)?,
    })
}

/// Begins a transaction that has the writer's lock from the start, so that it cannot fail half-way for want of it.
pub(super) fn begin_immediate(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

pub(super) fn failed(error: &dyn std::error::Error) -> Unavailable {
    Unavailable::Failed(error.to_string())
}

pub(super) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn seconds(at: Timestamp) -> i64 {
    integer(at.unix())
}

pub(super) fn timestamp(seconds: i64) -> Timestamp {
    Timestamp::from_unix(u64::try_from(seconds).unwrap_or(0))
}

//! Statements and values that the parts of the PostgreSQL store share.

use tokio_postgres::{Row as Columns, types::FromSql};

use crate::{
    clock::Timestamp,
    crypto::KeyId,
    session::{
        cookie::SessionId,
        store::{Row, Unavailable, postgres::error::PostgresError},
    },
};

/// The `SELECT` of the columns that [`read_row`] reads.
pub(super) const SELECT_ROWS: &str =
    "SELECT key, provider, subject, sid, generation, created, last_seen, sealed FROM doorward_sessions";

/// Reads a row of [`SELECT_ROWS`].
pub(super) fn read_row(row: &Columns) -> Result<Row, Unavailable> {
    Ok(Row {
        key: read_key(row)?,
        provider: column(row, 1)?,
        subject: column(row, 2)?,
        sid: column(row, 3)?,
        generation: column::<i64>(row, 4)?.unsigned_abs(),
        created: timestamp(column(row, 5)?),
        last_seen: timestamp(column(row, 6)?),
        sealed: column(row, 7)?,
    })
}

/// Reads a key from the first column.
pub(super) fn read_key(row: &Columns) -> Result<SessionId, Unavailable> {
    let bytes: &[u8] = column(row, 0)?;
    bytes.try_into().map(SessionId).map_err(|_| Unavailable::Failed("a key is not as long as a key".to_owned()))
}

/// Reads the id of a secret from the first column.
pub(super) fn read_secret(row: &Columns) -> Result<KeyId, Unavailable> {
    let bytes: &[u8] = column(row, 0)?;
    bytes.try_into().map_err(|_| Unavailable::Failed("the name of a secret is not as long as one".to_owned()))
}

/// Reads the only number of an answer; zero where it has no row.
pub(super) fn read_number(rows: &[Columns]) -> Result<u64, Unavailable> {
    rows.first().map_or(Ok(0), |row| column::<i64>(row, 0).map(i64::unsigned_abs))
}

pub(super) fn column<'r, T: FromSql<'r>>(row: &'r Columns, index: usize) -> Result<T, Unavailable> {
    row.try_get(index).map_err(|error| PostgresError::Database(error).into())
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

//! The tables in PostgreSQL and how they come to be.
//!
//! Promises: a step never waits for a lock longer than a moment, and never makes others wait for it; two replicas do not
//! take the same one; nothing is ever taken back. It must not know what rows hold.

use tokio_postgres::{Client, types::Type};

use crate::session::store::postgres::fault::Fault;

/// The steps from an empty database to the schema of this version. Each ends by saying so in `doorward_schema`.
const STEPS: &[&str] = &[include_str!("1.sql"), include_str!("2.sql")];

/// Whoever changes the schema holds this advisory lock: "doorward" in ASCII.
const LOCK: i64 = 0x646f_6f72_7761_7264;

/// Sees that the schema is one that this version can use, and takes the steps to it where it is not.
pub(super) async fn prepare(client: &Client) -> Result<(), Fault> {
    if is_usable(client).await? {
        return Ok(());
    }
    client.batch_execute("BEGIN; SET LOCAL lock_timeout = '1s'; SET LOCAL statement_timeout = '4s'").await?;
    let rows = client.query_typed("SELECT pg_try_advisory_xact_lock($1)", &[(&LOCK, Type::INT8)]).await?;
    if !rows.first().is_some_and(|row| row.try_get(0).unwrap_or(false)) {
        return Err(Fault::Schema("another process is changing the schema; waiting for it".to_owned()));
    }
    // Again, because somebody else may have been first.
    for step in STEPS.iter().skip(taken(client).await?.map_or(0, |schema| schema.version)) {
        client.batch_execute(step).await?;
    }
    client.batch_execute("COMMIT").await?;
    tracing::info!(version = STEPS.len(), "the session store's schema is up to date");
    Ok(())
}

/// What the database says of its schema.
struct Schema {
    version: usize,
    oldest_reader: usize,
}

async fn is_usable(client: &Client) -> Result<bool, Fault> {
    let Some(schema) = taken(client).await? else { return Ok(false) };
    // A newer version says itself whom it has left behind.
    if schema.oldest_reader > STEPS.len() {
        return Err(Fault::Schema(format!(
            "it was changed by a newer version of doorward (schema {}, this one knows {}); run that version, or give \
             this one another database",
            schema.version,
            STEPS.len()
        )));
    }
    Ok(schema.version >= STEPS.len())
}

async fn taken(client: &Client) -> Result<Option<Schema>, Fault> {
    // A statement that names a table which is not there would end the transaction that this may be part of.
    let there = "SELECT to_regclass('doorward_schema') IS NOT NULL";
    if !client.query_typed(there, &[]).await?.first().is_some_and(|row| row.try_get(0).unwrap_or(false)) {
        return Ok(None);
    }
    let rows = client.query_typed("SELECT version, oldest_reader FROM doorward_schema", &[]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let number = |place| row.try_get::<_, i32>(place).map(|number| usize::try_from(number).unwrap_or(usize::MAX));
    let schema = |version, oldest_reader| Schema { version, oldest_reader };
    number(0).and_then(|version| Ok(Some(schema(version, number(1)?)))).map_err(Fault::Database)
}

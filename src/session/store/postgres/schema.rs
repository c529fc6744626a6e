//! The schema in PostgreSQL and its migrations.
//!
//! Promises: a migration never waits for a lock longer than a moment, and never makes others wait for it; two replicas
//! do not apply the same one; a schema is never downgraded.

use tokio_postgres::{Client, types::Type};

use crate::session::store::postgres::error::PostgresError;

/// Migrations from an empty database to the schema of this version. Each ends by recording its number in
/// `doorward_schema`.
const MIGRATIONS: &[&str] = &[include_str!("1.sql"), include_str!("2.sql"), include_str!("3.sql")];

/// Advisory lock held while the schema is changed: "doorward" in ASCII.
const ADVISORY_LOCK: i64 = 0x646f_6f72_7761_7264;

/// Checks that this version can use the schema, and migrates it where it is older.
pub(super) async fn prepare(client: &Client) -> Result<(), PostgresError> {
    if is_usable(client).await? {
        return Ok(());
    }
    client.batch_execute("BEGIN; SET LOCAL lock_timeout = '1s'; SET LOCAL statement_timeout = '4s'").await?;
    let rows = client.query_typed("SELECT pg_try_advisory_xact_lock($1)", &[(&ADVISORY_LOCK, Type::INT8)]).await?;
    if !rows.first().is_some_and(|row| row.try_get(0).unwrap_or(false)) {
        return Err(PostgresError::Schema("another process is changing the schema; waiting for it".to_owned()));
    }
    // Read again under the lock: another replica may have been first.
    for migration in MIGRATIONS.iter().skip(read_version(client).await?.map_or(0, |schema| schema.version)) {
        client.batch_execute(migration).await?;
    }
    client.batch_execute("COMMIT").await?;
    tracing::info!(version = MIGRATIONS.len(), "the session store's schema is up to date");
    Ok(())
}

/// The schema's version, as the database records it.
struct SchemaVersion {
    version: usize,
    /// The oldest version that can still use the schema.
    oldest_reader: usize,
}

async fn is_usable(client: &Client) -> Result<bool, PostgresError> {
    let Some(schema) = read_version(client).await? else { return Ok(false) };
    if schema.oldest_reader > MIGRATIONS.len() {
        return Err(PostgresError::Schema(format!(
            "it was changed by a newer version of doorward (schema {}, this one knows {}); run that version, or give \
             this one another database",
            schema.version,
            MIGRATIONS.len()
        )));
    }
    Ok(schema.version >= MIGRATIONS.len())
}

async fn read_version(client: &Client) -> Result<Option<SchemaVersion>, PostgresError> {
    // A statement that names a missing table would abort the transaction that this may be part of.
    let exists = "SELECT to_regclass('doorward_schema') IS NOT NULL";
    if !client.query_typed(exists, &[]).await?.first().is_some_and(|row| row.try_get(0).unwrap_or(false)) {
        return Ok(None);
    }
    let rows = client.query_typed("SELECT version, oldest_reader FROM doorward_schema", &[]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let number = |index| row.try_get::<_, i32>(index).map(|number| usize::try_from(number).unwrap_or(usize::MAX));
    let schema = |version, oldest_reader| SchemaVersion { version, oldest_reader };
    number(0).and_then(|version| Ok(Some(schema(version, number(1)?)))).map_err(PostgresError::Database)
}

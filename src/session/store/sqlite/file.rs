//! The SQLite file: its owner, its permissions and its schema.
//!
//! Promises: a file of another program is left untouched; a schema is never downgraded.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction};

use crate::session::store::{Unavailable, sqlite::sql::begin_immediate};

/// `PRAGMA application_id` of our files: "door" in ASCII.
const APPLICATION_ID: i32 = 0x646f_6f72;

/// Migrations from an empty file to the schema of this version; `PRAGMA user_version` is the number of those applied.
const MIGRATIONS: &[&str] =
    &[include_str!("1.sql"), include_str!("2.sql"), include_str!("3.sql"), include_str!("4.sql")];

/// Longest wait of a connection for another's lock: less than the deadline of the caller.
const BUSY_TIMEOUT: Duration = Duration::from_secs(4);

/// Creates the file where it is missing, checks that it is ours, and brings its schema up to date.
pub(super) fn prepare(path: &Path) -> Result<Connection, Unavailable> {
    create(path).map_err(|error| Unavailable::Unusable(explain_io(path, &error)))?;
    let explained = |error| Unavailable::Unusable(explain(path, &error));
    let mut connection = connect(path).map_err(explained)?;
    match owner(&connection).map_err(explained)? {
        FileOwner::Doorward => migrate(&mut connection, path),
        FileOwner::Other => Err(Unavailable::Unusable(format!(
            "{} is a database of another program; give the sessions a file of their own in store.url",
            path.display()
        ))),
    }?;
    Ok(connection)
}

/// The program that a database belongs to.
enum FileOwner {
    /// Doorward, or none yet: the file is empty.
    Doorward,
    Other,
}

fn owner(connection: &Connection) -> rusqlite::Result<FileOwner> {
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: u32 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(if application == APPLICATION_ID || (application == 0 && tables == 0) {
        FileOwner::Doorward
    } else {
        FileOwner::Other
    })
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), Unavailable> {
    let explained = |error: &rusqlite::Error| Unavailable::Unusable(explain(path, error));
    let transaction = begin_immediate(connection).map_err(|error| explained(&error))?;
    let applied = version(&transaction).map_err(|error| explained(&error))?;
    if applied > MIGRATIONS.len() {
        let oldest: usize = transaction
            .query_row("SELECT oldest_reader FROM compatibility", [], |row| row.get::<_, u32>(0))
            .map_or(usize::MAX, |oldest| oldest as usize);
        // A newer version records the oldest one that can still use its schema.
        return if oldest <= MIGRATIONS.len() {
            Ok(())
        } else {
            Err(Unavailable::Unusable(format!(
                "{} was written by a newer version of doorward (schema {applied}, this one knows {}); run that version, \
                 or give this one another file in store.url",
                path.display(),
                MIGRATIONS.len()
            )))
        };
    }
    apply_migrations(transaction, applied).map_err(|error| explained(&error))
}

fn version(transaction: &Transaction<'_>) -> rusqlite::Result<usize> {
    transaction.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0)).map(|applied| applied as usize)
}

fn apply_migrations(transaction: Transaction<'_>, applied: usize) -> rusqlite::Result<()> {
    for migration in MIGRATIONS.iter().skip(applied) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX))?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.commit()
}

/// Creates the file for its owner alone. SQLite would make it readable for everybody, and gives its journals the file's
/// mode.
fn create(path: &Path) -> std::io::Result<()> {
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ if path.is_dir() => Err(ErrorKind::IsADirectory.into()),
        Ok(_) => Ok(()),
        Err(_) => {
            // Left as it is: the operator may want it so, for a backup. The secret part of it is sealed.
            if fs::metadata(path)?.mode() & 0o077 != 0 {
                tracing::warn!(path = %path.display(), "others may read the session store; `chmod 600` keeps it private");
            }
            Ok(())
        }
    }
}

/// Opens a connection to the file, which has to exist.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // Never creates it: a missing file is an outage, not a reason to begin with an empty one.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    if matches!(owner(&connection)?, FileOwner::Doorward) {
        // Readers go on during a write.
        connection.pragma_update(None, "journal_mode", "wal")?;
    }
    // A killed process loses nothing with less, but a power cut would bring back a session that was signed out. Waiting
    // for the disk costs a sign-in and a sign-out some milliseconds; no other request writes.
    connection.pragma_update(None, "synchronous", "full")?;
    Ok(connection)
}

/// Describes an error of the file, and how to mend it.
fn explain(path: &Path, error: &rusqlite::Error) -> String {
    let hint = match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => "it is not a SQLite database; name another file in store.url",
        Some(ErrorCode::DatabaseCorrupt) => {
            "it is damaged; restore it, or move it away and let everybody sign in again"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => "another process holds it; stop that one",
        Some(ErrorCode::DiskFull) => "the disk is full",
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            "the user that runs doorward must be able to write the file and its directory"
        }
        _ => "its file system must support locks and shared memory, as local disks do",
    };
    format!("{}: {error}; {hint}", path.display())
}

fn explain_io(path: &Path, error: &std::io::Error) -> String {
    let directory = path.parent().unwrap_or(path).display();
    let hint = match error.kind() {
        ErrorKind::NotFound => format!("create the directory {directory}, writable for the user that runs doorward"),
        ErrorKind::IsADirectory => "store.url must name a file in it".to_owned(),
        _ => format!("the user that runs doorward must be able to write to {directory}"),
    };
    format!("{}: {error}; {hint}", path.display())
}

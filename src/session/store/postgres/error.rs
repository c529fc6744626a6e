//! Errors of PostgreSQL, and the decisions that depend on them.
//!
//! Promises: the text of an error says how to mend it, where that is known.

use std::{fmt, io, path::PathBuf, time::Duration};

use deadpool::managed::PoolError;
use tokio_postgres::{Error, error::SqlState};

use crate::session::store::{DEADLINE, Unavailable};

/// The reason why there is no answer. The connection is not used again after any of them.
#[derive(Debug)]
pub(super) enum PostgresError {
    /// An error of the server, of the connection to it, or on the way there.
    Database(Error),
    /// The connection was closed.
    Closed,
    /// This step took longer than its timeout.
    Timeout(&'static str, Duration),
    /// The password file cannot be read.
    Password(PathBuf, io::Error),
    /// The root certificates cannot be read, with the reason.
    RootCertificates(String),
    /// The schema cannot be used by this version, or not yet, with the reason.
    Schema(String),
}

impl PostgresError {
    fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Database(error) => error.code(),
            _ => None,
        }
    }

    fn mentions(&self, text: &str) -> bool {
        let Self::Database(error) = self else { return false };
        error.as_db_error().is_some_and(|error| error.message().contains(text))
    }

    /// Returns `true` if another password may help.
    pub(super) fn is_login_refused(&self) -> bool {
        let code = self.code();
        code == Some(&SqlState::INVALID_PASSWORD)
            || code == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
            // A pooler's own message, under its code for everything.
            || (code == Some(&SqlState::PROTOCOL_VIOLATION) && (self.mentions("password") || self.mentions("auth")))
    }

    /// Returns `true` if a pooler refused the startup parameter `options`.
    pub(super) fn are_options_refused(&self) -> bool {
        self.code() == Some(&SqlState::PROTOCOL_VIOLATION) && self.mentions("startup parameter")
    }

    /// Returns `true` if a table or a column is missing.
    pub(super) fn is_schema_missing(&self) -> bool {
        let code = self.code();
        code == Some(&SqlState::UNDEFINED_TABLE) || code == Some(&SqlState::UNDEFINED_COLUMN)
    }

    /// Returns `true` if every connection to the server is affected, not this one alone.
    pub(super) fn affects_all_connections(&self) -> bool {
        match self {
            Self::Database(error) => match error.code() {
                // 57P: the operator ended the connection or the server; and a server that takes no writes any more.
                Some(code) => code.code().starts_with("57P") || *code == SqlState::READ_ONLY_SQL_TRANSACTION,
                None => true,
            },
            Self::Closed => true,
            Self::Timeout(..) | Self::Password(..) | Self::RootCertificates(_) | Self::Schema(_) => false,
        }
    }

    /// Returns `true` if the connection broke, so that the statement may or may not have taken effect.
    pub(super) fn is_connection_lost(&self) -> bool {
        match self {
            Self::Database(error) => error.code().is_none_or(|code| code.code().starts_with("57P")),
            Self::Closed => true,
            _ => false,
        }
    }
}

impl From<Error> for PostgresError {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

impl From<PoolError<Self>> for PostgresError {
    fn from(error: PoolError<Self>) -> Self {
        match error {
            PoolError::Backend(error) => error,
            PoolError::Timeout(_) => Self::Timeout("getting a connection", DEADLINE),
            PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => Self::Closed,
        }
    }
}

impl fmt::Display for PostgresError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the server closed the connection"),
            Self::Timeout(what, limit) => write!(f, "{what} took longer than {limit:?}"),
            Self::Password(path, error) => write!(f, "store.password: {}: {error}", path.display()),
            Self::RootCertificates(why) => write!(f, "store.url: {why}"),
            Self::Schema(why) => f.write_str(why),
            Self::Database(error) => match error.as_db_error() {
                None => f.write_str(&chain(error)),
                Some(refusal) => {
                    let hint = advice(refusal.code()).map(|advice| format!("; {advice}")).unwrap_or_default();
                    write!(f, "{} ({}){hint}", refusal.message(), refusal.code().code())
                }
            },
        }
    }
}

impl From<PostgresError> for Unavailable {
    fn from(error: PostgresError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Returns the operator's way to mend a refusal of the server.
fn advice(code: &SqlState) -> Option<&'static str> {
    match code {
        code if *code == SqlState::INVALID_PASSWORD => Some("is store.password the one that the server knows?"),
        code if *code == SqlState::UNDEFINED_DATABASE => Some("create the database, owned by the user of store.url"),
        code if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
            Some("let the user of store.url own the database, or grant it CREATE on the schema")
        }
        code if *code == SqlState::TOO_MANY_CONNECTIONS => {
            Some("max_connections of the server must hold store.pool_size for every replica")
        }
        _ => None,
    }
}

/// Prints an error and its sources on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(deeper) = source {
        let deeper_text = deeper.to_string();
        if !text.contains(&deeper_text) {
            text = format!("{text}: {deeper_text}");
        }
        source = deeper.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_while_connecting_reads_the_same_through_the_pool() {
        let nowhere = io::Error::from(io::ErrorKind::NotFound);
        for (error, text) in [
            (
                PostgresError::Password("/run/secrets/database".into(), nowhere),
                "store.password: /run/secrets/database: ",
            ),
            (PostgresError::Timeout("connecting", Duration::from_secs(2)), "connecting took longer than 2s"),
        ] {
            let through = PostgresError::from(PoolError::Backend(error)).to_string();
            assert!(through.starts_with(text), "{through}");
        }
    }
}

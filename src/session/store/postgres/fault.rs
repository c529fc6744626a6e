//! What can go wrong with PostgreSQL, and what is to be done about it.
//!
//! Whatever it is, the connection it happened on is given up. It must not know what was asked.

use std::{fmt, io, path::PathBuf, time::Duration};

use bytes::Bytes;
use deadpool_postgres::PoolError;
use futures_util::stream;
use tokio::io::{join, sink};
use tokio_postgres::{Config, Error, NoTls, error::SqlState};
use tokio_util::io::StreamReader;

use crate::session::store::{DEADLINE, Unavailable, postgres::address::chain};

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Fault {
    /// The server, the connection to it, or the way there.
    Database(Error),
    /// The connection has ended.
    Closed,
    /// This took longer than it may.
    Late(&'static str, Duration),
    /// The file with the password cannot be read.
    Password(PathBuf, io::Error),
    /// The certificates of authorities cannot be read: why.
    Authorities(String),
    /// The schema is not one that this version can use, now: why.
    Schema(String),
}

impl Fault {
    fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Database(error) => error.code(),
            _ => None,
        }
    }

    fn says(&self, text: &str) -> bool {
        let Self::Database(error) = self else { return false };
        error.as_db_error().is_some_and(|error| error.message().contains(text))
    }

    /// Whether another password may help.
    pub(super) fn is_refused_login(&self) -> bool {
        let code = self.code();
        code == Some(&SqlState::INVALID_PASSWORD)
            || code == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
            // A pooler's own words, with a code for all occasions.
            || (code == Some(&SqlState::PROTOCOL_VIOLATION) && (self.says("password") || self.says("auth")))
    }

    /// Whether a pooler stumbled over the startup parameter `options`.
    pub(super) fn is_refused_options(&self) -> bool {
        self.code() == Some(&SqlState::PROTOCOL_VIOLATION) && self.says("startup parameter")
    }

    /// Whether the tables are not there, or not as they should be.
    pub(super) fn is_schema(&self) -> bool {
        let code = self.code();
        code == Some(&SqlState::UNDEFINED_TABLE) || code == Some(&SqlState::UNDEFINED_COLUMN)
    }

    /// Whether it concerns every connection to the server and not this one alone.
    pub(super) fn is_the_server(&self) -> bool {
        match self {
            Self::Database(error) => match error.code() {
                // A class of its own for operators who end connections; and a server that takes no writes any more.
                Some(code) => code.code().starts_with("57P") || *code == SqlState::READ_ONLY_SQL_TRANSACTION,
                None => true,
            },
            Self::Closed => true,
            Self::Late(..) | Self::Password(..) | Self::Authorities(_) | Self::Schema(_) => false,
        }
    }

    /// Whether the connection broke, so that nobody knows what became of the statement.
    pub(super) fn is_break(&self) -> bool {
        match self {
            Self::Database(error) => error.code().is_none_or(|code| code.code().starts_with("57P")),
            Self::Closed => true,
            _ => false,
        }
    }

    /// As the driver's error, for whoever wants no other. The driver alone makes those, from what a stream says.
    pub(super) async fn into_error(self) -> Error {
        let said = match self {
            Self::Database(error) => return error,
            other => io::Error::other(other.to_string()),
        };
        let saying = join(StreamReader::new(stream::iter([Err::<Bytes, _>(said)])), sink());
        Config::new().user("").connect_raw(saying, NoTls).await.err().expect("the stream says nothing else")
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

impl From<PoolError> for Fault {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => Self::Database(error),
            PoolError::Timeout(_) => Self::Late("getting a connection", DEADLINE),
            PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => Self::Closed,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the server closed the connection"),
            Self::Late(what, limit) => write!(f, "{what} took longer than {limit:?}"),
            Self::Password(path, error) => write!(f, "store.password: {}: {error}", path.display()),
            Self::Authorities(why) => write!(f, "store.url: {why}"),
            Self::Schema(why) => f.write_str(why),
            Self::Database(error) => match error.as_db_error() {
                None => f.write_str(&chain(error)),
                Some(refusal) => {
                    let hint = mend(refusal.code()).map(|mend| format!("; {mend}")).unwrap_or_default();
                    write!(f, "{} ({}){hint}", refusal.message(), refusal.code().code())
                }
            },
        }
    }
}

impl From<Fault> for Unavailable {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault.to_string())
    }
}

fn mend(code: &SqlState) -> Option<&'static str> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_fault_on_the_way_to_a_connection_says_the_same_through_the_pool() {
        let nowhere = io::Error::from(io::ErrorKind::NotFound);
        for (fault, said) in [
            (Fault::Password("/run/secrets/database".into(), nowhere), "store.password: /run/secrets/database: "),
            (Fault::Late("connecting", Duration::from_secs(2)), "connecting took longer than 2s"),
        ] {
            let through = Fault::from(PoolError::Backend(fault.into_error().await)).to_string();
            assert!(through.contains(said), "{through}");
        }
    }
}

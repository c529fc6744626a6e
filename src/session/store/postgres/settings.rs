//! Settings of a PostgreSQL store.

use std::path::PathBuf;

use crate::session::store::postgres::url::PostgresUrl;

/// A server and how it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The server.
    pub url: PostgresUrl,
    /// Another way to the same server, for `LISTEN`, where `url` leads to a pooler.
    pub listen_url: Option<PostgresUrl>,
    /// File with the password, read for every connection; overrides those in the URLs.
    pub password_file: Option<PathBuf>,
    /// Most connections, the one that listens included. At least one.
    pub pool_size: usize,
}

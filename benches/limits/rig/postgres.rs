//! A real PostgreSQL and its CPU time. It does not wait for the disk, whose latency differs between machines;
//! `docs/scaling.md` says how to account for it.

use super::{
    account::Account,
    database::{self, Database},
};

/// A running server.
pub(crate) struct Postgres {
    server: Database,
    account: Account,
}

/// A database in it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    port: u16,
    name: String,
}

impl Postgres {
    /// Starts an empty server.
    pub(crate) fn start() -> Self {
        let server = Database::start();
        let master = server.sql("postgres", "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)");
        let account = Account::Process(master.parse().expect("the number of a process"));
        Self { server, account }
    }

    /// Creates an empty database.
    pub(crate) fn fresh(&self) -> Place {
        let url = self.server.create();
        Place { port: self.server.port, name: database::name_in(&url).to_owned() }
    }

    /// Runs a statement and returns its result as text.
    pub(crate) fn sql(&self, place: &Place, statement: &str) -> String {
        self.server.sql(&place.name, statement)
    }

    /// Returns the account of its CPU time.
    pub(crate) fn account(&self) -> &Account {
        &self.account
    }
}

impl Place {
    /// Returns its URL.
    pub(crate) fn url(&self) -> String {
        database::url(self.port, &self.name)
    }

    /// Returns the port of its server.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the same database behind another port.
    pub(crate) fn at(&self, port: u16) -> Self {
        Self { port, name: self.name.clone() }
    }
}

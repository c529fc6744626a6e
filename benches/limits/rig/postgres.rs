//! A real PostgreSQL of one's own, and the time that it takes. It does not wait for the disk: what a disk adds is the
//! machine's own, and `docs/scaling.md` says how to reckon with it.

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
    /// A server with nothing in it.
    pub(crate) fn start() -> Self {
        let server = Database::start();
        let master = server.sql("postgres", "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)");
        let account = Account::Process(master.parse().expect("the number of a process"));
        Self { server, account }
    }

    /// A new, empty database.
    pub(crate) fn fresh(&self) -> Place {
        let url = self.server.create();
        Place { port: self.server.port, name: database::name_in(&url).to_owned() }
    }

    /// What a statement gives, as text.
    pub(crate) fn sql(&self, place: &Place, statement: &str) -> String {
        self.server.sql(&place.name, statement)
    }

    /// Whose time on a core is its own.
    pub(crate) fn account(&self) -> &Account {
        &self.account
    }
}

impl Place {
    /// Its address.
    pub(crate) fn url(&self) -> String {
        database::url(self.port, &self.name)
    }

    /// The port of its server.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The same database behind another port.
    pub(crate) fn at(&self, port: u16) -> Self {
        Self { port, name: self.name.clone() }
    }
}

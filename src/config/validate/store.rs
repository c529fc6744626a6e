//! `[store]`: where sessions are kept.

use std::path::PathBuf;

use super::super::{
    complaint::Fault,
    reader::{Reader, Spot},
};
use crate::session::{Backend, postgres};

/// Keys that only a server needs.
const OF_A_SERVER: [&str; 3] = ["password", "pool_size", "listen_url"];

/// The most connections that one replica may want: PostgreSQL's own default is 100 for everybody.
const LARGEST_POOL: usize = 1_000;

pub(super) fn read(reader: &mut Reader<'_>, root: &Spot<'_>) -> Option<Backend> {
    let section = root.at("store")?;
    match reader.parsed(section.at("url").as_ref(), kind)? {
        Kind::Local(backend) => {
            for key in OF_A_SERVER {
                if let Some(spot) = section.at(key).filter(Spot::is_written) {
                    let problem = format!("has no effect: `store.url` is {}", backend.kind());
                    reader.complain(&spot, problem, "remove it, or keep sessions in PostgreSQL");
                }
            }
            Some(backend)
        }
        Kind::Server(address) => server(reader, &section, *address),
    }
}

/// What a URL leads to.
enum Kind {
    Local(Backend),
    Server(Box<postgres::PostgresUrl>),
}

fn server(reader: &mut Reader<'_>, section: &Spot<'_>, address: postgres::PostgresUrl) -> Option<Backend> {
    let listen = section.at("listen_url");
    let listen_address = reader.parsed(listen.as_ref(), |text| parse(text).map(Some));
    let pool_size = reader.number(section.at("pool_size").as_ref(), 1, LARGEST_POOL);
    if let (Some(spot), Some(1)) = (&listen, pool_size) {
        let hint = "make the pool larger, or remove it";
        reader.complain(spot, "has no effect: `store.pool_size` leaves no connection to listen with", hint);
    }
    let password = section.at("password");
    let plain = reader.plain_secret(password.as_ref());
    if password.is_some() && plain.is_none() || listen.is_some() && listen_address.is_none() {
        return None;
    }
    // A file is read again for every connection, so that a rotated password is found.
    let file = password.as_ref().and_then(|spot| spot.at("file")).and_then(|file| file.text()).map(PathBuf::from);
    let with_password = |address: postgres::PostgresUrl| match &plain {
        Some(plain) if file.is_none() => address.with_password(plain),
        _ => address,
    };
    let settings = postgres::Settings {
        url: with_password(address),
        listen_url: listen_address.flatten().map(with_password),
        password_file: file.clone(),
        pool_size: pool_size?,
    };
    Some(Backend::Postgres(Box::new(settings)))
}

fn kind(text: &str) -> Result<Kind, Fault> {
    let hint = "write \"postgres://doorward@db/doorward\", \"sqlite:/var/lib/doorward/sessions.db\", or \"memory:\" \
                where sessions may end with the process";
    match text.split_once(':') {
        Some(("memory", "")) => Ok(Kind::Local(Backend::Memory)),
        Some(("sqlite", ":memory:")) => Err(Fault::new("this would be kept in memory", "write \"memory:\"")),
        Some(("sqlite", path)) if path.starts_with("//") => {
            let path = path.trim_start_matches('/');
            Err(Fault::new(
                "a path follows the colon, not `//`",
                format!("write \"sqlite:/{path}\" or \"sqlite:{path}\""),
            ))
        }
        Some(("sqlite", path)) if !path.trim().is_empty() && !path.contains('\0') => {
            Ok(Kind::Local(Backend::Sqlite(PathBuf::from(path))))
        }
        Some(("postgres" | "postgresql", _)) => parse(text).map(|address| Kind::Server(Box::new(address))),
        // The text may hold a password; it is not repeated.
        _ => Err(Fault::new("this is no store", hint)),
    }
}

fn parse(text: &str) -> Result<postgres::PostgresUrl, Fault> {
    let hint = "write it as \"postgres://user@host:5432/database?sslmode=verify-full\"; special characters of the \
                password are percent-encoded, or `store.password` holds it";
    postgres::PostgresUrl::parse(text).map_err(|problem| Fault::new(format!("this is no address: {problem}"), hint))
}

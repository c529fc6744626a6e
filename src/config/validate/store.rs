//! `[store]`: the store of the sessions.

use std::path::PathBuf;

use super::super::{
    diagnostic::ValueError,
    reader::{self, Cursor, Reader},
};
use crate::session::{Backend, postgres};

/// Keys that apply to PostgreSQL only.
const POSTGRES_KEYS: [&str; 3] = ["password", "pool_size", "listen_url"];

/// Size limit of the pool of one replica; PostgreSQL's own default is 100 connections for all clients.
const MAX_POOL_SIZE: usize = 1_000;

pub(super) fn read(reader: &mut Reader<'_>, root: &Cursor<'_>) -> Option<Backend> {
    let section = root.at("store")?;
    match reader.parsed(section.at("url").as_ref(), store_url)? {
        StoreUrl::Local(backend) => {
            for key in POSTGRES_KEYS {
                if let Some(cursor) = section.at(key).filter(Cursor::is_written) {
                    let problem = format!("has no effect: `store.url` is {}", backend.kind());
                    reader.error(&cursor, problem, "remove it, or keep sessions in PostgreSQL");
                }
            }
            Some(backend)
        }
        StoreUrl::Postgres(address) => postgres_settings(reader, &section, *address),
    }
}

/// A parsed `store.url`.
enum StoreUrl {
    Local(Backend),
    Postgres(Box<postgres::PostgresUrl>),
}

fn postgres_settings(reader: &mut Reader<'_>, section: &Cursor<'_>, address: postgres::PostgresUrl) -> Option<Backend> {
    let listen = section.at("listen_url");
    let listen_address = reader.parsed(listen.as_ref(), |text| parse(&reader::secret("this URL", text)?).map(Some));
    let pool_size = reader.number(section.at("pool_size").as_ref(), 1, MAX_POOL_SIZE);
    if let (Some(cursor), Some(1)) = (&listen, pool_size) {
        let hint = "make the pool larger, or remove it";
        reader.error(cursor, "has no effect: `store.pool_size` leaves no connection to listen with", hint);
    }
    let password = section.at("password");
    let plain = reader.plain_secret(password.as_ref());
    if password.is_some() && plain.is_none() || listen.is_some() && listen_address.is_none() {
        return None;
    }
    // The store reads a file again for every connection, so that a rotated password is found.
    let file = password.as_ref().and_then(|cursor| cursor.at("file")).and_then(|file| file.text()).map(PathBuf::from);
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

fn store_url(text: &str) -> Result<StoreUrl, ValueError> {
    // It may hold the password, so it is read as a secret is.
    let text = reader::secret("this URL", text)?;
    let hint = "write \"postgres://doorward@db/doorward\", \"sqlite:/var/lib/doorward/sessions.db\", or \"memory:\" \
                where sessions may end with the process";
    match text.split_once(':') {
        Some(("memory", "")) => Ok(StoreUrl::Local(Backend::Memory)),
        Some(("sqlite", ":memory:")) => Err(ValueError::new("this would be kept in memory", "write \"memory:\"")),
        Some(("sqlite", path)) if path.starts_with("//") => {
            let path = path.trim_start_matches('/');
            Err(ValueError::new(
                "a path follows the colon, not `//`",
                format!("write \"sqlite:/{path}\" or \"sqlite:{path}\""),
            ))
        }
        Some(("sqlite", path)) if !path.trim().is_empty() && !path.contains('\0') => {
            Ok(StoreUrl::Local(Backend::Sqlite(PathBuf::from(path))))
        }
        Some(("postgres" | "postgresql", _)) => parse(&text).map(|address| StoreUrl::Postgres(Box::new(address))),
        // The text may contain a password and is not repeated.
        _ => Err(ValueError::new("this is no store", hint)),
    }
}

fn parse(text: &str) -> Result<postgres::PostgresUrl, ValueError> {
    let hint = "write it as \"postgres://user@host:5432/database?sslmode=verify-full\"; special characters of the \
                password are percent-encoded, or `store.password` holds it";
    postgres::PostgresUrl::parse(text)
        .map_err(|problem| ValueError::new(format!("this is no address: {problem}"), hint))
}

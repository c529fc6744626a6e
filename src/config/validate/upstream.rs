//! `server.proxy_listen` and `apps[].upstream`: reverse-proxy mode.

use std::net::SocketAddr;

use url::Url;

use super::super::{
    diagnostic::ValueError,
    reader::{self, Cursor, Reader},
};
use crate::{client_tls::Pem, upstream};

/// Reads the upstreams of all apps, by their place.
pub(super) fn read(reader: &mut Reader<'_>, root: &Cursor<'_>) -> Option<Vec<Option<upstream::Settings>>> {
    let apps = root.at("apps").map(|list| list.items()).unwrap_or_default();
    let listens = root.at("server").and_then(|section| section.at("proxy_listen")).is_some();
    let written: Vec<_> = apps.iter().map(|app| app.at("upstream")).collect();
    for upstream in written.iter().flatten().filter(|_| !listens) {
        let hint = "add server.proxy_listen, at which the gate serves the app, or remove it";
        reader.error(upstream, "has no effect: the gate is no reverse proxy", hint);
    }
    written.iter().map(|cursor| cursor.as_ref().map_or(Some(None), |cursor| of_app(reader, cursor).map(Some))).collect()
}

/// Reads the address of the listener; `None` is a mistake where it is written.
pub(super) fn listen(
    reader: &mut Reader<'_>,
    root: &Cursor<'_>,
    others: [(&str, SocketAddr); 2],
) -> Option<SocketAddr> {
    let cursor = root.at("server")?.at("proxy_listen")?;
    let address = reader.parsed(Some(&cursor), reader::address)?;
    let apps = root.at("apps").map(|list| list.items()).unwrap_or_default();
    if !apps.iter().any(|app| app.at("upstream").is_some()) {
        let hint = "give an app an `upstream`, or remove it";
        reader.error(&cursor, "has no effect: no app has an `upstream`", hint);
    }
    for (key, other) in others {
        let overlap = address.ip() == other.ip() || address.ip().is_unspecified() || other.ip().is_unspecified();
        // Port 0 is another free port for each listener.
        if address.port() == other.port() && address.port() != 0 && overlap {
            let hint = "give each listener a port of its own";
            reader.error(&cursor, format!("`server.proxy_listen` and `{key}` are the same"), hint);
        }
    }
    Some(address)
}

fn of_app(reader: &mut Reader<'_>, cursor: &Cursor<'_>) -> Option<upstream::Settings> {
    if !cursor.is_table() {
        return reader.parsed(Some(cursor), address).map(upstream::Settings::new);
    }
    let Some(written) = cursor.at("url") else {
        reader.error(cursor, "names no address", "add url = \"http://grafana:3000\"");
        return None;
    };
    let url = reader.parsed(Some(&written), address);
    let ca_file = cursor.at("ca_file");
    let ca = reader.content(ca_file.as_ref()).map(|(path, content)| Pem { path, content: content.into() });
    if let (Some(ca_file), Some("http")) = (&ca_file, url.as_ref().map(Url::scheme)) {
        reader.error(ca_file, "has no effect: the app is reached over http", "remove it");
    }
    let defaults = upstream::Settings::new(url?);
    let mut deadline = |name, default| match cursor.at(name) {
        Some(written) => reader.duration(Some(&written)),
        None => Some(default),
    };
    let connect_timeout = deadline("connect_timeout", defaults.connect_timeout);
    let first_byte_timeout = deadline("first_byte_timeout", defaults.first_byte_timeout);
    let silence_timeout = deadline("silence_timeout", defaults.silence_timeout);
    (ca_file.is_some() == ca.is_some()).then_some(())?;
    Some(upstream::Settings {
        ca,
        connect_timeout: connect_timeout?,
        first_byte_timeout: first_byte_timeout?,
        silence_timeout: silence_timeout?,
        ..defaults
    })
}

/// Parses the address of an app.
fn address(text: &str) -> Result<Url, ValueError> {
    let hint = "write it as \"http://grafana:3000\", with a path only where the app is below one";
    let url = Url::parse(text).map_err(|error| ValueError::new(format!("`{text}` is no address: {error}"), hint))?;
    let problem = match &url {
        url if !matches!(url.scheme(), "http" | "https") => "is neither http nor https",
        url if !url.username().is_empty() || url.password().is_some() => "has a user name or a password",
        url if url.query().is_some() || url.fragment().is_some() => "has a query or a fragment",
        _ => return Ok(url),
    };
    // Not shown: it may hold a password.
    Err(ValueError::new(format!("the address {problem}"), hint))
}

//! Every value in force and where it came from, with the secrets masked.

use std::path::Path;

use super::{
    complaint::Origin,
    files::{Files, Print},
    schema::{self, Change, Child, Key, Kind},
    shape,
    tree::{Data, Node},
};
use crate::crypto;

/// What stands in place of a secret.
const MASK: &str = "********";

/// A value in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// Its key, such as `apps[0].hosts`.
    pub key: String,
    /// Its value as TOML, or asterisks.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
    /// Tells it from another value, be it masked or in a file.
    pub(super) print: Print,
}

/// All values of a completed tree, in the order of the reference.
pub(super) fn list(root: &Node, files: &Files) -> Vec<Effective> {
    let mut list = List { files, values: Vec::new() };
    list.section("", "", root);
    list.values
}

/// A short hash of all values, to tell replicas apart that should be the same. Secrets take no part: they are masked.
pub(super) fn hash(values: &[Effective]) -> String {
    let lines: Vec<_> = values.iter().map(|value| format!("{} = {}", value.key, value.value)).collect();
    let digest = crypto::digest(lines.join("\n").as_bytes());
    let (short, _) = digest.split_first_chunk::<9>().expect("SHA-256 gives 32 bytes");
    crypto::encode(short)
}

struct List<'f> {
    files: &'f Files,
    values: Vec<Effective>,
}

impl List<'_> {
    fn section(&mut self, path: &str, at: &str, node: &Node) {
        let Data::Table(table) = &node.data else { return };
        for (name, child) in schema::children(path) {
            let Some(node) = table.get(name) else { continue };
            let at = shape::join(at, name);
            match (child, &node.data) {
                (Child::Key(key), Data::List(secrets)) if key.kind == Kind::List(&Kind::Secret) => {
                    for (place, secret) in secrets.iter().enumerate() {
                        self.value(key, format!("{at}[{place}]"), secret);
                    }
                }
                (Child::Key(key), _) => self.value(key, at, node),
                (Child::Section(below), _) => self.section(below.path, &at, node),
                (Child::List(element), Data::List(list)) => {
                    for (place, node) in list.iter().enumerate() {
                        self.section(element.path, &format!("{at}[{place}]"), node);
                    }
                }
                (Child::List(_), _) => {}
            }
        }
    }

    fn value(&mut self, schema: &Key, key: String, node: &Node) {
        let (value, origin) = match (schema.kind, &node.data) {
            (Kind::Secret | Kind::List(&Kind::Secret), _) => (MASK.to_owned(), kept_at(node)),
            (Kind::Url, Data::Text(url)) => {
                let shown = Node { origin: node.origin.clone(), data: Data::Text(without_password(url)) };
                (shown.to_string(), node.origin.clone())
            }
            _ => (node.to_string(), node.origin.clone()),
        };
        let file = match (&origin, &node.data) {
            // Whoever uses it reads it again.
            _ if schema.change == Change::Restart => None,
            (Origin::SecretFile(path), _) => self.files.print(path),
            (_, Data::Text(path)) if schema.kind == Kind::File => self.files.print(Path::new(path)),
            _ => None,
        };
        let print = Print::of(node.to_string().as_bytes()).with(file);
        self.values.push(Effective { key, value, origin, print });
    }
}

/// Where a secret is kept.
fn kept_at(secret: &Node) -> Origin {
    let kept = |name: &str| match &secret.data {
        Data::Table(table) => table.get(name).and_then(|node| match &node.data {
            Data::Text(text) => Some(text.clone()),
            _ => None,
        }),
        _ => None,
    };
    let file = kept("file").map(|path| Origin::SecretFile(path.into()));
    file.or_else(|| kept("env").map(Origin::Environment)).unwrap_or_else(|| secret.origin.clone())
}

/// A URL with the mask in place of every password, however wrong the URL is.
fn without_password(url: &str) -> String {
    let (server, query) = url.split_once('?').map_or((url, None), |(server, query)| (server, Some(query)));
    let server = match server.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?))) {
        Some((scheme, (owner, host))) if owner.contains(':') => {
            let user = owner.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}:{MASK}@{host}")
        }
        _ => server.to_owned(),
    };
    let pair = |pair: &str| if pair.starts_with("password=") { format!("password={MASK}") } else { pair.to_owned() };
    match query {
        Some(query) => format!("{server}?{}", query.split('&').map(pair).collect::<Vec<_>>().join("&")),
        None => server,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_password() {
        for (url, shown) in [
            ("sqlite:doorward.db", "sqlite:doorward.db"),
            ("postgres://ann@db/x", "postgres://ann@db/x"),
            ("postgres://ann:secret@db/x?sslmode=require", "postgres://ann:********@db/x?sslmode=require"),
            ("postgres://ann:se@c:ret@one,two/x", "postgres://ann:********@one,two/x"),
            ("postgres://db/x?user=ann&password=secret", "postgres://db/x?user=ann&password=********"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}

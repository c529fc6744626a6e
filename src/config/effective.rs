//! Every value in force with its origin, secrets masked, and the hash over them.

use std::path::Path;

use super::{
    diagnostic::Origin,
    files::{Fingerprint, SourceFiles},
    schema::{self, AppliesOn, Child, KeySpec, ValueKind},
    shape,
    tree::{Node, TomlValue},
};
use crate::crypto;

/// Printed in place of a secret.
const MASK: &str = "********";

/// One value in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveValue {
    /// Key, such as `apps[0].hosts`.
    pub key: String,
    /// Value as TOML, or the mask of a secret.
    pub value: String,
    /// Origin of the value.
    pub origin: Origin,
    /// Fingerprint of the value itself, which is comparable even where `value` is masked or names a file.
    pub(super) fingerprint: Fingerprint,
}

/// Returns all values of a completed tree, in the order of the reference page.
pub(super) fn list(root: &Node, files: &SourceFiles) -> Vec<EffectiveValue> {
    let mut collector = Collector { files, values: Vec::new() };
    collector.section("", "", root);
    collector.values
}

/// Returns a short hash of all values, for comparing replicas that should have the same. Secrets are masked, so they do
/// not affect it.
pub(super) fn hash(values: &[EffectiveValue]) -> String {
    let lines: Vec<_> = values.iter().map(|value| format!("{} = {}", value.key, value.value)).collect();
    let digest = crypto::digest(lines.join("\n").as_bytes());
    let (short, _) = digest.split_first_chunk::<9>().expect("SHA-256 gives 32 bytes");
    crypto::encode(short)
}

struct Collector<'f> {
    files: &'f SourceFiles,
    values: Vec<EffectiveValue>,
}

impl Collector<'_> {
    fn section(&mut self, path: &str, at: &str, node: &Node) {
        let TomlValue::Table(table) = &node.value else { return };
        for (name, child) in schema::children(path) {
            let Some(node) = table.get(name) else { continue };
            let at = shape::join(at, name);
            match (child, &node.value) {
                (Child::Key(key), TomlValue::List(secrets)) if key.kind == ValueKind::List(&ValueKind::Secret) => {
                    for (place, secret) in secrets.iter().enumerate() {
                        self.value(key, format!("{at}[{place}]"), secret);
                    }
                }
                (Child::Key(key), _) => self.value(key, at, node),
                (Child::Section(below), _) => self.section(below.path, &at, node),
                (Child::List(element), TomlValue::List(list)) => {
                    for (place, node) in list.iter().enumerate() {
                        self.section(element.path, &format!("{at}[{place}]"), node);
                    }
                }
                (Child::List(_), _) => {}
            }
        }
    }

    fn value(&mut self, schema: &KeySpec, key: String, node: &Node) {
        let (value, origin) = match (schema.kind, &node.value) {
            (ValueKind::Secret | ValueKind::List(&ValueKind::Secret), _) => (MASK.to_owned(), secret_origin(node)),
            (ValueKind::Url, TomlValue::Text(url)) => {
                let shown = Node { origin: node.origin.clone(), value: TomlValue::Text(without_password(url)) };
                (shown.to_string(), node.origin.clone())
            }
            _ => (node.to_string(), node.origin.clone()),
        };
        let file = match (&origin, &node.value) {
            // Read again by its user: the listener its certificates, the store its password.
            _ if schema.applies_on == AppliesOn::Restart => None,
            (Origin::SecretFile(path), _) => self.files.fingerprint(path),
            (_, TomlValue::Text(path)) if schema.kind == ValueKind::File => self.files.fingerprint(Path::new(path)),
            _ => None,
        };
        let fingerprint = Fingerprint::of(node.to_string().as_bytes()).with(file);
        self.values.push(EffectiveValue { key, value, origin, fingerprint });
    }
}

/// Returns the origin of a secret: its file, its variable, or the place where it is written.
fn secret_origin(secret: &Node) -> Origin {
    let named = |name: &str| match &secret.value {
        TomlValue::Table(table) => table.get(name).and_then(|node| match &node.value {
            TomlValue::Text(text) => Some(text.clone()),
            _ => None,
        }),
        _ => None,
    };
    let file = named("file").map(|path| Origin::SecretFile(path.into()));
    file.or_else(|| named("env").map(Origin::Environment)).unwrap_or_else(|| secret.origin.clone())
}

/// Returns a URL with the mask in place of every password, even where the URL is invalid.
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

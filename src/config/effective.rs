//! Every value in force and where it came from, with the secrets masked.

use super::{
    complaint::Origin,
    schema::{self, Child, Kind},
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
}

/// All values of a completed tree, in the order of the reference.
pub(super) fn list(root: &Node) -> Vec<Effective> {
    let mut values = Vec::new();
    section("", "", root, &mut values);
    values
}

/// A short hash of all values, to tell replicas apart that should be the same. Secrets take no part: they are masked.
pub(super) fn hash(values: &[Effective]) -> String {
    let lines: Vec<_> = values.iter().map(|value| format!("{} = {}", value.key, value.value)).collect();
    let digest = crypto::digest(lines.join("\n").as_bytes());
    let (short, _) = digest.split_first_chunk::<9>().expect("SHA-256 gives 32 bytes");
    crypto::encode(short)
}

fn section(path: &str, at: &str, node: &Node, values: &mut Vec<Effective>) {
    let Data::Table(table) = &node.data else { return };
    for (name, child) in schema::children(path) {
        let Some(node) = table.get(name) else { continue };
        let at = shape::join(at, name);
        match (child, &node.data) {
            (Child::Key(key), Data::List(secrets)) if key.kind == Kind::List(&Kind::Secret) => {
                let elements = secrets.iter().enumerate();
                values.extend(elements.map(|(place, secret)| masked(format!("{at}[{place}]"), secret)));
            }
            (Child::Key(key), _) if key.kind == Kind::Secret => values.push(masked(at, node)),
            (Child::Key(key), Data::Text(url)) if key.kind == Kind::Url => {
                let node = Node { origin: node.origin.clone(), data: Data::Text(without_password(url)) };
                values.push(Effective { key: at, value: node.to_string(), origin: node.origin });
            }
            (Child::Key(_), _) => {
                values.push(Effective { key: at, value: node.to_string(), origin: node.origin.clone() });
            }
            (Child::Section(below), _) => section(below.path, &at, node, values),
            (Child::List(element), Data::List(list)) => {
                for (place, node) in list.iter().enumerate() {
                    section(element.path, &format!("{at}[{place}]"), node, values);
                }
            }
            (Child::List(_), _) => {}
        }
    }
}

fn masked(key: String, secret: &Node) -> Effective {
    let kept = |name: &str| match &secret.data {
        Data::Table(table) => table.get(name).and_then(|node| match &node.data {
            Data::Text(text) => Some(text.clone()),
            _ => None,
        }),
        _ => None,
    };
    let file = kept("file").map(|path| Origin::SecretFile(path.into()));
    let origin = file.or_else(|| kept("env").map(Origin::Environment)).unwrap_or_else(|| secret.origin.clone());
    Effective { key, value: MASK.to_owned(), origin }
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

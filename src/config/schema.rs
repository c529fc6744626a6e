//! The schema: the one table of keys that parsing, defaults, `check`, suggestions and the reference page all use.
//!
//! It describes the shape of a value; `validate` judges its meaning.

mod adopt;
mod apps;
mod attributes;
mod bearer;
mod emergency;
mod limits;
mod providers;
mod sections;
mod spec;
mod table;
mod tokens;
mod upstream;

use self::{
    adopt::ADOPT_KEYS, apps::APP_KEYS, attributes::ATTRIBUTE_KEYS, bearer::BEARER_KEYS, emergency::EMERGENCY_KEYS,
    limits::LIMIT_KEYS, providers::PROVIDER_KEYS, tokens::TOKEN_KEYS, upstream::UPSTREAM_KEYS,
};
pub(super) use self::{
    sections::SECTIONS,
    spec::{
        AppliesOn, Child, DefaultValue, KeySpec, PREFIX, Presence, REGEX, SECRET_SOURCES, UPSTREAM_FIELDS, ValueKind,
    },
};
use super::tree::Segment;

/// The tables of keys, in the order of the reference page.
const TABLES: &[&[KeySpec]] = &[
    table::KEYS,
    LIMIT_KEYS,
    APP_KEYS,
    UPSTREAM_KEYS,
    ATTRIBUTE_KEYS,
    PROVIDER_KEYS,
    BEARER_KEYS,
    TOKEN_KEYS,
    EMERGENCY_KEYS,
    ADOPT_KEYS,
];

/// All keys. Those of one section are in the order of the reference page.
pub(super) const KEYS: &[KeySpec] = &joined::<{ count(TABLES) }>(TABLES);

/// Destination of a path: a value of some kind, or one or more sections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathTarget {
    Value(ValueKind),
    Sections,
}

/// Returns how many keys tables have.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which refuses an index that is not there")]
const fn count(tables: &[&[KeySpec]]) -> usize {
    let (mut keys, mut table) = (0, 0);
    while table < tables.len() {
        keys += tables[table].len();
        table += 1;
    }
    keys
}

/// Returns the keys of tables, `N` in all, as one table.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which refuses an index that is not there")]
const fn joined<const N: usize>(tables: &[&[KeySpec]]) -> [KeySpec; N] {
    let mut all = [tables[0][0]; N];
    let (mut at, mut table) = (0, 0);
    while table < tables.len() {
        let mut key = 0;
        while key < tables[table].len() {
            all[at] = tables[table][key];
            at += 1;
            key += 1;
        }
        table += 1;
    }
    all
}

/// Returns the names in a section in the order of the reference page: its keys, then the sections below it.
pub(super) fn children(section: &str) -> impl Iterator<Item = (&'static str, Child)> {
    let keys = KEYS.iter().map(|key| (key.place(), Child::Key(key)));
    let sections = SECTIONS.iter().map(|section| (section.place(), section.child()));
    keys.chain(sections).filter(move |((parent, _), _)| *parent == section).map(|((_, name), child)| (name, child))
}

/// Returns the child of a section with this name.
pub(super) fn child(section: &str, name: &str) -> Option<Child> {
    children(section).find(|(own, _)| *own == name).map(|(_, child)| child)
}

/// Follows a path from the root; returns `None` where it leads to no key.
pub(super) fn target(segments: &[Segment]) -> Option<PathTarget> {
    let mut segments = segments.iter();
    let mut section = "";
    while let Some(segment) = segments.next() {
        let Segment::Key(name) = segment else { return None };
        match child(section, name)? {
            Child::Key(key) => return segments.try_fold(key.kind, ValueKind::inside).map(PathTarget::Value),
            Child::Section(below) => section = below.path,
            Child::List(element) => match segments.next() {
                None => break,
                Some(Segment::Index(_)) => section = element.path,
                Some(Segment::Key(_)) => return None,
            },
        }
    }
    Some(PathTarget::Sections)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(path: &str) -> Vec<Segment> {
        path.split('/')
            .map(|name| name.parse().map_or_else(|_| Segment::Key(name.to_owned()), Segment::Index))
            .collect()
    }

    #[test]
    fn every_key_and_section_is_in_a_section_of_the_table() {
        let known = |parent: &str| parent.is_empty() || SECTIONS.iter().any(|section| section.path == parent);
        for key in KEYS {
            assert!(known(key.place().0) && !key.place().0.is_empty(), "{}", key.path);
            assert!(key.doc.ends_with('.'), "{}", key.path);
        }
        for section in SECTIONS {
            assert!(known(section.place().0), "{}", section.path);
        }
    }

    #[test]
    fn no_key_occurs_twice() {
        let mut paths: Vec<_> = KEYS.iter().map(|key| key.path).chain(SECTIONS.iter().map(|s| s.path)).collect();
        let all = paths.len();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), all);
    }

    #[test]
    fn paths_lead_to_keys_and_to_the_values_inside_them() {
        for (path, expected) in [
            ("server/listen", Some(PathTarget::Value(ValueKind::Address))),
            ("server/tls/cert", Some(PathTarget::Value(ValueKind::File))),
            ("server", Some(PathTarget::Sections)),
            ("providers", Some(PathTarget::Sections)),
            ("providers/0", Some(PathTarget::Sections)),
            ("providers/0/client_secret", Some(PathTarget::Value(ValueKind::Secret))),
            ("providers/0/client_secret/env", Some(PathTarget::Value(ValueKind::Text))),
            ("session/secrets/1/file", Some(PathTarget::Value(ValueKind::Text))),
            ("apps/0/rules/3/networks/2", Some(PathTarget::Value(ValueKind::Network))),
            ("apps/0/allow/claims/team/0", Some(PathTarget::Value(ValueKind::Text))),
            ("providers/name", None),
            ("providers/0/client_secret/vault", None),
            ("listen", None),
            ("server/listen/0", None),
            ("0", None),
        ] {
            assert_eq!(target(&segments(path)), expected, "{path}");
        }
    }
}

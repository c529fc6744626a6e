//! Checks the tree against the schema and fills in the defaults.
//!
//! A value that does not fit is reported once and then marked invalid, so that later readers do not report it again.

use super::{
    diagnostic::{Diagnostic, Origin, ValueError},
    schema::{self, Child, DefaultValue, PREFIX, Presence, REGEX, SECRET_SOURCES, UPSTREAM_FIELDS, ValueKind},
    suggest,
    tree::{self, Node, TomlValue, parse_value, quoted_key},
};

/// Checks the whole tree and completes it with the defaults.
pub(super) fn complete(root: &mut Node) -> Vec<Diagnostic> {
    let mut check = SchemaCheck { diagnostics: Vec::new() };
    check.section("", "", root);
    check.diagnostics
}

struct SchemaCheck {
    diagnostics: Vec<Diagnostic>,
}

impl SchemaCheck {
    fn invalidate(&mut self, at: &str, node: &mut Node, error: ValueError) {
        self.diagnostics.push(error.at(at, &node.origin));
        node.value = TomlValue::Invalid;
    }

    /// Checks a section. `path` is its path in the schema, `at` the same with indices.
    fn section(&mut self, path: &str, at: &str, node: &mut Node) {
        let TomlValue::Table(table) = &mut node.value else {
            let error = ValueError::new(format!("this is {}", node.value.type_name()), "a section is a table of keys");
            return self.invalidate(at, node, error);
        };
        for (name, value) in table.iter_mut() {
            let below = join(at, name);
            match schema::child(path, name) {
                Some(Child::Key(key)) => self.value(key.kind, &below, value),
                Some(Child::Section(section)) => self.section(section.path, &below, value),
                Some(Child::List(element)) => self.sections(element.path, &below, value),
                None => {
                    self.invalidate(&below, value, ValueError::new("there is no such key", suggest::key(path, name)));
                }
            }
        }
        for (name, child) in schema::children(path) {
            if !table.contains_key(name) {
                let value = self.default_of(&join(at, name), &node.origin, &child);
                table.extend(value.map(|value| (name.to_owned(), value)));
            }
        }
    }

    fn sections(&mut self, path: &str, at: &str, node: &mut Node) {
        let TomlValue::List(list) = &mut node.value else {
            let (_, name) = path.rsplit_once('.').unwrap_or(("", path));
            let hint = format!("each one begins with a line [[{}]]", path.replace("[]", ""));
            let error = ValueError::new(format!("`{}` is a list", name.trim_end_matches("[]")), hint);
            return self.invalidate(at, node, error);
        };
        for (place, element) in list.iter_mut().enumerate() {
            self.section(path, &format!("{at}[{place}]"), element);
        }
    }

    /// Returns the value in force for a child that is not written.
    fn default_of(&mut self, at: &str, section: &Origin, child: &Child) -> Option<Node> {
        match child {
            Child::Key(key) => match key.default {
                DefaultValue::Is(toml) => parse_value(&Origin::Default, toml),
                DefaultValue::Absent(_) => None,
                DefaultValue::Required => {
                    self.diagnostics.push(ValueError::new("is missing", key.doc).at(at, section));
                    Some(Node::invalid(Origin::Default))
                }
            },
            Child::Section(below) if below.presence == Presence::Always => {
                // With the origin of its parent, so that a missing key is reported where it would have to be written.
                let mut node = Node::table(section.clone());
                self.section(below.path, at, &mut node);
                Some(node)
            }
            Child::Section(_) | Child::List(_) => None,
        }
    }

    fn value(&mut self, kind: ValueKind, at: &str, node: &mut Node) {
        match (kind, &mut node.value) {
            (_, TomlValue::Invalid)
            | (ValueKind::Flag, TomlValue::Flag(_))
            | (ValueKind::Number, TomlValue::Other(tree::NUMBER, _)) => {}
            (ValueKind::Choice(words), TomlValue::Text(text)) => {
                if !words.contains(&text.as_str()) {
                    let error = ValueError::new(
                        format!("`{text}` is none of its words"),
                        suggest::among(text, words.iter().copied()),
                    );
                    self.invalidate(at, node, error);
                }
            }
            (kind, TomlValue::Text(_)) if kind.takes_text() => {}
            (ValueKind::List(kind), TomlValue::List(list)) => {
                for (place, element) in list.iter_mut().enumerate() {
                    self.value(*kind, &format!("{at}[{place}]"), element);
                }
            }
            (ValueKind::ClaimPath | ValueKind::TextOrList | ValueKind::Domains, TomlValue::List(names)) => {
                for (place, name) in names.iter_mut().enumerate() {
                    self.value(ValueKind::Text, &format!("{at}[{place}]"), name);
                }
            }
            (ValueKind::Table(kind), TomlValue::Table(table)) => {
                for (name, value) in table {
                    self.value(*kind, &join(at, name), value);
                }
            }
            (ValueKind::Headers, TomlValue::Table(table)) => {
                for (name, value) in table {
                    self.value(ValueKind::Text, &join(at, name), value);
                }
            }
            (ValueKind::Secret, TomlValue::Table(_)) => self.one_of(SECRET_SOURCES, at, node),
            (ValueKind::Path, TomlValue::Table(_)) => self.one_of(&[PREFIX, REGEX], at, node),
            (ValueKind::Upstream, TomlValue::Table(_)) => self.each_of(UPSTREAM_FIELDS, at, node),
            (kind, value) => {
                let problem = format!("this is {}, and not {}", value.type_name(), kind.describe());
                self.invalidate(at, node, ValueError::new(problem, format!("for instance {}", kind.example())));
            }
        }
    }

    /// Checks a table in place of a scalar: exactly one of these keys, with text.
    fn one_of(&mut self, names: &'static [&'static str], at: &str, node: &mut Node) {
        self.each_of(names, at, node);
        let TomlValue::Table(table) = &node.value else { return };
        let count = table.len();
        if count != 1 {
            let hint = format!(
                "write {}",
                names.iter().map(|name| format!("{{ {name} = \"…\" }}")).collect::<Vec<_>>().join(" or ")
            );
            self.invalidate(at, node, ValueError::new(format!("exactly one key is needed here, not {count}"), hint));
        }
    }

    /// Checks a table in place of a scalar: some of these keys, with text.
    fn each_of(&mut self, names: &'static [&'static str], at: &str, node: &mut Node) {
        let TomlValue::Table(table) = &mut node.value else { return };
        for (name, value) in table.iter_mut() {
            let below = join(at, name);
            if names.contains(&name.as_str()) {
                self.value(ValueKind::Text, &below, value);
            } else {
                let hint = suggest::among(name, names.iter().copied());
                self.invalidate(&below, value, ValueError::new("there is no such key", hint));
            }
        }
    }
}

/// Joins a key and a name below it: `apps[0]` and `hosts` make `apps[0].hosts`.
pub(super) fn join(at: &str, name: &str) -> String {
    if at.is_empty() { quoted_key(name) } else { format!("{at}.{}", quoted_key(name)) }
}

/// Returns a key without indices, as the schema writes it: `apps[].name` for `apps[3].name`.
pub(super) fn without_indices(key: &str) -> String {
    key.split('[').enumerate().fold(String::new(), |path, (place, part)| {
        if place == 0 { part.to_owned() } else { path + "[" + part.trim_start_matches(|c: char| c.is_ascii_digit()) }
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{super::tree, *};

    fn diagnostics(text: &str) -> Vec<String> {
        let mut root = tree::parse(Path::new("f"), text).ok().unwrap();
        complete(&mut root).iter().map(|diagnostic| diagnostic.to_string().replace("\n    ", " | ")).collect()
    }

    const REST: &str = "[session]\nsecrets = ['x']\n";

    #[test]
    fn a_value_that_does_not_fit_the_schema_is_reported_once_at_its_place() {
        for (text, expected) in [
            ("[server]\nlistn = 'x'", "f:4: server.listn: there is no such key | did you mean `listen`?"),
            (
                "[server]\nlisten = 9000",
                "f:4: server.listen: this is a number, and not an IP address and port | for instance \"127.0.0.1:9000\"",
            ),
            ("[log]\nlevel = 'inof'", "f:4: log.level: `inof` is none of its words | did you mean `info`?"),
            ("[server]\ntls = { cert = 'c' }", "f:4: server.tls.key: is missing | The certificate's key, PEM."),
            (
                "[providers]\nname = 'x'",
                "f:3: providers: `providers` is a list | each one begins with a line [[providers]]",
            ),
            (
                "[store]\nurl = ['memory:']",
                "f:4: store.url: this is a list, and not a URL | for instance \"postgres://user@host/database\"",
            ),
            (
                "[adopt]\nurl = 'http://x'\nx = 1",
                "f:5: adopt.x: there is no such key | there is `url`, `lifetime`, `provider`, `per_minute`",
            ),
            (
                "[[apps]]\nname='a'\nhosts=['a']\n[[apps.rules]]\npath={glob='a'}",
                "f:7: apps[0].rules[0].path.glob: there is no such key | there is `prefix`, `regex`",
            ),
        ] {
            assert_eq!(diagnostics(&format!("{REST}{text}\n")), [expected]);
        }
    }

    #[test]
    fn a_secret_is_kept_in_one_place() {
        for (secret, expected) in [
            ("{}", "f:2: session.secrets[0]: exactly one key is needed here, not 0"),
            ("{ file = 'a', env = 'b' }", "f:2: session.secrets[0]: exactly one key is needed here, not 2"),
            ("{ fil = 'a' }", "f:2: session.secrets[0].fil: there is no such key | did you mean `file`?"),
            ("{ file = 1 }", "f:2: session.secrets[0].file: this is a number"),
            ("7", "f:2: session.secrets[0]: this is a number"),
        ] {
            let found = diagnostics(&format!("[session]\nsecrets = [{secret}]\n"));
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].starts_with(expected), "{found:?}");
        }
    }

    #[test]
    fn defaults_fill_in_for_keys_that_are_not_written() {
        let mut root = tree::parse(Path::new("f"), "[session]\nsecrets = ['x']\nlifetime = '2s'\n").ok().unwrap();
        assert!(complete(&mut root).is_empty());
        let printed = root.to_string();
        for expected in [r#"lifetime = "2s""#, r#"idle_timeout = "7d""#, r#"url = "sqlite:doorward.db""#, "brand = {}"]
        {
            assert!(printed.contains(expected), "{expected} in {printed}");
        }
    }

    #[test]
    fn every_default_fits_its_own_kind() {
        for key in schema::KEYS {
            if let DefaultValue::Is(toml) = key.default {
                let mut node = parse_value(&Origin::Default, toml).unwrap();
                let mut check = SchemaCheck { diagnostics: Vec::new() };
                check.value(key.kind, key.path, &mut node);
                assert_eq!(check.diagnostics, [], "{}", key.path);
            }
        }
    }
}

//! Whether the tree has the shape that the schema says, and the defaults where nothing was written.
//!
//! What does not fit is spoiled after the complaint, so that nobody who reads the tree complains again.

use super::{
    complaint::{Complaint, Fault, Origin},
    schema::{self, Child, Default, Kind, PREFIX, Presence, SECRET_SOURCES},
    suggest,
    tree::{self, Data, Node, bare, parse_value},
};

/// Checks the whole tree and completes it with the defaults.
pub(super) fn complete(root: &mut Node) -> Vec<Complaint> {
    let mut shaper = Shaper { complaints: Vec::new() };
    shaper.section("", "", root);
    shaper.complaints
}

struct Shaper {
    complaints: Vec<Complaint>,
}

impl Shaper {
    fn spoil(&mut self, at: &str, node: &mut Node, fault: Fault) {
        self.complaints.push(fault.at(at, &node.origin));
        node.data = Data::Spoiled;
    }

    /// `path` is the section's in the schema, `at` the same with places in lists.
    fn section(&mut self, path: &str, at: &str, node: &mut Node) {
        let Data::Table(table) = &mut node.data else {
            let fault = Fault::new(format!("this is {}", node.data.kind()), "a section is a table of keys");
            return self.spoil(at, node, fault);
        };
        for (name, value) in table.iter_mut() {
            let below = join(at, name);
            match schema::child(path, name) {
                Some(Child::Key(key)) => self.value(key.kind, &below, value),
                Some(Child::Section(section)) => self.section(section.path, &below, value),
                Some(Child::List(element)) => self.sections(element.path, &below, value),
                None => self.spoil(&below, value, Fault::new("there is no such key", suggest::key(path, name))),
            }
        }
        for (name, child) in schema::children(path) {
            if !table.contains_key(name) {
                let value = self.absent(&join(at, name), &node.origin, &child);
                table.extend(value.map(|value| (name.to_owned(), value)));
            }
        }
    }

    fn sections(&mut self, path: &str, at: &str, node: &mut Node) {
        let Data::List(list) = &mut node.data else {
            let (_, name) = path.rsplit_once('.').unwrap_or(("", path));
            let hint = format!("each one begins with a line [[{}]]", path.replace("[]", ""));
            let fault = Fault::new(format!("`{}` is a list", name.trim_end_matches("[]")), hint);
            return self.spoil(at, node, fault);
        };
        for (place, element) in list.iter_mut().enumerate() {
            self.section(path, &format!("{at}[{place}]"), element);
        }
    }

    /// What is in force for something that was not written.
    fn absent(&mut self, at: &str, section: &Origin, child: &Child) -> Option<Node> {
        match child {
            Child::Key(key) => match key.default {
                Default::Is(toml) => parse_value(&Origin::Default, toml),
                Default::Absent(_) => None,
                Default::Required => {
                    self.complaints.push(Fault::new("is missing", key.doc).at(at, section));
                    Some(Node::spoiled(Origin::Default))
                }
            },
            Child::Section(below) if below.presence == Presence::Always => {
                // Where the section would have to be written: what is missing in it is reported there.
                let mut node = Node::table(section.clone());
                self.section(below.path, at, &mut node);
                Some(node)
            }
            Child::Section(_) | Child::List(_) => None,
        }
    }

    fn value(&mut self, kind: Kind, at: &str, node: &mut Node) {
        match (kind, &mut node.data) {
            (_, Data::Spoiled) | (Kind::Flag, Data::Flag(_)) | (Kind::Number, Data::Other(tree::NUMBER, _)) => {}
            (Kind::Choice(words), Data::Text(text)) => {
                if !words.contains(&text.as_str()) {
                    let fault = Fault::new(
                        format!("`{text}` is none of its words"),
                        suggest::among(text, words.iter().copied()),
                    );
                    self.spoil(at, node, fault);
                }
            }
            (kind, Data::Text(_)) if kind.takes_text() => {}
            (Kind::List(kind), Data::List(list)) => {
                for (place, element) in list.iter_mut().enumerate() {
                    self.value(*kind, &format!("{at}[{place}]"), element);
                }
            }
            (Kind::Table(kind), Data::Table(table)) => {
                for (name, value) in table {
                    self.value(*kind, &join(at, name), value);
                }
            }
            (Kind::Headers, Data::Table(table)) => {
                for (name, value) in table {
                    self.value(Kind::Text, &join(at, name), value);
                }
            }
            (Kind::Secret, Data::Table(_)) => self.one_of(SECRET_SOURCES, at, node),
            (Kind::Path, Data::Table(_)) => self.one_of(&[PREFIX], at, node),
            (kind, data) => {
                let problem = format!("this is {}, and not {}", data.kind(), kind.describe());
                self.spoil(at, node, Fault::new(problem, format!("for instance {}", kind.example())));
            }
        }
    }

    /// A table that stands for a value: exactly one of these keys, with text.
    fn one_of(&mut self, names: &'static [&'static str], at: &str, node: &mut Node) {
        let Data::Table(table) = &mut node.data else { return };
        let count = table.len();
        for (name, value) in table.iter_mut() {
            let below = join(at, name);
            if names.contains(&name.as_str()) {
                self.value(Kind::Text, &below, value);
            } else {
                let absent = suggest::absent_here(&places_removed(&below)).map(ToOwned::to_owned);
                let hint = absent.unwrap_or_else(|| suggest::among(name, names.iter().copied()));
                self.spoil(&below, value, Fault::new("there is no such key", hint));
            }
        }
        if count != 1 {
            let hint = format!(
                "write {}",
                names.iter().map(|name| format!("{{ {name} = \"…\" }}")).collect::<Vec<_>>().join(" or ")
            );
            self.spoil(at, node, Fault::new(format!("exactly one key is needed here, not {count}"), hint));
        }
    }
}

/// The key below a key: `apps[0]` and `hosts` make `apps[0].hosts`.
pub(super) fn join(at: &str, name: &str) -> String {
    if at.is_empty() { bare(name) } else { format!("{at}.{}", bare(name)) }
}

/// `apps[3].name` as the schema writes it: `apps[].name`.
pub(super) fn places_removed(key: &str) -> String {
    key.split('[').enumerate().fold(String::new(), |path, (place, part)| {
        if place == 0 { part.to_owned() } else { path + "[" + part.trim_start_matches(|c: char| c.is_ascii_digit()) }
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{super::tree, *};

    fn complaints(text: &str) -> Vec<String> {
        let mut root = tree::parse(Path::new("f"), text).ok().unwrap();
        complete(&mut root).iter().map(|complaint| complaint.to_string().replace("\n    ", " | ")).collect()
    }

    const REST: &str = "[session]\nsecrets = ['x']\n";

    #[test]
    fn what_does_not_fit_the_schema_is_complained_about_once_where_it_stands() {
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
                "[bearer]\nx = 1",
                "f:3: bearer: there is no such key | this version does not check bearer tokens; give API clients a rule by path and network",
            ),
            (
                "[[apps]]\nname='a'\nhosts=['a']\n[[apps.rules]]\npath={regex='a'}",
                "f:7: apps[0].rules[0].path.regex: there is no such key | this version has no regular expressions in paths; use an exact path or a prefix",
            ),
        ] {
            assert_eq!(complaints(&format!("{REST}{text}\n")), [expected]);
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
            let found = complaints(&format!("[session]\nsecrets = [{secret}]\n"));
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].starts_with(expected), "{found:?}");
        }
    }

    #[test]
    fn defaults_fill_what_was_not_written() {
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
            if let Default::Is(toml) = key.default {
                let mut node = parse_value(&Origin::Default, toml).unwrap();
                let mut shaper = Shaper { complaints: Vec::new() };
                shaper.value(key.kind, key.path, &mut node);
                assert_eq!(shaper.complaints, [], "{}", key.path);
            }
        }
    }
}

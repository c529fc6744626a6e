//! Which keys there are: the one table that unknown keys, defaults, `check` and the reference page all come from.
//!
//! It says what a key looks like; whether its value makes sense is the validators' business.

mod sections;
mod table;

pub(super) use self::{
    sections::{ABSENT_HERE, SECTIONS},
    table::KEYS,
};
use super::tree::Step;

/// One key.
pub(super) struct Key {
    /// Its path; `[]` stands for a place in a list.
    pub(super) path: &'static str,
    pub(super) kind: Kind,
    pub(super) default: Default,
    pub(super) change: Change,
    /// What it does, as Markdown.
    pub(super) doc: &'static str,
}

/// A table of keys, or a list of such tables.
pub(super) struct Section {
    pub(super) path: &'static str,
    pub(super) presence: Presence,
    /// What it is about, as Markdown.
    pub(super) doc: &'static str,
}

/// Whether a section's defaults are in force where it is not written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Always,
    WhenWritten,
}

/// What a value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// Text that may hold a password where URLs do.
    Url,
    /// A whole number.
    Number,
    Flag,
    /// `15m`.
    Duration,
    /// An IP address and a port.
    Address,
    /// `10.0.0.0/8`.
    Network,
    /// The path of a file.
    File,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Text, `{ file = "…" }` or `{ env = "…" }`.
    Secret,
    /// A path of a URL, or `{ prefix = "…" }`.
    Path,
    /// A preset's name, or a table of header names and values.
    Headers,
    List(&'static Kind),
    /// A table whose keys are the operator's own.
    Table(&'static Kind),
}

/// What is in force where a key is not written.
#[derive(Clone, Copy)]
pub(super) enum Default {
    /// This, as TOML.
    Is(&'static str),
    /// Nothing, and this is what that means.
    Absent(&'static str),
    /// It has to be written.
    Required,
}

/// What it takes for a change to apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Reload,
    Restart,
}

/// What a name means inside a section.
pub(super) enum Child {
    Key(&'static Key),
    /// A section, by its path.
    Section(&'static Section),
    /// A list of sections, by the path of an element.
    List(&'static Section),
}

impl Key {
    /// The section that it stands in, and its own name.
    pub(super) fn place(&self) -> (&'static str, &'static str) {
        self.path.rsplit_once('.').unwrap_or(("", self.path))
    }
}

impl Section {
    /// The section that it stands in, and its own name without brackets.
    pub(super) fn place(&self) -> (&'static str, &'static str) {
        let (parent, name) = self.path.rsplit_once('.').unwrap_or(("", self.path));
        (parent, name.trim_end_matches("[]"))
    }

    fn child(&'static self) -> Child {
        if self.path.ends_with("[]") { Child::List(self) } else { Child::Section(self) }
    }
}

/// The names that a section knows, in the order of the reference: its keys, then the sections below it.
pub(super) fn children(section: &str) -> impl Iterator<Item = (&'static str, Child)> {
    let keys = KEYS.iter().map(|key| (key.place(), Child::Key(key)));
    let sections = SECTIONS.iter().map(|section| (section.place(), section.child()));
    keys.chain(sections).filter(move |((parent, _), _)| *parent == section).map(|((_, name), child)| (name, child))
}

/// The child of a section with this name.
pub(super) fn child(section: &str, name: &str) -> Option<Child> {
    children(section).find(|(own, _)| *own == name).map(|(_, child)| child)
}

/// What stands at the end of some steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Value(Kind),
    Sections,
}

/// Follows steps from the root; `None` where they lead to no key.
pub(super) fn target(steps: &[Step]) -> Option<Target> {
    let mut steps = steps.iter();
    let mut section = "";
    while let Some(step) = steps.next() {
        let Step::Key(name) = step else { return None };
        match child(section, name)? {
            Child::Key(key) => return steps.try_fold(key.kind, Kind::inside).map(Target::Value),
            Child::Section(below) => section = below.path,
            Child::List(element) => match steps.next() {
                None => break,
                Some(Step::Index(_)) => section = element.path,
                Some(Step::Key(_)) => return None,
            },
        }
    }
    Some(Target::Sections)
}

impl Kind {
    /// The kind of what is inside a value, one step down.
    fn inside(self, step: &Step) -> Option<Self> {
        match (self, step) {
            (Self::List(element), Step::Index(_)) => Some(*element),
            (Self::Table(value), Step::Key(_)) => Some(*value),
            (Self::Secret, Step::Key(name)) if SECRET_SOURCES.contains(&name.as_str()) => Some(Self::Text),
            (Self::Path, Step::Key(name)) if name == PREFIX => Some(Self::Text),
            (Self::Headers, Step::Key(_)) => Some(Self::Text),
            _ => None,
        }
    }

    /// Whether a bare text is a whole value of this kind.
    pub(super) fn takes_text(self) -> bool {
        !matches!(self, Self::Flag | Self::List(_) | Self::Table(_))
    }

    /// What it is, as the end of a sentence.
    pub(super) fn describe(self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Url => "a URL".to_owned(),
            Self::Number => "a whole number".to_owned(),
            Self::Flag => "`true` or `false`".to_owned(),
            Self::Duration => "a duration".to_owned(),
            Self::Address => "an IP address and port".to_owned(),
            Self::Network => "a network".to_owned(),
            Self::File => "the path of a file".to_owned(),
            Self::Choice(words) => words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(" or "),
            Self::Secret => "a secret".to_owned(),
            Self::Path => "a path, or `{ prefix = \"…\" }`".to_owned(),
            Self::Headers => "a preset's name, or a table of own headers".to_owned(),
            Self::List(element) => format!("a list, each element {}", element.describe()),
            Self::Table(value) => format!("a table of own keys, each value {}", value.describe()),
        }
    }

    /// A value of this kind, as TOML.
    pub(super) fn example(self) -> String {
        match self {
            Self::Text => "\"text\"".to_owned(),
            Self::Url => "\"postgres://user@host/database\"".to_owned(),
            Self::Number => "8".to_owned(),
            Self::Flag => "true".to_owned(),
            Self::Duration => "\"15m\"".to_owned(),
            Self::Address => "\"127.0.0.1:9000\"".to_owned(),
            Self::Network => "\"10.0.0.0/8\"".to_owned(),
            Self::File => "\"/etc/doorward/file\"".to_owned(),
            Self::Choice(words) => format!("\"{}\"", words.first().copied().unwrap_or_default()),
            Self::Secret => "{ file = \"/run/secrets/name\" }".to_owned(),
            Self::Path => "\"/exact/path\"".to_owned(),
            Self::Headers => "\"remote\"".to_owned(),
            Self::List(element) => format!("[{}]", element.example()),
            Self::Table(value) => format!("{{ name = {} }}", value.example()),
        }
    }
}

/// The keys of a secret that is kept elsewhere.
pub(super) const SECRET_SOURCES: &[&str] = &["file", "env"];

/// The key of a path that stands for everything below it.
pub(super) const PREFIX: &str = "prefix";

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(path: &str) -> Vec<Step> {
        path.split('/').map(|name| name.parse().map_or_else(|_| Step::Key(name.to_owned()), Step::Index)).collect()
    }

    #[test]
    fn every_key_and_section_stands_in_a_section_of_the_table() {
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
    fn steps_lead_to_keys_and_to_what_is_inside_them() {
        for (path, expected) in [
            ("server/listen", Some(Target::Value(Kind::Address))),
            ("server/tls/cert", Some(Target::Value(Kind::File))),
            ("server", Some(Target::Sections)),
            ("providers", Some(Target::Sections)),
            ("providers/0", Some(Target::Sections)),
            ("providers/0/client_secret", Some(Target::Value(Kind::Secret))),
            ("providers/0/client_secret/env", Some(Target::Value(Kind::Text))),
            ("session/secrets/1/file", Some(Target::Value(Kind::Text))),
            ("apps/0/rules/3/networks/2", Some(Target::Value(Kind::Network))),
            ("apps/0/allow/claims/team/0", Some(Target::Value(Kind::Text))),
            ("providers/name", None),
            ("providers/0/client_secret/vault", None),
            ("listen", None),
            ("server/listen/0", None),
            ("0", None),
        ] {
            assert_eq!(target(&steps(path)), expected, "{path}");
        }
    }
}

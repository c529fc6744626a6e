//! The types of the schema: keys, sections, kinds of values.
//!
//! They describe the shape of a value; `validate` judges its meaning.

use super::super::tree::Segment;

/// Keys of a table in place of a secret's text: the file or the variable that holds it.
pub(in super::super) const SECRET_SOURCES: &[&str] = &["file", "env"];

/// Key of a table in place of a path: every path below this one.
pub(in super::super) const PREFIX: &str = "prefix";

/// Key of a table in place of a path: every path that an expression matches.
pub(in super::super) const REGEX: &str = "regex";

/// Keys of a table in place of an upstream's address.
pub(in super::super) const UPSTREAM_FIELDS: &[&str] =
    &["url", "ca_file", "connect_timeout", "first_byte_timeout", "silence_timeout"];

/// Specification of one key.
#[derive(Clone, Copy)]
pub(in super::super) struct KeySpec {
    /// Path; `[]` stands for any index of a list.
    pub(in super::super) path: &'static str,
    pub(in super::super) kind: ValueKind,
    pub(in super::super) default: DefaultValue,
    pub(in super::super) applies_on: AppliesOn,
    /// Description, as Markdown.
    pub(in super::super) doc: &'static str,
}

/// Specification of a section: a table of keys, or a list of such tables.
pub(in super::super) struct SectionSpec {
    pub(in super::super) path: &'static str,
    pub(in super::super) presence: Presence,
    /// Description, as Markdown.
    pub(in super::super) doc: &'static str,
}

/// Presence of a section: `Always` ones have their defaults in force even where they are not written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Presence {
    Always,
    WhenWritten,
}

/// Kind of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum ValueKind {
    Text,
    /// Text that may contain a password, as the userinfo of a URL.
    Url,
    /// A whole number.
    Number,
    Flag,
    /// A duration such as `15m`.
    Duration,
    /// A size in KiB such as `4KiB`.
    Size,
    /// An IP address and a port.
    Address,
    /// A network such as `10.0.0.0/8`.
    Network,
    /// The path of a file.
    File,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Text, `{ file = "…" }` or `{ env = "…" }`.
    Secret,
    /// A path of a URL, `{ prefix = "…" }` or `{ regex = "…" }`.
    Path,
    /// The address of an upstream, or a table of it and its deadlines.
    Upstream,
    /// A preset's name, or a table of header names and values.
    Headers,
    /// A dotted path, or a list of names.
    ClaimPath,
    /// One text, or a list of them.
    TextOrList,
    /// A domain, or a list of domains.
    Domains,
    List(&'static ValueKind),
    /// A table whose keys the operator chooses.
    Table(&'static ValueKind),
}

/// Value in force where a key is not written.
#[derive(Clone, Copy)]
pub(in super::super) enum DefaultValue {
    /// This value, as TOML.
    Is(&'static str),
    /// None; the text says what that means.
    Absent(&'static str),
    /// None: the key has to be written.
    Required,
}

/// Event on which a change of a key applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum AppliesOn {
    Reload,
    Restart,
}

/// A name inside a section.
pub(in super::super) enum Child {
    Key(&'static KeySpec),
    /// A section.
    Section(&'static SectionSpec),
    /// A list of sections; the specification is that of an element.
    List(&'static SectionSpec),
}

/// Specification of the key at this path.
pub(super) const fn key(
    path: &'static str,
    kind: ValueKind,
    default: DefaultValue,
    applies_on: AppliesOn,
    doc: &'static str,
) -> KeySpec {
    KeySpec { path, kind, default, applies_on, doc }
}

impl KeySpec {
    /// Splits the path into the section and the key's own name.
    pub(in super::super) fn place(&self) -> (&'static str, &'static str) {
        self.path.rsplit_once('.').unwrap_or(("", self.path))
    }
}

impl SectionSpec {
    /// Splits the path into the parent section and the section's own name, without brackets.
    pub(in super::super) fn place(&self) -> (&'static str, &'static str) {
        let (parent, name) = self.path.rsplit_once('.').unwrap_or(("", self.path));
        (parent, name.trim_end_matches("[]"))
    }

    pub(super) fn child(&'static self) -> Child {
        if self.path.ends_with("[]") { Child::List(self) } else { Child::Section(self) }
    }
}

impl ValueKind {
    /// Returns the kind of the value one segment down.
    pub(super) fn inside(self, segment: &Segment) -> Option<Self> {
        match (self, segment) {
            (Self::List(element), Segment::Index(_)) => Some(*element),
            (Self::Table(value), Segment::Key(_)) => Some(*value),
            (Self::Secret, Segment::Key(name)) if SECRET_SOURCES.contains(&name.as_str()) => Some(Self::Text),
            (Self::Path, Segment::Key(name)) if name == PREFIX || name == REGEX => Some(Self::Text),
            (Self::Upstream, Segment::Key(name)) if UPSTREAM_FIELDS.contains(&name.as_str()) => Some(Self::Text),
            (Self::Headers, Segment::Key(_))
            | (Self::ClaimPath | Self::TextOrList | Self::Domains, Segment::Index(_)) => Some(Self::Text),
            _ => None,
        }
    }

    /// Returns `true` if a text can be a value of this kind.
    pub(in super::super) fn takes_text(self) -> bool {
        !matches!(self, Self::Flag | Self::List(_) | Self::Table(_))
    }

    /// Describes the kind, as the end of a sentence.
    pub(in super::super) fn describe(self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Url => "a URL".to_owned(),
            Self::Number => "a whole number".to_owned(),
            Self::Flag => "`true` or `false`".to_owned(),
            Self::Duration => "a duration".to_owned(),
            Self::Size => "a size in KiB".to_owned(),
            Self::Address => "an IP address and port".to_owned(),
            Self::Network => "a network".to_owned(),
            Self::File => "the path of a file".to_owned(),
            Self::Choice(words) => words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(" or "),
            Self::Secret => "a secret".to_owned(),
            Self::Path => "a path, `{ prefix = \"…\" }` or `{ regex = \"…\" }`".to_owned(),
            Self::Upstream => "an address, or a table with `url`".to_owned(),
            Self::Headers => "a preset's name, or a table of own headers".to_owned(),
            Self::ClaimPath => "a dotted path, or a list of names".to_owned(),
            Self::TextOrList => "text, or a list of texts".to_owned(),
            Self::Domains => "a domain, or a list of domains".to_owned(),
            Self::List(element) => format!("a list, each element {}", element.describe()),
            Self::Table(value) => format!("a table of own keys, each value {}", value.describe()),
        }
    }

    /// Returns an example of this kind, as TOML.
    pub(in super::super) fn example(self) -> String {
        match self {
            Self::Text => "\"text\"".to_owned(),
            Self::Url => "\"postgres://user@host/database\"".to_owned(),
            Self::Number => "8".to_owned(),
            Self::Flag => "true".to_owned(),
            Self::Duration => "\"15m\"".to_owned(),
            Self::Size => "\"4KiB\"".to_owned(),
            Self::Address => "\"127.0.0.1:9000\"".to_owned(),
            Self::Network => "\"10.0.0.0/8\"".to_owned(),
            Self::File => "\"/etc/doorward/file\"".to_owned(),
            Self::Choice(words) => format!("\"{}\"", words.first().copied().unwrap_or_default()),
            Self::Secret => "{ file = \"/run/secrets/name\" }".to_owned(),
            Self::Path => "\"/exact/path\"".to_owned(),
            Self::Upstream => "\"http://grafana:3000\"".to_owned(),
            Self::Headers => "\"remote\"".to_owned(),
            Self::ClaimPath => "\"groups\"".to_owned(),
            Self::TextOrList => "\"api\"".to_owned(),
            Self::Domains => "[\"example.com\", \"example.org\"]".to_owned(),
            Self::List(element) => format!("[{}]", element.example()),
            Self::Table(value) => format!("{{ name = {} }}", value.example()),
        }
    }
}

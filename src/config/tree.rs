//! The configuration as a tree of values, each with its origin.
//!
//! It knows TOML and positions; the keys are `schema`'s.

use std::{collections::BTreeMap, fmt, path::Path};

use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Origin, ValueError};

/// A value and its origin. Not `Debug`: it may hold a secret.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) origin: Origin,
    pub(super) value: TomlValue,
}

/// Type name of a number.
pub(super) const NUMBER: &str = "a number";

/// A TOML value.
#[derive(Clone)]
pub(super) enum TomlValue {
    Text(String),
    Flag(bool),
    /// A number or a date, as it was written, after its type name. No key takes a date.
    Other(&'static str, String),
    List(Vec<Node>),
    Table(BTreeMap<String, Node>),
    /// A value that has been reported as an error, so that it is not reported again.
    Invalid,
}

/// One segment of a path: a key of a table, or an index of a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Segment {
    Key(String),
    Index(usize),
}

impl Node {
    pub(super) fn table(origin: Origin) -> Self {
        Self { origin, value: TomlValue::Table(BTreeMap::new()) }
    }

    pub(super) fn invalid(origin: Origin) -> Self {
        Self { origin, value: TomlValue::Invalid }
    }

    /// Puts `value` at a path, creating tables and list elements on the way. A scalar in the way is replaced: the last
    /// value wins.
    ///
    /// Fails with the length of a list where an index is beyond its end.
    pub(super) fn put(&mut self, segments: &[Segment], value: Self) -> Result<(), usize> {
        match segments.split_first() {
            None => {
                *self = value;
                Ok(())
            }
            Some((Segment::Key(name), rest)) => self
                .as_table(&value.origin)
                .entry(name.clone())
                .or_insert_with(|| Self::invalid(value.origin.clone()))
                .put(rest, value),
            Some((Segment::Index(place), rest)) => {
                let list = self.as_list(&value.origin);
                let length = list.len();
                if *place == length {
                    list.push(Self::invalid(value.origin.clone()));
                }
                list.get_mut(*place).ok_or(length)?.put(rest, value)
            }
        }
    }

    fn as_table(&mut self, origin: &Origin) -> &mut BTreeMap<String, Self> {
        if !matches!(self.value, TomlValue::Table(_)) {
            *self = Self::table(origin.clone());
        }
        match &mut self.value {
            TomlValue::Table(table) => table,
            _ => unreachable!("it has just been made a table"),
        }
    }

    fn as_list(&mut self, origin: &Origin) -> &mut Vec<Self> {
        if !matches!(self.value, TomlValue::List(_)) {
            *self = Self { origin: origin.clone(), value: TomlValue::List(Vec::new()) };
        }
        match &mut self.value {
            TomlValue::List(list) => list,
            _ => unreachable!("it has just been made a list"),
        }
    }
}

impl TomlValue {
    /// Returns the type as diagnostics name it.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Flag(_) => "true or false",
            Self::Other(name, _) => name,
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Invalid => "nothing",
        }
    }
}

/// Prints the value as TOML on one line.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            // TOML reads every escape that JSON writes.
            TomlValue::Text(text) => f.write_str(&serde_json::Value::from(text.as_str()).to_string()),
            TomlValue::Flag(flag) => write!(f, "{flag}"),
            TomlValue::Other(_, written) => f.write_str(written),
            TomlValue::List(list) => write!(f, "[{}]", joined(list.iter().map(ToString::to_string))),
            TomlValue::Table(table) if table.is_empty() => f.write_str("{}"),
            TomlValue::Table(table) => {
                write!(
                    f,
                    "{{ {} }}",
                    joined(table.iter().map(|(name, value)| format!("{} = {value}", quoted_key(name))))
                )
            }
            TomlValue::Invalid => Ok(()),
        }
    }
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

/// Returns a key as TOML writes it, quoted where necessary.
pub(super) fn quoted_key(name: &str) -> String {
    let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if plain { name.to_owned() } else { serde_json::Value::from(name).to_string() }
}

/// Parses a whole file. Fails with every syntax error, at most one per line.
pub(super) fn parse(path: &Path, text: &str) -> Result<Node, Vec<Diagnostic>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let lines = LineOrigins { path, ends: memchr::memchr_iter(b'\n', text.as_bytes()).collect() };
    if errors.is_empty() {
        return Ok(Node { origin: lines.origin(0), value: lines.table(table.into_inner()) });
    }
    let mut diagnostics: Vec<Diagnostic> = Vec::new();
    for error in errors {
        let origin = lines.origin(error.span().map_or(0, |span| span.start));
        if diagnostics.iter().all(|earlier| earlier.origin != origin) {
            diagnostics.push(ValueError::new(format!("not TOML: {}", error.message()), SYNTAX_HINT).at("", &origin));
        }
    }
    Err(diagnostics)
}

const SYNTAX_HINT: &str =
    "texts stand in quotes, lists in [ ], sections begin with [name], each key occurs once; see https://toml.io";

/// Parses one value, as an environment variable holds it.
pub(super) fn parse_value(origin: &Origin, text: &str) -> Option<Node> {
    let value = DeValue::parse(text.trim()).ok()?.into_inner();
    Some(Node { origin: origin.clone(), value: FixedOrigin(origin).value(value) })
}

/// Maps a byte offset of the source to its origin, and builds the tree with it.
trait OriginLookup {
    fn origin(&self, byte: usize) -> Origin;

    fn table(&self, table: DeTable<'_>) -> TomlValue {
        let entry = |(key, value): (toml::Spanned<_>, toml::Spanned<DeValue<'_>>)| {
            // The key's line rather than the value's: an editor should jump there.
            let origin = self.origin(key.span().start);
            (std::borrow::Cow::into_owned(key.into_inner()), Node { origin, value: self.value(value.into_inner()) })
        };
        TomlValue::Table(table.into_iter().map(entry).collect())
    }

    fn value(&self, value: DeValue<'_>) -> TomlValue {
        match value {
            DeValue::String(text) => TomlValue::Text(text.into_owned()),
            DeValue::Boolean(flag) => TomlValue::Flag(flag),
            DeValue::Integer(number) => TomlValue::Other(NUMBER, number.to_string()),
            DeValue::Float(number) => TomlValue::Other(NUMBER, number.to_string()),
            DeValue::Datetime(date) => TomlValue::Other("a date", date.to_string()),
            DeValue::Array(list) => {
                let element = |value: toml::Spanned<DeValue<'_>>| {
                    let origin = self.origin(value.span().start);
                    Node { origin, value: self.value(value.into_inner()) }
                };
                TomlValue::List(list.into_iter().map(element).collect())
            }
            DeValue::Table(table) => self.table(table),
        }
    }
}

/// Origins in a file, by line.
struct LineOrigins<'s> {
    path: &'s Path,
    /// Offsets of the line ends, for a binary search: there may be thousands of lines and of values.
    ends: Vec<usize>,
}

impl OriginLookup for LineOrigins<'_> {
    fn origin(&self, byte: usize) -> Origin {
        let line = 1 + self.ends.partition_point(|end| *end < byte);
        Origin::File(self.path.to_owned(), line)
    }
}

/// One origin for all values, such as a variable.
struct FixedOrigin<'o>(&'o Origin);

impl OriginLookup for FixedOrigin<'_> {
    fn origin(&self, _byte: usize) -> Origin {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(name: &str) -> Segment {
        name.parse().map_or_else(|_| Segment::Key(name.to_owned()), Segment::Index)
    }

    fn text(text: &str) -> Node {
        Node { origin: Origin::Environment("V".to_owned()), value: TomlValue::Text(text.to_owned()) }
    }

    #[test]
    fn a_value_has_the_line_of_its_key_as_its_origin() {
        let root = parse(Path::new("f.toml"), "[a]\nx = [\n  'one',\n  'two',\n]\n\n[[b]]\ny = 1\n").ok().unwrap();
        let TomlValue::Table(root) = &root.value else { unreachable!() };
        let (TomlValue::Table(a), TomlValue::List(b)) = (&root["a"].value, &root["b"].value) else { unreachable!() };
        let TomlValue::List(x) = &a["x"].value else { unreachable!() };
        let line = |node: &Node| node.origin.to_string();
        assert_eq!([line(&a["x"]), line(&x[1]), line(&b[0])], ["f.toml:2", "f.toml:4", "f.toml:7"]);
    }

    #[test]
    fn every_syntax_error_is_reported_with_its_line() {
        let diagnostics = parse(Path::new("f.toml"), "a = \nb = 2\nc = = 3\n").err().unwrap();
        let mut lines: Vec<_> = diagnostics.iter().map(|diagnostic| diagnostic.origin.to_string()).collect();
        lines.sort();
        assert_eq!(lines, ["f.toml:1", "f.toml:3"]);
    }

    #[test]
    fn a_value_is_printed_as_the_toml_that_it_was() {
        for text in [r#""a\"b\n""#, "true", r#"["a", { X-Team = "b", "a b" = "c" }]"#, "[]", "{}", "15"] {
            assert_eq!(parse_value(&Origin::Default, text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_value_is_put_at_its_path_and_never_beyond_the_end_of_a_list() {
        let mut root = parse(Path::new("f"), "s = 'x'\nl = ['a']\n").ok().unwrap();
        for (path, result) in [
            (vec!["l", "0"], Ok(())),
            (vec!["l", "1", "k"], Ok(())),
            (vec!["l", "3"], Err(2)),
            (vec!["s", "file"], Ok(())),
            (vec!["new", "0"], Ok(())),
        ] {
            let segments: Vec<_> = path.iter().map(|name| segment(name)).collect();
            assert_eq!(root.put(&segments, text("v")), result, "{path:?}");
        }
        assert_eq!(root.to_string(), r#"{ l = ["v", { k = "v" }], new = ["v"], s = { file = "v" } }"#);
    }
}

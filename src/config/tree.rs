//! The configuration as a tree of values, each of which remembers where it was written.
//!
//! It knows TOML and positions; it must not know which keys there are.

use std::{collections::BTreeMap, fmt, path::Path};

use toml::de::{DeTable, DeValue};

use super::complaint::{Complaint, Fault, Origin};

/// A value and where it was written. Not `Debug`: it may hold a secret.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) origin: Origin,
    pub(super) data: Data,
}

/// What a number is called.
pub(super) const NUMBER: &str = "a number";

/// A value.
#[derive(Clone)]
pub(super) enum Data {
    Text(String),
    Flag(bool),
    /// A number, or a date, which no key takes, as it was written.
    Other(&'static str, String),
    List(Vec<Node>),
    Table(BTreeMap<String, Node>),
    /// A value that has been complained about, so that nobody complains again.
    Spoiled,
}

/// One step from a value to a value inside it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

impl Node {
    pub(super) fn table(origin: Origin) -> Self {
        Self { origin, data: Data::Table(BTreeMap::new()) }
    }

    pub(super) fn spoiled(origin: Origin) -> Self {
        Self { origin, data: Data::Spoiled }
    }

    /// Puts `value` where `steps` lead, making tables and list elements on the way. What is in the way and can hold
    /// nothing is replaced: the last one to speak wins.
    ///
    /// Fails where an element's place is beyond the end of its list, with the list's length.
    pub(super) fn put(&mut self, steps: &[Step], value: Self) -> Result<(), usize> {
        match steps.split_first() {
            None => {
                *self = value;
                Ok(())
            }
            Some((Step::Key(name), rest)) => self
                .as_table(&value.origin)
                .entry(name.clone())
                .or_insert_with(|| Self::spoiled(value.origin.clone()))
                .put(rest, value),
            Some((Step::Index(place), rest)) => {
                let list = self.as_list(&value.origin);
                let length = list.len();
                if *place == length {
                    list.push(Self::spoiled(value.origin.clone()));
                }
                list.get_mut(*place).ok_or(length)?.put(rest, value)
            }
        }
    }

    fn as_table(&mut self, origin: &Origin) -> &mut BTreeMap<String, Self> {
        if !matches!(self.data, Data::Table(_)) {
            *self = Self::table(origin.clone());
        }
        match &mut self.data {
            Data::Table(table) => table,
            _ => unreachable!("it has just been made a table"),
        }
    }

    fn as_list(&mut self, origin: &Origin) -> &mut Vec<Self> {
        if !matches!(self.data, Data::List(_)) {
            *self = Self { origin: origin.clone(), data: Data::List(Vec::new()) };
        }
        match &mut self.data {
            Data::List(list) => list,
            _ => unreachable!("it has just been made a list"),
        }
    }
}

impl Data {
    /// The type, as complaints name it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Flag(_) => "true or false",
            Self::Other(kind, _) => kind,
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Spoiled => "nothing",
        }
    }
}

/// Prints the value as TOML on one line.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.data {
            // Every escape that JSON writes is one that TOML reads.
            Data::Text(text) => f.write_str(&serde_json::Value::from(text.as_str()).to_string()),
            Data::Flag(flag) => write!(f, "{flag}"),
            Data::Other(_, written) => f.write_str(written),
            Data::List(list) => write!(f, "[{}]", joined(list.iter().map(ToString::to_string))),
            Data::Table(table) if table.is_empty() => f.write_str("{}"),
            Data::Table(table) => {
                write!(f, "{{ {} }}", joined(table.iter().map(|(name, value)| format!("{} = {value}", bare(name)))))
            }
            Data::Spoiled => Ok(()),
        }
    }
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

/// A key as TOML writes it: quoted where it has to be.
pub(super) fn bare(name: &str) -> String {
    let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if plain { name.to_owned() } else { serde_json::Value::from(name).to_string() }
}

/// Reads a whole file. Where the text is no TOML, every mistake in it, at most one for each line.
pub(super) fn parse(path: &Path, text: &str) -> Result<Node, Vec<Complaint>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let lines = Lines { path, ends: memchr::memchr_iter(b'\n', text.as_bytes()).collect() };
    if errors.is_empty() {
        return Ok(Node { origin: lines.origin(0), data: lines.table(table.into_inner()) });
    }
    let mut complaints: Vec<Complaint> = Vec::new();
    for error in errors {
        let origin = lines.origin(error.span().map_or(0, |span| span.start));
        if complaints.iter().all(|earlier| earlier.origin != origin) {
            complaints.push(Fault::new(format!("not TOML: {}", error.message()), SYNTAX_HINT).at("", &origin));
        }
    }
    Err(complaints)
}

const SYNTAX_HINT: &str =
    "texts stand in quotes, lists in [ ], sections begin with [name], each key occurs once; see https://toml.io";

/// Reads one value, as a variable of the environment holds it.
pub(super) fn parse_value(origin: &Origin, text: &str) -> Option<Node> {
    let value = DeValue::parse(text.trim()).ok()?.into_inner();
    Some(Node { origin: origin.clone(), data: Fixed(origin).data(value) })
}

/// Knows the origin of what stands at a byte of the source.
trait Origins {
    fn origin(&self, byte: usize) -> Origin;

    fn table(&self, table: DeTable<'_>) -> Data {
        let entry = |(key, value): (toml::Spanned<_>, toml::Spanned<DeValue<'_>>)| {
            // The key's line, not the value's: that is where an editor should jump to.
            let origin = self.origin(key.span().start);
            (std::borrow::Cow::into_owned(key.into_inner()), Node { origin, data: self.data(value.into_inner()) })
        };
        Data::Table(table.into_iter().map(entry).collect())
    }

    fn data(&self, value: DeValue<'_>) -> Data {
        match value {
            DeValue::String(text) => Data::Text(text.into_owned()),
            DeValue::Boolean(flag) => Data::Flag(flag),
            DeValue::Integer(number) => Data::Other(NUMBER, number.to_string()),
            DeValue::Float(number) => Data::Other(NUMBER, number.to_string()),
            DeValue::Datetime(date) => Data::Other("a date", date.to_string()),
            DeValue::Array(list) => {
                let element = |value: toml::Spanned<DeValue<'_>>| {
                    let origin = self.origin(value.span().start);
                    Node { origin, data: self.data(value.into_inner()) }
                };
                Data::List(list.into_iter().map(element).collect())
            }
            DeValue::Table(table) => self.table(table),
        }
    }
}

struct Lines<'s> {
    path: &'s Path,
    /// Where each line ends: there may be thousands, and as many values that ask.
    ends: Vec<usize>,
}

impl Origins for Lines<'_> {
    fn origin(&self, byte: usize) -> Origin {
        let line = 1 + self.ends.partition_point(|end| *end < byte);
        Origin::File(self.path.to_owned(), line)
    }
}

struct Fixed<'o>(&'o Origin);

impl Origins for Fixed<'_> {
    fn origin(&self, _byte: usize) -> Origin {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str) -> Step {
        name.parse().map_or_else(|_| Step::Key(name.to_owned()), Step::Index)
    }

    fn text(text: &str) -> Node {
        Node { origin: Origin::Environment("V".to_owned()), data: Data::Text(text.to_owned()) }
    }

    #[test]
    fn a_value_remembers_the_line_of_its_key() {
        let root = parse(Path::new("f.toml"), "[a]\nx = [\n  'one',\n  'two',\n]\n\n[[b]]\ny = 1\n").ok().unwrap();
        let Data::Table(root) = &root.data else { unreachable!() };
        let (Data::Table(a), Data::List(b)) = (&root["a"].data, &root["b"].data) else { unreachable!() };
        let Data::List(x) = &a["x"].data else { unreachable!() };
        let line = |node: &Node| node.origin.to_string();
        assert_eq!([line(&a["x"]), line(&x[1]), line(&b[0])], ["f.toml:2", "f.toml:4", "f.toml:7"]);
    }

    #[test]
    fn every_mistake_in_the_syntax_is_reported_with_its_line() {
        let complaints = parse(Path::new("f.toml"), "a = \nb = 2\nc = = 3\n").err().unwrap();
        let mut lines: Vec<_> = complaints.iter().map(|complaint| complaint.origin.to_string()).collect();
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
    fn a_value_is_put_where_it_belongs_and_never_beyond_the_end_of_a_list() {
        let mut root = parse(Path::new("f"), "s = 'x'\nl = ['a']\n").ok().unwrap();
        for (path, result) in [
            (vec!["l", "0"], Ok(())),
            (vec!["l", "1", "k"], Ok(())),
            (vec!["l", "3"], Err(2)),
            (vec!["s", "file"], Ok(())),
            (vec!["new", "0"], Ok(())),
        ] {
            let steps: Vec<_> = path.iter().map(|name| step(name)).collect();
            assert_eq!(root.put(&steps, text("v")), result, "{path:?}");
        }
        assert_eq!(root.to_string(), r#"{ l = ["v", { k = "v" }], new = ["v"], s = { file = "v" } }"#);
    }
}

//! JSON objects of a provider, read member by member: what is broken in one of them is that member's fault alone.
//!
//! A member that a decision needs is read strictly. Any other that cannot be read (nested too deeply, half a surrogate pair, a
//! number beyond `f64`, given twice with different values) is absent, and its name is returned. Promises: any bytes are read or
//! refused without a panic; no value is nested deeper than [`MAX_DEPTH`], so that it can be stored and read again. Pure.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fmt,
};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Map, Value, value::RawValue};

/// Deepest nesting of a value. No claim is nested like that, and `serde_json` reads 128 levels of a stored session at most.
pub(super) const MAX_DEPTH: usize = 32;
/// The most names of odd members inside values that are kept of one object.
const MAX_ODD: usize = 64;
/// Stands for a name that is itself not readable.
const UNREADABLE_NAME: &str = "(a name that is not text)";
/// The byte order mark, which some servers put before JSON (RFC 8259, section 8.1: it may be ignored).
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

pub(super) type JsonObject = Map<String, Value>;

/// An object as it was read.
#[derive(Debug, Default)]
pub(super) struct ReadObject {
    pub(super) members: JsonObject,
    /// Names of members that could not be read and are absent, or in which something could not be read and is left out.
    pub(super) odd: BTreeSet<String>,
}

/// Errors of a text that is no object, or whose members do not fit their use.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ObjectError {
    /// Not a JSON object.
    NotAnObject,
    /// A member that a decision needs stands there twice.
    Repeated(&'static str),
    /// A member that a decision needs cannot be read.
    Unreadable(&'static str),
}

/// Prints the end of a sentence about the object.
impl fmt::Display for ObjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnObject => f.write_str("is not a JSON object"),
            Self::Repeated(name) => write!(f, "has {name} twice"),
            Self::Unreadable(name) => write!(f, "has a value of {name} that cannot be read"),
        }
    }
}

impl ReadObject {
    /// Reads an object; decisions need the members `strict`.
    pub(super) fn parse(json: &[u8], strict: &[&'static str]) -> Result<Self, ObjectError> {
        let json = String::from_utf8_lossy(json.strip_prefix(BYTE_ORDER_MARK).unwrap_or(json));
        let RawMembers(raw) = serde_json::from_str(&json).map_err(|_| ObjectError::NotAnObject)?;
        let mut reader =
            MemberReader { has_foreign_bytes: matches!(json, Cow::Owned(_)), faults: 0, odd: BTreeSet::new() };
        let (mut first, mut repeated) = (BTreeMap::new(), BTreeSet::new());
        for (name, value) in raw {
            let Some(name) = reader.name(name) else { continue };
            if let Some(name) = strict.iter().find(|needed| **needed == name)
                && first.contains_key(*name)
            {
                return Err(ObjectError::Repeated(name));
            }
            match first.entry(name) {
                Entry::Vacant(entry) => drop(entry.insert(value)),
                Entry::Occupied(entry) if entry.get().get() == value.get() => {}
                Entry::Occupied(entry) => drop(repeated.insert(entry.key().clone())),
            }
        }
        let mut members = JsonObject::new();
        for (name, value) in first {
            let faults_before = reader.faults;
            let read = if repeated.contains(&name) { None } else { reader.value(&name, value, MAX_DEPTH).ok() };
            if let Some(name) = strict.iter().find(|needed| **needed == name)
                && (read.is_none() || reader.faults > faults_before)
            {
                return Err(ObjectError::Unreadable(name));
            }
            match read {
                Some(value) => drop(members.insert(name, value)),
                // Each of them, because what it means may depend on it.
                None => drop(reader.odd.insert(name)),
            }
        }
        Ok(Self { members, odd: reader.odd })
    }
}

/// Returns a member of an object, unread; `None` where it has none of that name.
pub(super) fn member(json: &[u8], name: &'static str) -> Result<Option<Box<RawValue>>, ObjectError> {
    let json = String::from_utf8_lossy(json.strip_prefix(BYTE_ORDER_MARK).unwrap_or(json));
    let RawMembers(members) = serde_json::from_str(&json).map_err(|_| ObjectError::NotAnObject)?;
    let is_meant = |raw: &RawValue| serde_json::from_str::<String>(raw.get()).is_ok_and(|own| own == name);
    let mut found = members.into_iter().filter(|(own, _)| is_meant(own)).map(|(_, value)| value.to_owned());
    match (found.next(), found.next()) {
        (found, None) => Ok(found),
        (_, Some(_)) => Err(ObjectError::Repeated(name)),
    }
}

/// Reads a list as its elements, unread; `None` where it is no list.
pub(super) fn elements(json: &str) -> Option<Vec<&RawValue>> {
    serde_json::from_str(json).ok()
}

/// The members of an object in their order, unread.
struct RawMembers<'j>(Vec<(&'j RawValue, &'j RawValue)>);

impl<'de> Deserialize<'de> for RawMembers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = RawMembers<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(RawMembers(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// Reason why a value cannot be read.
enum ValueFault {
    Unreadable,
    TooDeep,
}

/// Reads the values of members, and collects the names of those that cannot be read.
struct MemberReader {
    /// `true` if the text was not UTF-8: U+FFFD then stands for the bytes that were not.
    has_foreign_bytes: bool,
    /// Count of what could not be read, named or not.
    faults: usize,
    odd: BTreeSet<String>,
}

impl MemberReader {
    /// Reads a value of at most `depth` levels. Elements and members inside it that cannot be read are left out; one that is too
    /// deep makes the whole of it unreadable.
    fn value(&mut self, path: &str, raw: &RawValue, depth: usize) -> Result<Value, ValueFault> {
        let text = raw.get();
        match text.as_bytes().first() {
            Some(b'[' | b'{') if depth == 0 => Err(ValueFault::TooDeep),
            Some(b'[') => {
                let mut values = Vec::new();
                for raw in elements(text).ok_or(ValueFault::Unreadable)? {
                    let value = self.value(path, raw, depth - 1);
                    values.extend(self.inside(path, value)?);
                }
                Ok(values.into())
            }
            Some(b'{') => {
                let RawMembers(members) = serde_json::from_str(text).map_err(|_| ValueFault::Unreadable)?;
                let mut object = JsonObject::new();
                for (name, raw) in members {
                    let Some(name) = self.name(name) else { continue };
                    let path = format!("{path}.{name}");
                    let value = self.value(&path, raw, depth - 1);
                    object.extend(self.inside(&path, value)?.map(|value| (name, value)));
                }
                Ok(object.into())
            }
            _ if self.has_foreign_bytes && text.contains(char::REPLACEMENT_CHARACTER) => Err(ValueFault::Unreadable),
            _ => serde_json::from_str(text).map_err(|_| ValueFault::Unreadable),
        }
    }

    /// Leaves out what cannot be read inside a value.
    fn inside(&mut self, path: &str, value: Result<Value, ValueFault>) -> Result<Option<Value>, ValueFault> {
        match value {
            Ok(value) => Ok(Some(value)),
            Err(ValueFault::Unreadable) => {
                self.note(path);
                Ok(None)
            }
            Err(ValueFault::TooDeep) => Err(ValueFault::TooDeep),
        }
    }

    fn name(&mut self, raw: &RawValue) -> Option<String> {
        let is_foreign = self.has_foreign_bytes && raw.get().contains(char::REPLACEMENT_CHARACTER);
        let name = if is_foreign { None } else { serde_json::from_str(raw.get()).ok() };
        if name.is_none() {
            self.note(UNREADABLE_NAME);
        }
        name
    }

    fn note(&mut self, name: &str) {
        self.faults += 1;
        if self.odd.len() < MAX_ODD {
            self.odd.insert(name.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(json: &str) -> ReadObject {
        ReadObject::parse(json.as_bytes(), &["sub"]).unwrap_or_else(|error| panic!("{json}: {error:?}"))
    }

    fn nested(levels: usize) -> String {
        format!("{}1{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn what_cannot_be_read_is_absent_and_named_and_the_rest_is_read() {
        for (odd, name) in [
            (format!(r#""deep": {}"#, nested(200)), "deep"),
            (format!(r#""deep": {}"#, nested(20_000)), "deep"),
            (r#""half": "\ud83d""#.to_owned(), "half"),
            (r#""\udc00": 1"#.to_owned(), UNREADABLE_NAME),
            (r#""huge": 1e999"#.to_owned(), "huge"),
            (r#""huge": -1e999"#.to_owned(), "huge"),
            (r#""twice": 1, "twice": 2"#.to_owned(), "twice"),
        ] {
            let object = read(&format!(r#"{{ {odd}, "sub": "s", "name": "Ann" }}"#));
            assert_eq!(Value::from(object.members), json!({ "sub": "s", "name": "Ann" }), "{odd:.40}");
            assert_eq!(object.odd.into_iter().collect::<Vec<_>>(), [name], "{odd:.40}");
        }
    }

    #[test]
    fn what_is_odd_inside_a_value_is_left_out_of_it() {
        let object = read(
            r#"{ "address": { "street": "\udfff", "town": "Berne" }, "groups": ["a", "\ud800", 1e400, "b"], "sub": "s" }"#,
        );
        let expected = json!({ "address": { "town": "Berne" }, "groups": ["a", "b"], "sub": "s" });
        assert_eq!(Value::from(object.members), expected);
        assert_eq!(object.odd.into_iter().collect::<Vec<_>>(), ["address.street", "groups"]);
    }

    #[test]
    fn a_member_that_is_needed_is_there_once_and_readable() {
        for (json, error) in [
            (r#"{ "sub": "a", "sub": "b" }"#, ObjectError::Repeated("sub")),
            (r#"{ "sub": "a", "x": {}, "sub": "a" }"#, ObjectError::Repeated("sub")),
            (r#"{ "sub": "a", "\u0073ub": "b" }"#, ObjectError::Repeated("sub")),
            (r#"{ "sub": 1e999 }"#, ObjectError::Unreadable("sub")),
            (r#"{ "sub": "\ud800" }"#, ObjectError::Unreadable("sub")),
            (r#"{ "sub": ["a", "\ud800"] }"#, ObjectError::Unreadable("sub")),
            (r#"["sub"]"#, ObjectError::NotAnObject),
            (r#"{ "sub": "a" } {}"#, ObjectError::NotAnObject),
            (r#"{ "sub": "a", "#, ObjectError::NotAnObject),
            ("", ObjectError::NotAnObject),
        ] {
            assert_eq!(ReadObject::parse(json.as_bytes(), &["sub"]).unwrap_err(), error, "{json}");
        }
        let foreign = [
            b"{ \"sub\": \"m\xfcller\", \"name\": \"M\xfcller\" }".as_slice(),
            b"{ \"sub\": \"s\", \"name\": \"M\xfcller\" }",
        ];
        assert_eq!(ReadObject::parse(foreign[0], &["sub"]).unwrap_err(), ObjectError::Unreadable("sub"));
        let object = ReadObject::parse(foreign[1], &["sub"]).unwrap();
        assert_eq!((Value::from(object.members), object.odd.len()), (json!({ "sub": "s" }), 1));
    }

    #[test]
    fn a_byte_order_mark_and_a_member_that_is_only_said_twice_harm_nobody() {
        let object = read("\u{feff}{ \"name\": \"Ann\", \"name\": \"Ann\", \"sub\": \"s\" }");
        assert_eq!(Value::from(object.members), json!({ "name": "Ann", "sub": "s" }));
        assert!(object.odd.is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in any::<Vec<u8>>(), text in r#"[{}\[\]",:a0\\u]{0,40}"#) {
            let _ = ReadObject::parse(&bytes, &["sub"]);
            let _ = ReadObject::parse(text.as_bytes(), &["sub"]);
        }

        #[test]
        fn sound_json_is_read_as_it_is(claims in crate::identity::arbitrary::claims()) {
            let object = ReadObject::parse(Value::from(claims.clone()).to_string().as_bytes(), &[]).unwrap();
            prop_assert_eq!(object.members, claims);
            prop_assert!(object.odd.is_empty());
        }
    }
}

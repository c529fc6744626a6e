//! `allow`: who is let in, of an app or of a rule.

use super::{
    super::{
        diagnostic::ValueError,
        reader::{self, Cursor, Reader},
    },
    step_up,
};
use crate::{
    oidc::PROTOCOL_CLAIMS,
    policy::{Allow, People},
};

/// Keys of a set of people.
const KINDS: [&str; 3] = ["groups", "users", "claims"];

/// Reads `allow`: at least one of its keys, and none of them empty.
pub(super) fn allow(reader: &mut Reader<'_>, allow: &Cursor<'_>) -> Option<Allow> {
    let any = people(reader, allow);
    let [require, except] = ["require", "except"].map(|name| {
        let Some(table) = allow.at(name) else { return People::default() };
        if table.entries().is_empty() && table.is_valid() {
            reader.error(&table, "names nobody", "name `groups`, `users` or `claims`, or remove it");
        }
        people(reader, &table)
    });
    refuse_excepted(reader, allow);
    let (acr, max_age) = step_up::read(reader, allow);
    if allow.entries().is_empty() && allow.is_valid() {
        let hint = "name `groups`, `users` or `claims`; to let in whoever is signed in, remove it";
        reader.error(allow, "says nothing about who is allowed", hint);
    }
    let any = KINDS.iter().any(|kind| allow.at(kind).is_some()).then_some(any);
    allow.is_valid().then_some(Allow { any, require, except, acr, max_age })
}

/// Returns `true` if `allow` leaves out people who are signed in, by more than an exception.
pub(super) fn is_restricted(allow: &Cursor<'_>) -> bool {
    KINDS.iter().chain(&["require"]).any(|key| allow.at(key).is_some())
}

fn people(reader: &mut Reader<'_>, people: &Cursor<'_>) -> People {
    let groups = members(reader, people.at("groups").as_ref(), group);
    let users = members(reader, people.at("users").as_ref(), user);
    let table = people.at("claims");
    let entries = table.as_ref().map(Cursor::entries).unwrap_or_default();
    for (path, values) in &entries {
        refuse_protocol_claim(reader, path, values);
    }
    let claims: Vec<_> =
        entries.iter().map(|(path, values)| ((*path).to_owned(), members(reader, Some(values), claim_value))).collect();
    if let Some(table) = &table
        && entries.is_empty()
        && table.is_valid()
    {
        reader.error(table, "names no claim", "write it as { department = [\"ops\"] }, or remove it");
    }
    People { groups, users, claims }
}

/// Reports groups and users that are let in or required, and excepted.
fn refuse_excepted(reader: &mut Reader<'_>, allow: &Cursor<'_>) {
    for kind in ["groups", "users"] {
        let excepted = items(allow.at("except"), kind);
        for place in [Some(allow.clone()), allow.at("require")] {
            for item in items(place, kind) {
                if let Some(text) = item.text()
                    && excepted.iter().any(|other| other.text() == Some(text))
                {
                    let problem = format!("has no effect: `{text}` is in `except`, too");
                    reader.error(&item, problem, "remove it in one of the two places");
                }
            }
        }
    }
}

/// Returns the elements of a list in a table, where there is one.
fn items<'t>(table: Option<Cursor<'t>>, name: &str) -> Vec<Cursor<'t>> {
    table.and_then(|table| table.at(name)).map(|list| list.items()).unwrap_or_default()
}

/// Reports a claim that identities do not have, because it is about the token.
fn refuse_protocol_claim(reader: &mut Reader<'_>, path: &str, values: &Cursor<'_>) {
    let is_of_token =
        |name: &&&str| path.strip_prefix(**name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    if let Some(name) = PROTOCOL_CLAIMS.iter().find(is_of_token) {
        let problem = format!("would match nobody: `{name}` is about the token, and the gate has checked it");
        let hint = "name a claim about the person; how somebody signed in is in `acr`, `amr` and `auth_time`";
        reader.error(values, problem, hint);
    }
}

fn members(
    reader: &mut Reader<'_>,
    list: Option<&Cursor<'_>>,
    parse: impl Fn(&str) -> Result<String, ValueError>,
) -> Vec<String> {
    let items = list.map(Cursor::items).unwrap_or_default();
    if let Some(list) = list
        && items.is_empty()
        && list.is_valid()
    {
        reader.error(list, "nobody could match an empty list", "name somebody, or remove it");
    }
    reader.refuse_duplicates(&items, None);
    reader.list(list, parse)
}

/// Parses a group's exact name.
fn group(text: &str) -> Result<String, ValueError> {
    let text = reader::text(text)?;
    if text.contains('*') {
        let hint = "groups have no wildcard: name each of them; to let in whoever is signed in, remove `allow`";
        return Err(ValueError::new(format!("`{text}` would match only a group of that very name"), hint));
    }
    Ok(text)
}

fn claim_value(text: &str) -> Result<String, ValueError> {
    if text == "*" {
        return Err(ValueError::new("`*` would match only a claim of that very text", "name each value that lets in"));
    }
    Ok(text.to_owned())
}

/// Parses an e-mail address, a subject, or `*@` and a domain.
fn user(text: &str) -> Result<String, ValueError> {
    let text = reader::text(text)?;
    let (is_domain, rest) = text.strip_prefix("*@").map_or((false, text.as_str()), |domain| (true, domain));
    if rest.contains('*') {
        let hint = "`*@example.com` is everybody with a verified address there; to let in whoever is signed in, remove `allow`";
        return Err(ValueError::new(format!("`{text}` would match nobody"), hint));
    }
    if !is_domain && let Some(domain) = rest.strip_prefix('@') {
        let hint = format!("write \"*@{domain}\" for everybody with a verified address there");
        return Err(ValueError::new(format!("`{text}` would match nobody"), hint));
    }
    if rest.is_empty() || (!is_domain && rest.ends_with('@')) {
        let hint = "write the whole address, or \"*@example.com\" for everybody with a verified address there";
        return Err(ValueError::new(format!("`{text}` would match nobody"), hint));
    }
    if text.matches('@').count() > 1 {
        let problem = format!("`{text}` has more than one @ and would match no address");
        return Err(ValueError::new(problem, "write the e-mail address alone"));
    }
    Ok(text)
}

//! `[[apps.rules]]` and `allow`, including the detection of unreachable rules.

use ipnet::IpNet;

use super::super::{
    diagnostic::ValueError,
    reader::{self, Cursor, Reader},
};
use crate::{
    oidc::PROTOCOL_CLAIMS,
    policy::{Allow, PathPattern, Rule, RuleAccess, path},
};

/// Reads the rules of an app; `prefix` is the path prefix of the gate's own pages.
pub(super) fn read(reader: &mut Reader<'_>, app: &Cursor<'_>, prefix: Option<&str>) -> Option<Vec<Rule>> {
    let items = app.at("rules").map(|list| list.items()).unwrap_or_default();
    let mut rules: Vec<Option<Rule>> = Vec::new();
    for section in &items {
        let rule = rule(reader, section, prefix);
        if let Some(rule) = &rule
            && let Some(place) = rules.iter().position(|earlier| earlier.as_ref().is_some_and(|one| shadows(one, rule)))
        {
            let problem = format!("no request reaches this rule: {}.rules[{place}] takes all of them before", app.key);
            reader.error(section, problem, "the first rule that matches decides: move this one up, or remove it");
        }
        rules.push(rule);
    }
    warn_of_public_app(reader, &items, &rules);
    if let Some(allow) = app.at("allow")
        && let Some(place) = rules.iter().position(|rule| rule.as_ref().is_some_and(matches_everything))
    {
        let problem = format!("has no effect: {}.rules[{place}] takes every request", app.key);
        reader.error(&allow, problem, "remove it, or narrow the rule down");
    }
    rules.into_iter().collect()
}

/// Warns of a rule that opens every request of the app where none before it asks for anything.
fn warn_of_public_app(reader: &mut Reader<'_>, items: &[Cursor<'_>], rules: &[Option<Rule>]) {
    let opens = |rule: &&Option<Rule>| rule.as_ref().is_some_and(|rule| rule.access == RuleAccess::Public);
    let open = rules.iter().take_while(opens).flatten();
    for (item, _) in items.iter().zip(open).filter(|(_, rule)| matches_everything(rule)) {
        let problem = "everybody may use all of this app without signing in";
        reader.warn(item, problem, "narrow the rule down, or let the edge route the app without asking the gate");
    }
}

/// Reads `allow = { groups, users, claims }`: at least one of them, and none of them empty.
pub(super) fn allow(reader: &mut Reader<'_>, allow: &Cursor<'_>) -> Option<Allow> {
    let groups = members(reader, allow.at("groups").as_ref(), group);
    let users = members(reader, allow.at("users").as_ref(), user);
    let table = allow.at("claims");
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
    if allow.entries().is_empty() && allow.is_valid() {
        let hint = "name `groups`, `users` or `claims`; to let in whoever is signed in, remove it";
        reader.error(allow, "says nothing about who is allowed", hint);
    }
    allow.is_valid().then_some(Allow::Some { groups, users, claims })
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

fn rule(reader: &mut Reader<'_>, section: &Cursor<'_>, prefix: Option<&str>) -> Option<Rule> {
    let cursor = section.at("path");
    let path = path_pattern(reader, cursor.as_ref(), prefix);
    let methods = restriction(reader, section, "methods", method);
    let networks = restriction(reader, section, "networks", reader::network);
    let access = access(reader, section);
    let path = if cursor.is_none() { PathPattern::Any } else { path? };
    Some(Rule { path, methods, networks, access: access? })
}

/// Reads a list that restricts a rule. Absent means any, so an empty list is an error: it would mean the opposite of what
/// it seems to.
fn restriction<T>(
    reader: &mut Reader<'_>,
    section: &Cursor<'_>,
    name: &str,
    parse: impl FnMut(&str) -> Result<T, ValueError>,
) -> Vec<T> {
    let Some(list) = section.at(name) else { return Vec::new() };
    if list.items().is_empty() && list.is_valid() {
        reader.error(&list, "has no effect: an empty list restricts nothing", "fill it, or remove it");
    }
    reader.refuse_duplicates(&list.items(), None);
    reader.list(Some(&list), parse)
}

fn path_pattern(reader: &mut Reader<'_>, cursor: Option<&Cursor<'_>>, prefix: Option<&str>) -> Option<PathPattern> {
    let cursor = cursor?;
    let folder = cursor.at("prefix");
    let (at, pattern) = match &folder {
        Some(folder) => (folder, reader.parsed(Some(folder), folder_path).map(|folder| PathPattern::prefix(&folder))),
        None => (cursor, reader.parsed(Some(cursor), exact_path).map(|path| PathPattern::exact(&path))),
    };
    if let (Some(PathPattern::Exact(path) | PathPattern::Prefix(path)), Some(own)) = (&pattern, prefix)
        && path.as_str().strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    {
        let hint = "remove the rule, or move the gate's pages with `server.prefix`";
        reader.error(at, format!("no request reaches this rule: the gate answers what is below {own} itself"), hint);
    }
    pattern
}

fn exact_path(text: &str) -> Result<String, ValueError> {
    if !text.starts_with('/') {
        return Err(ValueError::new(format!("`{text}` does not begin with a slash"), "write it as \"/api/health\""));
    }
    if text.contains('*') {
        return Err(ValueError::new(
            format!("`{text}` holds a `*`"),
            "a path is taken literally; write { prefix = \"/…/\" } for what is below",
        ));
    }
    if path::is_ambiguous(text) {
        let hint = "write the plain path without query, dot segments, double slashes, `;` and needless escapes";
        return Err(ValueError::new(
            format!("servers read `{text}` in different ways, so no rule ever matches it"),
            hint,
        ));
    }
    Ok(text.to_owned())
}

fn folder_path(text: &str) -> Result<String, ValueError> {
    let path = exact_path(text)?;
    if path.ends_with('/') {
        return Ok(path);
    }
    Err(ValueError::new(
        format!("`{text}` does not end with a slash"),
        format!("write \"{text}/\", so that {text}2 is not meant as well"),
    ))
}

fn method(text: &str) -> Result<String, ValueError> {
    // RFC 9110, section 9.1: methods are case-sensitive tokens, and every one there is is written in capitals.
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') {
        let hint =
            format!("write it as \"{}\"", if text.is_empty() { "GET".to_owned() } else { text.to_ascii_uppercase() });
        return Err(ValueError::new(format!("`{text}` is no method"), hint));
    }
    Ok(text.to_owned())
}

fn access(reader: &mut Reader<'_>, section: &Cursor<'_>) -> Option<RuleAccess> {
    match (section.at("access"), section.at("allow")) {
        (Some(access), None) => match access.text()? {
            "public" => Some(RuleAccess::Public),
            "optional" => Some(RuleAccess::Optional),
            "authenticated" => Some(RuleAccess::Authenticated),
            // `deny`, the schema's only other choice; also the safe one for a future choice that is missing here.
            _ => Some(RuleAccess::Deny),
        },
        (None, Some(people)) => allow(reader, &people).map(RuleAccess::Allow),
        (None, None) => {
            reader.error(section, "does not say who may pass", "add `access` or `allow`");
            None
        }
        (Some(_), Some(allow)) => {
            reader.error(&allow, "excludes `access`, which stands beside it", "remove one of the two");
            None
        }
    }
}

/// Returns `true` if `earlier`, evaluated first, matches every request that `later` matches.
fn shadows(earlier: &Rule, later: &Rule) -> bool {
    let networks = |network: &IpNet| earlier.networks.iter().any(|wider| wider.contains(network));
    includes_paths(earlier, &later.path)
        && includes(&earlier.methods, &later.methods, |method| earlier.methods.contains(method))
        && includes(&earlier.networks, &later.networks, networks)
}

/// Returns `true` if the rule matches every request of the app.
fn matches_everything(rule: &Rule) -> bool {
    includes_paths(rule, &PathPattern::Any) && rule.methods.is_empty() && rule.networks.is_empty()
}

/// Returns `true` if the earlier restriction includes the later one. An empty list restricts nothing.
fn includes<T>(earlier: &[T], later: &[T], is_taken: impl Fn(&T) -> bool) -> bool {
    earlier.is_empty() || (!later.is_empty() && later.iter().all(is_taken))
}

fn includes_paths(earlier: &Rule, later: &PathPattern) -> bool {
    match (&earlier.path, later) {
        (PathPattern::Any, _) => true,
        (PathPattern::Prefix(root), _) if root.as_str() == "/" => true,
        (PathPattern::Prefix(wide), PathPattern::Prefix(narrow)) => narrow.as_str().starts_with(wide.as_str()),
        (PathPattern::Prefix(folder), PathPattern::Exact(path)) => {
            let is_folder = folder.as_str().strip_suffix('/') == Some(path.as_str());
            path.as_str().starts_with(folder.as_str()) || is_folder && !earlier.access.opens()
        }
        (earlier, later) => earlier == later,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(path: PathPattern, methods: &[&str], networks: &[&str]) -> Rule {
        Rule {
            path,
            methods: methods.iter().map(|method| (*method).to_owned()).collect(),
            networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
            access: RuleAccess::Deny,
        }
    }

    #[test]
    fn a_rule_is_unreachable_if_an_earlier_one_matches_all_of_its_requests() {
        let exact = |path: &str| PathPattern::exact(path);
        let prefix = |path: &str| PathPattern::prefix(path);
        let any = || PathPattern::Any;
        for (earlier, later, shadowed) in [
            (rule(any(), &[], &[]), rule(exact("/a"), &["GET"], &[]), true),
            (rule(prefix("/"), &[], &[]), rule(any(), &[], &[]), true),
            (rule(prefix("/a/"), &[], &[]), rule(exact("/a/b"), &[], &[]), true),
            (rule(prefix("/a/"), &[], &[]), rule(exact("/a"), &[], &[]), true),
            (rule(prefix("/a/"), &[], &[]), rule(prefix("/a/b/"), &[], &[]), true),
            (rule(prefix("/a/b/"), &[], &[]), rule(prefix("/a/"), &[], &[]), false),
            (rule(exact("/a"), &[], &[]), rule(exact("/b"), &[], &[]), false),
            (rule(exact("/a"), &["GET", "HEAD"], &[]), rule(exact("/a"), &["GET"], &[]), true),
            (rule(exact("/a"), &["GET"], &[]), rule(exact("/a"), &["GET", "HEAD"], &[]), false),
            (rule(exact("/a"), &["GET"], &[]), rule(exact("/a"), &[], &[]), false),
            (rule(any(), &[], &["10.0.0.0/8"]), rule(any(), &[], &["10.1.0.0/16"]), true),
            (rule(any(), &[], &["10.1.0.0/16"]), rule(any(), &[], &["10.0.0.0/8"]), false),
            (rule(any(), &[], &["10.0.0.0/8"]), rule(any(), &[], &[]), false),
        ] {
            assert_eq!(shadows(&earlier, &later), shadowed, "{earlier:?} before {later:?}");
        }
    }

    #[test]
    fn paths_and_methods_are_written_as_they_are_on_the_wire() {
        for (text, good) in [
            ("/", true),
            ("/api/health", true),
            ("/caf%C3%A9", true),
            ("api", false),
            ("/a/../b", false),
            ("/a?b", false),
            ("/a//b", false),
            ("/café", false),
            ("/a/*", false),
            ("", false),
        ] {
            assert_eq!(exact_path(text).is_ok(), good, "{text}");
        }
        for (text, good) in [("GET", true), ("M-SEARCH", true), ("get", false), ("GET ", false), ("", false)] {
            assert_eq!(method(text).is_ok(), good, "{text}");
        }
        assert!(folder_path("/a").is_err() && folder_path("/a/").is_ok());
    }
}

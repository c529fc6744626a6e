//! `[[apps.rules]]`: paths, methods, networks and access.

use super::{
    super::{
        diagnostic::ValueError,
        reader::{self, Cursor, Reader},
    },
    cache_control, cross_site, people,
    shadowing::{matches_everything, matches_nearly_everything, shadows},
};
use crate::policy::{Allow, Expression, ExpressionError, PathPattern, Rule, RuleAccess, path};

/// Keys that a preset stands for.
const KEYS_OF_PRESET: [&str; 3] = ["path", "methods", "allow"];

/// Reads the rules of an app.
pub(super) fn read(reader: &mut Reader<'_>, app: &Cursor<'_>, prefix: Option<&str>) -> Option<Vec<Rule>> {
    let items = app.at("rules").map(|list| list.items()).unwrap_or_default();
    let mut rules: Vec<Option<Rule>> = Vec::new();
    for section in &items {
        let rule = rule(reader, section, prefix);
        let cache_control = cache_control::of_rule(reader, app, section, rule.as_ref());
        let rule = rule.map(|rule| Rule { cache_control, ..rule });
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
    for (item, _) in items.iter().zip(open).filter(|(_, rule)| matches_nearly_everything(rule)) {
        let problem = "everybody may use all of this app without signing in";
        reader.warn(item, problem, "narrow the rule down, or let the edge route the app without asking the gate");
    }
}

fn rule(reader: &mut Reader<'_>, section: &Cursor<'_>, prefix: Option<&str>) -> Option<Rule> {
    if let Some(preset) = section.at("preset") {
        return rule_of_preset(reader, section, &preset);
    }
    let cursor = section.at("path");
    let path = path_pattern(reader, cursor.as_ref(), prefix);
    let methods = restriction(reader, section, "methods", method);
    let networks = restriction(reader, section, "networks", reader::network);
    let access = access(reader, section);
    let cross_site = cross_site::of_rule(reader, section, access.as_ref());
    let path = if cursor.is_none() { PathPattern::Any } else { path? };
    Some(Rule { path, methods, networks, access: access?, cross_site, cache_control: None })
}

/// Reads a rule whose paths, methods and access a preset gives. It can be narrowed to networks.
fn rule_of_preset(reader: &mut Reader<'_>, section: &Cursor<'_>, preset: &Cursor<'_>) -> Option<Rule> {
    for key in KEYS_OF_PRESET {
        if let Some(cursor) = section.at(key) {
            let hint = "remove one of the two; a preset opens paths of its own to GET and HEAD";
            reader.error(&cursor, "excludes `preset`, which stands beside it", hint);
        }
    }
    if let Some(access) = section.at("access").filter(|access| !matches!(access.text(), None | Some("public"))) {
        let hint = "remove it: a preset is public; for another access write rules with the paths that you mean";
        reader.error(&access, "excludes `preset`, which stands beside it", hint);
    }
    let networks = restriction(reader, section, "networks", reader::network);
    cross_site::of_rule(reader, section, Some(&RuleAccess::Public));
    // The schema's only choice.
    let path = preset.text().map(|_| PathPattern::pwa_assets())?;
    let methods = ["GET", "HEAD"].map(ToOwned::to_owned).to_vec();
    section.is_valid().then_some(Rule {
        path,
        methods,
        networks,
        access: RuleAccess::Public,
        cross_site: None,
        cache_control: None,
    })
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
    let (folder, regex) = (cursor.at("prefix"), cursor.at("regex"));
    let (at, pattern) = match (&folder, &regex) {
        (Some(folder), _) => {
            (folder, reader.parsed(Some(folder), folder_path).map(|folder| PathPattern::prefix(&folder)))
        }
        (None, Some(regex)) => {
            (regex, reader.parsed(Some(regex), expression).map(|regex| PathPattern::Regex(regex.into())))
        }
        (None, None) => (cursor, reader.parsed(Some(cursor), exact_path).map(|path| PathPattern::exact(&path))),
    };
    let start = match &pattern {
        Some(PathPattern::Exact(path) | PathPattern::Prefix(path)) => path.as_str(),
        // It may go on with anything, and so be about other paths.
        Some(PathPattern::Regex(expression)) if Some(expression.start()) != prefix => expression.start(),
        _ => "",
    };
    if let Some(own) = prefix
        && start.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    {
        let hint = "remove the rule, or move the gate's pages with `server.prefix`";
        reader.error(at, format!("no request reaches this rule: the gate answers what is below {own} itself"), hint);
    }
    pattern
}

/// Parses a regular expression over whole paths.
fn expression(text: &str) -> Result<Expression, ValueError> {
    Expression::new(text).map_err(|error| {
        let hint = match &error {
            ExpressionError::Syntax(_) => {
                "it is read as Rust's crate `regex` does, which has no look-around and no backreferences; in '…' a \
                 backslash is written once, in \"…\" twice"
            }
            ExpressionError::TooBig => "repeat less, or write several rules",
            ExpressionError::Unmatchable('%') => {
                "write the character that the escape stands for: paths are compared decoded"
            }
            ExpressionError::Unmatchable(_) => "a rule is about the path alone: leave the query out",
            ExpressionError::Relative => "write it as \"/api/.*\", or \"/.*/api\" to find it anywhere",
        };
        ValueError::new(format!("`{text}` does not work: {error}"), hint)
    })
}

fn exact_path(text: &str) -> Result<String, ValueError> {
    if !text.starts_with('/') {
        return Err(ValueError::new(format!("`{text}` does not begin with a slash"), "write it as \"/api/health\""));
    }
    if text.contains('*') {
        return Err(ValueError::new(
            format!("`{text}` holds a `*`"),
            "a path is taken literally; write { prefix = \"/…/\" } for what is below, or { regex = \"…\" }",
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
    let (access, allow) = (section.at("access"), section.at("allow"));
    let Some(access) = access else {
        let Some(people) = allow else {
            reader.error(section, "does not say who may pass", "add `access` or `allow`");
            return None;
        };
        return people::allow(reader, &people).map(RuleAccess::Allow);
    };
    let word = access.text()?;
    if word == "bearer" {
        let people = allow.map_or(Some(Allow::default()), |people| people::allow(reader, &people));
        return people.map(RuleAccess::Bearer);
    }
    if let Some(allow) = allow {
        reader.error(&allow, "excludes `access`, which stands beside it", "remove one of the two");
        return None;
    }
    Some(match word {
        "public" => RuleAccess::Public,
        "optional" => RuleAccess::Optional,
        "authenticated" => RuleAccess::Authenticated,
        // `deny`, the schema's only other choice; also the safe one for a future choice that is missing here.
        _ => RuleAccess::Deny,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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

//! `apps[].rules[].cache_control`: how long browsers and caches may keep an app's answers (RFC 9111, section 5.2.2).

use http::HeaderValue;

use super::super::{
    diagnostic::ValueError,
    reader::{Cursor, Reader},
    suggest,
};
use crate::policy::{Rule, RuleAccess};

/// Directives with a number of seconds.
const WITH_SECONDS: &[&str] = &["max-age", "s-maxage", "stale-if-error", "stale-while-revalidate"];

/// Directives that stand alone.
const ALONE: &[&str] = &[
    "immutable",
    "must-revalidate",
    "must-understand",
    "no-cache",
    "no-store",
    "no-transform",
    "private",
    "proxy-revalidate",
    "public",
];

/// Directives by which caches that many people share keep an answer.
const SHARED: &[&str] = &["public", "s-maxage"];

/// Reads the key of a rule. `rule` is absent where something else in it is a mistake.
pub(super) fn of_rule(
    reader: &mut Reader<'_>,
    app: &Cursor<'_>,
    section: &Cursor<'_>,
    rule: Option<&Rule>,
) -> Option<HeaderValue> {
    let cursor = section.at("cache_control")?;
    if app.at("upstream").is_none() {
        let hint = "remove it, or serve the app with `upstream`; where an edge serves it, set the header there";
        reader.error(&cursor, "has no effect: the app's answers do not pass through the gate", hint);
    }
    if let Some(problem) = rule.and_then(no_effect) {
        reader.error(&cursor, format!("has no effect: {problem}"), "remove it; it is set on answers to GET and HEAD");
    }
    let text = reader.parsed(Some(&cursor), directives)?;
    let is_shared = split(&text).any(|directive| SHARED.contains(&name_of(directive)));
    if is_shared && rule.is_some_and(|rule| rule.access != RuleAccess::Public) {
        let problem = "lets caches that many people share keep answers for people who are signed in";
        let hint = "write \"private, max-age=…\", unless everybody who may use the app gets the same; or open the path with `access = \"public\"`";
        reader.warn(&cursor, problem, hint);
    }
    HeaderValue::from_str(&text).ok()
}

fn no_effect(rule: &Rule) -> Option<&'static str> {
    let is_read = |method: &String| method == "GET" || method == "HEAD";
    match rule.access {
        RuleAccess::Deny => Some("the rule lets nobody in"),
        _ if !rule.methods.is_empty() && !rule.methods.iter().any(is_read) => {
            Some("the rule matches neither GET nor HEAD")
        }
        _ => None,
    }
}

/// Parses the directives.
fn directives(text: &str) -> Result<String, ValueError> {
    let mut names: Vec<&str> = Vec::new();
    for directive in split(text) {
        check(directive)?;
        let name = name_of(directive);
        if names.contains(&name) {
            return Err(ValueError::new(format!("`{name}` is there twice"), "leave one out"));
        }
        names.push(name);
    }
    if names.contains(&"public") && names.contains(&"private") {
        return Err(ValueError::new("says both `public` and `private`", "leave one out"));
    }
    Ok(text.to_owned())
}

fn check(directive: &str) -> Result<(), ValueError> {
    let (name, value) = (name_of(directive), directive.split_once('=').map(|(_, value)| value));
    match value {
        None if ALONE.contains(&name) => Ok(()),
        Some(seconds) if WITH_SECONDS.contains(&name) => {
            let is_number = !seconds.is_empty() && seconds.bytes().all(|byte| byte.is_ascii_digit());
            // RFC 9111, section 1.2.2: more is taken for this.
            if is_number && seconds.parse::<u64>().is_ok_and(|seconds| seconds <= 1 << 31) {
                return Ok(());
            }
            Err(ValueError::new(
                format!("`{directive}` has no number of seconds"),
                format!("write it as \"{name}=3600\""),
            ))
        }
        Some(_) if ALONE.contains(&name) => {
            Err(ValueError::new(format!("`{name}` has no value"), format!("write \"{name}\" alone")))
        }
        None if WITH_SECONDS.contains(&name) => {
            Err(ValueError::new(format!("`{name}` has no number of seconds"), format!("write it as \"{name}=3600\"")))
        }
        _ => {
            let known = WITH_SECONDS.iter().chain(ALONE).copied();
            Err(ValueError::new(format!("there is no directive `{directive}`"), suggest::among(name, known)))
        }
    }
}

fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim)
}

fn name_of(directive: &str) -> &str {
    directive.split_once('=').map_or(directive, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_written_as_caches_know_them() {
        for (text, good) in [
            ("public, max-age=31536000, immutable", true),
            ("private,max-age=60", true),
            ("no-store", true),
            ("max-age=0, must-revalidate", true),
            ("public, s-maxage=60, stale-while-revalidate=30", true),
            ("", false),
            ("public,", false),
            ("max-age", false),
            ("max-age=", false),
            ("max-age: 60", false),
            ("max-age=60s", false),
            ("max-age=-1", false),
            ("max-age=99999999999999999999", false),
            ("max-age = 60", false),
            ("maxage=60", false),
            ("public=1", false),
            ("public, private", false),
            ("public, public", false),
            ("public\r\nSet-Cookie: a=1", false),
            ("Public", false),
        ] {
            assert_eq!(directives(text).is_ok(), good, "{text:?}");
        }
    }
}

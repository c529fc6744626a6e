//! Groups: the claim that `groups_claim` names, in the forms in which providers send it.
//!
//! Promises: what is read is the name of a group as the provider wrote it; what cannot be read is no group, and is said. Pure.

use std::collections::HashSet;

use serde_json::Value;

use super::{json::JsonObject, settings::Settings};

/// What the claim should be, for the log.
pub(super) const EXPECTED: &str = "a list of group names (mend: have the provider send it as a JSON list of texts, or set \
                                   providers[].groups_claim and providers[].groups_separator to what it sends)";

/// Groups of one source.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ReadGroups {
    /// Without repeats, in the order of their first appearance; `None` where there is no such claim or it cannot be read.
    pub(super) groups: Option<Vec<String>>,
    /// `true` where the claim, or something in it, cannot be read.
    pub(super) is_odd: bool,
}

/// Reads the groups in the claims of one source.
pub(super) fn read(settings: &Settings, claims: &JsonObject) -> ReadGroups {
    let read = settings.groups_claim.find(claims).map(|claim| of_value(claim, settings.groups_separator.as_deref()));
    let ReadGroups { groups, is_odd } = read.unwrap_or_default();
    let mut seen = HashSet::new();
    let distinct = |groups: Vec<String>| groups.into_iter().filter(|group| seen.insert(group.clone())).collect();
    ReadGroups { groups: groups.map(distinct), is_odd }
}

/// Returns `true` if the provider keeps the groups of this person back because they are too many: a claim that is told elsewhere
/// (`OpenID` Connect Core, section 5.6.2), and Entra ID's `hasgroups`.
pub(super) fn are_held_back(settings: &Settings, claims: &JsonObject) -> bool {
    let is_elsewhere = claims
        .get("_claim_names")
        .and_then(Value::as_object)
        .is_some_and(|names| names.keys().any(|name| settings.groups_claim.is_claim(name)));
    let has_groups = claims.get("hasgroups").is_some_and(|value| match value {
        Value::Bool(has) => *has,
        Value::String(text) => text.eq_ignore_ascii_case("true"),
        _ => false,
    });
    is_elsewhere || (has_groups && settings.groups_claim.is_claim("groups"))
}

fn of_value(claim: &Value, separator: Option<&str>) -> ReadGroups {
    match claim {
        Value::Null => ReadGroups::default(),
        Value::String(text) => of_text(text.trim(), separator),
        Value::Array(many) => of_list(many),
        // Zitadel: each role, with the organisations that grant it.
        Value::Object(members) => {
            let is_granted = |value: &Value| !matches!(value, Value::Null | Value::Bool(false));
            told(members.iter().filter(|(_, value)| is_granted(value)).map(|(name, _)| name.as_str()))
        }
        Value::Bool(_) | Value::Number(_) => ReadGroups { groups: None, is_odd: true },
    }
}

fn of_list(many: &[Value]) -> ReadGroups {
    let name = |element: &Value| match element {
        Value::String(name) => Some(name.clone()),
        Value::Object(group) => group.get("name")?.as_str().map(ToOwned::to_owned),
        _ => None,
    };
    let names: Vec<_> = many.iter().map(name).collect();
    let is_odd = names.contains(&None);
    ReadGroups { is_odd, ..told(names.iter().flatten().map(String::as_str)) }
}

/// Reads a text: JSON, `[a, b]` with bare words (Cognito), or else the names between separators.
fn of_text(text: &str, separator: Option<&str>) -> ReadGroups {
    let is_between = |open, close| text.starts_with(open) && text.ends_with(close);
    if is_between('[', ']') || is_between('{', '}') {
        return match serde_json::from_str(text) {
            Ok(Value::Array(many)) => of_list(&many),
            Ok(value @ Value::Object(_)) => of_value(&value, None),
            _ => of_bare_words(text).unwrap_or(ReadGroups { groups: None, is_odd: true }),
        };
    }
    match separator {
        Some(separator) => told(text.split(separator)),
        None => told([text].into_iter()),
    }
}

fn of_bare_words(text: &str) -> Option<ReadGroups> {
    let words = text.strip_prefix('[')?.strip_suffix(']')?;
    (!words.contains(['"', '[', ']', '{', '}'])).then(|| told(words.split(',')))
}

fn told<'n>(names: impl Iterator<Item = &'n str>) -> ReadGroups {
    let names = names.map(str::trim).filter(|name| !name.is_empty());
    ReadGroups { groups: Some(names.map(ToOwned::to_owned).collect()), is_odd: false }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::tests::settings, *};
    use crate::identity::ClaimPath;

    fn reading(settings: &Settings, claims: &Value) -> (Option<Vec<String>>, bool) {
        let ReadGroups { groups, is_odd } = read(settings, claims.as_object().unwrap());
        (groups, is_odd)
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn every_form_in_which_providers_send_groups_is_read() {
        let settings = settings("https://id.example.com/");
        for (claim, groups, is_odd) in [
            (json!(["a", "b", "a"]), Some(names(&["a", "b"])), false),
            (json!([]), Some(names(&[])), false),
            (json!("[a, b]"), Some(names(&["a", "b"])), false),
            (json!("[platform team,b ]"), Some(names(&["platform team", "b"])), false),
            (json!("[]"), Some(names(&[])), false),
            (json!(r#"["a","b, c"]"#), Some(names(&["a", "b, c"])), false),
            (json!(r#" [ "a" ] "#), Some(names(&["a"])), false),
            (json!(r#"[{"name":"a"}]"#), Some(names(&["a"])), false),
            (json!(r#"{"a":{"org":"x"},"b":false}"#), Some(names(&["a"])), false),
            (json!("a,b"), Some(names(&["a,b"])), false),
            (json!("a"), Some(names(&["a"])), false),
            (json!(""), Some(names(&[])), false),
            (json!([{ "name": "a", "id": 1 }, { "name": "b" }]), Some(names(&["a", "b"])), false),
            (
                json!({ "b": { "1": "org" }, "a": true, "c": false, "d": null, "e": 0, "f": "" }),
                Some(names(&["a", "b", "e", "f"])),
                false,
            ),
            (json!(["a", 7, "b", null, ["c"], { "id": 1 }]), Some(names(&["a", "b"])), true),
            (json!(["line\nbreak", "", "ü"]), Some(names(&["line\nbreak", "ü"])), false),
            (json!(null), None, false),
            (json!(7), None, true),
            (json!(true), None, true),
            (json!(r#"["a", "b]"#), None, true),
            (json!(format!("{}{}", "[".repeat(500), "]".repeat(500))), None, true),
            (json!("{a, b}"), None, true),
        ] {
            assert_eq!(reading(&settings, &json!({ "groups": claim })), (groups, is_odd), "{claim}");
        }
        assert_eq!(reading(&settings, &json!({})), (None, false));
    }

    #[test]
    fn a_separator_divides_a_text_and_nothing_else() {
        for (separator, claim, groups) in [
            (",", json!("a, b,,c"), Some(names(&["a", "b", "c"]))),
            (" ", json!("a  b"), Some(names(&["a", "b"]))),
            ("; ", json!("a; b;c"), Some(names(&["a", "b;c"]))),
            (",", json!(["a,b"]), Some(names(&["a,b"]))),
            (",", json!(r#"["a,b"]"#), Some(names(&["a,b"]))),
            ("|", json!("[a, b]"), Some(names(&["a", "b"]))),
        ] {
            let settings =
                Settings { groups_separator: Some(separator.to_owned()), ..settings("https://id.example.com/") };
            assert_eq!(reading(&settings, &json!({ "groups": claim })).0, groups, "{separator} {claim}");
        }
    }

    #[test]
    fn a_path_may_lead_through_names_with_dots() {
        let claims = json!({ "resource_access": { "app.example.com": { "roles": ["a"] } } });
        let steps = ["resource_access", "app.example.com", "roles"].map(str::to_owned).to_vec();
        for path in [ClaimPath::Dotted("resource_access.app.example.com.roles".to_owned()), ClaimPath::Steps(steps)] {
            let settings = Settings { groups_claim: path, ..settings("https://id.example.com/") };
            assert_eq!(reading(&settings, &claims).0, Some(names(&["a"])));
        }
    }

    #[test]
    fn groups_that_are_too_many_for_a_token_are_held_back() {
        let by_groups = settings("https://id.example.com/");
        let by_roles = Settings { groups_claim: ClaimPath::Dotted("roles".to_owned()), ..by_groups.clone() };
        let sources = json!({ "src1": { "endpoint": "https://graph.example/getMemberObjects" } });
        for (claims, of_groups, of_roles) in [
            (json!({ "hasgroups": true }), true, false),
            (json!({ "hasgroups": "true" }), true, false),
            (json!({ "hasgroups": false }), false, false),
            (json!({ "_claim_names": { "groups": "src1" }, "_claim_sources": sources }), true, false),
            (json!({ "_claim_names": { "roles": "src1" } }), false, true),
            (json!({ "_claim_names": ["groups"] }), false, false),
            (json!({}), false, false),
        ] {
            let claims = claims.as_object().unwrap();
            assert_eq!(
                (are_held_back(&by_groups, claims), are_held_back(&by_roles, claims)),
                (of_groups, of_roles),
                "{claims:?}"
            );
        }
    }
}

//! Attributes that authentik keeps of a person and puts into its tokens (`ak_proxy.user_attributes`).
//!
//! Promises: of all of them, passwords among them, only those that the configuration names are kept.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::claim_at;

/// Claim of authentik's proxy providers.
const CLAIM: &str = "ak_proxy";
/// Attributes in it.
const ATTRIBUTES: &str = "user_attributes";
/// Attribute with headers for apps.
const ADDITIONAL_HEADERS: &str = "additionalHeaders";

/// Attributes that the configuration needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptAttributes {
    /// Dotted paths of attributes.
    pub paths: BTreeSet<String>,
    /// Names in `additionalHeaders`, in lower case.
    pub headers: BTreeSet<String>,
}

impl KeptAttributes {
    /// Adds the attribute that the path of a claim names, if it names one.
    pub fn add_claim(&mut self, path: &str) {
        let attribute = path
            .strip_prefix(CLAIM)
            .and_then(|rest| rest.strip_prefix('.')?.strip_prefix(ATTRIBUTES)?.strip_prefix('.'));
        self.paths.extend(attribute.map(ToOwned::to_owned));
    }

    /// Removes all other attributes from the claims. What it leaves is found by the same paths as before.
    pub fn retain_in(&self, claims: &mut Map<String, Value>) {
        let Some(Value::Object(claim)) = claims.get_mut(CLAIM) else { return };
        let Some(all) = claim.remove(ATTRIBUTES) else { return };
        let Value::Object(all) = all else { return };
        let found = self.paths.iter().filter_map(|path| Some((path.clone(), claim_at(&all, path)?.clone())));
        // Nothing reads an object, and it could hold anything.
        let mut kept: Map<_, _> = found.filter(|(_, value)| !value.is_object()).collect();
        if let Some(Value::Object(told)) = all.get(ADDITIONAL_HEADERS) {
            let lines = self.headers.iter().filter_map(|name| Some((name.clone(), only(told, name)?.clone())));
            let lines: Map<_, _> = lines.collect();
            if !lines.is_empty() {
                kept.insert(ADDITIONAL_HEADERS.to_owned(), Value::Object(lines));
            }
        }
        if !kept.is_empty() {
            claim.insert(ATTRIBUTES.to_owned(), Value::Object(kept));
        }
    }
}

/// Returns a person's attribute.
#[must_use]
pub fn attribute<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    claim_at(claims.get(CLAIM)?.get(ATTRIBUTES)?.as_object()?, path)
}

/// Returns what a person's `additionalHeaders` have for a header: a text, a number, or `true` or `false`.
#[must_use]
pub fn additional_header<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    only(attribute(claims, ADDITIONAL_HEADERS)?.as_object()?, name)
}

/// Returns a value that can stand in a header, where one name alone could be meant.
fn only<'a>(told: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let mut meant = told.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
    let (_, value) = meant.next().filter(|_| meant.next().is_none())?;
    matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_)).then_some(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn retained(kept: &KeptAttributes, claims: Value) -> Value {
        let Value::Object(mut claims) = claims else { panic!("an object") };
        kept.retain_in(&mut claims);
        let once = Value::Object(claims.clone());
        kept.retain_in(&mut claims);
        assert_eq!(Value::Object(claims), once, "a renewal keeps what is there");
        once
    }

    fn kept() -> KeptAttributes {
        let mut kept = KeptAttributes::default();
        for path in [
            "ak_proxy.user_attributes.team",
            "ak_proxy.user_attributes.app.password",
            "ak_proxy.user_attributes.all",
            "ak_proxy.uid",
            "team",
            "ak_proxy.user_attributes",
        ] {
            kept.add_claim(path);
        }
        kept.headers = ["x-team", "x-both", "x-list"].map(str::to_owned).into();
        kept
    }

    #[test]
    fn only_attributes_that_the_configuration_names_are_kept() {
        let attributes = json!({
            "team": ["a", "b"], "app": { "password": "p", "other": "secret" }, "all": { "password": "secret" },
            "password": "secret",
            "additionalHeaders": { "X-Team": 7, "X-Other": "secret", "X-BOTH": "a", "x-both": "b", "X-List": ["secret"] },
        });
        let claims = json!({ "sub": "s", "ak_proxy": { "uid": "u", "user_attributes": attributes } });
        let expected = json!({
            "sub": "s",
            "ak_proxy": { "uid": "u", "user_attributes": {
                "team": ["a", "b"], "app.password": "p", "additionalHeaders": { "x-team": 7 },
            } },
        });
        let left = retained(&kept(), claims);
        assert_eq!(left, expected);
        let left = left.as_object().unwrap();
        assert_eq!(claim_at(left, "ak_proxy.user_attributes.app.password"), Some(&json!("p")));
        assert_eq!(attribute(left, "app.password"), Some(&json!("p")));
        assert_eq!(additional_header(left, "X-Team"), Some(&json!(7)));
        assert_eq!((additional_header(left, "x-both"), additional_header(left, "x-other")), (None, None));
    }

    #[test]
    fn without_a_name_in_the_configuration_there_are_none() {
        let none = KeptAttributes::default();
        for attributes in [json!({ "password": "secret" }), json!({}), json!("secret"), json!(["secret"]), Value::Null]
        {
            let left = retained(&none, json!({ "ak_proxy": { "user_attributes": attributes, "is_superuser": false } }));
            assert_eq!(left, json!({ "ak_proxy": { "is_superuser": false } }));
        }
        for claims in [json!({}), json!({ "ak_proxy": "text" }), json!({ "ak_proxy": null })] {
            assert_eq!(retained(&kept(), claims.clone()), claims);
        }
    }
}

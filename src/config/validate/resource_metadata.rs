//! `resource_metadata` of apps: the issuers that it names, and where it has no effect.

use super::super::reader::{Cursor, Reader};
use crate::{
    flow::protected_resource,
    policy::{PathPattern, ResourceMetadata, Rule, RuleAccess},
};

/// Reads the key of an app with these rules, whose users sign in at this issuer.
pub(super) fn read(
    reader: &mut Reader<'_>,
    section: &Cursor<'_>,
    rules: &[Rule],
    issuers: &[String],
) -> Option<ResourceMetadata> {
    let cursor = section.at("resource_metadata")?;
    if cursor.flag() != Some(true) {
        return None;
    }
    if !rules.iter().any(|rule| matches!(rule.access, RuleAccess::Bearer(_))) {
        let problem = "has no effect: no rule of this app has `access = \"bearer\"`, so no API client is let in";
        reader.error(&cursor, problem, "add such a rule for the paths of the API, or remove it");
    }
    let is_below = |path: &str| protected_resource::resource_path(path.strip_suffix('/').unwrap_or(path)).is_some();
    let taken = rules.iter().position(|rule| match &rule.path {
        PathPattern::Exact(path) | PathPattern::Prefix(path) => is_below(path.as_str()),
        PathPattern::Any | PathPattern::Files(_) | PathPattern::Regex(_) => false,
    });
    if let Some(place) = taken {
        let problem =
            format!("the gate answers {} itself, so no request reaches rules[{place}]", protected_resource::PATH);
        reader.error(&cursor, problem, "remove the rule; or remove this, where the app publishes metadata of its own");
    }
    Some(ResourceMetadata { authorization_servers: issuers.to_vec() })
}

/// Returns the issuers of `[bearer]` whose tokens count at this provider's apps; where there is none, the provider's own.
pub(super) fn issuers(root: &Cursor<'_>, provider: Option<usize>) -> Vec<String> {
    let items = |list: Option<Cursor<'_>>| -> Vec<_> {
        let items = list.map(|list| list.items()).unwrap_or_default();
        items.iter().map(|section| section.at("issuer").and_then(|issuer| issuer.text()).map(str::to_owned)).collect()
    };
    let of_providers = items(root.at("providers"));
    let own = provider.and_then(|index| of_providers.get(index).cloned().flatten());
    let mut issuers = Vec::new();
    for issuer in items(root.at("bearer").and_then(|bearer| bearer.at("issuers"))).into_iter().flatten() {
        let is_of_another =
            Some(&issuer) != own.as_ref() && of_providers.iter().flatten().any(|other| *other == issuer);
        if !is_of_another && !issuers.contains(&issuer) {
            issuers.push(issuer);
        }
    }
    if issuers.is_empty() { own.into_iter().collect() } else { issuers }
}

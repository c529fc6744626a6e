//! `cross_site` of apps and rules, and where it has no effect.

use super::super::reader::{Cursor, Reader};
use crate::policy::{CrossSite, CrossSiteGuard, Rule, RuleAccess};

/// Reads the key of a rule with this access.
pub(super) fn of_rule(reader: &mut Reader<'_>, section: &Cursor<'_>, access: Option<&RuleAccess>) -> Option<CrossSite> {
    let cursor = section.at("cross_site")?;
    if access.is_some_and(|access| !is_of_sessions(access)) {
        let problem = "has no effect: under this `access` no session lets anybody in";
        reader.error(&cursor, problem, "remove it; it concerns requests that a browser's session would let in");
    }
    treatment(&cursor)
}

/// Reads the key of an app with these rules. `takes_all` is `true` for a rule that decides about every request.
pub(super) fn of_app(
    reader: &mut Reader<'_>,
    section: &Cursor<'_>,
    rules: &[Rule],
    takes_all: impl Fn(&Rule) -> bool,
) -> CrossSiteGuard {
    let cursor = section.at("cross_site");
    let is_default_of = |rule: &Rule| is_of_sessions(&rule.access) && rule.cross_site.is_none();
    if let Some(cursor) = cursor.as_ref().filter(|cursor| cursor.is_written())
        && rules.iter().any(takes_all)
        && !rules.iter().any(is_default_of)
    {
        let problem = "has no effect: rules decide about every request, and none of them leaves it to the app";
        reader.error(cursor, problem, "remove it here, or in the rules");
    }
    CrossSiteGuard::new(cursor.as_ref().and_then(treatment).unwrap_or_default(), rules)
}

fn treatment(cursor: &Cursor<'_>) -> Option<CrossSite> {
    match cursor.text()? {
        "allow" => Some(CrossSite::default()),
        // `deny`, the schema's only other choice; also the safe one for a future choice that is missing here.
        _ => Some(CrossSite::Deny),
    }
}

/// Returns `true` if a session lets people in under this access.
fn is_of_sessions(access: &RuleAccess) -> bool {
    !matches!(access, RuleAccess::Public | RuleAccess::Deny | RuleAccess::Bearer(_))
}

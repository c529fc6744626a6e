//! `cross_site` of apps and rules: "allow" counts beyond doubt only, and "deny" under every reading.

use proptest::prelude::*;

use super::{
    app, groups,
    readings::{is_at, is_folded_at, path, rules},
    rule,
};
use crate::policy::{
    App, CrossSite, CrossSiteGuard, PathPattern, RequestAttributes, Rule, RuleAccess, readings::served_by_any,
};

fn guarded(default: CrossSite, rules: Vec<Rule>) -> App {
    App { cross_site: CrossSiteGuard::new(default, &rules), rules: rules.into(), ..app("a", &["a.example"]) }
}

fn treatment(app: &App, request: RequestAttributes<'_>) -> CrossSite {
    app.cross_site.treatment(&app.rules.iter(), request)
}

fn with(treatment: CrossSite, path: PathPattern) -> Rule {
    Rule { cross_site: Some(treatment), ..rule(path, RuleAccess::Authenticated) }
}

fn post(path: &str) -> RequestAttributes<'_> {
    RequestAttributes { path, method: Some("POST"), client: None }
}

#[test]
fn a_rule_is_excepted_from_the_guard_only_where_it_matches_beyond_doubt() {
    let acs = Rule { methods: vec!["POST".to_owned()], ..with(CrossSite::Allow, PathPattern::exact("/saml/acs")) };
    let folder = with(CrossSite::Allow, PathPattern::prefix("/hooks/"));
    let office = Rule {
        networks: vec!["192.168.0.0/16".parse().unwrap()],
        ..with(CrossSite::Allow, PathPattern::exact("/office"))
    };
    let app = guarded(CrossSite::Deny, vec![acs, folder, office]);
    assert!(app.cross_site.is_on());
    let (lan, internet) = (Some("192.168.7.7".parse().unwrap()), Some("203.0.113.7".parse().unwrap()));
    for (request, expected) in [
        (post("/saml/acs"), CrossSite::Allow),
        (post("/saml/%61cs"), CrossSite::Deny),
        (post("/saml/ACS"), CrossSite::Deny),
        (post("/saml/acs/"), CrossSite::Deny),
        (post("/saml//acs"), CrossSite::Deny),
        (post("/saml/acs;x"), CrossSite::Deny),
        (post("/saml/acs.json"), CrossSite::Deny),
        (post("/x/../saml/acs"), CrossSite::Deny),
        (post("/else"), CrossSite::Deny),
        (RequestAttributes { method: Some("PUT"), ..post("/saml/acs") }, CrossSite::Deny),
        (RequestAttributes { method: None, ..post("/saml/acs") }, CrossSite::Deny),
        (post("/hooks/x"), CrossSite::Allow),
        (post("/hooks"), CrossSite::Deny),
        (post("/office"), CrossSite::Deny),
        (RequestAttributes { client: lan, ..post("/office") }, CrossSite::Allow),
        (RequestAttributes { client: internet, ..post("/office") }, CrossSite::Deny),
    ] {
        assert_eq!(treatment(&app, request), expected, "{request:?}");
    }
}

#[test]
fn a_rule_guards_every_spelling_of_its_path_and_the_rest_of_the_app_is_not_guarded() {
    let admin = with(CrossSite::Deny, PathPattern::prefix("/admin/"));
    let own = Rule { methods: vec!["DELETE".to_owned()], ..with(CrossSite::Deny, PathPattern::exact("/item")) };
    let app = guarded(CrossSite::Allow, vec![admin, own]);
    assert!(app.cross_site.is_on());
    for (request, expected) in [
        (post("/admin/x"), CrossSite::Deny),
        (post("/admin"), CrossSite::Deny),
        (post("/ADMIN/x"), CrossSite::Deny),
        (post("/a//../admin/x"), CrossSite::Deny),
        (post("//admin/x"), CrossSite::Deny),
        (post("/else"), CrossSite::Allow),
        (post("/item"), CrossSite::Allow),
        (RequestAttributes { method: None, ..post("/item") }, CrossSite::Deny),
        (RequestAttributes { method: Some("DELETE"), ..post("/item/") }, CrossSite::Deny),
    ] {
        assert_eq!(treatment(&app, request), expected, "{request:?}");
    }
}

#[test]
fn an_app_without_the_key_is_not_guarded() {
    for rules in
        [vec![], vec![rule(PathPattern::Any, RuleAccess::Deny)], vec![with(CrossSite::Allow, PathPattern::Any)]]
    {
        assert!(!guarded(CrossSite::Allow, rules).cross_site.is_on());
    }
}

/// Rules with every treatment.
fn guarded_rules() -> impl Strategy<Value = Vec<Rule>> {
    let treatments = prop::sample::select(vec![None, Some(CrossSite::Allow), Some(CrossSite::Deny)]);
    (rules(), prop::collection::vec(treatments, 5)).prop_map(|(rules, treatments)| {
        let both = rules.into_iter().zip(treatments);
        both.map(|(rule, cross_site)| Rule { cross_site, access: RuleAccess::Allow(groups(&["staff"])), ..rule })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_096, ..ProptestConfig::default() })]

    #[test]
    fn what_is_excepted_from_the_guard_is_so_under_whatever_any_server_serves(
        path in path(),
        rules in guarded_rules(),
        is_on: bool,
    ) {
        let default = if is_on { CrossSite::Deny } else { CrossSite::Allow };
        let app = guarded(default, rules);
        if treatment(&app, post(&path)) == CrossSite::Allow {
            for served in served_by_any(&path) {
                for folds in [false, true] {
                    let matches_rule = |rule: &&Rule| {
                        is_at(&rule.path, &served, true) || folds && is_folded_at(&rule.path, &served)
                    };
                    let decisive = app.rules.iter().find(matches_rule);
                    let treatment = decisive.and_then(|rule| rule.cross_site).unwrap_or(default);
                    prop_assert_eq!(treatment, CrossSite::Allow, "{} as {} (folded: {}) under {:?}", path, served, folds, app);
                }
            }
        }
    }
}

//! Properties of readings: nobody passes whom a rule about the path that any server serves would not let in.

use std::sync::{Arc, LazyLock};

use percent_encoding::percent_decode_str;
use proptest::prelude::*;

use super::{ann, app, groups, rule};
use crate::{
    clock::Timestamp,
    identity::{Identity, PackedIdentity},
    policy::{
        Allow, App, Expression, PathPattern, RequestAttributes, Requirement, Rule, RuleAccess, RuleList,
        app::IdentityCondition,
        readings::{
            PathReader, express, fold, go, iis, nginx, nginx_unmerged, rails, reparsed, served_by_any, tomcat,
            whatwg_url, wsgi,
        },
    },
};

/// Pieces of both rules and requests, so that they meet.
fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "a",
        "b",
        "A",
        "B",
        "/",
        "/",
        "/",
        "//",
        ".",
        "..",
        "/./",
        "/../",
        ";",
        ";x",
        "%2f",
        "%2F",
        "%5c",
        "\\",
        "%61",
        "%41",
        "%252f",
        "%2561",
        "%20",
        " ",
        "%2e",
        "%3b",
        "%3f",
        "%23",
        "%00",
        "%zz",
        "%",
        ".json",
        ".JSON",
        "%c5%bf",
        "%e2%84%aa",
        "é",
    ])
}

pub(super) fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(piece(), 0..7).prop_map(|pieces| format!("/{}", pieces.concat()))
}

/// Expressions, compiled once.
static EXPRESSIONS: LazyLock<Vec<Arc<Expression>>> = LazyLock::new(|| {
    let texts = [
        ".*",
        "/a.*",
        "/[^/]+/b",
        "/(a|b)(/.*)?",
        "/A",
        "/[^a]",
        "/[ab]+/",
        "^/s$|^/k$",
        "/a/?",
        "/(?-i:B).+",
        "/a/b|/[^/]*",
        "/A/[a-z.]*",
        "/s/",
        "/b/a/.*",
    ];
    texts.map(|text| Expression::new(text).unwrap().into()).to_vec()
});

/// Paths that are valid in the configuration.
fn pattern() -> impl Strategy<Value = PathPattern> {
    let name = || prop::sample::select(vec!["/a", "/b", "/A", "/ab", "/s", "/k", "/a.json"]);
    let names = prop::collection::vec(name(), 0..3).prop_map(|names| names.concat());
    prop_oneof![
        3 => prop::sample::select(EXPRESSIONS.clone()).prop_map(PathPattern::Regex),
        1 => Just(PathPattern::files(["/a", "/B", "/a/b.json"])),
        1 => Just(PathPattern::Any),
        4 => names.clone().prop_map(|path| PathPattern::exact(if path.is_empty() { "/" } else { &path })),
        4 => names.prop_map(|path| PathPattern::prefix(&format!("{path}/"))),
    ]
}

pub(super) fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let access = prop::sample::select(vec![
        RuleAccess::Public,
        RuleAccess::Public,
        RuleAccess::Optional,
        RuleAccess::Authenticated,
        RuleAccess::Deny,
        RuleAccess::Allow(groups(&["staff"])),
        RuleAccess::Allow(groups(&["admins"])),
    ]);
    prop::collection::vec((pattern(), access).prop_map(|(path, access)| rule(path, access)), 1..5)
}

/// Rules, enough of them for an index, some of them about methods.
fn many_rules() -> impl Strategy<Value = Vec<Rule>> {
    let methods = prop::sample::select(vec![&[][..], &[], &["GET"], &["POST"]]);
    let narrow = |(rules, methods): (Vec<Rule>, &[&str])| {
        let methods: Vec<_> = methods.iter().map(|&method| method.to_owned()).collect();
        rules.into_iter().map(move |rule| Rule { methods: methods.clone(), ..rule }).collect::<Vec<_>>()
    };
    prop::collection::vec((rules(), methods).prop_map(narrow), 1..5).prop_map(|rules| rules.concat())
}

/// What is asked of a request: the rules by their place.
fn summary(app: &App, request: RequestAttributes<'_>) -> String {
    let place = |rule: &Rule| app.rules.iter().position(|own| std::ptr::eq(own, rule)).unwrap();
    let places = |rules: &[&Rule]| rules.iter().map(|rule| place(rule)).collect::<Vec<_>>();
    match app.requirement(request) {
        Requirement::Identity(test) => match test.condition {
            IdentityCondition::Rule(rule) => format!("rule {}", place(rule)),
            IdentityCondition::Rules(rules) => format!("rules {:?}", places(&rules)),
            IdentityCondition::RulesAndAllow(rules) => format!("rules {:?} and allow", places(&rules)),
            IdentityCondition::Allow => "allow".to_owned(),
            IdentityCondition::Every => "every".to_owned(),
        },
        open_or_denied => format!("{open_or_denied:?}"),
    }
}

/// Returns `true` if the gate's decision lets an identity in.
fn passes(app: &App, path: &str, who: Option<&Identity>) -> bool {
    match (app.requirement(RequestAttributes { path, method: Some("GET"), client: None }), who) {
        (Requirement::Public | Requirement::Optional, _) => true,
        (Requirement::Identity(test), Some(who)) => test.judge(&PackedIdentity::new(who), Timestamp::default()).is_ok(),
        (Requirement::Identity(_) | Requirement::Bearer(_) | Requirement::Denied, _) => false,
    }
}

/// Segments of a path as a file system or a router folds them.
fn names(path: &str) -> Vec<String> {
    let names = path.split('/').map(|name| name.trim_end_matches([' ', '.']));
    names.filter(|name| !name.is_empty()).map(|name| name.to_uppercase().to_lowercase()).collect()
}

pub(super) fn is_at(pattern: &PathPattern, served: &str, is_closing: bool) -> bool {
    match pattern {
        PathPattern::Any => true,
        PathPattern::Exact(_) | PathPattern::Files(_) => pattern.exact_paths().iter().any(|own| own.as_str() == served),
        PathPattern::Prefix(folder) => {
            served.starts_with(folder.as_str()) || is_closing && folder.as_str().strip_suffix('/') == Some(served)
        }
        PathPattern::Regex(expression) => expression.matches(served),
    }
}

pub(super) fn is_folded_at(pattern: &PathPattern, served: &str) -> bool {
    match pattern {
        PathPattern::Any => true,
        PathPattern::Exact(_) | PathPattern::Files(_) => {
            pattern.exact_paths().iter().any(|own| names(own.as_str()) == names(served))
        }
        PathPattern::Prefix(folder) => names(served).starts_with(&names(folder.as_str())),
        PathPattern::Regex(expression) => {
            let bare = format!("/{}", names(served).join("/"));
            let spellings = [bare.clone(), bare.to_uppercase(), served.to_lowercase(), served.to_uppercase()];
            spellings.iter().any(|path| expression.matches(path) || expression.matches(&format!("{path}/")))
        }
    }
}

/// Returns `true` if the first rule that matches a served path lets an identity in. On a server that folds names, a rule that closes
/// matches every spelling of its path.
fn is_let_in(app: &App, served: &str, folds: bool, who: Option<&Identity>) -> bool {
    let packed = who.map(PackedIdentity::new);
    let matches_rule = |rule: &&Rule| {
        let closes = !rule.access.opens();
        is_at(&rule.path, served, closes) || folds && closes && is_folded_at(&rule.path, served)
    };
    match app.rules.iter().find(matches_rule).map(|rule| &rule.access) {
        Some(access) if access.opens() => true,
        Some(access) => packed.is_some_and(|who| access.judge(&who, Timestamp::default()).is_ok()),
        None => packed.is_some_and(|who| app.allow.admits(&who)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_096, ..ProptestConfig::default() })]

    #[test]
    fn whoever_passes_is_let_in_to_whatever_any_server_serves(path in path(), rules in rules(), is_open: bool) {
        let allow = if is_open { Allow::default() } else { groups(&["staff"]) };
        let app = App { allow, rules: rules.into(), ..app("a", &["a.example"]) };
        let (staff, stranger) = (ann(), Identity { groups: vec!["guests".to_owned()], ..ann() });
        for who in [None, Some(&staff), Some(&stranger)] {
            if !passes(&app, &path, who) {
                continue;
            }
            for served in served_by_any(&path) {
                for folds in [false, true] {
                    prop_assert!(is_let_in(&app, &served, folds, who), "{path} is served as {served} (folded: {folds}) to {who:?} under {app:?}");
                }
            }
        }
    }

    #[test]
    fn where_a_path_is_opened_every_server_serves_that_very_path(path in path(), rules in rules()) {
        let app = App { rules: rules.into(), ..app("a", &["a.example"]) };
        if passes(&app, &path, None) {
            let decoded = percent_decode_str(&path).decode_utf8().unwrap();
            for served in served_by_any(&path) {
                prop_assert_eq!(&served, &decoded);
            }
            let opens = |rule: &&Rule| rule.access.opens() && is_at(&rule.path, &decoded, false);
            prop_assert!(app.rules.iter().any(|rule| opens(&rule)));
        }
    }

    #[test]
    fn folding_keeps_the_names_and_nothing_else(path in path()) {
        let folded = fold(&path);
        prop_assert_eq!(folded.split('/').skip(1).filter(|name| !name.is_empty()).collect::<Vec<_>>(), names(&path));
        prop_assert!(folded == "/" || !folded.ends_with('/'));
        prop_assert_eq!(fold(&folded), folded.clone());
    }
}

proptest! {
    // An index is built for each case, which is slow without optimization.
    #![proptest_config(ProptestConfig { cases: 1_024, ..ProptestConfig::default() })]

    #[test]
    fn an_index_of_rules_leaves_out_none_that_matters(
        path in path(),
        rules in many_rules(),
        method in prop::sample::select(vec![Some("GET"), Some("HEAD"), None]),
    ) {
        let plain = App { rules: RuleList::plain(rules.clone()), ..app("a", &["a.example"]) };
        let indexed = App { rules: RuleList::indexed(rules), ..app("a", &["a.example"]) };
        let request = RequestAttributes { path: &path, method, client: None };
        prop_assert_eq!(summary(&indexed, request), summary(&plain, request));
    }
}

#[test]
fn each_server_reads_paths_in_its_own_way() {
    let cases: [(PathReader, &str, &str); 13] = [
        (nginx, "/a//b/../c%2fd", "/a/c/d"),
        (nginx, "/a%23b", "/a"),
        (nginx_unmerged, "/a//b", "/a//b"),
        (whatwg_url, "//x/admin", "/admin"),
        (whatwg_url, "/a\\b/%2e%2e/c", "/a/c"),
        (express, "/group%2Fname/%61", "/group%2Fname/a"),
        (go, "/a/./b//c/..", "/a/b/"),
        (tomcat, "/public/..;/admin", "/admin"),
        (tomcat, "/a;x%2fy/b", "/a/b"),
        (wsgi, "/a%2f%2e%2e/b", "/a/../b"),
        (rails, "/a//b%20", "/a/b "),
        (iis, "/a%5cb;c/d", "/a/b/d"),
        (reparsed, "/a%3fb", "/a"),
    ];
    for (serve, path, expected) in cases {
        assert_eq!(serve(path), expected, "{path}");
    }
}

//! Expressions, presets and bearer rules, under all readings of a path.

use serde_json::Value;

use super::{app, exact, get, groups, prefix, regex, rule, vectors};
use crate::policy::{Allow, App, PathPattern, RequestAttributes, Requirement, Rule, RuleAccess, path::is_ambiguous};

fn with_rules(rules: Vec<Rule>) -> App {
    App { rules: rules.into(), ..app("a", &["a.example"]) }
}

/// What a request has to bring.
fn needs(app: &App, request: RequestAttributes<'_>) -> &'static str {
    match app.requirement(request) {
        Requirement::Public => "nothing",
        Requirement::Optional => "nothing, but told who",
        Requirement::Identity(_) => "a session",
        Requirement::Bearer(_) => "a credential",
        Requirement::Denied => "denied",
    }
}

fn bearer() -> RuleAccess {
    RuleAccess::Bearer(Allow::default())
}

#[test]
fn an_expression_opens_only_whole_paths_that_every_server_reads_in_one_way() {
    let app = with_rules(vec![
        rule(regex("/foo/.*/bar"), RuleAccess::Public),
        rule(regex("/api/.*/status"), RuleAccess::Public),
        rule(regex("/allowed"), RuleAccess::Public),
        rule(regex("/public/.*"), RuleAccess::Optional),
    ]);
    for (path, expected) in [
        ("/foo/x/bar", "nothing"),
        ("/foo/secret%23/bar", "a session"),
        ("/foo/secret#/bar", "a session"),
        ("/foo/secret%3f/bar", "a session"),
        ("/foo/secret;/bar", "a session"),
        ("/foo/x%2fbar", "a session"),
        ("/FOO/x/bar", "a session"),
        ("/foo/x/bar/", "a session"),
        ("/api/v1/status", "nothing"),
        ("/api/private/sensitive", "a session"),
        ("/api/private/sensitive?path=/status", "a session"),
        ("/allowed", "nothing"),
        ("/admin", "a session"),
        ("/admin/allowed", "a session"),
        ("/allowed/x", "a session"),
        ("/public/x", "nothing, but told who"),
        ("/public/a%20b", "nothing, but told who"),
        ("/public/../admin", "a session"),
        ("/public/%2e%2e/admin", "a session"),
        ("/public/..;/admin", "a session"),
        ("/public/..%5cadmin", "a session"),
        ("/public//admin", "a session"),
        ("/public/%61", "a session"),
        ("/public/%c0%ae", "a session"),
    ] {
        assert_eq!(needs(&app, get(path)), expected, "{path}");
    }
    let long = format!("/public/{}", "x".repeat(5_000));
    assert_eq!(needs(&app, get(&long)), "a session", "too long to be held against an expression");
}

#[test]
fn an_expression_that_closes_closes_what_servers_fold_to_its_paths() {
    let app = with_rules(vec![
        rule(exact("/reports/7.csv"), RuleAccess::Public),
        rule(regex("/reports/[0-9]+"), RuleAccess::Deny),
        rule(regex("/Admin/(users|keys)/.*"), RuleAccess::Deny),
        rule(regex("/[^a-y]/private"), RuleAccess::Deny),
        rule(prefix("/"), RuleAccess::Public),
    ]);
    for (path, expected) in [
        ("/reports/x", "nothing"),
        ("/reports/7", "denied"),
        ("/REPORTS/7", "denied"),
        ("/reports/7/", "denied"),
        ("/reports/7%20", "denied"),
        ("/reports/7.", "denied"),
        ("/reports/7.json", "denied"),
        ("/reports/7.csv", "nothing"),
        ("/reports/7.zip", "nothing"),
        ("/reports//7", "denied"),
        ("/reports%2f7", "denied"),
        ("/reports%5c7", "denied"),
        ("/reports/7;x", "denied"),
        ("/reports/%37", "denied"),
        ("/reports/%2537", "denied"),
        ("/reports/7%3fx", "denied"),
        ("/reports/7/x", "nothing"),
        ("/admin/users/ann", "denied"),
        ("/ADMIN/keys", "denied"),
        ("/admin/keys/", "denied"),
        ("/admin/other/x", "nothing"),
        ("/z/private", "denied"),
        ("/Z/PRIVATE", "denied"),
        ("/B/private", "denied"),
        ("/b/private", "denied"),
    ] {
        assert_eq!(needs(&app, get(path)), expected, "{path}");
    }
    let long = format!("/{}", "x".repeat(5_000));
    assert_eq!(needs(&app, get(&long)), "denied", "too long to be held against an expression");
}

#[test]
fn paths_that_a_peer_has_to_clean_are_opened_by_no_expression_and_closed_by_every_one() {
    let (open, closed) = (
        with_rules(vec![rule(regex(".*"), RuleAccess::Public)]),
        with_rules(vec![rule(regex(".*"), RuleAccess::Deny)]),
    );
    let file: Value = serde_json::from_str(&vectors("path-normalisation.json")).unwrap();
    for case in file["groups"].as_array().unwrap().iter().flat_map(|group| group["cases"].as_array().unwrap()) {
        let target = case["have"].as_str().unwrap().splitn(4, '/').nth(3).unwrap();
        let raw = format!("/{}", target.split('?').next().unwrap());
        let expected = if is_ambiguous(&raw) { "a session" } else { "nothing" };
        assert_eq!(needs(&open, get(&raw)), expected, "{raw}");
        assert_eq!(needs(&closed, get(&raw)), "denied", "{raw}");
    }
}

#[test]
fn the_icons_of_an_app_are_open_to_whoever_only_reads_them() {
    let icons = Rule {
        methods: vec!["GET".to_owned(), "HEAD".to_owned()],
        ..rule(PathPattern::pwa_assets(), RuleAccess::Public)
    };
    let app = with_rules(vec![icons, rule(exact("/manifest"), RuleAccess::Deny)]);
    for path in [
        "/favicon.ico",
        "/favicon.svg",
        "/favicon-32x32.png",
        "/apple-touch-icon.png",
        "/apple-touch-icon-precomposed.png",
        "/apple-touch-icon-180x180.png",
        "/apple-touch-icon-120x120-precomposed.png",
        "/manifest.webmanifest",
        "/site.webmanifest",
        "/manifest.json",
        "/browserconfig.xml",
        "/android-chrome-192x192.png",
    ] {
        for method in ["GET", "HEAD"] {
            let request = RequestAttributes { method: Some(method), ..get(path) };
            assert_eq!(needs(&app, request), "nothing", "{method} {path}");
        }
        for method in [Some("POST"), Some("OPTIONS"), None] {
            let request = RequestAttributes { method, ..get(path) };
            assert_ne!(needs(&app, request), "nothing", "{method:?} {path}");
        }
        for near in
            [format!("{path}/"), format!("{path}/x"), format!("/x{path}"), path.to_uppercase(), format!("/{path}")]
        {
            assert_ne!(needs(&app, get(&near)), "nothing", "{near}");
        }
    }
    for other in
        ["/", "/robots.txt", "/sw.js", "/favicon.ico.json", "/favicon-33x33.png", "/.well-known/assetlinks.json"]
    {
        assert_eq!(needs(&app, get(other)), "a session", "{other}");
    }
    assert_eq!(needs(&app, get("/manifest.xml")), "denied", "no file of the preset, and a format of what is closed");
}

#[test]
fn what_asks_for_a_credential_and_for_a_session_at_once_is_passed_by_nobody() {
    let staff = || RuleAccess::Bearer(groups(&["staff"]));
    let posts = Rule { methods: vec!["POST".to_owned()], ..rule(prefix("/posts/"), bearer()) };
    let app = with_rules(vec![
        rule(exact("/open"), RuleAccess::Public),
        rule(prefix("/api/admin/"), staff()),
        rule(prefix("/api/"), bearer()),
        rule(regex("/v[0-9]+/.*"), bearer()),
        rule(prefix("/people/"), RuleAccess::Authenticated),
        posts,
    ]);
    for (path, expected) in [
        ("/", "a session"),
        ("/open", "nothing"),
        ("/api/x", "a credential"),
        ("/api", "a credential"),
        ("/api/a%2Fb", "a credential"),
        ("/api/a;x/b", "a credential"),
        ("/api/Admin/x", "a credential"),
        ("/v2/x", "a credential"),
        ("/people/x", "a session"),
        ("/a%2Fb", "a session"),
        // One server takes these for the API, and another for a page.
        ("/API/x", "denied"),
        ("/api.json", "denied"),
        ("//x/api/y", "denied"),
        ("/api%2fx", "denied"),
        ("/V2/x", "denied"),
        // No list of readings is complete.
        ("/api/../x", "denied"),
        ("/x/..%2fy", "denied"),
    ] {
        assert_eq!(needs(&app, get(path)), expected, "{path}");
    }
    let ask = |method| RequestAttributes { method, ..get("/posts/7") };
    for (method, expected) in [(Some("POST"), "a credential"), (Some("GET"), "a session"), (None, "denied")] {
        assert_eq!(needs(&app, ask(method)), expected, "{method:?}");
    }
    let everywhere = with_rules(vec![rule(prefix("/api/admin/"), staff()), rule(prefix("/"), bearer())]);
    for path in ["/", "/API/Admin/x", "/a%2Fb", "//x"] {
        assert_eq!(needs(&everywhere, get(path)), "a credential", "{path}");
    }
    let open_below = with_rules(vec![rule(exact("/api/Docs"), bearer()), rule(prefix("/api/"), RuleAccess::Public)]);
    assert_eq!(needs(&open_below, get("/api/docs")), "a credential", "what is open asks for nothing else");
}

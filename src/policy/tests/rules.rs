//! What a request needs, and who has it.

use std::net::IpAddr;

use super::{ann, app, claims, groups, rule};
use crate::{
    identity::{Identity, Packed, Subject},
    policy::{Access, Allow, App, Asked, Denial, Expression, Lack, PathPattern, Requirement, Rule},
};

fn exact(path: &str) -> PathPattern {
    PathPattern::Exact(path.to_owned())
}

fn prefix(path: &str) -> PathPattern {
    PathPattern::Prefix(path.to_owned())
}

fn asked(path: &str) -> Asked<'_> {
    Asked { path, method: Some("GET"), client: None }
}

/// How a request of `identity` ends.
fn verdict(app: &App, asked: Asked<'_>, identity: &Identity) -> &'static str {
    match app.requirement(asked) {
        Requirement::Nothing => "public",
        Requirement::Optional => "optional",
        Requirement::Denied => "denied",
        Requirement::Identity(test) => match test.judge(&Packed::new(identity)) {
            Ok(()) => "in",
            Err(Denial::NotAllowed(_)) => "not allowed",
            Err(Denial::Rule) => "ruled out",
        },
    }
}

fn with_rules(allow: Allow, rules: Vec<Rule>) -> App {
    App { allow, rules, ..app("a", &["a.example"]) }
}

#[test]
fn the_first_rule_that_is_about_the_request_decides_before_allow() {
    let app = with_rules(
        groups(&["admins"]),
        vec![
            rule(exact("/health"), Access::Public),
            rule(exact("/public/secret"), Access::Deny),
            rule(prefix("/public/"), Access::Public),
            rule(prefix("/maybe/"), Access::Optional),
            rule(prefix("/all/"), Access::Authenticated),
            rule(prefix("/staff/"), Access::Allow(groups(&["staff"]))),
            rule(PathPattern::Regex(Expression::new("/api/[0-9]+|/v2").unwrap()), Access::Public),
        ],
    );
    for (path, expected) in [
        ("/health", "public"),
        ("/health/", "not allowed"),
        ("/healthz", "not allowed"),
        ("/public/a", "public"),
        ("/public/secret", "denied"),
        ("/maybe/x", "optional"),
        ("/all/x", "in"),
        ("/staff/x", "in"),
        ("/staff%20x", "not allowed"),
        ("/api/12", "public"),
        ("/v2", "public"),
        ("/v2/x", "not allowed"),
        ("/x/api/12", "not allowed"),
        ("/", "not allowed"),
    ] {
        assert_eq!(verdict(&app, asked(path), &ann()), expected, "{path}");
    }
}

#[test]
fn an_expression_that_only_makes_sense_inside_the_anchors_is_refused() {
    assert!(Expression::new("/a)|(/b").is_err());
    assert!(Expression::new("/a(").is_err());
    assert_eq!(Expression::new("/a").unwrap(), Expression::new("/a").unwrap());
}

#[test]
fn methods_and_networks_narrow_a_rule_and_the_unknown_matches_neither() {
    let app = with_rules(
        Allow::Anyone,
        vec![
            Rule { methods: vec!["GET".to_owned()], ..rule(exact("/m"), Access::Public) },
            Rule { networks: vec!["192.168.0.0/16".parse().unwrap()], ..rule(exact("/n"), Access::Public) },
        ],
    );
    let ask =
        |path, method, client: Option<&str>| Asked { path, method, client: client.map(|text| text.parse().unwrap()) };
    for (asked, expected) in [
        (ask("/m", Some("GET"), None), "public"),
        (ask("/m", Some("HEAD"), None), "in"),
        (ask("/m", Some("get"), None), "in"),
        (ask("/m", None, None), "in"),
        (ask("/n", None, Some("192.168.7.7")), "public"),
        (ask("/n", None, Some("::ffff:192.168.7.7")), "public"),
        (ask("/n", None, Some("203.0.113.9")), "in"),
        (ask("/n", None, None), "in"),
    ] {
        assert_eq!(verdict(&app, asked, &ann()), expected, "{asked:?}");
    }
}

#[test]
fn an_ambiguous_path_passes_only_where_every_rule_and_the_app_would_let_in() {
    let odd =
        ["/public/../admin", "/public/%2e%2e/admin", "/public/..;/admin", "/public//x", "/%70ublic/x", "/public/x%23"];
    let open = vec![rule(prefix("/public/"), Access::Public), rule(prefix("/maybe/"), Access::Optional)];
    let staff_only = rule(prefix("/staff/"), Access::Allow(groups(&["staff"])));
    let admins_only = rule(prefix("/admin/"), Access::Allow(groups(&["admins"])));
    let elsewhere = Rule {
        methods: vec!["DELETE".to_owned()],
        networks: vec!["192.0.2.0/24".parse().unwrap()],
        ..rule(exact("/x"), Access::Deny)
    };
    let and = |more: Rule| open.iter().cloned().chain([more]).collect::<Vec<_>>();
    for (allow, rules, expected) in [
        (Allow::Anyone, open.clone(), "in"),
        (groups(&["admins"]), open.clone(), "not allowed"),
        (Allow::Anyone, and(staff_only), "in"),
        (Allow::Anyone, and(admins_only), "not allowed"),
        (Allow::Anyone, and(rule(exact("/x"), Access::Deny)), "denied"),
        (Allow::Anyone, and(elsewhere), "denied"),
        (groups(&["staff"]), Vec::new(), "in"),
        (groups(&["admins"]), Vec::new(), "not allowed"),
    ] {
        let app = with_rules(allow, rules);
        for path in odd {
            assert_eq!(verdict(&app, asked(path), &ann()), expected, "{path} {app:?}");
        }
    }
}

#[test]
fn any_one_of_group_user_and_claim_lets_in() {
    let words = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let set = |groups: &[&str], users: &[&str], claim: Option<(&str, &[&str])>| Allow::Some {
        groups: words(groups),
        users: words(users),
        claims: claim.into_iter().map(|(path, accepted)| (path.to_owned(), words(accepted))).collect(),
    };
    for (allow, expected) in [
        (set(&["staff"], &[], None), true),
        (set(&["Staff"], &[], None), false),
        (set(&["x", "Ops"], &["y"], None), true),
        (set(&["x"], &["ann@example.com"], None), true),
        (set(&[], &["ANN@EXAMPLE.COM"], None), true),
        (set(&[], &["7f3a"], None), true),
        (set(&[], &["7F3A"], None), false),
        (set(&[], &["ann"], None), false),
        (set(&[], &[""], None), false),
        (set(&[], &["@example.com"], None), false),
        (set(&[], &["*@example.com"], None), true),
        (set(&[], &["*@EXAMPLE.com"], None), true),
        (set(&[], &["*@sub.example.com"], None), false),
        (set(&[], &["*@ample.com"], None), false),
        (set(&[], &["*@com"], None), false),
        (set(&[], &["*@"], None), false),
        (set(&[], &["*"], None), false),
        (set(&["*"], &[], None), false),
        (set(&[], &[], Some(("department", &["hr", "it"]))), true),
        (set(&[], &[], Some(("team", &["red"]))), true),
        (set(&[], &[], Some(("team", &["blue"]))), false),
        (set(&[], &[], Some(("level", &["3"]))), true),
        (set(&[], &[], Some(("level", &["3.0"]))), false),
        (set(&[], &[], Some(("level", &["33"]))), false),
        (set(&[], &[], Some(("level", &[""]))), false),
        (set(&[], &[], Some(("cleared", &["true"]))), true),
        (set(&[], &[], Some(("cleared", &["True"]))), false),
        (set(&[], &[], Some(("cleared", &["false"]))), false),
        (set(&[], &[], Some(("written", &["true"]))), true),
        (set(&[], &[], Some(("share", &["0.5"]))), true),
        (set(&[], &[], Some(("numbers", &["7"]))), true),
        (set(&[], &[], Some(("nothing", &["null"]))), false),
        (set(&[], &[], Some(("missing", &[""]))), false),
        (set(&[], &[], None), false),
        (Allow::Anyone, true),
    ] {
        assert_eq!(allow.admits(&Packed::new(&ann())), expected, "{allow:?}");
    }
}

#[test]
fn an_address_that_nobody_vouches_for_is_nobodys_and_the_refusal_says_so() {
    let named = |users: &[&str], groups: &[&str], emails: &[&str]| {
        let words = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let claims = if emails.is_empty() { Vec::new() } else { vec![("email".to_owned(), words(emails))] };
        Allow::Some { groups: words(groups), users: words(users), claims }
    };
    let unverified = Identity {
        email_verified: false,
        claims: claims(serde_json::json!({ "email": "Ann@Example.com", "email_verified": false })),
        ..ann()
    };
    let unverified = Packed::new(&unverified);
    for (allow, lack) in [
        (named(&["ann@example.com"], &[], &[]), Lack::VerifiedEmail),
        (named(&["*@example.com"], &[], &[]), Lack::VerifiedEmail),
        (named(&["*@example.com"], &["admins"], &[]), Lack::VerifiedEmail),
        (named(&[], &[], &["Ann@Example.com"]), Lack::VerifiedEmail),
        (named(&["ben@example.com", "*@other.example"], &[], &[]), Lack::Other),
        (named(&["ben@example.com"], &["admins"], &[]), Lack::Group),
        (named(&[], &["admins"], &[]), Lack::Group),
        (named(&[], &[], &["ben@example.com"]), Lack::Other),
    ] {
        assert!(!allow.admits(&unverified), "{allow}");
        assert_eq!(allow.lack(&unverified), lack, "{allow}");
    }
    assert!(named(&["ann@example.com", "7f3a"], &[], &[]).admits(&unverified), "the subject is her own");
    assert!(named(&["ann@example.com"], &["staff"], &[]).admits(&unverified), "and so are her groups");
}

#[test]
fn a_domain_is_everybody_whose_one_at_sign_is_before_it() {
    let allow = Allow::Some { groups: vec![], users: vec!["*@example.com".to_owned()], claims: vec![] };
    for (email, expected) in [
        ("ann@example.com", true),
        ("ANN@EXAMPLE.COM", true),
        ("*@example.com", true),
        ("@example.com", false),
        ("ann@sub.example.com", false),
        ("ann@notexample.com", false),
        ("ann@example.com.evil.example", false),
        ("ann@example.com.", false),
        ("ann@evil.example@example.com", false),
        ("ann@example.com@evil.example", false),
        ("example.com", false),
        ("", false),
    ] {
        // A subject of the same text is no address.
        let identity = Identity { email: email.to_owned(), subject: Subject("*@example.com".to_owned()), ..ann() };
        assert_eq!(allow.admits(&Packed::new(&identity)), expected, "{email}");
    }
}

#[test]
fn a_set_of_people_prints_as_it_is_configured() {
    let allow = Allow::Some {
        groups: vec!["admins".to_owned()],
        users: vec!["*@example.com".to_owned()],
        claims: vec![("department".to_owned(), vec!["ops".to_owned(), "it".to_owned()])],
    };
    let printed = r#"groups = ["admins"] or users = ["*@example.com"] or claims.department = ["ops", "it"]"#;
    assert_eq!(allow.to_string(), printed);
    assert_eq!(Allow::Anyone.to_string(), "anybody who is signed in");
}

#[test]
fn an_address_with_two_at_signs_is_nobodys() {
    let allow = Allow::Some {
        groups: vec![],
        users: vec!["ann@evil.example@example.com".to_owned(), "ann@example.com".to_owned()],
        claims: vec![],
    };
    for email in ["ann@evil.example@example.com", "", "ann", "ann@example.com@"] {
        let identity = Identity {
            email: email.to_owned(),
            email_verified: true,
            subject: Subject(String::new()),
            claims: claims(serde_json::json!({})),
            ..ann()
        };
        assert!(!allow.admits(&Packed::new(&identity)), "{email}");
    }
}

#[test]
fn addresses_are_compared_as_what_they_are() {
    let mapped: IpAddr = "::ffff:192.168.0.1".parse().unwrap();
    let rule = Rule { networks: vec!["192.168.0.0/16".parse().unwrap()], ..rule(PathPattern::Any, Access::Deny) };
    assert!(rule.covers(&Asked { path: "/", method: None, client: Some(mapped) }));
}

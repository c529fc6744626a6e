//! Requirements of requests, and the identities that meet them.

use std::net::IpAddr;

use http::HeaderValue;

use super::{ann, app, claims, exact, get, groups, prefix, regex, rule};
use crate::{
    clock::Timestamp,
    identity::{ClaimsStanding, Identity, PackedIdentity, Subject},
    policy::{Allow, App, Denial, MissingGrant, PathPattern, People, RequestAttributes, Requirement, Rule, RuleAccess},
};

/// Outcome of a request of `identity`.
fn verdict(app: &App, request: RequestAttributes<'_>, identity: &Identity) -> &'static str {
    match app.requirement(request) {
        Requirement::Public => "public",
        Requirement::Optional => "optional",
        Requirement::Bearer(_) => "bearer",
        Requirement::Denied => "denied",
        Requirement::Identity(test) => match test.judge(&PackedIdentity::new(identity), Timestamp::default()) {
            Ok(()) => "in",
            Err(Denial::NotAllowed(_)) => "not allowed",
            Err(Denial::StepUp(_)) => "step-up",
            Err(Denial::Narrowed(_)) => "narrowed",
            Err(Denial::Rule) => "ruled out",
        },
    }
}

fn with_rules(allow: Allow, rules: Vec<Rule>) -> App {
    App { allow, rules: rules.into(), ..app("a", &["a.example"]) }
}

#[test]
fn the_first_rule_that_is_about_the_request_decides_before_allow() {
    let app = with_rules(
        groups(&["admins"]),
        vec![
            rule(exact("/health"), RuleAccess::Public),
            rule(exact("/public/secret"), RuleAccess::Deny),
            rule(prefix("/public/"), RuleAccess::Public),
            rule(prefix("/maybe/"), RuleAccess::Optional),
            rule(prefix("/all/"), RuleAccess::Authenticated),
            rule(prefix("/staff/"), RuleAccess::Allow(groups(&["staff"]))),
            rule(regex("/api/[0-9]+|/v2"), RuleAccess::Public),
        ],
    );
    for (path, expected) in [
        ("/health", "public"),
        ("/Health", "not allowed"),
        ("/health/", "not allowed"),
        ("/healthz", "not allowed"),
        ("/public/a", "public"),
        ("/public", "not allowed"),
        ("/public/secret", "denied"),
        ("/public/Secret", "denied"),
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
        assert_eq!(verdict(&app, get(path), &ann()), expected, "{path}");
    }
}

#[test]
fn methods_and_networks_narrow_a_rule_and_the_unknown_is_opened_by_neither() {
    let app = with_rules(
        Allow::default(),
        vec![
            Rule { methods: vec!["GET".to_owned()], ..rule(exact("/m"), RuleAccess::Public) },
            Rule { networks: vec!["192.168.0.0/16".parse().unwrap()], ..rule(exact("/n"), RuleAccess::Public) },
        ],
    );
    let ask = |path, method, client: Option<&str>| RequestAttributes {
        path,
        method,
        client: client.map(|text| text.parse().unwrap()),
    };
    for (request, expected) in [
        (ask("/m", Some("GET"), None), "public"),
        (ask("/m", Some("HEAD"), None), "in"),
        (ask("/m", Some("get"), None), "in"),
        (ask("/m", None, None), "in"),
        (ask("/n", None, Some("192.168.7.7")), "public"),
        (ask("/n", None, Some("::ffff:192.168.7.7")), "public"),
        (ask("/n", None, Some("203.0.113.9")), "in"),
        (ask("/n", None, None), "in"),
    ] {
        assert_eq!(verdict(&app, request, &ann()), expected, "{request:?}");
    }
}

#[test]
fn an_unknown_method_or_client_may_be_any_that_a_rule_closes() {
    let closed = |rule: Rule| with_rules(Allow::default(), vec![Rule { access: RuleAccess::Deny, ..rule }]);
    let posts = closed(Rule { methods: vec!["POST".to_owned()], ..rule(PathPattern::Any, RuleAccess::Deny) });
    let gets = closed(Rule { methods: vec!["GET".to_owned()], ..rule(exact("/x"), RuleAccess::Deny) });
    let lan = closed(Rule { networks: vec!["192.168.0.0/16".parse().unwrap()], ..rule(exact("/x"), RuleAccess::Deny) });
    let ask = |method, client: Option<&str>| RequestAttributes {
        path: "/x",
        method,
        client: client.map(|text| text.parse().unwrap()),
    };
    for (app, request, expected) in [
        (&posts, ask(Some("POST"), None), "denied"),
        (&posts, ask(Some("GET"), None), "in"),
        (&posts, ask(None, None), "denied"),
        // HEAD is answered like GET.
        (&gets, ask(Some("HEAD"), None), "denied"),
        (&gets, ask(Some("OPTIONS"), None), "in"),
        (&lan, ask(Some("GET"), Some("192.168.7.7")), "denied"),
        (&lan, ask(Some("GET"), Some("203.0.113.9")), "in"),
        (&lan, ask(Some("GET"), None), "denied"),
    ] {
        assert_eq!(verdict(app, request, &ann()), expected, "{request:?}");
    }
}

#[test]
fn what_closes_closes_every_spelling_that_a_server_may_fold_to_it() {
    let app = with_rules(
        Allow::default(),
        vec![
            rule(exact("/data.json"), RuleAccess::Public),
            rule(exact("/data"), RuleAccess::Deny),
            rule(exact("/secret"), RuleAccess::Deny),
            rule(prefix("/Admin/"), RuleAccess::Allow(groups(&["admins"]))),
            rule(exact("/account"), RuleAccess::Authenticated),
            rule(regex("/api/[a-z]+/keys"), RuleAccess::Deny),
            rule(prefix("/"), RuleAccess::Public),
        ],
    );
    for (path, expected) in [
        ("/", "public"),
        ("/x", "public"),
        ("/secretary", "public"),
        ("/secret/x", "public"),
        ("/secret.zip", "public"),
        ("/adminx", "public"),
        ("/secret", "denied"),
        ("/SECRET", "denied"),
        ("/secret/", "denied"),
        ("/secret%20", "denied"),
        ("/secret%20%20/", "denied"),
        ("/secret.", "denied"),
        ("/secret./", "denied"),
        ("/secret.json", "denied"),
        ("/Secret.JSON", "denied"),
        ("/secret.pdf/", "denied"),
        ("/secret.html%20", "denied"),
        ("/%c5%bfecret", "denied"),
        ("/secret;x=1", "denied"),
        ("/secret%3bx", "denied"),
        ("/secret%3fx", "denied"),
        ("//secret", "denied"),
        ("/%2fsecret", "denied"),
        ("/%5csecret", "denied"),
        ("/\\secret", "denied"),
        ("//any.example/secret", "denied"),
        ("/%73ecret", "denied"),
        ("/%2573ecret", "denied"),
        ("/secret%252f", "denied"),
        ("/data.json", "public"),
        ("/data.xml", "denied"),
        ("/DATA.json", "denied"),
        ("/admin", "not allowed"),
        ("/admin.json", "not allowed"),
        ("/admin.zip", "public"),
        ("/admin/x", "not allowed"),
        ("/ADMIN/x", "not allowed"),
        ("/admin./x", "not allowed"),
        ("/admin%20/x", "not allowed"),
        ("/admin%2fx", "not allowed"),
        ("/admin;a/x", "not allowed"),
        ("/x//admin/y", "in"),
        ("/Account", "in"),
        ("/account.json", "in"),
        ("/account/x", "public"),
        ("/api/abc/keys", "denied"),
        ("/API/abc/keys/", "denied"),
        ("/api//abc/keys", "denied"),
    ] {
        assert_eq!(verdict(&app, get(path), &ann()), expected, "{path}");
    }
}

#[test]
fn a_path_with_several_readings_is_for_those_whom_each_of_them_lets_in() {
    let app = with_rules(
        groups(&["staff"]),
        vec![
            rule(prefix("/public/"), RuleAccess::Public),
            rule(prefix("/maybe/"), RuleAccess::Optional),
            rule(prefix("/never/"), RuleAccess::Deny),
            rule(prefix("/ops/"), RuleAccess::Allow(groups(&["Ops"]))),
            rule(prefix("/admin/"), RuleAccess::Allow(groups(&["admins"]))),
        ],
    );
    for (path, expected) in [
        // Another path is denied, and that is no reason to refuse this one.
        ("/api/projects/group%2Fname", "in"),
        ("/a;b=1/c", "in"),
        ("/a//b", "in"),
        ("/caf\u{e9}", "in"),
        ("/100%25", "in"),
        ("/public/a%2Fb", "in"),
        ("/maybe/a;b", "in"),
        ("/public//x", "in"),
        ("/%70ublic/x", "in"),
        ("/ops/a%2Fb", "in"),
        ("/ops%2Fb", "in"),
        ("/admin/a%2Fb", "not allowed"),
        ("/x%2F..x/admin/", "in"),
        ("//x/admin/a", "not allowed"),
        ("/never/a%2Fb", "denied"),
        ("/never%2Fb", "denied"),
    ] {
        assert_eq!(verdict(&app, get(path), &ann()), expected, "{path}");
    }
    let ops_only = with_rules(groups(&["admins"]), vec![rule(prefix("/ops/"), RuleAccess::Allow(groups(&["Ops"])))]);
    assert_eq!(verdict(&ops_only, get("/ops/a%2Fb"), &ann()), "in", "every reading is below /ops/");
    assert_eq!(verdict(&ops_only, get("/ops%2Fb"), &ann()), "not allowed", "one reading is not");
    assert_eq!(verdict(&ops_only, get("/Ops/b"), &ann()), "not allowed", "nor is this where case counts");
}

#[test]
fn a_path_that_nobody_can_read_passes_only_where_every_rule_and_the_app_would_let_in() {
    let odd = [
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/.%252e/admin",
        "/public/..;/admin",
        "/public/..%3bx/admin",
        "/public/..%5cadmin",
        "/public/..%20/admin",
        "/public/x%23",
        "/public/x%2523",
        "/public/x#y",
        "/public/x%00",
        "/public/x%2500",
        "/public/x%0d%0a",
        "/public/%c0%ae%c0%ae/admin",
        "/public/%zz",
        "/public/%u0041",
        "/public/100%",
        "/public/.",
    ];
    let open = vec![rule(prefix("/public/"), RuleAccess::Public), rule(prefix("/maybe/"), RuleAccess::Optional)];
    let staff_only = rule(prefix("/staff/"), RuleAccess::Allow(groups(&["staff"])));
    let admins_only = rule(prefix("/admin/"), RuleAccess::Allow(groups(&["admins"])));
    let elsewhere = Rule {
        methods: vec!["DELETE".to_owned()],
        networks: vec!["192.0.2.0/24".parse().unwrap()],
        ..rule(exact("/x"), RuleAccess::Deny)
    };
    let and = |more: Rule| open.iter().cloned().chain([more]).collect::<Vec<_>>();
    for (allow, rules, expected) in [
        (Allow::default(), open.clone(), "in"),
        (groups(&["admins"]), open.clone(), "not allowed"),
        (Allow::default(), and(staff_only), "in"),
        (Allow::default(), and(admins_only), "not allowed"),
        (Allow::default(), and(rule(exact("/x"), RuleAccess::Deny)), "denied"),
        (Allow::default(), and(elsewhere), "denied"),
        (groups(&["staff"]), Vec::new(), "in"),
        (groups(&["admins"]), Vec::new(), "not allowed"),
    ] {
        let app = with_rules(allow, rules);
        for path in odd {
            assert_eq!(verdict(&app, get(path), &ann()), expected, "{path} {app:?}");
        }
    }
    let long = format!("/public//{}", "x".repeat(5_000));
    let closed_elsewhere = with_rules(Allow::default(), and(rule(exact("/x"), RuleAccess::Deny)));
    assert_eq!(verdict(&closed_elsewhere, get(&long), &ann()), "denied", "too long to be read in several ways");
}

#[test]
fn any_one_of_group_user_and_claim_lets_in() {
    let words = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let set = |groups: &[&str], users: &[&str], claim: Option<(&str, &[&str])>| {
        Allow::from(People {
            groups: words(groups),
            users: words(users),
            claims: claim.into_iter().map(|(path, accepted)| (path.to_owned(), words(accepted))).collect(),
        })
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
        (Allow::default(), true),
    ] {
        assert_eq!(allow.admits(&PackedIdentity::new(&ann())), expected, "{allow:?}");
    }
}

#[test]
fn an_address_that_nobody_vouches_for_is_nobodys_and_the_refusal_says_so() {
    let named = |users: &[&str], groups: &[&str], emails: &[&str]| {
        let words = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let claims = if emails.is_empty() { Vec::new() } else { vec![("email".to_owned(), words(emails))] };
        Allow::from(People { groups: words(groups), users: words(users), claims })
    };
    let unverified = Identity {
        email_verified: false,
        claims: claims(serde_json::json!({ "email": "Ann@Example.com", "email_verified": false })),
        ..ann()
    };
    let unverified = PackedIdentity::new(&unverified);
    for (allow, lack) in [
        (named(&["ann@example.com"], &[], &[]), MissingGrant::VerifiedEmail),
        (named(&["*@example.com"], &[], &[]), MissingGrant::VerifiedEmail),
        (named(&["*@example.com"], &["admins"], &[]), MissingGrant::VerifiedEmail),
        (named(&[], &[], &["Ann@Example.com"]), MissingGrant::VerifiedEmail),
        (named(&["ben@example.com", "*@other.example"], &[], &[]), MissingGrant::Other),
        (named(&["ben@example.com"], &["admins"], &[]), MissingGrant::Group),
        (named(&[], &["admins"], &[]), MissingGrant::Group),
        (named(&[], &[], &["ben@example.com"]), MissingGrant::Other),
    ] {
        assert!(!allow.admits(&unverified), "{allow}");
        assert_eq!(allow.missing(&unverified), lack, "{allow}");
    }
    assert!(named(&["ann@example.com", "7f3a"], &[], &[]).admits(&unverified), "the subject is her own");
    assert!(named(&["ann@example.com"], &["staff"], &[]).admits(&unverified), "and so are her groups");
}

#[test]
fn a_group_that_may_not_have_been_told_is_another_cause_than_one_that_is_missing() {
    let allow = |groups: &[&str], users: &[&str]| {
        let words = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        Allow::from(People { groups: words(groups), users: words(users), claims: Vec::new() })
    };
    let incomplete = ClaimsStanding { groups_incomplete: true, ..ClaimsStanding::default() };
    let ben = PackedIdentity::new(&Identity { groups: vec!["staff".to_owned()], standing: incomplete, ..ann() });
    assert!(allow(&["staff"], &[]).admits(&ben), "those that were told count");
    for (allow, lack) in [
        (allow(&["owners"], &[]), MissingGrant::AllGroups),
        (allow(&["owners"], &["zoe@example.com"]), MissingGrant::AllGroups),
        (allow(&[], &["zoe@example.com"]), MissingGrant::Other),
    ] {
        assert!(!allow.admits(&ben), "rules by group stay closed: {allow}");
        assert_eq!(allow.missing(&ben), lack, "{allow}");
    }
}

#[test]
fn a_domain_is_everybody_whose_one_at_sign_is_before_it() {
    let allow = Allow::from(People { groups: vec![], users: vec!["*@example.com".to_owned()], claims: vec![] });
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
        assert_eq!(allow.admits(&PackedIdentity::new(&identity)), expected, "{email}");
    }
}

#[test]
fn a_set_of_people_prints_as_it_is_configured() {
    let allow = Allow::from(People {
        groups: vec!["admins".to_owned()],
        users: vec!["*@example.com".to_owned()],
        claims: vec![("department".to_owned(), vec!["ops".to_owned(), "it".to_owned()])],
    });
    let printed = r#"groups = ["admins"] or users = ["*@example.com"] or claims.department = ["ops", "it"]"#;
    assert_eq!(allow.to_string(), printed);
    assert_eq!(Allow::default().to_string(), "anybody who is signed in");
}

#[test]
fn an_address_with_two_at_signs_is_nobodys() {
    let allow = Allow::from(People {
        groups: vec![],
        users: vec!["ann@evil.example@example.com".to_owned(), "ann@example.com".to_owned()],
        claims: vec![],
    });
    for email in ["ann@evil.example@example.com", "", "ann", "ann@example.com@"] {
        let identity = Identity {
            email: email.to_owned(),
            email_verified: true,
            subject: Subject(String::new()),
            claims: claims(serde_json::json!({})),
            ..ann()
        };
        assert!(!allow.admits(&PackedIdentity::new(&identity)), "{email}");
    }
}

#[test]
fn addresses_are_compared_as_what_they_are() {
    let mapped: IpAddr = "::ffff:192.168.0.1".parse().unwrap();
    let rule = Rule { networks: vec!["192.168.0.0/16".parse().unwrap()], ..rule(PathPattern::Any, RuleAccess::Deny) };
    let request = RequestAttributes { path: "/", method: None, client: Some(mapped) };
    assert_eq!(verdict(&with_rules(Allow::default(), vec![rule]), request, &ann()), "denied");
}

#[test]
fn the_rule_that_decides_says_how_long_an_answer_is_kept() {
    let kept = |path, access, value: &'static str| Rule {
        cache_control: Some(HeaderValue::from_static(value)),
        ..rule(path, access)
    };
    let app = with_rules(
        Allow::default(),
        vec![
            kept(PathPattern::prefix("/assets/"), RuleAccess::Public, "assets"),
            kept(exact("/optional"), RuleAccess::Optional, "optional"),
            kept(PathPattern::prefix("/closed/"), RuleAccess::Authenticated, "closed"),
            rule(PathPattern::prefix("/silent/"), RuleAccess::Public),
            kept(exact("/denied"), RuleAccess::Deny, "denied"),
            Rule { methods: vec!["GET".to_owned()], ..kept(exact("/get"), RuleAccess::Public, "get") },
        ],
    );
    for (path, method, expected) in [
        ("/assets/a", "GET", Some("assets")),
        ("/optional", "GET", Some("optional")),
        ("/closed/a", "GET", Some("closed")),
        ("/silent/a", "GET", None),
        ("/denied", "GET", None),
        ("/get", "GET", Some("get")),
        ("/get", "HEAD", None),
        ("/other", "GET", None),
        // Closed by a reading that is not the path's own: nobody knows which file it is.
        ("/Closed/a", "GET", None),
        ("/assets/../closed/a", "GET", None),
        ("/assets%2fa", "GET", None),
    ] {
        let request = RequestAttributes { path, method: Some(method), client: None };
        let found = app.cache_control(request).map(|value| value.to_str().unwrap());
        assert_eq!(found, expected, "{method} {path}");
    }
}

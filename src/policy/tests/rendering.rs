//! Identity headers that apps receive.

use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;
use proptest::prelude::*;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::{ann, app, claims, policy, vectors};
use crate::{
    identity::{Identity, Subject, Tokens},
    policy::{
        App,
        headers::{
            BasicCredential, HeaderBudget, HeaderCut, HeaderFault, HeaderPlan, HeaderSpec, ListCut, PassedToken,
            PlanContext, Preset, plan,
        },
    },
};

fn about<'a>() -> PlanContext<'a> {
    PlanContext {
        app: "grafana",
        provider: "authentik",
        version: "1.2.3",
        passed: &[],
        budget: HeaderBudget::default(),
        named_groups: &[],
    }
}

fn presets() -> Vec<HeaderSpec> {
    Preset::ALL.iter().map(|preset| HeaderSpec::Preset(*preset)).collect()
}

fn own(name: &str, template: &str) -> HeaderSpec {
    HeaderSpec::Own(name.to_owned(), template.to_owned())
}

fn tokens() -> Tokens {
    Tokens {
        access: Some(SecretString::from("opaque-access")),
        id: Some(SecretString::from("eyJ.eyJ.sig")),
        ..Tokens::default()
    }
}

fn rendered(specs: &[HeaderSpec], identity: &Identity) -> HeaderMap {
    headers_of(&plan(specs, &about()).unwrap(), identity, &tokens())
}

/// Identity headers of an answer, without `Content-Length`.
fn headers_of(plan: &HeaderPlan, identity: &Identity, tokens: &Tokens) -> HeaderMap {
    let mut headers = plan.headers(&plan.render(identity, tokens).headers);
    assert_eq!(headers.remove("content-length").unwrap(), "0");
    headers
}

fn value<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    let mut lines = headers.get_all(name).iter();
    let line = lines.next().unwrap_or_else(|| panic!("{name} is missing"));
    assert!(lines.next().is_none(), "{name} is there twice");
    line.to_str().unwrap()
}

#[test]
fn presets_are_what_apps_know_from_elsewhere() {
    let identity = Identity {
        claims: claims(json!({"entitlements": ["read|all", "write"], "preferred_username": "ann"})),
        ..ann()
    };
    let made = plan(&presets(), &about()).unwrap();
    let headers = headers_of(&made, &identity, &tokens());
    let expected = [
        ("remote-user", "ann"),
        ("remote-email", "Ann@Example.com"),
        ("remote-name", "Ann %C3%85ngstr%C3%B6m"),
        ("remote-groups", "staff,Ops"),
        ("x-authentik-username", "ann"),
        ("x-authentik-email", "Ann@Example.com"),
        ("x-authentik-name", "Ann %C3%85ngstr%C3%B6m"),
        ("x-authentik-uid", "7f3a"),
        ("x-authentik-groups", "staff|Ops"),
        ("x-authentik-entitlements", "read%7Call|write"),
        ("x-authentik-jwt", ""),
        ("x-authentik-meta-jwks", ""),
        ("x-authentik-meta-outpost", "doorward"),
        ("x-authentik-meta-provider", "authentik"),
        ("x-authentik-meta-app", "grafana"),
        ("x-authentik-meta-version", "doorward/1.2.3"),
        ("x-auth-request-user", "7f3a"),
        ("x-auth-request-email", "Ann@Example.com"),
        ("x-auth-request-preferred-username", "ann"),
        ("x-auth-request-groups", "staff,Ops"),
        ("x-auth-request-access-token", ""),
    ];
    assert_eq!(headers.len(), expected.len());
    for (name, expected) in expected {
        assert_eq!(value(&headers, name), expected, "{name}");
    }
}

#[test]
fn a_token_leaves_only_where_the_configuration_says_so() {
    let context = PlanContext { passed: &[PassedToken::AccessToken, PassedToken::IdToken], ..about() };
    let made = plan(&presets(), &context).unwrap();
    let headers = headers_of(&made, &ann(), &tokens());
    assert_eq!(value(&headers, "x-authentik-jwt"), "eyJ.eyJ.sig");
    assert_eq!(value(&headers, "x-auth-request-access-token"), "opaque-access");
    assert!(headers["x-authentik-jwt"].is_sensitive());

    let strange = Tokens { access: Some(SecretString::from("a b\r\nx: y")), ..Tokens::default() };
    let headers = headers_of(&made, &ann(), &strange);
    assert_eq!((value(&headers, "x-authentik-jwt"), value(&headers, "x-auth-request-access-token")), ("", ""));
}

#[test]
fn attributes_fill_the_headers_that_are_listed_and_a_credential_is_whole_or_empty() {
    let basic = |user: Option<&str>| {
        let user_attribute = user.map(str::to_owned);
        HeaderSpec::Basic(BasicCredential { user_attribute, password_attribute: "app.password".to_owned() })
    };
    let with = |attributes: Value, user: Option<&str>| {
        let identity = Identity { claims: claims(json!({ "ak_proxy": { "user_attributes": attributes } })), ..ann() };
        let additional = ["X-Team", "X-Level", "X-On"].map(|name| HeaderSpec::Additional(name.to_owned()));
        let specs = [additional.to_vec(), vec![basic(user)]].concat();
        headers_of(&plan(&specs, &about()).unwrap(), &identity, &Tokens::default())
    };
    let attributes = json!({
        "additionalHeaders": { "x-team": "r\u{e9}d, 100%\r\nx: y", "X-LEVEL": 3, "X-On": true, "X-Other": "no" },
        "login": "ann", "app": { "password": "p:\u{e4}" },
    });
    let headers = with(attributes, Some("login"));
    assert_eq!(headers.len(), 4);
    assert_eq!(value(&headers, "x-team"), "r%C3%A9d, 100%25%0D%0Ax: y");
    assert_eq!((value(&headers, "x-level"), value(&headers, "x-on")), ("3", "true"));
    assert_eq!(value(&headers, "authorization"), "Basic YW5uOnA6w6Q=");
    assert!(headers["authorization"].is_sensitive());

    for (attributes, user, expected) in [
        (json!({ "app": { "password": "p" } }), None, "Basic QW5uQEV4YW1wbGUuY29tOnA="),
        (json!({ "app": { "password": "p" } }), Some("login"), "Basic QW5uQEV4YW1wbGUuY29tOnA="),
        (json!({ "login": "a:b", "app": { "password": "p" } }), Some("login"), ""),
        (json!({ "login": "a", "app": { "password": "p\n" } }), Some("login"), ""),
        (json!({ "login": "a", "app": { "password": 7 } }), Some("login"), ""),
        (json!({ "login": "a", "app": { "password": "" } }), Some("login"), ""),
        (json!({ "login": "a" }), Some("login"), ""),
        (json!({}), None, ""),
        (json!({ "additionalHeaders": { "X-Team": ["a"], "X-Level": null, "X-On": {} } }), None, ""),
        (json!({ "additionalHeaders": { "X-Team": "a", "x-team": "b" } }), None, ""),
    ] {
        let headers = with(attributes.clone(), user);
        assert_eq!(value(&headers, "authorization"), expected, "{attributes}");
        assert_eq!(["x-team", "x-level", "x-on"].map(|name| value(&headers, name)), ["", "", ""], "{attributes}");
    }
}

#[test]
fn nobody_has_all_the_headers_and_nothing_in_them() {
    let made = plan(&presets(), &about()).unwrap();
    let blank = made.blank();
    assert_eq!(blank.len(), made.fields().len() + made.constants().len() + 1);
    assert!(made.fields().iter().all(|(name, _)| blank[name].is_empty()));
}

#[test]
fn own_headers_are_filled_from_claims_and_empty_without_them() {
    let identity = Identity {
        claims: claims(json!({
            "team": "red, white", "department": ["ops", "a,b", 7], "level": 3, "on": true, "deep": {"x": "y"}, "sp": " x ",
        })),
        ..ann()
    };
    for (template, expected) in [
        ("{claims.team}", "red, white"),
        ("{claims.department}", "ops,a%2Cb"),
        ("{claims.level}", "3"),
        ("{claims.on}", "true"),
        ("{claims.deep}", ""),
        ("{claims.deep.x}", "y"),
        ("{claims.missing}", ""),
        ("team {claims.deep.x} of {claims.level}", "team y of 3"),
        ("100%", "100%25"),
        ("{claims.sp}", "%20x%20"),
        ("a{claims.sp}b", "a x b"),
        ("", ""),
    ] {
        assert_eq!(value(&rendered(&[own("X-Own", template)], &identity), "x-own"), expected, "{template}");
    }
}

#[test]
fn what_is_wrong_with_a_list_of_headers_is_said_all_at_once() {
    let faults = |specs: &[HeaderSpec]| plan(specs, &about()).unwrap_err();
    let template = |header: &str, problem| HeaderFault::Template { header: header.to_owned(), problem };
    assert_eq!(
        faults(&[
            HeaderSpec::Preset(Preset::Remote),
            own("Remote_User", "x"),
            own("x-team", "{claims.a}"),
            own("X-TEAM", "{claims.b}"),
            own("X Team", "x"),
            own("X.Team", "x"),
            own("", "x"),
            own("Set-Cookie", "x"),
            own("Content_Length", "0"),
            own("Doorward-Reason", "x"),
            own("X-A", "{claims.a"),
            own("X-B", "{groups}"),
            own("X-C", "{claims.}"),
            own("X-D", "a}"),
        ]),
        [
            HeaderFault::Name("X Team".to_owned()),
            HeaderFault::Name("X.Team".to_owned()),
            HeaderFault::Name(String::new()),
            HeaderFault::Reserved("Set-Cookie".to_owned()),
            HeaderFault::Reserved("Content_Length".to_owned()),
            HeaderFault::Reserved("Doorward-Reason".to_owned()),
            template("X-A", "has a brace that is not closed"),
            template("X-B", "names something that is no claim"),
            template("X-C", "names no claim"),
            template("X-D", "has a brace that was not opened"),
            HeaderFault::Clash("remote-user".to_owned()),
            HeaderFault::Clash("x-team".to_owned()),
        ]
    );
    assert_eq!(faults(&[HeaderSpec::Preset(Preset::Remote), HeaderSpec::Preset(Preset::Remote)]).len(), 4);
    let long = PlanContext { app: &"a".repeat(600), ..about() };
    assert_eq!(plan(&[HeaderSpec::Preset(Preset::Authentik)], &long).unwrap_err(), [HeaderFault::TooLong]);
}

#[test]
fn apps_with_equal_fields_share_a_rendering_and_others_do_not() {
    let with = |name: &str, specs: &[HeaderSpec]| {
        let context = PlanContext { app: name, ..about() };
        App { headers: plan(specs, &context).unwrap(), ..app(name, &[&format!("{name}.example")]) }
    };
    let policy = policy(vec![
        with("a", &[HeaderSpec::Preset(Preset::Remote)]),
        with("b", &[HeaderSpec::Preset(Preset::Authentik)]),
        with("c", &[HeaderSpec::Preset(Preset::Remote)]),
        // Another app's name among the constants, which are not rendered.
        with("d", &[HeaderSpec::Preset(Preset::Authentik)]),
    ]);
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|app| {
        let site = policy.site(&format!("{app}.example"));
        site.unwrap().app.headers.id()
    });
    assert_eq!((a, b), (c, d));
    assert_ne!(a, b);
    let own = |value: &str| with("e", &[HeaderSpec::Own("X-Own".to_owned(), value.to_owned())]).headers.id();
    assert_ne!(own("{claims.team}"), own("claims.team"));
    assert_eq!(own("{claims.team}"), own("{claims.team}"));
}

/// Groups of 36 bytes, as many providers name them.
fn uuids(many: usize) -> Vec<String> {
    (0..many).map(|n| format!("{n:08x}-0000-4000-8000-{n:012x}")).collect()
}

fn name(text: &'static str) -> HeaderName {
    HeaderName::from_static(text)
}

fn in_kib(kib: usize) -> HeaderBudget {
    HeaderBudget::from_kib(kib).unwrap()
}

#[test]
fn what_does_not_fit_is_left_out_whole_and_reported() {
    let groups = uuids(500);
    let made = plan(&presets(), &about()).unwrap();
    let identity = Identity { groups: groups.clone(), ..ann() };
    let headers = headers_of(&made, &identity, &tokens());
    let cut = made.render(&identity, &tokens()).cut.unwrap();
    assert_eq!(value(&headers, "remote-user"), "ann");
    for (header, separator) in [("remote-groups", ','), ("x-authentik-groups", '|'), ("x-auth-request-groups", ',')] {
        let sent: Vec<_> = value(&headers, header).split(separator).collect();
        assert!(sent.len() > 20, "{header} has only {}", sent.len());
        assert_eq!(sent, groups[..sent.len()], "{header}");
        assert!(cut.lists.contains(&ListCut { header: name(header), sent: sent.len(), of: 500 }), "{cut:?}");
        assert!(cut.groups.as_ref().unwrap().sent <= sent.len());
    }
    assert_eq!((cut.values.len(), cut.tokens.len()), (0, 0));
    // A cut name could be another person's.
    let identity = Identity { user: "x".repeat(4000), ..ann() };
    let headers = headers_of(&made, &identity, &tokens());
    assert_eq!(value(&headers, "remote-user"), "");
    assert_eq!(value(&headers, "remote-email"), "Ann@Example.com");
    let cut = made.render(&identity, &tokens()).cut.unwrap();
    let values = vec![name("remote-user"), name("x-authentik-username")];
    assert_eq!(cut, HeaderCut { values, ..HeaderCut::default() });
    assert_eq!(cut.to_string(), "remote-user is empty; x-authentik-username is empty");
    assert_eq!(made.render(&ann(), &tokens()).cut, None);
}

#[test]
fn groups_that_rules_name_come_first_in_every_header() {
    let groups = uuids(502);
    let named = vec![groups[501].clone(), "nobody-is-here".to_owned(), groups[333].clone()];
    let context = PlanContext { named_groups: &named, ..about() };
    let specs = [HeaderSpec::Preset(Preset::Remote), HeaderSpec::Preset(Preset::Authentik)];
    let entitlements = json!({ "entitlements": uuids(300) });
    let identity = Identity { groups: groups.clone(), claims: claims(entitlements), ..ann() };
    let headers = headers_of(&plan(&specs, &context).unwrap(), &identity, &tokens());
    for (header, separator) in [("remote-groups", ','), ("x-authentik-groups", '|')] {
        let sent: Vec<_> = value(&headers, header).split(separator).collect();
        assert_eq!(sent[..4], [&*groups[333], &groups[501], &groups[0], &groups[1]], "{header}");
    }
    // As many named groups as fit keep everything else out, other lists included.
    let headers = headers_of(
        &plan(&specs, &PlanContext { named_groups: &groups[400..], ..about() }).unwrap(),
        &identity,
        &tokens(),
    );
    assert!(value(&headers, "remote-groups").starts_with(&groups[400]));
    assert!(value(&headers, "x-authentik-entitlements").len() <= 36, "{headers:?}");
}

#[test]
fn tokens_take_the_room_that_groups_leave_and_are_whole_or_empty() {
    let specs = [HeaderSpec::Preset(Preset::Remote), HeaderSpec::Preset(Preset::Authentik)];
    let identity = Identity { groups: uuids(40), ..ann() };
    let long = Tokens { id: Some(SecretString::from("t".repeat(3_000))), ..Tokens::default() };
    let short = Tokens { id: Some(SecretString::from("t".repeat(100))), ..Tokens::default() };
    let rendered = |budget, tokens: &Tokens| {
        let context = PlanContext { budget, passed: &[PassedToken::IdToken], ..about() };
        let plan = plan(&specs, &context).unwrap();
        (headers_of(&plan, &identity, tokens), plan.render(&identity, tokens).cut)
    };
    let (headers, cut) = rendered(in_kib(4), &long);
    assert_eq!(value(&headers, "remote-groups"), identity.groups.join(","));
    assert_eq!(value(&headers, "x-authentik-groups"), identity.groups.join("|"));
    assert_eq!(value(&headers, "x-authentik-jwt"), "");
    assert_eq!(cut, Some(HeaderCut { tokens: vec![name("x-authentik-jwt")], ..HeaderCut::default() }));
    let (headers, cut) = rendered(in_kib(4), &short);
    assert_eq!((value(&headers, "x-authentik-jwt").len(), cut), (100, None));
    let (headers, cut) = rendered(in_kib(32), &long);
    assert_eq!((value(&headers, "x-authentik-jwt").len(), cut), (3_000, None));
}

#[test]
fn a_group_that_is_longer_than_all_room_keeps_no_other_out() {
    let groups = vec!["long".repeat(2_000), "a".to_owned(), "b".to_owned()];
    let plan = plan(&[HeaderSpec::Preset(Preset::Remote)], &about()).unwrap();
    let identity = Identity { groups, ..ann() };
    assert_eq!(value(&headers_of(&plan, &identity, &tokens()), "remote-groups"), "a,b");
    let cut = plan.render(&identity, &tokens()).cut.unwrap();
    assert_eq!(cut.to_string(), "remote-groups has 2 of 3");
}

#[test]
fn the_jwks_url_is_filled_in_once_it_is_known() {
    let url = "https://id.example/jwks/?x=1";
    let made = plan(&presets(), &about()).unwrap();
    assert!(made.set_jwks_url(url));
    let rendered = made.render(&ann(), &tokens()).headers;
    for headers in [made.headers(&rendered), made.blank()] {
        assert_eq!(value(&headers, "x-authentik-meta-jwks"), url);
        assert_eq!(headers.len(), made.fields().len() + made.constants().len() + 1);
    }
    assert_eq!(value(&made.headers(&rendered), "remote-user"), "ann");
    let other = plan(&presets(), &about()).unwrap();
    assert!(!other.set_jwks_url(&format!("https://id.example/{}", "x".repeat(500))));
    assert_eq!(value(&other.blank(), "x-authentik-meta-jwks"), "");
    let remote = plan(&[HeaderSpec::Preset(Preset::Remote)], &about()).unwrap();
    assert!(remote.set_jwks_url(url) && remote.blank().get("x-authentik-meta-jwks").is_none());
}

#[test]
fn smuggled_identities_end_in_one_encoded_line() {
    let file: Value = serde_json::from_str(&vectors("header-smuggling.json")).unwrap();
    let mut seen = 0;
    for case in file["groups"].as_array().unwrap().iter().flat_map(|group| group["cases"].as_array().unwrap()) {
        // Those without claims are about the client's own headers: the edge overwrites what every answer holds, and the
        // shipped configurations drop other spellings.
        let Some(given) = case["session_claims"].as_object() else { continue };
        let text = |key: &str| given.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let groups = given.get("groups").map(crate::identity::strings).unwrap_or_default();
        let identity = Identity {
            email: text("email"),
            email_verified: true,
            name: text("name"),
            groups: groups.into_iter().map(str::to_owned).collect(),
            ..ann()
        };
        let headers = rendered(&[HeaderSpec::Preset(Preset::Remote)], &identity);
        let sent = ["remote-email", "remote-name", "remote-groups"].map(|name| value(&headers, name));
        let expected = match case["name"].as_str().unwrap() {
            "claim absent: header must be empty/removed, not passed through" => ["", "", ""],
            "value with CR LF from a claim" => ["a@b%0D%0AX-Admin: 1", "", ""],
            "value with non-ASCII claim" => ["", "Zo%C3%AB", ""],
            "list claim with separator inside a value" => ["", "", "a%2Cadmins"],
            other => panic!("a new vector: {other}"),
        };
        assert_eq!(sent, expected, "{case}");
        seen += 1;
    }
    assert_eq!(seen, 4);
}

fn decoded(value: &str) -> String {
    percent_decode_str(value).decode_utf8().unwrap().into_owned()
}

fn anybody() -> impl Strategy<Value = Identity> {
    let text = || prop_oneof!["\\PC{0,12}", any::<String>(), "[ a%,|\\r\\n\u{0}é]{0,9}"];
    (text(), text(), text(), prop::collection::vec(text(), 0..60), text()).prop_map(
        |(user, email, name, groups, team)| {
            let subject = Subject(user.chars().rev().collect());
            Identity { user, email, name, groups, subject, claims: claims(json!({ "team": team })), ..ann() }
        },
    )
}

proptest! {
    #[test]
    fn every_value_is_one_safe_line_and_can_be_undone(identity in anybody(), kib in 4_usize..=32) {
        let mut specs = presets();
        specs.push(own("X-Team", "{claims.team}"));
        let made: HeaderPlan = plan(&specs, &PlanContext { budget: in_kib(kib), ..about() }).unwrap();
        let headers = headers_of(&made, &identity, &tokens());
        let constants = made.constants().iter().map(|(name, _)| name);
        let names: Vec<&HeaderName> = made.fields().iter().map(|(name, _)| name).chain(constants).collect();
        prop_assert_eq!(headers.len(), names.len());
        let mut size = 0;
        for (name, value) in &headers {
            prop_assert!(names.contains(&name));
            prop_assert!(value.as_bytes().iter().all(|byte| (0x20..0x7f).contains(byte)));
            prop_assert_eq!(value.as_bytes().trim_ascii(), value.as_bytes());
            size += name.as_str().len() + value.len() + 4;
        }
        prop_assert!(size + 100 < kib << 10);

        for (name, claimed) in [("remote-user", &identity.user), ("remote-email", &identity.email), ("remote-name", &identity.name)] {
            let value = value(&headers, name);
            prop_assert!(decoded(value) == *claimed || value.is_empty(), "{}", name);
        }
        for (name, separator) in [("remote-groups", ','), ("x-authentik-groups", '|')] {
            let sent: Vec<_> = value(&headers, name).split(separator).filter(|one| !one.is_empty()).map(decoded).collect();
            let own: Vec<_> = identity.groups.iter().filter(|one| !one.is_empty()).take(sent.len()).cloned().collect();
            prop_assert_eq!(sent, own);
        }
    }
}

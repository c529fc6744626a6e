//! Service tokens to rules and to apps: nobody whose provider calls them like one is taken for one.

use http::{HeaderMap, HeaderName};
use serde_json::json;

use super::{ann, app, claims, groups};
use crate::{
    clock::Timestamp,
    identity::{Identity, PackedIdentity, Subject, Tokens},
    policy::{
        Allow, DefaultAccess, People, Policy, Settings,
        headers::{HeaderBudget, HeaderSpec, PlanContext, Preset, plan},
    },
};

const TOKEN: HeaderName = HeaderName::from_static("doorward-token");

fn token(name: &str) -> Identity {
    Identity::of_service_token(name, &["family".to_owned()], Timestamp::from_unix(1))
}

/// Somebody whom the provider calls like a service token, in every way that it can.
fn impostor(name: &str) -> Identity {
    Identity {
        subject: Subject(name.to_owned()),
        user: name.to_owned(),
        email: format!("{name}@example.com"),
        claims: claims(json!({ "preferred_username": name })),
        groups: Vec::new(),
        ..ann()
    }
}

fn users(names: &[&str]) -> Allow {
    People { users: names.iter().map(|&name| name.to_owned()).collect(), ..People::default() }.into()
}

fn admits(allow: &Allow, identity: &Identity) -> bool {
    allow.judge(&PackedIdentity::new(identity), Timestamp::from_unix(2)).is_ok()
}

fn headers(identity: &Identity) -> HeaderMap {
    let mut specs: Vec<_> = Preset::ALL.iter().map(|preset| HeaderSpec::Preset(*preset)).collect();
    specs.push(HeaderSpec::Own("X-Own".to_owned(), "{claims.preferred_username}".to_owned()));
    let about = PlanContext {
        app: "grafana",
        provider: "authentik",
        version: "1",
        passed: &[],
        budget: HeaderBudget::default(),
        named_groups: &[],
    };
    let plan = plan(&specs, &about).unwrap().removing(&TOKEN);
    plan.headers(&plan.render(identity, &Tokens::default()).headers)
}

#[test]
fn a_token_is_named_in_users_and_a_person_is_not_taken_for_it() {
    let named = users(&["token:phone", "ann@example.com"]);
    assert!(admits(&named, &token("phone")) && !admits(&named, &token("phon")) && !admits(&named, &token("Phone")));
    assert!(!admits(&named, &impostor("token:phone")));
    assert!(!admits(&users(&["token:phone@example.com"]), &impostor("token:phone")));
    assert!(admits(&named, &ann()));
    for others in ["phone", "*@example.com", "7f3a", ""] {
        assert!(!admits(&users(&[others]), &token("phone")), "{others}");
    }
    assert!(admits(&groups(&["family"]), &token("phone")) && !admits(&groups(&["ops"]), &token("phone")));
    assert!(admits(&Allow::default(), &token("phone")));
}

#[test]
fn apps_tell_a_token_from_a_person_who_is_called_like_one() {
    let names =
        ["remote-user", "x-authentik-username", "x-authentik-uid", "x-auth-request-user"].map(HeaderName::from_static);
    let of_token = headers(&token("phone"));
    for name in &names {
        assert_eq!(of_token[name], "token:phone", "{name}");
    }
    assert_eq!(
        (&of_token["remote-groups"], &of_token["remote-email"]),
        (&"family".parse().unwrap(), &"".parse().unwrap())
    );
    for (called, told) in [("token:phone", "token%3Aphone"), ("Token:a:b", "Token%3Aa:b"), ("tokens:x", "tokens:x")] {
        let of_person = headers(&impostor(called));
        for name in names.iter().map(HeaderName::as_str).chain(["x-own", "x-auth-request-preferred-username"]) {
            assert_eq!(of_person[name], told, "{name}");
        }
    }
}

#[test]
fn the_header_of_tokens_is_empty_on_every_answer_of_every_app_and_within_the_budget() {
    let settings = Settings {
        default: DefaultAccess::Authenticated,
        header_budget: HeaderBudget::default(),
        apps: vec![app("one", &["one.test"])],
    };
    let policy = Policy::new(settings).removing(&TOKEN);
    for host in ["one.test", "nobody.test"] {
        let plan = &policy.site(host).unwrap().app.headers;
        let many = Identity { groups: (0..500).map(|number| format!("group number {number}")).collect(), ..ann() };
        for headers in [plan.blank(), plan.headers(&plan.render(&many, &Tokens::default()).headers)] {
            assert_eq!(headers.get_all(TOKEN).iter().collect::<Vec<_>>(), [""], "{host}");
            let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
            assert!(size <= 4096, "{size}");
        }
        assert!(!plan.headers(&plan.render(&many, &Tokens::default()).headers)["remote-groups"].is_empty());
    }
    let without = super::policy(vec![app("one", &["one.test"])]);
    assert!(!without.site("one.test").unwrap().app.headers.blank().contains_key(TOKEN));
}

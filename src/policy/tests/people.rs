//! Sets of people: who is required, who is excepted, and how somebody has to have signed in.

use std::time::Duration;

use serde_json::json;

use super::{ann, app, claims, exact, get, groups, rule};
use crate::{
    clock::Timestamp,
    identity::{ClaimsStanding, Identity, PackedIdentity},
    policy::{Allow, App, Denial, MissingGrant, People, Requirement, Rule, RuleAccess},
};

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

fn words(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn people(groups: &[&str], users: &[&str], claims: &[(&str, &[&str])]) -> People {
    let claims = claims.iter().map(|(path, values)| ((*path).to_owned(), words(values))).collect();
    People { groups: words(groups), users: words(users), claims }
}

fn requiring(require: People) -> Allow {
    Allow { require, ..groups(&["staff"]) }
}

fn excepting(except: People) -> Allow {
    Allow { except, ..Allow::default() }
}

fn unverified() -> Identity {
    let own = json!({ "email": "Ann@Example.com", "email_verified": false });
    Identity { email_verified: false, claims: claims(own), ..ann() }
}

fn incomplete() -> Identity {
    let standing = ClaimsStanding { groups_incomplete: true, ..ClaimsStanding::default() };
    Identity { groups: words(&["staff"]), standing, ..ann() }
}

#[test]
fn each_kind_that_is_required_has_to_match_on_top_of_what_lets_in() {
    for (require, lack) in [
        (people(&["Ops"], &[], &[]), None),
        (people(&["Ops", "admins"], &["*@example.com"], &[("team", &["red", "blue"])]), None),
        (people(&[], &[], &[("team", &["red"]), ("level", &["3"])]), None),
        (people(&[], &[], &[("team", &["red"]), ("level", &["4"])]), Some(MissingGrant::Other)),
        (people(&["admins"], &[], &[]), Some(MissingGrant::Group)),
        (people(&["admins"], &["7f3a"], &[]), Some(MissingGrant::Group)),
        (people(&["Ops"], &["ben@example.com"], &[]), Some(MissingGrant::Other)),
        (people(&["Ops"], &["7f3a"], &[("team", &["blue"])]), Some(MissingGrant::Other)),
    ] {
        let (allow, who) = (requiring(require), PackedIdentity::new(&ann()));
        assert_eq!(allow.admits(&who), lack.is_none(), "{allow}");
        assert!(lack.is_none_or(|lack| allow.missing(&who) == lack), "{allow}");
    }
    let ops = Allow { require: people(&["Ops"], &[], &[]), ..Allow::default() };
    assert!(ops.admits(&PackedIdentity::new(&ann())), "without alternatives being signed in is enough");
    let both = Allow { require: people(&["Ops"], &[], &[]), ..groups(&["admins"]) };
    assert!(!both.admits(&PackedIdentity::new(&ann())), "what is required lets nobody in");
    let at_home = requiring(people(&[], &["*@example.com"], &[]));
    assert!(!at_home.admits(&PackedIdentity::new(&unverified())));
    assert_eq!(at_home.missing(&PackedIdentity::new(&unverified())), MissingGrant::VerifiedEmail);
    let owners = requiring(people(&["owners"], &[], &[]));
    assert_eq!(owners.missing(&PackedIdentity::new(&incomplete())), MissingGrant::AllGroups);
}

#[test]
fn nobody_who_is_excepted_is_let_in_whoever_vouches_for_the_address() {
    for except in [
        people(&["Ops"], &[], &[]),
        people(&[], &["7f3a"], &[]),
        people(&[], &["ANN@example.com"], &[]),
        people(&[], &["*@EXAMPLE.com"], &[]),
        people(&["x"], &["y"], &[("z", &["z"]), ("email", &["ann@example.com"])]),
    ] {
        let allow = Allow { except, ..groups(&["staff"]) };
        for who in [ann(), unverified()] {
            let who = PackedIdentity::new(&who);
            assert!(!allow.admits(&who), "{allow}");
            assert_eq!(allow.missing(&who), MissingGrant::Other, "{allow}");
        }
    }
    for except in [
        people(&["ops"], &["ann", "*@ample.com", "*@com"], &[("team", &["blue"]), ("missing", &[""])]),
        people(&[], &["ben@example.com"], &[("level", &["33"])]),
    ] {
        assert!(excepting(except.clone()).admits(&PackedIdentity::new(&ann())), "{except}");
    }
    let odd = Identity { email: "ann@evil.example@example.com".to_owned(), ..ann() };
    for user in ["*@evil.example", "*@example.com"] {
        let allow = excepting(people(&[], &[user], &[]));
        assert!(!allow.admits(&PackedIdentity::new(&odd)), "{user}: however software splits it");
    }
}

#[test]
fn somebody_who_may_be_in_an_excepted_group_is_not_let_in_and_the_reason_says_why() {
    let (known, unknown) = (PackedIdentity::new(&ann()), PackedIdentity::new(&incomplete()));
    let allow = excepting(people(&["contractors"], &[], &[]));
    assert!(allow.admits(&known));
    assert!(!allow.admits(&unknown));
    assert_eq!(allow.missing(&unknown), MissingGrant::AllGroups);
    let by_name = Allow { except: people(&["contractors"], &[], &[]), ..people(&[], &["7f3a"], &[]).into() };
    assert!(!by_name.admits(&unknown), "being named does not say that the group is not there");
    let elsewhere = Allow { except: people(&["contractors"], &[], &[]), ..people(&[], &["x"], &[]).into() };
    assert_eq!(elsewhere.missing(&unknown), MissingGrant::Other, "all groups would not help");
    assert!(excepting(people(&[], &["x"], &[])).admits(&unknown), "groups are not what it is about");
}

#[test]
fn a_sign_in_that_is_too_weak_or_too_old_is_another_cause_than_not_being_allowed() {
    let signed_in = |own: serde_json::Value| PackedIdentity::new(&Identity { claims: claims(own), ..ann() });
    let asks = |acr: &[&str], max_age: Option<u64>| Allow {
        acr: words(acr),
        max_age: max_age.map(Duration::from_secs),
        ..groups(&["staff"])
    };
    let ago = |seconds: u64| NOW.unix() - seconds;
    for (allow, own, expected) in [
        (asks(&["mfa"], None), json!({ "acr": "mfa" }), true),
        (asks(&["pwd", "mfa"], None), json!({ "acr": "mfa" }), true),
        (asks(&["mfa"], None), json!({ "acr": "MFA" }), false),
        (asks(&["mfa"], None), json!({ "acr": ["mfa"] }), false),
        (asks(&["mfa"], None), json!({ "amr": ["mfa"] }), false),
        (asks(&["1"], None), json!({ "acr": 1 }), false),
        (asks(&[], Some(60)), json!({ "auth_time": ago(60) }), true),
        (asks(&[], Some(60)), json!({ "auth_time": ago(61) }), false),
        (asks(&[], Some(60)), json!({ "auth_time": NOW.unix() + 60 }), true),
        (asks(&[], Some(60)), json!({ "auth_time": NOW.unix() + 61 }), false),
        (asks(&[], Some(60)), json!({ "auth_time": ago(1).to_string() }), false),
        (asks(&[], Some(60)), json!({ "auth_time": -1 }), false),
        (asks(&[], Some(60)), json!({ "auth_time": null }), false),
        (asks(&[], Some(60)), json!({}), false),
        (asks(&["mfa"], Some(60)), json!({ "acr": "mfa", "auth_time": ago(1) }), true),
        (asks(&["mfa"], Some(60)), json!({ "acr": "mfa", "auth_time": ago(99) }), false),
        (asks(&["mfa"], Some(60)), json!({ "acr": "pwd", "auth_time": ago(1) }), false),
    ] {
        let judged = allow.judge(&signed_in(own.clone()), NOW);
        assert_eq!(judged, if expected { Ok(()) } else { Err(Denial::StepUp(&allow)) }, "{allow} {own}");
        let outside = Allow { any: groups(&["admins"]).any, ..allow.clone() };
        assert_eq!(outside.judge(&signed_in(own), NOW), Err(Denial::NotAllowed(&outside)), "signing in would not help");
    }
}

#[test]
fn of_several_conditions_the_one_that_no_sign_in_mends_decides() {
    let strong = Allow { acr: words(&["mfa"]), ..Allow::default() };
    let path = "/Admin";
    for (of_rule, of_app, expected) in [
        (strong.clone(), groups(&["admins"]), "not allowed"),
        (groups(&["admins"]), strong.clone(), "not allowed"),
        (strong.clone(), groups(&["staff"]), "step up"),
        (groups(&["staff"]), strong.clone(), "step up"),
        (groups(&["staff"]), Allow::default(), "in"),
    ] {
        let rules: Vec<Rule> = vec![rule(exact("/admin"), RuleAccess::Allow(of_rule))];
        let app = App { allow: of_app, rules: rules.into(), ..app("a", &["a.example"]) };
        let Requirement::Identity(test) = app.requirement(get(path)) else { panic!("{app:?}") };
        let said = match test.judge(&PackedIdentity::new(&ann()), NOW) {
            Ok(()) => "in",
            Err(Denial::NotAllowed(_)) => "not allowed",
            Err(Denial::StepUp(_)) => "step up",
            Err(Denial::Narrowed(_)) => "narrowed",
            Err(Denial::Rule) => "ruled out",
        };
        assert_eq!(said, expected, "{app:?}");
    }
}

#[test]
fn a_set_of_people_prints_all_that_it_asks_for() {
    let allow = Allow {
        require: people(&["staff"], &["*@example.com"], &[("office", &["Ljubljana"])]),
        except: people(&[], &["eve@example.com"], &[]),
        acr: words(&["mfa"]),
        max_age: Some(Duration::from_mins(15)),
        ..groups(&["admins"])
    };
    assert_eq!(
        allow.to_string(),
        "groups = [\"admins\"], require = { groups = [\"staff\"], users = [\"*@example.com\"], claims.office = [\"Ljubljana\"] }, \
         except = { users = [\"eve@example.com\"] }, acr = [\"mfa\"], max_age = \"15m\""
    );
    let strong = Allow { acr: words(&["mfa"]), ..Allow::default() };
    assert_eq!(strong.to_string(), "anybody who is signed in, acr = [\"mfa\"]");
    let named: Vec<_> = allow.groups().collect();
    assert_eq!(named, ["admins", "staff"]);
}

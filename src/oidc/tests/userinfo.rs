//! The userinfo endpoint: failures that harm nobody, signed responses, and how long old groups count.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::{
    CapturedLog, Error, RelyingParty, assert_discreet,
    fake_provider::{CLIENT, FakeProvider, InjectedFault, NOW, Signer, TestKey},
    settings,
};
use crate::{
    identity::Identity,
    oidc::{GroupsUse, PreviousSid, RefreshRequest, Settings, SignedIn},
};

/// A provider that has the person's name, and with `groups: null` the groups, at userinfo alone.
async fn provider(claims: Value) -> FakeProvider {
    let fake = FakeProvider::start().await;
    fake.claims(claims);
    fake.script().userinfo =
        Some(json!({ "sub": "subject-1", "name": "Ann Info", "groups": ["staff"], "team": "red" }));
    fake
}

fn faults() -> Vec<InjectedFault> {
    let mut faults: Vec<_> = [401, 403, 404, 429, 500, 503].map(InjectedFault::Status).into();
    faults.extend(
        ["", "<h1>Sign in</h1>", "[]", "{}", r#"{"name":"Eve"}"#, r#"{"sub":7}"#]
            .map(|body| InjectedFault::Body(200, body.into())),
    );
    faults.extend(
        ["eyJhbGciOiJub25lIn0.e30.", "not.a.jwt", "a.b.c.d.e"].map(|body| InjectedFault::Body(200, body.into())),
    );
    faults.push(InjectedFault::Redirect("https://evil.example/".into()));
    faults.push(InjectedFault::HugeBody);
    faults
}

#[tokio::test]
async fn a_userinfo_endpoint_that_fails_stops_no_sign_in_that_needs_nothing_of_it() {
    for fault in faults() {
        let (fake, log) = (provider(json!({ "name": null })).await, CapturedLog::begin());
        fake.inject("userinfo", fault.clone());
        let rp = RelyingParty::of(&fake);
        for _ in 0..3 {
            let identity = rp.redeem().await.unwrap_or_else(|error| panic!("{fault:?}: {error}")).identity;
            assert_eq!((identity.user.as_str(), identity.name.as_str()), ("ann", ""));
            assert_eq!(identity.groups, ["admins", "users"]);
        }
        assert_eq!(log.warnings(&["userinfo endpoint gives no claims"]), 1, "{fault:?}");
        if let InjectedFault::Status(status) = fault {
            assert_eq!(log.warnings(&[&status.to_string()]), 1, "{fault:?}");
        }
    }
}

#[tokio::test]
async fn groups_that_are_needed_and_absent_stop_a_sign_in_and_only_those() {
    for (groups_use, claims, goes_on) in [
        (GroupsUse::InRules, json!({ "groups": null }), false),
        (GroupsUse::InRules, json!({ "groups": 7 }), false),
        (GroupsUse::InRules, json!({ "groups": [], "name": null }), true),
        (GroupsUse::Unused, json!({ "groups": null }), true),
    ] {
        for fault in faults() {
            let fake = provider(claims.clone()).await;
            fake.inject("userinfo", fault.clone());
            let rp = RelyingParty::new(Settings { groups_use, ..settings(&fake.issuer()) });
            match rp.redeem().await {
                Ok(signed_in) => {
                    let identity = signed_in.identity;
                    assert!(goes_on && identity.groups.is_empty(), "{groups_use:?} {claims} {fault:?}");
                    assert_eq!(identity.standing.groups_incomplete, claims["groups"].is_null(), "{claims} {fault:?}");
                }
                Err(error) => {
                    assert!(!goes_on, "{groups_use:?} {claims} {fault:?}: {error}");
                    assert!(matches!(error, Error::InvalidMessage(_) | Error::Unavailable(_)), "{error:?}");
                    assert_discreet(&error);
                }
            }
        }
    }
}

#[tokio::test]
async fn userinfo_about_somebody_else_is_a_refusal_whatever_is_needed_of_it() {
    let fake = provider(json!({ "name": null })).await;
    fake.script().userinfo = Some(json!({ "sub": "subject-2", "name": "Eve" }));
    let rp = RelyingParty::new(Settings { groups_use: GroupsUse::Unused, ..settings(&fake.issuer()) });
    let error = rp.redeem().await.unwrap_err();
    assert!(matches!(&error, Error::InvalidMessage(text) if text.contains("another subject")), "{error:?}");
}

#[tokio::test]
async fn a_signed_response_counts_with_the_providers_signature() {
    let issuer_of = |fake: &FakeProvider| json!({ "iss": fake.issuer(), "aud": CLIENT, "exp": NOW + 60 });
    let good = json!({ "sub": "subject-1", "groups": ["staff"] });
    for (signer, overrides, accepted) in [
        (Signer::Genuine(TestKey::One), json!({}), true),
        (Signer::Genuine(TestKey::Rsa), json!({}), true),
        (Signer::Genuine(TestKey::One), json!({ "iss": null, "aud": null, "exp": null }), true),
        (Signer::Genuine(TestKey::One), json!({ "aud": [CLIENT, "another"] }), true),
        (Signer::Genuine(TestKey::One), json!({ "iss": "https://evil.example/" }), false),
        (Signer::Genuine(TestKey::One), json!({ "aud": "another" }), false),
        (Signer::Genuine(TestKey::One), json!({ "exp": NOW - 61 }), false),
        (Signer::Genuine(TestKey::One), json!({ "sub": null }), false),
        (Signer::As(TestKey::Two, TestKey::One), json!({}), false),
        (Signer::HmacWithPublicKey, json!({}), false),
        (Signer::Unsigned, json!({}), false),
    ] {
        let fake = provider(json!({ "groups": null })).await;
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().extend(issuer_of(&fake).as_object().unwrap().clone());
        claims.as_object_mut().unwrap().extend(overrides.as_object().unwrap().clone());
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let signed = {
            let mut script = fake.script();
            script.signer = signer;
            let signed = script.signed(&json!({}), &claims);
            script.signer = Signer::Genuine(TestKey::One);
            signed
        };
        fake.inject("userinfo", InjectedFault::Body(200, format!("{signed}\n")));
        let result = RelyingParty::of(&fake).redeem().await.map(|signed_in| signed_in.identity.groups);
        assert_eq!(result.is_ok(), accepted, "{signer:?} {overrides}: {result:?}");
        if let Ok(groups) = result {
            assert_eq!(groups, ["staff"]);
        }
    }
}

/// Renews a session `later` seconds after its beginning.
async fn renewed(rp: &RelyingParty, before: &SignedIn, identity: &Identity, later: u64) -> Option<Identity> {
    rp.now.store(NOW + later, Ordering::Relaxed);
    let refresh_token = before.tokens.refresh.as_ref().unwrap();
    let request =
        RefreshRequest { refresh_token, id_token: before.tokens.id.as_ref(), identity, sid: PreviousSid::default() };
    rp.provider.refresh(&request).await.unwrap_or_else(|error| panic!("at {later} s: {error}")).identity
}

fn renewed_id_token(fake: &FakeProvider, later: u64) {
    fake.script().renewed = json!({ "nonce": null, "iat": NOW + later, "exp": NOW + later + 300 });
}

#[tokio::test]
async fn the_last_groups_of_userinfo_count_for_the_grace_and_no_longer() {
    for fault in [InjectedFault::Status(401), InjectedFault::Status(503), InjectedFault::Body(200, String::new())] {
        for own in [Value::Null, json!([])] {
            let (fake, log) = (provider(json!({ "groups": own })).await, CapturedLog::begin());
            let rp = RelyingParty::of(&fake);
            let before = rp.redeem().await.unwrap();
            fake.inject("userinfo", fault.clone());
            let mut identity = before.identity.clone();
            for (later, groups, team) in [
                (1_800, vec!["staff"], true),
                (3_600, vec!["staff"], true),
                (3_601, vec![], false),
                (7_200, vec![], false),
            ] {
                renewed_id_token(&fake, later);
                identity = renewed(&rp, &before, &identity, later).await.unwrap();
                assert_eq!(identity.groups, groups, "{fault:?} at {later} s");
                assert_eq!(identity.standing.groups_incomplete, groups.is_empty(), "{fault:?} at {later} s");
                assert_eq!(identity.claims.contains_key("team"), team, "{fault:?} at {later} s");
                assert_eq!(identity.user, "ann");
            }
            assert_eq!(log.warnings(&["userinfo endpoint gives no claims"]), 1);
            fake.clear_faults();
            renewed_id_token(&fake, 7_300);
            let identity = renewed(&rp, &before, &identity, 7_300).await.unwrap();
            assert_eq!((identity.groups, identity.standing.groups_incomplete), (vec!["staff".to_owned()], false));
        }
    }
}

#[tokio::test]
async fn groups_of_the_id_token_count_whatever_becomes_of_userinfo() {
    let fake = provider(json!({ "name": null })).await;
    let rp = RelyingParty::of(&fake);
    let before = rp.redeem().await.unwrap();
    assert_eq!((before.identity.name.as_str(), before.identity.groups.len()), ("Ann Info", 2));
    fake.script().userinfo = Some(json!({ "sub": "subject-1", "name": "Ann Info" }));
    renewed_id_token(&fake, 10);
    let mut identity = renewed(&rp, &before, &before.identity, 10).await.unwrap();
    fake.inject("userinfo", InjectedFault::Status(403));
    for (later, groups) in [(20, json!(["users"])), (4_000, json!(["users"])), (4_100, json!([]))] {
        renewed_id_token(&fake, later);
        fake.script().renewed["groups"] = groups.clone();
        identity = renewed(&rp, &before, &identity, later).await.unwrap();
        assert_eq!(json!(identity.groups), groups, "somebody who was taken out of a group is out of it");
        assert_eq!(identity.name, if later == 20 { "Ann Info" } else { "" });
    }
}

#[tokio::test]
async fn without_an_id_token_old_claims_count_for_the_grace_and_no_longer() {
    let fake = provider(json!({ "department": "ops" })).await;
    let rp = RelyingParty::of(&fake);
    let before = rp.redeem().await.unwrap();
    fake.script().renewal = json!({ "id_token": null });
    fake.inject("userinfo", InjectedFault::Status(401));
    assert!(renewed(&rp, &before, &before.identity, 3_600).await.is_none(), "nothing has changed");
    let left = renewed(&rp, &before, &before.identity, 3_601).await.unwrap();
    assert!(left.groups.is_empty() && left.standing.groups_incomplete);
    assert_eq!(
        (left.user.as_str(), left.claim("department"), left.claim("name")),
        ("ann", None, Some(&json!("Ann Example")))
    );
    fake.clear_faults();
    let again = renewed(&rp, &before, &left, 4_000).await.unwrap();
    assert_eq!((again.groups, again.standing.groups_incomplete), (vec!["staff".to_owned()], false));
}

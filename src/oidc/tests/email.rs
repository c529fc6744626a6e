//! E-mail addresses and `email_verified`, at sign-in and at every renewal.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::{
    RelyingParty,
    fake_provider::{FakeProvider, NOW},
    settings,
};
use crate::{
    clock::Timestamp,
    identity::Identity,
    oidc::{PreviousSid, RefreshRequest, Refreshed, SignedIn, UnverifiedEmail},
};

async fn signed_in(rp: &RelyingParty) -> SignedIn {
    rp.redeem().await.unwrap()
}

async fn renewed(rp: &RelyingParty, before: &SignedIn, identity: &Identity) -> Refreshed {
    let tokens = &before.tokens;
    let renewal = RefreshRequest {
        refresh_token: tokens.refresh.as_ref().unwrap(),
        id_token: tokens.id.as_ref(),
        identity,
        sid: PreviousSid::default(),
    };
    rp.provider.refresh(&renewal).await.unwrap()
}

fn address(identity: &Identity) -> (&str, bool) {
    (&identity.email, identity.email_verified)
}

#[tokio::test]
async fn only_true_its_text_and_absence_make_an_address_verified() {
    for (value, verified) in [
        (json!(null), true),
        (json!(true), true),
        (json!("true"), true),
        (json!("TRUE"), true),
        (json!("True"), true),
        (json!(false), false),
        (json!("false"), false),
        (json!("yes"), false),
        (json!(" true"), false),
        (json!(""), false),
        (json!(1), false),
        (json!(0), false),
        (json!([true]), false),
        (json!({ "true": true }), false),
    ] {
        let fake = FakeProvider::start().await;
        fake.claims(json!({ "email_verified": value }));
        let identity = signed_in(&RelyingParty::of(&fake)).await.identity;
        assert_eq!(address(&identity), ("ann@example.com", verified), "in the ID token: {value}");

        fake.claims(json!({ "email": null }));
        fake.script().userinfo =
            Some(json!({ "sub": "subject-1", "email": "ann@example.com", "email_verified": value }));
        let identity = signed_in(&RelyingParty::of(&fake)).await.identity;
        assert_eq!(address(&identity), ("ann@example.com", verified), "in userinfo: {value}");
    }
}

#[tokio::test]
async fn the_configuration_decides_the_treatment_of_an_unverified_address() {
    for (unverified_email, email, verified, user) in [
        (UnverifiedEmail::Pass, "ann@example.com", false, "subject-1"),
        (UnverifiedEmail::Drop, "", false, "subject-1"),
        (UnverifiedEmail::Trust, "ann@example.com", true, "ann@example.com"),
    ] {
        let fake = FakeProvider::start().await;
        fake.claims(json!({ "email_verified": false, "preferred_username": null }));
        let settings = super::Settings { unverified_email, ..settings(&fake.issuer()) };
        let rp = RelyingParty::new(settings);
        let before = signed_in(&rp).await;
        fake.script().renewed = json!({ "nonce": null });
        let again = renewed(&rp, &before, &before.identity).await.identity.unwrap();
        fake.script().renewal = json!({ "id_token": null });
        fake.script().userinfo =
            Some(json!({ "sub": "subject-1", "email": "ann@example.com", "email_verified": "false" }));
        rp.provider.poll().await.unwrap();
        let by_userinfo = renewed(&rp, &before, &before.identity).await.identity.unwrap();
        for (when, identity) in [("sign-in", &before.identity), ("renewal", &again), ("userinfo", &by_userinfo)] {
            assert_eq!(address(identity), (email, verified), "{unverified_email:?} at {when}");
            assert_eq!(identity.user, user, "{unverified_email:?} at {when}");
            let claim = identity.claim("email").and_then(Value::as_str).unwrap_or_default();
            assert_eq!(claim, email, "{unverified_email:?} at {when}");
        }
    }
}

#[tokio::test]
async fn a_verdict_on_one_address_is_none_on_another() {
    let (id, info) = ("ID token", "userinfo");
    for (token, userinfo, email, verified, from) in [
        // One source has both.
        (json!({ "email_verified": true }), json!({ "email": "b@x" }), "ann@example.com", true, id),
        (json!({ "email": null }), json!({ "email": "b@x", "email_verified": true }), "b@x", true, info),
        // The ID token verifies an address that it does not hold, and another one comes from userinfo.
        (json!({ "email": null, "email_verified": true }), json!({ "email": "b@x" }), "b@x", false, info),
        (json!({ "email": null, "email_verified": false }), json!({ "email": "b@x" }), "b@x", false, info),
        (json!({ "email": 7, "email_verified": true }), json!({ "email": "b@x" }), "b@x", false, info),
        (
            json!({ "email": null, "email_verified": false }),
            json!({ "email": "b@x", "email_verified": true }),
            "b@x",
            false,
            info,
        ),
        // Userinfo is about another address than the one that is taken.
        (json!({}), json!({ "email": "b@x", "email_verified": true }), "ann@example.com", false, id),
        (json!({}), json!({ "email": "Ann@Example.com", "email_verified": true }), "ann@example.com", true, id),
        (json!({}), json!({ "email": "ann@example.com", "email_verified": false }), "ann@example.com", false, id),
        // Neither source has `email_verified`.
        (json!({}), json!({ "email": "b@x" }), "ann@example.com", true, id),
        (json!({ "email": null }), json!({ "email": "b@x" }), "b@x", true, info),
    ] {
        let fake = FakeProvider::start().await;
        let mut claims = token.clone();
        claims["name"] = Value::Null;
        fake.claims(claims);
        let mut answer = userinfo.clone();
        answer["sub"] = "subject-1".into();
        fake.script().userinfo = Some(answer);
        let identity = signed_in(&RelyingParty::of(&fake)).await.identity;
        assert_eq!(address(&identity), (email, verified), "{token} {userinfo}: from {from}");
        let claim = identity.claim("email_verified");
        assert_eq!(
            claim.is_none_or(super::super::claims::means_verified),
            verified,
            "rules and headers see the same: {claim:?}"
        );
    }
}

#[tokio::test]
async fn an_address_that_changes_at_a_renewal_does_not_inherit_the_verdict() {
    for (at_sign_in, userinfo, email, verified) in [
        (json!(true), json!({ "email": "ceo@example.com" }), "ceo@example.com", false),
        (json!(true), json!({ "email": "ceo@example.com", "email_verified": true }), "ceo@example.com", true),
        (json!(true), json!({ "email": "ceo@example.com", "email_verified": "no" }), "ceo@example.com", false),
        (json!(true), json!({ "email": "ANN@example.com" }), "ANN@example.com", true),
        (json!(true), json!({}), "ann@example.com", true),
        (json!(true), json!({ "email_verified": false }), "ann@example.com", false),
        (json!(false), json!({}), "ann@example.com", false),
        (json!(false), json!({ "email_verified": true }), "ann@example.com", false),
        (json!(false), json!({ "email": "ann@example.com" }), "ann@example.com", false),
        (json!(false), json!({ "email": "ann@example.com", "email_verified": true }), "ann@example.com", true),
        (json!(null), json!({ "email": "ceo@example.com" }), "ceo@example.com", true),
        (json!(null), json!({ "email": "ceo@example.com", "email_verified": false }), "ceo@example.com", false),
    ] {
        let fake = FakeProvider::start().await;
        fake.claims(json!({ "email_verified": at_sign_in }));
        let rp = RelyingParty::of(&fake);
        let before = signed_in(&rp).await;

        let mut by_token = json!({ "nonce": null, "email_verified": null });
        by_token.as_object_mut().unwrap().extend(userinfo.as_object().unwrap().clone());
        // An ID token repeats all claims, so that only a new address is of interest here.
        if userinfo.get("email").is_some() {
            fake.script().renewed = by_token;
            let again = renewed(&rp, &before, &before.identity).await.identity.unwrap();
            assert_eq!(address(&again), (email, verified), "by ID token: {at_sign_in} {userinfo}");
        }

        let mut answer = userinfo.clone();
        answer["sub"] = "subject-1".into();
        fake.script().renewal = json!({ "id_token": null });
        fake.script().userinfo = Some(answer);
        rp.provider.poll().await.unwrap();
        let again = renewed(&rp, &before, &before.identity).await.identity.unwrap();
        assert_eq!(address(&again), (email, verified), "by userinfo: {at_sign_in} {userinfo}");

        // A second change does not verify the address either.
        fake.script().userinfo = Some(json!({ "sub": "subject-1", "email": "cfo@example.com" }));
        let third = renewed(&rp, &before, &again).await.identity.unwrap();
        let was_ever_said = !at_sign_in.is_null() || userinfo.get("email_verified").is_some();
        assert_eq!(address(&third), ("cfo@example.com", !was_ever_said), "{at_sign_in} {userinfo}");
    }
}

#[tokio::test]
async fn a_session_whose_access_token_does_not_say_when_it_ends_is_renewed_all_the_same() {
    for (expires_in, id_ends, renewed_at) in [
        (json!(600), 300, 600),
        (json!("600"), 300, 600),
        (json!(600.0), 300, 600),
        (json!(null), 900, 900),
        (json!(0), 900, 900),
        (json!(-1), 900, 900),
        (json!(u64::MAX), 900, 900),
        (json!({}), 900, 900),
        // An ID token that expires at once, or never, does not time a renewal.
        (json!(null), 5, 300),
        (json!(null), -30, 300),
        (json!(null), 1_000_000_000_000_i64, 300),
    ] {
        let fake = FakeProvider::start().await;
        let ends = NOW.checked_add_signed(id_ends).unwrap();
        fake.claims(json!({ "exp": ends }));
        fake.script().tokens = json!({ "expires_in": expires_in });
        let rp = RelyingParty::of(&fake);
        let before = signed_in(&rp).await;
        let expected = Some(Timestamp::from_unix(NOW + renewed_at));
        assert_eq!(before.tokens.access_ends, expected, "{expires_in} {id_ends}");

        rp.now.fetch_add(100, Ordering::Relaxed);
        fake.script().renewal = json!({ "expires_in": expires_in, "refresh_token": null, "id_token": null });
        let again = renewed(&rp, &before, &before.identity).await.tokens;
        let span = if matches!(expires_in, Value::Null | Value::Object(_)) || renewed_at == 900 || renewed_at == 300 {
            300
        } else {
            600
        };
        assert_eq!(again.access_ends, Some(Timestamp::from_unix(NOW + 100 + span)), "at a renewal: {expires_in}");
    }
}

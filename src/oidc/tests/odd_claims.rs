//! Claims that are not as they should be: at a sign-in, at a renewal, and in the log.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::{
    CapturedLog, Error, RelyingParty, assert_discreet,
    fake_provider::{CLIENT, FakeProvider, NOW, Signer, TestKey},
    settings,
};
use crate::{
    identity::{ClaimPath, Identity},
    oidc::{GroupsUse, PreviousSid, RefreshRequest, Settings, SignedIn},
};

/// Signs in and renews; both have to work. Returns both identities.
async fn signed_in_and_renewed(fake: &FakeProvider, rp: &RelyingParty) -> [Identity; 2] {
    let SignedIn { identity, tokens, .. } = rp.redeem().await.unwrap();
    let renewed = {
        let refresh_token = tokens.refresh.as_ref().unwrap();
        let request = RefreshRequest {
            refresh_token,
            id_token: tokens.id.as_ref(),
            identity: &identity,
            sid: PreviousSid::default(),
        };
        let overrides = json!({ "nonce": null, "exp": NOW + 301 });
        fake.script().renewed = overrides;
        rp.provider.refresh(&request).await.unwrap().identity.unwrap()
    };
    [identity, renewed]
}

#[tokio::test]
async fn an_odd_claim_that_no_decision_needs_stops_nobody_and_is_named_once() {
    for (name, value) in [
        ("address", json!([])),
        ("amr", json!({ "pwd": true })),
        ("acr", json!(["one"])),
        ("auth_time", json!("yesterday")),
        ("updated_at", json!("2024-01-02 03:04:05")),
        ("picture", json!({})),
        ("name", json!(5)),
        ("zoneinfo", json!(7)),
        ("preferred_username", json!(["ann"])),
        ("phone_number_verified", json!("perhaps")),
        ("email_verified", json!("perhaps")),
        ("groups", json!(7)),
    ] {
        let (fake, log) = (FakeProvider::start().await, CapturedLog::begin());
        fake.claims(json!({ name: value }));
        for identity in signed_in_and_renewed(&fake, &RelyingParty::of(&fake)).await {
            assert_eq!(identity.email, "ann@example.com");
            let kept = ["email_verified", "groups"].contains(&name);
            assert_eq!(identity.claims.contains_key(name), kept, "{name}: {value}");
        }
        assert_eq!(
            log.warnings(&["taken as absent", "ID token", &format!("\"field\":\"{name}\"")]),
            1,
            "{name}: {value}"
        );
    }
}

#[tokio::test]
async fn json_that_is_odd_where_nothing_needs_it_is_read_past() {
    let deep: &'static str = format!(r#","deep":{}{}"#, "[".repeat(200), "]".repeat(200)).leak();
    for (before, raw) in [
        ("", deep),
        ("", r#","lone":"\ud83d""#),
        ("", r#","huge":1e999"#),
        ("", r#","twice":1,"twice":2"#),
        ("\u{feff}", r#","sound":1"#),
    ] {
        let fake = FakeProvider::start().await;
        (fake.script().before_claims, fake.script().raw_claims) = (before, raw);
        for identity in signed_in_and_renewed(&fake, &RelyingParty::of(&fake)).await {
            assert_eq!(identity.groups, ["admins", "users"], "{raw:.40}");
            assert!(
                ["deep", "lone", "huge", "twice"].iter().all(|odd| !identity.claims.contains_key(*odd)),
                "{raw:.40}"
            );
        }
    }
}

#[tokio::test]
async fn a_claim_that_a_decision_needs_is_there_once_and_readable() {
    for (raw, name) in [
        (r#","sub":"subject-1""#, "sub"),
        (r#","aud":"another""#, "aud"),
        (r#","exp":1e999"#, "exp"),
        (r#","iss":"https://evil.example/""#, "iss"),
        (r#","nonce":"another""#, "nonce"),
        (r#","azp":"\ud800""#, "azp"),
        (r#","nbf":1e999"#, "nbf"),
        (r#","at_hash":["\ud800"]"#, "at_hash"),
    ] {
        let fake = FakeProvider::start().await;
        fake.script().raw_claims = raw;
        let error = RelyingParty::of(&fake).redeem().await.unwrap_err();
        assert!(matches!(&error, Error::InvalidMessage(text) if text.contains(name)), "{raw}: {error:?}");
        assert_discreet(&error);
    }
}

#[tokio::test]
async fn every_refusal_of_an_id_token_says_what_to_mend() {
    for claims in [
        json!({ "nonce": null }),
        json!({ "nonce": "another" }),
        json!({ "iss": "https://evil.example/" }),
        json!({ "aud": "another" }),
        json!({ "aud": 7 }),
        json!({ "azp": "another" }),
        json!({ "exp": "soon" }),
        json!({ "exp": NOW - 61, "iat": NOW }),
        json!({ "exp": NOW - 6_100, "iat": NOW - 6_200 }),
        json!({ "iat": null }),
        json!({ "nbf": "soon" }),
        json!({ "sub": 7 }),
        json!({ "sid": [] }),
        json!({ "at_hash": "AAAA" }),
        json!({ "c_hash": "AAAA" }),
        json!({ "padding": "x".repeat(64 * 1024) }),
    ] {
        let fake = FakeProvider::start().await;
        fake.claims(claims.clone());
        let error = RelyingParty::of(&fake).redeem().await.unwrap_err();
        assert!(error.to_string().contains("; mend: "), "{claims:.60}: {error}");
    }
    for (signer, header, words) in [
        (Signer::Genuine(TestKey::One), json!({ "alg": "ES512" }), "cannot verify (ES512)"),
        (
            Signer::Genuine(TestKey::One),
            json!({ "alg": "ES256" }),
            "does not offer (ES256, its metadata offer EdDSA, RS256)",
        ),
        (Signer::HmacWithPublicKey, json!({}), "choose a signing key"),
        (Signer::Genuine(TestKey::Two), json!({}), "publish the key"),
        (Signer::Genuine(TestKey::One), json!({ "typ": "at+jwt" }), "(typ)"),
    ] {
        let fake = FakeProvider::start().await;
        fake.script().signer = signer;
        fake.script().header = header.clone();
        let error = RelyingParty::of(&fake).redeem().await.unwrap_err();
        assert!(error.to_string().contains(words) && error.to_string().contains("; mend: "), "{header}: {error}");
    }
}

#[tokio::test]
async fn an_encrypted_id_token_is_called_so() {
    let fake = FakeProvider::start().await;
    fake.script().tokens = json!({ "id_token": "eyJhbGciOiJSU0EtT0FFUCJ9.a2V5.aXY.Y2lwaGVydGV4dA.dGFn" });
    let error = RelyingParty::of(&fake).redeem().await.unwrap_err();
    assert!(matches!(&error, Error::InvalidMessage(text) if text.contains("encrypted (JWE)") && text.contains("mend")));
    assert_discreet(&error);
}

#[tokio::test]
async fn an_optional_claim_that_is_null_or_empty_is_none() {
    let fake = FakeProvider::start().await;
    fake.claims(json!({ "sid": "" }));
    fake.script().raw_claims = r#","azp":null,"nbf":null,"at_hash":null,"c_hash":null"#;
    assert_eq!(RelyingParty::of(&fake).redeem().await.unwrap().sid, None);
    fake.claims(json!({ "nbf": 1_799_999_999.5, "aud": [CLIENT] }));
    fake.script().raw_claims = "";
    assert_eq!(RelyingParty::of(&fake).redeem().await.unwrap().sid.as_deref(), Some("sid-1"));
}

#[tokio::test]
async fn how_somebody_signed_in_is_a_claim_that_only_id_tokens_make_and_renewals_keep() {
    let fake = FakeProvider::start().await;
    let facts = json!({ "acr": "mfa", "amr": ["pwd", "otp"], "auth_time": NOW - 5 });
    fake.claims(json!({ "acr": "mfa", "amr": ["pwd", "otp"], "auth_time": NOW - 5, "name": null }));
    fake.script().userinfo = Some(json!({ "sub": "subject-1", "name": "Ann", "acr": "root", "groups": ["admins"] }));
    let rp = RelyingParty::of(&fake);
    let SignedIn { identity, tokens, .. } = rp.redeem().await.unwrap();
    let of = |identity: &Identity| {
        let facts = ["acr", "amr", "auth_time"].map(|name| (name.to_owned(), identity.claims.get(name).cloned()));
        facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect::<Value>()
    };
    assert_eq!(of(&identity), facts);

    let refresh_token = tokens.refresh.as_ref().unwrap();
    let request = RefreshRequest {
        refresh_token,
        id_token: tokens.id.as_ref(),
        identity: &identity,
        sid: PreviousSid::default(),
    };
    let without = json!({ "nonce": null, "exp": NOW + 301, "acr": null, "amr": null, "auth_time": null });
    rp.now.fetch_add(100, Ordering::Relaxed);
    for (renewed, expected) in [
        (without, facts.clone()),
        (
            json!({ "nonce": null, "exp": NOW + 301, "acr": "pwd" }),
            json!({ "acr": "pwd", "amr": ["pwd", "otp"], "auth_time": NOW - 5 }),
        ),
        // The time of the renewal, at which nobody proved anything.
        (json!({ "nonce": null, "exp": NOW + 301, "auth_time": NOW + 100 }), facts.clone()),
        // Proved anew elsewhere, a while before the renewal.
        (
            json!({ "nonce": null, "exp": NOW + 301, "auth_time": NOW + 30 }),
            json!({ "acr": "mfa", "amr": ["pwd", "otp"], "auth_time": NOW + 30 }),
        ),
    ] {
        fake.script().renewed = renewed;
        let again = rp.provider.refresh(&request).await.unwrap().identity.unwrap();
        assert_eq!(of(&again), expected);
    }
    fake.script().renewal = json!({ "id_token": null });
    let again = rp.provider.refresh(&request).await.unwrap().identity.unwrap();
    assert_eq!(of(&again), facts, "by userinfo alone");
}

#[tokio::test]
async fn an_empty_list_of_groups_is_completed_from_userinfo() {
    let fake = FakeProvider::start().await;
    fake.claims(json!({ "groups": [] }));
    fake.script().userinfo = Some(json!({ "sub": "subject-1", "groups": "[staff, platform team]" }));
    for identity in signed_in_and_renewed(&fake, &RelyingParty::of(&fake)).await {
        assert_eq!(identity.groups, ["staff", "platform team"]);
    }
    fake.script().userinfo = Some(json!({ "sub": "subject-1" }));
    assert!(RelyingParty::of(&fake).redeem().await.unwrap().identity.groups.is_empty());
}

#[tokio::test]
async fn groups_that_rules_need_and_nobody_sends_are_warned_of_once() {
    for (groups_use, userinfo, warnings) in [
        (GroupsUse::InRules, None, 1),
        (GroupsUse::InRules, Some(json!({ "sub": "subject-1", "roles": ["a"] })), 1),
        (GroupsUse::InRules, Some(json!({ "sub": "subject-1", "groups": [] })), 0),
        (GroupsUse::Unused, None, 0),
    ] {
        let (fake, log) = (FakeProvider::start().await, CapturedLog::begin());
        fake.claims(json!({ "groups": null }));
        fake.script().userinfo.clone_from(&userinfo);
        let rp = RelyingParty::new(Settings { groups_use, ..settings(&fake.issuer()) });
        for _ in 0..3 {
            rp.redeem().await.unwrap();
        }
        assert_eq!(
            log.warnings(&["sends no groups", "mend", "\"claim\":\"groups\""]),
            warnings,
            "{groups_use:?} {userinfo:?}"
        );
    }
}

#[tokio::test]
async fn groups_that_are_held_back_are_a_fact_about_the_person() {
    let elsewhere = json!({ "_claim_names": { "groups": "src1" }, "_claim_sources": { "src1": {} }, "groups": null });
    for (claims, path, userinfo, groups, incomplete) in [
        (elsewhere.clone(), "groups", None, vec![], true),
        (json!({ "hasgroups": true, "groups": null }), "groups", None, vec![], true),
        (elsewhere.clone(), "groups", Some(json!({ "sub": "subject-1" })), vec![], true),
        (elsewhere.clone(), "groups", Some(json!({ "sub": "subject-1", "groups": ["a"] })), vec!["a"], false),
        (
            json!({ "_claim_names": { "groups": "src1" }, "groups": null, "roles": ["r"] }),
            "roles",
            None,
            vec!["r"],
            false,
        ),
        (json!({}), "groups", None, vec!["admins", "users"], false),
    ] {
        let (fake, log) = (FakeProvider::start().await, CapturedLog::begin());
        fake.claims(claims.clone());
        fake.script().userinfo.clone_from(&userinfo);
        let groups_claim = ClaimPath::Dotted(path.to_owned());
        let rp = RelyingParty::new(Settings { groups_claim, ..settings(&fake.issuer()) });
        for identity in signed_in_and_renewed(&fake, &rp).await {
            assert_eq!(identity.groups, groups, "{claims} {userinfo:?}");
            assert_eq!(identity.standing.groups_incomplete, incomplete, "{claims} {userinfo:?}");
        }
        assert_eq!(log.warnings(&["groups_incomplete", "mend"]), usize::from(incomplete), "{claims} {userinfo:?}");
        assert_eq!(log.warnings(&["sends no groups"]), 0);
    }
}

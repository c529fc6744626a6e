//! Opaque tokens by introspection (RFC 7662), and app passwords: whose count, and what an answer that is none says.

use serde_json::{Value, json};

use super::{
    RelyingParty,
    fake_provider::{CLIENT, FakeProvider, InjectedFault, NOW},
};
use crate::{
    clock::Timestamp,
    oidc::{AppPassword, CredentialError, CredentialVerifier, VerifiedCredential},
};

const TOKEN: &str = "an-opaque-token";

async fn provider() -> (FakeProvider, RelyingParty) {
    let fake = FakeProvider::start().await;
    let at = format!("{}introspect", fake.issuer());
    fake.script().metadata = json!({ "introspection_endpoint": at });
    let rp = RelyingParty::of(&fake);
    (fake, rp)
}

/// Has the endpoint answer with these members in place of its own; `null` stays.
fn answer(fake: &FakeProvider, members: &Value) {
    let mut whole = json!({
        "active": true, "client_id": CLIENT, "sub": "subject-1", "exp": NOW + 300, "username": "ann",
        "groups": ["admins"], "iss": fake.issuer(), "token_type": "Bearer",
    });
    let all = whole.as_object_mut().unwrap();
    all.extend(members.as_object().unwrap().clone());
    all.retain(|_, value| *value != json!("removed"));
    fake.inject("introspect", InjectedFault::Body(200, whole.to_string()));
}

async fn introspect(rp: &RelyingParty) -> Result<VerifiedCredential, CredentialError> {
    CredentialVerifier::at(&rp.provider).introspect(TOKEN, &["api".to_owned()]).await
}

#[tokio::test]
async fn a_token_that_the_provider_calls_active_and_ours_becomes_an_identity() {
    let (fake, rp) = provider().await;
    answer(&fake, &json!({}));
    let verified = introspect(&rp).await.unwrap();
    assert_eq!((verified.identity.user.as_str(), verified.identity.groups), ("ann", vec!["admins".to_owned()]));
    assert_eq!(verified.accepted_until, Some(Timestamp::from_unix(NOW + 360)));
    let headers = fake.script().last_headers.clone();
    let authorization = headers["authorization"].to_str().unwrap().to_owned();
    assert!(authorization.starts_with("Basic "), "the gate authenticates itself: {authorization}");
    assert!(
        rp.counts(r#"doorward_provider_requests_total{endpoint="introspection",provider="authentik",result="ok"} 1"#)
    );
}

#[tokio::test]
async fn a_token_belongs_to_this_client_or_to_an_audience_of_ours() {
    let (fake, rp) = provider().await;
    for (members, accepted) in [
        (json!({ "client_id": CLIENT, "aud": "removed" }), true),
        (json!({ "client_id": "other", "aud": CLIENT }), true),
        (json!({ "client_id": "other", "aud": ["x", CLIENT] }), true),
        (json!({ "client_id": "other", "aud": "api" }), true),
        (json!({ "client_id": "other" }), false),
        (json!({ "client_id": "other", "aud": "other-api" }), false),
        (json!({ "client_id": "removed", "aud": [] }), false),
        (json!({ "client_id": "removed" }), false),
        (json!({ "client_id": [CLIENT] }), false),
        (json!({ "client_id": "other", "aud": { CLIENT: 1 } }), false),
    ] {
        answer(&fake, &members);
        let result = introspect(&rp).await;
        assert_eq!(result.is_ok(), accepted, "{members}: {result:?}");
        assert!(!matches!(result, Err(CredentialError::Unavailable(_))), "{members}: {result:?}");
    }
}

#[tokio::test]
async fn a_token_that_is_over_bound_or_no_access_token_is_refused() {
    let (fake, rp) = provider().await;
    for members in [
        json!({ "active": false }),
        json!({ "exp": "1900000000" }),
        json!({ "exp": 1e300 }),
        json!({ "exp": -1 }),
        json!({ "nbf": NOW + 120 }),
        json!({ "iss": "https://other.example/" }),
        json!({ "cnf": { "jkt": "abc" } }),
        json!({ "token_type": "DPoP" }),
        json!({ "token_use": "refresh_token" }),
        json!({ "typ": "Refresh" }),
        json!({ "sub": 7 }),
    ] {
        answer(&fake, &members);
        let error = introspect(&rp).await.expect_err(&members.to_string());
        assert!(matches!(error, CredentialError::Refused(_)), "{members}: {error:?}");
    }
    answer(&fake, &json!({ "exp": NOW - 60 }));
    assert_eq!(introspect(&rp).await.map(drop), Err(CredentialError::Expired));
    for fine in
        [json!({ "exp": "removed" }), json!({ "exp": null }), json!({ "exp": NOW - 59 }), json!({ "iss": null })]
    {
        answer(&fake, &fine);
        introspect(&rp).await.unwrap_or_else(|error| panic!("{fine}: {error}"));
    }
}

#[tokio::test]
async fn a_client_that_acts_for_itself_is_its_own_subject() {
    let (fake, rp) = provider().await;
    answer(&fake, &json!({ "sub": "removed", "username": "removed", "client_id": "robot", "aud": CLIENT }));
    let verified = introspect(&rp).await.unwrap();
    assert_eq!((verified.identity.subject.0.as_str(), verified.identity.user.as_str()), ("robot", "robot"));
}

#[tokio::test]
async fn an_answer_that_is_none_says_nothing_about_the_token() {
    let (fake, rp) = provider().await;
    for fault in [
        InjectedFault::Status(503),
        InjectedFault::Status(404),
        InjectedFault::Body(401, r#"{"error":"invalid_client"}"#.to_owned()),
        InjectedFault::Body(200, "<h1>soon</h1>".to_owned()),
        InjectedFault::Body(200, "{}".to_owned()),
        InjectedFault::Body(200, r#"{"active":"true"}"#.to_owned()),
        InjectedFault::Body(200, r#"{"active":1}"#.to_owned()),
        InjectedFault::Body(200, r#"{"active":false,"active":true}"#.to_owned()),
        InjectedFault::Redirect("https://other.example/".to_owned()),
        InjectedFault::HugeBody,
    ] {
        fake.inject("introspect", fault.clone());
        let error = introspect(&rp).await.expect_err(&format!("{fault:?}"));
        assert!(matches!(error, CredentialError::Unavailable(_)), "{fault:?}: {error:?}");
        assert!(!error.to_string().contains(TOKEN), "{error}");
    }
    let fake = FakeProvider::start().await;
    let error = introspect(&RelyingParty::of(&fake)).await.expect_err("its metadata name no endpoint");
    assert!(error.to_string().contains("introspection_endpoint"), "{error}");
}

#[tokio::test]
async fn claims_of_a_person_are_completed_from_userinfo() {
    let (fake, rp) = provider().await;
    fake.script().userinfo = Some(json!({ "sub": "subject-1", "groups": ["from-userinfo"] }));
    fake.inject(
        "userinfo",
        InjectedFault::Body(200, json!({ "sub": "subject-1", "groups": ["from-userinfo"] }).to_string()),
    );
    answer(&fake, &json!({ "groups": "removed", "scope": "openid profile" }));
    assert_eq!(introspect(&rp).await.unwrap().identity.groups, ["from-userinfo"]);
    // A token that is not good for it has the claims that it has.
    fake.inject("userinfo", InjectedFault::Body(401, "{}".to_owned()));
    assert!(introspect(&rp).await.unwrap().identity.groups.is_empty());
    fake.inject("userinfo", InjectedFault::Body(200, json!({ "sub": "another" }).to_string()));
    introspect(&rp).await.expect_err("about somebody else");
    fake.inject("userinfo", InjectedFault::Status(503));
    let error = introspect(&rp).await.unwrap_err();
    assert!(matches!(error, CredentialError::Unavailable(_)), "{error:?}");
}

async fn redeem(rp: &RelyingParty, username: &str) -> Result<VerifiedCredential, CredentialError> {
    CredentialVerifier::at(&rp.provider).redeem(&AppPassword { username, password: "an app password" }).await
}

#[tokio::test]
async fn an_app_password_is_redeemed_for_its_owner() {
    let (fake, rp) = provider().await;
    fake.claims(json!({ "nonce": null }));
    let verified = redeem(&rp, "ann").await.unwrap();
    assert_eq!((verified.identity.user.as_str(), verified.tokens.refresh.is_none()), ("ann", true));
    assert_eq!(verified.accepted_until, Some(Timestamp::from_unix(NOW + 360)));
    let (_, form) = fake.script().last_exchange.clone();
    assert_eq!(form["grant_type"], "client_credentials");
    assert_eq!((form["username"].as_str(), form["password"].as_str()), ("ann", "an app password"));
    assert_eq!(form["scope"], "openid profile email", "no refresh token is asked for");
}

#[tokio::test]
async fn a_wrong_app_password_is_refused_and_an_outage_is_not() {
    let (fake, rp) = provider().await;
    fake.inject("token", InjectedFault::Body(400, r#"{"error":"invalid_grant"}"#.to_owned()));
    let error = redeem(&rp, "ann").await.unwrap_err();
    assert!(matches!(error, CredentialError::Refused(_)), "{error:?}");
    for fault in [
        InjectedFault::Status(503),
        InjectedFault::Body(401, r#"{"error":"invalid_client"}"#.to_owned()),
        InjectedFault::Body(400, r#"{"error":"unsupported_grant_type"}"#.to_owned()),
        InjectedFault::Body(200, "<h1>soon</h1>".to_owned()),
    ] {
        fake.inject("token", fault.clone());
        let error = redeem(&rp, "ann").await.unwrap_err();
        assert!(matches!(error, CredentialError::Unavailable(_)), "{fault:?}: {error:?}");
        assert!(!error.to_string().contains("an app password"), "{error}");
    }
}

#[tokio::test]
async fn a_provider_that_ignores_names_and_passwords_lets_nobody_in() {
    let (fake, rp) = provider().await;
    for (claims, username) in [
        (json!({ "nonce": null }), "ben"),
        (json!({ "nonce": null, "sub": CLIENT, "preferred_username": null }), CLIENT),
        (json!({ "nonce": null, "preferred_username": "service-account-doorward" }), "service-account-doorward"),
    ] {
        fake.claims(claims.clone());
        let error = redeem(&rp, username).await.expect_err(username);
        assert!(matches!(error, CredentialError::Refused(_)), "{claims}: {error:?}");
    }
}

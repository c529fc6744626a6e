//! Code redemption: sign-ins, and token and userinfo responses that are refused.

use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::{
    CALLBACK, Error, RelyingParty, VERIFIER, assert_discreet,
    fake_provider::{CLIENT, CODE, FakeProvider, InjectedFault, NOW},
    redemption, settings,
};
use crate::{
    clock::Timestamp,
    identity::{ClaimPath, Subject},
    oidc::{ClientAuth, Redemption, Settings},
};

type ErrorCheck = fn(&Error) -> bool;

#[tokio::test]
async fn a_code_becomes_an_identity_with_tokens() {
    let fake = FakeProvider::start().await;
    fake.claims(json!({ "department": "ops", "ak_proxy": { "uid": 7, "user_attributes": { "password": "hunter2" } } }));
    let rp = RelyingParty::of(&fake);
    let signed_in = rp.redeem().await.unwrap();

    let identity = signed_in.identity;
    assert_eq!(identity.provider, "authentik");
    assert_eq!(identity.subject, Subject("subject-1".into()));
    assert_eq!((identity.user.as_str(), identity.email.as_str()), ("ann", "ann@example.com"));
    assert_eq!(identity.name, "Ann Example");
    assert_eq!(identity.groups, ["admins", "users"]);
    assert_eq!(identity.claim("ak_proxy"), Some(&json!({ "uid": 7 })), "no attribute is kept that nothing names");
    let names: Vec<_> = identity.claims.keys().map(String::as_str).collect();
    let expected = ["ak_proxy", "department", "email", "groups", "name", "preferred_username", "sub"];
    assert_eq!(names, expected, "no claim of the protocol is kept");

    assert_eq!(signed_in.sid.as_deref(), Some("sid-1"));
    assert_eq!(signed_in.tokens.access_ends, Some(Timestamp::from_unix(NOW + 300)));
    assert_eq!(signed_in.tokens.access.unwrap().expose_secret(), "an-access-token");
    assert_eq!(signed_in.tokens.refresh.unwrap().expose_secret(), "a-refresh-token");
    assert_eq!(signed_in.tokens.id.unwrap().expose_secret(), fake.script().id_token());
    assert!(rp.counts(r#"doorward_provider_refresh_tokens{provider="authentik"} 1"#));
    let counted = r#"doorward_provider_requests_total{endpoint="token",provider="authentik",result="ok"} 1"#;
    assert!(rp.counts(counted));
}

#[tokio::test]
async fn the_client_authenticates_in_the_way_that_the_metadata_offer() {
    let basic = "Basic ZG9vcndhcmQ6czNjcmV0KyUyNitzb25z";
    for (methods, authorization, secret) in [
        (json!(null), Some(basic), None),
        (json!(["client_secret_post", "client_secret_basic"]), Some(basic), None),
        (json!(["client_secret_post"]), None, Some("s3cret & sons")),
    ] {
        let fake = FakeProvider::start().await;
        fake.script().metadata = json!({ "token_endpoint_auth_methods_supported": methods });
        RelyingParty::of(&fake).redeem().await.unwrap();
        let (sent, form) = fake.script().last_exchange.clone();
        assert_eq!(sent.as_deref(), authorization, "{methods}");
        assert_eq!(form.get("client_secret").map(String::as_str), secret, "{methods}");
        assert_eq!(form["grant_type"], "authorization_code");
        assert_eq!(form["code"], CODE);
        assert_eq!(form["code_verifier"], VERIFIER);
        assert_eq!(form["redirect_uri"], CALLBACK);
    }
}

#[tokio::test]
async fn a_refused_client_authentication_is_tried_the_other_way_once_and_remembered() {
    for (offered, accepts) in
        [(json!(null), "Post"), (json!(["client_secret_basic"]), "Post"), (json!(["client_secret_post"]), "Basic")]
    {
        let fake = FakeProvider::start().await;
        fake.script().metadata = json!({ "token_endpoint_auth_methods_supported": offered });
        fake.script().accepts = vec![accepts];
        let rp = RelyingParty::of(&fake);
        rp.redeem().await.unwrap_or_else(|error| panic!("{offered}: {error}"));
        assert_eq!(fake.requests("token"), 2, "{offered}");
        rp.redeem().await.unwrap();
        assert_eq!(fake.requests("token"), 3, "{offered}: it is remembered");

        fake.script().accepts = Vec::new();
        let error = rp.redeem().await.unwrap_err();
        assert!(matches!(&error, Error::ClientRefused(code) if code == "invalid_client"), "{offered}: {error:?}");
        assert_eq!(fake.requests("token"), 5, "{offered}: twice, and no more");
    }
}

#[tokio::test]
async fn a_configured_client_authentication_is_the_only_one() {
    for (client_auth, accepts, is_accepted) in [
        (ClientAuth::Basic, "Basic", true),
        (ClientAuth::Basic, "Post", false),
        (ClientAuth::Post, "Post", true),
        (ClientAuth::Post, "Basic", false),
    ] {
        let fake = FakeProvider::start().await;
        fake.script().accepts = vec![accepts];
        let settings = Settings { client_auth, ..settings(&fake.issuer()) };
        let result = RelyingParty::new(settings).redeem().await;
        assert_eq!(result.is_ok(), is_accepted, "{client_auth:?} {accepts}");
        assert_eq!(fake.requests("token"), 1, "{client_auth:?} {accepts}");
    }
}

#[tokio::test]
async fn a_token_response_is_read_as_it_is_meant() {
    for (status, content_type, tokens) in [
        (201, "application/json", json!({})),
        (200, "text/plain", json!({})),
        (202, "text/html; charset=utf-8", json!({})),
        (200, "application/json", json!({ "token_type": null, "scope": ["openid", "profile"], "expires_in": "300" })),
        (200, "application/json", json!({ "expires_in": 300.0, "token_type": "bearer" })),
        (200, "application/json", json!({ "token_type": 7, "scope": 1 })),
    ] {
        let fake = FakeProvider::start().await;
        fake.script().success = (status, content_type);
        fake.script().tokens = tokens.clone();
        let signed_in =
            RelyingParty::of(&fake).redeem().await.unwrap_or_else(|error| panic!("{status} {tokens}: {error}"));
        assert_eq!(signed_in.tokens.access_ends, Some(Timestamp::from_unix(NOW + 300)), "{tokens}");
    }
    let fake = FakeProvider::start().await;
    fake.script().tokens = json!({ "token_type": "DPoP" });
    let error = RelyingParty::of(&fake).redeem().await.unwrap_err();
    assert!(matches!(&error, Error::InvalidMessage(text) if text.contains("DPoP")), "{error:?}");
}

#[tokio::test]
async fn a_public_client_sends_no_secret() {
    let fake = FakeProvider::start().await;
    let mut settings = settings(&fake.issuer());
    settings.client_secret = None;
    RelyingParty::new(settings).redeem().await.unwrap();
    let (sent, form) = fake.script().last_exchange.clone();
    assert_eq!(sent, None);
    assert_eq!(form["client_id"], CLIENT);
    assert!(!form.contains_key("client_secret"));
}

#[tokio::test]
async fn a_callback_of_another_issuer_sends_the_code_to_nobody() {
    let fake = FakeProvider::start().await;
    let issuer = fake.issuer();
    let without_slash = issuer.trim_end_matches('/').to_owned();
    for (declared, iss, accepted) in [
        (false, None, true),
        (false, Some(issuer.as_str()), true),
        (true, Some(issuer.as_str()), true),
        (true, None, false),
        (false, Some("https://evil.example/"), false),
        (true, Some(without_slash.as_str()), false),
    ] {
        fake.script().metadata = json!({ "authorization_response_iss_parameter_supported": declared });
        let before = fake.requests("token");
        let result = RelyingParty::of(&fake).provider.redeem(&Redemption { iss, ..redemption() }).await;
        assert_eq!(result.is_ok(), accepted, "{declared} {iss:?}: {result:?}");
        assert_eq!(fake.requests("token") > before, accepted, "{declared} {iss:?}");
    }
}

#[tokio::test]
async fn claims_that_the_id_token_lacks_come_from_userinfo() {
    let fake = FakeProvider::start().await;
    fake.claims(json!({ "groups": null, "name": "", "email": null }));
    fake.script().userinfo = Some(json!({
        "sub": "subject-1", "name": "Ann", "email": "ann@home.example", "preferred_username": "not-ann",
        "groups": ["from-userinfo", "line\nbreak"], "department": "ops",
    }));
    let identity = RelyingParty::of(&fake).redeem().await.unwrap().identity;
    assert_eq!((identity.name.as_str(), identity.email.as_str()), ("Ann", "ann@home.example"));
    assert_eq!(identity.user, "ann", "the ID token wins");
    assert_eq!(identity.groups, ["from-userinfo", "line\nbreak"]);
    assert_eq!(identity.claim("department"), Some(&json!("ops")));
}

#[tokio::test]
async fn userinfo_is_not_requested_where_the_id_token_is_complete() {
    let fake = FakeProvider::start().await;
    fake.script().userinfo = Some(json!({ "sub": "subject-1" }));
    RelyingParty::of(&fake).redeem().await.unwrap();
    assert_eq!(fake.requests("userinfo"), 0);
}

#[tokio::test]
async fn a_userinfo_answer_that_cannot_be_used_stops_the_sign_in_where_rules_need_its_groups() {
    let invalid: ErrorCheck = |error| matches!(error, Error::InvalidMessage(_));
    let body = |claims: Value| InjectedFault::Body(200, claims.to_string());
    for (fault, expected) in [
        (body(json!({ "sub": "subject-2", "groups": ["admins"] })), invalid),
        (body(json!({ "groups": ["admins"] })), invalid),
        (body(json!([{ "sub": "subject-1" }])), invalid),
        (body(json!("eyJhbGciOiJub25lIn0.e30.")), invalid),
        (InjectedFault::Body(200, "eyJhbGciOiJub25lIn0.e30.".into()), invalid),
        (InjectedFault::Status(403), invalid),
        (InjectedFault::Status(502), |error| matches!(error, Error::Unavailable(_))),
        (InjectedFault::HugeBody, |error| matches!(error, Error::Unavailable(_))),
    ] {
        let fake = FakeProvider::start().await;
        fake.claims(json!({ "groups": null }));
        fake.script().userinfo = Some(json!({}));
        fake.inject("userinfo", fault.clone());
        let error = RelyingParty::of(&fake).redeem().await.unwrap_err();
        assert!(expected(&error), "{fault:?}: {error:?}");
        assert_discreet(&error);
    }
}

#[tokio::test]
async fn a_user_name_is_never_empty() {
    for (claims, user) in [
        (json!({ "preferred_username": null }), "ann@example.com"),
        (json!({ "preferred_username": "", "email": null }), "subject-1"),
        (json!({ "preferred_username": ["ann"], "email": 7 }), "subject-1"),
        (json!({ "preferred_username": null, "email_verified": false }), "subject-1"),
        (json!({ "preferred_username": null, "email_verified": true }), "ann@example.com"),
    ] {
        let fake = FakeProvider::start().await;
        fake.claims(claims.clone());
        let found = RelyingParty::of(&fake).redeem().await.map(|signed_in| signed_in.identity.user);
        // A claim of the wrong type is no claim.
        assert_eq!(found.unwrap_or_default(), user, "{claims}");
    }
}

#[tokio::test]
async fn groups_are_found_where_the_configuration_oauth_error() {
    let fake = FakeProvider::start().await;
    fake.claims(json!({ "groups": null, "realm_access": { "roles": ["a", 7, "b", "a"] } }));
    let mut settings = settings(&fake.issuer());
    settings.groups_claim = ClaimPath::Dotted("realm_access.roles".into());
    assert_eq!(RelyingParty::new(settings).redeem().await.unwrap().identity.groups, ["a", "b"]);
}

#[tokio::test]
async fn claims_of_an_absurd_size_are_refused() {
    let fake = FakeProvider::start().await;
    fake.claims(json!({ "groups": null }));
    fake.script().userinfo = Some(json!({ "sub": "subject-1", "groups": vec!["g".repeat(100); 1000] }));
    let error = RelyingParty::of(&fake).redeem().await.unwrap_err();
    assert!(error.to_string().contains("64 KiB"), "{error}");
}

#[tokio::test]
async fn an_error_of_the_token_endpoint_means_what_it_oauth_error() {
    let unavailable: ErrorCheck = |error| matches!(error, Error::Unavailable(_));
    let invalid: ErrorCheck = |error| matches!(error, Error::InvalidMessage(_));
    let oauth_error = |status, code: &str| {
        InjectedFault::Body(
            status,
            json!({ "error": code, "error_description": format!("the code was {CODE}") }).to_string(),
        )
    };
    for (fault, expected) in [
        (oauth_error(400, "invalid_grant"), (|error| matches!(error, Error::GrantRefused)) as ErrorCheck),
        (
            oauth_error(401, "invalid_client"),
            |error| matches!(error, Error::ClientRefused(code) if code == "invalid_client"),
        ),
        (
            oauth_error(400, "unauthorized_client"),
            |e| matches!(e, Error::ClientRefused(code) if code == "unauthorized_client"),
        ),
        (oauth_error(400, "a\nforged line"), |e| matches!(e, Error::ClientRefused(code) if !code.contains('\n'))),
        (oauth_error(400, "temporarily_unavailable"), unavailable),
        (oauth_error(500, "invalid_grant"), unavailable),
        (InjectedFault::Status(503), unavailable),
        (InjectedFault::Status(429), unavailable),
        (InjectedFault::Redirect("https://evil.example/token".into()), unavailable),
        (InjectedFault::HugeBody, unavailable),
        (InjectedFault::Body(200, "not json".into()), invalid),
        (InjectedFault::Body(200, json!({ "access_token": CODE, "token_type": "mac" }).to_string()), invalid),
        (InjectedFault::Body(200, json!({ "access_token": CODE, "token_type": "Bearer" }).to_string()), invalid),
        (InjectedFault::Status(403), invalid),
    ] {
        let fake = FakeProvider::start().await;
        fake.inject("token", fault.clone());
        let error = RelyingParty::of(&fake).redeem().await.unwrap_err();
        assert!(expected(&error), "{fault:?}: {error:?}");
        assert_discreet(&error);
        let is_client_refused = matches!(&error, Error::ClientRefused(code) if code == "invalid_client");
        let tries = if is_client_refused { 2 } else { 1 };
        assert_eq!(fake.requests("token"), tries, "a code that may have been looked at is never sent twice: {fault:?}");
    }
}

#[tokio::test]
async fn a_token_endpoint_that_stalls_is_unavailable() {
    let fake = FakeProvider::start().await;
    fake.inject("token", InjectedFault::Stall);
    let mut settings = settings(&fake.issuer());
    settings.timeout = std::time::Duration::from_secs(1);
    let rp = RelyingParty::new(settings);
    let error = rp.redeem().await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable(text) if text.contains("1s")), "{error:?}");
    let counted = r#"doorward_provider_requests_total{endpoint="token",provider="authentik",result="unavailable"} 1"#;
    assert!(rp.counts(counted));
}

#[tokio::test]
async fn a_missing_refresh_token_shows_in_the_metric() {
    let fake = FakeProvider::start().await;
    let rp = RelyingParty::of(&fake);
    rp.redeem().await.unwrap();
    fake.script().tokens = json!({ "refresh_token": null, "expires_in": null });
    let tokens = rp.redeem().await.unwrap().tokens;
    assert!(tokens.refresh.is_none());
    assert!(rp.counts(r#"doorward_provider_refresh_tokens{provider="authentik"} 0"#));
}

#[tokio::test]
async fn people_who_sign_in_at_once_get_their_own_identities() {
    let fakes = [FakeProvider::start().await, FakeProvider::start().await];
    fakes[1].claims(json!({ "sub": "subject-2", "preferred_username": "ben" }));
    let parties = fakes.each_ref().map(RelyingParty::of);
    let all = futures_util::future::join_all((0..50).map(|n| parties[n % 2].redeem())).await;
    for (n, signed_in) in all.into_iter().enumerate() {
        assert_eq!(signed_in.unwrap().identity.user, ["ann", "ben"][n % 2]);
    }
}

#[test]
fn a_provider_can_be_shared_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    let rp = RelyingParty::new(settings("https://id.example.com/"));
    is_send(&rp.provider.redeem(&redemption()));
    is_send(&rp.authorize());
}

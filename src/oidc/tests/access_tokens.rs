//! API clients' JWTs: each way in which one may not be, and what its claims become.

use serde_json::{Value, json};

use super::{
    RelyingParty, Settings,
    fake_provider::{CLIENT, FakeProvider, InjectedFault, NOW, Signer, TestKey},
    settings,
};
use crate::{
    clock::Timestamp,
    oidc::{AppPassword, CredentialError, CredentialVerifier, IssuerUse, TokenForm, VerifiedCredential},
};

const AUDIENCE: &str = "api";

/// Returns a token with these parts of the header and these claims in place of its own; `null` removes one.
fn token(fake: &FakeProvider, header: &Value, claims: &Value) -> String {
    let script = fake.script();
    let mut whole = json!({
        "iss": script.issuer, "sub": "subject-1", "aud": AUDIENCE, "exp": NOW + 300, "iat": NOW,
        "client_id": "cli", "scope": "openid read", "preferred_username": "ann", "groups": ["admins", "users", "admins"],
    });
    let mut head = json!({ "typ": "at+jwt" });
    for (whole, more) in [(&mut whole, claims), (&mut head, header)] {
        let whole = whole.as_object_mut().unwrap();
        whole.extend(more.as_object().unwrap().clone());
        whole.retain(|_, value| *value != json!("removed"));
    }
    script.signed(&head, &whole)
}

async fn verify(rp: &RelyingParty, raw: &str) -> Result<VerifiedCredential, CredentialError> {
    let TokenForm::Jwt(token) = TokenForm::read(raw)? else { panic!("{raw} is no JWT") };
    CredentialVerifier::at(&rp.provider).verify(token, &[AUDIENCE.to_owned(), "other-api".to_owned()]).await
}

async fn verify_claims(claims: &Value) -> Result<VerifiedCredential, CredentialError> {
    let fake = FakeProvider::start().await;
    verify(&RelyingParty::of(&fake), &token(&fake, &json!({}), claims)).await
}

#[tokio::test]
async fn a_token_of_the_issuer_for_this_audience_becomes_an_identity() {
    let fake = FakeProvider::start().await;
    let rp = RelyingParty::of(&fake);
    let verified = verify(&rp, &token(&fake, &json!({}), &json!({}))).await.unwrap();
    let identity = verified.identity;
    assert_eq!((identity.user.as_str(), identity.subject.0.as_str()), ("ann", "subject-1"));
    assert_eq!(identity.groups, ["admins", "users"]);
    assert_eq!((identity.provider.as_str(), identity.email_verified), ("authentik", false));
    assert_eq!(identity.claims.get("client_id"), Some(&json!("cli")));
    assert!(!identity.claims.contains_key("aud"), "{:?}", identity.claims);
    assert_eq!(verified.accepted_until, Some(Timestamp::from_unix(NOW + 360)));
    assert_eq!(fake.requests("jwks"), 1, "nothing but the keys is asked for");
    assert_eq!(fake.requests("userinfo") + fake.requests("token"), 0);
}

#[tokio::test]
async fn what_is_right_in_another_way_is_right() {
    let fake = FakeProvider::start().await;
    let rp = RelyingParty::of(&fake);
    for (header, claims) in [
        (json!({ "typ": "JWT" }), json!({})),
        (json!({ "typ": "jwt" }), json!({})),
        (json!({ "typ": "AT+JWT" }), json!({})),
        (json!({ "typ": "application/at+jwt" }), json!({})),
        (json!({ "typ": null }), json!({})),
        (json!({}), json!({ "aud": [AUDIENCE] })),
        (json!({}), json!({ "aud": ["somebody", AUDIENCE] })),
        (json!({}), json!({ "aud": "other-api" })),
        (json!({}), json!({ "exp": NOW - 59 })),
        (json!({}), json!({ "nbf": NOW + 60 })),
        (json!({}), json!({ "nbf": 0 })),
        (json!({}), json!({ "iat": "removed" })),
        (json!({}), json!({ "typ": "Bearer" })),
        (json!({}), json!({ "token_use": "access" })),
        // authentik's access tokens repeat the nonce of their sign-in.
        (json!({ "typ": "JWT" }), json!({ "nonce": "n" })),
    ] {
        let raw = token(&fake, &header, &claims);
        verify(&rp, &raw).await.unwrap_or_else(|error| panic!("{header} {claims}: {error}"));
    }
}

#[tokio::test]
async fn a_token_that_lacks_a_claim_or_has_an_odd_one_is_refused() {
    for claims in [
        json!({ "exp": "removed" }),
        json!({ "exp": null }),
        json!({ "exp": "99999999999" }),
        json!({ "exp": (NOW + 300).to_string() }),
        json!({ "exp": 1e300 }),
        json!({ "exp": -1 }),
        json!({ "exp": 1_800_000_300.5 }),
        json!({ "exp": 1_800_000_300.0 }),
        json!({ "exp": u64::MAX }),
        json!({ "exp": (NOW + 300) * 1000 }),
        json!({ "exp": [NOW + 300] }),
        json!({ "exp": true }),
        json!({ "nbf": NOW + 61 }),
        json!({ "nbf": "0" }),
        json!({ "nbf": -1 }),
        json!({ "nbf": null }),
        json!({ "iss": "removed" }),
        json!({ "iss": null }),
        json!({ "iss": "https://other.example/" }),
        json!({ "iss": ["https://other.example/"] }),
        json!({ "aud": "removed" }),
        json!({ "aud": null }),
        json!({ "aud": "" }),
        json!({ "aud": [] }),
        json!({ "aud": {} }),
        json!({ "aud": [AUDIENCE, 7] }),
        json!({ "aud": "API" }),
        json!({ "aud": "api other-api" }),
        json!({ "aud": CLIENT }),
        json!({ "sub": "removed" }),
        json!({ "sub": "" }),
        json!({ "sub": 7 }),
        json!({ "sub": "s".repeat(256) }),
        json!({ "cnf": { "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" } }),
        json!({ "cnf": { "x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2" } }),
        json!({ "cnf": null }),
        json!({ "typ": "ID" }),
        json!({ "typ": "Refresh" }),
        json!({ "typ": "Offline" }),
        json!({ "token_use": "id" }),
        json!({ "token_use": "refresh_token" }),
        json!({ "events": { "http://schemas.openid.net/event/backchannel-logout": {} } }),
    ] {
        let error = verify_claims(&claims).await.expect_err(&claims.to_string());
        assert!(matches!(error, CredentialError::Refused(_)), "{claims}: {error:?}");
    }
    assert_eq!(verify_claims(&json!({ "exp": NOW - 60 })).await.map(drop), Err(CredentialError::Expired));
    assert_eq!(verify_claims(&json!({ "exp": NOW - 300 })).await.map(drop), Err(CredentialError::Expired));
}

#[tokio::test]
async fn a_token_of_another_purpose_is_refused() {
    let fake = FakeProvider::start().await;
    let rp = RelyingParty::of(&fake);
    for (header, claims) in [
        (json!({ "typ": "logout+jwt" }), json!({})),
        (json!({ "typ": "dpop+jwt" }), json!({})),
        (json!({ "typ": "secevent+jwt" }), json!({})),
        (json!({ "typ": "token-introspection+jwt" }), json!({})),
        (json!({ "typ": "" }), json!({})),
        (json!({ "typ": 7 }), json!({})),
        (json!({ "cty": "JWT" }), json!({})),
        (json!({ "crit": ["exp"] }), json!({})),
        (json!({ "crit": [] }), json!({})),
        (json!({ "b64": false }), json!({})),
        (json!({ "zip": "DEF" }), json!({})),
        // ID tokens.
        (json!({ "typ": "JWT" }), json!({ "at_hash": "abc" })),
        (json!({ "typ": "JWT" }), json!({ "nonce": "n", "scope": "removed" })),
    ] {
        let error = verify(&rp, &token(&fake, &header, &claims)).await.expect_err(&format!("{header} {claims}"));
        assert!(matches!(error, CredentialError::Refused(_)), "{header} {claims}: {error:?}");
    }
}

#[tokio::test]
async fn only_a_published_key_and_an_offered_algorithm_count() {
    let (one, two, rsa) = (TestKey::One, TestKey::Two, TestKey::Rsa);
    for signer in [Signer::Genuine(two), Signer::As(two, one), Signer::Unsigned, Signer::HmacWithPublicKey] {
        let fake = FakeProvider::start().await;
        fake.script().signer = signer;
        let error = verify(&RelyingParty::of(&fake), &token(&fake, &json!({}), &json!({}))).await.unwrap_err();
        assert!(matches!(error, CredentialError::Refused(_)), "{signer:?}: {error:?}");
    }
    for (offered, accepted) in [(json!(["RS256"]), true), (json!(["EdDSA"]), false), (json!(["HS256", "none"]), false)]
    {
        let fake = FakeProvider::start().await;
        fake.script().metadata = json!({ "id_token_signing_alg_values_supported": offered });
        fake.script().signer = Signer::Genuine(rsa);
        let result = verify(&RelyingParty::of(&fake), &token(&fake, &json!({}), &json!({}))).await;
        assert_eq!(result.is_ok(), accepted, "{offered}: {result:?}");
    }
}

#[tokio::test]
async fn claims_that_stand_twice_are_refused() {
    let fake = FakeProvider::start().await;
    let rp = RelyingParty::of(&fake);
    for raw in [r#","aud":"api""#, r#","exp":1900000000"#, r#","cnf":1,"cnf":2"#] {
        fake.script().raw_claims = raw;
        verify(&rp, &token(&fake, &json!({}), &json!({}))).await.expect_err(raw);
    }
}

#[test]
fn a_text_is_a_jwt_opaque_or_refused_by_its_form() {
    let header = |json: &str| data_encoding::BASE64URL_NOPAD.encode(json.as_bytes());
    for opaque in ["abc", "a.b", "a.b.c", "v4.public.abc", "ory_at_abc.def", "..", "e30", ""] {
        assert!(matches!(TokenForm::read(opaque), Ok(TokenForm::Opaque)), "{opaque}");
    }
    let (jws, jwe) = (header(r#"{"alg":"RS256"}"#), header(r#"{"alg":"dir","enc":"A256GCM"}"#));
    let padded = data_encoding::BASE64URL.encode(br#"{"alg":"RS256" }"#);
    for refused in [
        format!("{jws}."),
        format!("{jws}.e30"),
        format!("{jws}.e30.a.b"),
        format!("{jws}.e30.a.b.c.d"),
        format!("{jwe}..a.b.c"),
        format!("{}.e30.", header(r#"{"alg":"none"}"#)),
        format!("{}.e30.AAAA", header(r#"{"typ":"JWT"}"#)),
        format!("{jws}.!.AAAA"),
        format!("{jws}.W10.AAAA"),
        format!("{jws}.e30.AAAA{}", "A".repeat(16 * 1024)),
    ] {
        assert!(matches!(TokenForm::read(&refused), Err(CredentialError::Refused(_))), "{refused}");
    }
    assert!(!matches!(TokenForm::read(&format!("{padded}.e30.AAAA")), Ok(TokenForm::Jwt(_))));
}

#[tokio::test]
async fn made_up_keys_cost_one_fetch_and_none_of_those_of_sign_ins_and_logouts() {
    let fake = FakeProvider::start().await;
    let rp = RelyingParty::of(&fake);
    verify(&rp, &token(&fake, &json!({}), &json!({}))).await.unwrap();
    let made_up = |number: u32| token(&fake, &json!({ "kid": format!("made-up-{number}") }), &json!({}));
    for number in 0..20 {
        verify(&rp, &made_up(number)).await.unwrap_err();
    }
    assert_eq!(fake.requests("jwks"), 2, "one more, for all of them");
    // The keys rotate: a sign-in and a logout have them fetched all the same.
    fake.script().published = vec![TestKey::Two];
    fake.script().signer = Signer::Genuine(TestKey::Two);
    rp.redeem().await.unwrap();
    assert_eq!(fake.requests("jwks"), 3);
}

#[tokio::test]
async fn without_keys_or_metadata_nothing_is_said_about_a_credential() {
    let fake = FakeProvider::start().await;
    fake.inject("jwks", InjectedFault::Status(503));
    let rp = RelyingParty::of(&fake);
    let raw = token(&fake, &json!({}), &json!({}));
    for _ in 0..3 {
        let error = verify(&rp, &raw).await.unwrap_err();
        assert!(matches!(error, CredentialError::Unavailable(_)), "{error:?}");
    }
    for fault in [
        InjectedFault::Status(503),
        InjectedFault::Body(200, "{}".to_owned()),
        InjectedFault::Body(200, "<h1>soon</h1>".to_owned()),
    ] {
        fake.inject("openid-configuration", fault.clone());
        let rp = RelyingParty::of(&fake);
        let error = verify(&rp, &raw).await.unwrap_err();
        assert!(matches!(error, CredentialError::Unavailable(_)), "{fault:?}: {error:?}");
        let verifier = CredentialVerifier::at(&rp.provider);
        let error = verifier.introspect("an-opaque-token", &[]).await.unwrap_err();
        assert!(matches!(error, CredentialError::Unavailable(_)), "{fault:?}: {error:?}");
        let error = verifier.redeem(&AppPassword { username: "ann", password: "secret" }).await.unwrap_err();
        assert!(matches!(error, CredentialError::Unavailable(_)), "{fault:?}: {error:?}");
    }
}

#[tokio::test]
async fn an_issuer_at_which_nobody_signs_in_needs_only_keys() {
    let fake = FakeProvider::start().await;
    fake.script().metadata = json!({ "authorization_endpoint": null, "token_endpoint": "urn:none" });
    let token_issuer = Settings { issuer_use: IssuerUse::Tokens, client_id: String::new(), ..settings(&fake.issuer()) };
    let raw = token(&fake, &json!({}), &json!({}));
    verify(&RelyingParty::new(token_issuer), &raw).await.unwrap();
    let error = verify(&RelyingParty::of(&fake), &raw).await.unwrap_err();
    assert!(matches!(error, CredentialError::Unavailable(_) | CredentialError::Refused(_)), "{error:?}");
}

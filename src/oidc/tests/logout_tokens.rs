//! Back-channel and front-channel logout: tokens and requests that are accepted or refused.

use std::sync::{LazyLock, atomic::Ordering};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    Error, RelyingParty, assert_discreet,
    fake_provider::{CLIENT, FakeProvider, InjectedFault, NOW, Signer, TestKey},
};
use crate::{
    clock::Timestamp,
    identity::Subject,
    oidc::{LogoutSubject, VerifiedLogoutToken},
};

async fn verify(header: &Value, claims: &Value) -> Result<VerifiedLogoutToken, Error> {
    let fake = FakeProvider::start().await;
    let token = fake.script().logout_token(header, claims);
    RelyingParty::of(&fake).provider.verify_logout_token(&token).await
}

fn sid() -> LogoutSubject {
    LogoutSubject::Sid("sid-1".into())
}

#[tokio::test]
async fn a_logout_token_states_whose_sessions_end_and_when_it_expires() {
    let subject = LogoutSubject::Subject(Subject("subject-1".into()));
    for (header, claims, expected, lifetime) in [
        (json!({}), json!({}), sid(), 120),
        (json!({ "typ": null }), json!({}), sid(), 120),
        (json!({ "typ": "JWT" }), json!({}), sid(), 120),
        (json!({ "typ": "application/logout+jwt" }), json!({}), sid(), 120),
        (json!({}), json!({ "sub": null }), sid(), 120),
        (json!({}), json!({ "sid": null }), subject, 120),
        (json!({}), json!({ "aud": [CLIENT] }), sid(), 120),
        (json!({}), json!({ "exp": null }), sid(), 300),
        (json!({}), json!({ "exp": 1_800_000_060.5, "iat": 1_800_000_000.25 }), sid(), 60),
        (json!({}), json!({ "exp": NOW - 59 }), sid(), -59),
        (json!({}), json!({ "iat": NOW + 59 }), sid(), 120),
        (json!({}), json!({ "exp": NOW + 7 * 24 * 3600, "iat": NOW - 3600 }), sid(), 23 * 3600),
        (json!({}), json!({ "something": "else" }), sid(), 120),
    ] {
        let verified = verify(&header, &claims).await.unwrap_or_else(|error| panic!("{header} {claims}: {error}"));
        let expires = Timestamp::from_unix(NOW.checked_add_signed(lifetime + 60).unwrap());
        assert_eq!(
            verified,
            VerifiedLogoutToken { jti: "logout-1".into(), expires, subject: expected },
            "{header} {claims}"
        );
    }
}

#[tokio::test]
async fn a_logout_token_with_a_wrong_claim_is_refused() {
    let events = |value: Value| json!({ "events": value });
    for (header, claims, reason) in [
        (json!({ "typ": "at+jwt" }), json!({}), "typ"),
        (json!({ "typ": 7 }), json!({}), "typ"),
        (json!({ "crit": ["exp"] }), json!({}), "extension"),
        (json!({}), json!({ "iss": "https://evil.example/" }), "issuer"),
        (json!({}), json!({ "iss": null }), "issuer"),
        (json!({}), json!({ "aud": "another" }), "aud"),
        (json!({}), json!({ "aud": [CLIENT, "another"] }), "aud"),
        (json!({}), json!({ "aud": null }), "aud"),
        (json!({}), json!({ "iat": null }), "iat"),
        (json!({}), json!({ "iat": NOW.to_string() }), "iat"),
        (json!({}), json!({ "iat": NOW + 61 }), "future"),
        (json!({}), json!({ "exp": NOW - 60 }), "expired"),
        (json!({}), json!({ "exp": NOW.to_string() }), "exp"),
        (json!({}), json!({ "exp": -1 }), "exp"),
        (json!({}), json!({ "exp": 1e300 }), "exp"),
        (json!({}), json!({ "exp": null, "iat": NOW - 360 }), "expired"),
        (json!({}), json!({ "exp": NOW + 60, "iat": NOW - 2 * 24 * 3600 }), "expired"),
        (json!({}), json!({ "jti": null }), "jti"),
        (json!({}), json!({ "jti": "" }), "jti"),
        (json!({}), json!({ "jti": "j".repeat(256) }), "jti"),
        (json!({}), json!({ "nonce": "a" }), "nonce"),
        (json!({}), events(Value::Null), "events"),
        (json!({}), events(json!({})), "events"),
        (json!({}), events(json!(["http://schemas.openid.net/event/backchannel-logout"])), "events"),
        (json!({}), events(json!({ "http://schemas.openid.net/event/backchannel-logout": true })), "events"),
        (json!({}), json!({ "sub": null, "sid": null }), "sid"),
        (json!({}), json!({ "sid": 7 }), "sid"),
        (json!({}), json!({ "sub": "" }), "sub"),
        (json!({}), json!({ "padding": "x".repeat(16 * 1024) }), "longer"),
    ] {
        let error = verify(&header, &claims).await.expect_err(&format!("{header} {claims}"));
        assert!(matches!(error, Error::InvalidMessage(_)), "{header} {claims}: {error:?}");
        assert!(error.to_string().contains(reason), "{header} {claims}: {error}");
        assert_discreet(&error);
    }
}

#[tokio::test]
async fn a_logout_token_that_is_not_signed_by_the_provider_is_refused() {
    for (signer, header) in [
        (Signer::Unsigned, json!({})),
        (Signer::HmacWithPublicKey, json!({})),
        (Signer::As(TestKey::Two, TestKey::One), json!({})),
        (Signer::As(TestKey::One, TestKey::Two), json!({})),
        (Signer::Genuine(TestKey::Two), json!({})),
        (Signer::Genuine(TestKey::Rsa), json!({ "alg": "RS512" })),
        (Signer::Genuine(TestKey::Rsa), json!({ "alg": "EdDSA" })),
        (Signer::Genuine(TestKey::One), json!({ "alg": "XYZ" })),
    ] {
        let fake = FakeProvider::start().await;
        fake.script().signer = signer;
        let token = fake.script().logout_token(&header, &json!({}));
        let error = RelyingParty::of(&fake).provider.verify_logout_token(&token).await.unwrap_err();
        assert!(matches!(error, Error::InvalidMessage(_)), "{signer:?} {header}: {error:?}");
        assert_discreet(&error);
    }
}

#[tokio::test]
async fn a_logout_token_without_a_kid_is_verified_with_any_key_that_fits() {
    for (published, accepted) in [
        (vec![TestKey::One, TestKey::Rsa], true),
        (vec![TestKey::Two, TestKey::One], true),
        (vec![TestKey::Two], false),
        (vec![TestKey::Rsa], false),
    ] {
        let fake = FakeProvider::start().await;
        fake.script().signer = Signer::WithoutKid(TestKey::One);
        fake.script().published = published.clone();
        let token = fake.script().logout_token(&json!({}), &json!({}));
        let result = RelyingParty::of(&fake).provider.verify_logout_token(&token).await;
        assert_eq!(result.is_ok(), accepted, "{published:?}: {result:?}");
    }
}

#[tokio::test]
async fn neither_an_id_token_is_a_logout_token_nor_the_other_way_round() {
    let fake = FakeProvider::start().await;
    let rp = RelyingParty::of(&fake);
    let id_token = fake.script().id_token();
    assert!(rp.provider.verify_logout_token(&id_token).await.is_err());
    let logout_token = fake.script().logout_token(&json!({}), &json!({}));
    fake.script().tokens = json!({ "id_token": logout_token });
    assert!(rp.redeem().await.is_err());
}

#[tokio::test]
async fn a_key_that_is_not_known_yet_is_fetched_but_not_more_often_than_every_ten_seconds() {
    let fake = FakeProvider::start().await;
    let rp = RelyingParty::of(&fake);
    rp.provider.poll().await.unwrap();
    fake.script().signer = Signer::Genuine(TestKey::Two);
    let token = fake.script().logout_token(&json!({}), &json!({}));
    for _ in 0..3 {
        rp.provider.verify_logout_token(&token).await.unwrap_err();
    }
    assert_eq!(fake.requests("jwks"), 2);

    fake.script().published = vec![TestKey::Two];
    rp.now.fetch_add(10, Ordering::Relaxed);
    assert_eq!(rp.provider.verify_logout_token(&token).await.unwrap().subject, sid());
}

#[tokio::test]
async fn nothing_is_fetched_for_a_token_of_another_issuer_or_client() {
    let fake = FakeProvider::start().await;
    let rp = RelyingParty::of(&fake);
    for claims in [json!({ "iss": "https://evil.example/" }), json!({ "aud": "another" }), json!({ "jti": null })] {
        let token = fake.script().logout_token(&json!({}), &claims);
        rp.provider.verify_logout_token(&token).await.unwrap_err();
    }
    assert_eq!((fake.requests("openid-configuration"), fake.requests("jwks")), (0, 0));
}

#[tokio::test]
async fn a_provider_whose_keys_or_metadata_cannot_be_had_is_unavailable() {
    for (endpoint, fault) in [
        ("jwks", InjectedFault::Status(503)),
        ("openid-configuration", InjectedFault::Status(503)),
        ("openid-configuration", InjectedFault::Body(200, "{}".to_owned())),
        ("openid-configuration", InjectedFault::Body(200, "<h1>soon</h1>".to_owned())),
    ] {
        let fake = FakeProvider::start().await;
        fake.inject(endpoint, fault);
        let token = fake.script().logout_token(&json!({}), &json!({}));
        let error = RelyingParty::of(&fake).provider.verify_logout_token(&token).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{endpoint}: {error:?}");
    }
}

#[tokio::test]
async fn a_front_channel_request_needs_the_right_issuer_and_a_session() {
    let fake = FakeProvider::start().await;
    let (rp, issuer) = (RelyingParty::of(&fake), fake.issuer());
    assert_eq!(rp.provider.frontchannel_logout(Some(&issuer), Some("sid-1")), None, "the metadata are not known yet");
    rp.provider.poll().await.unwrap();
    let long = "s".repeat(256);
    for (iss, sid, expected) in [
        (Some(issuer.as_str()), Some("sid-1"), Some(sid())),
        (Some(issuer.trim_end_matches('/')), Some("sid-1"), None),
        (Some("https://evil.example/"), Some("sid-1"), None),
        (None, Some("sid-1"), None),
        (Some(issuer.as_str()), None, None),
        (Some(issuer.as_str()), Some(""), None),
        (Some(issuer.as_str()), Some(long.as_str()), None),
    ] {
        assert_eq!(rp.provider.frontchannel_logout(iss, sid), expected, "{iss:?} {sid:?}");
    }
}

fn accepts(token: &str) -> bool {
    static RP: LazyLock<RelyingParty> = LazyLock::new(|| RelyingParty::new(super::settings("https://id.example.com/")));
    futures_util::FutureExt::now_or_never(RP.provider.verify_logout_token(token)).is_some_and(|result| result.is_ok())
}

proptest! {
    #[test]
    fn arbitrary_text_is_never_accepted_and_never_panics(token in ".*") {
        prop_assert!(!accepts(&token));
    }

    #[test]
    fn arbitrary_claims_are_never_accepted_and_never_panic(
        time in any::<f64>(), text in ".{0,20}", signature in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let header = json!({ "alg": "EdDSA", "typ": text });
        let claims = json!({ "iss": text, "aud": text, "iat": time, "exp": time, "jti": text, "events": { text.as_str(): {} } });
        let part = |value: &[u8]| crate::crypto::encode(value);
        let token = [part(header.to_string().as_bytes()), part(claims.to_string().as_bytes()), part(&signature)].join(".");
        prop_assert!(!accepts(&token));
    }
}

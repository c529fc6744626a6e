//! Which words of the provider end a session.

use std::sync::{LazyLock, atomic::Ordering};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    Bench, Error, assert_discreet,
    provider::{CLIENT, FakeProvider, Key, NOW, Signer, Sin},
};
use crate::{
    clock::Timestamp,
    identity::Subject,
    oidc::{LogoutNotice, Whom},
};

async fn hear(header: &Value, claims: &Value) -> Result<LogoutNotice, Error> {
    let fake = FakeProvider::start().await;
    let token = fake.script().logout_token(header, claims);
    Bench::at(&fake).provider.logout_token(&token).await
}

fn sid() -> Whom {
    Whom::Sid("sid-1".into())
}

#[tokio::test]
async fn a_logout_token_says_whose_sessions_end_and_how_long_it_counts() {
    let subject = Whom::Subject(Subject("subject-1".into()));
    for (header, claims, whom, lasts) in [
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
        let notice = hear(&header, &claims).await.unwrap_or_else(|error| panic!("{header} {claims}: {error}"));
        let until = Timestamp::from_unix(NOW.checked_add_signed(lasts + 60).unwrap());
        assert_eq!(notice, LogoutNotice { jti: "notice-1".into(), until, whom }, "{header} {claims}");
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
        let error = hear(&header, &claims).await.expect_err(&format!("{header} {claims}"));
        assert!(matches!(error, Error::Unbelievable(_)), "{header} {claims}: {error:?}");
        assert!(error.to_string().contains(reason), "{header} {claims}: {error}");
        assert_discreet(&error);
    }
}

#[tokio::test]
async fn a_logout_token_that_is_not_signed_by_the_provider_is_refused() {
    for (signer, header) in [
        (Signer::Nobody, json!({})),
        (Signer::HmacWithPublicKey, json!({})),
        (Signer::As(Key::Two, Key::One), json!({})),
        (Signer::As(Key::One, Key::Two), json!({})),
        (Signer::Honest(Key::Two), json!({})),
        (Signer::Honest(Key::Rsa), json!({ "alg": "RS512" })),
        (Signer::Honest(Key::Rsa), json!({ "alg": "EdDSA" })),
        (Signer::Honest(Key::One), json!({ "alg": "XYZ" })),
    ] {
        let fake = FakeProvider::start().await;
        fake.script().signer = signer;
        let token = fake.script().logout_token(&header, &json!({}));
        let error = Bench::at(&fake).provider.logout_token(&token).await.unwrap_err();
        assert!(matches!(error, Error::Unbelievable(_)), "{signer:?} {header}: {error:?}");
        assert_discreet(&error);
    }
}

#[tokio::test]
async fn a_logout_token_without_a_key_s_name_needs_a_key_that_can_only_be_meant() {
    for (published, believed) in
        [(vec![Key::One, Key::Rsa], true), (vec![Key::Two, Key::One], false), (vec![Key::Rsa], false)]
    {
        let fake = FakeProvider::start().await;
        fake.script().signer = Signer::Nameless(Key::One);
        fake.script().published = published.clone();
        let token = fake.script().logout_token(&json!({}), &json!({}));
        let result = Bench::at(&fake).provider.logout_token(&token).await;
        assert_eq!(result.is_ok(), believed, "{published:?}: {result:?}");
    }
}

#[tokio::test]
async fn neither_an_id_token_is_a_logout_token_nor_the_other_way_round() {
    let fake = FakeProvider::start().await;
    let bench = Bench::at(&fake);
    let id_token = fake.script().id_token();
    assert!(bench.provider.logout_token(&id_token).await.is_err());
    let logout_token = fake.script().logout_token(&json!({}), &json!({}));
    fake.script().tokens = json!({ "id_token": logout_token });
    assert!(bench.redeem().await.is_err());
}

#[tokio::test]
async fn a_key_that_is_not_known_yet_is_fetched_but_not_more_often_than_every_ten_seconds() {
    let fake = FakeProvider::start().await;
    let bench = Bench::at(&fake);
    bench.provider.ask().await.unwrap();
    fake.script().signer = Signer::Honest(Key::Two);
    let token = fake.script().logout_token(&json!({}), &json!({}));
    for _ in 0..3 {
        bench.provider.logout_token(&token).await.unwrap_err();
    }
    assert_eq!(fake.asked("jwks"), 2);

    fake.script().published = vec![Key::Two];
    bench.hand.fetch_add(10, Ordering::Relaxed);
    assert_eq!(bench.provider.logout_token(&token).await.unwrap().whom, sid());
}

#[tokio::test]
async fn nothing_is_fetched_for_a_token_that_does_not_claim_to_be_ours() {
    let fake = FakeProvider::start().await;
    let bench = Bench::at(&fake);
    for claims in [json!({ "iss": "https://evil.example/" }), json!({ "aud": "another" }), json!({ "jti": null })] {
        let token = fake.script().logout_token(&json!({}), &claims);
        bench.provider.logout_token(&token).await.unwrap_err();
    }
    assert_eq!((fake.asked("openid-configuration"), fake.asked("jwks")), (0, 0));
}

#[tokio::test]
async fn a_provider_whose_keys_cannot_be_had_is_unavailable() {
    let fake = FakeProvider::start().await;
    fake.sin("jwks", Sin::Status(503));
    let token = fake.script().logout_token(&json!({}), &json!({}));
    let error = Bench::at(&fake).provider.logout_token(&token).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
}

#[tokio::test]
async fn a_front_channel_request_needs_the_right_issuer_and_a_session() {
    let fake = FakeProvider::start().await;
    let (bench, issuer) = (Bench::at(&fake), fake.issuer());
    assert_eq!(bench.provider.logout_request(Some(&issuer), Some("sid-1")), None, "nothing is known yet");
    bench.provider.ask().await.unwrap();
    let long = "s".repeat(256);
    for (iss, sid, whom) in [
        (Some(issuer.as_str()), Some("sid-1"), Some(sid())),
        (Some(issuer.trim_end_matches('/')), Some("sid-1"), None),
        (Some("https://evil.example/"), Some("sid-1"), None),
        (None, Some("sid-1"), None),
        (Some(issuer.as_str()), None, None),
        (Some(issuer.as_str()), Some(""), None),
        (Some(issuer.as_str()), Some(long.as_str()), None),
    ] {
        assert_eq!(bench.provider.logout_request(iss, sid), whom, "{iss:?} {sid:?}");
    }
}

fn hears(token: &str) -> bool {
    static BENCH: LazyLock<Bench> = LazyLock::new(|| Bench::new(super::settings("https://id.example.com/")));
    futures_util::FutureExt::now_or_never(BENCH.provider.logout_token(token)).is_some_and(|result| result.is_ok())
}

proptest! {
    #[test]
    fn arbitrary_text_is_never_believed_and_never_panics(token in ".*") {
        prop_assert!(!hears(&token));
    }

    #[test]
    fn arbitrary_claims_are_never_believed_and_never_panic(
        time in any::<f64>(), text in ".{0,20}", signature in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let header = json!({ "alg": "EdDSA", "typ": text });
        let claims = json!({ "iss": text, "aud": text, "iat": time, "exp": time, "jti": text, "events": { text.as_str(): {} } });
        let part = |value: &[u8]| crate::crypto::encode(value);
        let token = [part(header.to_string().as_bytes()), part(claims.to_string().as_bytes()), part(&signature)].join(".");
        prop_assert!(!hears(&token));
    }
}

//! Signing keys: sets with odd keys in them, tokens that do not say which key signed them, and rotations.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::{
    CapturedLog, Error, RelyingParty,
    fake_provider::{FakeProvider, InjectedFault, Signer, TestKey},
};

/// A public key with members in place of its own; `null` removes one.
fn key(key: TestKey, overrides: &Value) -> Value {
    let mut key = key.public();
    let members = key.as_object_mut().unwrap();
    members.extend(overrides.as_object().unwrap().clone());
    members.retain(|_, value| !value.is_null());
    key
}

async fn publishes(keys: String) -> FakeProvider {
    let fake = FakeProvider::start().await;
    fake.inject("jwks", InjectedFault::Body(200, keys));
    fake
}

#[tokio::test]
async fn keys_that_fit_are_tried_in_turn() {
    let (one, two, rsa) = (TestKey::One, TestKey::Two, TestKey::Rsa);
    let unnamed = json!({ "kid": null });
    let genuine = Signer::Genuine(one);
    for (signer, keys, accepted) in [
        (Signer::WithoutKid(one), vec![key(two, &json!({})), key(one, &json!({}))], true),
        (genuine, vec![key(two, &json!({ "kid": "one" })), key(one, &json!({}))], true),
        (genuine, vec![key(two, &unnamed), key(one, &unnamed), key(rsa, &unnamed)], true),
        (genuine, vec![key(two, &unnamed), key(one, &json!({}))], true),
        (genuine, vec![key(one, &json!({})), key(one, &json!({}))], true),
        (genuine, vec![key(one, &json!({ "kid": 5 })), key(one, &unnamed)], true),
        // A name that is another's is no name of this one.
        (genuine, vec![key(one, &json!({ "kid": "uno" })), key(two, &json!({}))], false),
        (Signer::As(two, one), vec![key(one, &json!({})), key(two, &json!({}))], false),
        (genuine, vec![key(one, &json!({ "use": "enc" })), key(two, &unnamed)], false),
        (genuine, vec![key(one, &json!({ "alg": "RS256" })), key(two, &unnamed)], false),
    ] {
        let fake = publishes(json!({ "keys": keys }).to_string()).await;
        fake.script().signer = signer;
        let result = RelyingParty::of(&fake).redeem().await;
        assert_eq!(result.is_ok(), accepted, "{signer:?} {keys:?}: {result:?}");
    }
}

#[tokio::test]
async fn a_broken_key_among_good_ones_is_passed_over_and_named() {
    let one = TestKey::One.public();
    for (keys, name) in [
        (format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","x":"AA","kid":"odd","use":7}},{one}]}}"#), "odd"),
        (format!(r#"{{"keys":[7,{one}]}}"#), "keys[0]"),
        (format!(r#"{{"keys":[{{"kty":"RSA","n":1e999}},{one}]}}"#), "keys[0]"),
        (format!(r#"{{"keys":[{one},{{"kty":"RSA","kty":"EC"}}]}}"#), "keys[1]"),
        (format!(r#"{{"keys":[{one},{{"kid":"none of a type"}}]}}"#), "none of a type"),
    ] {
        let log = CapturedLog::begin();
        let fake = publishes(keys.clone()).await;
        let rp = RelyingParty::of(&fake);
        rp.redeem().await.unwrap_or_else(|error| panic!("{keys}: {error}"));
        assert_eq!(log.warnings(&["JWKS", name, "mend"]), 1, "{keys}");
    }
}

#[tokio::test]
async fn what_no_key_depends_on_may_be_odd() {
    let one = TestKey::One.public();
    let with = |member: &str| one.to_string().replacen('{', &format!("{{{member},"), 1);
    for keys in [
        format!("\u{feff}{{\"keys\":[{one}]}}"),
        format!(r#"{{"keys":[{one}],"more":1e999,"deep":{}}}"#, "[".repeat(200) + &"]".repeat(200)),
        format!(r#"{{"keys":[{}]}}"#, with(r#""x5c":"not a list","iat":1e999,"note":"\ud800""#)),
        format!(r#"{{"keys":[{}]}}"#, with(r#""note":1,"note":2,"n":null"#)),
        format!(r#"{{"keys":[{{"kty":"AKP","alg":"ML-DSA-44","pub":"AA"}},{{"kty":"oct","k":"AA"}},{one}]}}"#),
    ] {
        let (fake, log) = (publishes(keys.clone()).await, CapturedLog::begin());
        RelyingParty::of(&fake).redeem().await.unwrap_or_else(|error| panic!("{keys}: {error}"));
        assert_eq!(log.warnings(&["JWKS"]), 0, "{keys}");
    }
}

#[tokio::test]
async fn a_set_without_a_key_that_can_be_used_says_so() {
    for (keys, words) in [
        ("{}", "choose a signing key"),
        (r#"{"keys":[]}"#, "choose a signing key"),
        (r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#, "choose a signing key"),
        (r#"{"keys":{}}"#, "not a JSON Web Key Set"),
        (r#"{"keys":[],"keys":[]}"#, "not a JSON Web Key Set"),
        ("<h1>no</h1>", "not a JSON Web Key Set"),
    ] {
        let fake = publishes(keys.to_owned()).await;
        let error = RelyingParty::of(&fake).redeem().await.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)) && error.to_string().contains(words), "{keys}: {error:?}");
    }
}

#[tokio::test]
async fn keys_that_are_rotated_twice_in_a_row_are_followed() {
    let fake = FakeProvider::start().await;
    let rp = RelyingParty::of(&fake);
    rp.redeem().await.unwrap();
    for rotated in [TestKey::Two, TestKey::One] {
        fake.script().signer = Signer::Genuine(rotated);
        fake.script().published = vec![rotated];
        let before = fake.requests("jwks");
        let all = futures_util::future::join_all((0..10).map(|_| rp.redeem())).await;
        assert!(all.iter().all(Result::is_ok), "{rotated:?}: {all:?}");
        assert_eq!(fake.requests("jwks"), before + 1, "one fetch for all: {rotated:?}");
    }
}

#[tokio::test]
async fn strangers_cause_a_fetch_every_ten_seconds_at_most_and_take_none_from_sign_ins() {
    let fake = FakeProvider::start().await;
    let rp = RelyingParty::of(&fake);
    rp.redeem().await.unwrap();
    let forged = {
        let mut script = fake.script();
        script.signer = Signer::Genuine(TestKey::Two);
        script.logout_token(&json!({}), &json!({}))
    };
    for _ in 0..5 {
        rp.provider.verify_logout_token(&forged).await.unwrap_err();
    }
    assert_eq!(fake.requests("jwks"), 2);

    fake.script().published = vec![TestKey::Two];
    rp.redeem().await.unwrap();
    assert_eq!(fake.requests("jwks"), 3, "a sign-in has a fetch of its own");

    fake.script().published = vec![TestKey::One];
    fake.script().signer = Signer::Genuine(TestKey::One);
    let token = fake.script().logout_token(&json!({}), &json!({}));
    rp.provider.verify_logout_token(&token).await.unwrap_err();
    rp.now.fetch_add(10, Ordering::Relaxed);
    rp.provider.verify_logout_token(&token).await.unwrap();
    assert_eq!(fake.requests("jwks"), 4);
    rp.now.fetch_sub(30, Ordering::Relaxed);
    rp.provider.verify_logout_token(&forged).await.unwrap_err();
    assert_eq!(fake.requests("jwks"), 5, "a clock that was set back does not keep it from asking");
}

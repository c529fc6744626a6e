//! ID token validation: claims, headers and signatures that are accepted or refused.

use proptest::prelude::*;
use serde_json::json;

use super::{
    Error, RelyingParty, assert_discreet,
    fake_provider::{CLIENT, CODE, FakeProvider, NONCE, NOW, Signer, TestKey},
};
use crate::{
    clock::Timestamp,
    oidc::id_token::{ExpectedIdToken, GrantType, verify},
};

#[tokio::test]
async fn a_token_with_a_wrong_claim_is_refused() {
    for (claims, reason) in [
        (json!({ "nonce": "another" }), "nonce"),
        (json!({ "nonce": null }), "nonce"),
        (json!({ "iss": "https://evil.example/" }), "issuer"),
        (json!({ "iss": null }), "issuer"),
        (json!({ "aud": "another" }), "audience"),
        (json!({ "aud": [] }), "aud"),
        (json!({ "aud": null }), "aud"),
        (json!({ "aud": { "doorward": 1 } }), "aud"),
        (json!({ "aud": [CLIENT, "another"] }), "audience"),
        (json!({ "aud": [CLIENT, "another"], "azp": "another" }), "audience"),
        (json!({ "azp": "another" }), "azp"),
        (json!({ "azp": [CLIENT] }), "azp"),
        (json!({ "exp": NOW - 61 }), "expired"),
        (json!({ "exp": null }), "exp"),
        (json!({ "exp": (NOW + 300).to_string() }), "exp"),
        (json!({ "exp": "2096-01-01T00:00:00Z" }), "exp"),
        (json!({ "exp": -1 }), "expired"),
        (json!({ "exp": 1e300 }), "exp"),
        (json!({ "iat": null }), "iat"),
        (json!({ "nbf": NOW + 61 }), "nbf"),
        (json!({ "nbf": "0" }), "nbf"),
        (json!({ "sub": null }), "sub"),
        (json!({ "sub": "" }), "sub"),
        (json!({ "sub": 7 }), "sub"),
        (json!({ "sub": "s".repeat(256) }), "sub"),
        (json!({ "sid": 7 }), "sid"),
        (json!({ "sid": "s".repeat(256) }), "sid"),
        (json!({ "at_hash": "AAAA" }), "at_hash"),
        (json!({ "c_hash": "AAAA" }), "c_hash"),
        (json!({ "padding": "x".repeat(64 * 1024) }), "longer"),
    ] {
        let fake = FakeProvider::start().await;
        fake.claims(claims.clone());
        let error = RelyingParty::of(&fake).redeem().await.unwrap_err();
        assert!(matches!(error, Error::InvalidMessage(_)), "{claims}: {error:?}");
        assert!(error.to_string().to_lowercase().contains(reason), "{claims}: {error}");
        assert_discreet(&error);
    }
}

#[tokio::test]
async fn a_token_of_another_time_states_the_clock_skew() {
    for (claims, words) in [
        (json!({ "iat": NOW + 61 }), "in the future; this machine's clock is about 61 s behind"),
        (json!({ "iat": NOW + 7200, "exp": NOW + 7500 }), "about 7200 s behind"),
        (json!({ "iat": NOW - 7200, "exp": NOW - 6900 }), "expired; this machine's clock is about 7200 s ahead"),
        (json!({ "iat": NOW - 300, "nbf": NOW + 300 }), "about 300 s ahead"),
    ] {
        let fake = FakeProvider::start().await;
        fake.claims(claims.clone());
        let error = RelyingParty::of(&fake).redeem().await.unwrap_err();
        assert!(matches!(error, Error::ClockSkew(_)), "{claims}: {error:?}");
        assert!(error.to_string().contains(words), "{claims}: {error}");
        assert_discreet(&error);
    }
}

#[tokio::test]
async fn a_token_with_an_unusual_but_valid_claim_is_accepted() {
    for claims in [
        json!({ "aud": [CLIENT] }),
        json!({ "aud": [CLIENT, "another"], "azp": CLIENT }),
        json!({ "azp": CLIENT }),
        json!({ "exp": NOW - 59 }),
        json!({ "exp": 1_800_000_000.5 }),
        json!({ "iat": NOW + 59, "nbf": NOW + 59 }),
        json!({ "email_verified": "true", "updated_at": "2026-01-01T00:00:00Z" }),
        // No claim about the person is a reason to refuse the token.
        json!({ "email_verified": 1, "email": ["ann@example.com"], "name": {}, "preferred_username": 7 }),
        json!({ "email_verified": { "yes": true }, "phone_number_verified": "maybe", "updated_at": [], "address": 7 }),
        json!({ "locale": 7, "zoneinfo": {}, "picture": [], "birthdate": 1970, "gender": false, "amr": "pwd" }),
        json!({ "at_hash": half_sha_512(b"an-access-token"), "c_hash": half_sha_512(CODE.as_bytes()) }),
    ] {
        let fake = FakeProvider::start().await;
        fake.claims(claims.clone());
        let result = RelyingParty::of(&fake).redeem().await;
        assert!(result.is_ok(), "{claims}: {result:?}");
    }
}

/// Returns the value of `at_hash` or `c_hash` for `EdDSA` over Ed25519.
fn half_sha_512(value: &[u8]) -> String {
    use sha2::Digest as _;
    let hash = sha2::Sha512::digest(value);
    data_encoding::BASE64URL_NOPAD.encode(&hash[..32])
}

#[tokio::test]
async fn a_token_with_a_strange_header_or_signature_is_refused() {
    let genuine = Signer::Genuine(TestKey::One);
    for (signer, header, reason) in [
        (Signer::Unsigned, json!({}), "not signed"),
        (Signer::Unsigned, json!({ "alg": "None" }), "not signed"),
        (Signer::Unsigned, json!({ "alg": null }), "algorithm"),
        (Signer::HmacWithPublicKey, json!({}), "hs256"),
        (Signer::As(TestKey::Two, TestKey::One), json!({}), "signature"),
        (Signer::Genuine(TestKey::Two), json!({}), "key"),
        (Signer::Genuine(TestKey::Rsa), json!({ "alg": "RS512" }), "rs512"),
        (Signer::Genuine(TestKey::Rsa), json!({ "alg": "EdDSA" }), "key"),
        (Signer::Genuine(TestKey::One), json!({ "alg": "A128GCM" }), "algorithm"),
        (Signer::Genuine(TestKey::One), json!({ "alg": "XYZ" }), "algorithm"),
        (genuine, json!({ "crit": ["exp"] }), "extension"),
        (genuine, json!({ "zip": "DEF" }), "extension"),
        (genuine, json!({ "typ": "at+jwt" }), "type"),
        (genuine, json!({ "typ": "logout+jwt" }), "type"),
        (genuine, json!({ "cty": "JWT" }), "nested"),
    ] {
        let fake = FakeProvider::start().await;
        fake.script().signer = signer;
        fake.script().header = header.clone();
        let error = RelyingParty::of(&fake).redeem().await.unwrap_err();
        assert!(matches!(error, Error::InvalidMessage(_)), "{signer:?} {header}: {error:?}");
        assert!(error.to_string().to_lowercase().contains(reason), "{signer:?} {header}: {error}");
        assert_discreet(&error);
    }
}

#[tokio::test]
async fn a_token_signed_with_any_published_key_is_accepted() {
    for (signer, published) in [
        (Signer::Genuine(TestKey::Rsa), vec![TestKey::One, TestKey::Rsa, TestKey::Two]),
        (Signer::WithoutKid(TestKey::One), vec![TestKey::One, TestKey::Rsa]),
    ] {
        let fake = FakeProvider::start().await;
        fake.script().signer = signer;
        fake.script().published = published;
        let result = RelyingParty::of(&fake).redeem().await;
        assert!(result.is_ok(), "{signer:?}: {result:?}");
    }
}

#[tokio::test]
async fn an_algorithm_that_the_metadata_do_not_offer_is_refused() {
    let fake = FakeProvider::start().await;
    fake.script().metadata = json!({ "id_token_signing_alg_values_supported": ["RS256", "no such algorithm"] });
    let error = RelyingParty::of(&fake).redeem().await.unwrap_err();
    assert!(error.to_string().contains("EdDSA"), "{error}");
}

/// Runs the checks alone, without a server.
fn is_accepted(token: &str) -> bool {
    use openidconnect::{AccessToken, AuthorizationCode, core::CoreJwsSigningAlgorithm};
    let keys = serde_json::from_value(json!({ "keys": [TestKey::One.public()] })).unwrap();
    let expected = ExpectedIdToken {
        issuer: "https://id.example.com/",
        client_id: CLIENT,
        grant: GrantType::AuthorizationCode { nonce: NONCE, code: &AuthorizationCode::new(CODE.into()) },
        algorithms: vec![CoreJwsSigningAlgorithm::EdDsa],
        now: Timestamp::from_unix(NOW),
        access_token: &AccessToken::new("an-access-token".into()),
    };
    verify(token, &expected, &keys).is_ok()
}

fn token_of(parts: [&[u8]; 3]) -> String {
    parts.map(|part| data_encoding::BASE64URL_NOPAD.encode(part)).join(".")
}

proptest! {
    #[test]
    fn arbitrary_text_is_never_accepted_and_never_panics(token in ".*") {
        prop_assert!(!is_accepted(&token));
    }

    #[test]
    fn arbitrary_parts_are_never_accepted_and_never_panic(
        header in any::<Vec<u8>>(), claims in any::<Vec<u8>>(), signature in any::<Vec<u8>>(),
    ) {
        prop_assert!(!is_accepted(&token_of([&header, &claims, &signature])));
    }

    #[test]
    fn a_plausible_token_with_an_arbitrary_signature_is_never_accepted(
        time in any::<f64>(), text in ".{0,20}", signature in prop::collection::vec(any::<u8>(), 0..80),
        algorithm in prop::sample::select(vec!["EdDSA", "RS256", "HS256", "ES256", "none", "dir", "A128GCM"]),
    ) {
        let header = json!({ "alg": algorithm, "kid": "one", "typ": text });
        let claims = json!({
            "iss": "https://id.example.com/", "aud": CLIENT, "sub": text, "nonce": NONCE, "exp": time, "iat": time,
            "name": text,
        });
        let token = token_of([header.to_string().as_bytes(), claims.to_string().as_bytes(), &signature]);
        prop_assert!(!is_accepted(&token));
    }
}

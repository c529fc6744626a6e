//! ID tokens that are signed with the client's secret (HS256), as authentik signs for its proxy providers.

use secrecy::SecretString;
use serde_json::{Value, json};

use super::{
    Error, RelyingParty, assert_discreet,
    fake_provider::{CLIENT, FakeProvider, NOW, Signer, TestKey},
    renewal::SessionHolder,
    settings,
};
use crate::oidc::Settings;

/// As long as HS256 asks for, and one byte too short.
const SECRET: &str = "a-secret-of-no-fewer-than-32-bytes";
const SHORT: &str = "a-secret-of-31-bytes-and-no-mor";

/// A provider that publishes no key.
async fn proxy_provider(secret: &'static str) -> FakeProvider {
    let fake = FakeProvider::start().await;
    {
        let mut script = fake.script();
        script.metadata = json!({ "id_token_signing_alg_values_supported": ["HS256"] });
        script.published = Vec::new();
        script.signer = Signer::HmacWithSecret(secret);
    }
    fake
}

fn agreed(fake: &FakeProvider) -> Settings {
    Settings { id_tokens_by_secret: true, client_secret: Some(SecretString::from(SECRET)), ..settings(&fake.issuer()) }
}

#[tokio::test]
async fn people_of_a_proxy_provider_sign_in_and_are_renewed_without_a_published_key() {
    let fake = proxy_provider(SECRET).await;
    let rp = RelyingParty::new(agreed(&fake));
    rp.provider.poll().await.unwrap();
    assert!(rp.provider.is_available());
    let renewed = SessionHolder::of(rp).await.refresh().await.unwrap();
    assert_eq!(renewed.identity.unwrap().user, "ann");
    assert_eq!(fake.requests("jwks"), 0, "it has no keys that could be asked for");
}

#[tokio::test]
async fn a_token_that_is_not_signed_with_this_secret_is_refused() {
    for (signer, header) in [
        (Signer::HmacWithSecret("another-secret-of-no-fewer-than-32"), Value::Null),
        (Signer::HmacWithSecret(SECRET), json!({ "alg": "HS512" })),
        (Signer::HmacWithSecret(SECRET), json!({ "alg": "RS256" })),
        (Signer::HmacWithPublicKey, Value::Null),
        (Signer::Unsigned, Value::Null),
        (Signer::Genuine(TestKey::One), Value::Null),
    ] {
        let fake = proxy_provider(SECRET).await;
        fake.script().signer = signer;
        fake.script().header = if header.is_null() { json!({}) } else { header.clone() };
        let error = RelyingParty::new(agreed(&fake)).redeem().await.unwrap_err();
        assert!(matches!(error, Error::InvalidMessage(_)), "{signer:?} {header}: {error:?}");
        assert_discreet(&error);
    }
}

#[tokio::test]
async fn a_secret_signs_only_where_that_is_agreed_nothing_else_is_offered_and_it_is_long_enough() {
    let everything = json!({ "id_token_signing_alg_values_supported": ["HS256", "EdDSA", "RS256"] });
    let unlisted = json!({ "id_token_signing_alg_values_supported": null });
    for (metadata, agrees, secret) in
        [(Value::Null, false, SECRET), (everything, true, SECRET), (unlisted, true, SECRET), (Value::Null, true, SHORT)]
    {
        let fake = proxy_provider(secret).await;
        {
            let mut script = fake.script();
            script.published = vec![TestKey::One, TestKey::Rsa];
            if !metadata.is_null() {
                script.metadata = metadata.clone();
            }
        }
        let client_secret = Some(SecretString::from(secret));
        let rp = RelyingParty::new(Settings { id_tokens_by_secret: agrees, client_secret, ..agreed(&fake) });
        let error = rp.redeem().await.unwrap_err();
        assert!(error.to_string().contains("HS256"), "{metadata} {agrees} {secret}: {error}");
    }
}

#[tokio::test]
async fn no_logout_token_is_verified_by_a_secret() {
    let fake = proxy_provider(SECRET).await;
    let rp = RelyingParty::new(agreed(&fake));
    let events = json!({ "http://schemas.openid.net/event/backchannel-logout": {} });
    let claims = json!({ "iss": fake.issuer(), "aud": CLIENT, "sub": "subject-1", "iat": NOW, "exp": NOW + 60, "jti": "1",
        "events": events });
    let token = fake.script().signed(&json!({ "typ": "logout+jwt" }), &claims);
    assert!(rp.provider.verify_logout_token(&token).await.is_err());
}

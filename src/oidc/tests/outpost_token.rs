//! ID tokens of an old outpost: every way in which one is not believed.

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::SecretString;
use serde_json::{Value, json};
use sha2::Sha256;

use super::{CLIENT, NOW, settings};
use crate::{clock::Timestamp, oidc::outpost_token::verify};

const ISSUER: &str = "https://auth.example.com/application/o/app/";
const SECRET: &str = "s3cret & sons";

fn part(value: &Value) -> String {
    BASE64URL_NOPAD.encode(value.to_string().as_bytes())
}

fn signed(header: &Value, claims: &Value, secret: &str) -> String {
    let input = format!("{}.{}", part(header), part(claims));
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(&input);
    format!("{input}.{}", BASE64URL_NOPAD.encode(&mac.finalize().into_bytes()))
}

fn token(header: &Value, claims: &Value, secret: &str) -> String {
    let mut all = json!({
        "iss": ISSUER, "aud": CLIENT, "sub": "s1", "exp": NOW + 600, "iat": NOW, "sid": "session-1", "acr": "mfa",
        "ak_proxy": { "user_attributes": { "password": "hunter2" } }, "groups": ["staff"],
    });
    for (name, value) in claims.as_object().cloned().unwrap_or_default() {
        if value.is_null() {
            all.as_object_mut().unwrap().remove(&name)
        } else {
            all.as_object_mut().unwrap().insert(name, value)
        };
    }
    let header = if header.is_null() { json!({ "alg": "HS256", "typ": "JWT" }) } else { header.clone() };
    signed(&header, &all, secret)
}

fn verified(raw: &str) -> Result<crate::oidc::outpost_token::VerifiedOutpostToken, String> {
    let secret = SecretString::from(SECRET);
    verify(raw, &settings(ISSUER), &secret, Timestamp::from_unix(NOW)).map_err(|error| error.to_string())
}

#[test]
fn a_token_of_this_client_by_its_secret_is_believed_and_keeps_no_attributes() {
    let good = verified(&token(&Value::Null, &json!({}), SECRET)).unwrap();
    assert_eq!((good.subject.as_str(), good.sid.as_deref()), ("s1", Some("session-1")));
    assert_eq!(Value::from(good.claims), json!({ "sub": "s1", "acr": "mfa", "groups": ["staff"] }));
    verified(&token(&Value::Null, &json!({ "aud": ["other", CLIENT], "azp": CLIENT }), SECRET)).unwrap();
    verified(&token(&Value::Null, &json!({ "exp": NOW - 59 }), SECRET)).unwrap();
}

#[test]
fn any_other_token_is_not() {
    let good = token(&Value::Null, &json!({}), SECRET);
    let (input, signature) = good.rsplit_once('.').unwrap();
    for (what, raw) in [
        ("another secret", token(&Value::Null, &json!({}), "other")),
        ("an empty secret", token(&Value::Null, &json!({}), "")),
        ("no signature", format!("{input}.")),
        ("a cut signature", format!("{input}.{}", &signature[..20])),
        ("other claims under the same signature", {
            let (header, _) = input.split_once('.').unwrap();
            format!(
                "{header}.{}.{signature}",
                part(&json!({ "iss": ISSUER, "aud": CLIENT, "sub": "s2", "exp": NOW + 600 }))
            )
        }),
        ("alg none", token(&json!({ "alg": "none" }), &json!({}), SECRET)),
        ("alg HS512", token(&json!({ "alg": "HS512" }), &json!({}), SECRET)),
        ("alg RS256", token(&json!({ "alg": "RS256" }), &json!({}), SECRET)),
        ("an extension", token(&json!({ "alg": "HS256", "crit": ["exp"] }), &json!({}), SECRET)),
        (
            "another issuer",
            token(&Value::Null, &json!({ "iss": "https://auth.example.com/application/o/other/" }), SECRET),
        ),
        ("no issuer", token(&Value::Null, &json!({ "iss": null }), SECRET)),
        ("another client", token(&Value::Null, &json!({ "aud": "other" }), SECRET)),
        ("no audience", token(&Value::Null, &json!({ "aud": null }), SECRET)),
        ("another party", token(&Value::Null, &json!({ "azp": "other" }), SECRET)),
        ("expired", token(&Value::Null, &json!({ "exp": NOW - 61 }), SECRET)),
        ("no end", token(&Value::Null, &json!({ "exp": null }), SECRET)),
        ("an end that is text", token(&Value::Null, &json!({ "exp": (NOW + 600).to_string() }), SECRET)),
        ("not yet", token(&Value::Null, &json!({ "nbf": NOW + 61 }), SECRET)),
        ("no subject", token(&Value::Null, &json!({ "sub": null }), SECRET)),
        ("an empty subject", token(&Value::Null, &json!({ "sub": "" }), SECRET)),
        ("nothing", String::new()),
        ("garbage", "a.b.c".to_owned()),
        ("too long", format!("{good}{}", "A".repeat(64 * 1024))),
    ] {
        let error = verified(&raw).expect_err(what);
        assert!(!error.contains(&good[..20]), "{what}: {error}");
    }
}

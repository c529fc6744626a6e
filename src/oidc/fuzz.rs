//! Fuzz targets: ID tokens, logout tokens, JWKS, metadata and userinfo responses.
//!
//! Promises, asserted for any bytes: nothing panics; a token counts only with the signature of a published key over exactly
//! these bytes, and only for this gate, this person and this moment; keys are public ones; metadata lead nowhere in clear.

use std::sync::LazyLock;

use data_encoding::BASE64URL_NOPAD;
use openidconnect::{
    AccessToken, AuthorizationCode, JsonWebKeyId, PrivateSigningKey as _,
    core::{CoreEdDsaPrivateSigningKey, CoreJsonWebKeySet, CoreJwsSigningAlgorithm},
};
use serde_json::{Map, Value, json};

use super::{
    AuthorizationRequest, ClientAuth, GroupsUse, IssuerUse, Provider, ProxySetting, Settings, UnverifiedEmail,
    authorize, claims,
    id_token::{self, ExpectedIdToken, GrantType, HeldIdToken},
    jwks as signing_keys,
    jwt::{self, LEEWAY, UnverifiedJwt},
    logout_token,
    metadata::ProviderMetadata,
    odd_fields::OddFields,
    signature, standard_claims, userinfo as userinfo_endpoint,
};
use crate::{
    clock::Timestamp,
    fuzz::{Case, mutated},
    identity::{ClaimPath, Identity},
};

const ISSUER: &str = "https://id.test/o/doorward/";
const CLIENT: &str = "doorward";
const NONCE: &str = "a-nonce";
const SUBJECT: &str = "subject-1";
const NOW: u64 = 1_800_000_000;

/// The provider's key, which the fuzzer may sign anything with.
static KEY: LazyLock<CoreEdDsaPrivateSigningKey> = LazyLock::new(|| {
    let id = JsonWebKeyId::new("one".to_owned());
    CoreEdDsaPrivateSigningKey::from_ed25519_pem(include_str!("tests/fixtures/ed25519-one.pem"), Some(id))
        .expect("the fixture is a key")
});

static PUBLISHED: LazyLock<CoreJsonWebKeySet> =
    LazyLock::new(|| CoreJsonWebKeySet::new(vec![KEY.as_verification_key()]));

static SETTINGS: LazyLock<Settings> = LazyLock::new(|| Settings {
    name: "authentik".to_owned(),
    issuer_use: IssuerUse::SignIn,
    issuer: ISSUER.parse().expect("a URL"),
    client_id: CLIENT.to_owned(),
    client_secret: None,
    scopes: vec!["openid".to_owned()],
    groups_claim: ClaimPath::Dotted("groups".to_owned()),
    groups_separator: Some(",".to_owned()),
    kept_attributes: crate::identity::KeptAttributes::default(),
    acr_in_rules: std::collections::BTreeSet::new(),
    groups_use: GroupsUse::InRules,
    groups_grace: std::time::Duration::from_hours(1),
    id_tokens_by_secret: false,
    client_auth: ClientAuth::Auto,
    internal_url: None,
    proxy: ProxySetting::None,
    ca: None,
    timeout: std::time::Duration::from_secs(10),
    extra_authorize_params: std::collections::BTreeMap::new(),
    end_session: true,
    renewals_keep_sid: None,
    unverified_email: UnverifiedEmail::Pass,
});

fn signed(header: &[u8], claims: &[u8]) -> String {
    let message = format!("{}.{}", BASE64URL_NOPAD.encode(header), BASE64URL_NOPAD.encode(claims));
    let signature = KEY.sign(&CoreJwsSigningAlgorithm::EdDsa, message.as_bytes()).expect("the key signs");
    format!("{message}.{}", BASE64URL_NOPAD.encode(&signature))
}

/// Returns the token of an input: raw, signed (`header`, line break, `claims`), or a valid one with bytes changed.
fn token(case: Case<'_>, valid: &str) -> Option<String> {
    match case {
        Case::Raw(raw) => std::str::from_utf8(raw).ok().map(ToOwned::to_owned),
        Case::Made(text) => {
            let end = text.iter().position(|byte| *byte == b'\n')?;
            let (header, claims) = text.split_at_checked(end)?;
            Some(signed(header, claims.get(1..)?))
        }
        Case::Mutated(edits) => String::from_utf8(mutated(valid.as_bytes(), edits)).ok(),
    }
}

/// Returns the signing input of a token.
fn signing_input(token: &str) -> Option<&str> {
    token.rsplit_once('.').map(|(signed, _)| signed)
}

/// Asserts that an accepted token is signed by the key, over the bytes that it has.
fn assert_signed(token: &str, case: &Case<'_>, valid: &str) {
    match case {
        // Without a key one can only repeat what was signed.
        Case::Raw(_) | Case::Mutated(_) => {
            assert_eq!(signing_input(token), signing_input(valid), "a token counts whose signed bytes were changed");
        }
        Case::Made(_) => {}
    }
}

/// The ID token of the session that is renewed.
static HELD: LazyLock<Option<HeldIdToken>> = LazyLock::new(|| HeldIdToken::parse(&earlier_id_token()));

/// The token of the sign-in that a renewal follows.
fn earlier_id_token() -> String {
    let claims = json!({
        "iss": ISSUER, "sub": SUBJECT, "aud": CLIENT, "exp": NOW - 300, "iat": NOW - 600, "nonce": NONCE, "sid": "sid-1",
    });
    signed(br#"{"alg":"EdDSA","kid":"one","typ":"JWT"}"#, claims.to_string().as_bytes())
}

fn valid_id_token() -> &'static str {
    static TOKEN: LazyLock<String> = LazyLock::new(|| {
        let claims = json!({
            "iss": ISSUER, "sub": SUBJECT, "aud": CLIENT, "exp": NOW + 300, "iat": NOW, "nonce": NONCE, "sid": "sid-1",
            "preferred_username": "ann", "groups": ["admins"],
        });
        signed(br#"{"alg":"EdDSA","kid":"one","typ":"JWT"}"#, claims.to_string().as_bytes())
    });
    &TOKEN
}

fn verify(raw: &str, grant: GrantType<'_>, keys: &CoreJsonWebKeySet) -> Option<Map<String, Value>> {
    let access_token = AccessToken::new("an-access-token".to_owned());
    let expected = ExpectedIdToken {
        issuer: ISSUER,
        client_id: CLIENT,
        grant,
        algorithms: vec![CoreJwsSigningAlgorithm::EdDsa, CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256],
        now: Timestamp::from_unix(NOW),
        access_token: &access_token,
    };
    let verified = id_token::verify(raw, &expected, keys).ok()?;
    let claims = verified.claims.members;
    assert_eq!(claims.get("sub").and_then(Value::as_str), Some(verified.subject.as_str()));
    Some(claims)
}

fn audience_names_us(claims: &Map<String, Value>) -> bool {
    match claims.get("aud") {
        Some(Value::String(one)) => one == CLIENT,
        Some(Value::Array(many)) => {
            many.iter().any(|one| one == CLIENT)
                && (many.len() == 1 || claims.get("azp").and_then(Value::as_str) == Some(CLIENT))
        }
        _ => false,
    }
}

/// Fuzzes ID tokens, at a sign-in and at a renewal.
pub fn id_tokens(input: &[u8]) {
    let Some(case) = Case::of(input) else { return };
    let Some(raw) = token(case, valid_id_token()) else { return };
    let code = AuthorizationCode::new("a-code".to_owned());
    let sign_in = GrantType::AuthorizationCode { nonce: NONCE, code: &code };
    let renewal = GrantType::RefreshToken { subject: SUBJECT, held: HELD.as_ref() };
    let (at_sign_in, renewed) = (verify(&raw, sign_in, &PUBLISHED), verify(&raw, renewal, &PUBLISHED));
    for claims in [&at_sign_in, &renewed].into_iter().flatten() {
        assert_signed(&raw, &case, valid_id_token());
        assert_eq!(claims.get("iss").and_then(Value::as_str), Some(ISSUER));
        assert!(audience_names_us(claims), "a token for somebody else counts: {claims:?}");
        let time = |claim: &str| claims.get(claim).and_then(Value::as_f64);
        let leeway = LEEWAY.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "seconds of this century fit")]
        let now = NOW as f64;
        assert!(time("exp").is_some_and(|exp| exp > now - leeway - 1.0), "an expired token counts: {claims:?}");
        assert!(time("iat").is_some_and(|iat| iat < now + leeway + 1.0), "a token from the future counts: {claims:?}");
    }
    if let Some(claims) = at_sign_in {
        assert_eq!(claims.get("nonce").and_then(Value::as_str), Some(NONCE));
    }
    if let Some(claims) = renewed {
        assert_eq!(claims.get("sub").and_then(Value::as_str), Some(SUBJECT));
        assert!(claims.get("nonce").is_none_or(|nonce| nonce == NONCE), "a renewal of another sign-in counts");
    }
}

/// Fuzzes logout tokens.
pub fn logout_tokens(input: &[u8]) {
    static VALID: LazyLock<String> = LazyLock::new(|| {
        let claims = json!({
            "iss": ISSUER, "aud": CLIENT, "iat": NOW, "exp": NOW + 120, "jti": "notice-1", "sub": SUBJECT, "sid": "sid-1",
            "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
        });
        signed(br#"{"alg":"EdDSA","kid":"one","typ":"logout+jwt"}"#, claims.to_string().as_bytes())
    });
    let Some(case) = Case::of(input) else { return };
    let Some(raw) = token(case, &VALID) else { return };
    let Ok(token) = UnverifiedJwt::parse(&raw, 16 * 1024, logout_token::STRICT) else { return };
    let checked = logout_token::check_claims(&token, CLIENT, Timestamp::from_unix(NOW));
    let signature = signature::verify("logout token", &token, &[CoreJwsSigningAlgorithm::EdDsa], &PUBLISHED);
    if let (Ok(verified), Ok(_)) = (checked, signature) {
        assert_signed(&raw, &case, &VALID);
        assert!(jwt::is_identifier(&verified.jti) && verified.expires > Timestamp::from_unix(NOW), "{verified:?}");
        assert!(!token.claims.members.contains_key("nonce"), "an ID token counts as a logout token");
        assert!(jwt::audience(&token.claims.members).is_some_and(|audience| audience.iter().all(|one| *one == CLIENT)));
    }
    // The same key signs both, and neither may pass for the other.
    let code = AuthorizationCode::new("a-code".to_owned());
    if !matches!(case, Case::Made(_)) {
        assert!(verify(&raw, GrantType::AuthorizationCode { nonce: NONCE, code: &code }, &PUBLISHED).is_none());
    }
}

/// Fuzzes JWKS documents.
pub fn jwks(input: &[u8]) {
    let Ok(signing_keys::ParsedKeys { keys, .. }) = signing_keys::parse(input) else { return };
    assert!((1..=100).contains(&keys.keys().len()));
    for key in keys.keys() {
        let text = serde_json::to_value(key).expect("a key serialises");
        assert_ne!(text.get("kty").and_then(Value::as_str), Some("oct"), "a symmetric key is kept");
        assert_ne!(text.get("use").and_then(Value::as_str), Some("enc"), "a key for encryption is kept");
    }
    let code = AuthorizationCode::new("a-code".to_owned());
    if verify(valid_id_token(), GrantType::AuthorizationCode { nonce: NONCE, code: &code }, &keys).is_some() {
        let own = serde_json::to_value(KEY.as_verification_key()).expect("a key serialises");
        let is_own = |key| serde_json::to_value(key).is_ok_and(|key| key.get("x") == own.get("x"));
        assert!(keys.keys().iter().any(is_own), "a key verifies what another signed");
    }
}

/// Fuzzes metadata documents.
pub fn discovery(input: &[u8]) {
    let Ok(metadata) = ProviderMetadata::parse(input, &SETTINGS, &OddFields::new("fuzz")) else { return };
    assert_eq!(metadata.issuer.parse().ok(), Some(SETTINGS.issuer.clone()));
    let endpoints = [&metadata.authorization_endpoint, &metadata.token_endpoint, &metadata.jwks_uri];
    let others = [&metadata.userinfo_endpoint, &metadata.end_session_endpoint, &metadata.revocation_endpoint];
    for url in endpoints.into_iter().chain(others.into_iter().flatten()) {
        assert_eq!(url.scheme(), "https", "something would go out in clear");
    }
    for algorithm in metadata.algorithms() {
        let name = serde_json::to_string(&algorithm).expect("an algorithm has a name");
        assert!(!name.starts_with("\"HS") && name != "\"none\"", "{name} takes no public key");
    }
    let _ = metadata.client_auth_method();
    let request = AuthorizationRequest {
        redirect_uri: "https://app.test/_doorward/callback",
        state: "a state",
        nonce: NONCE,
        code_verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        acr_values: &[],
        max_age: None,
        silent: None,
    };
    let url = authorize::authorization_url(&SETTINGS, &metadata, &request);
    assert_eq!(url.host_str(), metadata.authorization_endpoint.host_str());
    let count = |name: &str| url.query_pairs().filter(|(own, _)| own == name).count();
    assert_eq!((count("state"), count("nonce"), count("code_challenge")), (1, 1, 1), "{url}");
}

/// Fuzzes userinfo responses. Returns the identity that one makes of a session's.
pub(crate) fn userinfo(input: &[u8]) -> Option<Identity> {
    let read = userinfo_endpoint::parse(input, SUBJECT).ok()?;
    let userinfo = standard_claims::without_odd(read, "userinfo", &OddFields::new("authentik"));
    let previous = Identity {
        provider: SETTINGS.name.clone(),
        subject: crate::identity::Subject(SUBJECT.to_owned()),
        user: "ann".to_owned(),
        email: String::new(),
        email_verified: false,
        name: String::new(),
        groups: vec!["users".to_owned()],
        claims: Map::new(),
        standing: crate::identity::ClaimsStanding::default(),
    };
    let identity = claims::refreshed_identity(&SETTINGS, &previous, userinfo, Timestamp::from_unix(NOW)).ok()?;
    assert_eq!(identity.subject, previous.subject, "somebody becomes somebody else");
    assert!(!identity.user.is_empty());
    let distinct: std::collections::HashSet<_> = identity.groups.iter().collect();
    assert_eq!(distinct.len(), identity.groups.len());
    Some(identity)
}

/// Gives a provider its metadata, so that a sign-in sends no request.
pub(crate) fn preload_metadata(provider: &Provider) {
    let at = |path: &str| format!("{}{path}", provider.settings().issuer);
    let document = json!({
        "issuer": provider.settings().issuer, "authorization_endpoint": at("authorize"), "token_endpoint": at("token"),
        "jwks_uri": at("jwks"), "end_session_endpoint": at("end-session"),
        "id_token_signing_alg_values_supported": ["EdDSA"],
    });
    let odd = OddFields::new("fuzz");
    let metadata = ProviderMetadata::parse(document.to_string().as_bytes(), provider.settings(), &odd);
    provider.discovery.preload(metadata.ok());
}

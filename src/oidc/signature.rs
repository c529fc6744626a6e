//! JWS signatures of ID tokens, logout tokens and userinfo responses (RFC 7515, section 5.2).
//!
//! Promises: verified by `openidconnect`, with a key of the caller's that fits the token's algorithm and `kid`, and with an algorithm
//! that the caller accepts; an HMAC never with the text of a public key; few keys are tried.

use openidconnect::{
    JsonWebKey as _, JsonWebKeyAlgorithm, JwsSigningAlgorithm as _,
    core::{CoreJsonWebKey, CoreJsonWebKeySet, CoreJwsSigningAlgorithm as Algorithm},
};
use serde::Deserialize as _;
use serde_json::Value;

use super::{
    error::printable,
    jwt::{JwtError, UnverifiedJwt},
};

/// The most keys that are tried for one token: anybody may send a logout token, and each try costs.
const MAX_TRIED_KEYS: usize = 8;

/// The algorithms that `openidconnect` verifies with a public key. It has no ES512.
pub(super) const VERIFIABLE: &[Algorithm] = &[
    Algorithm::RsaSsaPkcs1V15Sha256,
    Algorithm::RsaSsaPkcs1V15Sha384,
    Algorithm::RsaSsaPkcs1V15Sha512,
    Algorithm::RsaSsaPssSha256,
    Algorithm::RsaSsaPssSha384,
    Algorithm::RsaSsaPssSha512,
    Algorithm::EcdsaP256Sha256,
    Algorithm::EcdsaP384Sha384,
    Algorithm::EdDsa,
];

/// The key and the algorithm of a verified signature. Only [`verify`] makes one.
pub(super) struct VerifiedSignature<'k> {
    pub(super) key: &'k CoreJsonWebKey,
    pub(super) algorithm: Algorithm,
}

/// Verifies the signature of a token; `token_name` is for errors. Where several keys fit, because the token names none or the set
/// has no names, they are tried in turn.
pub(super) fn verify<'k>(
    token_name: &str,
    token: &UnverifiedJwt<'_>,
    algorithms: &[Algorithm],
    keys: &'k CoreJsonWebKeySet,
) -> Result<VerifiedSignature<'k>, JwtError> {
    let algorithm = algorithm(token, algorithms)
        .map_err(|problem| JwtError::Invalid(format!("the {token_name} is signed with {problem}")))?;
    let kid = token.header.get("kid").and_then(Value::as_str).filter(|kid| !kid.is_empty());
    let is_named = |key: &CoreJsonWebKey| key.key_id().is_some_and(|id| kid == Some(id.as_str()));
    let may_be_meant = |key: &CoreJsonWebKey| kid.is_none() || key.key_id().is_none();
    let fitting = || keys.keys().iter().filter(|key| fits(key, &algorithm));
    let named = fitting().filter(|key| is_named(key));
    let unnamed = fitting().filter(|key| !is_named(key) && may_be_meant(key));
    let mut tried = named.chain(unnamed).take(MAX_TRIED_KEYS).peekable();
    if tried.peek().is_none() {
        return Err(JwtError::NoMatchingKey(format!(
            "the {token_name} is signed with none of the provider's published keys; mend: have it publish the key with that \
             kid at jwks_uri"
        )));
    }
    let is_signer = |key: &&CoreJsonWebKey| {
        key.verify_signature(&algorithm, token.signing_input.as_bytes(), &token.signature).is_ok()
    };
    match tried.find(is_signer) {
        Some(key) => Ok(VerifiedSignature { key, algorithm }),
        None => Err(JwtError::NoMatchingKey(format!(
            "the {token_name}'s signature is not the provider's; mend: have it publish the key that it signs with at jwks_uri"
        ))),
    }
}

/// Returns the algorithm of a token where it is among the accepted ones. The error is the end of a sentence.
fn algorithm(token: &UnverifiedJwt<'_>, accepted: &[Algorithm]) -> Result<Algorithm, String> {
    let name = token.header.get("alg").unwrap_or(&Value::Null);
    match Algorithm::deserialize(name) {
        Ok(algorithm) if accepted.contains(&algorithm) => Ok(algorithm),
        Ok(Algorithm::HmacSha256 | Algorithm::HmacSha384 | Algorithm::HmacSha512) => Err(format!(
            "an algorithm that takes the client secret for a key ({}); mend: choose a signing key for this client at the \
             provider",
            text(name)
        )),
        Ok(algorithm) if VERIFIABLE.contains(&algorithm) => Err(format!(
            "an algorithm that the provider does not offer ({}, its metadata offer {}); mend: choose one of those for this \
             client at the provider, or have its metadata name that one in id_token_signing_alg_values_supported",
            text(name),
            accepted.iter().map(name_of).collect::<Vec<_>>().join(", ")
        )),
        _ => Err(format!(
            "an algorithm that the gate cannot verify ({}); mend: choose RS256, PS256, ES256, ES384 or EdDSA for this client \
             at the provider",
            text(name)
        )),
    }
}

fn text(name: &Value) -> String {
    printable(name.as_str().unwrap_or_default())
}

fn name_of(algorithm: &Algorithm) -> String {
    serde_json::to_value(algorithm).map(|name| text(&name)).unwrap_or_default()
}

fn fits(key: &CoreJsonWebKey, algorithm: &Algorithm) -> bool {
    let is_meant = match key.signing_alg() {
        JsonWebKeyAlgorithm::Algorithm(meant) => meant == algorithm,
        JsonWebKeyAlgorithm::Unspecified => true,
        JsonWebKeyAlgorithm::Unsupported => false,
    };
    is_meant && algorithm.key_type().as_ref() == Some(key.key_type())
}

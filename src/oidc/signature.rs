//! JWS signatures of ID tokens and logout tokens (RFC 7515, section 5.2).
//!
//! Promises: verified by `openidconnect`, with a published public key that fits the token's algorithm and `kid`, and with an
//! algorithm that the metadata offer; never with a symmetric key.

use openidconnect::{
    JsonWebKey as _, JsonWebKeyAlgorithm, JwsSigningAlgorithm as _,
    core::{CoreJsonWebKey, CoreJsonWebKeySet, CoreJwsSigningAlgorithm},
};
use serde::Deserialize as _;
use serde_json::Value;

use super::{
    error::printable,
    jwt::{JwtError, UnverifiedJwt},
};

/// The key and the algorithm of a verified signature. Only [`verify`] makes one.
pub(super) struct VerifiedSignature<'k> {
    pub(super) key: &'k CoreJsonWebKey,
    pub(super) algorithm: CoreJwsSigningAlgorithm,
}

/// Verifies the signature of a token; `token_name` is for errors.
pub(super) fn verify<'k>(
    token_name: &str,
    token: &UnverifiedJwt<'_>,
    algorithms: &[CoreJwsSigningAlgorithm],
    keys: &'k CoreJsonWebKeySet,
) -> Result<VerifiedSignature<'k>, JwtError> {
    let invalid = |problem: &str| JwtError::Invalid(format!("the {token_name} {problem}"));
    let name = token.header.get("alg").unwrap_or(&Value::Null);
    let algorithm = CoreJwsSigningAlgorithm::deserialize(name).ok().filter(|algorithm| algorithms.contains(algorithm));
    let Some(algorithm) = algorithm else {
        let name = printable(name.as_str().unwrap_or_default());
        return Err(invalid(&format!("is signed with an algorithm that the provider does not offer ({name})")));
    };
    let kid = token.header.get("kid").and_then(Value::as_str);
    let mut fitting = keys.keys().iter().filter(|key| fits(key, &algorithm, kid));
    match (fitting.next(), fitting.next()) {
        (Some(key), None) => key
            .verify_signature(&algorithm, token.signing_input.as_bytes(), &token.signature)
            .map(|()| VerifiedSignature { key, algorithm })
            .map_err(|_| JwtError::NoMatchingKey(format!("the {token_name}'s signature is not the provider's"))),
        (Some(_), Some(_)) => Err(invalid("does not say which of several keys signed it (kid)")),
        (None, _) => Err(JwtError::NoMatchingKey(format!(
            "the {token_name} is signed with none of the provider's published keys"
        ))),
    }
}

fn fits(key: &CoreJsonWebKey, algorithm: &CoreJwsSigningAlgorithm, kid: Option<&str>) -> bool {
    let is_meant = match key.signing_alg() {
        JsonWebKeyAlgorithm::Algorithm(meant) => meant == algorithm,
        JsonWebKeyAlgorithm::Unspecified => true,
        JsonWebKeyAlgorithm::Unsupported => false,
    };
    let is_named = kid.is_none_or(|kid| key.key_id().is_some_and(|id| id.as_str() == kid));
    is_meant && is_named && algorithm.key_type().as_ref() == Some(key.key_type())
}

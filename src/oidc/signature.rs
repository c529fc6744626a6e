//! Signatures of the provider's tokens, ID and logout tokens alike.
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
    discovery::printable,
    jwt::{Doubt, Unverified},
};

/// The key and the algorithm that a token was signed with. Only `check` makes one.
pub(super) struct Signed<'k> {
    pub(super) key: &'k CoreJsonWebKey,
    pub(super) algorithm: CoreJwsSigningAlgorithm,
}

/// Checks the signature of a token; `what` is its name in refusals.
pub(super) fn check<'k>(
    what: &str,
    token: &Unverified<'_>,
    algorithms: &[CoreJwsSigningAlgorithm],
    keys: &'k CoreJsonWebKeySet,
) -> Result<Signed<'k>, Doubt> {
    let doubt = |problem: &str| Doubt::Token(format!("the {what} {problem}"));
    let name = token.header.get("alg").unwrap_or(&Value::Null);
    let algorithm = CoreJwsSigningAlgorithm::deserialize(name).ok().filter(|algorithm| algorithms.contains(algorithm));
    let Some(algorithm) = algorithm else {
        let name = printable(name.as_str().unwrap_or_default());
        return Err(doubt(&format!("is signed with an algorithm that the provider does not offer ({name})")));
    };
    let kid = token.header.get("kid").and_then(Value::as_str);
    let mut fitting = keys.keys().iter().filter(|key| fits(key, &algorithm, kid));
    match (fitting.next(), fitting.next()) {
        (Some(key), None) => key
            .verify_signature(&algorithm, token.message.as_bytes(), &token.signature)
            .map(|()| Signed { key, algorithm })
            .map_err(|_| Doubt::Key(format!("the {what}'s signature is not the provider's"))),
        (Some(_), Some(_)) => Err(doubt("does not say which of several keys signed it (kid)")),
        (None, _) => Err(Doubt::Key(format!("the {what} is signed with none of the provider's published keys"))),
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

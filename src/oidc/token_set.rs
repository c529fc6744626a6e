//! The successful token response (RFC 6749, section 5.1; `OpenID` Connect Core, section 3.1.3.3).
//!
//! Promises: a field that the gate can do without counts as absent where it is not of its type.

use std::time::Duration;

use oauth2::{AccessToken, RefreshToken, Scope, basic::BasicTokenType};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::Value;

/// Longest `expires_in` that is taken at its word. More is a mistake, or means "for ever".
pub(super) const MAX_EXPIRES_IN: Duration = Duration::from_hours(400 * 24);

/// The tokens of one response. A field of another type than it should have counts as absent where the gate can do without:
/// a refresh token that was rotated for this response exists nowhere else.
#[derive(Deserialize, Serialize)]
pub(super) struct TokenSet {
    access_token: AccessToken,
    #[serde(deserialize_with = "oauth2::helpers::deserialize_untagged_enum_case_insensitive")]
    token_type: BasicTokenType,
    #[serde(default, deserialize_with = "expires_in")]
    expires_in: Option<Duration>,
    #[serde(default, deserialize_with = "non_empty_text")]
    refresh_token: Option<RefreshToken>,
    /// Raw: parsing it is part of its verification.
    #[serde(default, deserialize_with = "non_empty_text")]
    pub(super) id_token: Option<String>,
}

/// Deserialises the seconds of `expires_in`, be they a number or the text of one; `None` for any other value.
fn expires_in<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let seconds: Option<f64> = match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let span = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    Ok(span.filter(|span| (1..=MAX_EXPIRES_IN.as_secs()).contains(&span.as_secs())))
}

fn non_empty_text<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let is_given = value.as_str().is_some_and(|text| !text.is_empty());
    Ok(if is_given { serde_json::from_value(value).ok() } else { None })
}

impl oauth2::TokenResponse for TokenSet {
    type TokenType = BasicTokenType;

    fn access_token(&self) -> &AccessToken {
        &self.access_token
    }

    fn token_type(&self) -> &BasicTokenType {
        &self.token_type
    }

    fn expires_in(&self) -> Option<Duration> {
        self.expires_in
    }

    fn refresh_token(&self) -> Option<&RefreshToken> {
        self.refresh_token.as_ref()
    }

    fn scopes(&self) -> Option<&Vec<Scope>> {
        None
    }
}

// `TokenResponse` demands it; a token is never formatted.
impl std::fmt::Debug for TokenSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenSet").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use oauth2::TokenResponse as _;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_odd_expires_in_reads_as_it_is_meant_or_as_none() {
        for (value, seconds) in [
            (json!(3600), Some(3600)),
            (json!("3600"), Some(3600)),
            (json!(" 3600 "), Some(3600)),
            (json!(3600.0), Some(3600)),
            (json!("3600.5"), Some(3600)),
            (json!(1), Some(1)),
            (json!(0), None),
            (json!("0"), None),
            (json!(-1), None),
            (json!("-3600"), None),
            (json!(1e300), None),
            (json!(u64::MAX), None),
            (json!(99_999_999_999_u64), None),
            (json!("NaN"), None),
            (json!("inf"), None),
            (json!("one hour"), None),
            (json!(""), None),
            (json!(true), None),
            (json!([3600]), None),
            (json!({ "seconds": 3600 }), None),
            (json!(null), None),
        ] {
            let response = json!({ "access_token": "a", "token_type": "bearer", "expires_in": value });
            let response: TokenSet =
                serde_json::from_value(response).unwrap_or_else(|error| panic!("{value}: {error}"));
            assert_eq!(response.expires_in().map(|span| span.as_secs()), seconds, "{value}");
        }
    }

    #[test]
    fn a_field_that_the_gate_can_do_without_may_be_of_any_type() {
        for odd in [json!(null), json!(7), json!(""), json!(["a"]), json!({})] {
            let response = json!({
                "access_token": "a", "token_type": "Bearer", "refresh_token": odd, "id_token": odd, "scope": odd,
            });
            let response: TokenSet = serde_json::from_value(response).unwrap_or_else(|error| panic!("{odd}: {error}"));
            assert!(response.refresh_token().is_none() && response.id_token.is_none(), "{odd}");
        }
    }
}

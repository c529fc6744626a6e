//! The successful token response (RFC 6749, section 5.1; `OpenID` Connect Core, section 3.1.3.3).
//!
//! Promises: a field that the gate can do without counts as absent where it is not of its type, and is named; empty text is
//! absent; no text holds a token.

use std::time::Duration;

use oauth2::{AccessToken, RefreshToken, Scope, basic::BasicTokenType};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    error::is_plain_word,
    json::{ObjectError, ReadObject},
    odd_fields::OddFields,
};

/// Longest `expires_in` that is taken at its word. More is a mistake, or means "for ever".
pub(super) const MAX_EXPIRES_IN: Duration = Duration::from_hours(400 * 24);

/// Name of the response in the log.
const SOURCE: &str = "token response";

/// The tokens of one response. A refresh token that was rotated for it exists nowhere else, so that no other field may stand
/// in its way.
#[derive(Deserialize, Serialize)]
pub(super) struct TokenSet {
    access_token: AccessToken,
    expires_in: Option<Duration>,
    refresh_token: Option<RefreshToken>,
    /// Raw: parsing it is part of its verification.
    pub(super) id_token: Option<String>,
}

/// Errors of a token response that is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenSetError {
    /// Another type of token, which would have to be used in another way.
    #[error(
        "the token endpoint issued a token of the type {0}, and only Bearer can be used; mend: have it issue Bearer tokens to this client"
    )]
    OtherType(String),
    /// No access token can be read.
    #[error("the token endpoint's answer is not a token response of OAuth 2.0: {0}")]
    Unreadable(String),
}

/// The field without which there is nothing to go on with.
const NEEDED: &[&str] = &["access_token"];
/// The fields that the gate can do without.
const OPTIONAL: [&str; 4] = ["token_type", "expires_in", "refresh_token", "id_token"];

impl TokenSet {
    /// Reads a response; names in `odd` what counts as absent.
    pub(super) fn read(body: &[u8], odd: &OddFields) -> Result<Self, TokenSetError> {
        let ReadObject { members, odd: unreadable } = ReadObject::parse(body, NEEDED)?;
        for name in OPTIONAL.into_iter().filter(|name| unreadable.contains(*name)) {
            odd.name_once(SOURCE, name, "there once, and valid JSON");
        }
        let field = |name: &str| members.get(name).filter(|value| !value.is_null());
        let text = |name: &'static str| {
            let text = field(name)?.as_str();
            if text.is_none() {
                odd.name_once(SOURCE, name, "text");
            }
            text.filter(|text| !text.trim().is_empty())
        };
        if let Some(other) = text("token_type").filter(|name| !is_bearer(name)) {
            let name = if is_plain_word(other) { other } else { "that is no word" };
            return Err(TokenSetError::OtherType(name.to_owned()));
        }
        let access_token = text("access_token")
            .ok_or_else(|| TokenSetError::Unreadable("its access_token is missing, empty or not text".into()))?;
        let expires_in = field("expires_in").and_then(|value| {
            let span = expires_in(value);
            if span.is_none() {
                odd.name_once(SOURCE, "expires_in", "a number of seconds, 1 or more");
            }
            span
        });
        Ok(Self {
            access_token: AccessToken::new(access_token.to_owned()),
            expires_in,
            refresh_token: text("refresh_token").map(|token| RefreshToken::new(token.to_owned())),
            id_token: text("id_token").map(ToOwned::to_owned),
        })
    }
}

impl From<ObjectError> for TokenSetError {
    fn from(error: ObjectError) -> Self {
        Self::Unreadable(format!("it {error}"))
    }
}

/// Returns `true` for `Bearer` in any case (RFC 6749, section 5.1).
fn is_bearer(token_type: &str) -> bool {
    token_type.trim().eq_ignore_ascii_case("bearer")
}

/// Returns the seconds of `expires_in`, be they a number or the text of one; `None` for any other value.
fn expires_in(value: &Value) -> Option<Duration> {
    let seconds: Option<f64> = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let span = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    span.filter(|span| (1..=MAX_EXPIRES_IN.as_secs()).contains(&span.as_secs()))
}

impl oauth2::TokenResponse for TokenSet {
    type TokenType = BasicTokenType;

    fn access_token(&self) -> &AccessToken {
        &self.access_token
    }

    fn token_type(&self) -> &BasicTokenType {
        &BasicTokenType::Bearer
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

    fn read(body: &str) -> Result<TokenSet, TokenSetError> {
        TokenSet::read(body.as_bytes(), &OddFields::new("authentik"))
    }

    fn response(fields: &Value) -> TokenSet {
        let mut whole = json!({ "access_token": "a", "token_type": "Bearer" });
        let (all, more) = (whole.as_object_mut().unwrap(), fields.as_object().unwrap());
        all.extend(more.clone());
        read(&whole.to_string()).unwrap_or_else(|error| panic!("{fields}: {error}"))
    }

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
            let response = response(&json!({ "expires_in": value }));
            assert_eq!(response.expires_in().map(|span| span.as_secs()), seconds, "{value}");
        }
    }

    #[test]
    fn a_field_that_the_gate_can_do_without_may_be_of_any_type() {
        for odd in [json!(null), json!(7), json!(""), json!(" "), json!(["a"]), json!({})] {
            let response = response(&json!({ "refresh_token": odd, "id_token": odd, "scope": odd, "token_type": odd }));
            assert!(response.refresh_token().is_none() && response.id_token.is_none(), "{odd}");
        }
    }

    #[test]
    fn what_is_not_needed_is_read_past_whatever_it_holds() {
        let nested = format!("{}1{}", "[".repeat(500), "]".repeat(500));
        for odd in ["1e999", r#""\ud800""#, &nested, r#"{"a":1,"a":2}"#] {
            let body = format!(
                r#"{{"access_token":"a","refresh_token":"r","scope":{odd},"other":{odd},"other":{odd},"expires_in":{odd}}}"#
            );
            let response = read(&body).unwrap_or_else(|error| panic!("{odd}: {error}"));
            assert_eq!(response.refresh_token().map(|token| token.secret().as_str()), Some("r"), "{odd}");
            assert_eq!(response.expires_in(), None, "{odd}");
        }
    }

    #[test]
    fn only_a_token_of_another_type_is_refused_and_by_name() {
        for bearer in [json!("bearer"), json!("BEARER"), json!(" Bearer "), json!(null), json!("")] {
            response(&json!({ "token_type": bearer }));
        }
        read(r#"{"access_token":"a"}"#).expect("a type that is not told is Bearer");
        for (other, name) in [("DPoP", "DPoP"), ("mac", "mac"), ("N_A", "N_A"), ("a\\nb", "no word")] {
            let error = read(&format!(r#"{{"access_token":"a","token_type":"{other}"}}"#)).unwrap_err();
            assert!(matches!(error, TokenSetError::OtherType(_)) && error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn what_is_needed_is_read_strictly() {
        for body in [
            "",
            "<h1>no</h1>",
            "[]",
            r#""eyJ""#,
            "{}",
            r#"{"access_token":""}"#,
            r#"{"access_token":7}"#,
            r#"{"access_token":"secret","access_token":"secret"}"#,
        ] {
            let error = read(body).unwrap_err();
            assert!(matches!(error, TokenSetError::Unreadable(_)), "{body}: {error}");
            let text = error.to_string();
            assert!(!text.contains("secret") && !text.contains("eyJ"), "{text}");
        }
    }
}

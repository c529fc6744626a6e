//! The text of a service token: a prefix by which secret scanners find it, 256 random bits, and the tag that proves that the gate
//! made them.
//!
//! Behind the prefix it is made and verified as a session's cookie is, by the same keys, so that it outlives a rotation of the
//! secrets as cookies do. Its audience is one that no host has, so that neither ever passes for the other.

use crate::{
    crypto::Keyring,
    session::cookie::{CookieValue, Token},
};

/// Beginning of every token.
const PREFIX: &str = "dwt_";

/// Stands for an audience in the tag. No host has a blank.
pub(super) const AUDIENCE: &str = "service token";

/// Makes a new random token and its text.
pub(super) fn fresh(keyring: &Keyring) -> (Token, String) {
    let token = Token::fresh(keyring, AUDIENCE);
    let text = format!("{PREFIX}{}", token.encode());
    (token, text)
}

/// Reads a header's value; `None` unless it has the length and the prefix of a token.
pub(super) fn parse(value: &[u8]) -> Option<CookieValue> {
    CookieValue::of(value.strip_prefix(PREFIX.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    #[test]
    fn a_token_is_no_cookie_and_a_cookie_is_no_token() {
        let keyring = Keyring::new(&[SecretString::from("a".repeat(32))]).unwrap();
        let (token, text) = fresh(&keyring);
        assert!(text.starts_with("dwt_") && text.len() == 68, "{text}");
        let parsed = Token::decode(&parse(text.as_bytes()).unwrap()).unwrap();
        assert!(parsed.id() == token.id() && parsed.is_made_by(&keyring, AUDIENCE));
        for host in ["app.test", ".test", ""] {
            assert!(!token.is_made_by(&keyring, host), "{host}");
            assert!(!Token::fresh(&keyring, host).is_made_by(&keyring, AUDIENCE), "{host}");
        }
        for wrong in ["", "dwt_", &text[4..], &text[..67], &format!("{text}A"), &text.replace("dwt_", "DWT_")] {
            assert!(parse(wrong.as_bytes()).is_none(), "{wrong}");
        }
    }
}

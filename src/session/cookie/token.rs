//! The session cookie: a random id, and the tag that proves that the gate made it.
//!
//! The tag is over the id and the host or domain that the cookie was made for: sent anywhere else it is not ours. Promises:
//! parsing touches neither heap nor store; a token prints no more than six hex characters of its id's hash.

use std::fmt;

use crate::{
    crypto::{self, CookieKey, Keyring, Purpose, TAG_LENGTH, Tag},
    session::cookie::{
        id::SessionId,
        value::{CookieValue, ID},
    },
};

/// A session cookie as a browser sent it.
#[derive(Clone, Copy, Debug)]
pub struct Cookie<'r> {
    /// Its value, not parsed yet.
    pub value: &'r [u8],
    /// The host that it was sent to, folded to lower case; or the domain that shares cookies there, behind a dot.
    pub audience: &'r str,
}

/// A cookie's value of the right form. [`Token::is_made_by`] tells whether the gate made it.
#[derive(Clone, Copy)]
pub(in crate::session) struct Token {
    /// 256 random bits that stand for one session: with its tag, a bearer token.
    secret: [u8; ID],
    tag: Tag,
}

impl Token {
    /// A new random token for a host or domain.
    pub(in crate::session) fn fresh(keyring: &Keyring, audience: &str) -> Self {
        let secret = crypto::random::<ID>();
        Self { secret, tag: keyring.tag(Purpose::SessionCookie, audience.as_bytes(), &secret) }
    }

    /// The token that a key derives from a message, for an audience that no cookie of ours has.
    pub(in crate::session) fn derived(key: &CookieKey<'_>, audience: &str, message: &[u8]) -> Self {
        let secret = key.derive(audience.as_bytes(), message);
        Self { secret, tag: key.tag(audience.as_bytes(), &secret) }
    }

    /// Parses a cookie's value; `None` for any text that we would not have written exactly so.
    pub(in crate::session) fn parse(value: &[u8]) -> Option<Self> {
        Self::decode(&CookieValue::of(value)?)
    }

    /// Parses a value of the right length; `None` for any text that we would not have written exactly so.
    pub(in crate::session) fn decode(value: &CookieValue) -> Option<Self> {
        let bytes = value.decode()?;
        let (secret, rest) = bytes.split_first_chunk::<ID>()?;
        let (tag, _) = rest.split_first_chunk::<TAG_LENGTH>()?;
        Some(Self { secret: *secret, tag: *tag })
    }

    /// The cookie's value.
    pub(in crate::session) fn encode(&self) -> String {
        crypto::encode(&[self.secret.as_slice(), &self.tag].concat())
    }

    /// The cookie's value, to be compared.
    pub(in crate::session) fn value(&self) -> CookieValue {
        CookieValue::of(self.encode().as_bytes()).expect("every value is of one length")
    }

    /// Returns `true` if one of our secrets made the tag, for this host or domain.
    pub(in crate::session) fn is_made_by(&self, keyring: &Keyring, audience: &str) -> bool {
        keyring.verify_tag(Purpose::SessionCookie, audience.as_bytes(), &self.secret, &self.tag)
    }

    /// The session's public name, and the key of its row.
    pub(in crate::session) fn id(&self) -> SessionId {
        SessionId(crypto::digest(&self.secret))
    }
}

/// The beginning of the session's id, so that a log line and a row can be matched without betraying the cookie.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::SecretString;

    use super::*;
    use crate::cookie::{GateCookies, SiteScheme};

    fn ring(secret: &str) -> Keyring {
        Keyring::new(&[SecretString::from(secret.repeat(32))]).unwrap()
    }

    #[test]
    fn name_and_value_stay_under_120_bytes() {
        let domains = ["example.com".to_owned()];
        let jar = GateCookies::new("doorward", &domains, &["authentik", "keycloak"], SiteScheme::Https);
        let value = Token::fresh(&ring("a"), "app.test").encode();
        assert_eq!(value.len(), 64);
        for provider in [0, 1] {
            assert!(jar.at("app.example.com", provider).session_name().len() + value.len() < 120);
        }
    }

    #[test]
    fn no_two_tokens_are_the_same_and_each_is_made_by_its_keyring_for_its_audience_alone() {
        let (one, other) = (Token::fresh(&ring("a"), "app.test"), Token::fresh(&ring("a"), "app.test"));
        assert_ne!(one.encode(), other.encode());
        assert_ne!(one.id(), other.id());
        assert!(one.is_made_by(&ring("a"), "app.test") && !one.is_made_by(&ring("b"), "app.test"));
        for elsewhere in ["", "app.tes", "app.testx", ".test", ".app.test", "admin.test"] {
            assert!(!one.is_made_by(&ring("a"), elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn it_prints_six_hex_characters_and_none_of_the_value() {
        let token = Token::fresh(&ring("a"), "app.test");
        let printed = format!("{token:?}");
        assert!(printed.len() == 6 && printed.bytes().all(|byte| byte.is_ascii_hexdigit()), "{printed}");
        assert_eq!(printed, format!("{:?}", token.id()));
    }

    #[test]
    fn a_value_of_another_form_is_not_a_token() {
        let good = Token::fresh(&ring("a"), "app.test").encode();
        for (what, value) in [
            ("nothing", String::new()),
            ("a character short", good[1..].to_owned()),
            ("a character long", format!("{good}A")),
            ("padding", format!("{}=", &good[1..])),
            ("the other alphabet", format!("+/{}", &good[2..])),
            ("quotes", format!("\"{}\"", &good[2..])),
            ("a space", format!(" {}", &good[1..])),
            ("outside ASCII", format!("é{}", &good[2..])),
            ("long", "A".repeat(8192)),
        ] {
            assert!(Token::parse(value.as_bytes()).is_none(), "{what}");
        }
    }

    proptest! {
        #[test]
        fn what_parses_is_spelled_in_one_way_only(text in "[A-Za-z0-9_-]{64}") {
            let token = Token::parse(text.as_bytes()).unwrap();
            prop_assert_eq!(token.encode(), text);
            prop_assert!(!token.is_made_by(&ring("a"), "app.test"));
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(bytes: Vec<u8>) {
            prop_assert!(Token::parse(&bytes).is_none_or(|token| token.encode().as_bytes() == bytes));
        }
    }
}

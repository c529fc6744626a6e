//! The session cookie's value: a random id, and the tag that proves we made it.
//!
//! 32 bytes of id and 16 of tag are 64 characters of base64url, which can be spelled in one way only: two values that read
//! alike are the same. The tag is over the id and the host or domain that the cookie was made for: sent anywhere else it is
//! not ours. Promises: parsing touches no heap and no store; nothing here prints more than six hex characters of
//! the id's hash. It must not know what a session holds.

use std::{
    fmt::{self, Write as _},
    hash::BuildHasher as _,
};

use foldhash::fast::FixedState;

use crate::crypto::{self, Keyring, Purpose, TAG_LENGTH, Tag};

const ID: usize = 32;
const VALUE: usize = ID + TAG_LENGTH;
/// Characters of a value: four for every three bytes.
const TEXT: usize = VALUE / 3 * 4;

/// A session cookie as a browser sent it.
#[derive(Clone, Copy, Debug)]
pub struct Cookie<'r> {
    /// Its value, whatever that is.
    pub value: &'r [u8],
    /// The host that it was sent to, folded; or the domain that shares cookies there, behind a dot.
    pub audience: &'r str,
}

/// A value as a cookie carries it. Nothing is known of it but its length.
#[derive(Clone, Copy)]
pub(super) struct CookieValue([u8; TEXT]);

/// What a session is found by: a hash of its cookie's first 96 bits. Two sessions may have the same one, once in a long time.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct CookieHash(u64);

/// What a session in memory is known by: the first half of its [`SessionId`], which no two have in common either.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct CacheKey([u8; 16]);

/// What the store knows of an id: its SHA-256, useless as a cookie.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub(super) [u8; 32]);

/// A cookie's value that has the right form. [`Token::is_made_by`] tells whether it is ours.
#[derive(Clone, Copy)]
pub(super) struct Token {
    /// 256 random bits that stand for one session. Whoever knows them and the tag is that session.
    id: [u8; ID],
    tag: Tag,
}

impl Token {
    /// A value that was never there before, for a host or domain.
    pub(super) fn fresh(keyring: &Keyring, audience: &str) -> Self {
        let id = crypto::random::<ID>();
        Self { id, tag: keyring.tag(Purpose::SessionCookie, audience.as_bytes(), &id) }
    }

    /// Reads a cookie's value; `None` for whatever we would not have written exactly so.
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        CookieValue::of(value)?.read()
    }

    /// The value as a cookie carries it.
    pub(super) fn encode(&self) -> String {
        crypto::encode(&[self.id.as_slice(), &self.tag].concat())
    }

    /// The same, to be compared.
    pub(super) fn spelling(&self) -> CookieValue {
        CookieValue::of(self.encode().as_bytes()).expect("every value is of one length")
    }

    /// Whether one of our secrets made the tag, for this host or domain.
    pub(super) fn is_made_by(&self, keyring: &Keyring, audience: &str) -> bool {
        keyring.verify_tag(Purpose::SessionCookie, audience.as_bytes(), &self.id, &self.tag)
    }

    /// The key of the session's row.
    pub(super) fn key(&self) -> SessionId {
        SessionId(crypto::digest(&self.id))
    }
}

impl CookieValue {
    /// A cookie's value; `None` where it is not as long as ours are.
    pub(super) fn of(value: &[u8]) -> Option<Self> {
        value.try_into().ok().map(Self)
    }

    /// What it says; `None` for whatever we would not have written exactly so.
    pub(super) fn read(&self) -> Option<Token> {
        let bytes = crypto::decode_exact::<VALUE>(&self.0)?;
        let (id, rest) = bytes.split_first_chunk::<ID>()?;
        let (tag, _) = rest.split_first_chunk::<TAG_LENGTH>()?;
        Some(Token { id: *id, tag: *tag })
    }

    /// What a session of this value is found by.
    pub(super) fn handle(&self) -> CookieHash {
        let (head, _) = self.0.split_first_chunk().expect("a value has 64 characters");
        CookieHash(FixedState::default().hash_one(u128::from_ne_bytes(*head)))
    }

    /// Whether both are the same, in constant time.
    pub(super) fn is(&self, other: &Self) -> bool {
        crypto::constant_time_eq(&self.0, &other.0)
    }
}

impl SessionId {
    /// Comes before and after every other.
    pub(super) const ENDS: (Self, Self) = (Self([0; 32]), Self([u8::MAX; 32]));

    /// Reads 64 hexadecimal digits.
    pub(super) fn from_hex(text: &str) -> Option<Self> {
        let (first, last) = Self::range(text)?;
        (first == last).then_some(first)
    }

    /// The first and the last key that begin with these hexadecimal digits.
    pub(super) fn range(prefix: &str) -> Option<(Self, Self)> {
        let (mut first, mut last) = Self::ENDS;
        for (place, digit) in prefix.chars().enumerate() {
            let (digit, place_first) = (u8::try_from(digit.to_digit(16)?).ok()?, first.0.get_mut(place / 2)?);
            let place_last = last.0.get_mut(place / 2)?;
            let shift = if place % 2 == 0 { 4 } else { 0 };
            *place_first |= digit << shift;
            *place_last &= !(0xf << shift) | (digit << shift);
        }
        Some((first, last))
    }

    /// What its session in memory is known by.
    pub(super) fn half(&self) -> CacheKey {
        let (half, _) = self.0.split_first_chunk().expect("a key has 32 bytes");
        CacheKey(*half)
    }

    /// The next one; `None` after the last.
    pub(super) fn next(mut self) -> Option<Self> {
        for byte in self.0.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                return Some(self);
            }
        }
        None
    }

    /// All of it, for whoever has to name one session: useless as a cookie.
    pub(super) fn hex(&self) -> String {
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a string never fails.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(3).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Prints the beginning of the key, so that a log line and a row in the store can be matched without betraying the id.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key().fmt(f)
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
        let jar = GateCookies::new("doorward", Some("example.com"), SiteScheme::Https);
        let value = Token::fresh(&ring("a"), "app.test").encode();
        assert_eq!(value.len(), 64);
        assert!(jar.session_name().len() + value.len() < 120);
    }

    #[test]
    fn no_two_tokens_are_the_same_and_each_is_made_by_its_keyring_for_its_audience_alone() {
        let (one, other) = (Token::fresh(&ring("a"), "app.test"), Token::fresh(&ring("a"), "app.test"));
        assert_ne!(one.encode(), other.encode());
        assert_ne!(one.key(), other.key());
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
        assert_eq!(printed, format!("{:?}", token.key()));
    }

    #[test]
    fn a_prefix_stands_for_the_keys_that_begin_with_it() {
        let (first, last) = SessionId::range("aB3").unwrap();
        assert_eq!(first.hex(), format!("ab3{}", "0".repeat(61)));
        assert_eq!(last.hex(), format!("ab3{}", "f".repeat(61)));
        assert_eq!(SessionId::range(""), Some(SessionId::ENDS));
        assert_eq!(SessionId::from_hex(&first.hex()), Some(first));
        for wrong in ["x", "ab ", &"a".repeat(65)] {
            assert_eq!(SessionId::range(wrong), None, "{wrong}");
        }
        assert_eq!(SessionId::from_hex("ab"), None);
    }

    #[test]
    fn after_each_key_comes_another_until_the_last() {
        let [mut one, mut carried] = [[0; 32]; 2];
        (one[31], carried[30]) = (255, 1);
        assert_eq!(SessionId(one).next(), Some(SessionId(carried)));
        assert_eq!(SessionId::ENDS.1.next(), None);
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

//! The `Authorization` header of API clients (RFC 9110, section 11.6.2; RFC 6750, section 2.1; RFC 7617).
//!
//! Promises: it is read strictly, and what can be read in two ways is no credential; splitting it allocates nothing. Pure.

use data_encoding::BASE64;
use http::{HeaderMap, header};

/// User name of authentik's clients that can only send Basic: the password is a bearer token.
const TOKEN_USER: &str = "goauthentik.io/token";
/// Password beside which the user name is the token, as some clients of OAuth 2.0 have it.
const TOKEN_PASSWORD: &str = "x-oauth-basic";

/// Authentication scheme of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Scheme {
    Bearer,
    Basic,
}

/// A credential as it was sent. It has to be a `token68` (RFC 9110, section 11.2), and is not looked through for that where it is
/// known: a kilobyte costs as much to look through as the rest of the check.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct SentCredential<'r> {
    pub(super) scheme: Scheme,
    pub(super) text: &'r [u8],
}

/// The `Authorization` of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SentAuthorization<'r> {
    /// There is none, or only of another scheme.
    Absent,
    /// It is sent more than once, or malformed. The reason is the end of a sentence that begins with it.
    Malformed(&'static str),
    /// A credential.
    Credential(SentCredential<'r>),
}

/// A credential by what it is.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Credential<'r> {
    /// A token.
    Token(std::borrow::Cow<'r, str>),
    /// A name and an app password.
    Password(String, String),
}

impl<'r> SentAuthorization<'r> {
    /// Splits the header.
    #[inline]
    pub(super) fn of(headers: &'r HeaderMap) -> Self {
        let mut lines = headers.get_all(header::AUTHORIZATION).iter();
        let Some(line) = lines.next() else { return Self::Absent };
        if lines.next().is_some() {
            return Self::Malformed("is sent more than once");
        }
        let line = line.as_bytes();
        let (scheme, text) = line.split_at(line.iter().position(|byte| *byte == b' ').unwrap_or(line.len()));
        let scheme = if scheme.eq_ignore_ascii_case(b"Bearer") {
            Scheme::Bearer
        } else if scheme.eq_ignore_ascii_case(b"Basic") {
            Scheme::Basic
        } else {
            return Self::Absent;
        };
        Self::Credential(SentCredential { scheme, text: without_blanks(text) })
    }
}

impl<'r> SentCredential<'r> {
    /// Reads the credential. The error is the end of a sentence that begins with the header.
    pub(super) fn read(self) -> Result<Credential<'r>, &'static str> {
        let text = str::from_utf8(self.text).ok().filter(|text| is_token68(text));
        let text = text.ok_or(if self.text.is_empty() { "has no credential" } else { "is malformed" })?;
        if self.scheme == Scheme::Bearer {
            return Ok(Credential::Token(text.into()));
        }
        let decoded = BASE64.decode(self.text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let decoded = decoded.ok_or("is not Base64 of text")?;
        // RFC 7617, section 2: neither part may hold any.
        if decoded.contains(char::is_control) {
            return Err("has control characters in it");
        }
        let (user, password) = decoded.split_once(':').ok_or("has no colon between name and password")?;
        let is_token_user = user.eq_ignore_ascii_case(TOKEN_USER);
        if (is_token_user && !password.is_empty()) || is_shaped_like_jwt(password) {
            return Ok(Credential::Token(password.to_owned().into()));
        }
        if is_shaped_like_jwt(user) && matches!(password, "" | TOKEN_PASSWORD) {
            return Ok(Credential::Token(user.to_owned().into()));
        }
        if user.is_empty() || password.is_empty() {
            return Err("has an empty name or password");
        }
        Ok(Credential::Password(user.to_owned(), password.to_owned()))
    }
}

fn without_blanks(mut text: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] | [rest @ .., b' '] = text {
        text = rest;
    }
    text
}

/// Returns `true` for a `token68`.
fn is_token68(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    !body.is_empty() && body.bytes().all(is_allowed)
}

/// Returns `true` for three parts of which the first two begin as JSON objects do in Base64.
fn is_shaped_like_jwt(text: &str) -> bool {
    let is_part =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let mut parts = text.split('.');
    let (header, claims, signature) = (parts.next(), parts.next(), parts.next());
    parts.next().is_none()
        && [header, claims].iter().all(|part| part.is_some_and(|part| part.starts_with("ey") && is_part(part)))
        && signature.is_some_and(is_part)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const JWT: &str = "eyJfoobar.eyJfoobar.12345asdf";

    fn headers(lines: &[&[u8]]) -> HeaderMap {
        let lines = lines.iter().map(|line| (header::AUTHORIZATION, HeaderValue::from_bytes(line).unwrap()));
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, value);
        }
        headers
    }

    /// Returns the token, `None` for no credential of a known scheme, and an error for one that is malformed.
    fn token(lines: &[&[u8]]) -> Result<Option<String>, &'static str> {
        match SentAuthorization::of(&headers(lines)) {
            SentAuthorization::Absent => Ok(None),
            SentAuthorization::Malformed(problem) => Err(problem),
            SentAuthorization::Credential(sent) => match sent.read()? {
                Credential::Token(token) => Ok(Some(token.into_owned())),
                Credential::Password(name, password) => Ok(Some(format!("{name} / {password}"))),
            },
        }
    }

    fn basic(text: &str) -> String {
        format!("Basic {}", BASE64.encode(text.as_bytes()))
    }

    #[test]
    fn tokens_are_found_where_other_gates_find_them() {
        for (line, found) in [
            ("", Ok(None)),
            ("Bearer", Err(())),
            ("Bearer ", Err(())),
            ("Bearer  ", Err(())),
            ("Bearer abc def", Err(())),
            ("Bearer abc,def", Err(())),
            ("Bearer abc, Bearer def", Err(())),
            ("Bearer a=b", Err(())),
            ("Bearer =", Err(())),
            ("Bearer\tabc", Ok(None)),
            ("Bearer abcdef", Ok(Some("abcdef"))),
            ("bearer abcdef==", Ok(Some("abcdef=="))),
            ("BEARER   abcdef", Ok(Some("abcdef"))),
            ("Bearer eyJfoobar.eyJfoobar.12345asdf", Ok(Some(JWT))),
            ("Something eyJfoobar.eyJfoobar.12345asdf", Ok(None)),
            ("abcdef", Ok(None)),
            ("Basic", Err(())),
            ("Basic invalid-base64", Err(())),
            ("Basic YW55LXVzZXIgYW55LXBhc3N3b3Jk", Err(())),
            ("Basic ZXlKZm9vYmFyLmV5SmZvb2Jhci4xMjM0NWFzZGY6", Ok(Some(JWT))),
            ("Basic ZXlKZm9vYmFyLmV5SmZvb2Jhci4xMjM0NWFzZGY6eC1vYXV0aC1iYXNpYw==", Ok(Some(JWT))),
            ("Basic YW55LXVzZXI6ZXlKZm9vYmFyLmV5SmZvb2Jhci4xMjM0NWFzZGY=", Ok(Some(JWT))),
            ("basic YW55LXVzZXI6YW55LXBhc3N3b3Jk", Ok(Some("any-user / any-password"))),
        ] {
            let read = token(&[line.as_bytes()]).map_err(drop);
            assert_eq!(read.as_ref().map(Option::as_deref), found.as_ref().copied(), "{line}");
        }
        assert_eq!(token(&[]), Ok(None));
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_no_credential() {
        for lines in [
            [b"Bearer abc".as_slice(), b"Bearer abc"].as_slice(),
            &[b"Bearer abc", b"Basic YTpi"],
            &[b"Bearer abc", b""],
            &[b"Bearer ab\xffc"],
            &[b"Bearer ab\tc"],
            &[basic("a:b\0").as_bytes()],
            &[basic("a\n:b").as_bytes()],
            &[basic(":b").as_bytes()],
            &[basic("a:").as_bytes()],
            &[basic("goauthentik.io/token:").as_bytes()],
            &[b"Basic YTpi/w=="],
        ] {
            token(lines).expect_err(&format!("{lines:?}"));
        }
    }

    #[test]
    fn authentiks_name_for_a_token_makes_the_password_one() {
        assert_eq!(token(&[basic("goauthentik.io/token:opaque:more").as_bytes()]), Ok(Some("opaque:more".to_owned())));
        assert_eq!(token(&[basic("ann:b:c").as_bytes()]), Ok(Some("ann / b:c".to_owned())));
    }

    proptest! {
        #[test]
        fn a_password_is_read_as_it_was_written(name in "[^:\\p{C}]{1,12}", password in "[^.\\p{C}]{1,12}") {
            prop_assume!(name != TOKEN_USER);
            prop_assert_eq!(token(&[basic(&format!("{name}:{password}")).as_bytes()]), Ok(Some(format!("{name} / {password}"))));
        }

        #[test]
        fn no_bytes_make_it_panic(lines in proptest::collection::vec(proptest::collection::vec(0x20u8..=0xff, 0..40), 0..3)) {
            let lines: Vec<_> = lines.iter().map(|line| line.iter().copied().filter(|byte| *byte != 0x7f).collect::<Vec<_>>()).collect();
            let _any = token(&lines.iter().map(Vec::as_slice).collect::<Vec<_>>());
        }
    }
}

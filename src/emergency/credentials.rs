//! Credentials of HTTP Basic authentication (RFC 7617), as a request brings them.
//!
//! Promises: they are never printed; what is no such credential, or could be read in two ways, is none.

use headers::{
    Header as _,
    authorization::{Authorization, Basic},
};
use http::{HeaderMap, header};

/// The longest password that is verified, in bytes.
pub const MAX_PASSWORD: usize = 1_024;

/// User name and password.
pub struct Credentials(Authorization<Basic>);

impl Credentials {
    /// Reads the only `Authorization` header of a request. RFC 7617 has no control characters in names and passwords; bcrypt
    /// would read a NUL as an end.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(header::AUTHORIZATION).iter();
        let (only, None) = (lines.next()?, lines.next()) else { return None };
        let basic = Authorization::<Basic>::decode(&mut std::iter::once(only)).ok()?;
        let is_plain = |text: &str| !text.chars().any(char::is_control);
        let is_readable = is_plain(basic.username()) && is_plain(basic.password());
        (is_readable && basic.password().len() <= MAX_PASSWORD).then_some(Self(basic))
    }

    /// Returns the name as it was typed.
    #[must_use]
    pub fn user(&self) -> &str {
        self.0.username()
    }

    pub(super) fn password(&self) -> &str {
        self.0.password()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(lines: &[&str]) -> Option<(String, String)> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(line).unwrap());
        }
        Credentials::of(&headers).map(|found| (found.user().to_owned(), found.password().to_owned()))
    }

    fn basic(text: &[u8]) -> String {
        format!("Basic {}", data_encoding::BASE64.encode(text))
    }

    #[test]
    fn a_name_ends_at_the_first_colon_and_the_scheme_is_of_any_case() {
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(read(&[&basic(b"ann:pw")]), pair("ann", "pw"));
        assert_eq!(read(&[&basic(b"ann:p:w")]), pair("ann", "p:w"));
        assert_eq!(read(&[&basic(b"ann:")]), pair("ann", ""));
        assert_eq!(read(&[&basic("Änne:süß".as_bytes())]), pair("Änne", "süß"));
        assert_eq!(read(&[&basic(b"ann:pw").replace("Basic", "bASIC")]), pair("ann", "pw"));
    }

    #[test]
    fn anything_else_is_no_credential() {
        let long = [b"ann:".as_slice(), &[b'x'; MAX_PASSWORD + 1]].concat();
        for lines in [
            vec![],
            vec!["Bearer abc".to_owned()],
            vec!["Basic".to_owned()],
            vec!["Basic !!!".to_owned()],
            vec![basic(b"no colon")],
            vec![basic(b"ann:p\0w")],
            vec![basic(b"an\nn:pw")],
            vec![basic(b"ann:\xff\xfe")],
            vec![basic(&long)],
            vec![basic(b"ann:pw"), basic(b"ann:pw")],
        ] {
            let lines: Vec<_> = lines.iter().map(String::as_str).collect();
            assert_eq!(read(&lines), None, "{lines:?}");
        }
    }
}

//! Challenges: what a 401 or 403 says about the credential that it wants (`WWW-Authenticate`; RFC 9110, section 11.6.1).
//!
//! Promises: one place builds them; whatever a value holds, the line is well-formed. Pure.

use std::fmt::Write as _;

use http::HeaderValue;

/// Error of a bearer challenge (RFC 6750, section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChallengeError {
    /// The token is expired, revoked, malformed or for somebody else.
    InvalidToken,
    /// The token is good, and not for this.
    InsufficientScope,
}

/// Challenge of one authentication scheme, with its parameters in order.
#[derive(Clone, Debug)]
pub(super) struct Challenge {
    line: String,
    has_parameter: bool,
}

impl ChallengeError {
    /// Returns the code.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
        }
    }
}

impl Challenge {
    /// A challenge for a bearer token (RFC 6750, section 3).
    pub(super) fn bearer(realm: &str) -> Self {
        Self::new("Bearer").with("realm", realm)
    }

    /// A challenge for a name and a password (RFC 7617).
    pub(super) fn basic(realm: &str) -> Self {
        Self::new("Basic").with("realm", realm).with("charset", "UTF-8")
    }

    fn new(scheme: &str) -> Self {
        Self { line: scheme.to_owned(), has_parameter: false }
    }

    /// Adds an error with its description. To be left out where no credential came.
    pub(super) fn with_error(self, error: ChallengeError, description: &str) -> Self {
        self.with("error", error.code()).with("error_description", description)
    }

    /// Adds a parameter, as a quoted string. What cannot stand in one, or in a header that every edge passes on, becomes `?`.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.line.push_str(if self.has_parameter { ", " } else { " " });
        self.has_parameter = true;
        write!(self.line, "{name}=\"").expect("memory takes text");
        for character in value.chars() {
            match character {
                '"' | '\\' => self.line.extend(['\\', character]),
                ' '..='~' => self.line.push(character),
                _ => self.line.push('?'),
            }
        }
        self.line.push('"');
        self
    }

    /// Returns the value of the header.
    pub(super) fn into_value(self) -> HeaderValue {
        HeaderValue::try_from(self.line).expect("nothing but visible ASCII was written")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_challenge_has_an_error_only_where_one_is_added() {
        assert_eq!(Challenge::bearer("grafana").into_value(), r#"Bearer realm="grafana""#);
        assert_eq!(Challenge::basic("grafana").into_value(), r#"Basic realm="grafana", charset="UTF-8""#);
        let refused = Challenge::bearer("grafana").with_error(ChallengeError::InvalidToken, "The token has expired");
        assert_eq!(
            refused.with("resource_metadata", "https://a.example.com/").into_value(),
            r#"Bearer realm="grafana", error="invalid_token", error_description="The token has expired", resource_metadata="https://a.example.com/""#
        );
    }

    proptest! {
        #[test]
        fn no_value_ends_its_quotes_or_the_line(value in ".{0,20}") {
            let line = Challenge::bearer(&value).into_value();
            let quoted = line.to_str().unwrap().strip_prefix("Bearer realm=\"").unwrap().strip_suffix('"').unwrap();
            let mut characters = quoted.chars();
            while let Some(character) = characters.next() {
                prop_assert!(matches!(character, ' '..='~') && character != '"');
                if character == '\\' {
                    prop_assert!(matches!(characters.next(), Some('"' | '\\')));
                }
            }
        }
    }
}

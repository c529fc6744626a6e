//! Parameters of the callback: the authorization response (`OpenID` Connect Core, sections 3.1.2.5 and 3.1.2.6; RFC 9207).
//!
//! Promises: what is used is read once; a parameter that is repeated makes the whole response void.

use std::borrow::Cow;

/// Parameters of an authorization response that are used.
#[derive(Debug, Default)]
pub(super) struct CallbackParameters {
    pub(super) state: Option<String>,
    pub(super) code: Option<String>,
    pub(super) iss: Option<String>,
    pub(super) error: Option<String>,
}

impl CallbackParameters {
    /// Parses a query; `None` where one of the parameters is repeated.
    pub(super) fn parse(query: &str) -> Option<Self> {
        let read = Self::read(query)?;
        if read.code.is_some() || read.error.is_some() || !query.contains('?') {
            return Some(read);
        }
        // authentik appends `?error=…` even to a redirect URI that has a query.
        Self::read(&query.replace('?', "&"))
    }

    fn read(query: &str) -> Option<Self> {
        let mut read = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let slot = match name.as_ref() {
                "state" => &mut read.state,
                "code" => &mut read.code,
                "iss" => &mut read.iss,
                "error" => &mut read.error,
                _ => continue,
            };
            if slot.replace(Cow::into_owned(value)).is_some() {
                return None;
            }
        }
        Some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callback_with_a_repeated_parameter_is_none() {
        assert!(CallbackParameters::parse("state=a&code=b&code=c").is_none());
        assert!(CallbackParameters::parse("state=a&state=a").is_none());
        let read = CallbackParameters::parse("state=a&code=b%20c&session_state=x&iss=https%3A%2F%2Fi").unwrap();
        assert_eq!((read.state.as_deref(), read.code.as_deref()), (Some("a"), Some("b c")));
        assert_eq!((read.iss.as_deref(), read.error), (Some("https://i"), None));
    }

    #[test]
    fn an_error_behind_a_second_question_mark_is_read_as_meant() {
        for (query, error, state) in [
            ("X-authentik-auth-callback=true?error=login_required&state=a", Some("login_required"), Some("a")),
            ("x=1?error=access_denied&error_description=why%3F?state=b", Some("access_denied"), Some("b")),
            ("?error=login_required&state=a", Some("login_required"), Some("a")),
            ("state=a&error=x&error_uri=https://h/?code=b", Some("x"), Some("a")),
            ("state=a?state=b&x", None, None),
        ] {
            let read = CallbackParameters::parse(query).unwrap_or_default();
            assert_eq!((read.error.as_deref(), read.state.as_deref()), (error, state), "{query}");
            assert_eq!(read.code, None, "{query}");
        }
        let read = CallbackParameters::parse("code=a?b&state=s").unwrap();
        assert_eq!(read.code.as_deref(), Some("a?b"), "a question mark is a character of a value first of all");
    }
}

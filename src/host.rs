//! Host names, normalized for comparison: lower case, without port and trailing dot.
//!
//! Promises: no other place normalizes a host; a host that an edge could not have routed is refused.

use std::{borrow::Cow, fmt};

/// A normalized host and its port, if there is one. Borrowed from the request unless it had to be lowered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority<'r> {
    host: Cow<'r, str>,
    port: Option<u16>,
}

/// The reason why a text is not a host with an optional port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHost {
    /// An empty host.
    #[error("the host is empty")]
    Empty,
    /// A character that no host name has, or labels that are empty or too long.
    #[error("the host holds something that no host name has")]
    Name,
    /// No port after the colon.
    #[error("the port is not a number from 1 to 65535")]
    Port,
}

impl<'r> Authority<'r> {
    /// Parses `host`, `host:port` or `[v6]:port`, the value of an HTTP `Host` line (RFC 9110, section 7.2).
    pub fn parse(text: &'r str) -> Result<Self, InvalidHost> {
        // Nearly every text is a host without a port.
        let (host, port, case) = match letter_case(text) {
            Some(case) => (text, None, case),
            None => split(text)?,
        };
        let host = match case {
            LetterCase::Lower => Cow::Borrowed(host),
            LetterCase::Mixed => Cow::Owned(host.to_ascii_lowercase()),
        };
        Ok(Self { host, port })
    }

    /// Returns the host: lower case, no port, no trailing dot; an IPv6 address keeps its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port, where there is one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Removes the default port of a scheme: `app.example.com:443` over https is `app.example.com` to browsers and to
    /// providers, which compare redirect URIs character by character.
    #[must_use]
    pub fn without_default_port(self, scheme: &str) -> Self {
        let port = self.port.filter(|port| Some(*port) != default_port(scheme));
        Self { port, ..self }
    }

    /// Converts to an authority that does not borrow from the request.
    #[must_use]
    pub fn into_owned(self) -> Authority<'static> {
        Authority { host: Cow::Owned(self.host.into_owned()), port: self.port }
    }
}

/// Returns the default port of a scheme (RFC 9110, sections 4.2.1 and 4.2.2).
#[must_use]
pub fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    }
}

/// Prints `host` or `host:port`.
impl fmt::Display for Authority<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

/// Parses a host that is followed by a port or a dot, or is invalid.
fn split(text: &str) -> Result<(&str, Option<u16>, LetterCase), InvalidHost> {
    let (host, port) = split_port(text)?;
    match host.strip_suffix('.').unwrap_or(host) {
        "" => Err(InvalidHost::Empty),
        host => letter_case(host).map(|case| (host, port, case)).ok_or(InvalidHost::Name),
    }
}

fn split_port(text: &str) -> Result<(&str, Option<u16>), InvalidHost> {
    // The colons of an IPv6 address are inside brackets.
    let after_brackets = text.rfind(']').map_or(0, |at| at + 1);
    let Some(colon) = text.get(after_brackets..).and_then(|rest| rest.find(':')).map(|at| at + after_brackets) else {
        return Ok((text, None));
    };
    let (host, port) = text.split_at(colon);
    let port = port.get(1..).unwrap_or_default();
    if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(InvalidHost::Port);
    }
    match port.parse() {
        Ok(0) | Err(_) => Err(InvalidHost::Port),
        Ok(port) => Ok((host, Some(port))),
    }
}

/// Letter case of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LetterCase {
    Lower,
    Mixed,
}

/// Returns the letter case of a host; `None` where it is invalid.
fn letter_case(host: &str) -> Option<LetterCase> {
    if let Some(v6) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        // Its hexadecimal digits may be upper case.
        return v6.parse::<std::net::Ipv6Addr>().is_ok().then_some(LetterCase::Mixed);
    }
    // Without a branch for each byte: that would cost more than all that follows.
    let (mut kinds, mut neighbours, mut last) = (0, 0, kind::DOT);
    for byte in host.bytes() {
        let kind = kind::of(byte);
        kinds |= kind;
        neighbours |= kind & last;
        last = kind;
    }
    let has_empty_label = (neighbours | last) & kind::DOT != 0;
    let has_long_label = host.len() > 63 && host.split('.').any(|label| label.len() > 63);
    if kinds & kind::INVALID != 0 || has_empty_label || has_long_label || host.len() > 253 {
        return None;
    }
    Some(if kinds & kind::UPPER == 0 { LetterCase::Lower } else { LetterCase::Mixed })
}

/// Kinds of bytes in a host name, as bits, so that those of many bytes fit into one number.
mod kind {
    pub(super) const INVALID: u8 = 1;
    pub(super) const DOT: u8 = 2;
    pub(super) const UPPER: u8 = 4;
    const LOWER: u8 = 8;

    /// Kinds by byte: looked up, because every request names a host.
    #[expect(clippy::indexing_slicing, reason = "done by the compiler, which sees that it fits")]
    const TABLE: [u8; 256] = {
        let mut table = [INVALID; 256];
        let mut byte = 0_u8;
        while byte < 128 {
            table[byte as usize] = match byte {
                b'.' => DOT,
                b'A'..=b'Z' => UPPER,
                // RFC 952 has no underscores in host names, and yet people use them inside their networks.
                b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => LOWER,
                _ => INVALID,
            };
            byte += 1;
        }
        table
    };

    pub(super) fn of(byte: u8) -> u8 {
        TABLE.get(usize::from(byte)).copied().unwrap_or(INVALID)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_port_of_a_scheme_is_removed() {
        for (text, scheme, expected) in [
            ("app.example.com:443", "https", "app.example.com"),
            ("app.example.com:80", "https", "app.example.com:80"),
            ("app.example.com:80", "http", "app.example.com"),
            ("[::1]:443", "https", "[::1]"),
            ("app.example.com:8443", "https", "app.example.com:8443"),
            ("app.example.com", "https", "app.example.com"),
        ] {
            assert_eq!(
                Authority::parse(text).unwrap().without_default_port(scheme).to_string(),
                expected,
                "{text} {scheme}"
            );
        }
    }

    #[test]
    fn a_host_is_normalized_in_one_way() {
        for (text, host, port) in [
            ("app.example.com", "app.example.com", None),
            ("APP.Example.COM.", "app.example.com", None),
            ("app.example.com:8443", "app.example.com", Some(8443)),
            ("App.example.com.:8443", "app.example.com", Some(8443)),
            ("[::1]:9000", "[::1]", Some(9000)),
            ("[::1]", "[::1]", None),
            ("127.0.0.1:80", "127.0.0.1", Some(80)),
        ] {
            let parsed = Authority::parse(text).unwrap();
            assert_eq!((parsed.host(), parsed.port()), (host, port), "{text}");
        }
    }

    #[test]
    fn labels_and_names_are_as_long_as_the_dns_allows() {
        let label = |length: usize| "a".repeat(length);
        for (host, is_host) in [
            (label(63), true),
            (label(64), false),
            (format!("{}.{}", label(63), label(1)), true),
            (format!("{}.{}", label(1), label(64)), false),
            (vec![label(62); 4].join(".") + ".b", true),
            (vec![label(62); 4].join(".") + ".bb", false),
        ] {
            assert_eq!(Authority::parse(&host).is_ok(), is_host, "{host}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_host_is_labels_of_one_to_63_bytes(host in "[a-zA-Z0-9_.-]{0,70}|[a-zA-Z0-9_.:é\\[\\]-]{0,9}") {
            let is_label = |label: &str| {
                (1..=63).contains(&label.len())
                    && label.chars().all(|one| one.is_ascii_alphanumeric() || matches!(one, '-' | '_'))
            };
            let expected = host.split('.').all(is_label).then(|| {
                let has_capitals = host.chars().any(|one| one.is_ascii_uppercase());
                if has_capitals { LetterCase::Mixed } else { LetterCase::Lower }
            });
            proptest::prop_assert_eq!(letter_case(&host), expected);
        }
    }

    #[test]
    fn an_invalid_host_is_refused() {
        for (text, why) in [
            ("", InvalidHost::Empty),
            (".", InvalidHost::Empty),
            (":80", InvalidHost::Empty),
            ("a..b", InvalidHost::Name),
            ("a b", InvalidHost::Name),
            ("\0not-one-factor.example.com", InvalidHost::Name),
            ("app.example.com,evil.example.net", InvalidHost::Name),
            ("user@app.example.com", InvalidHost::Name),
            ("app.example.com/..", InvalidHost::Name),
            ("[::g]", InvalidHost::Name),
            ("app.example.com:", InvalidHost::Port),
            ("app.example.com:0", InvalidHost::Port),
            ("app.example.com:65536", InvalidHost::Port),
            ("app.example.com:+80", InvalidHost::Port),
            ("a:80:90", InvalidHost::Port),
        ] {
            assert_eq!(Authority::parse(text), Err(why), "{text}");
        }
    }
}

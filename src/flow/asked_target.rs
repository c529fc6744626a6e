//! Target that a link to a sign-in asks for: `rd`, as the gate's own links have it, and as the edges of other gates write it.
//!
//! Promises: text. Whether a browser may be sent there is for `RedirectTarget` to say.

use super::context::RequestContext;
use crate::edge::Namespace;

/// Header that edges of oauth2-proxy name the target in.
const REDIRECT_HEADER: &str = "x-auth-request-redirect";

/// Returns the target that a request for a sign-in asks for.
pub(super) fn asked_target(context: &RequestContext<'_>, query: &str) -> Option<String> {
    let parameter = || query_parameter(query, "rd");
    match context.origin.namespace {
        Namespace::Own => parameter(),
        Namespace::Authentik => unencoded(query).or_else(parameter),
        Namespace::OAuth2Proxy => unencoded(query).or_else(parameter).or_else(|| {
            let mut lines = context.headers.get_all(REDIRECT_HEADER).iter();
            let only = lines.next().filter(|_| lines.next().is_none())?;
            only.to_str().ok().map(str::to_owned)
        }),
    }
}

/// Returns a query parameter that is there exactly once, percent-decoded. A plus stays one: in the URLs that travel here it is
/// itself more often than a space.
pub(super) fn query_parameter(query: &str, name: &str) -> Option<String> {
    let mut found = query.split('&').filter_map(|pair| pair.split_once('=')).filter(|(key, _)| *key == name);
    let (_, first) = found.next()?;
    let decoded = percent_encoding::percent_decode_str(first).decode_utf8().ok()?;
    found.next().is_none().then(|| decoded.into_owned())
}

/// Returns an `rd` that nginx has not encoded (`rd=$scheme://$host$request_uri`), to its last byte: what follows is the original
/// query, and its escapes are the original ones. Whoever encodes a target encodes its first slash or colon.
fn unencoded(query: &str) -> Option<String> {
    let target = query.strip_prefix("rd=")?;
    let is_address = ["/", "http://", "https://"].iter().any(|start| target.starts_with(start));
    is_address.then(|| target.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_counts_only_once() {
        assert_eq!(query_parameter("rd=%2Fa%3Fb%3Dc+d&x=1", "rd").as_deref(), Some("/a?b=c+d"));
        assert_eq!(query_parameter("rd=/a&rd=/b", "rd"), None);
        assert_eq!(query_parameter("", "rd"), None);
    }

    #[test]
    fn a_target_that_an_edge_has_not_encoded_is_taken_to_its_last_byte() {
        for (query, expected) in [
            ("rd=/a%2Fb?x=1&y=a%2Bb", Some("/a%2Fb?x=1&y=a%2Bb")),
            ("rd=https://app.test/a?rd=/b&rd=/c", Some("https://app.test/a?rd=/b&rd=/c")),
            ("rd=http://app.test/", Some("http://app.test/")),
            ("rd=%2Fa", None),
            ("rd=https%3A//app.test/", None),
            ("x=1&rd=/a", None),
            ("rd=a", None),
            ("", None),
        ] {
            assert_eq!(unencoded(query).as_deref(), expected, "{query}");
        }
    }
}

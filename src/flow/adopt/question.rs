//! The question that an old outpost is asked: the one that an edge would ask it.
//!
//! Promises: the old cookies are the only credential in it; what is asked never signs anybody out at the old outpost.

use http::{HeaderValue, Request, header};
use url::form_urlencoded;

use super::AdoptSettings;
use crate::{
    flow::{context::RequestContext, delegate::question},
    upstream::{self, RequestBody},
};

/// Below it are the outpost's own pages.
const OWN_PREFIX: &str = "/outpost.goauthentik.io";

/// Parameters by which an outpost takes a request for one of its own pages, on any path.
const OWN_PARAMETERS: [&str; 2] = ["X-authentik-auth-callback", "X-authentik-logout"];

/// Makes the question; `None` where a part of the request cannot be passed on.
pub(super) fn question(
    settings: &AdoptSettings,
    context: &RequestContext<'_>,
    cookies: HeaderValue,
) -> Option<Request<RequestBody>> {
    let AdoptSettings { upstream: origin, path, dialect, .. } = settings;
    let target = harmless(context.target);
    let mut request = Request::new(upstream::empty());
    *request.uri_mut() = question::path(*dialect, path, target).parse().ok()?;
    let headers = request.headers_mut();
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    question::describe(*dialect, &origin.url, context, target, headers)?;
    headers.insert(header::COOKIE, cookies);
    Some(request)
}

/// Returns the target, or the root where an outpost would do something of its own there.
fn harmless(target: &str) -> &str {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let is_own = |(name, _): (std::borrow::Cow<'_, str>, _)| {
        OWN_PARAMETERS.iter().any(|own| name.trim_start_matches('?').eq_ignore_ascii_case(own))
    };
    if !path.starts_with('/') || path.starts_with(OWN_PREFIX) || form_urlencoded::parse(query.as_bytes()).any(is_own) {
        return "/";
    }
    target
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outpost_is_never_asked_to_do_something_of_its_own() {
        for (target, asked) in [
            ("/a/b?x=y&z", "/a/b?x=y&z"),
            ("/", "/"),
            ("/?X-authentik-logout=true", "/"),
            ("/a?b=c&x-authentik-LOGOUT=true", "/"),
            ("/a?X%2Dauthentik-auth-callback=true", "/"),
            ("/outpost.goauthentik.io/sign_out", "/"),
            ("//evil.test/x", "//evil.test/x"),
            ("*", "/"),
            ("", "/"),
        ] {
            assert_eq!(harmless(target), asked, "{target}");
        }
    }
}

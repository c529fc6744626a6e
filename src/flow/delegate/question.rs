//! Questions to an outpost: the original request, described as the edge of its dialect would.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use url::Url;

use crate::{
    cookie::GateCookies,
    edge::Edge,
    flow::context::RequestContext,
    upstream::{self, RequestBody},
};

/// Longest `Cookie` header that is passed on.
const MAX_COOKIES: usize = 64 << 10;

/// Headers that belong to a connection or a body (RFC 9110, section 7.6.1), or that say what the gate says itself.
const DROPPED: &[&str] = &[
    "connection",
    "content-length",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-real-ip",
    "x-rewrite-url",
];

/// Beginnings of the names of headers that describe the original request or somebody's identity.
const DROPPED_BEGINNINGS: &[&str] =
    &["x-forwarded-", "x-original-", "x-authentik-", "x-auth-request-", "remote-", "doorward-"];

/// Way to ask one outpost.
pub(super) struct OutpostQuestion<'a> {
    pub(super) path: &'a str,
    pub(super) dialect: Edge,
    pub(super) upstream: &'a Url,
    pub(super) jar: &'a GateCookies,
}

impl OutpostQuestion<'_> {
    /// Describes a request.
    pub(super) fn about(
        &self,
        context: &RequestContext<'_>,
        target: &str,
    ) -> Result<Request<RequestBody>, upstream::Error> {
        let unusable = || upstream::Error::Request("cannot be described to the outpost".to_owned());
        let path = path(self.dialect, self.path, target);
        let mut request = Request::new(upstream::empty());
        *request.uri_mut() = path.parse().map_err(|_| unusable())?;
        if let (Edge::Envoy, Some(method)) = (self.dialect, context.method) {
            // A request with a body has none here: only its head is asked about.
            *request.method_mut() = Method::from_bytes(method.as_bytes()).map_err(|_| unusable())?;
        }
        let headers = request.headers_mut();
        for (name, value) in context.headers.iter().filter(|(name, _)| is_passed_on(name)) {
            headers.append(name, value.clone());
        }
        describe(self.dialect, self.upstream, context, target, headers).ok_or_else(unusable)?;
        let cookies = self.jar.forwarded(context.headers, MAX_COOKIES).ok_or_else(unusable)?;
        if !cookies.is_empty() {
            headers.insert(header::COOKIE, cookies);
        }
        Ok(request)
    }
}

/// Returns the path at which an outpost is asked about a target in a dialect.
pub(in crate::flow) fn path(dialect: Edge, path: &str, target: &str) -> String {
    match dialect {
        Edge::Envoy => format!("{path}{target}"),
        Edge::Traefik | Edge::Caddy | Edge::Nginx | Edge::OAuth2Proxy | Edge::Proxy => path.to_owned(),
    }
}

/// Adds what edges say of a request; `None` where a value cannot stand in a header.
pub(in crate::flow) fn describe(
    dialect: Edge,
    upstream: &Url,
    context: &RequestContext<'_>,
    target: &str,
    headers: &mut HeaderMap,
) -> Option<()> {
    let (scheme, authority) = (context.origin.scheme, context.authority.to_string());
    let host = match dialect {
        // Traefik asks by the name of the outpost itself.
        Edge::Traefik => upstream.authority().to_owned(),
        Edge::Caddy | Edge::Nginx | Edge::Envoy | Edge::OAuth2Proxy | Edge::Proxy => authority.clone(),
    };
    let mut set = |name: HeaderName, value: &str| -> Option<()> {
        headers.insert(name, HeaderValue::from_str(value).ok()?);
        Some(())
    };
    set(header::HOST, &host)?;
    set(HeaderName::from_static("x-forwarded-proto"), scheme)?;
    set(HeaderName::from_static("x-forwarded-host"), &authority)?;
    if let Some(client) = context.client_text() {
        set(HeaderName::from_static("x-forwarded-for"), &client)?;
    }
    let method = context.method.unwrap_or("GET");
    match dialect {
        Edge::Traefik | Edge::Caddy => {
            set(HeaderName::from_static("x-forwarded-method"), method)?;
            set(HeaderName::from_static("x-forwarded-uri"), target)?;
        }
        Edge::Nginx => {
            set(HeaderName::from_static("x-original-method"), method)?;
            set(HeaderName::from_static("x-original-url"), &format!("{scheme}://{authority}{target}"))?;
        }
        // No outpost speaks the last two.
        Edge::Envoy | Edge::OAuth2Proxy | Edge::Proxy => {}
    }
    Some(())
}

/// Returns `true` for a header of the client that an outpost may read. An outpost that folds `_` to `-` takes `X_authentik_username`
/// for the other spelling.
fn is_passed_on(name: &HeaderName) -> bool {
    let folded = name.as_str().replace('_', "-");
    !DROPPED.contains(&folded.as_str()) && !DROPPED_BEGINNINGS.iter().any(|beginning| folded.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_client_says_of_itself_reaches_the_outpost() {
        for name in [
            "x-authentik-username",
            "x_authentik_username",
            "x-forwarded-host",
            "x_forwarded_uri",
            "x-original-url",
            "remote-user",
            "forwarded",
            "host",
            "cookie",
            "connection",
            "content-length",
            "range",
        ] {
            assert!(!is_passed_on(&HeaderName::from_static(name)), "{name}");
        }
        for name in ["accept", "authorization", "user-agent", "sec-fetch-mode", "x-requested-with", "x-custom"] {
            assert!(is_passed_on(&HeaderName::from_static(name)), "{name}");
        }
    }
}

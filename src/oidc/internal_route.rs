//! The internal address of a provider (`internal_url`): where the gate itself asks, while browsers go to the issuer.
//!
//! Promises: only what has the issuer's origin goes there, with the issuer's host and scheme said; everything else goes where
//! it says.

use http::{HeaderName, HeaderValue, Request, Uri, header};
use url::{Position, Url};

const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The way to a provider inside.
#[derive(Clone, Debug)]
pub(super) struct InternalRoute {
    issuer: Url,
    internal: Url,
    host: HeaderValue,
    proto: HeaderValue,
}

impl InternalRoute {
    /// The way to the provider of `issuer` at the origin of `internal`.
    pub(super) fn new(issuer: &Url, internal: &Url) -> Self {
        let value = |text: &str| HeaderValue::try_from(text).expect("a URL's host and scheme are visible ASCII");
        Self {
            host: value(&issuer[Position::BeforeHost..Position::AfterPort]),
            proto: value(issuer.scheme()),
            issuer: issuer.clone(),
            internal: internal.clone(),
        }
    }

    /// Returns `true` if an address has the origin of the internal one.
    pub(super) fn is_inside(&self, uri: &Uri) -> bool {
        origin(uri).is_some_and(|url| url.origin() == self.internal.origin())
    }

    /// Sends a request for the issuer's origin to the internal one.
    pub(super) fn apply<B>(&self, request: &mut Request<B>) {
        let Some(mut url) = origin(request.uri()).filter(|url| url.origin() == self.issuer.origin()) else { return };
        // In this order: a URL takes no port that is its scheme's own.
        let moved = url.set_scheme(self.internal.scheme()).is_ok()
            && url.set_host(self.internal.host_str()).is_ok()
            && url.set_port(self.internal.port()).is_ok();
        let uri = url.as_str().parse();
        let (true, Ok(uri)) = (moved, uri) else { return };
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(header::HOST, self.host.clone());
        headers.insert(FORWARDED_HOST, self.host.clone());
        headers.insert(FORWARDED_PROTO, self.proto.clone());
    }
}

fn origin(uri: &Uri) -> Option<Url> {
    Url::parse(&uri.to_string()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(issuer: &str, internal: &str, target: &str) -> (String, Vec<String>) {
        let route = InternalRoute::new(&issuer.parse().unwrap(), &internal.parse().unwrap());
        let mut request = Request::builder().uri(target).body(()).unwrap();
        route.apply(&mut request);
        let headers = [header::HOST, FORWARDED_HOST, FORWARDED_PROTO];
        let headers = headers.iter().filter_map(|name| request.headers().get(name)?.to_str().ok().map(str::to_owned));
        (request.uri().to_string(), headers.collect())
    }

    #[test]
    fn what_has_the_issuers_origin_goes_inside_with_its_host_and_scheme_said() {
        let (issuer, internal) = ("https://id.example.com/o/a/", "http://authentik.auth.svc:9000");
        for target in ["https://id.example.com/o/token?a=%2Fb", "https://id.example.com:443/o/token?a=%2Fb"] {
            let (uri, headers) = sent(issuer, internal, target);
            assert_eq!(uri, "http://authentik.auth.svc:9000/o/token?a=%2Fb");
            assert_eq!(headers, ["id.example.com", "id.example.com", "https"]);
        }
        let (uri, headers) =
            sent("https://id.example.com:8443/", "https://[fd00::1]", "https://id.example.com:8443/jwks");
        assert_eq!(uri, "https://[fd00::1]/jwks");
        assert_eq!(headers, ["id.example.com:8443", "id.example.com:8443", "https"]);
    }

    #[test]
    fn what_has_another_origin_stays_untouched() {
        for target in ["https://other.example.com/", "http://id.example.com/", "https://id.example.com:8443/"] {
            let (uri, headers) = sent("https://id.example.com/", "http://inside:9000", target);
            assert_eq!((uri.as_str(), headers.len()), (target, 0));
        }
    }
}

//! `/oauth2/auth` of oauth2-proxy, as edges ask it that were set up for that gate: nginx, Traefik and ingress-nginx.
//!
//! Promises: what is asked is read from the lines that the edge in question writes itself, which `Host` tells apart; every other
//! line that describes the original request has to agree with them. What clients could have written decides nothing.

use http::request::Parts;

use super::{nginx, original::Original, traefik};
use crate::{
    edge::field::{BadRequest, Field, request_host},
    host::Authority,
};

/// Sends the method: that gate's configuration for nginx does not, and what a client says of it is not believed.
pub(super) const MEND_METHOD: &str =
    "ask at the gate's own /auth/nginx, with proxy_set_header X-Original-Method $request_method;";

/// Passes the client's cookies to the check.
pub(super) const MEND_COOKIES: &str =
    "let the check have Cookie: no proxy_set_header that empties it in nginx, Cookie in Traefik's authRequestHeaders";

/// Passes on what the gate reads.
pub(super) const MEND_HEADERS: &str = "let the check have Accept, Sec-Fetch-Dest, Sec-Fetch-Mode and Sec-Fetch-Site: no proxy_set_header that empties them in \
     nginx, all of them in Traefik's authRequestHeaders";

/// Lines that describe the original request.
struct Description<'r> {
    host: Field<'r>,
    uri: Field<'r>,
    url: Field<'r>,
    method: Field<'r>,
    original_method: Field<'r>,
    client: Field<'r>,
}

/// Reads the original request. `service_hosts` are names of the gate's own.
pub(super) fn read<'r>(request: &'r Parts, service_hosts: &[String]) -> Result<Original<'r>, BadRequest> {
    let described = Description::of(request);
    let routed = request_host(request)?;
    if service_hosts.iter().any(|service| service == routed.host()) {
        described.by_forwarding()
    } else {
        described.at(routed)
    }
}

impl<'r> Description<'r> {
    fn of(request: &'r Parts) -> Self {
        let mut lines = Self {
            host: Field::named(traefik::HOST),
            uri: Field::named(traefik::URI),
            url: Field::named(nginx::URL),
            method: Field::named("X-Forwarded-Method"),
            original_method: Field::named("X-Original-Method"),
            client: Field::named("X-Forwarded-For"),
        };
        for (name, value) in &request.headers {
            match name.as_str() {
                "x-forwarded-host" => lines.host.add(value),
                "x-forwarded-uri" => lines.uri.add(value),
                "x-original-url" => lines.url.add(value),
                "x-forwarded-method" => lines.method.add(value),
                "x-original-method" => lines.original_method.add(value),
                "x-forwarded-for" => lines.client.add(value),
                _ => {}
            }
        }
        lines
    }

    /// nginx: the host that it routed by, and the target that it was told to send. It passes on what clients say of method and
    /// address, so both are unknown.
    fn at(&self, authority: Authority<'r>) -> Result<Original<'r>, BadRequest> {
        let target = self.uri.target(self.uri.required()?)?;
        self.agree(&authority, target)?;
        let client = Field::named("X-Forwarded-For");
        Ok(Original { method: None, authority, target, client, routed: None })
    }

    /// Traefik, or else ingress-nginx. Each writes one of the two lines with the method, and passes the other on.
    fn by_forwarding(self) -> Result<Original<'r>, BadRequest> {
        let (authority, target) = match (self.host.text()?, self.uri.text()?) {
            (Some(host), Some(uri)) => (self.host.authority(host)?, self.uri.target(uri)?),
            _ => nginx::split(&self.url, self.url.required()?)?,
        };
        self.agree(&authority, target)?;
        let method = match (self.method.text()?, self.original_method.text()?) {
            (Some(method), Some(other)) if method != other => {
                return Err(self.method.fault("and X-Original-Method differ"));
            }
            (method, other) => method.or(other).map(|text| self.method.method(text)).transpose()?,
        };
        Ok(Original { method, authority, target, client: self.client, routed: None })
    }

    /// Compares every line that is there with the original request.
    fn agree(&self, authority: &Authority<'r>, target: &str) -> Result<(), BadRequest> {
        let is_same_host = |other: &Authority<'_>| other.host() == authority.host();
        if let Some(text) = self.host.text()?
            && !is_same_host(&self.host.authority(text)?)
        {
            return Err(self.host.fault("names another host than what else describes the request"));
        }
        if self.uri.text()?.is_some_and(|text| text != target) {
            return Err(self.uri.fault("names another target than what else describes the request"));
        }
        if let Some(text) = self.url.text()? {
            let (host, path) = nginx::split(&self.url, text)?;
            if !is_same_host(&host) || path != target {
                return Err(self.url.fault("names another address than what else describes the request"));
            }
        }
        Ok(())
    }
}

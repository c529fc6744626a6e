//! Context of a request as the flows see it, whichever way it arrived: as an auth subrequest or over a direct route.
//!
//! Promises: scheme and prefix come from the configuration, never from a header.

use std::{fmt, net::IpAddr, sync::OnceLock};

use http::{HeaderMap, HeaderValue, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use url::Url;

use super::{
    compat::{AUTHENTIK_CALLBACK, AUTHENTIK_PREFIX, CompatSettings, OAUTH2_PROXY_PREFIX},
    endpoint_path::endpoint_path,
};
use crate::{
    cookie::{GateCookies, HostCookies, SiteScheme},
    crypto,
    edge::{self, AuthRequest, Edge, Intent, Namespace},
    host::Authority,
    policy::{Site, redirect::RedirectBase},
};

/// Bytes that are encoded in the last parameter of a query: those that would end it, and those that browsers and edges change. No
/// others, because the target of a sign-in may be nearly as long as a request line may be.
const IN_PARAMETER: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'&').add(b'\'').add(b'+').add(b'<').add(b'>');

/// Request at one of the protected hosts.
#[derive(Debug)]
pub(super) struct RequestContext<'r> {
    /// The requested host and port.
    pub(super) authority: Authority<'r>,
    /// The app there.
    pub(super) site: Site<'r>,
    /// The client's address, where it is known.
    pub(super) client: Option<IpAddr>,
    /// Use that the client is about to make of the answer.
    pub(super) intent: Intent,
    /// The method, where it is known.
    pub(super) method: Option<&'r str>,
    /// Path and query of the original request; of one of the gate's own endpoints over a direct route, its own.
    pub(super) target: &'r str,
    /// All headers.
    pub(super) headers: &'r HeaderMap,
    /// The way that the request arrived.
    pub(super) via: Via,
    /// The initiator, as far as the app is guarded against other sites.
    pub(super) initiator: Initiator,
    /// The request's id in the log.
    pub(super) id: &'r RequestId,
    /// `server.scheme` and `server.prefix`.
    pub(super) origin: &'r PublicOrigin,
}

/// Way that a request arrived, which decides what a browser would see of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Via {
    /// In an auth subrequest of this edge: any 2xx would let the original request through to the app.
    Subrequest(Edge),
    /// Over a direct route: the answer is the client's.
    Direct,
}

/// Initiator of a request, as far as its app is guarded against other sites (`cross_site`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Initiator {
    /// The app itself, a person or a program; or anybody, where no guard asks.
    Trusted,
    /// Another site, in somebody's name: no session lets it in.
    CrossSite,
}

/// The gate as browsers see it. Configuration, never a header.
#[derive(Clone, Debug)]
pub(super) struct PublicOrigin {
    /// `https` or `http`.
    pub(super) scheme: &'static str,
    /// The gate whose paths these are.
    pub(super) namespace: Namespace,
    /// The path below which the gate's own endpoints are; no slash at the end.
    pub(super) prefix: String,
    /// Every path below which endpoints are. Nobody is sent there after a sign-in.
    prefixes: Vec<String>,
    /// Path and query of the callback here.
    pub(super) callback: String,
    /// The prefix below which return targets are kept and sign-outs end: that of the callback at which sign-ins end.
    pub(super) callback_prefix: String,
}

/// The gate as browsers see it below each of its prefixes.
#[derive(Clone, Debug)]
pub(super) struct PublicOrigins {
    pub(super) own: PublicOrigin,
    authentik: PublicOrigin,
    oauth2_proxy: PublicOrigin,
    pub(super) compat: CompatSettings,
}

impl PublicOrigins {
    pub(super) fn new(transport: SiteScheme, prefix: String, compat: CompatSettings) -> Self {
        let at = |namespace, prefix| PublicOrigin { namespace, ..PublicOrigin::new(transport, prefix) };
        let own = at(Namespace::Own, prefix);
        let authentik = at(Namespace::Authentik, AUTHENTIK_PREFIX.to_owned());
        let authentik = PublicOrigin { callback: AUTHENTIK_CALLBACK.to_owned(), ..authentik };
        let oauth2_proxy = at(Namespace::OAuth2Proxy, OAUTH2_PROXY_PREFIX.to_owned());
        let mut origins = Self { own, authentik, oauth2_proxy, compat };
        let callback_prefix = origins.of(compat.registered).prefix.clone();
        let others = [(compat.authentik, AUTHENTIK_PREFIX), (compat.oauth2_proxy, OAUTH2_PROXY_PREFIX)];
        let others = others.into_iter().filter(|(is_on, _)| *is_on).map(|(_, prefix)| prefix.to_owned());
        let prefixes: Vec<_> = std::iter::once(origins.own.prefix.clone()).chain(others).collect();
        for origin in [&mut origins.own, &mut origins.authentik, &mut origins.oauth2_proxy] {
            origin.callback_prefix.clone_from(&callback_prefix);
            origin.prefixes.clone_from(&prefixes);
        }
        origins
    }

    /// Returns the origin below the prefix by which a request came.
    pub(super) fn of(&self, namespace: Namespace) -> &PublicOrigin {
        match namespace {
            Namespace::Own => &self.own,
            Namespace::Authentik => &self.authentik,
            Namespace::OAuth2Proxy => &self.oauth2_proxy,
        }
    }

    /// Returns the endpoint that an original request is for, with the paths among which it is.
    pub(super) fn endpoint<'r>(&self, request: &AuthRequest<'r>) -> Option<(Namespace, &'r str)> {
        let path = request.path();
        if let Some(endpoint) = endpoint_path(&self.own.prefix, path) {
            return Some((Namespace::Own, endpoint));
        }
        // Off at most gates, where the query of no request has to be found.
        if self.compat == CompatSettings::default() {
            return None;
        }
        self.compat.endpoint(path, request.query().unwrap_or_default())
    }

    /// Returns the path and query of the callback at which sign-ins end: the one that is registered already.
    pub(super) fn registered_callback(&self) -> &str {
        &self.of(self.compat.registered).callback
    }
}

impl PublicOrigin {
    /// Origin of `server.scheme` and `server.prefix`.
    pub(super) fn new(transport: SiteScheme, prefix: String) -> Self {
        let scheme = match transport {
            SiteScheme::Https => "https",
            SiteScheme::Http => "http",
        };
        let (callback, callback_prefix) = (format!("{prefix}/callback"), prefix.clone());
        let prefixes = vec![prefix.clone()];
        Self { scheme, namespace: Namespace::Own, prefix, prefixes, callback, callback_prefix }
    }
}

impl RequestContext<'_> {
    /// Returns the base against which redirect targets are checked.
    pub(super) fn redirect_base(&self) -> RedirectBase<'_> {
        RedirectBase { scheme: self.origin.scheme, authority: &self.authority, prefixes: &self.origin.prefixes }
    }

    /// Returns the gate's cookies at the requested host, for the app there.
    pub(super) fn cookies<'a>(&'a self, jar: &'a GateCookies) -> HostCookies<'a> {
        jar.at(self.authority.host(), self.site.app.provider)
    }

    /// Returns the absolute URL of one of the gate's own endpoints on the requested host.
    pub(super) fn endpoint_url(&self, path: &str) -> String {
        format!("{}://{}{}{path}", self.origin.scheme, self.authority, self.origin.prefix)
    }

    /// Returns the absolute URL at which a sign-out at the provider ends: the one that is registered there.
    pub(super) fn signed_out_url(&self) -> String {
        format!("{}://{}{}/signed_out", self.origin.scheme, self.authority, self.origin.callback_prefix)
    }

    /// Returns the `redirect_uri` of the callback by which the request came.
    pub(super) fn redirect_uri(&self) -> String {
        self.redirect_uri_at(&self.origin.callback)
    }

    /// Returns the `redirect_uri` with this path and query.
    pub(super) fn redirect_uri_at(&self, callback: &str) -> String {
        format!("{}://{}{callback}", self.origin.scheme, self.authority)
    }

    /// Returns the absolute URL that begins a sign-in and ends at `target`.
    pub(super) fn sign_in_url(&self, target: &str) -> String {
        self.with_rd("/start", target)
    }

    /// Returns the absolute URL of a kept return target that falls back to `target`.
    pub(super) fn kept_url(&self, path: &str, target: &str) -> String {
        self.url_with_rd(&format!("{}{path}", self.origin.callback_prefix), target)
    }

    /// Returns the absolute URL of one of the gate's own endpoints that redirects to `target`.
    pub(super) fn with_rd(&self, path: &str, target: &str) -> String {
        self.url_with_rd(&format!("{}{path}", self.origin.prefix), target)
    }

    /// Returns an absolute URL on the requested host that is told to lead on to `target`.
    pub(super) fn url_with_rd(&self, path: &str, target: &str) -> String {
        // `rd` takes no backslash: it could be anybody's.
        let target = target.replace('\\', "%5C");
        let mut target = utf8_percent_encode(&target, IN_PARAMETER).to_string();
        if self.origin.namespace != Namespace::Own {
            // There a value that begins like an address is one that an edge has not encoded.
            target = target.replacen(':', "%3A", 1);
        }
        format!("{}://{}{path}?rd={target}", self.origin.scheme, self.authority)
    }

    /// Returns the edge whose question came without any cookies.
    pub(super) fn edge_without_cookies(&self) -> Option<Edge> {
        match self.via {
            Via::Subrequest(Edge::Proxy) => None,
            Via::Subrequest(edge) if !self.headers.contains_key(header::COOKIE) => Some(edge),
            Via::Subrequest(_) | Via::Direct => None,
        }
    }

    /// Returns `true` if another origin may have made this request (CSRF), so that the person has to confirm it.
    ///
    /// Trusted are only the values of `Sec-Fetch-Site` for the own origin and for the person's own doing; without that header,
    /// `Origin` and `Referer` that name no other origin. A sibling below the same domain is another origin.
    pub(super) fn is_cross_origin(&self) -> bool {
        let mut sites = self.headers.get_all("sec-fetch-site").iter().peekable();
        if sites.peek().is_some() {
            return !sites.all(|site| site == "same-origin" || site == "none");
        }
        let own = Url::parse(&self.endpoint_url("")).map(|own| own.origin());
        let is_own = |named: &HeaderValue| {
            let named = named.to_str().ok().and_then(|text| Url::parse(text).ok());
            // `null` is no URL, and an opaque origin does not even equal itself.
            named.is_some_and(|named| own.as_ref().is_ok_and(|own| *own == named.origin()))
        };
        let named = [header::ORIGIN, header::REFERER].map(|name| self.headers.get_all(name));
        !named.into_iter().flatten().all(is_own)
    }

    /// Returns the client's address as text, for the log.
    pub(super) fn client_text(&self) -> Option<String> {
        self.client.map(|address| address.to_string())
    }

    /// Returns `true` if a person opens this page in a tab: neither a frame nor a prefetch.
    pub(super) fn is_opened_by_a_person(&self) -> bool {
        let destination = self.headers.get("sec-fetch-dest");
        self.intent == Intent::Page && !self.is_prefetch() && destination.is_none_or(|place| place == "document")
    }

    fn is_prefetch(&self) -> bool {
        is_prefetch(self.headers)
    }

    /// Returns `true` if a script, an image or a prefetch made this request, and no person waits for a page.
    ///
    /// A client that sends none of these headers is taken for a person: the gate's own endpoints are not requested by chance.
    pub(super) fn is_background_fetch(&self) -> bool {
        let by_a_person = self.is_unspecific() || self.is_form_of_older_browser();
        self.is_prefetch() || (self.intent == Intent::Fetch && !by_a_person)
    }

    /// Returns `true` for a form that is sent by a browser without `Sec-Fetch-Mode`. Scripts cannot send a request that accepts
    /// HTML without a CORS preflight or a header that gives them away.
    fn is_form_of_older_browser(&self) -> bool {
        let accepted = self.headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
        let shows_pages = accepted.flat_map(|line| line.split([',', ';'])).any(|media| media.trim() == "text/html");
        self.method == Some("POST") && shows_pages && !self.has_fetch_headers()
    }

    fn is_unspecific(&self) -> bool {
        let accepted = self.headers.get(header::ACCEPT);
        accepted.is_none_or(|media| media == "*/*") && !self.has_fetch_headers()
    }

    fn has_fetch_headers(&self) -> bool {
        ["sec-fetch-mode", "x-requested-with", "upgrade"].iter().any(|name| self.headers.contains_key(*name))
    }
}

/// Returns `true` if a person opens a page, or sends a form, by the headers alone.
pub(super) fn is_page_of_a_person(headers: &HeaderMap) -> bool {
    edge::intent(None, headers) == Intent::Page && !is_prefetch(headers)
}

fn is_prefetch(headers: &HeaderMap) -> bool {
    ["sec-purpose", "purpose"].iter().any(|name| headers.contains_key(*name))
}

/// Id of a request in the log and in `Doorward-Request-Id`: 16 hexadecimal digits, made when they are first needed.
#[derive(Debug, Default)]
pub(super) struct RequestId(OnceLock<String>);

impl RequestId {
    /// Returns the id as text.
    pub(super) fn as_str(&self) -> &str {
        self.0.get_or_init(|| format!("{:016x}", u64::from_be_bytes(crypto::random())))
    }

    /// Takes the id of the log line that this request is counted in, unless it has one already, which may have been quoted.
    pub(super) fn adopt(&self, line: String) {
        let _has_its_own = self.0.set(line);
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

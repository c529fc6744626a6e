//! A request as the flows see it, whichever way it arrived: through an edge's question or over a direct route.

use std::{fmt, net::IpAddr, sync::OnceLock};

use http::{HeaderMap, HeaderValue, header};
use url::Url;

use crate::{
    crypto,
    edge::Intent,
    host::Authority,
    policy::{Site, redirect::Here},
};

/// Someone at one of the protected hosts.
#[derive(Debug)]
pub(super) struct RequestContext<'r> {
    /// The host that was asked, and its port.
    pub(super) authority: Authority<'r>,
    /// The app there.
    pub(super) site: Site<'r>,
    /// The client's address, where an edge tells it or it is the peer's own.
    pub(super) client: Option<IpAddr>,
    /// What the client is about to do with the answer.
    pub(super) intent: Intent,
    /// The method, where known.
    pub(super) method: Option<&'r str>,
    /// All headers, for the cookies.
    pub(super) headers: &'r HeaderMap,
    /// How the request got here.
    pub(super) arrival: Via,
    /// What the log calls this request.
    pub(super) id: &'r RequestId,
    /// `server.scheme` and `server.prefix`.
    pub(super) outside: &'r PublicOrigin,
}

/// How a request got here, which decides what a browser would see of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Via {
    /// Inside an edge's question: any 2xx would let the request through to the app.
    Subrequest,
    /// Over a route of its own: the answer is the client's.
    Direct,
}

/// How the world outside sees the gate. Configuration, never a header.
#[derive(Clone, Debug)]
pub(super) struct PublicOrigin {
    /// `https` or `http`.
    pub(super) scheme: &'static str,
    /// Where the gate's own pages are; no slash at the end.
    pub(super) prefix: String,
}

impl RequestContext<'_> {
    /// Where redirects start from.
    pub(super) fn here(&self) -> Here<'_> {
        Here { scheme: self.outside.scheme, authority: &self.authority, prefix: &self.outside.prefix }
    }

    /// The absolute address of one of the gate's own pages on the asked host.
    pub(super) fn own(&self, page: &str) -> String {
        format!("{}://{}{}{page}", self.outside.scheme, self.authority, self.outside.prefix)
    }

    /// The absolute address that begins a sign-in and ends at `target`.
    pub(super) fn sign_in_to(&self, target: &str) -> String {
        let rd: String = url::form_urlencoded::byte_serialize(target.as_bytes()).collect();
        format!("{}?rd={rd}", self.own("/start"))
    }

    /// Whether another origin may have made this request, so that a person has to be asked: anything but what the browser
    /// calls its own origin's or the person's own doing (`Sec-Fetch-Site`); without that header, whatever names another origin.
    /// A sibling below the same domain is another.
    pub(super) fn is_foreign(&self) -> bool {
        let mut sites = self.headers.get_all("sec-fetch-site").iter().peekable();
        if sites.peek().is_some() {
            return !sites.all(|site| site == "same-origin" || site == "none");
        }
        let own = Url::parse(&self.own("")).map(|own| own.origin());
        let is_own = |named: &HeaderValue| {
            let named = named.to_str().ok().and_then(|text| Url::parse(text).ok());
            // `null` is no address, and an opaque origin is not even its own.
            named.is_some_and(|named| own.as_ref().is_ok_and(|own| *own == named.origin()))
        };
        let named = [header::ORIGIN, header::REFERER].map(|name| self.headers.get_all(name));
        !named.into_iter().flatten().all(is_own)
    }

    /// The client's address for a line of the log.
    pub(super) fn client_text(&self) -> Option<String> {
        self.client.map(|address| address.to_string())
    }

    /// Whether a script, an image or the browser's own foresight made this request, and no person waits for a page. A
    /// client that says nothing about itself is given the benefit of the doubt: nobody comes to our own pages by chance.
    pub(super) fn is_in_the_background(&self) -> bool {
        let is_ahead_of_time = ["sec-purpose", "purpose"].iter().any(|name| self.headers.contains_key(*name));
        let by_a_person = self.says_nothing_about_itself() || self.is_a_form_of_an_older_browser();
        is_ahead_of_time || (self.intent == Intent::Fetch && !by_a_person)
    }

    /// A form that is sent by a browser without `Sec-Fetch-Mode`: scripts cannot send one that says that it shows pages
    /// without being asked by CORS first, or say that they are scripts.
    fn is_a_form_of_an_older_browser(&self) -> bool {
        let accepted = self.headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
        let shows_pages = accepted.flat_map(|line| line.split([',', ';'])).any(|media| media.trim() == "text/html");
        let says = ["sec-fetch-mode", "x-requested-with", "upgrade"];
        self.method == Some("POST") && shows_pages && !says.iter().any(|name| self.headers.contains_key(*name))
    }

    fn says_nothing_about_itself(&self) -> bool {
        let says = ["sec-fetch-mode", "x-requested-with", "upgrade"];
        let accepted = self.headers.get(header::ACCEPT);
        accepted.is_none_or(|media| media == "*/*") && !says.iter().any(|name| self.headers.contains_key(*name))
    }
}

/// What the log and `Doorward-Request-Id` call a request: 16 hexadecimal digits, made when they are needed first.
#[derive(Debug, Default)]
pub(super) struct RequestId(OnceLock<String>);

impl RequestId {
    /// The id as text.
    pub(super) fn as_str(&self) -> &str {
        self.0.get_or_init(|| format!("{:016x}", u64::from_be_bytes(crypto::random())))
    }
}

impl RequestId {
    /// Takes the id of the line that this request is counted in, unless it has one that somebody may have been told.
    pub(super) fn adopt(&self, line: String) {
        let _has_its_own = self.0.set(line);
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

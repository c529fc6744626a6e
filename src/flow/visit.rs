//! A request as the flows see it, whichever way it arrived: through an edge's question or over a direct route.

use std::{fmt, sync::OnceLock};

use http::{HeaderMap, header};

use crate::{
    crypto,
    edge::Intent,
    host::Authority,
    policy::{Site, redirect::Here},
};

/// Someone at one of the protected hosts.
#[derive(Debug)]
pub(super) struct Visit<'r> {
    /// The host that was asked, and its port.
    pub(super) authority: Authority<'r>,
    /// The app there.
    pub(super) site: Site<'r>,
    /// What the client is about to do with the answer.
    pub(super) intent: Intent,
    /// The method, where known.
    pub(super) method: Option<&'r str>,
    /// All headers, for the cookies.
    pub(super) headers: &'r HeaderMap,
    /// How the request got here.
    pub(super) arrival: Arrival,
    /// What the log calls this request.
    pub(super) id: &'r RequestId,
    /// `server.scheme` and `server.prefix`.
    pub(super) outside: &'r Outside,
}

/// How a request got here, which decides what a browser would see of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Inside an edge's question: any 2xx would let the request through to the app (contract C8).
    Question,
    /// Over a route of its own: the answer is the client's.
    Direct,
}

/// How the world outside sees the gate. Configuration, never a header.
#[derive(Clone, Debug)]
pub(super) struct Outside {
    /// `https` or `http`.
    pub(super) scheme: &'static str,
    /// Where the gate's own pages are; no slash at the end.
    pub(super) prefix: String,
}

impl Visit<'_> {
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

    /// Whether the browser says that another site made this request.
    pub(super) fn is_cross_site(&self) -> bool {
        self.headers.get_all("sec-fetch-site").iter().any(|site| site == "cross-site")
    }

    /// Whether a script, an image or the browser's own foresight made this request, and no person waits for a page. A
    /// client that says nothing about itself is given the benefit of the doubt: nobody comes to our own pages by chance.
    pub(super) fn is_in_the_background(&self) -> bool {
        let is_ahead_of_time = ["sec-purpose", "purpose"].iter().any(|name| self.headers.contains_key(*name));
        is_ahead_of_time || (self.intent == Intent::Fetch && !self.says_nothing_about_itself())
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

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

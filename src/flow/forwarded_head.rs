//! Head of a request that an app gets in reverse-proxy mode, and of the response that its client gets.
//!
//! Promises: nothing that belongs to one connection passes to the other (RFC 9110, section 7.6.1); nobody but the gate tells an app
//! who somebody is, which host and scheme they use and where they come from, in any spelling; everything else passes unchanged, in
//! its order.
//!
//! | file | responsibility |
//! |---|---|
//! | `reserved` | who may say which header |
//! | `connection` | `Connection` and what it names; upgrades; `TE` |
//! | `response` | the head of an app's response |
//! | `trailers` | the fields behind a body |

mod connection;
mod reserved;
mod response;
#[cfg(test)]
mod tests;
mod trailers;

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Version, header, request::Parts};

pub(super) use self::response::RelayedHead;
pub use self::trailers::TrailerFilter;
use self::{
    connection::{ConnectionHeaders, is_chunked_alone, reads_trailers},
    reserved::{Sayer, is_usual_spelling},
};
use crate::{
    cookie::GateCookies,
    host::{Authority, default_port},
    policy::headers::{DOORWARD_EMERGENCY, is_spelling_of},
    upstream,
};

/// Longest `Cookie` header that is passed on: as long as a request's header may be.
const MAX_COOKIES: usize = 128 << 10;

/// Name of the gate in `Via` (RFC 9110, section 7.6.3).
const PSEUDONYM: &str = "doorward";

/// Most passages through a gate: one gate may stand before another, but a request that goes on and on leads in a circle.
const MAX_PASSAGES: usize = 4;

/// What the gate says of a request in its own words.
#[derive(Clone, Copy)]
pub(super) struct ForwardedHead<'a> {
    /// `server.scheme`.
    pub(super) scheme: &'static str,
    /// The host that the request was judged for.
    pub(super) authority: &'a Authority<'a>,
    /// The other end of the connection.
    pub(super) peer: Peer,
    /// The client, where known.
    pub(super) client: Option<IpAddr>,
    /// The reader of the request's `Authorization`.
    pub(super) authorization: AuthorizationReader,
    /// `tokens.header`, where service tokens are read.
    pub(super) service_token: Option<&'a HeaderName>,
    /// The protocol to switch to, where the gate would tunnel it.
    pub(super) upgrade: Option<&'a HeaderValue>,
    pub(super) jar: &'a GateCookies,
}

/// Other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// A client, which speaks for itself.
    Client(IpAddr),
    /// A trusted proxy, which speaks for its clients.
    Proxy(IpAddr),
}

/// Reader of `Authorization`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AuthorizationReader {
    /// The app.
    App,
    /// The gate: the credential let the request in, and was meant for it.
    Gate,
}

impl ForwardedHead<'_> {
    /// Returns the headers for the app: the client's, with the identity headers of its admission.
    pub(super) fn request(&self, sent: &Parts, identity: &HeaderMap) -> Result<HeaderMap, upstream::Error> {
        let unusable = |what: String| upstream::Error::Request(format!("has {what}, which cannot be passed on"));
        if is_chunked_alone(&sent.headers) == Some(false) {
            return Err(unusable("a transfer coding other than chunked".to_owned()));
        }
        let of_connection = ConnectionHeaders::of_request(&sent.headers, identity)
            .map_err(|name| unusable(format!("the header {name:?} named in Connection")))?;
        let mut headers = HeaderMap::with_capacity(sent.headers.len() + identity.len() + 8);
        let is_passed = |name: &HeaderName| self.is_passed(name, identity) && !of_connection.name(name);
        for (name, value) in sent.headers.iter().filter(|(name, _)| is_passed(name)) {
            headers.append(name.clone(), value.clone());
        }
        let cookies = self.jar.forwarded(&sent.headers, MAX_COOKIES).ok_or_else(|| unusable("cookies".to_owned()))?;
        if !cookies.is_empty() {
            headers.insert(header::COOKIE, cookies);
        }
        self.describe(sent, &mut headers).ok_or_else(|| unusable("a host".to_owned()))?;
        headers.insert(header::VIA, via(sent)?);
        self.keep_connection_options(sent, &mut headers);
        for (name, value) in identity.iter().filter(|(name, value)| self.is_told(name, value)) {
            headers.insert(name.clone(), value.clone());
        }
        Ok(headers)
    }

    /// Returns `true` for a header of the client's that the app gets, unless `Connection` names it.
    fn is_passed(&self, name: &HeaderName, identity: &HeaderMap) -> bool {
        let is_consumed = name == header::AUTHORIZATION && self.reads_authorization(identity);
        let is_believed = match Sayer::of(name.as_str()) {
            Sayer::Client => true,
            Sayer::Proxy => matches!(self.peer, Peer::Proxy(_)) && is_usual_spelling(name.as_str()),
            Sayer::Gate | Sayer::Connection => false,
        };
        is_believed && !is_consumed && !is_named_like_any(name, identity)
    }

    /// Returns `true` if `Authorization` let the request in.
    fn reads_authorization(&self, identity: &HeaderMap) -> bool {
        self.authorization == AuthorizationReader::Gate
            || identity.get(&DOORWARD_EMERGENCY).is_some_and(|value| !value.is_empty())
    }

    /// Returns `true` for a header of an admission that is for the app. The rest is for edges: the length of the answer, and what takes
    /// the place of a client's header.
    fn is_told(&self, name: &HeaderName, value: &HeaderValue) -> bool {
        let is_for_edges = [header::CONTENT_LENGTH, header::COOKIE].contains(name);
        let is_removal = value.is_empty() && (self.service_token == Some(name) || *name == DOORWARD_EMERGENCY);
        !is_for_edges && !is_removal && Sayer::of(name.as_str()) != Sayer::Connection
    }

    /// Says host, scheme and client.
    fn describe(&self, sent: &Parts, headers: &mut HeaderMap) -> Option<()> {
        let host = host_line(sent)?;
        let port = self.authority.port().or_else(|| default_port(self.scheme))?;
        headers.insert(header::HOST, host.clone());
        headers.insert("x-forwarded-host", host);
        headers.insert("x-forwarded-port", port.into());
        headers.insert("x-forwarded-proto", HeaderValue::from_static(self.scheme));
        headers.insert("x-forwarded-for", self.hops(sent)?);
        if let Some(client) = self.client {
            headers.insert("x-real-ip", HeaderValue::from_str(&client.to_string()).ok()?);
        }
        Some(())
    }

    /// Returns `X-Forwarded-For`: the peer, behind what it says where it is trusted.
    fn hops(&self, sent: &Parts) -> Option<HeaderValue> {
        let (peer, told) = match self.peer {
            Peer::Client(address) => (address, None),
            Peer::Proxy(address) => (address, Some(sent.headers.get_all("x-forwarded-for"))),
        };
        let peer = peer.to_canonical().to_string();
        let told = told.into_iter().flatten().filter_map(|line| line.to_str().ok()).filter(|line| !line.is_empty());
        let hops: Vec<_> = told.chain([peer.as_str()]).collect();
        HeaderValue::from_str(&hops.join(", ")).ok()
    }

    /// Says again which options of the client's connection are meant for the app: an upgrade that the gate tunnels, and trailers.
    fn keep_connection_options(&self, sent: &Parts, headers: &mut HeaderMap) {
        let trailers = reads_trailers(&sent.headers);
        if trailers {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        if let Some(protocol) = self.upgrade {
            headers.insert(header::UPGRADE, protocol.clone());
        }
        let options = match (self.upgrade.is_some(), trailers) {
            (true, true) => "upgrade, te",
            (true, false) => "upgrade",
            (false, true) => "te",
            (false, false) => return,
        };
        headers.insert(header::CONNECTION, HeaderValue::from_static(options));
    }
}

/// Returns `true` for a name that an app could take for one of the headers that it gets.
fn is_named_like_any(name: &HeaderName, identity: &HeaderMap) -> bool {
    identity.keys().any(|own| is_spelling_of(name.as_str(), own.as_str()))
}

/// Returns the host as the client wrote it, with its port: that of the target, or `Host`, which is the same (RFC 9112, section 3.2.2).
fn host_line(sent: &Parts) -> Option<HeaderValue> {
    match sent.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => sent.headers.get(header::HOST).cloned(),
    }
}

/// Returns `Via` with the gate at its end. It passes from everybody: it names hops of the protocol, and no app decides by it.
fn via(sent: &Parts) -> Result<HeaderValue, upstream::Error> {
    let protocol = match sent.version {
        Version::HTTP_2 => "2.0",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    };
    let told = sent.headers.get_all(header::VIA).iter().filter_map(|line| line.to_str().ok());
    let told: Vec<_> = told.flat_map(|line| line.split(',')).map(str::trim).filter(|hop| !hop.is_empty()).collect();
    if told.iter().filter(|hop| hop.ends_with(PSEUDONYM)).count() >= MAX_PASSAGES {
        let problem =
            "the request has passed through the gate several times: the app's `upstream` leads back to the gate";
        return Err(upstream::Error::Unavailable(problem.to_owned()));
    }
    let own = format!("{protocol} {PSEUDONYM}");
    let hops: Vec<_> = told.into_iter().chain([own.as_str()]).collect();
    HeaderValue::from_str(&hops.join(", "))
        .map_err(|_| upstream::Error::Request("has a Via that cannot be passed on".to_owned()))
}

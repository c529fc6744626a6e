//! Rules: the requests that they match, and the access that they grant.
//!
//! Promises: a rule that opens matches byte for byte; one that closes matches every reading of a path.

use std::net::IpAddr;

use http::HeaderValue;
use ipnet::IpNet;

use super::{
    allow::{Allow, Denial},
    pattern::{Applies, PathPattern},
    readings::Readings,
};
use crate::{clock::Timestamp, identity::PackedIdentity};

/// Rule of an app.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The paths that it matches.
    pub path: PathPattern,
    /// The methods that it matches; empty: any. No rule with methods opens a request whose method is unknown, and every one
    /// closes it.
    pub methods: Vec<String>,
    /// The client networks that it matches; empty: any. The same holds for a client that is unknown.
    pub networks: Vec<IpNet>,
    /// The access that it grants.
    pub access: RuleAccess,
    /// The treatment of requests of other sites; `None`: the app's.
    pub cross_site: Option<CrossSite>,
    /// `Cache-Control` of the app's answers, where the gate passes requests on; `None`: the app's own.
    pub cache_control: Option<HeaderValue>,
}

/// Treatment of requests that change something or open a socket, come from another site, and would be let in by a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum CrossSite {
    /// They pass as any other.
    #[default]
    Allow,
    /// They are refused.
    Deny,
}

/// Access that a rule grants.
#[derive(Clone, Debug, PartialEq)]
pub enum RuleAccess {
    /// Open to everybody, with empty identity headers.
    Public,
    /// Open to everybody, with identity headers where there is a session.
    Optional,
    /// Open to people who are signed in.
    Authenticated,
    /// Closed to everybody.
    Deny,
    /// Open to these people.
    Allow(Allow),
    /// Open to API clients with a valid credential of these people.
    Bearer(Allow),
}

/// Attributes of a request that rules match.
#[derive(Clone, Copy, Debug)]
pub struct RequestAttributes<'r> {
    /// The raw path, still percent-encoded.
    pub path: &'r str,
    /// The method, where known.
    pub method: Option<&'r str>,
    /// The client, where known.
    pub client: Option<IpAddr>,
}

impl Rule {
    /// Returns `true` if the rule applies beyond doubt: byte for byte, by a method and a client that are known.
    pub(super) fn opens(&self, request: &RequestAttributes<'_>, readings: &Readings<'_>) -> bool {
        self.matches_method(request.method) == Applies::Surely
            && self.matches_client(request.client.as_ref()) == Applies::Surely
            && readings.only().is_some_and(|path| self.path.opens(path))
    }

    /// Returns how far the rule closes this request. `is_named` is `true` for paths that a rule of the app names exactly.
    pub(super) fn closes(
        &self,
        request: &RequestAttributes<'_>,
        readings: &Readings<'_>,
        is_named: impl Fn(&str) -> bool + Copy,
    ) -> Applies {
        let known = self.matches_method(request.method).min(self.matches_client(request.client.as_ref()));
        if known == Applies::No { known } else { known.min(self.path.closes(readings, is_named)) }
    }

    /// Matches the method; an unknown one may be any. Most servers answer HEAD like GET, so a rule that closes GET closes it too.
    fn matches_method(&self, method: Option<&str>) -> Applies {
        match method {
            _ if self.methods.is_empty() => Applies::Surely,
            None => Applies::Perhaps,
            Some(method) if self.methods.iter().any(|own| own == method) => Applies::Surely,
            Some("HEAD") if self.methods.iter().any(|own| own == "GET") => Applies::Perhaps,
            Some(_) => Applies::No,
        }
    }

    /// Matches the client; an unknown one may be in any network.
    fn matches_client(&self, client: Option<&IpAddr>) -> Applies {
        match client {
            _ if self.networks.is_empty() => Applies::Surely,
            None => Applies::Perhaps,
            Some(address) => Applies::when(self.covers_address(address)),
        }
    }

    // Inlined, the address would be made canonical even where there are no networks.
    #[inline(never)]
    fn covers_address(&self, address: &IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }
}

impl RuleAccess {
    /// Returns `true` if it lets in people who are not signed in.
    #[must_use]
    pub fn opens(&self) -> bool {
        matches!(self, Self::Public | Self::Optional)
    }

    /// Returns the set of people, where it has one.
    #[must_use]
    pub fn allow(&self) -> Option<&Allow> {
        match self {
            Self::Allow(people) | Self::Bearer(people) => Some(people),
            Self::Public | Self::Optional | Self::Authenticated | Self::Deny => None,
        }
    }

    /// Judges an identity.
    pub(super) fn judge(&self, identity: &PackedIdentity, now: Timestamp) -> Result<(), Denial<'_>> {
        match self {
            Self::Public | Self::Optional | Self::Authenticated => Ok(()),
            Self::Allow(people) | Self::Bearer(people) => people.judge(identity, now),
            Self::Deny => Err(Denial::Rule),
        }
    }
}

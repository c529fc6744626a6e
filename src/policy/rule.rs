//! Rules: the requests that they match, and the access that they grant.
//!
//! Promises: a rule that opens matches byte for byte; one that closes matches every reading of a path.

use std::net::IpAddr;

use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use regex::Regex;

use super::{
    allow::Allow,
    readings::{Readings, fold, is_format},
};
use crate::identity::PackedIdentity;

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
}

/// Paths that a rule matches. They are compared decoded, so it makes no difference how pattern and path are escaped.
/// A pattern such as `/a//b` never matches, because no unambiguous path looks like it ([`super::path::is_ambiguous`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPattern {
    /// Every path.
    Any,
    /// This path and no other.
    Exact(Pattern),
    /// Paths below this folder, which ends with a slash; where the rule closes, the folder without its slash as well.
    Prefix(Pattern),
    /// Paths that this expression matches from end to end.
    Regex(Expression),
}

/// Path of the configuration, ready to be compared with those of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    decoded: String,
    /// Without a slash at the end.
    folded: String,
}

/// Regular expression over whole decoded paths.
#[derive(Clone, Debug)]
pub struct Expression {
    exact: Regex,
    /// The same, case-insensitive.
    folded: Regex,
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
}

/// Cause of an identity not being let in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Denial<'p> {
    /// Not in this set of people.
    NotAllowed(&'p Allow),
    /// Denied to everybody by a rule.
    Rule,
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

/// Extent to which a rule applies to a request, over all readings of its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Applies {
    /// Under none of them.
    No,
    /// Under some.
    Perhaps,
    /// Under every one.
    Surely,
}

impl Applies {
    fn when(is_so: bool) -> Self {
        if is_so { Self::Surely } else { Self::No }
    }
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

    /// Returns `true` if the rule names this very path.
    pub(super) fn names(&self, served: &str) -> bool {
        matches!(&self.path, PathPattern::Exact(pattern) if pattern.decoded == served)
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

    /// Judges an identity.
    pub(super) fn judge(&self, identity: &PackedIdentity) -> Result<(), Denial<'_>> {
        match self {
            Self::Public | Self::Optional | Self::Authenticated => Ok(()),
            Self::Allow(people) if people.admits(identity) => Ok(()),
            Self::Allow(people) => Err(Denial::NotAllowed(people)),
            Self::Deny => Err(Denial::Rule),
        }
    }
}

impl PathPattern {
    /// This path and no other.
    #[must_use]
    pub fn exact(path: &str) -> Self {
        Self::Exact(Pattern::new(path))
    }

    /// Paths below this folder, which ends with a slash.
    #[must_use]
    pub fn prefix(folder: &str) -> Self {
        Self::Prefix(Pattern::new(folder))
    }

    /// Matches byte for byte.
    fn opens(&self, served: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(own) => served == own.decoded,
            Self::Prefix(folder) => served.starts_with(&folder.decoded),
            Self::Regex(expression) => expression.exact.is_match(served),
        }
    }

    /// Matches generously: under every reading as it is served, or under any, folded.
    fn closes(&self, readings: &Readings<'_>, is_named: impl Fn(&str) -> bool + Copy) -> Applies {
        if readings.served().iter().all(|served| self.opens(served) || self.is_folder_of(served)) {
            return Applies::Surely;
        }
        let is_close = match self {
            Self::Any => true,
            Self::Exact(own) | Self::Prefix(own) => {
                let is_below = |folded: &str| matches!(self, Self::Prefix(_)) && own.holds(folded);
                let is_named = || readings.only().is_some_and(is_named);
                readings.folded().iter().any(|folded| {
                    own.is_folded_to(folded) || is_below(folded) || own.is_formatted_as(folded) && !is_named()
                })
            }
            Self::Regex(expression) => {
                let mut all = readings.served().iter().chain(readings.folded());
                all.any(|path| expression.folded.is_match(path))
            }
        };
        if is_close { Applies::Perhaps } else { Applies::No }
    }

    /// Returns `true` if a path is the folder of a prefix, without its slash.
    fn is_folder_of(&self, served: &str) -> bool {
        matches!(self, Self::Prefix(folder) if folder.decoded.strip_suffix('/') == Some(served))
    }
}

impl Pattern {
    fn new(path: &str) -> Self {
        let decoded = percent_decode_str(path).decode_utf8_lossy().into_owned();
        let folded = fold(&decoded).trim_end_matches('/').to_owned();
        Self { decoded, folded }
    }

    /// The path, decoded.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.decoded
    }

    fn is_folded_to(&self, folded: &str) -> bool {
        self.folded == folded.strip_suffix('/').unwrap_or(folded)
    }

    /// Returns `true` for `/users.json`, where this is `/users`.
    fn is_formatted_as(&self, folded: &str) -> bool {
        !self.folded.is_empty() && folded.strip_prefix(&self.folded).is_some_and(is_format)
    }

    fn holds(&self, folded: &str) -> bool {
        folded.strip_prefix(&self.folded).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl Expression {
    /// Compiles an expression. It is anchored at both ends, so that `/a` is not found in `/admin/a`.
    pub fn new(text: &str) -> Result<Self, regex::Error> {
        // On its own first: `a)|(b` would be valid only inside the anchors.
        Regex::new(text)?;
        let exact = Regex::new(&format!("^(?:{text})$"))?;
        Ok(Self { exact, folded: Regex::new(&format!("(?i)^(?:{text})$"))? })
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.exact.as_str() == other.exact.as_str()
    }
}

impl Eq for Expression {}

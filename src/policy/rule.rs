//! Rules: which requests they are about and what they grant.

use std::net::IpAddr;

use ipnet::IpNet;
use regex::Regex;

use super::{Allow, Denial, path};
use crate::identity::Packed;

/// One rule of an app.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The paths that it is about.
    pub path: PathPattern,
    /// The methods that it is about; empty: any. A request whose method is unknown matches no rule with methods.
    pub methods: Vec<String>,
    /// The client networks that it is about; empty: any. A request whose client is unknown matches no rule with networks.
    pub networks: Vec<IpNet>,
    /// What it grants.
    pub access: Access,
}

/// The paths that a rule is about. They are compared decoded, so it makes no difference how pattern and path are escaped.
/// A pattern such as `/a//b` never matches, because no unambiguous path looks like it ([`path::is_ambiguous`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPattern {
    /// Every path.
    Any,
    /// This path and no other.
    Exact(String),
    /// This path, with its slash at the end or without, and what is below it; ends with a slash.
    Prefix(String),
    /// Paths that this expression matches from end to end.
    Regex(Expression),
}

/// A regular expression over whole decoded paths.
#[derive(Clone, Debug)]
pub struct Expression(Regex);

/// What a rule grants.
#[derive(Clone, Debug, PartialEq)]
pub enum Access {
    /// Everybody, with empty identity headers.
    Public,
    /// Everybody, with identity headers where there is a session.
    Optional,
    /// Whoever is signed in.
    Authenticated,
    /// Nobody.
    Deny,
    /// These people.
    Allow(Allow),
}

/// What a rule sees of a request.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'r> {
    /// The raw path, still percent-encoded.
    pub path: &'r str,
    /// The method, where known.
    pub method: Option<&'r str>,
    /// The client, where known.
    pub client: Option<IpAddr>,
}

impl Rule {
    /// Whether the rule is about this request, whose path is not ambiguous.
    pub(super) fn covers(&self, asked: &Asked<'_>) -> bool {
        self.covers_method(asked.method) && self.covers_client(asked.client.as_ref()) && self.path.covers(asked.path)
    }

    fn covers_method(&self, method: Option<&str>) -> bool {
        self.methods.is_empty() || method.is_some_and(|asked| self.methods.iter().any(|own| own == asked))
    }

    fn covers_client(&self, client: Option<&IpAddr>) -> bool {
        self.networks.is_empty() || client.is_some_and(|address| self.covers_address(address))
    }

    // Inlined, it would have the address made canonical before it is known that there are networks to hold it against.
    #[inline(never)]
    fn covers_address(&self, address: &IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }
}

impl Access {
    /// Judges somebody who is signed in.
    pub(super) fn judge(&self, who: &Packed) -> Result<(), Denial<'_>> {
        match self {
            Self::Public | Self::Optional | Self::Authenticated => Ok(()),
            Self::Allow(people) if people.admits(who) => Ok(()),
            Self::Allow(people) => Err(Denial::NotAllowed(people)),
            Self::Deny => Err(Denial::Rule),
        }
    }
}

impl PathPattern {
    fn covers(&self, asked: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(own) => path::same(asked, own),
            Self::Prefix(folder) => path::is_within(asked, folder),
            Self::Regex(expression) => expression.covers(asked),
        }
    }
}

impl Expression {
    /// Compiles an expression. It is anchored at both ends, so that `/a` is not found in `/admin/a`.
    pub fn new(text: &str) -> Result<Self, regex::Error> {
        // On its own first: `a)|(b` would only make sense inside the anchors.
        Regex::new(text)?;
        Regex::new(&format!("^(?:{text})$")).map(Self)
    }

    fn covers(&self, asked: &str) -> bool {
        percent_encoding::percent_decode_str(asked).decode_utf8().is_ok_and(|decoded| self.0.is_match(&decoded))
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Expression {}

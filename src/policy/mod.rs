//! Who may pass where: apps by host, rules by path, judged on every request.
//!
//! Pure and synchronous: a request and an identity in, a judgement out. It must not know sessions, cookies or edges.

pub mod headers;
pub mod path;
pub mod redirect;

use std::{collections::HashMap, net::IpAddr};

use ipnet::IpNet;

use crate::identity::Identity;

/// The apps and rules as configured and checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What happens on a host that no app names.
    pub default: DefaultAccess,
    /// The apps in their order.
    pub apps: Vec<App>,
}

/// What happens on a host that no app names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DefaultAccess {
    /// 403 for everybody.
    #[default]
    Deny,
    /// Whoever is signed in at the first provider.
    Authenticated,
}

/// One protected app.
#[derive(Clone, Debug)]
pub struct App {
    /// Its name in logs, metrics and pages.
    pub name: String,
    /// The hosts that it answers on.
    pub hosts: Vec<HostPattern>,
    /// The provider that its visitors sign in at, by place in the configuration.
    pub provider: usize,
    /// Who may use it, where no rule says otherwise.
    pub allow: Allow,
    /// First match wins, before `allow`.
    pub rules: Vec<Rule>,
    /// The identity headers that it receives.
    pub headers: headers::Plan,
}

/// A host, or every host below one. Folded as [`crate::host::Authority`] folds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This host.
    Exact(String),
    /// `*.` + this: any number of labels in front of it, at least one.
    Below(String),
}

/// A set of people. Any one match lets in; `Anyone` is whoever is signed in.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Allow {
    /// Whoever is signed in.
    #[default]
    Anyone,
    /// Whoever matches one of these.
    Some {
        /// Members of one of these groups.
        groups: Vec<String>,
        /// People by e-mail address (exactly one `@`, folded) or subject.
        users: Vec<String>,
        /// Claim path → accepted values, such as `department = ["ops"]`.
        claims: Vec<(String, Vec<String>)>,
    },
}

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

/// The paths that a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPattern {
    /// Every path.
    Any,
    /// This path and no other.
    Exact(String),
    /// This path and what is below it; ends with a slash.
    Prefix(String),
}

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

/// What a request needs before it may pass.
#[derive(Clone, Copy, Debug)]
pub enum Requirement<'p> {
    /// Nothing; identity headers are empty.
    Nothing,
    /// Nothing, and the identity is passed on where there is one.
    Optional,
    /// An identity that [`Test::judge`] lets in.
    Identity(Test<'p>),
    /// Nobody passes.
    Denied,
}

/// The test that an identity has to pass.
#[derive(Clone, Copy, Debug)]
pub struct Test<'p> {
    app: &'p App,
    rule: Option<&'p Rule>,
    every: bool,
}

/// Why an identity is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// Not among those who are allowed.
    NotAllowed,
    /// A rule denies it to everybody.
    Rule,
}

/// Which app a host belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Site<'p> {
    /// The app.
    pub app: &'p App,
    /// Its place in the configuration; `None` for a host that no app names and `access.default` covers.
    pub index: Option<usize>,
}

/// All apps, ready to be asked.
#[derive(Debug)]
pub struct Policy {
    apps: Vec<App>,
    fallback: Option<App>,
    exact: HashMap<String, usize>,
    below: HashMap<String, usize>,
}

impl Policy {
    /// Builds the look-up tables: constant cost however many hosts there are.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let _ = settings;
        Self { apps: Vec::new(), fallback: None, exact: HashMap::new(), below: HashMap::new() }
    }

    /// The app that answers on a folded host: the exact name first, then the longest wildcard.
    #[must_use]
    pub fn site(&self, host: &str) -> Option<Site<'_>> {
        let _ = (host, &self.apps, &self.fallback, &self.exact, &self.below);
        None
    }
}

impl App {
    /// What this request needs (contract C4: a path that two servers could read differently needs every rule).
    #[must_use]
    pub fn requirement(&self, asked: Asked<'_>) -> Requirement<'_> {
        let _ = asked;
        Requirement::Denied
    }
}

impl Test<'_> {
    /// Judges an identity.
    pub fn judge(&self, identity: &Identity) -> Result<(), Denial> {
        let _ = (identity, self.app, self.rule, self.every);
        Err(Denial::Rule)
    }
}

//! Access policy: apps by host, rules by path, judged on every request.
//!
//! Pure and synchronous: a request and an identity in, a judgement out. [`redirect`] guards against open redirects, [`headers`]
//! renders identity headers.

mod allow;
pub mod headers;
pub mod path;
mod readings;
pub mod redirect;
mod rule;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, time::Duration};

pub use self::{
    allow::{Allow, MissingGrant},
    rule::{Denial, Expression, PathPattern, Pattern, RequestAttributes, Rule, RuleAccess},
};
use self::{readings::Readings, rule::Applies};
use crate::identity::PackedIdentity;

/// Apps and rules as configured and checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Access to hosts that no app names.
    pub default: DefaultAccess,
    /// The budget of identity headers at these hosts; every app's plan has its own.
    pub header_budget: headers::HeaderBudget,
    /// The apps in their order.
    pub apps: Vec<App>,
}

/// Access to hosts that no app names (`access.default`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DefaultAccess {
    /// 403 for everybody.
    #[default]
    Deny,
    /// Access for people who are signed in at the first provider.
    Authenticated,
}

/// Protected app.
#[derive(Clone, Debug)]
pub struct App {
    /// Its name in logs, metrics and pages.
    pub name: String,
    /// The hosts that it answers on.
    pub hosts: Vec<HostPattern>,
    /// The provider at which its users sign in, by place in the configuration.
    pub provider: usize,
    /// The people who may use it, where no rule says otherwise.
    pub allow: Allow,
    /// The rules: the first match wins, before `allow`.
    pub rules: Vec<Rule>,
    /// The identity headers that it receives.
    pub headers: headers::HeaderPlan,
    /// Time after which a page takes the browser past the provider again; `None`: the session's.
    pub reauthorize: Option<Duration>,
}

/// Host, or every host below one. Folded as [`crate::host::Authority`] folds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This host.
    Exact(String),
    /// `*.` and this: at least one label in front of it.
    Below(String),
}

/// Requirement that a request has to meet before it may pass.
#[derive(Clone, Debug)]
pub enum Requirement<'p> {
    /// None; identity headers are empty.
    Public,
    /// None; identity headers are filled where there is a session.
    Optional,
    /// Identity that [`IdentityTest::judge`] lets in.
    Identity(IdentityTest<'p>),
    /// Unmeetable: nobody passes.
    Denied,
}

/// Test that an identity has to pass.
#[derive(Clone, Debug)]
pub struct IdentityTest<'p> {
    app: &'p App,
    condition: IdentityCondition<'p>,
}

/// Condition of a test.
#[derive(Clone, Debug)]
enum IdentityCondition<'p> {
    /// In the app's `allow`.
    Allow,
    /// Let in by this rule.
    Rule(&'p Rule),
    /// Let in by each of these rules.
    Rules(Vec<&'p Rule>),
    /// Let in by each of these rules, and in the app's `allow`.
    RulesAndAllow(Vec<&'p Rule>),
    /// Let in by every rule of the app, as if each matched, and in the app's `allow`.
    Every,
}

/// App of a host.
#[derive(Clone, Copy, Debug)]
pub struct Site<'p> {
    /// The app.
    pub app: &'p App,
    /// Its place in the configuration; `None` for a host that no app names and `access.default` covers.
    pub index: Option<usize>,
}

/// Apps by host. Only the configuration puts names in, so clients cannot choose colliding ones, and a hash that withstands that
/// would be the most expensive part of a look-up.
type Hosts = HashMap<String, usize, foldhash::fast::RandomState>;

/// All apps, indexed by host.
#[derive(Debug)]
pub struct Policy {
    apps: Vec<App>,
    fallback: Option<App>,
    exact: Hosts,
    below: Hosts,
}

impl Policy {
    /// Builds the indexes, so that a request costs the same however many hosts there are. Where two apps name the same host the
    /// first has it; validation of the configuration rejects the second.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let Settings { default, header_budget, apps } = settings;
        let fallback = match default {
            DefaultAccess::Deny => None,
            DefaultAccess::Authenticated => Some(App::unnamed(header_budget)),
        };
        let (mut exact, mut below) = (Hosts::default(), Hosts::default());
        for (index, app) in apps.iter().enumerate() {
            for pattern in &app.hosts {
                let (table, host) = match pattern {
                    HostPattern::Exact(host) => (&mut exact, host),
                    HostPattern::Below(host) => (&mut below, host),
                };
                table.entry(host.clone()).or_insert(index);
            }
        }
        Self { apps, fallback, exact, below }
    }

    /// Returns the app of a folded host: the exact name first, then the longest wildcard.
    #[must_use]
    pub fn site(&self, host: &str) -> Option<Site<'_>> {
        let named = self.exact.get(host).or_else(|| parents(host).find_map(|parent| self.below.get(parent)));
        match named {
            Some(&index) => self.apps.get(index).map(|app| Site { app, index: Some(index) }),
            None => self.fallback.as_ref().map(|app| Site { app, index: None }),
        }
    }

    /// Fills the JWKS URL of a provider into the headers of its apps, and returns the names of those that have no room for it.
    pub fn set_jwks_url(&self, provider: usize, url: &str) -> Vec<&str> {
        let apps = self.apps.iter().filter(|app| app.provider == provider);
        apps.filter(|app| !app.headers.set_jwks_url(url)).map(|app| app.name.as_str()).collect()
    }

    /// Returns `true` if an app names this folded host. `access.default` names none.
    #[must_use]
    pub fn names(&self, host: &str) -> bool {
        self.site(host).is_some_and(|site| site.index.is_some())
    }
}

/// Parent domains: `b.c.d`, `c.d` and `d` for `a.b.c.d`.
fn parents(host: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(host.split_once('.'), |(_, parent)| parent.split_once('.')).map(|(_, parent)| parent)
}

impl App {
    /// App of all hosts that no app names, where `access.default` lets people in.
    fn unnamed(budget: headers::HeaderBudget) -> Self {
        let name = "default";
        let limits = headers::PlanLimits { app: name, budget, named_groups: Vec::new() };
        Self {
            name: name.to_owned(),
            hosts: Vec::new(),
            provider: 0,
            allow: Allow::Anyone,
            rules: Vec::new(),
            headers: headers::default_plan().limited(limits),
            reauthorize: None,
        }
    }

    /// Returns `true` if a rule depends on the client's address.
    #[must_use]
    pub fn reads_client(&self) -> bool {
        self.rules.iter().any(|rule| !rule.networks.is_empty())
    }

    /// Returns `true` if its `allow`, or that of one of its rules, names groups.
    #[must_use]
    pub fn names_groups(&self) -> bool {
        let of_rule = |rule: &Rule| matches!(&rule.access, RuleAccess::Allow(allow) if !allow.groups().is_empty());
        !self.allow.groups().is_empty() || self.rules.iter().any(of_rule)
    }

    /// Returns the requirement of a request under every reading of its path.
    ///
    /// A rule that opens applies only where it matches beyond doubt; one that closes applies wherever a server, a file system or
    /// a router could take the request for one that the rule is about.
    #[must_use]
    pub fn requirement(&self, request: RequestAttributes<'_>) -> Requirement<'_> {
        if self.rules.is_empty() {
            return self.test(IdentityCondition::Allow);
        }
        let Some(readings) = Readings::of(request.path) else {
            return self.strictest();
        };
        let is_named = |path: &str| self.rules.iter().any(|rule| rule.names(path));
        let mut closing = Vec::new();
        for rule in &self.rules {
            if rule.access.opens() {
                if rule.opens(&request, &readings) {
                    return self.opened(rule, closing);
                }
                continue;
            }
            match rule.closes(&request, &readings, is_named) {
                Applies::No => {}
                _ if rule.access == RuleAccess::Deny => return Requirement::Denied,
                Applies::Perhaps => closing.push(rule),
                Applies::Surely if closing.is_empty() => return self.test(IdentityCondition::Rule(rule)),
                Applies::Surely => {
                    closing.push(rule);
                    return self.test(IdentityCondition::Rules(closing));
                }
            }
        }
        self.test(if closing.is_empty() { IdentityCondition::Allow } else { IdentityCondition::RulesAndAllow(closing) })
    }

    /// Requirement where a rule opens, and rules before it may close.
    fn opened<'p>(&'p self, rule: &'p Rule, closing: Vec<&'p Rule>) -> Requirement<'p> {
        match rule.access {
            _ if !closing.is_empty() => self.test(IdentityCondition::Rules(closing)),
            RuleAccess::Optional => Requirement::Optional,
            _ => Requirement::Public,
        }
    }

    /// Requirement of a path whose readings are unknown: any rule could be the one that the app means, whatever its methods and
    /// networks.
    fn strictest(&self) -> Requirement<'_> {
        if self.rules.iter().any(|rule| rule.access == RuleAccess::Deny) {
            return Requirement::Denied;
        }
        self.test(IdentityCondition::Every)
    }

    fn test<'p>(&'p self, condition: IdentityCondition<'p>) -> Requirement<'p> {
        Requirement::Identity(IdentityTest { app: self, condition })
    }
}

impl<'p> IdentityTest<'p> {
    /// Judges an identity.
    pub fn judge(&self, identity: &PackedIdentity) -> Result<(), Denial<'p>> {
        match &self.condition {
            IdentityCondition::Allow => self.allow(identity),
            IdentityCondition::Rule(rule) => rule.access.judge(identity),
            IdentityCondition::Rules(rules) => rules.iter().try_for_each(|rule| rule.access.judge(identity)),
            IdentityCondition::RulesAndAllow(rules) => {
                self.allow(identity)?;
                rules.iter().try_for_each(|rule| rule.access.judge(identity))
            }
            IdentityCondition::Every => {
                self.allow(identity)?;
                self.app.rules.iter().try_for_each(|rule| rule.access.judge(identity))
            }
        }
    }

    fn allow(&self, identity: &PackedIdentity) -> Result<(), Denial<'p>> {
        if self.app.allow.admits(identity) { Ok(()) } else { Err(Denial::NotAllowed(&self.app.allow)) }
    }
}

//! Apps, and what a request at one of them requires.
//!
//! Promises: a request passes only if it would pass under every reading of its path.

use std::{iter, time::Duration};

use http::HeaderValue;

use super::{
    allow::{Allow, Denial},
    cross_site::CrossSiteGuard,
    headers,
    index::RuleList,
    narrowing::Narrowing,
    pattern::Applies,
    readings::Readings,
    rule::{RequestAttributes, Rule, RuleAccess},
    step_up::StepUp,
};
use crate::{clock::Timestamp, identity::PackedIdentity};

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
    pub rules: RuleList,
    /// The identity headers that it receives.
    pub headers: headers::HeaderPlan,
    /// Time after which a page takes the browser past the provider again; `None`: the session's.
    pub reauthorize: Option<Duration>,
    /// The guard against requests of other sites.
    pub cross_site: CrossSiteGuard,
    /// The metadata that API clients find its authorization servers by; `None`: not published.
    pub resource_metadata: Option<ResourceMetadata>,
    /// Limits of sessions at this app, where they are shorter than the session's own.
    pub limits: Option<SessionLimits>,
}

/// Limits of sessions at one app. Past one of them the person has to prove anew who they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionLimits {
    /// Time since the person proved who they are.
    pub lifetime: Option<Duration>,
    /// Time since a person opened a page.
    pub idle_timeout: Option<Duration>,
}

/// Protected-resource metadata of an app (RFC 9728, section 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceMetadata {
    /// Issuers whose access tokens the app's rules let in.
    pub authorization_servers: Vec<String>,
}

/// Host, or every host below one. Folded as [`crate::host::Authority`] folds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This host.
    Exact(String),
    /// `*.` and this: at least one label in front of it.
    Below(String),
}

impl HostPattern {
    /// Returns `true` if some host is one of both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let is_below = |host: &str, domain: &str| {
            host.strip_suffix(domain).is_some_and(|front| front.len() > 1 && front.ends_with('.'))
        };
        match (self, other) {
            (Self::Exact(one), Self::Exact(other)) => one == other,
            (Self::Exact(host), Self::Below(domain)) | (Self::Below(domain), Self::Exact(host)) => {
                is_below(host, domain)
            }
            (Self::Below(one), Self::Below(other)) => one == other || is_below(one, other) || is_below(other, one),
        }
    }
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
    /// API client's credential whose identity [`IdentityTest::judge`] lets in. A session is none.
    Bearer(IdentityTest<'p>),
    /// Unmeetable: nobody passes.
    Denied,
}

/// Test that an identity has to pass.
#[derive(Clone, Debug)]
pub struct IdentityTest<'p> {
    app: &'p App,
    pub(super) condition: IdentityCondition<'p>,
    narrowing: Narrowing<'p>,
}

/// Condition of a test.
#[derive(Clone, Debug)]
pub(super) enum IdentityCondition<'p> {
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

impl Requirement<'_> {
    /// Returns what it asks of a sign-in beyond who somebody is; `None` where no sign-in could satisfy all of it.
    #[must_use]
    pub fn step_up(&self) -> Option<StepUp> {
        match self {
            Self::Identity(test) | Self::Bearer(test) => test.step_up(),
            Self::Public | Self::Optional | Self::Denied => Some(StepUp::default()),
        }
    }
}

impl App {
    /// App of all hosts that no app names, where `access.default` lets people in.
    pub(super) fn unnamed(budget: headers::HeaderBudget) -> Self {
        let name = "default";
        let limits = headers::PlanLimits { app: name, budget, named_groups: Vec::new() };
        Self {
            name: name.to_owned(),
            hosts: Vec::new(),
            provider: 0,
            allow: Allow::default(),
            rules: RuleList::default(),
            headers: headers::default_plan().limited(limits),
            reauthorize: None,
            cross_site: CrossSiteGuard::default(),
            resource_metadata: None,
            limits: None,
        }
    }

    /// Returns `true` if it has a host in common with these patterns.
    #[must_use]
    pub fn has_host_among(&self, hosts: &[HostPattern]) -> bool {
        self.hosts.iter().any(|own| hosts.iter().any(|host| own.overlaps(host)))
    }

    /// Returns `true` if a rule depends on the client's address.
    #[must_use]
    pub fn reads_client(&self) -> bool {
        self.rules.reads_client()
    }

    /// Returns `true` if its `allow`, or that of one of its rules, names groups.
    #[must_use]
    pub fn names_groups(&self) -> bool {
        let of_rules = self.rules.iter().filter_map(|rule| rule.access.allow());
        of_rules.chain([&self.allow]).any(|allow| allow.groups().next().is_some())
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
        match self.rules.index() {
            None => self.first_match(self.rules.iter(), request, &readings),
            Some(index) => self.first_match(index.candidates(&self.rules, &readings), request, &readings),
        }
    }

    /// Returns a requirement that asks for this on top. Where nobody would have to be known, somebody has to be.
    #[must_use]
    pub fn narrowed<'p>(&'p self, requirement: Requirement<'p>, narrowing: Narrowing<'p>) -> Requirement<'p> {
        match requirement {
            other if narrowing.is_empty() => other,
            Requirement::Public | Requirement::Optional => Requirement::Identity(IdentityTest {
                app: self,
                condition: IdentityCondition::Rules(Vec::new()),
                narrowing,
            }),
            Requirement::Identity(test) => Requirement::Identity(IdentityTest { narrowing, ..test }),
            Requirement::Bearer(test) => Requirement::Bearer(IdentityTest { narrowing, ..test }),
            Requirement::Denied => Requirement::Denied,
        }
    }

    /// Returns `cache_control` of the rule that decides about a request: the one that opens its path, or the only one that closes it.
    #[must_use]
    pub fn cache_control(&self, request: RequestAttributes<'_>) -> Option<&HeaderValue> {
        if !self.rules.sets_cache_control() {
            return None;
        }
        let rule = match self.requirement(request) {
            Requirement::Public | Requirement::Optional => {
                let readings = Readings::of(request.path)?;
                self.rules.iter().find(|rule| rule.access.opens() && rule.opens(&request, &readings))?
            }
            Requirement::Identity(test) | Requirement::Bearer(test) => match test.condition {
                IdentityCondition::Rule(rule) => rule,
                _ => return None,
            },
            Requirement::Denied => return None,
        };
        rule.cache_control.as_ref()
    }

    /// Returns the requirement by those of the rules that may match, in their order.
    fn first_match<'p>(
        &'p self,
        rules: impl Iterator<Item = &'p Rule>,
        request: RequestAttributes<'_>,
        readings: &Readings<'_>,
    ) -> Requirement<'p> {
        let is_named = |path: &str| self.rules.names(path);
        let mut closing = Vec::new();
        for rule in rules {
            if rule.access.opens() {
                if rule.opens(&request, readings) {
                    return self.opened(rule, closing);
                }
                continue;
            }
            match rule.closes(&request, readings, is_named) {
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

    /// Requirement of what closes. Where one condition asks for an API client's credential and another for a session, nothing that
    /// a request brings could meet both.
    fn test<'p>(&'p self, condition: IdentityCondition<'p>) -> Requirement<'p> {
        let is_bearer = |rule: &&Rule| matches!(rule.access, RuleAccess::Bearer(_));
        let (bearer, others) = match &condition {
            IdentityCondition::Allow => (0, 1),
            IdentityCondition::Rule(rule) => (usize::from(is_bearer(rule)), usize::from(!is_bearer(rule))),
            IdentityCondition::Rules(rules) => {
                let bearer = rules.iter().filter(|rule| is_bearer(rule)).count();
                (bearer, rules.len() - bearer)
            }
            IdentityCondition::RulesAndAllow(rules) => (rules.iter().filter(|rule| is_bearer(rule)).count(), 1),
            IdentityCondition::Every => (self.rules.iter().filter(is_bearer).count(), 1),
        };
        let test = IdentityTest { app: self, condition, narrowing: Narrowing::default() };
        match (bearer, others) {
            (0, _) => Requirement::Identity(test),
            (_, 0) => Requirement::Bearer(test),
            _ => Requirement::Denied,
        }
    }
}

impl<'p> IdentityTest<'p> {
    fn step_up(&self) -> Option<StepUp> {
        let (rules, is_also_app): (Vec<&Rule>, bool) = match &self.condition {
            IdentityCondition::Allow => (Vec::new(), true),
            IdentityCondition::Rule(rule) => (vec![*rule], false),
            IdentityCondition::Rules(rules) => (rules.clone(), false),
            IdentityCondition::RulesAndAllow(rules) => (rules.clone(), true),
            IdentityCondition::Every => (self.app.rules.iter().collect(), true),
        };
        let people = rules.into_iter().filter_map(|rule| rule.access.allow());
        StepUp::of_all(people.chain(is_also_app.then_some(&self.app.allow)).map(Allow::sign_in))
    }

    /// Judges an identity.
    pub fn judge(&self, identity: &PackedIdentity, now: Timestamp) -> Result<(), Denial<'p>> {
        let judged = self.judge_by_configuration(identity, now);
        match judged {
            Ok(()) | Err(Denial::StepUp(_)) => self.judge_narrowing(identity).and(judged),
            Err(_) => judged,
        }
    }

    /// Judges an identity by what the edge's question asks for on top, and by nothing else.
    pub fn judge_narrowing(&self, identity: &PackedIdentity) -> Result<(), Denial<'p>> {
        if self.narrowing.is_empty() || self.narrowing.is_met_by(identity) {
            Ok(())
        } else {
            Err(Denial::Narrowed(self.narrowing))
        }
    }

    fn judge_by_configuration(&self, identity: &PackedIdentity, now: Timestamp) -> Result<(), Denial<'p>> {
        let (allow, by) = (&self.app.allow, |rule: &'p Rule| rule.access.judge(identity, now));
        match &self.condition {
            IdentityCondition::Allow => allow.judge(identity, now),
            IdentityCondition::Rule(rule) => by(rule),
            IdentityCondition::Rules(rules) => each(rules.iter().copied().map(by)),
            IdentityCondition::RulesAndAllow(rules) => {
                each(iter::once(allow.judge(identity, now)).chain(rules.iter().copied().map(by)))
            }
            IdentityCondition::Every => {
                each(iter::once(allow.judge(identity, now)).chain(self.app.rules.iter().map(by)))
            }
        }
    }
}

/// Returns the first denial that another sign-in would not mend, else the first of all.
fn each<'p>(judgements: impl Iterator<Item = Result<(), Denial<'p>>>) -> Result<(), Denial<'p>> {
    let mut so_far = Ok(());
    for judgement in judgements {
        match judgement {
            Ok(()) => {}
            Err(Denial::StepUp(_)) => so_far = so_far.and(judgement),
            Err(Denial::NotAllowed(_) | Denial::Narrowed(_) | Denial::Rule) => return judgement,
        }
    }
    so_far
}

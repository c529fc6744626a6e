//! Who may pass where: apps by host, rules by path, judged on every request.
//!
//! Pure and synchronous: a request and an identity in, a judgement out. It must not know sessions, cookies or edges.

mod allow;
pub mod headers;
pub mod path;
mod readings;
pub mod redirect;
mod rule;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

pub use self::{
    allow::{Allow, Lack},
    rule::{Access, Asked, Expression, PathPattern, Pattern, Rule},
};
use self::{readings::Readings, rule::Applies};
use crate::identity::PackedIdentity;

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

/// What a request needs before it may pass.
#[derive(Clone, Debug)]
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
#[derive(Clone, Debug)]
pub struct Test<'p> {
    app: &'p App,
    passes: Passes<'p>,
}

/// Who passes a test.
#[derive(Clone, Debug)]
enum Passes<'p> {
    /// Whom the app's `allow` lets in.
    Allow,
    /// Whom this rule lets in.
    Rule(&'p Rule),
    /// Whom each of these rules lets in.
    Rules(Vec<&'p Rule>),
    /// Whom each of these rules lets in, and the app's `allow`.
    RulesAndAllow(Vec<&'p Rule>),
    /// Whom every rule of the app lets in, as if each matched, and its `allow`.
    Every,
}

/// Why an identity is not let in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Denial<'p> {
    /// Not among those who are allowed.
    NotAllowed(&'p Allow),
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

/// Apps by host. The configuration alone puts names in, so nobody outside can choose some that fall together, and a
/// hash that withstands that would be the dearest part of looking one up.
type Hosts = HashMap<String, usize, foldhash::fast::RandomState>;

/// All apps, ready to be asked.
#[derive(Debug)]
pub struct Policy {
    apps: Vec<App>,
    fallback: Option<App>,
    exact: Hosts,
    below: Hosts,
}

impl Policy {
    /// Builds the look-up tables, so that a request costs the same however many hosts there are. Where two apps name the
    /// same host the first has it; the configuration complains about the second.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let Settings { default, apps } = settings;
        let fallback = match default {
            DefaultAccess::Deny => None,
            DefaultAccess::Authenticated => Some(App::unnamed()),
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

    /// The app that answers on a folded host: the exact name first, then the longest wildcard.
    #[must_use]
    pub fn site(&self, host: &str) -> Option<Site<'_>> {
        let named = self.exact.get(host).or_else(|| parents(host).find_map(|parent| self.below.get(parent)));
        match named {
            Some(&index) => self.apps.get(index).map(|app| Site { app, index: Some(index) }),
            None => self.fallback.as_ref().map(|app| Site { app, index: None }),
        }
    }

    /// Whether an app names this folded host; `access.default` names none.
    #[must_use]
    pub fn names(&self, host: &str) -> bool {
        self.site(host).is_some_and(|site| site.index.is_some())
    }
}

/// `b.c.d`, `c.d` and `d` for `a.b.c.d`.
fn parents(host: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(host.split_once('.'), |(_, parent)| parent.split_once('.')).map(|(_, parent)| parent)
}

impl App {
    /// Stands for every host that no app names, where `access.default` lets people in.
    fn unnamed() -> Self {
        Self {
            name: "default".to_owned(),
            hosts: Vec::new(),
            provider: 0,
            allow: Allow::Anyone,
            rules: Vec::new(),
            headers: headers::Plan::remote(),
        }
    }

    /// What this request needs under every reading of it: a rule that opens counts where it matches beyond doubt, one that
    /// closes wherever a server, a file system or a router could take the request for one that it is about.
    #[must_use]
    pub fn requirement(&self, asked: Asked<'_>) -> Requirement<'_> {
        if self.rules.is_empty() {
            return self.test(Passes::Allow);
        }
        let Some(readings) = Readings::of(asked.path) else {
            return self.strictest();
        };
        let is_named = |path: &str| self.rules.iter().any(|rule| rule.names(path));
        let mut closing = Vec::new();
        for rule in &self.rules {
            if rule.access.opens() {
                if rule.opens(&asked, &readings) {
                    return self.opened(rule, closing);
                }
                continue;
            }
            match rule.closes(&asked, &readings, is_named) {
                Applies::No => {}
                _ if rule.access == Access::Deny => return Requirement::Denied,
                Applies::Perhaps => closing.push(rule),
                Applies::Surely if closing.is_empty() => return self.test(Passes::Rule(rule)),
                Applies::Surely => {
                    closing.push(rule);
                    return self.test(Passes::Rules(closing));
                }
            }
        }
        self.test(if closing.is_empty() { Passes::Allow } else { Passes::RulesAndAllow(closing) })
    }

    /// What a rule that opens leaves to ask, where rules before it may close.
    fn opened<'p>(&'p self, rule: &'p Rule, closing: Vec<&'p Rule>) -> Requirement<'p> {
        match rule.access {
            _ if !closing.is_empty() => self.test(Passes::Rules(closing)),
            Access::Optional => Requirement::Optional,
            _ => Requirement::Nothing,
        }
    }

    /// What no reading of a path could be spared: any rule could be the one that the app means, whatever it says about
    /// methods and networks.
    fn strictest(&self) -> Requirement<'_> {
        if self.rules.iter().any(|rule| rule.access == Access::Deny) {
            return Requirement::Denied;
        }
        self.test(Passes::Every)
    }

    fn test<'p>(&'p self, passes: Passes<'p>) -> Requirement<'p> {
        Requirement::Identity(Test { app: self, passes })
    }
}

impl<'p> Test<'p> {
    /// Judges an identity.
    pub fn judge(&self, who: &PackedIdentity) -> Result<(), Denial<'p>> {
        match &self.passes {
            Passes::Allow => self.allow(who),
            Passes::Rule(rule) => rule.access.judge(who),
            Passes::Rules(rules) => rules.iter().try_for_each(|rule| rule.access.judge(who)),
            Passes::RulesAndAllow(rules) => {
                self.allow(who)?;
                rules.iter().try_for_each(|rule| rule.access.judge(who))
            }
            Passes::Every => {
                self.allow(who)?;
                self.app.rules.iter().try_for_each(|rule| rule.access.judge(who))
            }
        }
    }

    fn allow(&self, who: &PackedIdentity) -> Result<(), Denial<'p>> {
        if self.app.allow.admits(who) { Ok(()) } else { Err(Denial::NotAllowed(&self.app.allow)) }
    }
}

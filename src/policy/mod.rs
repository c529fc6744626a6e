//! Who may pass where: apps by host, rules by path, judged on every request.
//!
//! Pure and synchronous: a request and an identity in, a judgement out. It must not know sessions, cookies or edges.

mod allow;
pub mod headers;
pub mod path;
pub mod redirect;
mod rule;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

pub use self::{
    allow::{Allow, Lack},
    rule::{Access, Asked, Expression, PathPattern, Rule},
};
use crate::identity::Packed;

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

    /// What this request needs (a path that two servers could read differently needs every rule).
    #[must_use]
    pub fn requirement(&self, asked: Asked<'_>) -> Requirement<'_> {
        if self.rules.is_empty() {
            return Requirement::Identity(Test { app: self, rule: None, every: false });
        }
        if path::is_ambiguous(asked.path) {
            return self.strictest();
        }
        let rule = self.rules.iter().find(|rule| rule.covers(&asked));
        match rule.map(|rule| &rule.access) {
            Some(Access::Public) => Requirement::Nothing,
            Some(Access::Optional) => Requirement::Optional,
            Some(Access::Deny) => Requirement::Denied,
            Some(Access::Authenticated | Access::Allow(_)) | None => {
                Requirement::Identity(Test { app: self, rule, every: false })
            }
        }
    }

    /// What no reading of a path could be spared: any rule could be the one that the app means, whatever it says about
    /// methods and networks.
    fn strictest(&self) -> Requirement<'_> {
        if self.rules.iter().any(|rule| rule.access == Access::Deny) {
            return Requirement::Denied;
        }
        Requirement::Identity(Test { app: self, rule: None, every: true })
    }
}

impl<'p> Test<'p> {
    /// Judges an identity.
    pub fn judge(&self, who: &Packed) -> Result<(), Denial<'p>> {
        match self.rule {
            Some(rule) => rule.access.judge(who),
            None if self.app.allow.admits(who) => self.judge_every(who),
            None => Err(Denial::NotAllowed(&self.app.allow)),
        }
    }

    fn judge_every(&self, who: &Packed) -> Result<(), Denial<'p>> {
        if !self.every {
            return Ok(());
        }
        self.app.rules.iter().try_for_each(|rule| rule.access.judge(who))
    }
}

//! Access policy: apps by host, rules by path, judged on every request.
//!
//! Pure and synchronous: a request and an identity in, a judgement out. [`redirect`] guards against open redirects, [`headers`]
//! renders identity headers.

mod allow;
mod app;
mod cross_site;
mod expression;
pub mod headers;
mod index;
mod narrowing;
pub mod path;
mod pattern;
mod people;
mod presets;
mod readings;
pub mod redirect;
mod rule;
mod step_up;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, iter};

use http::HeaderName;

pub use self::{
    allow::{Allow, Denial},
    app::{App, HostPattern, IdentityTest, Requirement, ResourceMetadata, SessionLimits},
    cross_site::CrossSiteGuard,
    expression::{Expression, ExpressionError},
    index::RuleList,
    narrowing::Narrowing,
    pattern::{PathPattern, Pattern},
    people::{MissingGrant, People},
    rule::{CrossSite, RequestAttributes, Rule, RuleAccess},
    step_up::{StepUp, UnmetStepUp, auth_time},
};

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

    /// Returns the policy with a header of requests that no app is to see, whatever its plan.
    #[must_use]
    pub fn removing(mut self, header: &HeaderName) -> Self {
        for app in self.apps.iter_mut().chain(&mut self.fallback) {
            app.headers = app.headers.clone().removing(header);
        }
        self
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

    /// Returns the apps that have a host in common with these patterns, with their places.
    pub fn apps_at<'p>(&'p self, hosts: &'p [HostPattern]) -> impl Iterator<Item = (usize, &'p App)> + 'p {
        self.apps.iter().enumerate().filter(|(_, app)| app.has_host_among(hosts))
    }

    /// Returns `true` if an app names this folded host. `access.default` names none.
    #[must_use]
    pub fn names(&self, host: &str) -> bool {
        self.site(host).is_some_and(|site| site.index.is_some())
    }
}

/// Parent domains: `b.c.d`, `c.d` and `d` for `a.b.c.d`.
fn parents(host: &str) -> impl Iterator<Item = &str> {
    iter::successors(host.split_once('.'), |(_, parent)| parent.split_once('.')).map(|(_, parent)| parent)
}

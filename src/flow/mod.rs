//! The gate itself: what happens between a request and its verdict.
//!
//! It joins the strangers below it (sessions, providers, pages) and owns no I/O of its own. Every failure, at any point,
//! becomes a refusal here; `check` is the only place that lets in.

mod answer;
mod attempt;
pub mod backchannel_logout;
mod check;
mod context;
mod endpoints;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod login;
mod logout;
mod refusals;
mod renew;
mod sids;
mod snapshot;
mod subrequest;

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

pub use self::{check::OwnCookies, renew::Renewer, snapshot::Snapshot};
use self::{refusals::RefusalLog, renew::Renewing};
use crate::{
    clock::Clock, cookie::SiteScheme, crypto::Keyring, edge::TrustedProxies, metrics, oidc::Provider, pages::Pages,
    policy::Policy, session::Sessions, shutdown,
};

/// How the gate is reached and what it leaves behind in browsers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `server.prefix`: begins with a slash, never ends with one.
    pub prefix: String,
    /// `server.scheme`.
    pub transport: SiteScheme,
    /// `server.trusted_proxies`.
    pub trusted_proxies: TrustedProxies,
    /// `server.service_hosts`, folded.
    pub service_hosts: Vec<String>,
    /// `session.cookie_name`.
    pub cookie_name: String,
    /// `session.cookie_domain`.
    pub cookie_domain: Option<String>,
    /// `session.hide_cookies`.
    pub own_cookies: OwnCookies,
    /// `session.legacy_cookies`.
    pub legacy_cookies: Vec<String>,
}

/// What the gate joins.
pub struct Components {
    /// The apps and their rules.
    pub policy: Policy,
    /// The sessions.
    pub sessions: Arc<Sessions>,
    /// The providers in their order.
    pub providers: Vec<Arc<Provider>>,
    /// The pages.
    pub pages: Pages,
    /// The keys.
    pub keyring: Arc<Keyring>,
    /// The time.
    pub clock: Clock,
    /// The numbers, bound to the apps and providers.
    pub metrics: metrics::BoundMetrics,
}

impl Components {
    fn renewing(&self) -> Renewing {
        Renewing { providers: self.providers.clone(), metrics: self.metrics.renewals.clone() }
    }
}

/// The gate: it stays, and what it answers by is swapped whole.
pub struct Gate {
    renewer: Arc<Renewer>,
    refusals: Arc<RefusalLog>,
    now: ArcSwap<Snapshot>,
}

/// What the gate depends on, for the health page.
#[derive(Clone, Debug)]
pub struct Health {
    /// Whether the store answers.
    pub store: bool,
    /// Whether the store ever answered.
    pub opened: bool,
    /// Each provider by name, and whether it answers.
    pub providers: Vec<(String, bool)>,
}

impl Gate {
    /// Joins the components.
    #[must_use]
    pub fn new(settings: Settings, components: Components) -> Self {
        let renewer = Arc::new(Renewer::new(Arc::clone(&components.sessions), components.renewing()));
        let refusals = Arc::new(RefusalLog::new(components.clock.clone()));
        let now = ArcSwap::from_pointee(Snapshot::new(settings, components, &renewer, &refusals));
        Self { renewer, refusals, now }
    }

    /// What is in force. A request takes it once and is answered by it from beginning to end, whatever changes meanwhile.
    #[must_use]
    pub fn now(&self) -> Guard<Arc<Snapshot>> {
        self.now.load()
    }

    /// Puts other settings and components in force, from the next request on. The sessions have to be the same ones.
    pub fn change(&self, settings: Settings, components: Components) {
        self.renewer.change(components.renewing());
        self.now.store(Arc::new(Snapshot::new(settings, components, &self.renewer, &self.refusals)));
    }

    /// Until asked to stop: logs once a minute how often refusals were repeated.
    pub async fn log_refusals(&self, stop: shutdown::Signal) {
        self.refusals.work(stop).await;
    }

    /// What renews sessions: for the one who lets it work.
    #[must_use]
    pub fn renewer(&self) -> Arc<Renewer> {
        Arc::clone(&self.renewer)
    }
}

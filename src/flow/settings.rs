//! The settings of the gate and the components that its flows are wired from.

use std::{sync::Arc, time::Duration};

use http::HeaderName;

use super::{
    adopt::AdoptSettings, api_clients::BearerSettings, check::OwnCookies, compat::CompatSettings,
    delegate::DelegateSettings, rate_limits::RateLimitSettings,
};
use crate::{
    clock::Clock,
    cookie::SiteScheme,
    crypto::Keyring,
    edge::TrustedProxies,
    emergency, metrics,
    oidc::Provider,
    pages::Pages,
    policy::Policy,
    session::Sessions,
    upstream::{self, ConfiguredUpstreams},
};

/// Settings of the gate: the way that it is reached, and its cookies.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `server.prefix`: begins with a slash, never ends with one.
    pub prefix: String,
    /// `server.scheme`.
    pub transport: SiteScheme,
    /// `server.trusted_proxies`.
    pub trusted_proxies: TrustedProxies,
    /// `server.compat`.
    pub compat: CompatSettings,
    /// `server.service_hosts`, folded.
    pub service_hosts: Vec<String>,
    /// `session.cookie_name`.
    pub cookie_name: String,
    /// `session.cookie_domain`, folded.
    pub cookie_domains: Vec<String>,
    /// `session.hide_cookies`.
    pub own_cookies: OwnCookies,
    /// `session.legacy_cookies`.
    pub legacy_cookies: Vec<String>,
    /// `session.reauthorize`.
    pub reauthorize: Option<Duration>,
    /// `[bearer]`.
    pub bearer: Option<BearerSettings>,
    /// `limits`.
    pub limits: RateLimitSettings,
    /// `tokens.header`, where service tokens are read.
    pub service_token_header: Option<HeaderName>,
    /// `[emergency]`.
    pub emergency: Option<emergency::Settings>,
    /// `apps[].delegate`, by the apps' places in the configuration.
    pub delegates: Vec<Option<DelegateSettings>>,
    /// `[adopt]`.
    pub adopt: Option<AdoptSettings>,
    /// `apps[].upstream`, by the apps' places in the configuration.
    pub upstreams: Vec<Option<upstream::Settings>>,
}

impl Settings {
    /// Returns every upstream that the flows pass requests on to.
    pub fn upstreams(&self) -> impl Iterator<Item = &upstream::Settings> {
        let delegates = self.delegates.iter().flatten().map(|delegate| &delegate.upstream);
        let adopt = self.adopt.iter().map(|adopt| &adopt.upstream);
        adopt.chain(delegates).chain(self.upstreams.iter().flatten())
    }
}

/// Components of a gate.
pub struct GateComponents {
    /// The apps and their rules.
    pub policy: Policy,
    /// The sessions.
    pub sessions: Arc<Sessions>,
    /// The providers in their order.
    pub providers: Vec<Arc<Provider>>,
    /// The issuers at which nobody signs in, in the order of [`BearerSettings::own_issuers`].
    pub token_issuers: Vec<Arc<Provider>>,
    /// The clients of [`Settings::upstreams`].
    pub upstreams: ConfiguredUpstreams,
    /// The pages.
    pub pages: Pages,
    /// The keys.
    pub keyring: Arc<Keyring>,
    /// The time.
    pub clock: Clock,
    /// The metrics, bound to the apps and providers.
    pub metrics: metrics::BoundMetrics,
}

//! The gate itself: what happens between a request and its verdict.
//!
//! It joins the strangers below it (sessions, providers, pages) and owns no I/O of its own. Every failure, at any point,
//! becomes a refusal here; `check` is the only place that lets in.

mod answer;
mod attempt;
mod check;
mod login;
mod logout;
pub mod notice;
mod own;
mod question;
mod renew;
mod visit;

use std::{net::IpAddr, sync::Arc, time::Instant};

use http::{Method, request::Parts};

pub use self::renew::Renewer;
use self::{
    answer::Answers,
    check::Check,
    login::Login,
    logout::Logout,
    own::OwnPages,
    question::{Unread, label, reason},
    visit::{Arrival, Outside, RequestId, Visit},
};
use crate::{
    clock::Clock,
    cookie::{Jar, Transport},
    crypto::Keyring,
    edge::{self, Edge, Intent, Reason, Response, TrustedProxies, Verdict},
    metrics::{Logout as Kind, Metrics},
    oidc::{LogoutNotice, Provider},
    pages::Pages,
    policy::{Policy, Site},
    session::{Once, Sessions},
};

/// How the gate is reached and what it leaves behind in browsers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `server.prefix`: begins with a slash, never ends with one.
    pub prefix: String,
    /// `server.scheme`.
    pub transport: Transport,
    /// `server.trusted_proxies`.
    pub trusted_proxies: TrustedProxies,
    /// `session.cookie_name`.
    pub cookie_name: String,
    /// `session.cookie_domain`.
    pub cookie_domain: Option<String>,
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
    /// The numbers.
    pub metrics: Arc<Metrics>,
}

/// The gate.
pub struct Gate {
    outside: Outside,
    proxies: TrustedProxies,
    policy: Arc<Policy>,
    sessions: Arc<Sessions>,
    providers: Vec<Arc<Provider>>,
    check: Arc<Check>,
    renewer: Arc<Renewer>,
    login: Arc<Login>,
    own: OwnPages,
    answers: Arc<Answers>,
    metrics: Arc<Metrics>,
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
        let Components { policy, sessions, providers, pages, keyring, clock, metrics } = components;
        let jar = Arc::new(Jar::new(&settings.cookie_name, settings.cookie_domain.as_deref(), settings.transport));
        let names = providers.iter().map(|provider| provider.settings().name.clone()).collect();
        let (policy, answers) = (Arc::new(policy), Arc::new(Answers::new(pages)));
        let renewer = Arc::new(Renewer::new(Arc::clone(&sessions), providers.clone(), metrics.renewals.clone()));
        let check = Arc::new(Check::new(Arc::clone(&sessions), Arc::clone(&renewer), Arc::clone(&jar), names));
        let login = Arc::new(Login {
            policy: Arc::clone(&policy),
            sessions: Arc::clone(&sessions),
            providers: providers.clone(),
            check: Arc::clone(&check),
            answers: Arc::clone(&answers),
            keyring: Arc::clone(&keyring),
            jar: Arc::clone(&jar),
            clock,
            metrics: metrics.logins.clone(),
        });
        let logout = Logout {
            policy: Arc::clone(&policy),
            sessions: Arc::clone(&sessions),
            providers: providers.clone(),
            answers: Arc::clone(&answers),
            keyring,
            jar,
            legacy_cookies: settings.legacy_cookies,
        };
        let own = OwnPages {
            policy: Arc::clone(&policy),
            login: Arc::clone(&login),
            logout,
            check: Arc::clone(&check),
            answers: Arc::clone(&answers),
        };
        let scheme = match settings.transport {
            Transport::Https => "https",
            Transport::Http => "http",
        };
        let outside = Outside { scheme, prefix: settings.prefix };
        Self {
            outside,
            proxies: settings.trusted_proxies,
            policy,
            sessions,
            providers,
            check,
            renewer,
            login,
            own,
            answers,
            metrics,
        }
    }

    /// `server.prefix`, such as `/_doorward`; never ends with a slash.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.outside.prefix
    }

    /// Lets an authorization request in where memory alone can decide that; `None` leaves it to [`Gate::authorize`]. Nothing is
    /// waited for, so nothing needs bounds: this is the way of nearly every request.
    #[must_use]
    pub fn admit_at_once(&self, edge: Edge, peer: IpAddr, request: &Parts, envoy_target: &str) -> Option<Response> {
        let begun = Instant::now();
        let (asked, site) = self.read(edge, peer, request, envoy_target).ok()?;
        let verdict = self.recognise(&asked, site)?;
        self.metrics.auth.count(edge, site.index, label(&verdict), begun.elapsed());
        Some(edge::write(edge, verdict, ""))
    }

    /// Answers an authorization request. `envoy_target` is what follows `/auth/envoy` on the raw request line.
    pub async fn authorize(&self, edge: Edge, peer: IpAddr, request: &Parts, envoy_target: &str) -> Response {
        let begun = Instant::now();
        let id = RequestId::default();
        let (verdict, site) = match self.read(edge, peer, request, envoy_target) {
            Ok((asked, site)) => (self.answer(asked, site, request, &id).await, Some(site)),
            Err(unread) => (self.reject(peer, request, &id, unread), None),
        };
        self.metrics.auth.count(edge, site.and_then(|site| site.index), label(&verdict), begun.elapsed());
        tracing::debug!(
            request_id = %id,
            edge = edge.label(),
            app = site.map(|site| site.app.name.as_str()),
            verdict = label(&verdict).label(),
            reason = reason(&verdict).map(Reason::code),
            "asked"
        );
        match verdict {
            // An answer that lets in needs no id, and making one costs.
            allow @ Verdict::Allow(_) => edge::write(edge, allow, ""),
            other => edge::write(edge, other, id.as_str()),
        }
    }

    /// Answers a request for one of the gate's own pages that arrived over a direct route. `page` is the path below the
    /// prefix, beginning with a slash.
    pub async fn own_page(&self, request: &Parts, page: &str) -> Response {
        if page == "/ping" {
            return own::pong();
        }
        let id = RequestId::default();
        let method = request.method.as_str();
        let intent = edge::intent(Some(method), &request.headers);
        let read = edge::asked_host(request).map_err(Unread::Malformed).and_then(|authority| {
            let site =
                self.policy.site(authority.host()).ok_or_else(|| Unread::UnknownHost(authority.host().to_owned()))?;
            Ok((authority, site))
        });
        let (authority, site) = match read {
            Ok(read) => read,
            Err(unread) => return edge::write_direct(self.refuse_unread(intent, &id, unread), id.as_str()),
        };
        if page == notice::PAGE && request.method == Method::POST {
            return Box::pin(self.heed(request, &id, site)).await;
        }
        let visit = Visit {
            authority,
            site,
            intent,
            method: Some(method),
            headers: &request.headers,
            arrival: Arrival::Direct,
            id: &id,
            outside: &self.outside,
        };
        Box::pin(self.own.show(&visit, page, request.uri.query().unwrap_or_default())).await
    }

    /// Acts on what a provider says by itself: the asked app's own, or any other that the gate knows.
    async fn heed(&self, request: &Parts, id: &RequestId, site: Site<'_>) -> Response {
        let (own, others): (Vec<_>, Vec<_>) =
            self.providers.iter().enumerate().partition(|(index, _)| *index == site.app.provider);
        let providers = own.into_iter().chain(others).map(|(_, provider)| provider);
        let end = async |said: LogoutNotice, provider: String| {
            let once = Once { provider: &provider, word: &said.jti, until: said.until };
            self.sessions.end_once(once, &logout::whose(said.whom), Kind::Backchannel).await
        };
        notice::hear(request, id, providers, end).await
    }

    /// Answers a request for anything else.
    #[must_use]
    pub fn nothing_here(&self, request: &Parts) -> Response {
        let intent = edge::intent(Some(request.method.as_str()), &request.headers);
        own::nothing(&self.answers, intent, RequestId::default().as_str(), Reason::NotFound)
    }

    /// Answers a request that there is no room or no time for.
    #[must_use]
    pub fn overloaded(&self) -> Response {
        // JSON for everybody: under overload nothing is rendered.
        own::nothing(&self.answers, Intent::Fetch, RequestId::default().as_str(), Reason::Overloaded)
    }

    /// What renews sessions: for the one who lets it work.
    #[must_use]
    pub fn renewer(&self) -> Arc<Renewer> {
        Arc::clone(&self.renewer)
    }

    /// How the things that the gate depends on are.
    #[must_use]
    pub fn health(&self) -> Health {
        let providers =
            self.providers.iter().map(|provider| (provider.settings().name.clone(), provider.is_up())).collect();
        Health { store: self.sessions.is_up(), opened: self.sessions.was_opened(), providers }
    }
}

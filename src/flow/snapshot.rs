//! What the gate answers by: everything that one configuration says, put together, and never changed.
//!
//! A request is answered by one snapshot from beginning to end, so that no two parts of an answer can come from different
//! configurations. It must not know that there are others.

use std::{
    net::IpAddr,
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

use http::{Method, request::Parts};

use super::{
    Components, Health, Settings,
    answer::Answers,
    backchannel_logout::{self, Told},
    check::{Check, Trusted},
    context::{PublicOrigin, RequestContext, RequestId, Via},
    endpoints::{self, Endpoints},
    login::Login,
    logout::{self, Logout},
    refusals::{RefusalLog, Refused},
    renew::Renewer,
    sids::UnknownSids,
    subrequest::{Unread, label, reason},
};
use crate::{
    cookie::{Jar, Transport},
    edge::{self, Edge, Intent, Reason, Response, TrustedProxies, Verdict},
    host::Authority,
    metrics::{self, Logout as Kind},
    oidc::{LogoutNotice, Provider},
    policy::{Policy, Site},
    session::{LogoutTokenId, Sessions},
};

/// One configuration of the gate.
pub struct Snapshot {
    pub(super) outside: PublicOrigin,
    pub(super) proxies: TrustedProxies,
    /// Names under which edges reach the gate itself.
    pub(super) service_hosts: Vec<String>,
    /// Whether an edge that does not say the method was reported.
    pub(super) has_noted_method: AtomicBool,
    pub(super) policy: Arc<Policy>,
    sessions: Arc<Sessions>,
    providers: Vec<Arc<Provider>>,
    pub(super) check: Arc<Check>,
    pub(super) login: Arc<Login>,
    pub(super) own: Endpoints,
    pub(super) answers: Arc<Answers>,
    metrics: metrics::Auth,
}

impl Snapshot {
    pub(super) fn new(
        settings: Settings,
        components: Components,
        renewer: &Arc<Renewer>,
        refusals: &Arc<RefusalLog>,
    ) -> Self {
        let Components { policy, sessions, providers, pages, keyring, clock, metrics } = components;
        let jar = Arc::new(Jar::new(&settings.cookie_name, settings.cookie_domain.as_deref(), settings.transport));
        let trusted = |provider: &Arc<Provider>| {
            let settings = provider.settings();
            Trusted { name: settings.name.clone(), registration: settings.registration() }
        };
        let (policy, answers) = (Arc::new(policy), Arc::new(Answers::new(pages, Arc::clone(refusals))));
        let unknown_sids = Arc::new(UnknownSids::new());
        let check = Arc::new(Check {
            sessions: Arc::clone(&sessions),
            renewer: Arc::clone(renewer),
            jar: Arc::clone(&jar),
            own_cookies: settings.own_cookies,
            providers: providers.iter().map(trusted).collect(),
        });
        let login = Arc::new(Login {
            policy: Arc::clone(&policy),
            sessions: Arc::clone(&sessions),
            providers: providers.clone(),
            check: Arc::clone(&check),
            answers: Arc::clone(&answers),
            keyring: Arc::clone(&keyring),
            jar: Arc::clone(&jar),
            clock,
            unknown_sids: Arc::clone(&unknown_sids),
            metrics: metrics.logins,
        });
        let logout = Logout {
            policy: Arc::clone(&policy),
            sessions: Arc::clone(&sessions),
            renewer: Arc::clone(renewer),
            providers: providers.clone(),
            answers: Arc::clone(&answers),
            keyring,
            jar,
            legacy_cookies: settings.legacy_cookies,
            unknown_sids,
        };
        let own = Endpoints {
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
        let outside = PublicOrigin { scheme, prefix: settings.prefix };
        Self {
            outside,
            proxies: settings.trusted_proxies,
            service_hosts: settings.service_hosts,
            has_noted_method: AtomicBool::new(false),
            policy,
            sessions,
            providers,
            check,
            login,
            own,
            answers,
            metrics: metrics.auth,
        }
    }

    /// `server.prefix`, such as `/_doorward`; never ends with a slash.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.outside.prefix
    }

    /// Whether a peer may ask for others.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.proxies.contains(peer)
    }

    /// Lets an authorization request in where memory alone can decide that; `None` leaves it to [`Snapshot::authorize`]. Nothing is
    /// waited for, so nothing needs bounds: this is the way of nearly every request.
    #[must_use]
    pub fn admit_at_once(&self, edge: Edge, peer: IpAddr, request: &Parts, envoy_target: &str) -> Option<Response> {
        let begun = Instant::now();
        let (asked, site) = self.read(edge, peer, request, envoy_target).ok()?;
        let verdict = self.recognise(&asked, site)?;
        self.metrics.count(edge, site.index, label(&verdict), begun.elapsed());
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
        self.metrics.count(edge, site.and_then(|site| site.index), label(&verdict), begun.elapsed());
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
    pub async fn own_page(&self, peer: IpAddr, request: &Parts, page: &str) -> Response {
        if page == "/ping" {
            return endpoints::pong();
        }
        let id = RequestId::default();
        let method = request.method.as_str();
        let intent = edge::intent(Some(method), &request.headers);
        let client = edge::direct_client(&self.proxies, peer, &request.headers);
        let (authority, site) = match self.asked_directly(request) {
            Ok(asked) => asked,
            Err(unread) => {
                let refused = Refused { client, ..Refused::default() };
                return edge::write_direct(self.refuse_unread(intent, &id, unread, refused), id.as_str());
            }
        };
        if page == backchannel_logout::PAGE && request.method == Method::POST {
            return Box::pin(self.heed(request, &id, client, site)).await;
        }
        let visit = RequestContext {
            authority,
            site,
            client,
            intent,
            method: Some(method),
            headers: &request.headers,
            arrival: Via::Direct,
            id: &id,
            outside: &self.outside,
        };
        Box::pin(self.own.show(&visit, page, request.uri.query().unwrap_or_default())).await
    }

    fn asked_directly<'r>(&'r self, request: &'r Parts) -> Result<(Authority<'r>, Site<'r>), Unread> {
        let authority = edge::asked_host(request)?.without_default_port(self.outside.scheme);
        let site =
            self.policy.site(authority.host()).ok_or_else(|| Unread::UnknownHost(authority.host().to_owned()))?;
        Ok((authority, site))
    }

    /// Refuses what a provider says by itself where its header alone is reason enough: the host, the kind of its body, its length.
    #[must_use]
    pub fn unheard(&self, peer: IpAddr, request: &Parts) -> Option<Response> {
        let id = RequestId::default();
        let client = edge::direct_client(&self.proxies, peer, &request.headers);
        match self.asked_directly(request) {
            Ok((_, site)) => backchannel_logout::unheard(request, self.told(&id, client, site)),
            Err(unread) => {
                let intent = edge::intent(Some(request.method.as_str()), &request.headers);
                let refused = Refused { client, ..Refused::default() };
                Some(edge::write_direct(self.refuse_unread(intent, &id, unread, refused), id.as_str()))
            }
        }
    }

    fn told<'a>(&'a self, id: &'a RequestId, client: Option<IpAddr>, site: Site<'a>) -> Told<'a> {
        Told { id, log: self.answers.log(), app: &site.app.name, client }
    }

    /// Acts on what a provider says by itself: the asked app's own, or any other that the gate knows.
    async fn heed(&self, request: &Parts, id: &RequestId, client: Option<IpAddr>, site: Site<'_>) -> Response {
        let (own, others): (Vec<_>, Vec<_>) =
            self.providers.iter().enumerate().partition(|(index, _)| *index == site.app.provider);
        let providers = own.into_iter().chain(others).map(|(_, provider)| provider);
        let end = async |said: LogoutNotice, provider: String| {
            let spoke = self.providers.iter().find(|known| known.settings().name == provider);
            let registration = spoke.expect("it is one of those that were asked").settings().registration();
            let once = LogoutTokenId { provider: &provider, registration, jti: &said.jti, until: said.until };
            self.sessions.end_once(once, &logout::whose(said.whom), Kind::Backchannel).await
        };
        backchannel_logout::hear(request, self.told(id, client, site), providers, end).await
    }

    /// Answers a request for anything else.
    #[must_use]
    pub fn nothing_here(&self, request: &Parts) -> Response {
        let intent = edge::intent(Some(request.method.as_str()), &request.headers);
        endpoints::nothing(&self.answers, intent, Reason::NotFound)
    }

    /// Answers a request that there is no room or no time for.
    #[must_use]
    pub fn overloaded(&self) -> Response {
        // JSON for everybody: under overload nothing is rendered.
        endpoints::nothing(&self.answers, Intent::Fetch, Reason::Overloaded)
    }

    /// How the things that the gate depends on are.
    #[must_use]
    pub fn health(&self) -> Health {
        let providers =
            self.providers.iter().map(|provider| (provider.settings().name.clone(), provider.is_up())).collect();
        Health { store: self.sessions.is_available(), opened: self.sessions.was_opened(), providers }
    }
}

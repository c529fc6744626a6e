//! Snapshot: everything that one configuration of the gate says, put together and never changed.
//!
//! Promises: a request is answered by one snapshot from beginning to end, so that no two parts of an answer come from different
//! configurations.

use std::{net::IpAddr, sync::Arc, time::Duration};

use http::{Method, request::Parts};

use super::{
    backchannel_logout::{self, BackchannelLogout},
    check::{Check, OwnCookies, TrustedProvider},
    context::{PublicOrigin, RequestContext, RequestId, Via},
    endpoints::{self, Endpoints},
    frontchannel_logout::FrontchannelLogout,
    login::LoginFlow,
    logout::LogoutFlow,
    reauthorization::Reauthorization,
    refusal::{RefusalTarget, Refusals, UnreadableRequest},
    refusal_log::{RefusalDetails, RefusalLog},
    renewal::Renewer,
    silent_callback::SilentCallback,
    subrequest::{PendingSubrequest, SubrequestAnswer, Subrequests},
    unknown_sids::UnknownSids,
};
use crate::{
    clock::Clock,
    cookie::{GateCookies, SiteScheme},
    crypto::Keyring,
    edge::{self, Intent, Reason, Response, Subrequest, TrustedProxies},
    host::Authority,
    metrics,
    oidc::Provider,
    pages::Pages,
    policy::{Policy, Site},
    session::Sessions,
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
    /// `session.reauthorize`.
    pub reauthorize: Option<Duration>,
}

/// Components of a gate.
pub struct GateComponents {
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
    /// The metrics, bound to the apps and providers.
    pub metrics: metrics::BoundMetrics,
}

/// Health of the gate's dependencies, for the health page.
#[derive(Clone, Debug)]
pub struct GateHealth {
    /// `true` while the store answers.
    pub store: bool,
    /// `true` once the store has answered.
    pub opened: bool,
    /// Providers by name; `true` while they answer.
    pub providers: Vec<(String, bool)>,
}

/// One configuration of the gate.
pub struct Snapshot {
    subrequests: Subrequests,
    backchannel_logout: BackchannelLogout,
    endpoints: Arc<Endpoints>,
    refusals: Arc<Refusals>,
    policy: Arc<Policy>,
    sessions: Arc<Sessions>,
    providers: Vec<Arc<Provider>>,
}

impl Snapshot {
    pub(super) fn new(
        settings: Settings,
        components: GateComponents,
        renewer: &Arc<Renewer>,
        refusal_log: &Arc<RefusalLog>,
    ) -> Self {
        let GateComponents { policy, sessions, providers, pages, keyring, clock, metrics } = components;
        let jar = GateCookies::new(&settings.cookie_name, settings.cookie_domain.as_deref(), settings.transport);
        let jar = Arc::new(jar);
        let unknown_sids = Arc::new(UnknownSids::new());
        let reauthorization = Arc::new(Reauthorization {
            sessions: Arc::clone(&sessions),
            renewer: Arc::clone(renewer),
            providers: providers.clone(),
            unknown_sids: Arc::clone(&unknown_sids),
            default: settings.reauthorize,
        });
        let check = Arc::new(Check {
            sessions: Arc::clone(&sessions),
            renewer: Arc::clone(renewer),
            reauthorization: Arc::clone(&reauthorization),
            jar: Arc::clone(&jar),
            own_cookies: settings.own_cookies,
            providers: providers.iter().map(|provider| TrustedProvider::of(provider.settings())).collect(),
        });
        let flows = Flows {
            policy: Arc::new(policy),
            sessions,
            providers,
            check,
            refusals: Arc::new(Refusals::new(pages, Arc::clone(refusal_log))),
            keyring,
            jar,
            unknown_sids,
            reauthorization,
        };
        let login = flows.login(clock, metrics.logins);
        let endpoints = flows.endpoints(&login, renewer, settings.legacy_cookies);
        let subrequests = Subrequests {
            origin: PublicOrigin::new(settings.transport, settings.prefix),
            proxies: settings.trusted_proxies,
            service_hosts: settings.service_hosts,
            has_warned_of_method: false.into(),
            policy: Arc::clone(&flows.policy),
            check: Arc::clone(&flows.check),
            login,
            endpoints: Arc::clone(&endpoints),
            refusals: Arc::clone(&flows.refusals),
            metrics: metrics.auth,
        };
        let Flows { policy, sessions, providers, refusals, .. } = flows;
        let backchannel_logout = BackchannelLogout {
            sessions: Arc::clone(&sessions),
            providers: providers.clone(),
            refusal_log: Arc::clone(refusal_log),
        };
        Self { subrequests, backchannel_logout, endpoints, refusals, policy, sessions, providers }
    }

    /// `server.prefix`, such as `/_doorward`; never ends with a slash.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.subrequests.origin.prefix
    }

    /// Returns `true` if a peer may send subrequests.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.subrequests.proxies.contains(peer)
    }

    /// Answers an auth subrequest where memory alone can let it in. It waits for nothing, so it needs no limits: nearly every
    /// request ends here.
    #[must_use]
    pub fn admit_at_once<'r>(&'r self, subrequest: Subrequest<'r>) -> SubrequestAnswer<'r> {
        self.subrequests.admit_at_once(subrequest)
    }

    /// Answers an auth subrequest that [`Snapshot::admit_at_once`] has left pending, for callers that could not keep it.
    pub async fn authorize(&self, subrequest: Subrequest<'_>) -> Response {
        PendingSubrequest::read(&self.subrequests, subrequest).resolve().await
    }

    /// Answers a request for one of the gate's own endpoints that arrived over a direct route. `path` is below the prefix and
    /// begins with a slash.
    pub async fn answer_endpoint(&self, peer: IpAddr, request: &Parts, path: &str) -> Response {
        if path == "/ping" {
            return endpoints::ping_response();
        }
        let id = RequestId::default();
        let method = request.method.as_str();
        let intent = edge::intent(Some(method), &request.headers);
        let client = edge::direct_client(&self.subrequests.proxies, peer, &request.headers);
        let (authority, site) = match self.requested_site(request) {
            Ok(requested) => requested,
            Err(error) => return self.refuse_unreadable(RefusalTarget { intent, id: &id }, client, error),
        };
        if path == backchannel_logout::PATH && request.method == Method::POST {
            return Box::pin(self.backchannel_logout.handle(request, &id, client, site)).await;
        }
        let context = RequestContext {
            authority,
            site,
            client,
            intent,
            method: Some(method),
            headers: &request.headers,
            via: Via::Direct,
            id: &id,
            origin: &self.subrequests.origin,
        };
        Box::pin(self.endpoints.answer_direct(&context, path, request.uri.query().unwrap_or_default())).await
    }

    /// Refuses a back-channel logout by its header alone, before its body is read: unknown host, wrong media type, too long.
    #[must_use]
    pub fn precheck_backchannel_logout(&self, peer: IpAddr, request: &Parts) -> Option<Response> {
        let id = RequestId::default();
        let client = edge::direct_client(&self.subrequests.proxies, peer, &request.headers);
        match self.requested_site(request) {
            Ok((_, site)) => self.backchannel_logout.precheck(request, &id, client, site),
            Err(error) => {
                let intent = edge::intent(Some(request.method.as_str()), &request.headers);
                Some(self.refuse_unreadable(RefusalTarget { intent, id: &id }, client, error))
            }
        }
    }

    /// Answers a request for anything else.
    #[must_use]
    pub fn not_found(&self, request: &Parts) -> Response {
        let intent = edge::intent(Some(request.method.as_str()), &request.headers);
        self.refusals.without_site(intent, Reason::NotFound)
    }

    /// Answers a request that there is no room or no time for.
    #[must_use]
    pub fn overloaded(&self) -> Response {
        // JSON for everybody: no page is rendered under overload.
        self.refusals.without_site(Intent::Fetch, Reason::Overloaded)
    }

    /// Returns the health of the gate's dependencies.
    #[must_use]
    pub fn health(&self) -> GateHealth {
        let providers =
            self.providers.iter().map(|provider| (provider.settings().name.clone(), provider.is_available())).collect();
        GateHealth { store: self.sessions.is_available(), opened: self.sessions.was_opened(), providers }
    }

    /// Finds the app of a request over a direct route, by the host that it was sent to.
    fn requested_site<'r>(&'r self, request: &'r Parts) -> Result<(Authority<'r>, Site<'r>), UnreadableRequest> {
        let authority = edge::request_host(request)?.without_default_port(self.subrequests.origin.scheme);
        let site = self.policy.site(authority.host());
        let site = site.ok_or_else(|| UnreadableRequest::UnknownHost(authority.host().to_owned()))?;
        Ok((authority, site))
    }

    fn refuse_unreadable(&self, to: RefusalTarget<'_>, client: Option<IpAddr>, error: UnreadableRequest) -> Response {
        let details = RefusalDetails { client, ..RefusalDetails::default() };
        edge::write_direct(self.refusals.unreadable(to, error, details), to.id.as_str())
    }
}

/// Components that the flows share.
struct Flows {
    policy: Arc<Policy>,
    sessions: Arc<Sessions>,
    providers: Vec<Arc<Provider>>,
    check: Arc<Check>,
    refusals: Arc<Refusals>,
    keyring: Arc<Keyring>,
    jar: Arc<GateCookies>,
    unknown_sids: Arc<UnknownSids>,
    reauthorization: Arc<Reauthorization>,
}

impl Flows {
    fn login(&self, clock: Clock, metrics: metrics::LoginMetrics) -> Arc<LoginFlow> {
        let silent_callback = SilentCallback {
            check: Arc::clone(&self.check),
            reauthorization: Arc::clone(&self.reauthorization),
            metrics: metrics.clone(),
        };
        Arc::new(LoginFlow {
            policy: Arc::clone(&self.policy),
            sessions: Arc::clone(&self.sessions),
            providers: self.providers.clone(),
            check: Arc::clone(&self.check),
            silent_callback,
            refusals: Arc::clone(&self.refusals),
            keyring: Arc::clone(&self.keyring),
            jar: Arc::clone(&self.jar),
            clock,
            unknown_sids: Arc::clone(&self.unknown_sids),
            metrics,
        })
    }

    fn endpoints(&self, login: &Arc<LoginFlow>, renewer: &Arc<Renewer>, legacy_cookies: Vec<String>) -> Arc<Endpoints> {
        let logout = LogoutFlow {
            policy: Arc::clone(&self.policy),
            sessions: Arc::clone(&self.sessions),
            renewer: Arc::clone(renewer),
            providers: self.providers.clone(),
            refusals: Arc::clone(&self.refusals),
            keyring: Arc::clone(&self.keyring),
            jar: Arc::clone(&self.jar),
            legacy_cookies,
        };
        let frontchannel_logout = FrontchannelLogout {
            sessions: Arc::clone(&self.sessions),
            providers: self.providers.clone(),
            refusals: Arc::clone(&self.refusals),
            unknown_sids: Arc::clone(&self.unknown_sids),
        };
        Arc::new(Endpoints {
            policy: Arc::clone(&self.policy),
            login: Arc::clone(login),
            logout,
            frontchannel_logout,
            check: Arc::clone(&self.check),
            refusals: Arc::clone(&self.refusals),
        })
    }
}

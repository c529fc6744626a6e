//! Snapshot: everything that one configuration of the gate says, put together and never changed.
//!
//! Promises: a request is answered by one snapshot from beginning to end, so that no two parts of an answer come from different
//! configurations.

use std::{convert::Infallible, future::pending, net::IpAddr, sync::Arc, time::Duration};

use futures_util::future::join_all;
use http::{Method, request::Parts};

use super::{
    backchannel_logout::{self, BackchannelLogout},
    callback::CallbackFlow,
    check::{Check, OwnCookies, TrustedProvider},
    context::{PublicOrigin, RequestContext, RequestId, Via},
    endpoints::{self, Endpoints},
    frontchannel_logout::FrontchannelLogout,
    header_cuts::HeaderCuts,
    login::LoginFlow,
    logout::LogoutFlow,
    misconfigured_edge::{self, MissingHeaders},
    reauthorization::Reauthorization,
    refusal::{RefusalTarget, Refusals, UnreadableRequest},
    refusal_log::{RefusalDetails, RefusalLog},
    renewal::Renewer,
    return_target::ReturnTargets,
    sign_in_refusals::SignInRefusals,
    silent_callback::SilentCallback,
    subrequest::{PendingSubrequest, SubrequestAnswer, Subrequests},
    unknown_sids::UnknownSids,
};
use crate::{
    clock::Clock,
    cookie::{GateCookies, SiteScheme},
    crypto::Keyring,
    edge::{self, Intent, Reason, Response, Subrequest, TrustedProxies, Verdict},
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

/// Parts that all snapshots share: they remember something across configurations.
pub(super) struct SharedParts {
    pub(super) renewer: Arc<Renewer>,
    pub(super) refusal_log: Arc<RefusalLog>,
    pub(super) header_cuts: Arc<HeaderCuts>,
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
    pub(super) fn new(settings: Settings, components: GateComponents, shared: &SharedParts) -> Self {
        let SharedParts { renewer, refusal_log, header_cuts } = shared;
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
            header_cuts: Arc::clone(header_cuts),
            providers: providers.iter().map(|provider| TrustedProvider::of(provider.settings())).collect(),
        });
        let flows = Flows {
            policy: Arc::new(policy),
            sessions,
            providers,
            check,
            refusals: Arc::new(Refusals::new(pages, Arc::clone(refusal_log), metrics.refusals)),
            keyring,
            jar,
            unknown_sids,
            reauthorization,
        };
        let missing_headers = MissingHeaders::new(clock.clone());
        let login = flows.login(clock, metrics.logins);
        let endpoints = flows.endpoints(&login, renewer, settings.legacy_cookies);
        let subrequests = Subrequests {
            origin: PublicOrigin::new(settings.transport, settings.prefix),
            proxies: settings.trusted_proxies,
            service_hosts: settings.service_hosts,
            has_warned_of_method: false.into(),
            missing_headers,
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

    /// Fills the JWKS URL of each provider into the headers of its apps, once it is known.
    pub(super) async fn follow_providers(&self) -> Infallible {
        let known = self.providers.iter().enumerate().map(|(index, provider)| async move {
            let url = provider.jwks_url().await;
            for app in self.policy.set_jwks_url(index, url.as_str()) {
                tracing::warn!(app, %url, "no room for the provider's JWKS URL in identity headers; X-authentik-meta-jwks stays empty");
            }
        });
        join_all(known).await;
        pending().await
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
        let requested = self.requested_site(request);
        if path == backchannel_logout::PATH && request.method == Method::POST {
            return match self.logout_site(request, requested) {
                Ok(site) => Box::pin(self.backchannel_logout.handle(request, &id, client, site)).await,
                Err(error) => self.refuse_unreadable(RefusalTarget { intent, id: &id }, client, error),
            };
        }
        let (authority, site) = match requested {
            Ok(requested) => requested,
            Err(error) => return self.refuse_unreadable(RefusalTarget { intent, id: &id }, client, error),
        };
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
        match self.logout_site(request, self.requested_site(request)) {
            Ok(site) => self.backchannel_logout.precheck(request, &id, client, site),
            Err(error) => {
                let intent = edge::intent(Some(request.method.as_str()), &request.headers);
                Some(self.refuse_unreadable(RefusalTarget { intent, id: &id }, client, error))
            }
        }
    }

    /// Answers a request below `/auth/` at whose path no edge asks, or an edge's question that was sent to no such path at all.
    #[must_use]
    pub fn no_such_edge(&self, peer: IpAddr, request: &Parts) -> Response {
        let id = RequestId::default();
        let intent = edge::intent(Some(request.method.as_str()), &request.headers);
        let (path, mend) = (request.uri.path(), misconfigured_edge::paths(self.prefix()));
        let details =
            RefusalDetails { peer: Some(peer), path: Some(path), mend: Some(&mend), ..RefusalDetails::default() };
        let refusal = self.refusals.no_such_edge(RefusalTarget { intent, id: &id }, &mend, &details);
        edge::write_direct(Verdict::Refuse(refusal), id.as_str())
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

    /// Answers a request whose header has too many lines or bytes.
    #[must_use]
    pub fn headers_too_large(&self) -> Response {
        self.refusals.without_site(Intent::Fetch, Reason::HeadersTooLarge)
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

    /// Returns the app whose host a logout token was sent to; `None` for a name of the gate's own, which providers inside the same
    /// network use.
    fn logout_site<'r>(
        &self,
        request: &Parts,
        requested: Result<(Authority<'r>, Site<'r>), UnreadableRequest>,
    ) -> Result<Option<Site<'r>>, UnreadableRequest> {
        let names_gate = |host: &str| self.subrequests.service_hosts.iter().any(|service| service == host);
        match edge::request_host(request) {
            Ok(authority) if names_gate(authority.host()) => Ok(None),
            _ => requested.map(|(_, site)| Some(site)),
        }
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
        let (policy, keyring, jar) = (Arc::clone(&self.policy), Arc::clone(&self.keyring), Arc::clone(&self.jar));
        Arc::new(LoginFlow {
            sessions: Arc::clone(&self.sessions),
            providers: self.providers.clone(),
            check: Arc::clone(&self.check),
            targets: ReturnTargets::new(policy, keyring, jar, clock.clone()),
            refused: SignInRefusals { refusals: Arc::clone(&self.refusals), metrics },
            keyring: Arc::clone(&self.keyring),
            jar: Arc::clone(&self.jar),
            clock,
        })
    }

    fn callback(&self, login: &Arc<LoginFlow>) -> CallbackFlow {
        let silent_callback = SilentCallback {
            check: Arc::clone(&self.check),
            reauthorization: Arc::clone(&self.reauthorization),
            metrics: login.refused.metrics.clone(),
        };
        CallbackFlow { login: Arc::clone(login), silent_callback, unknown_sids: Arc::clone(&self.unknown_sids) }
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
            callback: self.callback(login),
            logout,
            frontchannel_logout,
            check: Arc::clone(&self.check),
            refusals: Arc::clone(&self.refusals),
        })
    }
}

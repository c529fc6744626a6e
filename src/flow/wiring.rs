//! Wiring: the flows of one configuration, built bottom-up from the components.

use std::{collections::BTreeSet, sync::Arc};

use http::HeaderName;

use super::{
    adopt::{AdoptSettings, Adoption, AdoptionMemory},
    api_clients::{ApiClients, BearerSettings, CredentialCache, SharedClientParts},
    app_limits::AppLimits,
    backchannel_logout::BackchannelLogout,
    callback::CallbackFlow,
    check::Check,
    context::PublicOrigins,
    delegate::Delegation,
    emergency::EmergencySignIn,
    emergency_watch::EmergencyWatch,
    endpoints::Endpoints,
    forward::Forwarding,
    frontchannel_logout::FrontchannelLogout,
    header_cuts::HeaderCuts,
    login::LoginFlow,
    logout::LogoutFlow,
    misconfigured_edge::MissingHeaders,
    rate_limits::RateLimits,
    reauthorization::Reauthorization,
    refusal::Refusals,
    refusal_log::RefusalLog,
    refused_request::RefusedRequests,
    renewal::Renewer,
    return_target::ReturnTargets,
    service_tokens::ServiceTokenCheck,
    session_finder::{SessionFinder, TrustedProvider},
    settings::{GateComponents, Settings},
    sign_in_refusals::SignInRefusals,
    silent_callback::SilentCallback,
    step_up::StepUps,
    subrequest::Subrequests,
    unknown_sids::UnknownSids,
};
use crate::{
    clock::Clock,
    cookie::GateCookies,
    crypto::Keyring,
    emergency::{self, EmergencyUsers, PasswordVerifier},
    metrics,
    oidc::Provider,
    policy::Policy,
    session::Sessions,
};

/// Parts that all snapshots share: they remember something across configurations.
pub(super) struct SharedParts {
    pub(super) renewer: Arc<Renewer>,
    pub(super) refusal_log: Arc<RefusalLog>,
    pub(super) header_cuts: Arc<HeaderCuts>,
    pub(super) credentials: Arc<CredentialCache>,
    pub(super) rate_limits: Arc<RateLimits>,
    pub(super) emergency_watch: Arc<EmergencyWatch>,
    pub(super) password_verifier: Arc<PasswordVerifier>,
    pub(super) adoption_memory: Arc<AdoptionMemory>,
}

impl SharedParts {
    fn finder(
        &self,
        reauthorization: &Arc<Reauthorization>,
        jar: &Arc<GateCookies>,
        adoption: Option<Arc<Adoption>>,
    ) -> Arc<SessionFinder> {
        let providers = &reauthorization.providers;
        Arc::new(SessionFinder {
            sessions: Arc::clone(&reauthorization.sessions),
            renewer: Arc::clone(&self.renewer),
            reauthorization: Arc::clone(reauthorization),
            jar: Arc::clone(jar),
            providers: providers.iter().map(|provider| TrustedProvider::of(provider.settings())).collect(),
            adoption,
        })
    }

    /// The adoption of one configuration.
    fn adoption(&self, settings: AdoptSettings, components: &GateComponents) -> Adoption {
        Adoption {
            upstream: components.upstreams.get(&settings.upstream).map(Arc::clone),
            settings,
            providers: components.providers.clone(),
            sessions: Arc::clone(&components.sessions),
            memory: Arc::clone(&self.adoption_memory),
            metrics: components.metrics.adoptions.clone(),
            clock: components.clock.clone(),
        }
    }

    /// The service tokens of one configuration, by the header that brings them.
    fn service_tokens(&self, header: HeaderName, sessions: &Arc<Sessions>) -> ServiceTokenCheck {
        ServiceTokenCheck { header, sessions: Arc::clone(sessions), rate_limits: Arc::clone(&self.rate_limits) }
    }

    /// The API clients of one configuration.
    fn api_clients(
        &self,
        settings: BearerSettings,
        providers: &[Arc<Provider>],
        issuers: &[Arc<Provider>],
        clock: &Clock,
    ) -> ApiClients {
        let (cache, limits) = (Arc::clone(&self.credentials), Arc::clone(&self.rate_limits));
        ApiClients::new(settings, providers, issuers, SharedClientParts { cache, limits, clock: clock.clone() })
    }

    /// The emergency sign-in of one configuration.
    fn emergency(
        &self,
        settings: emergency::Settings,
        components: &GateComponents,
        delegations: &[Option<Delegation>],
    ) -> EmergencySignIn {
        let (mut covered, mut outposts) = (BTreeSet::new(), Vec::new());
        for (place, app) in components.policy.apps_at(&settings.hosts) {
            match delegations.get(place) {
                Some(Some(delegation)) => outposts.push(Arc::clone(&delegation.health)),
                _ => drop(covered.insert(app.provider)),
            }
        }
        let now = components.clock.now();
        EmergencySignIn {
            users: EmergencyUsers::new(settings, Arc::clone(&self.password_verifier), now),
            sessions: Arc::clone(&components.sessions),
            providers: components.providers.clone(),
            covered: covered.into_iter().collect(),
            limits: Arc::clone(&self.rate_limits),
            watch: Arc::clone(&self.emergency_watch),
            outposts,
        }
    }
}

/// Flows of one configuration.
pub(super) struct Flows {
    pub(super) subrequests: Subrequests,
    pub(super) backchannel_logout: BackchannelLogout,
    pub(super) endpoints: Arc<Endpoints>,
    pub(super) refusals: Arc<Refusals>,
    pub(super) policy: Arc<Policy>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) providers: Vec<Arc<Provider>>,
    pub(super) forwarding: Forwarding,
}

impl Flows {
    /// Wires the flows of one configuration.
    pub(super) fn new(settings: Settings, components: GateComponents, shared: &SharedParts) -> Self {
        let SharedParts { renewer, refusal_log, header_cuts, rate_limits, .. } = shared;
        let jar = Arc::new(jar(&settings, &components.providers));
        let delegations = Delegation::all(&settings.delegates, &components.upstreams, &jar, &components.clock);
        let emergency =
            settings.emergency.clone().map(|emergency| shared.emergency(emergency, &components, &delegations));
        let adoption = settings.adopt.clone().map(|settings| Arc::new(shared.adoption(settings, &components)));
        let forwarding = Forwarding::new(&settings.upstreams, &components.upstreams, Arc::clone(&jar));
        let GateComponents { policy, sessions, providers, token_issuers, upstreams: _, pages, keyring, clock, metrics } =
            components;
        let unknown_sids = Arc::new(UnknownSids::new());
        let reauthorization = Arc::new(Reauthorization {
            sessions: Arc::clone(&sessions),
            renewer: Arc::clone(renewer),
            providers: providers.clone(),
            unknown_sids: Arc::clone(&unknown_sids),
            default: settings.reauthorize,
        });
        let common = CommonParts {
            policy: Arc::new(without_header(policy, settings.service_token_header.as_ref())),
            sessions,
            providers,
            finder: shared.finder(&reauthorization, &jar, adoption),
            refusals: Arc::new(Refusals::new(pages, Arc::clone(refusal_log), metrics.refusals)),
            keyring,
            jar,
            unknown_sids,
            reauthorization,
        };
        let check = Check {
            sessions: Arc::clone(&common.sessions),
            finder: Arc::clone(&common.finder),
            limits: AppLimits { sessions: Arc::clone(&common.sessions) },
            jar: Arc::clone(&common.jar),
            own_cookies: settings.own_cookies,
            service_tokens: settings.service_token_header.map(|header| shared.service_tokens(header, &common.sessions)),
            header_cuts: Arc::clone(header_cuts),
            api_clients: settings
                .bearer
                .map(|bearer| shared.api_clients(bearer, &common.providers, &token_issuers, &clock)),
            emergency: emergency.map(Arc::new),
            clock: clock.clone(),
        };
        let origins = PublicOrigins::new(settings.transport, settings.prefix, settings.compat);
        let login = common.login(clock.clone(), metrics.logins, rate_limits, origins.registered_callback());
        let endpoints = common.endpoints(&login, renewer, settings.legacy_cookies);
        let subrequests = Subrequests {
            origins,
            proxies: settings.trusted_proxies,
            service_hosts: settings.service_hosts,
            has_warned_of_method: false.into(),
            policy: Arc::clone(&common.policy),
            check,
            delegations,
            refused: RefusedRequests {
                step_ups: StepUps { login: Arc::clone(&login), refusals: Arc::clone(&common.refusals) },
                login,
                refusals: Arc::clone(&common.refusals),
                missing_headers: MissingHeaders::new(clock),
            },
            endpoints: Arc::clone(&endpoints),
            refusals: Arc::clone(&common.refusals),
            metrics: metrics.auth,
        };
        let CommonParts { policy, sessions, providers, refusals, .. } = common;
        let backchannel_logout = BackchannelLogout {
            sessions: Arc::clone(&sessions),
            providers: providers.clone(),
            refusal_log: Arc::clone(refusal_log),
        };
        Self { subrequests, backchannel_logout, endpoints, refusals, policy, sessions, providers, forwarding }
    }
}

fn without_header(policy: Policy, header: Option<&HeaderName>) -> Policy {
    match header {
        Some(header) => policy.removing(header),
        None => policy,
    }
}

fn jar(settings: &Settings, providers: &[Arc<Provider>]) -> GateCookies {
    let names: Vec<_> = providers.iter().map(|provider| provider.settings().name.as_str()).collect();
    GateCookies::new(&settings.cookie_name, &settings.cookie_domains, &names, settings.transport)
}

/// Components that the flows share.
struct CommonParts {
    policy: Arc<Policy>,
    sessions: Arc<Sessions>,
    providers: Vec<Arc<Provider>>,
    finder: Arc<SessionFinder>,
    refusals: Arc<Refusals>,
    keyring: Arc<Keyring>,
    jar: Arc<GateCookies>,
    unknown_sids: Arc<UnknownSids>,
    reauthorization: Arc<Reauthorization>,
}

impl CommonParts {
    fn login(
        &self,
        clock: Clock,
        metrics: metrics::LoginMetrics,
        rate_limits: &Arc<RateLimits>,
        callback: &str,
    ) -> Arc<LoginFlow> {
        let (policy, keyring, jar) = (Arc::clone(&self.policy), Arc::clone(&self.keyring), Arc::clone(&self.jar));
        Arc::new(LoginFlow {
            sessions: Arc::clone(&self.sessions),
            providers: self.providers.clone(),
            finder: Arc::clone(&self.finder),
            targets: ReturnTargets::new(policy, keyring, jar, clock.clone()),
            refused: SignInRefusals { refusals: Arc::clone(&self.refusals), metrics },
            rate_limits: Arc::clone(rate_limits),
            keyring: Arc::clone(&self.keyring),
            jar: Arc::clone(&self.jar),
            clock,
            registered_callback: callback.to_owned(),
        })
    }

    fn callback(&self, login: &Arc<LoginFlow>) -> CallbackFlow {
        let silent_callback = SilentCallback {
            finder: Arc::clone(&self.finder),
            reauthorization: Arc::clone(&self.reauthorization),
            metrics: login.refused.metrics.clone(),
        };
        let step_ups = StepUps { login: Arc::clone(login), refusals: Arc::clone(&self.refusals) };
        CallbackFlow {
            login: Arc::clone(login),
            silent_callback,
            step_ups,
            unknown_sids: Arc::clone(&self.unknown_sids),
        }
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
            adoption: self.finder.adoption.clone(),
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
            finder: Arc::clone(&self.finder),
            refusals: Arc::clone(&self.refusals),
        })
    }
}

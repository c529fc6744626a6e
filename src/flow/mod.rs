//! The gate: everything between a request and its verdict.
//!
//! Promises: every failure, at any point, becomes a refusal here; [`check`] is the only place that lets in.
//!
//! | file | for |
//! |---|---|
//! | `subrequest` | auth subrequests of edges: `ForwardAuth`, `forward_auth`, `auth_request`, `ext_authz` |
//! | `adopt` | sessions of an old outpost, honoured without a sign-in |
//! | `api_clients` | bearer tokens and app passwords of programs, under rules with `access = "bearer"` |
//! | `challenge` | `WWW-Authenticate` |
//! | `check` | authentication and authorisation, from memory or with the store |
//! | `judgement` | who is asking, held against what a path requires |
//! | `emergency`, `emergency_watch` | emergency passwords while store or provider are unavailable; their metric and log |
//! | `not_admitted` | why a request is not let in |
//! | `refused_request` | what each cause is answered with: a sign-in, or a refusal |
//! | `session_finder` | the session of a request, renewed and authorized where that is due |
//! | `cross_site` | requests of other sites that a session would let in (`cross_site`) |
//! | `compat` | paths and signatures of the gates whose place this one takes |
//! | `delegate` | apps whose checks an outpost answers |
//! | `service_tokens` | the service token of a request, and its refusals |
//! | `endpoints` | the gate's own endpoints below `server.prefix`, such as `/start` and `/callback` |
//! | `forward`, `forwarded_head` | reverse-proxy mode: what an app gets of a request that is let in, and the client of its answer |
//! | `login`, `attempt` | OpenID Connect sign-in: `state`, nonce, PKCE, the login cookie, redirect loops |
//! | `callback` | what the provider's answer makes of an attempt |
//! | `callback_parameters`, `sign_in_refusals` | what the provider answers through the browser, and what is made of its errors |
//! | `asked_target` | the address that a link to a sign-in asks to come back to |
//! | `return_target` | where the browser goes after sign-in, and where long addresses are kept meanwhile |
//! | `logout` | sign-out by the user (RP-initiated logout), CSRF confirmation, reset |
//! | `frontchannel_logout`, `unknown_sids` | front-channel logout, and the negative cache before its look-ups |
//! | `backchannel_logout` | back-channel logout |
//! | `protected_resource` | protected-resource metadata (RFC 9728) and the way to them in challenges |
//! | `header_cuts` | the report of identity headers that do not fit |
//! | `rate_limits` | how often one network may sign in or bring unknown credentials |
//! | `renewal` | single-flight renewal of sessions with their refresh tokens |
//! | `reauthorization`, `silent_callback` | asking the provider again without a prompt, once a session's authorization has aged |
//! | `step_up`, `step_up_request` | sign-ins that are not as a rule asks for, and what the way to the provider has brought |
//! | `app_limits` | an app's own `lifetime` and `idle_timeout` |
//! | `refusal`, `reasons`, `refusal_log` | refusals as pages and JSON, their statuses and words, and their log |
//! | `misconfigured_edge` | edges that do not pass on what the gate reads |
//! | `log_interval` | how often such things are logged |
//! | `verdict_label` | verdicts as the metric counts them |
//! | `context` | a request as all of these see it |
//! | `settings` | what the gate is told, and the components that it is given |
//! | `wiring`, `snapshot` | one configuration of all of these: built, and asked |

mod adopt;
mod api_clients;
mod app_limits;
mod asked_target;
mod attempt;
pub mod backchannel_logout;
mod callback;
mod callback_parameters;
mod challenge;
mod check;
mod compat;
mod context;
mod cross_site;
mod delegate;
mod emergency;
mod emergency_watch;
mod endpoint_path;
mod endpoints;
mod forward;
mod forwarded_head;
mod frontchannel_logout;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod header_cuts;
mod judgement;
mod log_interval;
mod login;
mod logout;
mod misconfigured_edge;
mod not_admitted;
pub mod protected_resource;
mod rate_limits;
mod reasons;
mod reauthorization;
mod refusal;
mod refusal_log;
mod refused_request;
mod renewal;
mod return_target;
mod service_tokens;
mod session_finder;
mod settings;
mod sign_in_refusals;
mod silent_callback;
mod snapshot;
mod step_up;
mod step_up_request;
mod subrequest;
mod unknown_sids;
mod verdict_label;
mod wiring;

use std::{sync::Arc, time::Duration};

use arc_swap::{ArcSwap, Guard};
use futures_util::FutureExt as _;
use tokio::sync::Notify;

pub use self::{
    adopt::AdoptSettings,
    api_clients::{AppPasswords, BearerSettings, Introspection, IssuerKeys, TrustedIssuer},
    check::OwnCookies,
    compat::{AUTHENTIK_PREFIX, CompatSettings, OAUTH2_PROXY_PREFIX},
    delegate::DelegateSettings,
    forward::{ForwardDecision, ForwardedRequest},
    forwarded_head::TrailerFilter,
    rate_limits::{RateLimit, RateLimitSettings},
    renewal::Renewer,
    settings::{GateComponents, Settings},
    snapshot::{GateHealth, Snapshot},
    subrequest::{PendingSubrequest, SubrequestAnswer},
};
use self::{
    adopt::AdoptionMemory, api_clients::CredentialCache, emergency_watch::EmergencyWatch, header_cuts::HeaderCuts,
    rate_limits::RateLimits, refusal_log::RefusalLog, renewal::RenewalConfig, wiring::SharedParts,
};
use crate::shutdown;

/// Interval between looks at whether the emergency sign-in is open, for the metric and the log.
const EMERGENCY_WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// The gate. It lives as long as the process; its [`Snapshot`] is swapped as a whole.
pub struct Gate {
    shared: SharedParts,
    now: ArcSwap<Snapshot>,
    /// Notified when another snapshot is in force.
    changed: Notify,
}

impl Gate {
    /// Builds a gate of these components.
    #[must_use]
    pub fn new(settings: Settings, components: GateComponents) -> Self {
        let renewer = Arc::new(Renewer::new(Arc::clone(&components.sessions), renewal_config(&components)));
        let refusal_log = Arc::new(RefusalLog::new(components.clock.clone()));
        let header_cuts = Arc::new(HeaderCuts::new(components.metrics.headers.clone()));
        let credentials = Arc::new(CredentialCache::new());
        let rate_limits = Arc::new(RateLimits::new(&settings.limits, components.clock.clone()));
        let watch = EmergencyWatch::new(components.metrics.emergency.clone(), components.clock.clone());
        let shared = SharedParts {
            renewer,
            refusal_log,
            header_cuts,
            rate_limits,
            credentials,
            emergency_watch: Arc::new(watch),
            password_verifier: Arc::default(),
            adoption_memory: Arc::new(AdoptionMemory::new(components.clock.clone())),
        };
        let snapshot = Snapshot::new(settings, components, &shared);
        Self { shared, now: ArcSwap::from_pointee(snapshot), changed: Notify::new() }
    }

    /// Returns the configuration in force. A request takes it once and is answered by it from beginning to end.
    #[must_use]
    pub fn now(&self) -> Guard<Arc<Snapshot>> {
        self.now.load()
    }

    /// Puts other settings and components in force, from the next request on. The sessions have to be the same ones.
    pub fn change(&self, settings: Settings, components: GateComponents) {
        self.shared.renewer.change(renewal_config(&components));
        self.shared.rate_limits.change(&settings.limits);
        let snapshot = Snapshot::new(settings, components, &self.shared);
        // What providers have said already is in the first answer.
        let _known = snapshot.follow_providers().now_or_never();
        self.now.store(Arc::new(snapshot));
        self.changed.notify_one();
    }

    /// Fills into identity headers what providers say of themselves, as soon as they do, until asked to stop.
    pub async fn follow_providers(&self, stop: shutdown::Signal) {
        loop {
            let now = self.now.load_full();
            tokio::select! {
                never = now.follow_providers() => match never {},
                () = self.changed.notified() => {}
                () = stop.raised() => return,
            }
        }
    }

    /// Logs once a minute how often refusals were repeated, until asked to stop.
    pub async fn log_refusals(&self, stop: shutdown::Signal) {
        self.shared.refusal_log.run(stop).await;
    }

    /// Has metric and log show whether the emergency sign-in is open, without any traffic, until asked to stop.
    pub async fn watch_emergency(&self, stop: shutdown::Signal) {
        let watch = &self.shared.emergency_watch;
        loop {
            self.now.load().observe_emergency(watch);
            watch.write_repeated(|ends, now| ends <= now);
            tokio::select! { () = tokio::time::sleep(EMERGENCY_WATCH_INTERVAL) => {}, () = stop.raised() => break }
        }
        watch.write_repeated(|_, _| true);
    }

    /// Returns the renewer, for the task that runs it.
    #[must_use]
    pub fn renewer(&self) -> Arc<Renewer> {
        Arc::clone(&self.shared.renewer)
    }
}

fn renewal_config(components: &GateComponents) -> RenewalConfig {
    RenewalConfig::new(&components.providers, &components.metrics.renewals)
}

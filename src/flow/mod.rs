//! The gate: everything between a request and its verdict.
//!
//! Promises: every failure, at any point, becomes a refusal here; [`check`] is the only place that lets in.
//!
//! | file | for |
//! |---|---|
//! | `subrequest` | auth subrequests of edges: `ForwardAuth`, `forward_auth`, `auth_request`, `ext_authz` |
//! | `check` | authentication and authorisation, from memory or with the store |
//! | `endpoints` | the gate's own endpoints below `server.prefix`, such as `/start` and `/callback` |
//! | `login`, `attempt` | OpenID Connect sign-in: `state`, nonce, PKCE, the login cookie, redirect loops |
//! | `callback` | what the provider's answer makes of an attempt |
//! | `callback_parameters`, `sign_in_refusals` | what the provider answers through the browser, and what is made of its errors |
//! | `return_target` | where the browser goes after sign-in, and where long addresses are kept meanwhile |
//! | `logout` | sign-out by the user (RP-initiated logout), CSRF confirmation, reset |
//! | `frontchannel_logout`, `unknown_sids` | front-channel logout, and the negative cache before its look-ups |
//! | `backchannel_logout` | back-channel logout |
//! | `header_cuts` | the report of identity headers that do not fit |
//! | `renewal` | single-flight renewal of sessions with their refresh tokens |
//! | `reauthorization`, `silent_callback` | asking the provider again without a prompt, once a session's authorization has aged |
//! | `refusal`, `refusal_log` | refusals as pages and JSON, and their log |
//! | `misconfigured_edge` | edges that do not pass on what the gate reads |
//! | `log_interval` | how often such things are logged |
//! | `context` | a request as all of these see it |
//! | `snapshot` | one configuration of all of these |

mod attempt;
pub mod backchannel_logout;
mod callback;
mod callback_parameters;
mod check;
mod context;
mod endpoints;
mod frontchannel_logout;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod header_cuts;
mod log_interval;
mod login;
mod logout;
mod misconfigured_edge;
mod reauthorization;
mod refusal;
mod refusal_log;
mod renewal;
mod return_target;
mod sign_in_refusals;
mod silent_callback;
mod snapshot;
mod subrequest;
mod unknown_sids;

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use futures_util::FutureExt as _;
use tokio::sync::Notify;

pub use self::{
    check::OwnCookies,
    renewal::Renewer,
    snapshot::{GateComponents, GateHealth, Settings, Snapshot},
    subrequest::{PendingSubrequest, SubrequestAnswer},
};
use self::{header_cuts::HeaderCuts, refusal_log::RefusalLog, renewal::RenewalConfig, snapshot::SharedParts};
use crate::shutdown;

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
        let shared = SharedParts { renewer, refusal_log, header_cuts };
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

    /// Returns the renewer, for the task that runs it.
    #[must_use]
    pub fn renewer(&self) -> Arc<Renewer> {
        Arc::clone(&self.shared.renewer)
    }
}

fn renewal_config(components: &GateComponents) -> RenewalConfig {
    RenewalConfig::new(&components.providers, &components.metrics.renewals)
}

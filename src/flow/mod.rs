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
//! | `logout` | sign-out by the user (RP-initiated logout), CSRF confirmation, reset |
//! | `frontchannel_logout`, `unknown_sids` | front-channel logout, and the negative cache before its look-ups |
//! | `backchannel_logout` | back-channel logout |
//! | `renewal` | single-flight renewal of sessions with their refresh tokens |
//! | `reauthorization`, `silent_callback` | asking the provider again without a prompt, once a session's authorization has aged |
//! | `refusal`, `refusal_log` | refusals as pages and JSON, and their log |
//! | `context` | a request as all of these see it |
//! | `snapshot` | one configuration of all of these |

mod attempt;
pub mod backchannel_logout;
mod check;
mod context;
mod endpoints;
mod frontchannel_logout;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod login;
mod logout;
mod reauthorization;
mod refusal;
mod refusal_log;
mod renewal;
mod silent_callback;
mod snapshot;
mod subrequest;
mod unknown_sids;

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

pub use self::{
    check::OwnCookies,
    renewal::Renewer,
    snapshot::{GateComponents, GateHealth, Settings, Snapshot},
    subrequest::{PendingSubrequest, SubrequestAnswer},
};
use self::{refusal_log::RefusalLog, renewal::RenewalConfig};
use crate::shutdown;

/// The gate. It lives as long as the process; its [`Snapshot`] is swapped as a whole.
pub struct Gate {
    renewer: Arc<Renewer>,
    refusal_log: Arc<RefusalLog>,
    now: ArcSwap<Snapshot>,
}

impl Gate {
    /// Builds a gate of these components.
    #[must_use]
    pub fn new(settings: Settings, components: GateComponents) -> Self {
        let renewer = Arc::new(Renewer::new(Arc::clone(&components.sessions), renewal_config(&components)));
        let refusal_log = Arc::new(RefusalLog::new(components.clock.clone()));
        let now = ArcSwap::from_pointee(Snapshot::new(settings, components, &renewer, &refusal_log));
        Self { renewer, refusal_log, now }
    }

    /// Returns the configuration in force. A request takes it once and is answered by it from beginning to end.
    #[must_use]
    pub fn now(&self) -> Guard<Arc<Snapshot>> {
        self.now.load()
    }

    /// Puts other settings and components in force, from the next request on. The sessions have to be the same ones.
    pub fn change(&self, settings: Settings, components: GateComponents) {
        self.renewer.change(renewal_config(&components));
        self.now.store(Arc::new(Snapshot::new(settings, components, &self.renewer, &self.refusal_log)));
    }

    /// Logs once a minute how often refusals were repeated, until asked to stop.
    pub async fn log_refusals(&self, stop: shutdown::Signal) {
        self.refusal_log.run(stop).await;
    }

    /// Returns the renewer, for the task that runs it.
    #[must_use]
    pub fn renewer(&self) -> Arc<Renewer> {
        Arc::clone(&self.renewer)
    }
}

fn renewal_config(components: &GateComponents) -> RenewalConfig {
    RenewalConfig::new(&components.providers, &components.metrics.renewals)
}

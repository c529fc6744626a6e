//! Causes of not being let in.

use std::sync::Arc;

use super::{
    api_clients::{ClientRefusal, KnownCredential},
    delegate::OutpostAnswer,
    emergency::{EmergencyRefusal, OutageCause},
    reauthorization::SilentTrip,
    service_tokens::ServiceTokenRefusal,
    session_finder::Undetermined,
    step_up::MissingStepUp,
};
use crate::{
    edge::Reason,
    identity::PackedIdentity,
    policy::{Denial, MissingGrant, Requirement},
    session::CachedSession,
};

/// Cause of not being let in.
#[derive(Debug)]
pub(super) enum NotAdmitted<'p> {
    /// No session, or one that is over.
    Unauthenticated(Reason),
    /// No permission: the session, where one was looked up, and the rule or `allow` that refused it.
    Forbidden(Option<Arc<CachedSession>>, Denial<'p>),
    /// Request of another site, which this session may not be used for.
    CrossSite(Arc<CachedSession>),
    /// The app's own cookies are longer than an answer may be.
    CookiesTooLong,
    /// A page whose session its provider has to authorize again.
    Unauthorized(Box<SilentTrip>),
    /// A sign-in that is not as a rule or the app asks for.
    StepUp(MissingStepUp),
    /// Unknown whether there is a session.
    Undetermined(Undetermined),
    /// An API client without a credential that counts.
    UnknownClient(ClientRefusal),
    /// An API client without permission: what is known of it, and the rule or `allow` that refused it.
    ClientForbidden(Arc<KnownCredential>, Denial<'p>),
    /// A service token that does not let in.
    ServiceToken(Box<ServiceTokenRefusal<'p>>),
    /// Not let in by the outpost that answers for the app.
    Outpost(Box<OutpostAnswer>),
    /// Asked for an emergency password, or refused with one.
    Emergency(EmergencyRefusal),
}

impl NotAdmitted<'_> {
    /// Returns `true` if an emergency password may count where a request was not let in for this cause. A session that the store
    /// would know is waited for while only the provider is unavailable. Under a bearer rule `Authorization` is for API clients.
    pub(super) fn is_helped_over(&self, outage: OutageCause, requirement: &Requirement<'_>) -> bool {
        let nobody_known = match self {
            Self::Unauthenticated(reason) => matches!(reason, Reason::NoSession | Reason::SessionEnded),
            Self::Undetermined(Undetermined::Provider | Undetermined::OldOutpost) => true,
            Self::Undetermined(Undetermined::Store(_)) => outage == OutageCause::Store,
            _ => false,
        };
        nobody_known && !matches!(requirement, Requirement::Bearer(_))
    }
}

impl NotAdmitted<'_> {
    /// Returns the reason where a person could sign in, for edges that send people to a sign-in of their own accord.
    pub(super) fn sign_in_reason(&self) -> Option<Reason> {
        match self {
            Self::Unauthenticated(reason) => Some(*reason),
            Self::Unauthorized(_) => Some(Reason::Reauthorize),
            Self::StepUp(MissingStepUp { session: Some(_), asked: Some(_) }) => Some(Reason::StepUp),
            _ => None,
        }
    }
}

impl<'p> From<ServiceTokenRefusal<'p>> for NotAdmitted<'p> {
    fn from(refusal: ServiceTokenRefusal<'p>) -> Self {
        Self::ServiceToken(Box::new(refusal))
    }
}

impl From<Undetermined> for NotAdmitted<'_> {
    fn from(cause: Undetermined) -> Self {
        Self::Undetermined(cause)
    }
}

impl From<ClientRefusal> for NotAdmitted<'_> {
    fn from(cause: ClientRefusal) -> Self {
        Self::UnknownClient(cause)
    }
}

/// Returns the reason for a denial.
pub(super) fn denial_reason(denial: Denial<'_>, identity: Option<&PackedIdentity>) -> Reason {
    match (denial, identity) {
        (Denial::Rule, _) => Reason::RuleDenied,
        (Denial::StepUp(_), _) => Reason::StepUp,
        (Denial::NotAllowed(allow), Some(identity)) => reason_of(allow.missing(identity)),
        (Denial::Narrowed(narrowing), Some(identity)) => reason_of(narrowing.missing(identity)),
        (Denial::NotAllowed(_) | Denial::Narrowed(_), None) => Reason::NotAllowed,
    }
}

fn reason_of(missing: MissingGrant) -> Reason {
    match missing {
        MissingGrant::Group => Reason::GroupMissing,
        MissingGrant::AllGroups => Reason::GroupsIncomplete,
        MissingGrant::Other => Reason::NotAllowed,
        MissingGrant::VerifiedEmail => Reason::EmailUnverified,
    }
}

//! Verdicts as the metric counts them.

use http::StatusCode;

use crate::{
    edge::{Reason, Refusal, Verdict},
    metrics,
    policy::headers::DOORWARD_EMERGENCY,
};

/// The one table from verdict to metric.
pub(super) fn verdict_label(verdict: &Verdict) -> metrics::VerdictLabel {
    let reason = match verdict {
        Verdict::Allow(admission) if admission.header(&DOORWARD_EMERGENCY).is_some_and(|value| !value.is_empty()) => {
            return metrics::VerdictLabel::Emergency;
        }
        Verdict::Allow(_) => return metrics::VerdictLabel::Allow,
        Verdict::Redirect(_) => return metrics::VerdictLabel::Login,
        // A program is told how somebody has to sign in; a page that it did not help is forbidden.
        Verdict::Refuse(Refusal { reason: Reason::StepUp, status: StatusCode::UNAUTHORIZED, .. }) => {
            return metrics::VerdictLabel::Unauthenticated;
        }
        // An outage is a 503, unless somebody is asked for an emergency password.
        Verdict::Refuse(Refusal {
            reason: Reason::StoreUnavailable | Reason::ProviderUnavailable | Reason::UpstreamUnavailable,
            status: StatusCode::UNAUTHORIZED,
            ..
        }) => return metrics::VerdictLabel::Emergency,
        Verdict::Refuse(refusal) => refusal.reason,
    };
    match reason {
        Reason::EmergencyRefused => metrics::VerdictLabel::Emergency,
        Reason::NoSession
        | Reason::SessionEnded
        | Reason::Reauthorize
        | Reason::InvalidToken
        | Reason::SignedOut
        | Reason::Reset
        | Reason::ConfirmSignOut => metrics::VerdictLabel::Unauthenticated,
        Reason::GroupMissing
        | Reason::GroupsIncomplete
        | Reason::NotAllowed
        | Reason::EmailUnverified
        | Reason::RuleDenied
        | Reason::StepUp
        | Reason::CrossSite
        | Reason::UnknownHost
        | Reason::SignInFailed
        | Reason::SignInLoop => metrics::VerdictLabel::Forbidden,
        Reason::StoreUnavailable
        | Reason::ProviderUnavailable
        | Reason::UpstreamUnavailable
        | Reason::UpstreamTimeout
        | Reason::Overloaded => metrics::VerdictLabel::Unavailable,
        Reason::UntrustedPeer
        | Reason::BadRequest
        | Reason::HeadersTooLarge
        | Reason::RateLimited
        | Reason::NeedsRoute
        | Reason::NotFound
        | Reason::NoSuchEdge
        | Reason::SigningIn
        | Reason::SignedIn
        | Reason::Internal => metrics::VerdictLabel::Rejected,
    }
}

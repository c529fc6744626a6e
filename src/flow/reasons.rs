//! Reasons of refusals: the one table from reason to status, and the words for people who read JSON.

use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::edge::Reason;

/// `Retry-After`, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// The one table from reason to status.
pub(super) fn status(reason: Reason) -> StatusCode {
    match reason {
        Reason::NoSession
        | Reason::SessionEnded
        | Reason::Reauthorize
        | Reason::InvalidToken
        | Reason::EmergencyRefused
        | Reason::SignedOut
        | Reason::Reset => StatusCode::UNAUTHORIZED,
        Reason::GroupMissing
        | Reason::GroupsIncomplete
        | Reason::NotAllowed
        | Reason::EmailUnverified
        | Reason::RuleDenied
        | Reason::StepUp
        | Reason::CrossSite
        | Reason::UnknownHost
        | Reason::UntrustedPeer
        | Reason::SignInFailed
        | Reason::SignInLoop
        | Reason::ConfirmSignOut => StatusCode::FORBIDDEN,
        Reason::UpstreamUnavailable => StatusCode::BAD_GATEWAY,
        Reason::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
        Reason::StoreUnavailable | Reason::ProviderUnavailable | Reason::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        Reason::BadRequest => StatusCode::BAD_REQUEST,
        Reason::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Reason::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Reason::NeedsRoute | Reason::NotFound | Reason::NoSuchEdge => StatusCode::NOT_FOUND,
        Reason::SigningIn | Reason::SignedIn => StatusCode::FOUND,
        Reason::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Sentence for people who read the JSON in a console.
pub(super) fn message(reason: Reason) -> &'static str {
    match reason {
        Reason::NoSession => "There is no session. Sign in at login_url.",
        Reason::SessionEnded => "The session has ended. Sign in again at login_url.",
        Reason::Reauthorize => {
            "The identity provider has to authorize the session again. Open a page of this app, or login_url."
        }
        Reason::GroupMissing | Reason::NotAllowed => "The signed-in account may not use this app.",
        Reason::GroupsIncomplete => {
            "The signed-in account may not use this app: its identity provider did not tell all of its groups."
        }
        Reason::EmailUnverified => {
            "The signed-in account may not use this app: its identity provider has not verified its e-mail address."
        }
        Reason::RuleDenied => "A rule of this app denies this path.",
        Reason::StepUp => "The signed-in account has to sign in again, or in a stronger way, to use this.",
        Reason::CrossSite => "Another site made this request, and this app does not accept those.",
        Reason::InvalidToken => "The credential is not valid here.",
        Reason::EmergencyRefused => "The emergency user name or password is wrong.",
        Reason::RateLimited => "There were too many attempts from this network. Try again later.",
        Reason::UnknownHost => "No app is set up for this host.",
        Reason::StoreUnavailable => "The session store does not answer. Try again shortly.",
        Reason::UpstreamUnavailable => "The app does not answer. Try again shortly.",
        Reason::UpstreamTimeout => "The app takes too long to answer. Try again shortly.",
        Reason::ProviderUnavailable => "The identity provider does not answer. Try again shortly.",
        Reason::UntrustedPeer => "This address may not ask on behalf of others: it is not in server.trusted_proxies.",
        Reason::BadRequest => "This is not a request that an edge makes.",
        Reason::HeadersTooLarge => "The header of this request is too long. Deleting cookies of this site may help.",
        Reason::NeedsRoute => "This path needs a direct route to the gate.",
        Reason::NotFound => "There is nothing at this path.",
        Reason::NoSuchEdge => "No edge asks at this path.",
        Reason::Overloaded => "There are too many requests at once. Try again shortly.",
        Reason::SigningIn | Reason::SignedIn => "Follow the redirect.",
        Reason::SignInFailed => "Sign-in failed.",
        Reason::SignInLoop => "Sign-in went round too often; cookies may be blocked.",
        Reason::SignedOut => "The session has been ended.",
        Reason::ConfirmSignOut => "Another site asked to sign out; a person has to confirm it.",
        Reason::Reset => "The cookies have been cleared.",
        Reason::Internal => "The gate failed to answer.",
    }
}

pub(super) fn extra_headers(reason: Reason) -> Vec<(HeaderName, HeaderValue)> {
    match status(reason) {
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
            vec![(header::RETRY_AFTER, RETRY_AFTER)]
        }
        _ => Vec::new(),
    }
}

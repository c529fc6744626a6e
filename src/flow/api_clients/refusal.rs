//! Refusals of API clients: what a program is told, with the challenge that says which credential is wanted.
//!
//! Promises: never a redirect, whatever is being opened; an error only where a credential came (RFC 6750, section 3.1); what the
//! provider says of a token goes to the log and not to the client.

use http::header;

use super::{
    super::{
        challenge::{Challenge, ChallengeError},
        context::RequestContext,
        protected_resource,
        rate_limits::RateLimited,
        refusal::Refusals,
        refusal_log::RefusalDetails,
    },
    settings::AppPasswords,
};
use crate::{
    edge::{Reason, Refusal},
    oidc::CredentialError,
    pages::Page,
};

/// Cause of not letting an API client in without knowing it.
#[derive(Clone, Debug)]
pub(in crate::flow) enum ClientRefusal {
    /// No credential of a scheme that counts here.
    NoCredential,
    /// A header that holds no credential, and why: the end of a sentence that begins with it.
    Malformed(&'static str),
    /// A credential that is not accepted.
    Invalid(CredentialError),
    /// Too many attempts of the client's network.
    RateLimited(RateLimited),
    /// Too many verifications at a time.
    Overloaded,
    /// The provider does not answer.
    Unavailable(String),
}

impl From<CredentialError> for ClientRefusal {
    fn from(error: CredentialError) -> Self {
        match error {
            CredentialError::Unavailable(text) => Self::Unavailable(text),
            refused => Self::Invalid(refused),
        }
    }
}

impl ClientRefusal {
    /// Returns `true` for one that says something about the credential, and will be the same in a moment.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::Invalid(_))
    }

    fn reason(&self) -> Reason {
        match self {
            Self::NoCredential => Reason::NoSession,
            Self::Malformed(_) | Self::Invalid(_) => Reason::InvalidToken,
            Self::RateLimited(_) => Reason::RateLimited,
            Self::Overloaded => Reason::Overloaded,
            Self::Unavailable(_) => Reason::ProviderUnavailable,
        }
    }

    /// Returns the description of the error for the client, in the characters of RFC 6750.
    fn description(&self) -> Option<&'static str> {
        match self {
            Self::Malformed(_) => Some("The Authorization header is malformed"),
            Self::Invalid(CredentialError::Expired) => Some("The token has expired"),
            Self::Invalid(_) => Some("The credential is invalid, revoked, or meant for somebody else"),
            Self::NoCredential | Self::RateLimited(_) | Self::Overloaded | Self::Unavailable(_) => None,
        }
    }
}

/// Refuses an API client; `retry` is the address that was asked for.
pub(in crate::flow) fn refuse(
    refusals: &Refusals,
    context: &RequestContext<'_>,
    cause: &ClientRefusal,
    app_passwords: AppPasswords,
    retry: &str,
) -> Refusal {
    let app = context.site.app.name.as_str();
    let (reason, description) = (cause.reason(), cause.description());
    let page = match cause {
        ClientRefusal::Unavailable(_) | ClientRefusal::Overloaded => Page::ProviderUnavailable { retry },
        _ => Page::CredentialNeeded { app },
    };
    let text = match cause {
        ClientRefusal::Malformed(problem) => format!("the Authorization header {problem}"),
        ClientRefusal::Invalid(error) => format!("the credential {error}"),
        ClientRefusal::Unavailable(text) => text.clone(),
        ClientRefusal::NoCredential | ClientRefusal::RateLimited(_) | ClientRefusal::Overloaded => String::new(),
    };
    let detail = Some(&text as &dyn std::fmt::Display).filter(|_| !text.is_empty());
    let details = RefusalDetails { detail, ..RefusalDetails::default() };
    let mut refusal = refusals.refuse_with(context, reason, &page, details);
    if let ClientRefusal::RateLimited(limited) = cause {
        refusal.headers.push((header::RETRY_AFTER, limited.retry_after.as_secs().max(1).into()));
    }
    if refusal.status == http::StatusCode::UNAUTHORIZED {
        let challenge = Challenge::bearer(app);
        let challenge = match description {
            Some(description) => challenge.with_error(ChallengeError::InvalidToken, description),
            None => challenge,
        };
        let challenge = match protected_resource::metadata_url(context, retry) {
            Some(url) => {
                refusal.headers.extend(protected_resource::readable_challenge());
                challenge.with("resource_metadata", &url)
            }
            None => challenge,
        };
        refusal.headers.push((header::WWW_AUTHENTICATE, challenge.into_value()));
        if app_passwords == AppPasswords::AtProvider {
            refusal.headers.push((header::WWW_AUTHENTICATE, Challenge::basic(app).into_value()));
        }
    }
    refusal
}

/// Adds the challenge to the refusal of a client whose credential is good, and not for this (RFC 6750, section 3.1).
pub(in crate::flow) fn challenge_for_more(mut refusal: Refusal, context: &RequestContext<'_>) -> Refusal {
    let challenge = Challenge::bearer(&context.site.app.name)
        .with_error(ChallengeError::InsufficientScope, "The credential does not give access to this path");
    refusal.headers.push((header::WWW_AUTHENTICATE, challenge.into_value()));
    refusal
}

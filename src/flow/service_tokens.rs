//! Service tokens of requests: which one a request brings, whether it counts at the app, and how it is refused.
//!
//! Promises: a token counts at the hosts of its apps alone; a request that brings one is judged by it and by no session, and is
//! never sent to a sign-in.

use std::{fmt, sync::Arc};

use http::{HeaderMap, HeaderName};

use super::{
    context::RequestContext,
    rate_limits::{LimitedAction, RateLimited, RateLimits},
    refusal::Refusals,
    refusal_log::{HeldGrants, RefusalDetails, RequiredAccess},
    session_finder::Undetermined,
};
use crate::{
    clock::Timestamp,
    edge::{Reason, Refusal},
    identity::{PackedIdentity, Principal},
    pages::Page,
    policy::{Denial, Requirement, Site},
    session::{
        Sessions, Unavailable,
        service_tokens::{CachedServiceToken, ServiceTokenOutcome, ServiceTokens},
    },
};

/// Reads service tokens.
pub(super) struct ServiceTokenCheck {
    /// `tokens.header`.
    pub(super) header: HeaderName,
    pub(super) sessions: Arc<Sessions>,
    pub(super) rate_limits: Arc<RateLimits>,
}

/// Header of a service token in a request.
#[derive(Clone, Copy)]
pub(super) enum PresentedToken<'r> {
    /// One line, not empty.
    One(&'r [u8]),
    /// Several lines: whichever of them counted, somebody else may have meant another.
    Several,
}

/// Cause of a service token not letting in.
#[derive(Debug)]
pub(super) enum ServiceTokenRefusal<'p> {
    /// Not valid here.
    Invalid(InvalidServiceToken),
    /// Not valid anywhere, and more such attempts came from one network than are allowed.
    Limited(RateLimited),
    /// Valid, and refused by a rule or an `allow`.
    Forbidden(Arc<CachedServiceToken>, Denial<'p>, Reason),
    /// Unknown, because the store is unavailable.
    Undetermined(Unavailable),
}

/// Cause of a service token not being valid here, for the log.
#[derive(Debug)]
pub(super) enum InvalidServiceToken {
    Repeated,
    NotOurs,
    Revoked,
    Expired(Arc<CachedServiceToken>),
    OtherApp(Arc<CachedServiceToken>),
}

impl ServiceTokenCheck {
    /// Returns the token that a request brings, where a session would count as well. An empty header is none: so edges write one
    /// that is not there.
    #[inline]
    pub(super) fn presented<'r>(
        &self,
        requirement: &Requirement<'_>,
        headers: &'r HeaderMap,
    ) -> Option<PresentedToken<'r>> {
        if !matches!(requirement, Requirement::Identity(_) | Requirement::Optional) {
            return None;
        }
        let mut lines = headers.get_all(&self.header).iter();
        let line = lines.next()?;
        if lines.next().is_some() {
            return Some(PresentedToken::Several);
        }
        (!line.is_empty()).then_some(PresentedToken::One(line.as_bytes()))
    }

    /// Returns what `judge` makes of a token's principal, if memory alone can answer.
    #[inline]
    pub(super) fn get_cached<T>(
        &self,
        site: &Site<'_>,
        presented: PresentedToken<'_>,
        judge: impl FnOnce(&Principal<'_>, Timestamp) -> Option<T>,
    ) -> Option<T> {
        let PresentedToken::One(value) = presented else { return None };
        ServiceTokens::of(&self.sessions)
            .get_cached(value, |token, now| if counts_at(token, site) { judge(&token.principal(), now) } else { None })
    }

    /// Finds the token that counts at the requested host.
    pub(super) async fn find<'p>(
        &self,
        context: &RequestContext<'_>,
        presented: PresentedToken<'_>,
    ) -> Result<Arc<CachedServiceToken>, ServiceTokenRefusal<'p>> {
        let found = match presented {
            PresentedToken::One(value) => ServiceTokens::of(&self.sessions).find(value).await,
            PresentedToken::Several => return Err(self.unknown(context, InvalidServiceToken::Repeated)),
        };
        match found {
            Ok(ServiceTokenOutcome::Live(token)) if counts_at(&token, &context.site) => Ok(token),
            Ok(ServiceTokenOutcome::Live(token)) => Err(InvalidServiceToken::OtherApp(token).into()),
            Ok(ServiceTokenOutcome::Expired(token)) => Err(InvalidServiceToken::Expired(token).into()),
            Ok(ServiceTokenOutcome::Revoked) => Err(self.unknown(context, InvalidServiceToken::Revoked)),
            Ok(ServiceTokenOutcome::NotOurs) => Err(self.unknown(context, InvalidServiceToken::NotOurs)),
            Err(unavailable) => Err(ServiceTokenRefusal::Undetermined(unavailable)),
        }
    }

    /// Refuses a token that is nobody's, and counts it for its network.
    fn unknown<'p>(&self, context: &RequestContext<'_>, fault: InvalidServiceToken) -> ServiceTokenRefusal<'p> {
        match self.rate_limits.check(LimitedAction::Credential, context.client) {
            Ok(()) => fault.into(),
            Err(limited) => ServiceTokenRefusal::Limited(limited),
        }
    }
}

/// Returns `true` if a token is for a site's app. At hosts that no app names none is.
fn counts_at(token: &CachedServiceToken, site: &Site<'_>) -> bool {
    site.index.is_some() && token.is_for(&site.app.name)
}

impl ServiceTokenRefusal<'_> {
    /// Makes the answer, and logs it.
    pub(super) fn refuse(
        self,
        refusals: &Refusals,
        context: &RequestContext<'_>,
        target: &str,
        retry: &str,
    ) -> Refusal {
        let path = target.split('?').next();
        match self {
            Self::Invalid(fault) => {
                let identity = fault.token().map(CachedServiceToken::identity);
                let details = RefusalDetails {
                    user: identity.map(PackedIdentity::user),
                    subject: identity.map(PackedIdentity::subject),
                    path,
                    detail: Some(&fault),
                    ..RefusalDetails::default()
                };
                let page = Page::BadRequest { detail: "The service token that came with it is not valid here." };
                refusals.refuse_with(context, Reason::InvalidToken, &page, details)
            }
            Self::Limited(limited) => refusals.rate_limited(context, limited, retry),
            Self::Forbidden(token, denial, reason) => {
                let (identity, needs) = (token.identity(), RequiredAccess(denial));
                let has = HeldGrants(identity, denial);
                let details = RefusalDetails {
                    user: Some(identity.user()),
                    subject: Some(identity.subject()),
                    path,
                    needs: Some(&needs),
                    has: Some(&has),
                    ..RefusalDetails::default()
                };
                let page = Page::Denied { app: &context.site.app.name };
                refusals.refuse_with(context, reason, &page, details)
            }
            Self::Undetermined(error) => refusals.undetermined(context, &Undetermined::Store(error), retry),
        }
    }
}

impl InvalidServiceToken {
    /// The token, where it is one of ours.
    fn token(&self) -> Option<&CachedServiceToken> {
        match self {
            Self::Expired(token) | Self::OtherApp(token) => Some(token),
            Self::Repeated | Self::NotOurs | Self::Revoked => None,
        }
    }
}

impl From<InvalidServiceToken> for ServiceTokenRefusal<'_> {
    fn from(fault: InvalidServiceToken) -> Self {
        Self::Invalid(fault)
    }
}

impl fmt::Display for InvalidServiceToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repeated => f.write_str("more than one line of the header of service tokens"),
            Self::NotOurs => f.write_str("a service token that the gate did not make, or with a secret that is gone"),
            Self::Revoked => f.write_str("a service token that was revoked"),
            Self::Expired(_) => f.write_str("a service token that has expired"),
            Self::OtherApp(token) => write!(f, "a service token for other apps: {}", token.apps().join(", ")),
        }
    }
}

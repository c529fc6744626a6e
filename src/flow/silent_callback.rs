//! The callback of a page that went past the provider without a prompt.
//!
//! Promises: a session ends only by an answer to its own request, in the browser that has its cookie; an outage of the provider
//! ends none.

use std::sync::Arc;

use super::{
    context::RequestContext,
    reauthorization::{Completed, Reauthorization},
    session_finder::{RequestSession, SessionFinder},
};
use crate::{
    metrics::{LoginMetrics, LoginResult},
    oidc::SignedIn,
    session::{CachedSession, Unavailable},
};

/// Answers callbacks that are about a session of this browser.
pub(super) struct SilentCallback {
    pub(super) finder: Arc<SessionFinder>,
    pub(super) reauthorization: Arc<Reauthorization>,
    pub(super) metrics: LoginMetrics,
}

/// What is left to do after an error response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterRefusal {
    /// A sign-in: the session has ended.
    SignIn,
    /// Nothing: it came late, and the browser has signed in since.
    SendOn,
    /// To explain it: the provider is unavailable, and the page would only go there again.
    Explain,
    /// All that a sign-in needs: it is no answer about a session.
    NotReauthorization,
}

impl SilentCallback {
    /// Takes an error response. `session` is the one that was to be authorized again; `None` for a sign-in.
    pub(super) async fn refused(
        &self,
        context: &RequestContext<'_>,
        session: Option<u64>,
        error: &str,
    ) -> AfterRefusal {
        let Some(session) = session else { return AfterRefusal::NotReauthorization };
        if matches!(error, "temporarily_unavailable" | "server_error") {
            return AfterRefusal::Explain;
        }
        match self.current_session(context).await {
            Some(current) if !Reauthorization::is_named(&current, session) => AfterRefusal::SendOn,
            Some(current) => {
                self.metrics.count(context.site.app.provider, LoginResult::Denied);
                self.reauthorization.refused(context, &current, error).await;
                AfterRefusal::SignIn
            }
            None => AfterRefusal::SignIn,
        }
    }

    /// Takes an authorization. It is a sign-in, unless it is about the session of the same person in this browser.
    pub(super) async fn authorized(
        &self,
        context: &RequestContext<'_>,
        session: Option<u64>,
        signed_in: SignedIn,
    ) -> Result<Completed, Unavailable> {
        let Some(session) = session else { return Ok(Completed::SignIn(Box::new(signed_in))) };
        let current = self.current_session(context).await;
        let current = current.filter(|current| Reauthorization::is_named(current, session));
        let completed = self.reauthorization.authorized(context, current, signed_in).await?;
        if matches!(completed, Completed::GoesOn) {
            self.metrics.count(context.site.app.provider, LoginResult::Reauthorized);
        }
        Ok(completed)
    }

    async fn current_session(&self, context: &RequestContext<'_>) -> Option<Arc<CachedSession>> {
        match self.finder.find(context).await {
            Ok(RequestSession::Current(session)) => Some(session),
            Ok(RequestSession::Absent(_)) | Err(_) => None,
        }
    }
}

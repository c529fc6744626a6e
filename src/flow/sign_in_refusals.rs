//! Refusals of sign-ins: what the provider answered, what of it trying again can mend, and the page for the rest.
//!
//! Promises: only known error codes are repeated, because anybody may have written the others into the URL.

use std::sync::Arc;

use super::{context::RequestContext, refusal::Refusals, refusal_log::RefusalDetails, return_target::ReturnTarget};
use crate::{
    edge::{self, Edge, Reason, Verdict},
    metrics, oidc,
    pages::Page,
};

/// Error response of the provider (RFC 6749, section 4.1.2.1; OpenID Connect Core, section 3.1.2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AuthorizationErrorResponse {
    /// The code, if it is a known one.
    pub(super) code: &'static str,
    pub(super) remedy: Remedy,
    /// Sentence for the page.
    detail: &'static str,
}

/// What mends an error response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Beginning again: Keycloak says `temporarily_unavailable` in a tab that another tab has overtaken.
    Retry,
    /// Nothing that the browser could do by itself.
    None,
}

impl AuthorizationErrorResponse {
    /// The error of a code.
    pub(super) fn of(code: &str) -> Self {
        let (code, remedy, detail) = match code {
            "temporarily_unavailable" => ("temporarily_unavailable", Remedy::Retry, ""),
            "server_error" => ("server_error", Remedy::Retry, ""),
            "login_required" => {
                ("login_required", Remedy::Retry, "The identity provider needs you to sign in there first.")
            }
            "interaction_required" => {
                ("interaction_required", Remedy::Retry, "The identity provider needs you to sign in there first.")
            }
            "consent_required" => {
                ("consent_required", Remedy::Retry, "The identity provider needs you to sign in there first.")
            }
            "account_selection_required" => {
                ("account_selection_required", Remedy::Retry, "The identity provider needs you to sign in there first.")
            }
            "access_denied" => ("access_denied", Remedy::None, "The identity provider did not grant access."),
            "unmet_authentication_requirements" => (
                "unmet_authentication_requirements",
                Remedy::None,
                "The identity provider could not sign you in in the way that was asked for.",
            ),
            "invalid_scope" => (
                "invalid_scope",
                Remedy::None,
                "The identity provider does not know one of the scopes that were asked for.",
            ),
            "unauthorized_client" => {
                ("unauthorized_client", Remedy::None, "The identity provider does not let this site sign people in.")
            }
            _ => ("another error code", Remedy::None, "The identity provider refused the sign-in."),
        };
        Self { code, remedy, detail }
    }

    /// Returns `true` if the provider says that it is unavailable.
    pub(super) fn is_unavailability(self) -> bool {
        matches!(self.code, "temporarily_unavailable" | "server_error")
    }
}

/// Refuses sign-ins, and counts how they end.
pub(super) struct SignInRefusals {
    pub(super) refusals: Arc<Refusals>,
    pub(super) metrics: metrics::LoginMetrics,
}

impl SignInRefusals {
    /// Counts the end of a sign-in.
    pub(super) fn count(&self, context: &RequestContext<'_>, result: metrics::LoginResult) {
        self.metrics.count(context.site.app.provider, result);
    }

    /// Ends a redirect loop whose cause can be anything that loses a cookie. `edge` is the one whose question came without any.
    pub(super) fn looped(&self, context: &RequestContext<'_>, target: &ReturnTarget, edge: Option<Edge>) -> Verdict {
        let (retry, reset) = (target.retry_url(context), context.endpoint_url("/reset"));
        let detail = edge.map(|edge| {
            format!(
                "the last question of {} came without any cookies: the browser blocks them, or the edge must pass Cookie to the check",
                edge.label()
            )
        });
        self.refuse_loop(context, &Page::SignInLoop { retry: &retry, reset: &reset }, edge, detail.as_deref())
    }

    /// Ends a redirect loop whose cause is an edge: the browser has a session, and the edge's question came without cookies.
    pub(super) fn cookies_not_passed(
        &self,
        context: &RequestContext<'_>,
        target: &ReturnTarget,
        edge: Edge,
    ) -> Verdict {
        let retry = target.retry_url(context);
        let detail = format!(
            "{} asks without the Cookie header although the browser has a session: the edge must pass Cookie to the check",
            edge.label()
        );
        self.refuse_loop(context, &Page::CookiesNotPassed { retry: &retry }, Some(edge), Some(&detail))
    }

    fn refuse_loop(
        &self,
        context: &RequestContext<'_>,
        page: &Page<'_>,
        edge: Option<Edge>,
        detail: Option<&str>,
    ) -> Verdict {
        self.count(context, metrics::LoginResult::Looped);
        let details = RefusalDetails {
            detail: detail.as_ref().map(|detail| detail as _),
            mend: edge.map(edge::mend_cookies),
            ..RefusalDetails::default()
        };
        Verdict::Refuse(self.refusals.refuse_with(context, Reason::SignInLoop, page, details))
    }

    /// The page for an error response that trying again does not mend, or has not mended.
    pub(super) fn provider_error(
        &self,
        context: &RequestContext<'_>,
        target: &ReturnTarget,
        provider: &str,
        error: AuthorizationErrorResponse,
    ) -> Verdict {
        if error.is_unavailability() {
            let cause = oidc::Error::Unavailable(format!("it said so itself ({})", error.code));
            return self.provider_failed(context, target, provider, &cause);
        }
        self.count(context, metrics::LoginResult::Denied);
        let cause = format!("{} ({})", error.detail, error.code);
        let details = RefusalDetails { detail: Some(&cause), ..RefusalDetails::default() };
        self.failed(context, target, error.detail, details)
    }

    /// The page for a provider that cannot be asked, or whose answer cannot be used.
    pub(super) fn provider_failed(
        &self,
        context: &RequestContext<'_>,
        target: &ReturnTarget,
        provider: &str,
        error: &oidc::Error,
    ) -> Verdict {
        if let oidc::Error::Overloaded(_) = error {
            return self.overloaded(context, target, &format!("{provider}: {error}"));
        }
        let mend = match error {
            oidc::Error::ClientRefused(_) => {
                Some("check client_id, client_secret and the redirect URIs at the provider")
            }
            _ => None,
        };
        let cause = format!("{provider}: {error}");
        let details = RefusalDetails { detail: Some(&cause), mend, ..RefusalDetails::default() };
        let detail = match error {
            oidc::Error::Unavailable(_) => {
                self.count(context, metrics::LoginResult::Unavailable);
                let retry = target.retry_url(context);
                let page = Page::ProviderUnavailable { retry: &retry };
                let refusal = self.refusals.refuse_with(context, Reason::ProviderUnavailable, &page, details);
                return Verdict::Refuse(refusal);
            }
            oidc::Error::ClockSkew(_) => {
                "The clocks of this site and of the identity provider are too far apart. The operator finds in the log by how much."
            }
            _ => "The identity provider's answer could not be used. The operator finds the reason in the log.",
        };
        self.count(context, metrics::LoginResult::Failed);
        self.failed(context, target, detail, details)
    }

    /// The page where more sign-ins come at once than the provider is asked.
    fn overloaded(&self, context: &RequestContext<'_>, target: &ReturnTarget, detail: &str) -> Verdict {
        self.count(context, metrics::LoginResult::Unavailable);
        let retry = target.retry_url(context);
        let details = RefusalDetails { detail: Some(&detail), ..RefusalDetails::default() };
        let page = Page::TooManyRequests { retry: &retry };
        Verdict::Refuse(self.refusals.refuse_with(context, Reason::Overloaded, &page, details))
    }

    fn failed(
        &self,
        context: &RequestContext<'_>,
        target: &ReturnTarget,
        detail: &str,
        details: RefusalDetails<'_>,
    ) -> Verdict {
        let retry = target.retry_url(context);
        let page = Page::SignInFailed { detail, retry: &retry };
        Verdict::Refuse(self.refusals.refuse_with(context, Reason::SignInFailed, &page, details))
    }

    /// Refuses where the provider's URL cannot be sent, or the app has no provider. Validation of the configuration excludes both.
    pub(super) fn unconfigured(&self, context: &RequestContext<'_>) -> Verdict {
        let page = Page::BadRequest { detail: "No identity provider is set up." };
        let detail = "no usable provider for this app";
        let details = RefusalDetails { detail: Some(&detail), ..RefusalDetails::default() };
        Verdict::Refuse(self.refusals.refuse_with(context, Reason::Internal, &page, details))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_is_for_what_it_can_mend() {
        for (code, remedy) in [
            ("temporarily_unavailable", Remedy::Retry),
            ("server_error", Remedy::Retry),
            ("login_required", Remedy::Retry),
            ("interaction_required", Remedy::Retry),
            ("consent_required", Remedy::Retry),
            ("account_selection_required", Remedy::Retry),
            ("access_denied", Remedy::None),
            ("invalid_scope", Remedy::None),
            ("unauthorized_client", Remedy::None),
            ("invalid_request", Remedy::None),
            ("<script>", Remedy::None),
        ] {
            let error = AuthorizationErrorResponse::of(code);
            assert_eq!(error.remedy, remedy, "{code}");
            assert!(error.code == code || error.code == "another error code", "{code}");
        }
    }
}

//! Requests that are not let in, from the cause to the answer: a sign-in, or a refusal.
//!
//! Promises: nothing here lets in.

use std::{fmt, sync::Arc};

use super::{
    api_clients::{self, AppPasswords},
    context::{RequestContext, Via},
    cross_site,
    delegate::OutpostAnswer,
    emergency::EmergencySignIn,
    login::LoginFlow,
    misconfigured_edge::MissingHeaders,
    not_admitted::{NotAdmitted, denial_reason},
    refusal::Refusals,
    refusal_log::{self, HeldGrants, RefusalDetails, RequiredAccess},
    session_finder::Undetermined,
    step_up::StepUps,
};
use crate::{
    edge::{Edge, Intent, Reason, Refusal, Verdict},
    identity::PackedIdentity,
    pages::Page,
    policy::{Denial, Requirement, redirect::RedirectTarget},
};

/// Path at which an outpost begins a sign-in.
const OUTPOST_START: &str = "/outpost.goauthentik.io/start";

/// Answers requests that are not let in.
pub(super) struct RefusedRequests {
    pub(super) login: Arc<LoginFlow>,
    pub(super) step_ups: StepUps,
    pub(super) refusals: Arc<Refusals>,
    pub(super) missing_headers: MissingHeaders,
}

/// Request that is not let in.
pub(super) struct RefusedRequest<'a, 'r> {
    pub(super) context: &'a RequestContext<'r>,
    pub(super) requirement: &'a Requirement<'r>,
    /// Path and query, as the edge passed them on.
    pub(super) target: &'a str,
    /// What the challenge of an API client offers.
    pub(super) passwords: AppPasswords,
    pub(super) emergency: Option<&'a EmergencySignIn>,
}

impl RefusedRequests {
    /// Makes the answer for a request that is not let in: a sign-in, or a refusal.
    pub(super) async fn answer(&self, request: &RefusedRequest<'_, '_>, cause: NotAdmitted<'_>) -> Verdict {
        let RefusedRequest { context, requirement, target, passwords, emergency } = *request;
        let original = || self.login.targets.original(context, target);
        let cause = match cause {
            // A person can sign in; a program that is told to may forget what it was doing.
            NotAdmitted::Undetermined(Undetermined::OldOutpost) if context.intent != Intent::Fetch => {
                NotAdmitted::Unauthenticated(Reason::NoSession)
            }
            other => other,
        };
        if context.via == Via::Subrequest(Edge::OAuth2Proxy)
            && context.intent == Intent::Page
            && let Some(reason) = cause.sign_in_reason()
        {
            return Verdict::Refuse(Refusals::login_required(context, reason));
        }
        match cause {
            NotAdmitted::Unauthenticated(reason) => {
                self.missing_headers.observe(context);
                match context.intent {
                    // A page that nobody opens: a prefetch.
                    Intent::Page if reason == Reason::Reauthorize => {
                        Verdict::Refuse(Refusals::login_required(context, reason))
                    }
                    Intent::Page => {
                        let step_up = requirement.step_up().filter(|asked| !asked.is_empty());
                        self.login.challenge(context, &original(), reason, step_up.as_ref()).await
                    }
                    Intent::Frame => Verdict::Refuse(self.refusals.framed(context, reason, &original())),
                    Intent::Form => Verdict::Refuse(self.refusals.held_form(context, reason)),
                    Intent::Fetch => Verdict::Refuse(Refusals::login_required(context, reason)),
                }
            }
            NotAdmitted::Unauthorized(trip) => self.login.reauthorize(context, &original(), &trip).await,
            NotAdmitted::StepUp(missing) => self.step_ups.answer(context, &original(), &missing).await,
            NotAdmitted::UnknownClient(cause) => {
                let retry = original();
                Verdict::Refuse(api_clients::refuse(&self.refusals, context, &cause, passwords, retry.as_str()))
            }
            NotAdmitted::ClientForbidden(known, denial) => {
                let refusal = self.forbid(context, target, Some(known.principal.identity()), denial);
                Verdict::Refuse(api_clients::challenge_for_more(refusal, context))
            }
            NotAdmitted::Forbidden(session, denial) => {
                let identity = session.as_ref().map(|session| session.identity());
                Verdict::Refuse(self.forbid(context, target, identity, denial))
            }
            NotAdmitted::CrossSite(session) => {
                Verdict::Refuse(cross_site::refuse(&self.refusals, context, target, session.identity()))
            }
            NotAdmitted::CookiesTooLong => Verdict::Refuse(self.refusals.cookies_too_long(context)),
            NotAdmitted::ServiceToken(refusal) => {
                Verdict::Refuse(refusal.refuse(&self.refusals, context, target, original().as_str()))
            }
            NotAdmitted::Outpost(answer) => self.answer_of_outpost(context, *answer, &original()),
            NotAdmitted::Undetermined(cause) => {
                Verdict::Refuse(self.refusals.undetermined(context, &cause, original().as_str()))
            }
            NotAdmitted::Emergency(refusal) => {
                let refused =
                    emergency.map(|emergency| emergency.refuse(&self.refusals, context, &refusal, original().as_str()));
                // There is one, or nothing would have been refused by it.
                Verdict::Refuse(refused.unwrap_or_else(|| Refusals::login_required(context, Reason::NoSession)))
            }
        }
    }

    /// Passes on what an outpost answered, as edges and programs can take it.
    fn answer_of_outpost(
        &self,
        context: &RequestContext<'_>,
        answer: OutpostAnswer,
        original: &RedirectTarget,
    ) -> Verdict {
        match answer {
            OutpostAnswer::Redirected(to) if context.intent == Intent::Page => Verdict::Redirect(to),
            // Never an admission: fail closed all the same.
            OutpostAnswer::Redirected(_) | OutpostAnswer::Admitted(_) => {
                let sign_in = context.url_with_rd(OUTPOST_START, original.as_str());
                Verdict::Refuse(Refusals::login_required_at(context, Reason::NoSession, &sign_in))
            }
            OutpostAnswer::Refused(refusal) => Verdict::Refuse(self.refusals.relayed(context, refusal)),
            OutpostAnswer::Unavailable(error) => {
                Verdict::Refuse(self.refusals.outpost_unavailable(context, &error, original.as_str()))
            }
        }
    }

    /// Refuses somebody who may not pass.
    fn forbid(
        &self,
        context: &RequestContext<'_>,
        target: &str,
        identity: Option<&PackedIdentity>,
        denial: Denial<'_>,
    ) -> Refusal {
        let app = context.site.app.name.as_str();
        let reason = denial_reason(denial, identity);
        let switch = context.endpoint_url("/sign_out?rd=%2F");
        let page = match identity {
            Some(who) if reason == Reason::EmailUnverified => Page::EmailUnverified { user: who.user(), app },
            Some(who) => Page::NotAllowed { user: who.user(), app, switch: &switch },
            None => Page::Denied { app },
        };
        let (needs, held) = (RequiredAccess(denial), identity.map(|who| HeldGrants(who, denial)));
        let details = RefusalDetails {
            user: identity.map(PackedIdentity::user),
            subject: identity.map(PackedIdentity::subject),
            path: target.split('?').next(),
            needs: Some(&needs),
            has: held.as_ref().map(|held| held as &dyn fmt::Display),
            mend: refusal_log::mend(reason),
            ..RefusalDetails::default()
        };
        self.refusals.refuse_with(context, reason, &page, details)
    }
}

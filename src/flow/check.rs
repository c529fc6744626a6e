//! Check: authentication and authorisation of a request. The hot path, and the only place that lets in.
//!
//! Promises: a session in memory is answered without I/O, without a lock of ours and without formatting anything.

use std::sync::Arc;

use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue, header};

use super::{
    adopt::principal_of,
    api_clients::{ApiClients, AppPasswords, ClientRefusal},
    app_limits::AppLimits,
    context::{Initiator, RequestContext},
    delegate::{Delegation, OutpostAnswer},
    emergency::{EmergencyAnswer, EmergencySignIn, OutageCause},
    header_cuts::HeaderCuts,
    judgement::{Caller, Decision, judge},
    not_admitted::{NotAdmitted, denial_reason},
    reauthorization::Traveller,
    service_tokens::{PresentedToken, ServiceTokenCheck, ServiceTokenRefusal},
    session_finder::{ProviderMatch, RequestSession, SessionFinder, SessionSearch, Undetermined},
    step_up::MissingStepUp,
};
use crate::{
    clock::{Clock, Timestamp},
    cookie::{self, GateCookies},
    edge::{Admission, Reason, Verdict},
    identity::{Principal, PrincipalSource},
    policy::{Denial, Requirement, Site, headers::DOORWARD_EMERGENCY},
    session::{CachedSession, Cookie, Sessions, Unavailable},
};

/// The longest `Cookie` header that an app is passed with `session.hide_cookies`, in bytes: with the identity headers it fits
/// the buffers that edges are configured to have.
const MAX_COOKIE_HEADER: usize = 32 << 10;

/// Judges principals and admits them.
pub(super) struct Check {
    pub(super) sessions: Arc<Sessions>,
    pub(super) finder: Arc<SessionFinder>,
    pub(super) limits: AppLimits,
    pub(super) jar: Arc<GateCookies>,
    pub(super) own_cookies: OwnCookies,
    /// Absent without `[tokens]`.
    pub(super) service_tokens: Option<ServiceTokenCheck>,
    pub(super) header_cuts: Arc<HeaderCuts>,
    /// `[bearer]`.
    pub(super) api_clients: Option<ApiClients>,
    pub(super) emergency: Option<Arc<EmergencySignIn>>,
    pub(super) clock: Clock,
}

/// Visibility of the gate's own cookies to apps (`session.hide_cookies`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnCookies {
    /// Apps get the `Cookie` header that the client sent.
    Shown,
    /// Admissions carry the client's `Cookie` header without the gate's own cookies.
    Hidden,
}

impl Check {
    /// Lets a request in where memory alone can decide that: a public path, the session of the first cookie, or an API client's
    /// credential that need not be verified now. `None` is no refusal: [`Check::decide`] goes on from there.
    /// Nor is it asked about a request of [`Initiator::CrossSite`].
    pub(super) fn admit_at_once(
        &self,
        site: &Site<'_>,
        requirement: &Requirement<'_>,
        host: &str,
        headers: &HeaderMap,
    ) -> Option<Verdict> {
        match judge(requirement, Caller::Unknown, Timestamp::default()) {
            Decision::Admit(nobody) => self.admit(site, nobody, headers).ok(),
            Decision::LookUp if matches!(requirement, Requirement::Bearer(_)) => {
                self.api_clients.as_ref()?.with_cached(site.app, headers, |known, now| {
                    match judge(requirement, Caller::Principal(&known.principal.principal()), now) {
                        Decision::Admit(principal) => self.admit(site, principal, headers).ok(),
                        _ => None,
                    }
                })
            }
            Decision::LookUp => {
                if let Some(tokens) = &self.service_tokens
                    && let Some(presented) = tokens.presented(requirement, headers)
                {
                    return tokens.get_cached(site, presented, |principal, now| {
                        match judge(requirement, Caller::Principal(principal), now) {
                            Decision::Admit(principal) => self.admit(site, principal, headers).ok(),
                            _ => None,
                        }
                    });
                }
                let own = self.jar.at(host, site.app.provider);
                let mut values = cookie::values(headers, own.session_name());
                let Some(value) = values.find(|value| !self.finder.is_of_surrounding_domain(&own, value)) else {
                    return self.admit_adopted(site, requirement, host, headers);
                };
                self.sessions.get_cached(Cookie { value, audience: own.audience() }, |session, now| {
                    let principal = session.principal();
                    if self.finder.provider_match(site.app, principal.identity) != ProviderMatch::Current {
                        return None;
                    }
                    match judge(requirement, Caller::Principal(&principal), now) {
                        Decision::Admit(principal)
                            if self.finder.is_usable_at(site.app, session, now)
                                && self.limits.are_kept(site.app, session, headers, now) =>
                        {
                            self.admit(site, principal, headers).ok()
                        }
                        _ => None,
                    }
                })
            }
            Decision::Unauthenticated(_) | Decision::Forbidden(_) => None,
        }
    }

    /// Lets a request in where the app's outpost did so a moment ago (`delegate_cache`).
    pub(super) fn admit_by_outpost(
        &self,
        delegation: &Delegation,
        host: &str,
        target: &str,
        headers: &HeaderMap,
    ) -> Option<Verdict> {
        self.let_in(delegation.cached(host, target, headers)?, headers).ok()
    }

    /// Decides about a request at an app whose checks an outpost answers.
    pub(super) async fn decide_by_outpost<'p>(
        &self,
        delegation: &Delegation,
        context: &RequestContext<'p>,
        target: &str,
    ) -> Result<Verdict, NotAdmitted<'p>> {
        let answer = delegation.ask(context, &context.site.app.headers, target).await;
        if let OutpostAnswer::Admitted(headers) = answer {
            return self.let_in(headers, context.headers);
        }
        let not_admitted = NotAdmitted::Outpost(Box::new(answer));
        let Some(emergency) = &self.emergency else { return Err(not_admitted) };
        if !emergency.is_open_for_outpost(context, &delegation.health) {
            return Err(not_admitted);
        }
        match emergency.authenticate(context, OutageCause::Outpost).await {
            EmergencyAnswer::Principal(principal) => {
                self.admit(&context.site, Some(&principal.principal()), context.headers)
            }
            EmergencyAnswer::Silent => Err(not_admitted),
            EmergencyAnswer::Refused(refusal) => Err(NotAdmitted::Emergency(refusal)),
        }
    }

    /// Lets a request in by the session that was made of an old outpost's cookies, where memory alone can decide that.
    #[cold]
    fn admit_adopted(
        &self,
        site: &Site<'_>,
        requirement: &Requirement<'_>,
        host: &str,
        headers: &HeaderMap,
    ) -> Option<Verdict> {
        self.finder.adoption.as_ref()?.get_cached(site, host, headers, |session, now| {
            let principal = principal_of(session);
            let is_usable = self.finder.provider_match(site.app, principal.identity) == ProviderMatch::Current
                && self.finder.is_usable_at(site.app, session, now)
                && self.limits.are_kept(site.app, session, headers, now);
            match judge(requirement, Caller::Principal(&principal), now) {
                Decision::Admit(principal) if is_usable => self.admit(site, principal, headers).ok(),
                _ => None,
            }
        })
    }

    /// Decides about a request that [`Check::admit_at_once`] did not let in. Nothing but the `Ok` of this function and the
    /// `Some` of that one lets in.
    pub(super) async fn decide<'p>(
        &self,
        context: &RequestContext<'p>,
        requirement: &Requirement<'p>,
        target: &str,
    ) -> Result<Verdict, NotAdmitted<'p>> {
        match &self.emergency {
            None => self.decide_by_session(context, requirement, target).await,
            Some(emergency) => Box::pin(self.decide_in_emergency(emergency, context, requirement, target)).await,
        }
    }

    /// Decides by the session where there may be an emergency: only where that ends in nobody knowing who is asking does an
    /// emergency password count, and is one asked for.
    async fn decide_in_emergency<'p>(
        &self,
        emergency: &EmergencySignIn,
        context: &RequestContext<'p>,
        requirement: &Requirement<'p>,
        target: &str,
    ) -> Result<Verdict, NotAdmitted<'p>> {
        let by_session = self.decide_by_session(context, requirement, target);
        let outcome = if emergency.needs_no_store(context) {
            // A session in memory answers at once. One that is not would wait for the store, and in vain.
            by_session.now_or_never().unwrap_or(Err(Undetermined::Store(Unavailable::Deadline).into()))
        } else {
            by_session.await
        };
        let (cause, outage) = match (outcome, emergency.open_at(context)) {
            (Err(cause), Some(outage)) if cause.is_helped_over(outage, requirement) => (cause, outage),
            (outcome, _) => return outcome,
        };
        match emergency.authenticate(context, outage).await {
            EmergencyAnswer::Principal(principal) => {
                let principal = principal.principal();
                let decision = judge(requirement, Caller::Emergency(&principal), self.clock.now());
                self.conclude(&context.site, context.headers, decision, None)
            }
            EmergencyAnswer::Silent => Err(cause),
            EmergencyAnswer::Refused(refusal) => Err(NotAdmitted::Emergency(refusal)),
        }
    }

    async fn decide_by_session<'p>(
        &self,
        context: &RequestContext<'p>,
        requirement: &Requirement<'p>,
        target: &str,
    ) -> Result<Verdict, NotAdmitted<'p>> {
        let (site, headers) = (&context.site, context.headers);
        let now = self.clock.now();
        let decision = judge(requirement, Caller::Unknown, now);
        if !matches!(decision, Decision::LookUp) {
            return self.conclude(site, headers, decision, None);
        }
        if let Requirement::Bearer(_) = requirement {
            return Box::pin(self.decide_client(context, requirement)).await;
        }
        if let Some(tokens) = &self.service_tokens
            && let Some(presented) = tokens.presented(requirement, headers)
        {
            return Box::pin(self.decide_by_service_token(tokens, presented, context, requirement)).await;
        }
        let traveller = match requirement {
            Requirement::Identity(_) if context.is_opened_by_a_person() => Traveller::Page(target),
            _ => Traveller::Other,
        };
        let session = match self.finder.find_authorized(context, traveller).await {
            Ok(SessionSearch::Found(session)) => session,
            Ok(SessionSearch::Unauthorized(trip)) => return Err(NotAdmitted::Unauthorized(trip)),
            // Where nobody has to be signed in, nobody waits for an old outpost.
            Err(Undetermined::OldOutpost) if matches!(requirement, Requirement::Optional) => {
                RequestSession::Absent(Reason::NoSession)
            }
            Err(cause) => return Err(cause.into()),
        };
        let (principal, session) = match &session {
            RequestSession::Current(session) => (Ok(principal_of(session)), Some(session)),
            RequestSession::Absent(reason) => (Err(*reason), None),
        };
        let caller = match &principal {
            Ok(principal) => Caller::Principal(principal),
            Err(reason) => Caller::Anonymous(*reason),
        };
        let decision = match (judge(requirement, caller, now), session) {
            (Decision::Admit(Some(_)), Some(session)) if context.initiator == Initiator::CrossSite => {
                return Err(NotAdmitted::CrossSite(Arc::clone(session)));
            }
            (decision @ (Decision::Admit(Some(_)) | Decision::Forbidden(Denial::StepUp(_))), Some(session)) => {
                self.with_step_up(context, requirement, decision, session).await?
            }
            (decision, _) => decision,
        };
        self.conclude(site, headers, decision, session)
    }

    /// Goes on with a decision about a session that the app's limits, or what a rule asks for, may have to be held against.
    async fn with_step_up<'p, 'c>(
        &self,
        context: &RequestContext<'_>,
        requirement: &Requirement<'p>,
        decision: Decision<'p, 'c>,
        session: &Arc<CachedSession>,
    ) -> Result<Decision<'p, 'c>, NotAdmitted<'p>> {
        let now = self.clock.now();
        let exceeded = match context.site.app.limits {
            Some(_) => Box::pin(self.limits.exceeded(context, session, now)).await?,
            None => None,
        };
        if exceeded.is_none() && matches!(decision, Decision::Admit(_)) {
            return Ok(decision);
        }
        if matches!(requirement, Requirement::Optional) {
            // Where nobody has to be signed in, a session that is past its limits is none.
            return Ok(judge(requirement, Caller::Anonymous(Reason::SessionEnded), now));
        }
        let asked = requirement.step_up().map(|asked| exceeded.map_or(asked.clone(), |age| asked.within(age)));
        Err(NotAdmitted::StepUp(MissingStepUp { session: Some(Arc::clone(session)), asked }))
    }

    /// Decides about a request under a rule for API clients. Their credentials are read here and nowhere else, and a session is
    /// none.
    async fn decide_client<'p>(
        &self,
        context: &RequestContext<'p>,
        requirement: &Requirement<'p>,
    ) -> Result<Verdict, NotAdmitted<'p>> {
        let (site, headers) = (&context.site, context.headers);
        let clients = self.api_clients.as_ref().ok_or(ClientRefusal::NoCredential)?;
        let known = clients.authenticate(site.app, headers, context.client).await?;
        match judge(requirement, Caller::Principal(&known.principal.principal()), self.clock.now()) {
            Decision::Admit(principal) => self.admit(site, principal, headers),
            Decision::Forbidden(denial) => Err(NotAdmitted::ClientForbidden(Arc::clone(&known), denial)),
            // Never comes here; fail closed all the same.
            Decision::LookUp | Decision::Unauthenticated(_) => Err(ClientRefusal::NoCredential.into()),
        }
    }

    /// Returns the use of app passwords.
    pub(super) fn app_passwords(&self) -> AppPasswords {
        self.api_clients.as_ref().map(ApiClients::app_passwords).unwrap_or_default()
    }

    /// Decides about a request that brings a service token, which no session stands beside.
    async fn decide_by_service_token<'p>(
        &self,
        tokens: &ServiceTokenCheck,
        presented: PresentedToken<'_>,
        context: &RequestContext<'p>,
        requirement: &Requirement<'p>,
    ) -> Result<Verdict, NotAdmitted<'p>> {
        let token = tokens.find(context, presented).await?;
        let principal = token.principal();
        match judge(requirement, Caller::Principal(&principal), self.clock.now()) {
            Decision::Admit(principal) => self.admit(&context.site, principal, context.headers),
            Decision::Forbidden(denial) => {
                let reason = denial_reason(denial, Some(token.identity()));
                Err(ServiceTokenRefusal::Forbidden(token, denial, reason).into())
            }
            // Never comes here; fail closed all the same.
            Decision::LookUp | Decision::Unauthenticated(_) => Err(NotAdmitted::Unauthenticated(Reason::NoSession)),
        }
    }

    fn conclude<'p>(
        &self,
        site: &Site<'_>,
        headers: &HeaderMap,
        decision: Decision<'p, '_>,
        session: Option<&Arc<CachedSession>>,
    ) -> Result<Verdict, NotAdmitted<'p>> {
        match decision {
            Decision::Admit(principal) => self.admit(site, principal, headers),
            Decision::Unauthenticated(reason) => Err(NotAdmitted::Unauthenticated(reason)),
            Decision::Forbidden(denial) => Err(NotAdmitted::Forbidden(session.cloned(), denial)),
            // Never comes here; fail closed all the same.
            Decision::LookUp => Err(NotAdmitted::Unauthenticated(Reason::NoSession)),
        }
    }

    /// Lets a principal in, or everybody. All of the app's headers are there, empty without a principal.
    fn admit<'p>(
        &self,
        site: &Site<'_>,
        principal: Option<&Principal<'_>>,
        sent: &HeaderMap,
    ) -> Result<Verdict, NotAdmitted<'p>> {
        let plan = &site.app.headers;
        let mut headers = match principal {
            Some(principal) => plan.headers_for(principal, |cut| self.header_cuts.record(site, principal, cut)),
            None => plan.blank(),
        };
        if principal.is_some_and(|principal| principal.source == PrincipalSource::Emergency) {
            headers.insert(&DOORWARD_EMERGENCY, HeaderValue::from_static("true"));
        }
        self.let_in(headers, sent)
    }

    /// Lets in with these headers: the only call of [`Admission::grant`].
    #[inline]
    fn let_in<'p>(&self, mut headers: HeaderMap, sent: &HeaderMap) -> Result<Verdict, NotAdmitted<'p>> {
        if self.own_cookies == OwnCookies::Hidden {
            let others = self.jar.forwarded(sent, MAX_COOKIE_HEADER).ok_or(NotAdmitted::CookiesTooLong)?;
            headers.insert(header::COOKIE, others);
        }
        Ok(Verdict::Allow(Admission::grant(headers)))
    }
}

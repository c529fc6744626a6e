//! Emergency sign-in: when it is open, whom it lets in, and how it asks.
//!
//! Promises: it is open while store or provider have been unavailable for a while by their own health, and closes by itself; it
//! stands in for no session that is known; only pages are asked; each of its answers is counted.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, header};

use super::{
    context::RequestContext,
    delegate::OutpostHealth,
    emergency_watch::EmergencyWatch,
    rate_limits::{LimitedAction, RateLimited, RateLimits},
    refusal::Refusals,
    refusal_log::RefusalDetails,
};
use crate::{
    edge::{Reason, Refusal},
    emergency::{Busy, Credentials, EmergencyUsers, PasswordAttempt},
    identity::OwnedPrincipal,
    metrics::EmergencyResult,
    oidc::Provider,
    pages::Page,
    session::Sessions,
};

/// Time for which store or provider have to have answered nothing. Slow is not unavailable: a stall of five seconds, a restart or
/// a failover of a few opens nothing.
const SETTLED: Duration = Duration::from_secs(8);

/// Emergency sign-in of one configuration.
pub(super) struct EmergencySignIn {
    pub(super) users: EmergencyUsers,
    pub(super) sessions: Arc<Sessions>,
    pub(super) providers: Vec<Arc<Provider>>,
    /// Places of the providers whose people use the hosts that it covers.
    pub(super) covered: Vec<usize>,
    pub(super) limits: Arc<RateLimits>,
    pub(super) watch: Arc<EmergencyWatch>,
    /// The outposts that answer for hosts that it covers.
    pub(super) outposts: Vec<Arc<OutpostHealth>>,
}

/// Cause of being open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutageCause {
    /// The session store answers nothing.
    Store,
    /// The app's provider answers nothing, so that no sign-in can begin.
    Provider,
    /// The outpost that answers for the app does not.
    Outpost,
}

/// Answer to a request whose session is unknown.
pub(super) enum EmergencyAnswer {
    /// It brings a right password.
    Principal(Arc<OwnedPrincipal>),
    /// It brings none, and is not asked.
    Silent,
    /// It is asked, or refused.
    Refused(EmergencyRefusal),
}

/// Answer that does not let in.
#[derive(Debug)]
pub(super) struct EmergencyRefusal {
    outage: OutageCause,
    kind: EmergencyRefusalKind,
}

#[derive(Debug)]
enum EmergencyRefusalKind {
    /// A page without credentials.
    Challenge,
    /// A wrong password, and the user's name where there is one of it.
    Wrong(Option<String>),
    /// Too many attempts from one network.
    Limited(RateLimited),
    /// Too many attempts at once.
    Busy,
}

impl EmergencySignIn {
    /// Returns the cause of being open at a request's host; `None` while it is closed there.
    pub(super) fn open_at(&self, context: &RequestContext<'_>) -> Option<OutageCause> {
        let is_covered = context.site.index.is_some() && self.users.covers(context.authority.host());
        is_covered.then(|| self.outage_of(context.site.app.provider)).flatten()
    }

    /// Returns `true` if it is open at a request's host because of the outpost that answers there.
    pub(super) fn is_open_for_outpost(&self, context: &RequestContext<'_>, outpost: &OutpostHealth) -> bool {
        context.site.index.is_some() && self.users.covers(context.authority.host()) && is_settled(outpost)
    }

    /// Returns who a request's password says, where the store is unavailable and that is known without a hash: such a request
    /// need not wait for the store.
    pub(super) fn needs_no_store(&self, context: &RequestContext<'_>) -> bool {
        context.headers.contains_key(header::AUTHORIZATION)
            && self.open_at(context) == Some(OutageCause::Store)
            && Credentials::of(context.headers).is_some_and(|credentials| self.users.recognise(&credentials).is_some())
    }

    /// Answers a request whose session is unknown. Verifies a password where it brings one; whoever was verified lately waits
    /// for nothing and spends nothing of a limit.
    pub(super) async fn authenticate(&self, context: &RequestContext<'_>, outage: OutageCause) -> EmergencyAnswer {
        // Before anybody can see an answer, so that none is given unseen.
        self.observe();
        let refused = |result, kind| {
            self.watch.count(result);
            EmergencyAnswer::Refused(EmergencyRefusal { outage, kind })
        };
        let Some(credentials) = Credentials::of(context.headers) else {
            return if context.is_opened_by_a_person() {
                refused(EmergencyResult::Challenged, EmergencyRefusalKind::Challenge)
            } else {
                EmergencyAnswer::Silent
            };
        };
        if let Some(principal) = self.users.recognise(&credentials) {
            return self.admitted(context, outage, principal);
        }
        let attempt = match self.users.recall_refusal(&credentials) {
            Some(attempt) => Ok(attempt),
            None => match self.limits.check(LimitedAction::Credential, context.client) {
                Err(limited) => return refused(EmergencyResult::Limited, EmergencyRefusalKind::Limited(limited)),
                Ok(()) => self.users.verify(&credentials, context.client).await,
            },
        };
        match attempt {
            Ok(PasswordAttempt::Right(principal)) => self.admitted(context, outage, principal),
            Ok(PasswordAttempt::Wrong { name }) => refused(EmergencyResult::Refused, EmergencyRefusalKind::Wrong(name)),
            Err(Busy) => refused(EmergencyResult::Busy, EmergencyRefusalKind::Busy),
        }
    }

    fn admitted(
        &self,
        context: &RequestContext<'_>,
        outage: OutageCause,
        principal: Arc<OwnedPrincipal>,
    ) -> EmergencyAnswer {
        self.watch.count(EmergencyResult::Allowed);
        self.watch.record_use(context, principal.identity().user(), self.name_of(outage, context.site.app.provider));
        EmergencyAnswer::Principal(principal)
    }

    /// Makes the answer that asks or refuses. Only pages are asked.
    pub(super) fn refuse(
        &self,
        refusals: &Refusals,
        context: &RequestContext<'_>,
        refusal: &EmergencyRefusal,
        retry: &str,
    ) -> Refusal {
        let provider = context.site.app.provider;
        let asks = |mut answer: Refusal| {
            if context.is_opened_by_a_person() {
                answer.headers.push((header::WWW_AUTHENTICATE, self.users.challenge()));
            }
            answer
        };
        match &refusal.kind {
            EmergencyRefusalKind::Challenge => {
                let (reason, what) = match refusal.outage {
                    OutageCause::Store => (Reason::StoreUnavailable, "the place where sign-ins are kept"),
                    OutageCause::Provider => (Reason::ProviderUnavailable, "the service that checks who you are"),
                    OutageCause::Outpost => (Reason::UpstreamUnavailable, "the service that checks who you are"),
                };
                asks(refusals.unauthorized(reason, &Page::EmergencySignIn { what, retry }))
            }
            EmergencyRefusalKind::Wrong(name) => {
                let detail = format!("while {} is unavailable", self.name_of(refusal.outage, provider));
                let details =
                    RefusalDetails { user: name.as_deref(), detail: Some(&detail), ..RefusalDetails::default() };
                let page = Page::EmergencyRefused { retry };
                asks(refusals.refuse_with(context, Reason::EmergencyRefused, &page, details))
            }
            EmergencyRefusalKind::Limited(limited) => {
                let page = Page::EmergencyBusy { retry };
                let mut answer = refusals.refuse(context, Reason::RateLimited, &page);
                answer.headers.push((header::RETRY_AFTER, HeaderValue::from(limited.retry_after_seconds())));
                answer
            }
            EmergencyRefusalKind::Busy => refusals.refuse(context, Reason::Overloaded, &Page::EmergencyBusy { retry }),
        }
    }

    /// Has the metric show whether it is open at any host, and the log when that changes.
    pub(super) fn observe(&self) {
        let store = self.is_store_out().then(|| self.name_of(OutageCause::Store, 0));
        let providers = self.covered.iter().filter(|place| self.is_provider_out(**place));
        let providers = providers.map(|place| self.name_of(OutageCause::Provider, *place));
        let outposts = self.outposts.iter().filter(|outpost| is_settled(outpost)).map(|outpost| outpost.name.as_str());
        self.watch.observe(&store.into_iter().chain(providers).chain(outposts).collect::<Vec<_>>());
    }

    fn outage_of(&self, provider: usize) -> Option<OutageCause> {
        if self.is_store_out() {
            return Some(OutageCause::Store);
        }
        self.is_provider_out(provider).then_some(OutageCause::Provider)
    }

    fn is_store_out(&self) -> bool {
        self.sessions.outage().is_some_and(|lasted| lasted >= SETTLED)
    }

    fn is_provider_out(&self, place: usize) -> bool {
        let outage = self.providers.get(place).and_then(|provider| provider.sign_in_outage());
        outage.is_some_and(|lasted| lasted >= SETTLED)
    }

    fn name_of(&self, cause: OutageCause, provider: usize) -> &str {
        match cause {
            OutageCause::Store => "the session store",
            OutageCause::Outpost => "the outpost",
            OutageCause::Provider => self.providers.get(provider).map_or("", |provider| &provider.settings().name),
        }
    }
}

/// Returns `true` for an outpost that has answered nothing for a while.
fn is_settled(outpost: &OutpostHealth) -> bool {
    outpost.outage().is_some_and(|lasted| lasted >= SETTLED)
}

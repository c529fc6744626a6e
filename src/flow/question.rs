//! An edge's question, from its reading to its verdict: the order in which things are believed, and what somebody is told
//! who is not let in.

use std::net::IpAddr;

use http::request::Parts;

use super::{
    answer::Answers,
    check::Lacking,
    own,
    snapshot::Snapshot,
    visit::{Arrival, RequestId, Visit},
};
use crate::{
    edge::{self, AuthRequest, BadRequest, Edge, Intent, Reason, Verdict},
    host::Authority,
    identity::Packed,
    metrics,
    pages::Page,
    policy::{Asked, Site, redirect::RedirectTarget},
};

impl Snapshot {
    /// What is asked, and of which app. Nothing is believed before the peer has been.
    pub(super) fn read<'r>(
        &'r self,
        edge: Edge,
        peer: IpAddr,
        request: &'r Parts,
        envoy_target: &'r str,
    ) -> Result<(AuthRequest<'r>, Site<'r>), Unread> {
        let trusted = self.proxies.admit(peer).ok_or(Unread::UntrustedPeer)?;
        let asked = edge::read(edge, trusted, request, envoy_target)?;
        let site = self
            .policy
            .site(asked.authority.host())
            .ok_or_else(|| Unread::UnknownHost(asked.authority.host().to_owned()))?;
        if edge == Edge::Nginx {
            self.cross_check(request, &asked.authority, site)?;
        }
        Ok((asked, site))
    }

    /// nginx routes by `Host` while `X-Original-URL` may name another one, where a client sent an absolute-form request
    /// line; both must mean the same app.
    fn cross_check(&self, request: &Parts, asked: &Authority<'_>, site: Site<'_>) -> Result<(), Unread> {
        let routed = edge::asked_host(request)?;
        if routed.host() == asked.host() {
            return Ok(());
        }
        match self.policy.site(routed.host()) {
            Some(other) if other.index != site.index => {
                Err(BadRequest { header: "Host", problem: "names another app than X-Original-URL does" }.into())
            }
            _ => Ok(()),
        }
    }

    /// Lets in whom memory alone can decide about.
    pub(super) fn recognise(&self, asked: &AuthRequest<'_>, site: Site<'_>) -> Option<Verdict> {
        let (path, method, client) = (asked.path(), asked.method, asked.client);
        if own::below(&self.outside.prefix, path).is_some() {
            return None;
        }
        self.check.admit_at_once(site.app, Asked { path, method, client }, asked.authority.host(), asked.headers)
    }

    pub(super) async fn answer<'r>(
        &'r self,
        asked: AuthRequest<'r>,
        site: Site<'r>,
        request: &'r Parts,
        id: &'r RequestId,
    ) -> Verdict {
        let (path, query, intent) = (asked.path(), asked.query().unwrap_or_default(), asked.intent());
        let (target, method, client, edge) = (asked.target, asked.method, asked.client, asked.edge);
        let visit = Visit {
            authority: asked.authority,
            site,
            intent,
            method,
            headers: &request.headers,
            arrival: Arrival::Question,
            id,
            outside: &self.outside,
        };
        if let Some(page) = own::below(&self.outside.prefix, path) {
            if edge == Edge::Nginx {
                return Verdict::Refuse(self.answers.refuse(&visit, Reason::NeedsRoute, &Page::NotFound));
            }
            // On the heap, like every cold branch, so that the future of an answer from memory stays small.
            return Box::pin(self.own.ask(&visit, page, query)).await;
        }
        match self.check.decide(&visit, Asked { path, method, client }).await {
            Ok(verdict) => verdict,
            Err(lacking) => Box::pin(self.refuse(&visit, target, lacking)).await,
        }
    }

    /// What somebody is told who is not let in.
    async fn refuse(&self, visit: &Visit<'_>, target: &str, lacking: Lacking) -> Verdict {
        let app = visit.site.app.name.as_str();
        match lacking {
            Lacking::Session(reason) => match visit.intent {
                Intent::Page => {
                    let target = RedirectTarget::asked(target, visit.here(), &self.policy);
                    self.login.challenge(visit, &target.unwrap_or_else(|| RedirectTarget::root(visit.here()))).await
                }
                Intent::Form => Verdict::Refuse(self.answers.form_held(visit, reason)),
                Intent::Fetch => Verdict::Refuse(Answers::login_required(visit, reason)),
            },
            Lacking::Permission(who, reason) => {
                let who = who.as_ref().map(|live| live.who());
                let subject = who.map(Packed::subject);
                let path = target.split('?').next();
                tracing::info!(request_id = %visit.id, app, subject, path, reason = reason.code(), "refused");
                let switch = visit.own("/sign_out?rd=%2F");
                let page = match who {
                    Some(who) => Page::NotAllowed { user: who.user(), app, switch: &switch },
                    None => Page::Denied { app },
                };
                Verdict::Refuse(self.answers.refuse(visit, reason, &page))
            }
            Lacking::Room => Verdict::Refuse(self.answers.no_room(visit)),
            Lacking::Answer(unknown) => {
                let retry = RedirectTarget::asked(target, visit.here(), &self.policy);
                let retry = retry.unwrap_or_else(|| RedirectTarget::root(visit.here()));
                Verdict::Refuse(self.answers.cannot_tell(visit, &unknown, retry.as_str()))
            }
        }
    }

    pub(super) fn reject(&self, peer: IpAddr, request: &Parts, id: &RequestId, unread: Unread) -> Verdict {
        if let Unread::UntrustedPeer = unread {
            tracing::warn!(request_id = %id, %peer, "refused: the peer is not in server.trusted_proxies");
        }
        let intent = edge::intent(Some(request.method.as_str()), &request.headers);
        self.refuse_unread(intent, id, unread)
    }

    pub(super) fn refuse_unread(&self, intent: Intent, id: &RequestId, unread: Unread) -> Verdict {
        let id = id.as_str();
        Verdict::Refuse(match unread {
            Unread::UntrustedPeer => {
                let page = Page::BadRequest { detail: "This address may not ask on behalf of others." };
                self.answers.refuse_as(intent, id, Reason::UntrustedPeer, &page)
            }
            Unread::Malformed(problem) => {
                tracing::info!(request_id = id, %problem, "refused: not a request that an edge makes");
                let detail = problem.to_string();
                self.answers.refuse_as(intent, id, Reason::BadRequest, &Page::BadRequest { detail: &detail })
            }
            Unread::UnknownHost(host) => {
                tracing::info!(request_id = id, host, "refused: no app names this host");
                self.answers.refuse_as(intent, id, Reason::UnknownHost, &Page::UnknownHost { host: &host })
            }
        })
    }
}

/// Why it is not even known what is asked of which app.
#[derive(Debug)]
pub(super) enum Unread {
    UntrustedPeer,
    Malformed(BadRequest),
    UnknownHost(String),
}

impl From<BadRequest> for Unread {
    fn from(problem: BadRequest) -> Self {
        Self::Malformed(problem)
    }
}

/// Why somebody was not let in at once.
pub(super) fn reason(verdict: &Verdict) -> Option<Reason> {
    match verdict {
        Verdict::Allow(_) => None,
        Verdict::Redirect(redirect) => Some(redirect.reason),
        Verdict::Refuse(refusal) => Some(refusal.reason),
    }
}

/// The one table from verdict to metric.
pub(super) fn label(verdict: &Verdict) -> metrics::Verdict {
    let reason = match verdict {
        Verdict::Allow(_) => return metrics::Verdict::Allow,
        Verdict::Redirect(_) => return metrics::Verdict::Login,
        Verdict::Refuse(refusal) => refusal.reason,
    };
    match reason {
        Reason::NoSession | Reason::SessionEnded | Reason::SignedOut | Reason::Reset | Reason::ConfirmSignOut => {
            metrics::Verdict::Unauthenticated
        }
        Reason::GroupMissing | Reason::RuleDenied | Reason::UnknownHost | Reason::SignInFailed | Reason::SignInLoop => {
            metrics::Verdict::Forbidden
        }
        Reason::StoreUnavailable | Reason::ProviderUnavailable | Reason::Overloaded => metrics::Verdict::Unavailable,
        Reason::UntrustedPeer
        | Reason::BadRequest
        | Reason::HeadersTooLarge
        | Reason::NeedsRoute
        | Reason::NotFound
        | Reason::SigningIn
        | Reason::SignedIn
        | Reason::Internal => metrics::Verdict::Rejected,
    }
}

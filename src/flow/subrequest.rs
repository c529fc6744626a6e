//! An edge's question, from its reading to its verdict: the order in which things are believed, and what somebody is told
//! who is not let in.

use std::{fmt, net::IpAddr, sync::atomic::Ordering};

use http::request::Parts;

use super::{
    answer::{Answers, To},
    check::{self, Lacking},
    context::{RequestContext, RequestId, Via},
    endpoints,
    refusals::{self, Groups, Needs, Refused},
    snapshot::Snapshot,
};
use crate::{
    edge::{self, AuthRequest, BadRequest, Edge, Intent, Reason, Verdict},
    host::Authority,
    identity::PackedIdentity,
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
        let mut asked = edge::read(edge, trusted, request, envoy_target)?;
        asked.authority = asked.authority.without_default_port(self.outside.scheme);
        if let Some(routed) = &asked.routed {
            self.cross_check(edge, &asked.authority, routed)?;
        }
        if asked.method.is_none() {
            self.note_unknown_method();
        }
        let site = self
            .policy
            .site(asked.authority.host())
            .ok_or_else(|| Unread::UnknownHost(asked.authority.host().to_owned()))?;
        Ok((asked, site))
    }

    /// The host that is judged and the host that the edge routed by are the same, or lead to the same app that is named. A
    /// name under which edges reach the gate itself says nothing about the request.
    fn cross_check(&self, edge: Edge, asked: &Authority<'_>, routed: &Authority<'_>) -> Result<(), Unread> {
        if routed.host() == asked.host() || self.service_hosts.iter().any(|service| service == routed.host()) {
            return Ok(());
        }
        let app = |authority: &Authority<'_>| self.policy.site(authority.host()).and_then(|site| site.index);
        match (app(asked), app(routed)) {
            (Some(one), Some(other)) if one == other => Ok(()),
            _ => Err(Unread::Contradiction { edge, asked: asked.host().to_owned(), routed: routed.host().to_owned() }),
        }
    }

    /// Once for each configuration: every rule with methods closes such requests, whatever their method is.
    fn note_unknown_method(&self) {
        if !self.has_noted_method.load(Ordering::Relaxed) && !self.has_noted_method.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                mend = "proxy_set_header X-Original-Method $request_method;",
                "nginx does not say by which method requests come: each counts as any that a rule closes, and a page as GET"
            );
        }
    }

    /// Lets in whom memory alone can decide about.
    pub(super) fn recognise(&self, asked: &AuthRequest<'_>, site: Site<'_>) -> Option<Verdict> {
        let (path, method, client) = (asked.path(), asked.method, asked.client);
        if endpoints::below(&self.outside.prefix, path).is_some() {
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
        let visit = RequestContext {
            authority: asked.authority,
            site,
            client,
            intent,
            method,
            headers: &request.headers,
            arrival: Via::Subrequest,
            id,
            outside: &self.outside,
        };
        if let Some(page) = endpoints::below(&self.outside.prefix, path) {
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
    async fn refuse(&self, visit: &RequestContext<'_>, target: &str, lacking: Lacking<'_>) -> Verdict {
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
            Lacking::Permission(who, denial) => {
                let who = who.as_ref().map(|live| live.identity());
                let reason = check::reason(denial, who);
                let switch = visit.own("/sign_out?rd=%2F");
                let page = match who {
                    Some(who) if reason == Reason::EmailUnverified => Page::EmailUnverified { user: who.user(), app },
                    Some(who) => Page::NotAllowed { user: who.user(), app, switch: &switch },
                    None => Page::Denied { app },
                };
                let (needs, groups) = (Needs(denial), who.map(Groups));
                let refused = Refused {
                    user: who.map(PackedIdentity::user),
                    subject: who.map(PackedIdentity::subject),
                    path: target.split('?').next(),
                    needs: Some(&needs),
                    has: groups.as_ref().map(|groups| groups as &dyn fmt::Display),
                    mend: (reason == Reason::EmailUnverified).then_some(refusals::VERIFY_EMAIL),
                    ..Refused::default()
                };
                Verdict::Refuse(self.answers.refuse_because(visit, reason, &page, refused))
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
        let intent = edge::intent(Some(request.method.as_str()), &request.headers);
        let refused = match unread {
            Unread::UntrustedPeer => Refused { peer: Some(peer), ..Refused::default() },
            _ => Refused { client: Some(peer), ..Refused::default() },
        };
        self.refuse_unread(intent, id, unread, refused)
    }

    /// Refuses what is not understood; `refused` says who asked.
    pub(super) fn refuse_unread(
        &self,
        intent: Intent,
        id: &RequestId,
        unread: Unread,
        refused: Refused<'_>,
    ) -> Verdict {
        Verdict::Refuse(match unread {
            Unread::UntrustedPeer => {
                let page = Page::BadRequest { detail: "This address may not ask on behalf of others." };
                self.answers.refuse_as(To { intent, id }, Reason::UntrustedPeer, &page, &refused)
            }
            Unread::Malformed(problem) => {
                let detail = problem.to_string();
                let refused = Refused { detail: Some(&detail), ..refused };
                let page = Page::BadRequest { detail: &detail };
                self.answers.refuse_as(To { intent, id }, Reason::BadRequest, &page, &refused)
            }
            Unread::Contradiction { edge, asked, routed } => {
                let (header, mend) = mend_of_contradiction(edge);
                let problem = BadRequest { header, problem: "names another host than Host does" };
                let detail = format!("{problem}: {asked:?} is asked about, and {routed:?} was routed by");
                let refused = Refused { detail: Some(&detail), mend: Some(mend), ..refused };
                let page = Page::BadRequest { detail: &problem.to_string() };
                self.answers.refuse_as(To { intent, id }, Reason::BadRequest, &page, &refused)
            }
            Unread::UnknownHost(host) => {
                let refused = Refused { host: Some(&host), ..refused };
                self.answers.refuse_as(
                    To { intent, id },
                    Reason::UnknownHost,
                    &Page::UnknownHost { host: &host },
                    &refused,
                )
            }
        })
    }
}

/// The line that names another host than the edge routed by, and the lines of the edge's configuration that mend it.
fn mend_of_contradiction(edge: Edge) -> (&'static str, &'static str) {
    match edge {
        Edge::Caddy => ("X-Forwarded-Host", "in forward_auth: header_up X-Forwarded-Host {http.request.hostport}"),
        Edge::Nginx | Edge::Traefik | Edge::Envoy => (
            "X-Original-URL",
            "proxy_set_header Host $host; proxy_set_header X-Original-URL $scheme://$host$request_uri; or, where the edge \
             cannot send the host that it routes by, list its Host in server.service_hosts",
        ),
    }
}

/// Why it is not even known what is asked of which app.
#[derive(Debug)]
pub(super) enum Unread {
    UntrustedPeer,
    Malformed(BadRequest),
    Contradiction { edge: Edge, asked: String, routed: String },
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
pub(super) fn label(verdict: &Verdict) -> metrics::VerdictLabel {
    let reason = match verdict {
        Verdict::Allow(_) => return metrics::VerdictLabel::Allow,
        Verdict::Redirect(_) => return metrics::VerdictLabel::Login,
        Verdict::Refuse(refusal) => refusal.reason,
    };
    match reason {
        Reason::NoSession | Reason::SessionEnded | Reason::SignedOut | Reason::Reset | Reason::ConfirmSignOut => {
            metrics::VerdictLabel::Unauthenticated
        }
        Reason::GroupMissing
        | Reason::NotAllowed
        | Reason::EmailUnverified
        | Reason::RuleDenied
        | Reason::UnknownHost
        | Reason::SignInFailed
        | Reason::SignInLoop => metrics::VerdictLabel::Forbidden,
        Reason::StoreUnavailable | Reason::ProviderUnavailable | Reason::Overloaded => {
            metrics::VerdictLabel::Unavailable
        }
        Reason::UntrustedPeer
        | Reason::BadRequest
        | Reason::HeadersTooLarge
        | Reason::NeedsRoute
        | Reason::NotFound
        | Reason::SigningIn
        | Reason::SignedIn
        | Reason::Internal => metrics::VerdictLabel::Rejected,
    }
}

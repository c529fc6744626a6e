//! The check: who is asking, and may they pass. The hot path, and the only place that lets in.
//!
//! A session in memory is answered without I/O, without a lock of ours and without formatting anything.

use std::sync::Arc;

use http::{HeaderMap, header};

use super::{
    context::RequestContext,
    renew::{Advice, Renewer},
};
use crate::{
    cookie::{self, GateCookies},
    edge::{Admission, Reason, Verdict},
    identity::{PackedIdentity, Registration},
    policy::{App, Asked, Denial, Lack, Requirement},
    session::{CachedSession, Cookie, LookupOutcome, Sessions, Unavailable},
};

/// How many session cookies of ours are tried in one request: a browser has one for each path and domain. Made-up ones do
/// not count, or whoever can set cookies beside us could hide the good one behind them.
const MOST_COOKIES: usize = 8;

/// What an app may be told of its own cookies, in bytes: beside the identity headers, as much as fits where edges were given room
/// for it.
const MOST_OF_COOKIES: usize = 32 << 10;

/// Looks up sessions and judges them.
pub(super) struct Check {
    pub(super) sessions: Arc<Sessions>,
    pub(super) renewer: Arc<Renewer>,
    pub(super) jar: Arc<GateCookies>,
    pub(super) own_cookies: OwnCookies,
    /// The providers, by place in the configuration.
    pub(super) providers: Vec<Trusted>,
}

/// Whether apps see the gate's own cookies (`session.hide_cookies`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnCookies {
    /// They get what the client sent.
    Shown,
    /// Answers that let in carry what the client sent without them.
    Hidden,
}

/// A provider whose word counts.
pub(super) struct Trusted {
    pub(super) name: String,
    pub(super) registration: Registration,
}

/// What a session that lives is to an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Counts,
    /// It came from the app's provider when that was another issuer, or knew the gate under another name.
    Over,
    /// Somebody known to one provider is nobody to an app of another.
    Elsewhere,
}

/// What a request lacks.
#[derive(Debug)]
pub(super) enum Lacking<'p> {
    /// A session: never had one, or it is over.
    Session(Reason),
    /// The permission: whose session it is, where it was asked for, and what refused it.
    Permission(Option<Arc<CachedSession>>, Denial<'p>),
    /// Room for the app's own cookies.
    Room,
    /// We cannot tell.
    Answer(Unknown),
}

/// Why the session of a request is not known.
#[derive(Debug)]
pub(super) enum Unknown {
    /// The store does not answer.
    Store(Unavailable),
    /// It cannot be renewed, and the grace has passed.
    Provider,
}

/// The session of a request.
#[derive(Debug)]
pub(super) enum Presented {
    /// Lives, and belongs to the app's provider.
    Live(Arc<CachedSession>),
    /// There is none that counts here.
    Nothing(Reason),
}

impl Check {
    /// Lets a request in that memory alone can decide about: a path that is public, or the session of the first cookie.
    /// `None` says nothing: whatever it is, [`Check::decide`] decides.
    pub(super) fn admit_at_once(
        &self,
        app: &App,
        asked: Asked<'_>,
        host: &str,
        headers: &HeaderMap,
    ) -> Option<Verdict> {
        let requirement = app.requirement(asked);
        let suffices = |live: &CachedSession| match &requirement {
            Requirement::Nothing | Requirement::Denied => false,
            Requirement::Optional => true,
            Requirement::Identity(test) => test.judge(live.identity()).is_ok(),
        };
        match &requirement {
            Requirement::Nothing => self.admit(app, None, headers).ok(),
            Requirement::Denied => None,
            Requirement::Optional | Requirement::Identity(_) => {
                let value = cookie::values(headers, self.jar.session_name()).next()?;
                self.sessions.get_cached(Cookie { value, audience: self.jar.audience(host) }, |live, now| {
                    let counts = self.standing(app, live) == Standing::Counts;
                    let passes = counts && suffices(live) && self.renewer.lets_go_on(live, now);
                    if passes { self.admit(app, Some(live), headers).ok() } else { None }
                })
            }
        }
    }

    /// Decides about one request. Nothing but the `Ok` of this function, and what [`Check::admit_at_once`] gives, lets in.
    pub(super) async fn decide<'p>(
        &self,
        visit: &RequestContext<'p>,
        asked: Asked<'_>,
    ) -> Result<Verdict, Lacking<'p>> {
        let (app, headers) = (visit.site.app, visit.headers);
        match app.requirement(asked) {
            Requirement::Nothing => self.admit(app, None, headers),
            Requirement::Denied => Err(Lacking::Permission(None, Denial::Rule)),
            Requirement::Optional => match self.present(visit).await? {
                Presented::Live(live) => self.admit(app, Some(&live), headers),
                Presented::Nothing(_) => self.admit(app, None, headers),
            },
            Requirement::Identity(test) => match self.present(visit).await? {
                Presented::Live(live) => match test.judge(live.identity()) {
                    Ok(()) => self.admit(app, Some(&live), headers),
                    Err(denial) => Err(Lacking::Permission(Some(live), denial)),
                },
                Presented::Nothing(reason) => Err(Lacking::Session(reason)),
            },
        }
    }

    /// The session that counts for the app at the asked host. Every cookie of the name is tried; one that cannot be looked up
    /// is only reported when no other lives.
    pub(super) async fn present(&self, visit: &RequestContext<'_>) -> Result<Presented, Unknown> {
        let (app, audience) = (visit.site.app, self.jar.audience(visit.authority.host()));
        let mut reason = Reason::NoSession;
        let (mut unknown, mut tried) = (None, 0);
        for value in cookie::values(visit.headers, self.jar.session_name()) {
            if tried == MOST_COOKIES {
                break;
            }
            tried += 1;
            match self.sessions.find(Cookie { value, audience }).await {
                Ok(LookupOutcome::Live(live)) => match self.standing(app, &live) {
                    Standing::Counts => match self.renewer.advise(live).await {
                        Advice::GoOn(live) => return Ok(Presented::Live(live)),
                        Advice::Ended => reason = Reason::SessionEnded,
                        Advice::Away => unknown = Some(Unknown::Provider),
                    },
                    Standing::Over => reason = Reason::SessionEnded,
                    Standing::Elsewhere => {}
                },
                Ok(LookupOutcome::NotOurs) => tried -= 1,
                Ok(LookupOutcome::Ended) => reason = Reason::SessionEnded,
                Err(unavailable) => unknown = Some(Unknown::Store(unavailable)),
            }
        }
        unknown.map_or(Ok(Presented::Nothing(reason)), Err)
    }

    fn standing(&self, app: &App, live: &CachedSession) -> Standing {
        match self.providers.get(app.provider) {
            Some(provider) if live.who().has_registration(&provider.registration) => Standing::Counts,
            Some(provider) if live.who().provider() == provider.name => Standing::Over,
            _ => Standing::Elsewhere,
        }
    }

    /// Lets in: the only call of [`Admission::grant`]. Every header of the app is there, empty for nobody.
    fn admit<'p>(&self, app: &App, who: Option<&CachedSession>, asked: &HeaderMap) -> Result<Verdict, Lacking<'p>> {
        let plan = &app.headers;
        let mut headers = who.map_or_else(|| plan.blank(), |live| live.headers(plan));
        if self.own_cookies == OwnCookies::Hidden {
            headers.insert(header::COOKIE, self.jar.forwarded(asked, MOST_OF_COOKIES).ok_or(Lacking::Room)?);
        }
        Ok(Verdict::Allow(Admission::grant(headers)))
    }
}

impl From<Unknown> for Lacking<'_> {
    fn from(unknown: Unknown) -> Self {
        Self::Answer(unknown)
    }
}

/// The reason that somebody is given who may not pass.
pub(super) fn reason(denial: Denial<'_>, who: Option<&PackedIdentity>) -> Reason {
    match (denial, who) {
        (Denial::Rule, _) => Reason::RuleDenied,
        (Denial::NotAllowed(allow), Some(who)) => match allow.lack(who) {
            Lack::Group => Reason::GroupMissing,
            Lack::Other => Reason::NotAllowed,
            Lack::VerifiedEmail => Reason::EmailUnverified,
        },
        (Denial::NotAllowed(_), None) => Reason::NotAllowed,
    }
}

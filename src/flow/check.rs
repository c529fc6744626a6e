//! The check: who is asking, and may they pass. The hot path, and the only place that lets in.
//!
//! A session in memory is answered without I/O, without a lock of ours and without formatting anything.

use std::sync::Arc;

use http::HeaderMap;

use super::{
    renew::{Advice, Renewer},
    visit::Visit,
};
use crate::{
    cookie::{self, Jar},
    edge::{Admission, Reason, Verdict},
    identity::Packed,
    policy::{App, Asked, Denial, Lack, Requirement, Test},
    session::{Found, Live, Sessions, Unavailable},
};

/// How many session cookies of ours are tried in one request: a browser has one for each path and domain. Made-up ones do
/// not count, or whoever can set cookies beside us could hide the good one behind them.
const MOST_COOKIES: usize = 8;

/// Looks up sessions and judges them.
pub(super) struct Check {
    sessions: Arc<Sessions>,
    renewer: Arc<Renewer>,
    jar: Arc<Jar>,
    /// The providers' names, by place in the configuration.
    providers: Vec<String>,
}

/// What a request lacks.
#[derive(Debug)]
pub(super) enum Lacking<'p> {
    /// A session: never had one, or it is over.
    Session(Reason),
    /// The permission: whose session it is, where it was asked for, and what refused it.
    Permission(Option<Arc<Live>>, Denial<'p>),
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
    Live(Arc<Live>),
    /// There is none that counts here.
    Nothing(Reason),
}

impl Check {
    pub(super) fn new(sessions: Arc<Sessions>, renewer: Arc<Renewer>, jar: Arc<Jar>, providers: Vec<String>) -> Self {
        Self { sessions, renewer, jar, providers }
    }

    /// Lets a request in that memory alone can decide about: a path that is public, or the session of the first cookie.
    /// `None` says nothing: whatever it is, [`Check::decide`] decides.
    pub(super) fn admit_at_once(&self, app: &App, asked: Asked<'_>, headers: &HeaderMap) -> Option<Verdict> {
        let requirement = app.requirement(asked);
        let suffices = |live: &Live| match &requirement {
            Requirement::Nothing | Requirement::Denied => false,
            Requirement::Optional => true,
            Requirement::Identity(test) => test.judge(live.who()).is_ok(),
        };
        match &requirement {
            Requirement::Nothing => Some(admit(app, None)),
            Requirement::Denied => None,
            Requirement::Optional | Requirement::Identity(_) => {
                let first = cookie::values(headers, self.jar.session_name()).next()?;
                self.sessions.recall(first, |live, now| {
                    let passes = self.counts_for(app, live) && suffices(live) && self.renewer.lets_go_on(live, now);
                    passes.then(|| admit(app, Some(live)))
                })
            }
        }
    }

    /// Decides about one request. Nothing but the `Ok` of this function, and what [`Check::admit_at_once`] gives, lets in.
    pub(super) async fn decide<'p>(&self, visit: &Visit<'p>, asked: Asked<'_>) -> Result<Verdict, Lacking<'p>> {
        let app = visit.site.app;
        match app.requirement(asked) {
            Requirement::Nothing => Ok(admit(app, None)),
            Requirement::Denied => Err(Lacking::Permission(None, Denial::Rule)),
            Requirement::Optional => match self.present(app, visit.headers).await? {
                Presented::Live(live) => Ok(admit(app, Some(&live))),
                Presented::Nothing(_) => Ok(admit(app, None)),
            },
            Requirement::Identity(test) => match self.present(app, visit.headers).await? {
                Presented::Live(live) => judge(app, &test, live),
                Presented::Nothing(reason) => Err(Lacking::Session(reason)),
            },
        }
    }

    /// The session that counts for an app. Every cookie of the name is tried; one that cannot be looked up is only
    /// reported when no other lives.
    pub(super) async fn present(&self, app: &App, headers: &HeaderMap) -> Result<Presented, Unknown> {
        let mut reason = Reason::NoSession;
        let (mut unknown, mut tried) = (None, 0);
        for value in cookie::values(headers, self.jar.session_name()) {
            if tried == MOST_COOKIES {
                break;
            }
            tried += 1;
            match self.sessions.find(value).await {
                Ok(Found::Live(live)) if self.counts_for(app, &live) => match self.renewer.advise(live).await {
                    Advice::GoOn(live) => return Ok(Presented::Live(live)),
                    Advice::Ended => reason = Reason::SessionEnded,
                    Advice::Away => unknown = Some(Unknown::Provider),
                },
                Ok(Found::NotOurs) => tried -= 1,
                Ok(Found::Live(_)) => {}
                Ok(Found::Ended) => reason = Reason::SessionEnded,
                Err(unavailable) => unknown = Some(Unknown::Store(unavailable)),
            }
        }
        unknown.map_or(Ok(Presented::Nothing(reason)), Err)
    }

    /// Somebody known to one provider is nobody to an app of another.
    fn counts_for(&self, app: &App, live: &Live) -> bool {
        self.providers.get(app.provider).is_some_and(|provider| live.who().is_of(provider))
    }
}

impl From<Unknown> for Lacking<'_> {
    fn from(unknown: Unknown) -> Self {
        Self::Answer(unknown)
    }
}

fn judge<'p>(app: &App, test: &Test<'p>, live: Arc<Live>) -> Result<Verdict, Lacking<'p>> {
    match test.judge(live.who()) {
        Ok(()) => Ok(admit(app, Some(&live))),
        Err(denial) => Err(Lacking::Permission(Some(live), denial)),
    }
}

/// The reason that somebody is given who may not pass.
pub(super) fn reason(denial: Denial<'_>, who: Option<&Packed>) -> Reason {
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

/// Lets in: the only call of [`Admission::grant`]. Every header of the app is there, empty for nobody.
fn admit(app: &App, who: Option<&Live>) -> Verdict {
    let plan = &app.headers;
    let headers = who.map_or_else(|| plan.blank(), |live| live.headers(plan));
    Verdict::Allow(Admission::grant(headers))
}

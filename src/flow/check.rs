//! The check: who is asking, and may they pass. The hot path, and the only place that lets in.
//!
//! A session in memory is answered without I/O, without a lock of ours and without formatting anything.

use std::sync::Arc;

use http::HeaderMap;

use super::visit::Visit;
use crate::{
    cookie::{self, Jar},
    edge::{Admission, Reason, Verdict},
    policy::{App, Asked, Denial, Requirement, Test},
    session::{Found, Live, Sessions, Unavailable},
};

/// How many session cookies of one request are tried: a browser has one for each path and domain, an attacker any number.
const MOST_COOKIES: usize = 8;

/// Looks up sessions and judges them.
pub(super) struct Check {
    sessions: Arc<Sessions>,
    jar: Arc<Jar>,
    /// The providers' names, by place in the configuration.
    providers: Vec<String>,
}

/// What a request lacks.
#[derive(Debug)]
pub(super) enum Lacking {
    /// A session: never had one, or it is over.
    Session(Reason),
    /// The permission.
    Permission(Option<Arc<Live>>, Reason),
    /// We cannot tell.
    Answer(Unavailable),
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
    pub(super) fn new(sessions: Arc<Sessions>, jar: Arc<Jar>, providers: Vec<String>) -> Self {
        Self { sessions, jar, providers }
    }

    /// Lets a request in that memory alone can decide about: a path that is public, or the session of the first cookie.
    /// `None` says nothing: whatever it is, [`Check::decide`] decides.
    pub(super) fn admit_at_once(&self, app: &App, asked: Asked<'_>, headers: &HeaderMap) -> Option<Verdict> {
        let requirement = app.requirement(asked);
        let suffices = |live: &Live| match requirement {
            Requirement::Nothing | Requirement::Denied => false,
            Requirement::Optional => self.counts_for(app, live),
            Requirement::Identity(test) => self.counts_for(app, live) && test.judge(&live.record.identity).is_ok(),
        };
        match requirement {
            Requirement::Nothing => Some(admit(app, None)),
            Requirement::Denied => None,
            Requirement::Optional | Requirement::Identity(_) => {
                let first = cookie::values(headers, self.jar.session_name()).next()?;
                let live = self.sessions.recall(first, suffices)?;
                Some(admit(app, Some(&live)))
            }
        }
    }

    /// Decides about one request. Nothing but the `Ok` of this function, and what [`Check::admit_at_once`] gives, lets in.
    pub(super) async fn decide(&self, visit: &Visit<'_>, asked: Asked<'_>) -> Result<Verdict, Lacking> {
        let app = visit.site.app;
        match app.requirement(asked) {
            Requirement::Nothing => Ok(admit(app, None)),
            Requirement::Denied => Err(Lacking::Permission(None, Reason::RuleDenied)),
            Requirement::Optional => match self.present(app, visit.headers).await? {
                Presented::Live(live) => Ok(admit(app, Some(&live))),
                Presented::Nothing(_) => Ok(admit(app, None)),
            },
            Requirement::Identity(test) => match self.present(app, visit.headers).await? {
                Presented::Live(live) => judge(app, test, live),
                Presented::Nothing(reason) => Err(Lacking::Session(reason)),
            },
        }
    }

    /// The session that counts for an app. Every cookie of the name is tried; one that cannot be looked up is only
    /// reported when no other lives.
    pub(super) async fn present(&self, app: &App, headers: &HeaderMap) -> Result<Presented, Unavailable> {
        let mut reason = Reason::NoSession;
        let mut unknown = None;
        for value in cookie::values(headers, self.jar.session_name()).take(MOST_COOKIES) {
            match self.sessions.find(value).await {
                Ok(Found::Live(live)) if self.counts_for(app, &live) => return Ok(Presented::Live(live)),
                Ok(Found::Live(_) | Found::NotOurs) => {}
                Ok(Found::Ended) => reason = Reason::SessionEnded,
                Err(unavailable) => unknown = Some(unavailable),
            }
        }
        unknown.map_or(Ok(Presented::Nothing(reason)), Err)
    }

    /// Somebody known to one provider is nobody to an app of another (K9).
    fn counts_for(&self, app: &App, live: &Live) -> bool {
        self.providers.get(app.provider) == Some(&live.record.identity.provider)
    }
}

impl From<Unavailable> for Lacking {
    fn from(unavailable: Unavailable) -> Self {
        Self::Answer(unavailable)
    }
}

fn judge(app: &App, test: Test<'_>, live: Arc<Live>) -> Result<Verdict, Lacking> {
    match test.judge(&live.record.identity) {
        Ok(()) => Ok(admit(app, Some(&live))),
        Err(Denial::NotAllowed) => Err(Lacking::Permission(Some(live), Reason::GroupMissing)),
        Err(Denial::Rule) => Err(Lacking::Permission(Some(live), Reason::RuleDenied)),
    }
}

/// Lets in: the only call of [`Admission::grant`]. Every header of the app is there, empty for nobody (contract C7).
fn admit(app: &App, who: Option<&Live>) -> Verdict {
    let plan = &app.headers;
    let headers = who.map_or_else(|| plan.blank(), |live| live.headers(plan).clone());
    Verdict::Allow(Admission::grant(headers))
}

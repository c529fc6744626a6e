//! An app's own limits of sessions: `lifetime` since the person proved who they are, and `idle_timeout` since a page was opened.
//!
//! Promises: they close earlier than the session ends, and never later; nothing but a page that a person opens keeps a session in
//! use at an app.

use std::{sync::Arc, time::Duration};

use http::HeaderMap;

use super::{
    context::{self, RequestContext},
    session_finder::Undetermined,
};
use crate::{
    clock::Timestamp,
    policy::{App, SessionLimits, auth_time},
    session::{CachedSession, IdleApp, Sessions},
};

/// Holds sessions against the limits of apps.
pub(super) struct AppLimits {
    pub(super) sessions: Arc<Sessions>,
}

impl AppLimits {
    /// Returns `true` if a session is known to be within the limits of an app. Nearly every app has none.
    #[inline]
    pub(super) fn are_kept(&self, app: &App, session: &CachedSession, headers: &HeaderMap, now: Timestamp) -> bool {
        app.limits.is_none() || self.are_known_to_be_kept(app, session, headers, now)
    }

    #[cold]
    fn are_known_to_be_kept(&self, app: &App, session: &CachedSession, headers: &HeaderMap, now: Timestamp) -> bool {
        let Some(limits) = &app.limits else { return true };
        if is_past_lifetime(limits, session, now) {
            return false;
        }
        let Some(idle_app) = idle_app(app, limits) else { return true };
        let idleness = self.sessions.app_idleness();
        let is_in_use = idleness.is_in_use(session, &idle_app, now);
        if is_in_use && context::is_page_of_a_person(headers) {
            idleness.record_page(session, &idle_app, now);
        }
        is_in_use
    }

    /// Returns the limit of the app that a session is past, the shorter one of two. May ask the store.
    pub(super) async fn exceeded(
        &self,
        context: &RequestContext<'_>,
        session: &CachedSession,
        now: Timestamp,
    ) -> Result<Option<Duration>, Undetermined> {
        let app = context.site.app;
        let Some(limits) = &app.limits else { return Ok(None) };
        let lifetime = limits.lifetime.filter(|_| is_past_lifetime(limits, session, now));
        let Some(idle_app) = idle_app(app, limits) else { return Ok(lifetime) };
        let idleness = self.sessions.app_idleness();
        if !idleness.find_in_use(session, &idle_app).await.map_err(Undetermined::Store)? {
            return Ok(Some(lifetime.map_or(idle_app.timeout, |lifetime| lifetime.min(idle_app.timeout))));
        }
        if lifetime.is_none() && context::is_page_of_a_person(context.headers) {
            idleness.record_page(session, &idle_app, now);
        }
        Ok(lifetime)
    }
}

fn idle_app<'a>(app: &'a App, limits: &SessionLimits) -> Option<IdleApp<'a>> {
    limits.idle_timeout.map(|timeout| IdleApp { name: &app.name, timeout })
}

fn is_past_lifetime(limits: &SessionLimits, session: &CachedSession, now: Timestamp) -> bool {
    // Not later than the sign-in, so that a clock that is fast there makes no session last longer.
    let proved = || {
        let created = session.created();
        auth_time(&session.identity().claims()).map_or(created, |proved| proved.min(created))
    };
    limits.lifetime.is_some_and(|lifetime| now.since(proved()) > lifetime)
}

//! Invalidations that other processes send, for everything of the store that is in memory: sessions and service tokens.
//!
//! Promises: a hint alone ends nothing, it makes the store be asked.

use crate::{
    clock::Timestamp,
    session::{
        Sessions, cookie::SessionId, revalidation::Revalidation, service_tokens::cache::ServiceTokenCache,
        store::Invalidations,
    },
};

/// The receiver of notifications.
pub(super) struct InvalidationReceiver<'a> {
    sessions: Revalidation<'a>,
    service_tokens: &'a ServiceTokenCache,
}

impl<'a> InvalidationReceiver<'a> {
    /// The receiver for all that these sessions keep in memory.
    pub(super) fn of(sessions: &'a Sessions) -> Self {
        Self { sessions: sessions.revalidation(), service_tokens: &sessions.service_tokens }
    }
}

impl Invalidations for InvalidationReceiver<'_> {
    fn connected(&self) {
        self.sessions.feed.connected();
    }

    fn now(&self) -> Timestamp {
        self.sessions.clock.now()
    }

    fn caught_up_to(&self, moment: Timestamp) {
        self.sessions.feed.complete_until(moment);
    }

    fn disconnected(&self) {
        let Self { sessions: Revalidation { feed, cache, .. }, service_tokens } = self;
        feed.disconnected(|extend| {
            cache.all().for_each(|session| extend(session.validation()));
            service_tokens.for_each(|token| extend(token.validation()));
        });
    }

    fn notified(&self, id: SessionId) {
        let Revalidation { cache, backlog, .. } = self.sessions;
        // Asked about soon even if no request comes, so that an outage after that finds it confirmed, or ended.
        if let Some(session) = cache.hint(&id) {
            session.validation().invalidate();
            backlog.queue_revalidation(&session);
        }
        if let Some(token) = self.service_tokens.hint(&id) {
            token.validation().invalidate();
            token.validation().begin_revalidation();
        }
    }
}

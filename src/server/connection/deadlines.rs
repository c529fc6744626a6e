//! Deadlines of one connection: ends slow clients (slowloris, slow loris), closes idle ones, and follows the drain of the server.
//!
//! hyper's own timeout for headers runs while a kept-alive connection is idle too, and is reset for each request. Here
//! one timer is touched only when a header did not arrive in one piece, and neither it nor the drain is polled
//! while neither can have changed: a request costs a few comparisons.

use std::{
    future::poll_fn,
    mem::replace,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use tokio::{
    sync::futures::Notified,
    task::coop::unconstrained,
    time::{Instant, Sleep},
};

use super::{
    drain::{Drain, GracefulConnection, Phase},
    sensor_io::ConnState,
    timeouts::PeerTimeouts,
};
use crate::server::limits::ConnSignals;

/// Reason for which driving a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DriveEnd {
    /// The connection ended by itself: everything has been written.
    Complete,
    /// The connection has to be aborted.
    Abort,
    /// The connection can be parked: no request for a while, and nothing is on its way in or out.
    Park,
}

/// Action that is due on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    /// End as soon as no request is in flight.
    GracefulShutdown,
    /// End at once.
    Abort,
    /// Release the buffers until the next request.
    Park,
}

/// State of a connection that the timer runs for. `requests` is the number of requests when it was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deadline {
    FirstRequest,
    SlowClient {
        requests: u64,
    },
    /// Idle, on a connection that can be parked.
    Park {
        requests: u64,
    },
    Idle {
        requests: u64,
    },
    Closing,
}

/// Deadlines of one connection, with the one timer that enforces them.
pub(super) struct Deadlines<'a, 'd> {
    state: &'a ConnState,
    timeouts: PeerTimeouts<'a>,
    drain: &'d Drain,
    deadline: Deadline,
    timer: Pin<&'a mut Sleep>,
    drain_changed: Pin<&'a mut Notified<'d>>,
    /// Phase that has been acted on.
    phase: Phase,
    /// Set once a graceful shutdown of the connection has begun.
    is_shutting_down: bool,
    can_park: bool,
    /// Waker that the timer and the drain will wake; `None` since the timer was set.
    waker: Option<Waker>,
}

impl<'a, 'd> Deadlines<'a, 'd> {
    /// Creates the deadlines of a connection that has just been accepted. `timer` is set for its first request, and
    /// `drain_changed` comes from `drain`.
    pub(super) fn new(
        state: &'a ConnState,
        timeouts: PeerTimeouts<'a>,
        drain: &'d Drain,
        timer: Pin<&'a mut Sleep>,
        drain_changed: Pin<&'a mut Notified<'d>>,
    ) -> Self {
        Self {
            state,
            timeouts,
            drain,
            deadline: Deadline::FirstRequest,
            timer,
            drain_changed,
            phase: Phase::Starting,
            is_shutting_down: false,
            can_park: false,
            waker: None,
        }
    }

    /// Allows parking: the connection that is driven from now on has one request at a time.
    pub(super) fn allow_parking(&mut self) {
        self.can_park = true;
        if let Deadline::Idle { requests } = self.deadline {
            self.set(Deadline::Park { requests });
        }
    }

    /// Drives a connection until it ends or has to, or can be parked.
    pub(super) async fn drive(&mut self, connection: &mut impl GracefulConnection) -> DriveEnd {
        poll_fn(|context| {
            loop {
                if connection.poll(context).is_ready() {
                    return Poll::Ready(DriveEnd::Complete);
                }
                match ready!(self.poll_action(context)) {
                    Action::GracefulShutdown => connection.graceful_shutdown(),
                    Action::Abort => return Poll::Ready(DriveEnd::Abort),
                    Action::Park => return Poll::Ready(DriveEnd::Park),
                }
            }
        })
        .await
    }

    /// Ready when an action is due. To be polled after the connection itself, with the same waker.
    fn poll_action(&mut self, context: &mut Context<'_>) -> Poll<Action> {
        self.follow_client();
        let is_registered = self.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker()));
        let has_changed = self.drain.phase() != self.phase || self.timeouts.peer.has_signals();
        if is_registered && !has_changed && !self.timer.is_elapsed() {
            return Poll::Pending;
        }
        self.poll_changes(context)
    }

    /// Sets another deadline when a client becomes slow, or is no longer.
    fn follow_client(&mut self) {
        let (is_slow, now) = (self.state.is_client_slow(), self.state.requests());
        match self.deadline {
            Deadline::Closing => {}
            Deadline::SlowClient { requests } if is_slow && requests == now => {}
            _ if is_slow => self.set(Deadline::SlowClient { requests: now }),
            Deadline::SlowClient { .. } => self.set(self.between_requests(now)),
            Deadline::FirstRequest | Deadline::Park { .. } | Deadline::Idle { .. } => {}
        }
    }

    fn poll_changes(&mut self, context: &mut Context<'_>) -> Poll<Action> {
        loop {
            // Before the phase is read, so that no change is missed between the two.
            while self.drain_changed.as_mut().poll(context).is_ready() {
                self.drain_changed.set(self.drain.changed());
            }
            if let Some(action) = self.follow_drain().or_else(|| self.take_signals(context.waker())) {
                return Poll::Ready(action);
            }
            // Unconstrained, because a poll that tokio answers with "others first" sets no timer.
            if Pin::new(&mut unconstrained(self.timer.as_mut())).poll(context).is_pending() {
                self.waker = Some(context.waker().clone());
                return Poll::Pending;
            }
            if let Some(action) = self.expire() {
                return Poll::Ready(action);
            }
        }
    }

    fn follow_drain(&mut self) -> Option<Action> {
        let before = replace(&mut self.phase, self.drain.phase());
        match self.phase {
            Phase::Aborting => Some(Action::Abort),
            Phase::ShuttingDown if before < Phase::ShuttingDown => {
                if self.state.requests() == 0 {
                    // Accepted a moment ago: its request is on the way, and is answered.
                    self.set(Deadline::Closing);
                    None
                } else {
                    (self.is_shutting_down, self.can_park) = (true, false);
                    Some(Action::GracefulShutdown)
                }
            }
            Phase::Starting | Phase::Accepting | Phase::Draining | Phase::ShuttingDown => None,
        }
    }

    fn take_signals(&mut self, waker: &Waker) -> Option<Action> {
        let signals = self.timeouts.peer.take_signals(waker);
        if signals == ConnSignals::NONE {
            return None;
        }
        if signals.has_abort() {
            return Some(Action::Abort);
        }
        if signals.has_graceful_shutdown() && !self.is_shutting_down {
            (self.is_shutting_down, self.can_park) = (true, false);
            self.set(Deadline::Idle { requests: self.state.requests() });
            return Some(Action::GracefulShutdown);
        }
        // Other timeouts apply from now on.
        self.set(self.deadline);
        None
    }

    /// Returns the action that is due now that the timer has expired, and sets the next deadline.
    fn expire(&mut self) -> Option<Action> {
        let (expired, now) = (self.deadline, self.state.requests());
        // Nothing is on its way out: a client that does not take a response is slow, and its deadline another one.
        if expired == (Deadline::Park { requests: now }) && self.can_park && !self.state.is_in_flight() {
            self.can_park = false;
            self.set(Deadline::Idle { requests: now });
            return Some(Action::Park);
        }
        self.set(self.between_requests(now));
        match expired {
            Deadline::FirstRequest if now > 0 => None,
            Deadline::Idle { .. } if self.state.is_streaming() => None,
            Deadline::Idle { .. } if self.timeouts.peer.has_requests_in_flight() => None,
            // Further requests do not keep a connection that is shutting down.
            Deadline::Idle { requests } if now > requests && !self.is_shutting_down => None,
            Deadline::Park { .. } => None,
            Deadline::FirstRequest | Deadline::Idle { .. } | Deadline::Closing => Some(self.close()),
            Deadline::SlowClient { .. } => Some(Action::Abort),
        }
    }

    fn between_requests(&self, requests: u64) -> Deadline {
        if self.can_park { Deadline::Park { requests } } else { Deadline::Idle { requests } }
    }

    /// Shuts the connection down gracefully, or aborts it if that was tried before.
    fn close(&mut self) -> Action {
        self.can_park = false;
        if replace(&mut self.is_shutting_down, true) { Action::Abort } else { Action::GracefulShutdown }
    }

    fn set(&mut self, deadline: Deadline) {
        let timeouts = self.timeouts.current();
        let timeout = match deadline {
            Deadline::FirstRequest => timeouts.first_request,
            Deadline::SlowClient { .. } => timeouts.slow_client,
            Deadline::Park { .. } => timeouts.park,
            Deadline::Idle { .. } => timeouts.idle,
            Deadline::Closing => timeouts.closing,
        };
        self.deadline = deadline;
        self.timer.as_mut().reset(Instant::now() + timeout);
        // A timer that has fired meanwhile has forgotten its waker.
        self.waker = None;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::pin,
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering},
        },
        task::Wake,
        time::Duration,
    };

    use super::{
        super::{
            detect::HttpVersion,
            timeouts::{ListenerTimeouts, Timeouts},
        },
        *,
    };
    use crate::server::{
        limits::PeerState,
        tests::{ENDLESS, LONG},
    };

    const SHORT: Duration = Duration::from_millis(20);

    fn peer() -> PeerState {
        PeerState::new(1, [127, 0, 0, 1].into())
    }

    fn for_all(timeouts: Timeouts) -> ListenerTimeouts {
        ListenerTimeouts { trusted: timeouts, untrusted: timeouts }
    }

    /// Ends when it is shut down, unless it stays.
    #[derive(Default)]
    struct FakeConnection {
        shutdowns: u64,
        stays: bool,
    }

    impl GracefulConnection for FakeConnection {
        fn poll(&mut self, _: &mut Context<'_>) -> Poll<()> {
            if self.shutdowns > 0 && !self.stays { Poll::Ready(()) } else { Poll::Pending }
        }

        fn graceful_shutdown(&mut self) {
            self.shutdowns += 1;
        }
    }

    /// Counts its wakings.
    #[derive(Default)]
    struct CountingWaker(AtomicU64);

    impl Wake for CountingWaker {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl CountingWaker {
        fn times(&self) -> u64 {
            self.0.load(Ordering::SeqCst)
        }
    }

    /// Drives `connection` in the state that `record` leaves behind.
    async fn end(
        timeouts: Timeouts,
        version: HttpVersion,
        record: impl FnOnce(&ConnState),
        connection: &mut FakeConnection,
    ) -> DriveEnd {
        let (state, drain) = (ConnState::default(), Drain::default());
        let (timer, drain_changed) = (pin!(tokio::time::sleep(timeouts.first_request)), pin!(drain.changed()));
        let (peer, timeouts) = (peer(), for_all(timeouts));
        let timeouts = PeerTimeouts { peer: &peer, by_trust: &timeouts };
        let mut deadlines = Deadlines::new(&state, timeouts, &drain, timer, drain_changed);
        if version == HttpVersion::Http1 {
            deadlines.allow_parking();
        }
        record(&state);
        deadlines.drive(connection).await
    }

    #[tokio::test]
    async fn only_an_idle_connection_is_parked() {
        let timeouts =
            Timeouts { first_request: SHORT, park: SHORT, slow_client: SHORT * 5, idle: SHORT * 5, ..ENDLESS };
        let answered = |state: &ConnState| {
            state.request_started();
            state.response_ready();
        };
        let mut connection = FakeConnection::default();
        assert_eq!(end(timeouts, HttpVersion::Http1, answered, &mut connection).await, DriveEnd::Park);
        assert_eq!(
            end(timeouts, HttpVersion::Http2, answered, &mut connection).await,
            DriveEnd::Complete,
            "HTTP/2 stays until it is idle"
        );
        assert_eq!(connection.shutdowns, 1);
        let begun = |state: &ConnState| {
            answered(state);
            state.header_started();
        };
        assert_eq!(
            end(timeouts, HttpVersion::Http1, begun, &mut FakeConnection::default()).await,
            DriveEnd::Abort,
            "a header is under way"
        );
        let mut connection = FakeConnection::default();
        let waiting = end(timeouts, HttpVersion::Http1, |state| assert!(!state.request_started()), &mut connection);
        assert!(tokio::time::timeout(SHORT * 10, waiting).await.is_err(), "an answer is under way");
        assert_eq!(connection.shutdowns, 0);
    }

    #[tokio::test]
    async fn an_idle_connection_that_ignores_its_shutdown_is_aborted() {
        let timeouts = Timeouts { first_request: SHORT, park: SHORT, idle: SHORT, ..ENDLESS };
        let mut connection = FakeConnection { stays: true, ..FakeConnection::default() };
        assert_eq!(end(timeouts, HttpVersion::Http1, |_| {}, &mut connection).await, DriveEnd::Abort);
        assert_eq!(connection.shutdowns, 1);
    }

    #[tokio::test]
    async fn the_waker_of_the_last_poll_is_woken_by_the_drain_and_by_the_timer() {
        let timeouts = Timeouts { first_request: SHORT, ..ENDLESS };
        let (state, drain) = (ConnState::default(), Drain::default());
        state.request_started();
        let (timer, drain_changed) = (pin!(tokio::time::sleep(timeouts.first_request)), pin!(drain.changed()));
        let (peer, timeouts) = (peer(), for_all(timeouts));
        let timeouts = PeerTimeouts { peer: &peer, by_trust: &timeouts };
        let mut deadlines = Deadlines::new(&state, timeouts, &drain, timer, drain_changed);
        let [one, other] = [Arc::<CountingWaker>::default(), Arc::default()];
        let mut connection = FakeConnection { stays: true, ..FakeConnection::default() };
        let mut driving = pin!(deadlines.drive(&mut connection));
        for waker in [&one, &other, &other] {
            assert!(driving.as_mut().poll(&mut Context::from_waker(&Arc::clone(waker).into())).is_pending());
        }
        while other.times() == 0 {
            tokio::time::sleep(SHORT).await;
        }
        for phase in [Drain::shut_down_connections, Drain::abort_connections] {
            let before = other.times();
            assert!(driving.as_mut().poll(&mut Context::from_waker(&Arc::clone(&other).into())).is_pending());
            phase(&drain);
            assert_eq!(other.times(), before + 1);
        }
        let ended = driving.as_mut().poll(&mut Context::from_waker(&Arc::clone(&other).into()));
        assert_eq!((ended, one.times()), (Poll::Ready(DriveEnd::Abort), 0));
    }

    #[tokio::test]
    async fn a_phase_that_began_before_the_first_poll_is_not_missed() {
        for (phase, expected) in [
            (Drain::shut_down_connections as fn(&Drain), DriveEnd::Complete),
            (Drain::abort_connections, DriveEnd::Abort),
        ] {
            let (state, drain) = (ConnState::default(), Drain::default());
            state.request_started();
            let (timer, drain_changed) = (pin!(tokio::time::sleep(LONG)), pin!(drain.changed()));
            let (peer, timeouts) = (peer(), for_all(ENDLESS));
            let timeouts = PeerTimeouts { peer: &peer, by_trust: &timeouts };
            let mut deadlines = Deadlines::new(&state, timeouts, &drain, timer, drain_changed);
            phase(&drain);
            assert_eq!(deadlines.drive(&mut FakeConnection::default()).await, expected);
        }
    }
}

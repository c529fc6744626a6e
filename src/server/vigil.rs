//! Watching one connection for clients that dribble, stall, or never come, and for the end of its server.
//!
//! hyper's own deadline for headers runs while a kept connection is idle too, and is set anew for each request. Here
//! a timer is touched only when a header did not arrive in one piece, and neither it nor the drain is asked anything
//! while neither can have anything to say: all that a request costs is looking at a few numbers. It must not know what is asked
//! or answered.

use std::{
    future::poll_fn,
    mem::replace,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::{
    sync::futures::Notified,
    task::coop::unconstrained,
    time::{Instant, Sleep},
};

use super::{
    drain::{Drain, Phase},
    places::{Call as Asked, Seat},
    watched::Pulse,
};

/// How long a connection may be in each of its states.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// A TLS handshake.
    pub(super) handshake: Duration,
    /// From being accepted to the first request.
    pub(super) first_request: Duration,
    /// From a request's first byte to the end of its header, and for a blocked client to take more of an answer.
    pub(super) header: Duration,
    /// Between requests, before what HTTP/1 needs for the next one is given back; up to twice as long, because a
    /// connection is looked at once in this time, and for a new one not before the time for its first request.
    pub(super) rest: Duration,
    /// Between requests; over HTTP/2 up to twice as long, for the same reason.
    pub(super) idle: Duration,
    /// From our wish to end a connection to its end.
    pub(super) farewell: Duration,
    /// From an HTTP/2 request to the client's having taken all of its answer.
    pub(super) stream: Duration,
}

/// How long connections may be in each of their states, by whose they are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// Those of trusted peers.
    pub(super) trusted: Patience,
    /// Those of all others.
    pub(super) strangers: Patience,
}

impl Timeouts {
    /// Those of the listener for edges.
    pub(super) const EDGES: Self = Self { trusted: Patience::DEFAULT, strangers: Patience::STRANGERS };

    /// Those of the listener for whoever watches.
    pub(super) const MANAGEMENT: Self = Self { trusted: Patience::MANAGEMENT, strangers: Patience::MANAGEMENT };

    /// Those of a connection as it is now.
    pub(super) fn of(&self, seat: &Seat) -> &Patience {
        if seat.is_stranger() { &self.strangers } else { &self.trusted }
    }
}

impl Patience {
    /// Edges keep idle connections for up to an hour (Envoy) and take our closing first for a failure: ours is longer.
    pub(super) const DEFAULT: Self = Self {
        handshake: Duration::from_secs(10),
        first_request: Duration::from_secs(30),
        header: Duration::from_secs(10),
        // To rest and to wake costs a tenth of a check. Edges that are in use ask more often; those that are not keep
        // most of what they have opened in a rush for minutes.
        rest: Duration::from_secs(10),
        idle: Duration::from_secs(3_700),
        farewell: Duration::from_secs(1),
        // Every request is answered within 25 s; ten more to take the answer, as over HTTP/1.
        stream: Duration::from_secs(35),
    };

    /// Whoever is no edge asks for a page or two and has nothing to keep a connection for: after a request it is idle for six
    /// seconds at most, or ten where it was the first.
    pub(super) const STRANGERS: Self = Self {
        handshake: Duration::from_secs(5),
        first_request: Duration::from_secs(5),
        header: Duration::from_secs(5),
        rest: Duration::from_secs(1),
        idle: Duration::from_secs(4),
        ..Self::DEFAULT
    };

    /// Whoever watches comes again within half a minute, or connects anew.
    pub(super) const MANAGEMENT: Self = Self {
        first_request: Duration::from_secs(10),
        header: Duration::from_secs(5),
        rest: Duration::from_secs(5),
        idle: Duration::from_secs(15),
        ..Self::DEFAULT
    };
}

/// What goes on over a stream.
pub(super) trait Talk {
    /// Goes on with it. Ready at its end.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()>;

    /// Ends it as soon as nothing is in hand.
    fn wind_up(&mut self);
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By itself: everything that was to be said has been.
    Own,
    /// Before that.
    Cut,
    /// It has not: there has been nothing to do for a while, and nothing is on its way in or out.
    Rest,
}

/// What a connection has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    /// End as soon as nothing is in hand.
    WindUp,
    /// End at once.
    Cut,
    /// Give back what it does not need while nothing is said.
    Rest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watch {
    FirstRequest,
    Slow {
        after: u64,
    },
    /// Something was said a moment ago on a connection that can rest.
    Awake {
        after: u64,
    },
    Idle {
        after: u64,
    },
    Farewell,
}

/// Whose connection it is, and how long it may be in each of its states for that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    /// The peer.
    pub(super) seat: &'a Seat,
    /// By whose it is.
    pub(super) timeouts: &'a Timeouts,
}

impl<'a> Terms<'a> {
    /// How long, as things are now.
    pub(super) fn patience(self) -> &'a Patience {
        self.timeouts.of(self.seat)
    }
}

/// A connection's one timer, and its ear for what its server does and its place asks.
pub(super) struct Vigil<'a, 'd> {
    pulse: &'a Pulse,
    terms: Terms<'a>,
    drain: &'d Drain,
    watch: Watch,
    alarm: Pin<&'a mut Sleep>,
    news: Pin<&'a mut Notified<'d>>,
    /// The phase that has been acted on.
    phase: Phase,
    /// Whether the connection was asked to wind up.
    is_asked: bool,
    /// Whether what goes on can rest.
    can_rest: bool,
    /// Whom the alarm and the news will wake; nobody since the alarm was set.
    woken: Option<Waker>,
}

impl<'a, 'd> Vigil<'a, 'd> {
    /// A vigil over a connection that has just been accepted, with what wakes it: an `alarm` set for the first
    /// request, and the `news` of `drain`.
    pub(super) fn new(
        pulse: &'a Pulse,
        terms: Terms<'a>,
        drain: &'d Drain,
        alarm: Pin<&'a mut Sleep>,
        news: Pin<&'a mut Notified<'d>>,
    ) -> Self {
        let (watch, phase) = (Watch::FirstRequest, Phase::Starting);
        Self { pulse, terms, drain, watch, alarm, news, phase, is_asked: false, can_rest: false, woken: None }
    }

    /// What goes on from now on has one request at a time, and can rest.
    pub(super) fn wake(&mut self) {
        self.can_rest = true;
        if let Watch::Idle { after } = self.watch {
            self.turn_to(Watch::Awake { after });
        }
    }

    /// Lets `talk` go on until it ends or has to.
    pub(super) async fn over(&mut self, talk: &mut impl Talk) -> End {
        poll_fn(|context| {
            loop {
                if talk.poll(context).is_ready() {
                    return Poll::Ready(End::Own);
                }
                match ready!(self.poll_call(context)) {
                    Call::WindUp => talk.wind_up(),
                    Call::Cut => return Poll::Ready(End::Cut),
                    Call::Rest => return Poll::Ready(End::Rest),
                }
            }
        })
        .await
    }

    /// Ready when the connection has to do something. To be polled after the connection itself, with the same waker.
    fn poll_call(&mut self, context: &mut Context<'_>) -> Poll<Call> {
        self.look();
        let is_known = self.woken.as_ref().is_some_and(|waker| waker.will_wake(context.waker()));
        let is_asked = self.drain.phase() != self.phase || self.terms.seat.is_called();
        if is_known && !is_asked && !self.alarm.is_elapsed() {
            return Poll::Pending;
        }
        self.listen(context)
    }

    fn look(&mut self) {
        let (slow, requests) = (self.pulse.is_slow(), self.pulse.requests());
        match self.watch {
            Watch::Farewell => {}
            Watch::Slow { after } if slow && after == requests => {}
            _ if slow => self.turn_to(Watch::Slow { after: requests }),
            Watch::Slow { .. } => self.turn_to(self.calm(requests)),
            Watch::FirstRequest | Watch::Awake { .. } | Watch::Idle { .. } => {}
        }
    }

    fn listen(&mut self, context: &mut Context<'_>) -> Poll<Call> {
        loop {
            // Before the phase is looked at, so that of every change either it or a waking tells.
            while self.news.as_mut().poll(context).is_ready() {
                self.news.set(self.drain.news());
            }
            if let Some(call) = self.hear().or_else(|| self.heed(context.waker())) {
                return Poll::Ready(call);
            }
            // Unconstrained, because a poll that tokio answers with "others first" sets no alarm.
            if Pin::new(&mut unconstrained(self.alarm.as_mut())).poll(context).is_pending() {
                self.woken = Some(context.waker().clone());
                return Poll::Pending;
            }
            if let Some(call) = self.judge() {
                return Poll::Ready(call);
            }
        }
    }

    fn hear(&mut self) -> Option<Call> {
        let before = replace(&mut self.phase, self.drain.phase());
        match self.phase {
            Phase::Cut => Some(Call::Cut),
            Phase::Finishing if before < Phase::Finishing => {
                if self.pulse.requests() == 0 {
                    // Accepted a moment ago: its request is on the way, and is answered.
                    self.turn_to(Watch::Farewell);
                    None
                } else {
                    (self.is_asked, self.can_rest) = (true, false);
                    Some(Call::WindUp)
                }
            }
            Phase::Starting | Phase::Accepting | Phase::Draining | Phase::Finishing => None,
        }
    }

    /// Does what the connection's place asks.
    fn heed(&mut self, waker: &Waker) -> Option<Call> {
        let asked = self.terms.seat.hear(waker);
        if asked == Asked::NONE {
            return None;
        }
        if asked.asks_to_cut() {
            return Some(Call::Cut);
        }
        if asked.asks_to_wind_up() && !self.is_asked {
            (self.is_asked, self.can_rest) = (true, false);
            self.turn_to(Watch::Idle { after: self.pulse.requests() });
            return Some(Call::WindUp);
        }
        // From now on other times count.
        self.turn_to(self.watch);
        None
    }

    fn judge(&mut self) -> Option<Call> {
        let (watch, after) = (self.watch, self.pulse.requests());
        // Nothing is on its way out: whoever does not take an answer is slow, and is not judged as awake.
        if watch == (Watch::Awake { after }) && self.can_rest && !self.pulse.is_in_hand() {
            self.can_rest = false;
            self.turn_to(Watch::Idle { after });
            return Some(Call::Rest);
        }
        self.turn_to(self.calm(after));
        match watch {
            Watch::FirstRequest if after > 0 => None,
            Watch::Idle { .. } if self.terms.seat.is_served() => None,
            // One that was asked to end is not kept by asking on.
            Watch::Idle { after: before } if after > before && !self.is_asked => None,
            Watch::Awake { .. } => None,
            Watch::FirstRequest | Watch::Idle { .. } | Watch::Farewell => Some(self.ask()),
            Watch::Slow { .. } => Some(Call::Cut),
        }
    }

    fn calm(&self, after: u64) -> Watch {
        if self.can_rest { Watch::Awake { after } } else { Watch::Idle { after } }
    }

    /// Whoever was asked and has not gone is not asked again.
    fn ask(&mut self) -> Call {
        self.can_rest = false;
        if replace(&mut self.is_asked, true) { Call::Cut } else { Call::WindUp }
    }

    fn turn_to(&mut self, watch: Watch) {
        let patience = self.terms.patience();
        let time = match watch {
            Watch::FirstRequest => patience.first_request,
            Watch::Slow { .. } => patience.header,
            Watch::Awake { .. } => patience.rest,
            Watch::Idle { .. } => patience.idle,
            Watch::Farewell => patience.farewell,
        };
        self.watch = watch;
        self.alarm.as_mut().reset(Instant::now() + time);
        // One that has rung meanwhile has forgotten whom to wake.
        self.woken = None;
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
    };

    use super::{super::opening::Version, *};

    const LONG: Duration = Duration::from_hours(1);
    const SHORT: Duration = Duration::from_millis(20);
    const ENDLESS: Patience = Patience {
        handshake: LONG,
        first_request: LONG,
        header: LONG,
        rest: LONG,
        idle: LONG,
        farewell: LONG,
        stream: LONG,
    };

    fn somebody() -> Seat {
        Seat::new(1, [127, 0, 0, 1].into())
    }

    fn alike(patience: Patience) -> Timeouts {
        Timeouts { trusted: patience, strangers: patience }
    }

    /// Ends when it is asked to, where it does.
    #[derive(Default)]
    struct Idling {
        asked: u64,
        stays: bool,
    }

    impl Talk for Idling {
        fn poll(&mut self, _: &mut Context<'_>) -> Poll<()> {
            if self.asked > 0 && !self.stays { Poll::Ready(()) } else { Poll::Pending }
        }

        fn wind_up(&mut self) {
            self.asked += 1;
        }
    }

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Woken(AtomicU64);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Woken {
        fn times(&self) -> u64 {
            self.0.load(Ordering::SeqCst)
        }
    }

    /// What a vigil over `talk` comes to on a connection of which `tell` says what is known.
    async fn end(patience: Patience, version: Version, tell: impl FnOnce(&Pulse), talk: &mut Idling) -> End {
        let (pulse, drain) = (Pulse::default(), Drain::default());
        let (alarm, news) = (pin!(tokio::time::sleep(patience.first_request)), pin!(drain.news()));
        let (seat, timeouts) = (somebody(), alike(patience));
        let terms = Terms { seat: &seat, timeouts: &timeouts };
        let mut vigil = Vigil::new(&pulse, terms, &drain, alarm, news);
        if version == Version::Http1 {
            vigil.wake();
        }
        tell(&pulse);
        vigil.over(talk).await
    }

    #[tokio::test]
    async fn only_what_has_nothing_to_do_rests() {
        let patience = Patience { first_request: SHORT, rest: SHORT, header: SHORT * 5, idle: SHORT * 5, ..ENDLESS };
        let answered = |pulse: &Pulse| {
            pulse.request_begins();
            pulse.request_ends();
        };
        let mut talk = Idling::default();
        assert_eq!(end(patience, Version::Http1, answered, &mut talk).await, End::Rest);
        assert_eq!(end(patience, Version::Http2, answered, &mut talk).await, End::Own, "HTTP/2 stays until it is idle");
        assert_eq!(talk.asked, 1);
        let begun = |pulse: &Pulse| {
            answered(pulse);
            pulse.header_begins();
        };
        assert_eq!(
            end(patience, Version::Http1, begun, &mut Idling::default()).await,
            End::Cut,
            "a header is under way"
        );
        let mut talk = Idling::default();
        let waiting = end(patience, Version::Http1, |pulse| assert!(!pulse.request_begins()), &mut talk);
        assert!(tokio::time::timeout(SHORT * 10, waiting).await.is_err(), "an answer is under way");
        assert_eq!(talk.asked, 0);
    }

    #[tokio::test]
    async fn whoever_stays_when_it_is_idle_is_cut() {
        let patience = Patience { first_request: SHORT, rest: SHORT, idle: SHORT, ..ENDLESS };
        let mut talk = Idling { stays: true, ..Idling::default() };
        assert_eq!(end(patience, Version::Http1, |_| {}, &mut talk).await, End::Cut);
        assert_eq!(talk.asked, 1);
    }

    #[tokio::test]
    async fn whoever_polls_last_is_woken_by_the_drain_and_by_the_alarm() {
        let patience = Patience { first_request: SHORT, ..ENDLESS };
        let (pulse, drain) = (Pulse::default(), Drain::default());
        pulse.request_begins();
        let (alarm, news) = (pin!(tokio::time::sleep(patience.first_request)), pin!(drain.news()));
        let (seat, timeouts) = (somebody(), alike(patience));
        let terms = Terms { seat: &seat, timeouts: &timeouts };
        let mut vigil = Vigil::new(&pulse, terms, &drain, alarm, news);
        let [one, other] = [Arc::<Woken>::default(), Arc::default()];
        let mut talk = Idling { stays: true, ..Idling::default() };
        let mut over = pin!(vigil.over(&mut talk));
        for woken in [&one, &other, &other] {
            assert!(over.as_mut().poll(&mut Context::from_waker(&Arc::clone(woken).into())).is_pending());
        }
        while other.times() == 0 {
            tokio::time::sleep(SHORT).await;
        }
        for phase in [Drain::finish, Drain::cut] {
            let before = other.times();
            assert!(over.as_mut().poll(&mut Context::from_waker(&Arc::clone(&other).into())).is_pending());
            phase(&drain);
            assert_eq!(other.times(), before + 1);
        }
        let ended = over.as_mut().poll(&mut Context::from_waker(&Arc::clone(&other).into()));
        assert_eq!((ended, one.times()), (Poll::Ready(End::Cut), 0));
    }

    #[tokio::test]
    async fn what_the_drain_did_before_the_first_poll_is_not_missed() {
        for (phase, expected) in [(Drain::finish as fn(&Drain), End::Own), (Drain::cut, End::Cut)] {
            let (pulse, drain) = (Pulse::default(), Drain::default());
            pulse.request_begins();
            let (alarm, news) = (pin!(tokio::time::sleep(LONG)), pin!(drain.news()));
            let (seat, timeouts) = (somebody(), alike(ENDLESS));
            let terms = Terms { seat: &seat, timeouts: &timeouts };
            let mut vigil = Vigil::new(&pulse, terms, &drain, alarm, news);
            phase(&drain);
            assert_eq!(vigil.over(&mut Idling::default()).await, expected);
        }
    }
}

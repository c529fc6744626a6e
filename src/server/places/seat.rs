//! What is known of the peer at the other end of a connection, and what its connection is to do.
//!
//! Shared by the connection and the places: these ask, the connection does. It must not know why.

use std::{
    future::poll_fn,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Poll, Waker},
};

use futures_util::task::AtomicWaker;

/// What one stranger is: an IPv4 address, or the /64 of an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Network(u128);

impl Network {
    fn of(peer: IpAddr) -> Self {
        match peer.to_canonical() {
            IpAddr::V4(address) => Self(address.to_ipv6_mapped().to_bits()),
            IpAddr::V6(address) => Self(address.to_bits() & !u128::from(u64::MAX)),
        }
    }
}

/// What a connection is to do. Several may be asked for at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) struct Call(u8);

impl Call {
    /// Nothing.
    pub(in crate::server) const NONE: Self = Self(0);
    /// Look again how long it may be idle.
    pub(super) const REVIEW: Self = Self(1);
    /// End as soon as nothing is in hand.
    pub(in crate::server) const WIND_UP: Self = Self(2);
    /// End at once. It stays said.
    pub(super) const CUT: Self = Self(4);

    /// Whether this is asked for.
    pub(in crate::server) fn asks_to_wind_up(self) -> bool {
        self.0 & Self::WIND_UP.0 != 0
    }

    /// Whether this is asked for.
    pub(in crate::server) fn asks_to_cut(self) -> bool {
        self.0 & Self::CUT.0 != 0
    }
}

/// A peer on one connection.
#[derive(Debug)]
pub(in crate::server) struct Seat {
    number: u64,
    peer: IpAddr,
    stranger: AtomicBool,
    /// The moment at which a stranger was last heard of. Changes only with the crowd of strangers.
    since: AtomicU64,
    serving: AtomicUsize,
    calls: AtomicU8,
    waker: AtomicWaker,
}

impl Seat {
    /// A peer that is trusted until it is estranged.
    pub(in crate::server) fn new(number: u64, peer: IpAddr) -> Self {
        Self {
            number,
            peer,
            stranger: AtomicBool::new(false),
            since: AtomicU64::new(0),
            serving: AtomicUsize::new(0),
            calls: AtomicU8::new(0),
            waker: AtomicWaker::new(),
        }
    }

    /// Whose it is.
    pub(in crate::server) fn peer(&self) -> IpAddr {
        self.peer
    }

    /// Whether the peer is not a trusted one. One relaxed load.
    pub(in crate::server) fn is_stranger(&self) -> bool {
        self.stranger.load(Ordering::Relaxed)
    }

    /// Whether a stranger waits for an answer.
    pub(in crate::server) fn is_served(&self) -> bool {
        self.serving.load(Ordering::Relaxed) > 0
    }

    /// Whether the connection is to do something. One relaxed load.
    pub(in crate::server) fn is_called(&self) -> bool {
        self.calls.load(Ordering::Relaxed) != 0
    }

    /// What the connection is to do, which is only told once but for the wish to cut it. `waker` is woken by the next.
    pub(in crate::server) fn hear(&self, waker: &Waker) -> Call {
        self.waker.register(waker);
        Call(self.calls.fetch_and(Call::CUT.0, Ordering::Acquire))
    }

    /// Asks the connection to do something.
    pub(in crate::server) fn call(&self, call: Call) {
        self.calls.fetch_or(call.0, Ordering::Release);
        self.waker.wake();
    }

    /// Returns once the connection is to end at once.
    pub(in crate::server) async fn until_cut(&self) {
        poll_fn(|context| if self.hear(context.waker()).asks_to_cut() { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn network(&self) -> Network {
        Network::of(self.peer)
    }

    pub(super) fn since(&self) -> u64 {
        self.since.load(Ordering::Relaxed)
    }

    pub(super) fn estrange(&self, moment: u64) {
        self.since.store(moment, Ordering::Relaxed);
        self.stranger.store(true, Ordering::Relaxed);
    }

    pub(super) fn befriend(&self) {
        self.stranger.store(false, Ordering::Relaxed);
    }
}

/// A stranger's request in hand.
#[derive(Debug)]
pub(in crate::server) struct Serving {
    seat: Arc<Seat>,
}

impl Serving {
    pub(super) fn of(seat: &Arc<Seat>) -> Self {
        seat.serving.fetch_add(1, Ordering::Relaxed);
        Self { seat: Arc::clone(seat) }
    }

    /// Whose it is.
    pub(in crate::server) fn seat(&self) -> &Seat {
        &self.seat
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.seat.serving.fetch_sub(1, Ordering::Relaxed);
    }
}

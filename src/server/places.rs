//! The places of a listener: how many connections it may have, how many of them strangers may have, and who gives way.
//!
//! A stranger is a peer that `server.trusted_proxies` does not name. However many there are and whatever they do, most places
//! are left to the edges: strangers share a part of them and a network of strangers a part of that, and where a share or the
//! listener is full the stranger that has been quiet for longest gives way to the newcomer. It must not know what is said on a
//! connection.

mod crowd;
mod seat;

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use foldhash::{HashMap, HashMapExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::crowd::Crowd;
pub(super) use self::seat::{Call, Seat, Serving};
use crate::metrics::Gauge;

/// How often it is said at most that strangers give way.
const SAY_EVERY: Duration = Duration::from_mins(1);

/// The connections of one listener at once, and the shares of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shares {
    /// All of them.
    pub(super) places: usize,
    /// Those of strangers.
    pub(super) strangers: usize,
    /// Those of one stranger: an IPv4 address or an IPv6 /64.
    pub(super) each: usize,
    /// TLS handshakes of strangers under way.
    pub(super) handshakes: usize,
    /// TLS handshakes of one stranger under way.
    pub(super) handshakes_each: usize,
}

impl Shares {
    /// The shares of a listener with so many places: an eighth is the strangers', an eighth of that one stranger's.
    pub(super) fn of(places: usize) -> Self {
        let strangers = (places / 8).max(1);
        let each = (strangers / 8).max(8).min(strangers);
        Self { places, strangers, each, handshakes: strangers.min(64), handshakes_each: each.min(16) }
    }

    /// The shares of a listener at which nobody is told from anybody else: whoever comes last is served.
    pub(super) fn alike(places: usize) -> Self {
        Self { places, strangers: places, each: places, handshakes: places, handshakes_each: places }
    }
}

/// The places of one listener.
pub(super) struct Places {
    room: Arc<Semaphore>,
    taken: Mutex<Taken>,
}

/// Who has them.
struct Taken {
    /// The number of the next moment: a place is taken, or a stranger asks.
    next: u64,
    all: HashMap<u64, Arc<Seat>>,
    strangers: Crowd,
    handshakes: Crowd,
    /// Strangers that gave way and of whom nothing has been said.
    unsaid: u64,
    said: Option<Instant>,
}

/// One place, for as long as it is kept.
pub(super) struct Place {
    seat: Arc<Seat>,
    places: Arc<Places>,
    open: Gauge,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    /// Free places.
    pub(super) fn new(shares: Shares) -> Arc<Self> {
        let taken = Taken {
            next: 1,
            all: HashMap::new(),
            strangers: Crowd::new(shares.strangers, shares.each),
            handshakes: Crowd::new(shares.handshakes, shares.handshakes_each),
            unsaid: 0,
            said: None,
        };
        Arc::new(Self { room: Arc::new(Semaphore::new(shares.places)), taken: Mutex::new(taken) })
    }

    /// Takes room for one connection, and where there is none has the quietest stranger make some. `None` where it has to be waited
    /// for, because edges have all the places.
    pub(super) async fn room(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() {
            return Some(permit);
        }
        let gone = self.taken().strangers.quietest();
        gone?;
        Some(self.wait_for_room().await)
    }

    /// Waits until a connection has ended.
    pub(super) async fn wait_for_room(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.room).acquire_owned().await.expect("the semaphore is never closed")
    }

    /// Takes a place for a peer. `trusts` is asked while nobody can change who is trusted unnoticed.
    pub(super) fn take(
        self: &Arc<Self>,
        permit: OwnedSemaphorePermit,
        peer: IpAddr,
        trusts: impl FnOnce(IpAddr) -> bool,
        open: Gauge,
    ) -> Place {
        let mut taken = self.taken();
        let moment = taken.moment();
        let seat = Arc::new(Seat::new(moment, peer));
        taken.all.insert(moment, Arc::clone(&seat));
        if !trusts(peer) {
            taken.welcome(&seat, moment);
        }
        drop(taken);
        open.inc();
        Place { seat, places: Arc::clone(self), open, _permit: permit }
    }

    /// Judges everybody anew who has a place: from now on these peers are trusted.
    pub(super) fn judge_anew(&self, trusts: impl Fn(IpAddr) -> bool) {
        let mut taken = self.taken();
        let mut changed: Vec<_> =
            taken.all.values().filter(|seat| seat.is_stranger() == trusts(seat.peer())).cloned().collect();
        // Whoever is a stranger no more makes room first.
        changed.sort_by_key(|seat| !seat.is_stranger());
        for seat in changed {
            if seat.is_stranger() {
                taken.strangers.leave(seat.since());
                seat.befriend();
            } else {
                let moment = taken.moment();
                taken.welcome(&seat, moment);
            }
            seat.call(Call::REVIEW);
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn moment(&mut self) -> u64 {
        let moment = self.next;
        self.next += 1;
        moment
    }

    fn welcome(&mut self, seat: &Arc<Seat>, moment: u64) {
        seat.estrange(moment);
        if self.strangers.enter(moment, seat) {
            self.tell();
        }
    }

    /// Tells of strangers that give way: the first at once, the rest once a minute with their number.
    fn tell(&mut self) {
        self.unsaid += 1;
        if self.said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
            self.said = Some(Instant::now());
            tracing::warn!(
                count = std::mem::take(&mut self.unsaid),
                "connections of peers outside server.trusted_proxies are too many; the quietest give way"
            );
        }
    }
}

impl Place {
    /// Who has it.
    pub(super) fn seat(&self) -> &Seat {
        &self.seat
    }

    /// Notes that a request begins. What is returned is kept until it has been answered, so that a stranger who waits for an answer
    /// is not taken for one who is idle.
    pub(super) fn request_begins(&self) -> Option<Serving> {
        if !self.seat.is_stranger() {
            return None;
        }
        let mut taken = self.places.taken();
        // Judged anew, or given way, meanwhile.
        if taken.strangers.leave(self.seat.since()) {
            let moment = taken.moment();
            self.seat.estrange(moment);
            taken.strangers.enter(moment, &self.seat);
        }
        drop(taken);
        Some(Serving::of(&self.seat))
    }

    /// Notes that a TLS handshake is under way until what is returned is dropped.
    pub(super) fn handshake_begins(&self) -> Handshake<'_> {
        let since = self.seat.is_stranger().then(|| {
            let mut taken = self.places.taken();
            let moment = taken.moment();
            if taken.handshakes.enter(moment, &self.seat) {
                taken.tell();
            }
            moment
        });
        Handshake { places: &self.places, since }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all.remove(&self.seat.number());
        if self.seat.is_stranger() {
            taken.strangers.leave(self.seat.since());
        }
        drop(taken);
        self.open.dec();
    }
}

/// A handshake under way.
pub(super) struct Handshake<'p> {
    places: &'p Places,
    since: Option<u64>,
}

impl Drop for Handshake<'_> {
    fn drop(&mut self) {
        if let Some(since) = self.since {
            self.places.taken().handshakes.leave(since);
        }
    }
}

#[cfg(test)]
mod tests;

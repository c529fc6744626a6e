//! What sessions need done off the requests' path: noting when they were last used, removing what is over, finishing
//! sign-outs that the store did not take at once, sealing anew what older secrets have sealed, seeing whether the store is there.
//!
//! Promises: whatever waits here is bounded; one failing step leaves the rest for the next round; nothing here keeps a thread
//! to itself for long, because requests are answered on it.

pub(super) mod reencryption;

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc,
    task::yield_now,
    time::{Interval, MissedTickBehavior, interval, sleep_until},
};

use crate::{
    metrics::LogoutKind,
    session::{
        Sessions,
        cache::session::CachedSession,
        cookie::{SessionId, Token},
        freshness::Freshness,
        store::{Cutoffs, Row, Store, Touch},
        upkeep::reencryption::Reencryption,
    },
    shutdown,
};

/// How often the store is asked whether it is there: an outage shows within this and one deadline.
const PING: Duration = Duration::from_secs(3);
/// How often the store is asked about sessions in use that are doubted: less than doubt lasts.
const DOUBTS: Duration = Duration::from_millis(500);
/// How often uses are written, for whichever sessions are due.
const TOUCH: Duration = Duration::from_secs(10);
/// How often expired sessions are removed, where no request has met one.
const PURGE: Duration = Duration::from_mins(1);
/// How often it is looked for sessions that are no longer in use, and since when they are not.
const REST: (Duration, Duration) = (Duration::from_secs(30), Duration::from_mins(1));
/// How many are removed at once, and how many times as long as that took the store is left in peace before the next ones, at
/// most for so long. Nobody waits for them to go, and everybody else works with the same store, on the same cores.
const FEW: u32 = 100;
const PEACE: (u32, Duration) = (100, Duration::from_millis(500));
/// How often rows that older secrets have sealed are looked for, and how often some are sealed anew where there are any.
const RESEAL: (Duration, Duration) = (Duration::from_mins(1), Duration::from_secs(1));
/// How often sessions that nobody uses are asked about, at the most and at the least: an eighth of the grace.
const SURVEY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(5));
/// How much later than its idle timeout an unused session is removed: another replica may hold a later use that it has
/// not written yet, for at most a minute, a round and a deadline.
const MARGIN: Duration = Duration::from_secs(90);
/// How many rows one statement writes or asks about.
const BATCH: u32 = 500;
/// How many uses, doubts and sign-outs wait at most.
const MOST: usize = 65_536;
/// How many rows wait at most to be sealed anew. Those for whom there is no room come with the walk through all.
const MOST_OLDER: usize = 1_024;

/// What requests leave to be done.
pub(super) struct Backlog {
    used: mpsc::Sender<Arc<CachedSession>>,
    taken: Mutex<mpsc::Receiver<Arc<CachedSession>>>,
    doubted: mpsc::Sender<Arc<CachedSession>>,
    doubts: Mutex<mpsc::Receiver<Arc<CachedSession>>>,
    older: Mutex<Vec<Row>>,
    /// Sessions that are over for us and may still have a row.
    owed: Mutex<HashMap<SessionId, (Token, LogoutKind)>>,
    expired: AtomicBool,
}

impl Backlog {
    pub(super) fn new() -> Self {
        let ((used, taken), (doubted, doubts)) = (mpsc::channel(MOST), mpsc::channel(MOST));
        let (taken, doubts) = (Mutex::new(taken), Mutex::new(doubts));
        Self {
            used,
            taken,
            doubted,
            doubts,
            older: Mutex::default(),
            owed: Mutex::default(),
            expired: AtomicBool::new(false),
        }
    }

    /// Leaves a session's last use to be written; false where there is no room.
    pub(super) fn leave(&self, live: &Arc<CachedSession>) -> bool {
        self.used.try_send(Arc::clone(live)).is_ok()
    }

    /// Leaves a session to be asked about; false where there is no room.
    pub(super) fn doubt(&self, live: &Arc<CachedSession>) -> bool {
        self.doubted.try_send(Arc::clone(live)).is_ok()
    }

    /// How many sessions are to be asked about.
    fn doubts(&self) -> usize {
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn take_doubts(&self) -> Vec<Arc<CachedSession>> {
        let mut doubts = self.doubts.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::from_fn(|| doubts.try_recv().ok()).take(BATCH as usize).collect()
    }

    /// Leaves a row to be sealed anew, where there is room.
    pub(super) fn leave_older(&self, row: Row) {
        let mut older = self.older();
        if older.len() < MOST_OLDER {
            older.push(row);
        }
    }

    pub(super) fn take_older(&self, most: usize) -> Vec<Row> {
        let mut older = self.older();
        let kept = older.len().saturating_sub(most);
        older.split_off(kept)
    }

    fn older(&self) -> MutexGuard<'_, Vec<Row>> {
        self.older.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a request met an expired session, so that it is removed soon.
    pub(super) fn meet_expired(&self) {
        self.expired.store(true, Ordering::Relaxed);
    }

    /// Notes that a row has to go, before it is tried.
    pub(super) fn owe(&self, token: Token, why: LogoutKind) {
        let mut owed = self.owed();
        // Beyond that many the caller's own attempt is the only one, and its failure has been told.
        if owed.len() < MOST {
            owed.insert(token.key(), (token, why));
        }
    }

    /// Notes that a row is gone.
    pub(super) fn settle(&self, key: &SessionId) {
        self.owed().remove(key);
    }

    /// Whether a row is yet to go.
    pub(super) fn owes(&self, key: &SessionId) -> bool {
        self.owed().contains_key(key)
    }

    fn owed(&self) -> MutexGuard<'_, HashMap<SessionId, (Token, LogoutKind)>> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn collect(&self, pending: &mut HashMap<SessionId, Arc<CachedSession>>) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while pending.len() < MOST
            && let Ok(live) = taken.try_recv()
        {
            pending.insert(live.key(), live);
        }
    }
}

/// After how many sessions in memory others get a turn.
const TURN: usize = 1_000;

/// Asks the store about sessions in use that nobody vouches for just now, again and again. Whoever is not asked about in time
/// has to wait for the store himself, so nothing else may hold this up.
pub(super) async fn settle_doubts(sessions: &Sessions) -> Infallible {
    let (mut doubts, upkeep) = (every(DOUBTS), Upkeep::of(sessions));
    loop {
        doubts.tick().await;
        upkeep.settle_doubts().await;
    }
}

/// Has sessions that are not in use take less memory, again and again. There may be millions, so that nothing waits for it.
pub(super) async fn let_rest(sessions: &Sessions) -> Infallible {
    let mut ticks = every(REST.0);
    loop {
        ticks.tick().await;
        rest(sessions).await;
    }
}

/// The same once.
pub(super) async fn rest(sessions: &Sessions) {
    sessions.cache.rest(sessions.clock.now().minus(REST.1)).await;
}

/// The loop behind [`Sessions::maintain`].
pub(super) struct Upkeep<'a> {
    sessions: &'a Sessions,
    pending: HashMap<SessionId, Arc<CachedSession>>,
    walk: Reencryption<'a>,
    /// When the next expired sessions may be removed; absent while there are none to remove.
    purge: Option<tokio::time::Instant>,
}

impl<'a> Upkeep<'a> {
    pub(super) fn of(sessions: &'a Sessions) -> Self {
        Self { sessions, pending: HashMap::new(), walk: Reencryption::of(sessions), purge: None }
    }

    /// Until asked to stop, and then once more what must not be lost.
    pub(super) async fn run(mut self, stop: shutdown::Signal) {
        let [mut ping, mut touch, mut purge, mut survey] = [PING, TOUCH, PURGE, SURVEY.0].map(every);
        let [mut look, mut reseal] = [RESEAL.0, RESEAL.1].map(every);
        let mut surveyed = Instant::now();
        loop {
            tokio::select! {
                () = stop.raised() => break,
                // The grace may have changed since the last time.
                _ = survey.tick() => if surveyed.elapsed() >= self.survey_every() {
                    surveyed = Instant::now();
                    self.survey().await;
                },
                _ = ping.tick() => self.look_after().await,
                _ = touch.tick() => self.write_uses().await,
                _ = purge.tick() => self.begin_purge(),
                () = sleep_until(self.purge.unwrap_or_else(tokio::time::Instant::now)), if self.purge.is_some() => {
                    self.purge().await;
                }
                _ = look.tick() => self.walk.begin().await,
                _ = reseal.tick() => self.walk.advance().await,
            }
        }
        self.finish_endings().await;
        self.write_uses().await;
    }

    fn survey_every(&self) -> Duration {
        (self.sessions.terms.outage_grace() / 8).clamp(SURVEY.0, SURVEY.1)
    }

    async fn look_after(&mut self) {
        let cached = self.sessions.cache.tidy();
        self.sessions.metrics.cached.set(i64::try_from(cached).unwrap_or(i64::MAX));
        if self.sessions.store.ping().await.is_ok() {
            self.sessions.settle().await;
            self.finish_endings().await;
            self.count_for_others().await;
            if self.sessions.backlog.expired.swap(false, Ordering::Relaxed) {
                self.begin_purge();
            }
        }
    }

    /// Asks the store about sessions that nobody vouches for just now. What comes meanwhile waits for the next time: a session
    /// is asked about once in [`DOUBTS`], however many hints come.
    pub(super) async fn settle_doubts(&self) {
        for _ in 0..self.sessions.backlog.doubts().div_ceil(BATCH as usize) {
            let doubted = self.sessions.backlog.take_doubts();
            self.sessions.confirm_all(&doubted).await;
        }
    }

    /// Asks about sessions that nobody uses, so that they too can go on for most of the grace when the store goes away.
    pub(super) async fn survey(&self) {
        let Sessions { terms, cache, clock, hearing, .. } = self.sessions;
        let (now, old) = (clock.now(), terms.outage_grace() / 4);
        let unsure = |live: &Arc<CachedSession>| {
            hearing.trust(live, now) != Freshness::Fresh && now.since(live.voucher().at()) >= old
        };
        let mut found = Vec::new();
        for (seen, live) in cache.all().enumerate() {
            found.extend(Some(live).filter(unsure));
            if seen % TURN == TURN - 1 {
                yield_now().await;
            }
        }
        for some in found.chunks(BATCH as usize) {
            if !self.sessions.confirm_all(some).await {
                return;
            }
        }
    }

    /// Counts what was ended by those who show no metrics.
    pub(super) async fn count_for_others(&self) {
        if let Ok(many) = self.sessions.store.take_uncounted().await {
            self.sessions.metrics.count_ended(LogoutKind::Operator, many);
        }
    }

    /// Writes when sessions were last used, as far as the store takes it.
    pub(super) async fn write_uses(&mut self) {
        self.sessions.backlog.collect(&mut self.pending);
        while !self.pending.is_empty() {
            let uses = self.pending.values().take(BATCH as usize);
            let batch: Vec<_> = uses.map(|live| Touch { key: live.key(), last_seen: live.last_seen() }).collect();
            if self.sessions.store.touch(&batch).await.is_err() {
                return;
            }
            for touch in &batch {
                self.pending.remove(&touch.key);
            }
        }
    }

    /// Removes the rows of sessions that are over and still have one.
    pub(super) async fn finish_endings(&self) {
        let owed: Vec<_> = self.sessions.backlog.owed().values().copied().collect();
        for (token, why) in owed {
            // Anew each time: for as long as the row is there the session could come back from it, and the caller who
            // began this may have gone away half-way.
            self.sessions.cache.bury(token.key());
            self.sessions.cache.take(&token).await;
            if self.sessions.end(&token.key(), why).await.is_err() {
                return;
            }
        }
    }

    /// Has expired sessions be removed from now on, a few at a time.
    fn begin_purge(&mut self) {
        self.purge.get_or_insert_with(tokio::time::Instant::now);
    }

    /// Removes a few of those that have expired, and sees when the next ones may be.
    pub(super) async fn purge(&mut self) {
        let (terms, now, begun) = (&self.sessions.terms, self.sessions.clock.now(), tokio::time::Instant::now());
        let cutoffs =
            Cutoffs { created: now.minus(terms.lifetime()), last_seen: now.minus(terms.idle_timeout()).minus(MARGIN) };
        // What fails is tried again in a minute: a store in trouble has better things to do.
        let gone = self.sessions.store.purge(cutoffs, FEW).await.unwrap_or(0);
        self.sessions.metrics.count_ended(LogoutKind::Expired, u64::from(gone));
        self.purge = (gone == FEW).then(|| tokio::time::Instant::now() + (begun.elapsed() * PEACE.0).min(PEACE.1));
    }
}

fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

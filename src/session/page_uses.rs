//! Pages that sessions open at apps with an idle timeout of their own: in memory, and in the store for all processes.
//!
//! Promises: a session that is in use at an app is not found idle there, whichever process knows of its pages; one that is not ends
//! within a bounded time after the timeout, also where nothing is known of it; no request waits for a write.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use tokio::sync::mpsc;

use crate::{
    clock::{AtomicTimestamp, Clock, Timestamp},
    crypto,
    session::{
        cache::session::CachedSession,
        cookie::CookieHash,
        store::{
            ObservedStore, Unavailable,
            page_uses::{PageUse, PageUseKey, PageUseStore as _},
        },
    },
};

/// Pages that wait to be written.
const CAPACITY: usize = 65_536;
/// Sessions at apps whose last page is known in memory. For others the store is asked.
const MAX_KNOWN: usize = 262_144;
/// Time for which an idle session is not asked about again.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// Longest time beyond an idle timeout for which a session is in use: another process may know of a page that it has not
/// written yet.
const MAX_MARGIN: Duration = Duration::from_mins(1);
/// Time for which a last page is kept beyond twice the timeout: a reload may have made it longer.
const KEPT_BEYOND: Duration = Duration::from_hours(1);

/// An app with an idle timeout of its own.
#[derive(Clone, Copy, Debug)]
pub struct IdleApp<'a> {
    /// Its name.
    pub name: &'a str,
    /// `apps[].idle_timeout`.
    pub timeout: Duration,
}

impl IdleApp<'_> {
    /// Time beyond the timeout after which a session is idle.
    fn margin(&self) -> Duration {
        MAX_MARGIN.min(self.timeout / 4)
    }

    /// Interval at which a session's last page is written at most: with the writer's own it stays within the margin.
    fn write_interval(&self) -> Duration {
        self.margin() / 2
    }

    fn is_in_use(&self, last: Timestamp, now: Timestamp) -> bool {
        now.since(last) < self.timeout + self.margin()
    }
}

/// The last page of a session at an app.
struct KnownPage {
    last: AtomicTimestamp,
    /// Time of the page that was last queued to be written; the sign-in before the first.
    queued: AtomicTimestamp,
    /// Time at which the store last knew of no later page.
    asked: AtomicTimestamp,
}

/// Session and app in memory.
type KnownPageKey = (CookieHash, u64);
type KnownPages = papaya::HashMap<KnownPageKey, KnownPage, foldhash::fast::RandomState>;

/// The last pages that this process knows, and those that have yet to be written.
pub(super) struct KnownPageUses {
    known: KnownPages,
    hasher: foldhash::fast::RandomState,
    sender: mpsc::Sender<PageUse>,
    receiver: Mutex<mpsc::Receiver<PageUse>>,
}

impl KnownPageUses {
    pub(super) fn new() -> Self {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        Self {
            known: KnownPages::default(),
            hasher: foldhash::fast::RandomState::default(),
            sender,
            receiver: receiver.into(),
        }
    }

    /// Adds the pages that are queued to `pending`, the latest of each key, as far as [`CAPACITY`] allows.
    pub(super) fn take_queued(&self, pending: &mut HashMap<PageUseKey, PageUse>) {
        let mut receiver = self.receiver.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        while pending.len() < CAPACITY
            && let Ok(page) = receiver.try_recv()
        {
            let latest = pending.entry(page.key).or_insert(page);
            if latest.at < page.at {
                *latest = page;
            }
        }
    }

    /// Forgets the pages before this moment.
    pub(super) fn forget(&self, before: Timestamp) {
        self.known.pin().retain(|_, page| page.last.get() > before);
    }

    fn place(&self, session: &CachedSession, app: &IdleApp<'_>) -> KnownPageKey {
        use std::hash::BuildHasher as _;
        (session.cookie_hash(), self.hasher.hash_one(app.name))
    }

    /// Hands what is known of a session at an app to `read`, from its sign-in on where nothing else is.
    fn with<T>(&self, session: &CachedSession, app: &IdleApp<'_>, read: impl FnOnce(&KnownPage) -> T) -> T {
        let (place, known) = (self.place(session, app), self.known.pin());
        if let Some(page) = known.get(&place) {
            return read(page);
        }
        let begins = || AtomicTimestamp::new(session.created());
        let new = KnownPage { last: begins(), queued: begins(), asked: AtomicTimestamp::default() };
        if self.known.len() >= MAX_KNOWN { read(&new) } else { read(known.get_or_insert(place, new)) }
    }
}

/// Tells whether sessions are in use at apps with an idle timeout of their own.
pub struct AppIdleness<'a> {
    pub(super) clock: &'a Clock,
    pub(super) store: &'a ObservedStore,
    pub(super) uses: &'a KnownPageUses,
}

impl AppIdleness<'_> {
    /// Returns `true` if a session is known to be in use at an app. Asks memory alone.
    #[must_use]
    pub fn is_in_use(&self, session: &CachedSession, app: &IdleApp<'_>, now: Timestamp) -> bool {
        // Another session may have had the same place.
        self.uses.with(session, app, |page| app.is_in_use(page.last.get().max(session.created()), now))
    }

    /// Returns `true` if a session is in use at an app. Where memory does not know of it the store is asked: another process may.
    pub async fn find_in_use(&self, session: &CachedSession, app: &IdleApp<'_>) -> Result<bool, Unavailable> {
        let now = self.clock.now();
        let was_asked = |page: &KnownPage| now.since(page.asked.get()) < ASK_AGAIN;
        if self.is_in_use(session, app, now) || self.uses.with(session, app, was_asked) {
            return Ok(self.is_in_use(session, app, now));
        }
        let stored = self.store.last_page_use(&key(session, app)).await?;
        self.uses.with(session, app, |page| {
            page.last.advance(stored.unwrap_or_default());
            page.asked.set(now);
            Ok(app.is_in_use(page.last.get().max(session.created()), now))
        })
    }

    /// Records that a page is opened, and once in an interval queues it to be written.
    pub fn record_page(&self, session: &CachedSession, app: &IdleApp<'_>, now: Timestamp) {
        self.uses.with(session, app, |page| {
            page.last.advance(now);
            let queued = page.queued.get();
            if now.since(queued) >= app.write_interval() && page.queued.compare_exchange(queued, now) {
                let until = now.plus(app.timeout * 2).plus(KEPT_BEYOND);
                if self.uses.sender.try_send(PageUse { key: key(session, app), at: now, until }).is_err() {
                    page.queued.set(queued);
                }
            }
        });
    }
}

fn key(session: &CachedSession, app: &IdleApp<'_>) -> PageUseKey {
    crypto::digest(&[b"page ".as_slice(), &session.id().0, app.name.as_bytes()].concat())
}

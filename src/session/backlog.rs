//! Work that requests leave to the upkeep.
//!
//! Promises: every queue is bounded, and no request waits for one.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::mpsc;

use crate::{
    clock::Timestamp,
    metrics::LogoutKind,
    session::{
        cache::session::CachedSession,
        cookie::{SessionId, Token},
        store::Row,
    },
};

/// Capacity for last uses, for revalidations and for endings each.
pub(super) const CAPACITY: usize = 65_536;
/// Capacity for rows to be re-encrypted. The walk through all rows finds those for which there was no room.
const ROW_CAPACITY: usize = 1_024;
/// Capacity for logout tokens. The provider is told of each that could not be acted upon.
const TOKEN_CAPACITY: usize = 1_024;

/// Work that requests leave to the upkeep.
pub(super) struct Backlog {
    last_uses: Queue,
    revalidations: Queue,
    rows_to_reencrypt: Mutex<Vec<Row>>,
    /// Sessions that have ended for us and may still have a row.
    endings: Mutex<HashMap<SessionId, (Token, LogoutKind)>>,
    /// Logout tokens that may be recorded and were not acted upon, by the digest of their `jti`, until they expire.
    unfinished_logouts: Mutex<HashMap<[u8; 32], Timestamp>>,
    has_expired: AtomicBool,
}

/// A bounded queue of sessions.
struct Queue {
    sender: mpsc::Sender<Arc<CachedSession>>,
    receiver: Mutex<mpsc::Receiver<Arc<CachedSession>>>,
}

impl Backlog {
    pub(super) fn new() -> Self {
        Self {
            last_uses: Queue::new(),
            revalidations: Queue::new(),
            rows_to_reencrypt: Mutex::default(),
            endings: Mutex::default(),
            unfinished_logouts: Mutex::default(),
            has_expired: AtomicBool::new(false),
        }
    }

    /// Queues a session's last use to be written. Returns `false` if there is no room.
    pub(super) fn queue_last_use(&self, session: &Arc<CachedSession>) -> bool {
        self.last_uses.push(session)
    }

    /// Adds the queued last uses to `pending`, the newest of each session, as far as [`CAPACITY`] allows.
    pub(super) fn take_last_uses(&self, pending: &mut HashMap<SessionId, Arc<CachedSession>>) {
        let mut last_uses = self.last_uses.lock();
        while pending.len() < CAPACITY
            && let Ok(session) = last_uses.try_recv()
        {
            pending.insert(session.id(), session);
        }
    }

    /// Queues a session to be revalidated, once however many requests ask for it. Where there is no room the next one asks
    /// again.
    pub(super) fn queue_revalidation(&self, session: &Arc<CachedSession>) {
        let validation = session.validation();
        if validation.begin_revalidation() && !self.revalidations.push(session) {
            validation.end_revalidation();
        }
    }

    /// Number of sessions that wait to be revalidated.
    pub(super) fn revalidations(&self) -> usize {
        self.revalidations.lock().len()
    }

    /// Takes at most this many of them.
    pub(super) fn take_revalidations(&self, most: usize) -> Vec<Arc<CachedSession>> {
        let mut revalidations = self.revalidations.lock();
        std::iter::from_fn(|| revalidations.try_recv().ok()).take(most).collect()
    }

    /// Queues a row to be re-encrypted, where there is room.
    pub(super) fn queue_reencryption(&self, row: Row) {
        let mut rows = self.rows_to_reencrypt();
        if rows.len() < ROW_CAPACITY {
            rows.push(row);
        }
    }

    /// Takes at most this many rows that are to be re-encrypted.
    pub(super) fn take_rows_to_reencrypt(&self, most: usize) -> Vec<Row> {
        let mut rows = self.rows_to_reencrypt();
        let left = rows.len().saturating_sub(most);
        rows.split_off(left)
    }

    /// Notes that a request met an expired session, so that the next purge is soon.
    pub(super) fn note_expired(&self) {
        self.has_expired.store(true, Ordering::Relaxed);
    }

    /// Returns `true` if a request has met an expired session since the last call.
    pub(super) fn take_expired(&self) -> bool {
        self.has_expired.swap(false, Ordering::Relaxed)
    }

    /// Notes that a row has to be deleted, before that is tried.
    pub(super) fn add_ending(&self, token: Token, why: LogoutKind) {
        let mut endings = self.endings();
        // Beyond that many the caller's own attempt is the only one, and the caller learns of its failure.
        if endings.len() < CAPACITY {
            endings.insert(token.id(), (token, why));
        }
    }

    /// Notes that a row has been deleted.
    pub(super) fn finish_ending(&self, id: &SessionId) {
        self.endings().remove(id);
    }

    /// Returns `true` if a row has yet to be deleted.
    pub(super) fn has_ending(&self, id: &SessionId) -> bool {
        self.endings().contains_key(id)
    }

    /// The sessions whose rows have yet to be deleted.
    pub(super) fn pending_endings(&self) -> Vec<(Token, LogoutKind)> {
        self.endings().values().copied().collect()
    }

    /// Notes that a logout token may be recorded and was not acted upon, so that it may come again.
    pub(super) fn add_unfinished_logout(&self, digest: [u8; 32], until: Timestamp, now: Timestamp) {
        let mut unfinished = self.unfinished_logouts();
        unfinished.retain(|_, until| *until > now);
        if unfinished.len() < TOKEN_CAPACITY {
            unfinished.insert(digest, until);
        }
    }

    /// Returns `true` once for a logout token that was noted.
    pub(super) fn take_unfinished_logout(&self, digest: &[u8; 32]) -> bool {
        self.unfinished_logouts().remove(digest).is_some()
    }

    fn unfinished_logouts(&self) -> MutexGuard<'_, HashMap<[u8; 32], Timestamp>> {
        self.unfinished_logouts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rows_to_reencrypt(&self) -> MutexGuard<'_, Vec<Row>> {
        self.rows_to_reencrypt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn endings(&self) -> MutexGuard<'_, HashMap<SessionId, (Token, LogoutKind)>> {
        self.endings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn new() -> Self {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        Self { sender, receiver: Mutex::new(receiver) }
    }

    /// Returns `false` if there is no room.
    fn push(&self, session: &Arc<CachedSession>) -> bool {
        self.sender.try_send(Arc::clone(session)).is_ok()
    }

    fn lock(&self) -> MutexGuard<'_, mpsc::Receiver<Arc<CachedSession>>> {
        self.receiver.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

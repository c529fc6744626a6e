//! Request bodies that are read: forms, bounded in size, in time and in number.
//!
//! A defence against slow POST bodies. Forms have slots of their own, and take none of those of requests. Where all are in use,
//! the form that was begun first is evicted for the next: one that was sent whole is read in an instant, one that was not has no
//! claim to its slot.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::future::{Either, select};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body, Incoming};
use tokio::time::{Instant, timeout_at};

use crate::{flow::backchannel_logout::MAX_BODY, shutdown::Signal};

/// Most forms that are read at once from edges, at most 32 KiB each.
const MAX_FORMS: usize = 128;

/// Most forms that are read at once from untrusted peers.
const MAX_FORMS_OF_UNTRUSTED: usize = 16;

/// Timeouts for one form.
#[derive(Clone, Copy, Debug)]
pub(super) struct FormTimeouts {
    /// Time for all of it.
    pub(super) total: Duration,
    /// Time between two reads (nginx `client_body_timeout`).
    pub(super) between_reads: Duration,
}

impl FormTimeouts {
    /// Senders have a form ready when they send its header.
    pub(super) const DEFAULT: Self = Self { total: Duration::from_secs(3), between_reads: Duration::from_secs(1) };
}

/// Reads forms, a limited number at once.
pub(super) struct FormReader {
    max: usize,
    timeouts: FormTimeouts,
    in_progress: Mutex<FormsInProgress>,
}

impl FormReader {
    /// Creates the reader for forms that come through edges.
    pub(super) fn for_edges() -> Self {
        Self::new(MAX_FORMS, FormTimeouts::DEFAULT)
    }

    /// Creates the reader for forms of untrusted peers.
    pub(super) fn for_untrusted() -> Self {
        Self::new(MAX_FORMS_OF_UNTRUSTED, FormTimeouts::DEFAULT)
    }

    /// Creates a reader of `max` forms at once.
    pub(super) fn new(max: usize, timeouts: FormTimeouts) -> Self {
        Self { max, timeouts, in_progress: Mutex::default() }
    }

    /// Reads a form to its end. Returns an empty one, in which nothing is found, for a form that is too long, too slow or torn
    /// off, and `None` for one that was evicted.
    pub(super) async fn read(&self, body: Incoming) -> Option<Bytes> {
        let mut reading = pin!(read(self.timeouts, body));
        // A form that has arrived whole needs no slot.
        if let Poll::Ready(form) = poll_fn(|context| Poll::Ready(reading.as_mut().poll(context))).await {
            return Some(form);
        }
        let slot = self.slot();
        match select(reading, pin!(slot.evicted.raised())).await {
            Either::Left((form, _)) => Some(form),
            Either::Right(_) => None,
        }
    }

    fn slot(&self) -> FormSlot<'_> {
        let evicted = Signal::default();
        let mut in_progress = self.in_progress();
        if in_progress.forms.len() >= self.max
            && let Some((_, oldest)) = in_progress.forms.pop_first()
        {
            oldest.raise();
        }
        let number = in_progress.next_number;
        in_progress.next_number += 1;
        in_progress.forms.insert(number, evicted.clone());
        FormSlot { reader: self, number, evicted }
    }

    fn in_progress(&self) -> MutexGuard<'_, FormsInProgress> {
        self.in_progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forms that are being read, oldest first, each with the signal that evicts it.
#[derive(Default)]
struct FormsInProgress {
    next_number: u64,
    forms: BTreeMap<u64, Signal>,
}

/// Slot of one form while it is read.
struct FormSlot<'f> {
    reader: &'f FormReader,
    number: u64,
    evicted: Signal,
}

impl Drop for FormSlot<'_> {
    fn drop(&mut self) {
        self.reader.in_progress().forms.remove(&self.number);
    }
}

async fn read(timeouts: FormTimeouts, body: Incoming) -> Bytes {
    let end = Instant::now() + timeouts.total;
    let mut body = Limited::new(body, MAX_BODY);
    let mut form = BytesMut::new();
    while !body.is_end_stream() {
        match timeout_at(end.min(Instant::now() + timeouts.between_reads), body.frame()).await {
            Ok(Some(Ok(frame))) => form.extend(frame.into_data()),
            Ok(None) => break,
            Ok(Some(Err(_))) | Err(_) => return Bytes::new(),
        }
    }
    form.freeze()
}

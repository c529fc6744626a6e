//! The one kind of body that is ever read: a form, bounded in size, in time and in number.
//!
//! Forms have places of their own, and take none of those of requests. Where all are taken, the form that has been under way for
//! longest gives way to the next: one that was sent whole is read in an instant, one that was not has no claim to its place. It
//! must not know what is in it, nor who asks for it.

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

/// How long a form may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// All of it.
    pub(super) whole: Duration,
    /// Until some more of it has come.
    pub(super) more: Duration,
}

impl Pace {
    /// Whoever sends a form has it ready.
    pub(super) const DEFAULT: Self = Self { whole: Duration::from_secs(3), more: Duration::from_secs(1) };
}

/// Room for forms that are under way.
pub(super) struct Forms {
    most: usize,
    pace: Pace,
    under_way: Mutex<UnderWay>,
}

/// The forms under way in the order in which they began, each with the wish to have it give way.
#[derive(Default)]
struct UnderWay {
    begun: u64,
    forms: BTreeMap<u64, Signal>,
}

/// A form's place, for as long as it is read.
struct Turn<'f> {
    forms: &'f Forms,
    number: u64,
    gives_way: Signal,
}

impl Forms {
    /// Room for so many at once.
    pub(super) fn new(most: usize, pace: Pace) -> Self {
        Self { most, pace, under_way: Mutex::default() }
    }

    /// Reads a form to its end. One that is too long, too slow or torn off is an empty one, in which nothing is found; `None` for
    /// one that had to give way.
    pub(super) async fn read(&self, body: Incoming) -> Option<Bytes> {
        let mut reading = pin!(read(self.pace, body));
        // One that is all there needs no place.
        if let Poll::Ready(form) = poll_fn(|context| Poll::Ready(reading.as_mut().poll(context))).await {
            return Some(form);
        }
        let turn = self.turn();
        match select(reading, pin!(turn.gives_way.raised())).await {
            Either::Left((form, _)) => Some(form),
            Either::Right(_) => None,
        }
    }

    fn turn(&self) -> Turn<'_> {
        let gives_way = Signal::default();
        let mut under_way = self.under_way();
        if under_way.forms.len() >= self.most
            && let Some((_, longest)) = under_way.forms.pop_first()
        {
            longest.raise();
        }
        let number = under_way.begun;
        under_way.begun += 1;
        under_way.forms.insert(number, gives_way.clone());
        Turn { forms: self, number, gives_way }
    }

    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.forms.under_way().forms.remove(&self.number);
    }
}

async fn read(pace: Pace, body: Incoming) -> Bytes {
    let end = Instant::now() + pace.whole;
    let mut body = Limited::new(body, MAX_BODY);
    let mut form = BytesMut::new();
    while !body.is_end_stream() {
        match timeout_at(end.min(Instant::now() + pace.more), body.frame()).await {
            Ok(Some(Ok(frame))) => form.extend(frame.into_data()),
            Ok(None) => break,
            Ok(Some(Err(_))) | Err(_) => return Bytes::new(),
        }
    }
    form.freeze()
}

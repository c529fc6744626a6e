//! What fails, and at which of the calls across a border.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

/// Faults of one border between the gate and what it waits for, by the number of the call.
pub(crate) struct FaultPlan<F> {
    calls: AtomicUsize,
    planned: Mutex<Vec<(usize, F)>>,
}

/// Fault of a call of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreFault {
    /// An error, and nothing was done.
    Refused,
    /// An error, and what was asked for was done.
    AnswerLost,
    /// No answer until the deadline, and nothing was done.
    Stalled,
}

/// Fault of a request to the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WireFault {
    /// The connection is reset before the provider has the request.
    Reset,
    /// The provider acts on the request, and the connection is reset.
    AnswerLost,
    /// No answer until the deadline.
    Stalled,
    /// Status 500, with a page.
    ServerError,
    /// The answer ends in the middle of its body.
    Truncated,
    /// Bytes that are no HTTP.
    Garbage,
    /// An object without any member in place of what was asked for.
    EmptyObject,
    /// A page in place of JSON, with 200.
    Page,
}

impl StoreFault {
    pub(super) const ALL: [Self; 3] = [Self::Refused, Self::AnswerLost, Self::Stalled];
}

impl WireFault {
    pub(super) const ALL: [Self; 8] = [
        Self::Reset,
        Self::AnswerLost,
        Self::Stalled,
        Self::ServerError,
        Self::Truncated,
        Self::Garbage,
        Self::EmptyObject,
        Self::Page,
    ];
}

impl<F: Copy> FaultPlan<F> {
    /// A plan without faults.
    pub(crate) fn new() -> Self {
        Self { calls: AtomicUsize::new(0), planned: Mutex::new(Vec::new()) }
    }

    /// Plans faults for calls from here on, counted from 0.
    pub(super) fn begin(&self, planned: Vec<(usize, F)>) {
        *self.planned.lock().unwrap() = planned;
        self.calls.store(0, Ordering::SeqCst);
    }

    /// Ends all faults, and returns the number of calls since [`FaultPlan::begin`].
    pub(super) fn end(&self) -> usize {
        self.planned.lock().unwrap().clear();
        self.calls.load(Ordering::SeqCst)
    }

    /// Counts a call, and returns its fault.
    pub(crate) fn next(&self) -> Option<F> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        self.planned.lock().unwrap().iter().find(|(at, _)| *at == call).map(|(_, fault)| *fault)
    }
}

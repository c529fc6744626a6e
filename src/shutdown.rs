//! Graceful shutdown: a signal that anyone can await, and the tasks and threads to be joined.
//!
//! Promises: only a holder of [`Tasks`], which `app` hands out, can spawn; a background task that ends before the
//! shutdown is reported, and ends the process, because something that the gate relies on is gone.

use std::{future::Future, io, thread};

use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// Shutdown signal. All clones share its state.
#[derive(Clone, Debug, Default)]
pub struct Signal {
    token: CancellationToken,
}

impl Signal {
    /// Creates a child signal: raised with this one, or alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { token: self.token.child_token() }
    }

    /// Raises the signal. Raising it again changes nothing.
    pub fn raise(&self) {
        self.token.cancel();
    }

    /// Returns `true` once the signal has been raised.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Returns a guard that raises the signal when dropped, also by a panic.
    #[must_use]
    pub fn raise_on_drop(&self) -> DropGuard {
        self.token.clone().drop_guard()
    }

    /// Waits until the signal is raised.
    pub async fn raised(&self) {
        self.token.cancelled().await;
    }
}

/// The right to spawn tasks, and the list of those spawned.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    signal: Signal,
    failed: Signal,
}

impl Tasks {
    /// Creates an empty list of tasks that stop when `signal` is raised.
    #[must_use]
    pub fn new(signal: Signal) -> Self {
        Self { tracker: TaskTracker::new(), signal, failed: Signal::default() }
    }

    /// Returns the same list, for tasks that stop when another signal is raised, such as a child of its own.
    #[must_use]
    pub fn with_signal(&self, signal: Signal) -> Self {
        Self { signal, ..self.clone() }
    }

    /// Spawns a task that ends by itself, such as a connection.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(work);
    }

    /// Spawns a task that must not end before the signal is raised; `name` is for the log.
    pub fn supervise(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        // The task of its own turns a panic into an error.
        self.watch(name, self.tracker.spawn(work));
    }

    /// Like [`Tasks::supervise`], on a thread of its own, together with all that the work spawns there.
    pub fn supervise_on(&self, thread: RuntimeThread, work: impl Future<Output = ()> + Send + 'static) {
        let name = thread.name;
        let (done, ended) = oneshot::channel();
        let started = thread::Builder::new().name(name.to_owned()).spawn(move || {
            thread.work(work);
            // The receiver is gone where the process is about to exit.
            let _receiver_gone = done.send(());
        });
        if let Err(error) = started {
            tracing::error!(thread = name, %error, "a thread cannot be started");
        }
        // A thread that panics, or never started, has dropped its sender.
        self.watch(name, ended);
    }

    /// Reports an end before the signal; an error is a panic.
    fn watch<E: Send>(&self, name: &'static str, ended: impl Future<Output = Result<(), E>> + Send + 'static) {
        let (signal, failed) = (self.signal.clone(), self.failed.clone());
        self.tracker.spawn(async move {
            let panicked = ended.await.is_err();
            if !signal.is_raised() {
                tracing::error!(task = name, panicked, "a background task ended by itself; stopping");
                failed.raise();
            }
        });
    }

    /// Waits until a supervised task has ended before the signal.
    pub async fn failed(&self) {
        self.failed.raised().await;
    }

    /// Waits until every spawned task has ended.
    pub async fn joined(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// A thread with a runtime of its own, before it is given its work: the operating system schedules it, however busy the
/// workers are.
pub struct RuntimeThread {
    name: &'static str,
    /// Taken only at the end: a runtime that is dropped inside another one panics.
    runtime: Option<Runtime>,
}

impl RuntimeThread {
    /// Creates a runtime for a thread of this name, of which Linux shows fifteen bytes.
    pub fn new(name: &'static str) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Self { name, runtime: Some(runtime) })
    }

    /// Runs a function in the context of the runtime: a socket is served by the runtime in which it was opened.
    pub fn enter<T>(&self, open: impl FnOnce() -> T) -> T {
        let _entered = self.runtime.as_ref().map(Runtime::enter);
        open()
    }

    fn work(mut self, work: impl Future<Output = ()>) {
        if let Some(runtime) = self.runtime.take() {
            runtime.block_on(work);
        }
    }
}

impl Drop for RuntimeThread {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_thread_that_panics_is_noticed_and_one_that_ends_when_asked_has_not_failed() {
        let signal = Signal::default();
        let tasks = Tasks::new(signal.clone());
        let until = signal.clone();
        tasks.supervise_on(RuntimeThread::new("test").unwrap(), async move { until.raised().await });
        let others = Tasks::new(signal.clone());
        others.supervise_on(RuntimeThread::new("test").unwrap(), async { panic!("as some library may") });
        others.failed().await;
        assert!(!tasks.failed.is_raised());
        signal.raise();
        tasks.joined().await;
        assert!(!tasks.failed.is_raised());
    }

    #[tokio::test]
    async fn a_thread_does_its_work_and_what_that_spawns_by_itself() {
        let (signal, tasks) = (Signal::default(), Tasks::new(Signal::default()));
        let (own, spawning) = (signal.clone(), tasks.clone());
        tasks.supervise_on(RuntimeThread::new("test").unwrap(), async move {
            let named = || thread::current().name().map(ToOwned::to_owned);
            assert_eq!(named().as_deref(), Some("test"));
            let raise = own.clone();
            spawning.spawn(async move {
                assert_eq!(named().as_deref(), Some("test"));
                raise.raise();
            });
            own.raised().await;
        });
        // The only thread of the runtime that the test is on stands still.
        let begun = std::time::Instant::now();
        while !signal.is_raised() {
            assert!(begun.elapsed() < std::time::Duration::from_secs(30), "the thread does nothing");
            thread::yield_now();
        }
        tasks.joined().await;
    }

    #[tokio::test]
    async fn a_thread_that_gets_no_work_is_dropped() {
        drop(RuntimeThread::new("test").unwrap());
    }

    #[tokio::test]
    async fn a_supervised_task_that_ends_unasked_is_noticed() {
        let tasks = Tasks::new(Signal::default());
        tasks.supervise("test", async {});
        tasks.failed().await;
    }

    #[tokio::test]
    async fn one_task_can_be_stopped_without_the_others() {
        let signal = Signal::default();
        let tasks = Tasks::new(signal.clone());
        let [one, other] = [signal.child(), signal.child()];
        for branch in [&one, &other] {
            let own = branch.clone();
            tasks.with_signal(branch.clone()).supervise("test", async move { own.raised().await });
        }
        one.raise();
        assert!(one.is_raised() && !other.is_raised() && !signal.is_raised());
        signal.raise();
        tasks.joined().await;
        assert!(other.is_raised() && !tasks.failed.is_raised());
    }

    #[tokio::test]
    async fn a_supervised_task_that_ends_when_asked_has_not_failed() {
        let signal = Signal::default();
        let tasks = Tasks::new(signal.clone());
        let own = signal.clone();
        tasks.supervise("test", async move { own.raised().await });
        signal.raise();
        tasks.joined().await;
        assert!(!tasks.failed.is_raised());
    }
}

//! Stopping: one signal that everybody can await, and the tasks and threads that have to be joined.
//!
//! Only `app` hands out `Tasks`; whoever holds one can spawn, nobody else can. A background task that ends without
//! having been asked to ends the process, because something that we rely on is gone.

use std::{future::Future, io, thread};

use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// The wish to stop, seen by everyone who holds a clone.
#[derive(Clone, Debug, Default)]
pub struct Signal {
    token: CancellationToken,
}

impl Signal {
    /// The wish to stop one thing: raised with this one, or by itself.
    #[must_use]
    pub fn branch(&self) -> Self {
        Self { token: self.token.child_token() }
    }

    /// Asks everyone to stop. Asking again changes nothing.
    pub fn raise(&self) {
        self.token.cancel();
    }

    /// Whether stopping has been asked for.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Asks everyone to stop once what is returned is dropped, however that comes about.
    #[must_use]
    pub fn raise_at_last(&self) -> DropGuard {
        self.token.clone().drop_guard()
    }

    /// Returns once stopping has been asked for.
    pub async fn raised(&self) {
        self.token.cancelled().await;
    }
}

/// The right to spawn, and the list of what was spawned.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    signal: Signal,
    lost: Signal,
}

impl Tasks {
    /// Tasks that are to stop when `signal` is raised.
    #[must_use]
    pub fn new(signal: Signal) -> Self {
        Self { tracker: TaskTracker::new(), signal, lost: Signal::default() }
    }

    /// The same list, for tasks that are to stop when a branch of its signal is raised.
    #[must_use]
    pub fn until(&self, branch: Signal) -> Self {
        Self { signal: branch, ..self.clone() }
    }

    /// Runs a piece of work that ends by itself, such as a connection.
    pub fn run(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(work);
    }

    /// Runs a loop that must not end before stopping is asked for; `name` is for the log.
    pub fn supervise(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        // A task of its own turns a panic into a value.
        self.watch(name, self.tracker.spawn(work));
    }

    /// The same on a thread of its own, with all that the work spawns there.
    pub fn supervise_on(&self, thread: Thread, work: impl Future<Output = ()> + Send + 'static) {
        let name = thread.name;
        let (done, ended) = oneshot::channel();
        let begun = thread::Builder::new().name(name.to_owned()).spawn(move || {
            thread.work(work);
            // Nobody waits for it where the process is on its way out.
            let _unheard = done.send(());
        });
        if let Err(error) = begun {
            tracing::error!(thread = name, %error, "a thread cannot be started");
        }
        // A thread that panics, or was never there, has dropped its end.
        self.watch(name, ended);
    }

    /// Acts on an end that nobody asked for; an error is a panic.
    fn watch<E: Send>(&self, name: &'static str, ended: impl Future<Output = Result<(), E>> + Send + 'static) {
        let (signal, lost) = (self.signal.clone(), self.lost.clone());
        self.tracker.spawn(async move {
            let panicked = ended.await.is_err();
            if !signal.is_raised() {
                tracing::error!(task = name, panicked, "a background task ended by itself; stopping");
                lost.raise();
            }
        });
    }

    /// Returns once a supervised task has ended unasked.
    pub async fn lost(&self) {
        self.lost.raised().await;
    }

    /// Returns once everything that was spawned has ended.
    pub async fn joined(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// A thread with a runtime of its own that has yet to be given its work: it gets its turn from the system, whatever keeps
/// the others busy.
pub struct Thread {
    name: &'static str,
    /// Always there, but for the end: a runtime that is dropped inside another one panics.
    runtime: Option<Runtime>,
}

impl Thread {
    /// One that will be known by this name, of which Linux shows fifteen letters.
    pub fn new(name: &'static str) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Self { name, runtime: Some(runtime) })
    }

    /// Opens something there: a socket is served by the runtime that it was opened on.
    pub fn within<T>(&self, open: impl FnOnce() -> T) -> T {
        let _entered = self.runtime.as_ref().map(Runtime::enter);
        open()
    }

    fn work(mut self, work: impl Future<Output = ()>) {
        if let Some(runtime) = self.runtime.take() {
            runtime.block_on(work);
        }
    }
}

impl Drop for Thread {
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
    async fn a_thread_that_panics_is_noticed_and_one_that_ends_when_asked_is_not_lost() {
        let signal = Signal::default();
        let tasks = Tasks::new(signal.clone());
        let until = signal.clone();
        tasks.supervise_on(Thread::new("test").unwrap(), async move { until.raised().await });
        let others = Tasks::new(signal.clone());
        others.supervise_on(Thread::new("test").unwrap(), async { panic!("as some library may") });
        others.lost().await;
        assert!(!tasks.lost.is_raised());
        signal.raise();
        tasks.joined().await;
        assert!(!tasks.lost.is_raised());
    }

    #[tokio::test]
    async fn a_thread_does_its_work_and_what_that_spawns_by_itself() {
        let (signal, tasks) = (Signal::default(), Tasks::new(Signal::default()));
        let (own, spawning) = (signal.clone(), tasks.clone());
        tasks.supervise_on(Thread::new("test").unwrap(), async move {
            let named = || thread::current().name().map(ToOwned::to_owned);
            assert_eq!(named().as_deref(), Some("test"));
            let raise = own.clone();
            spawning.run(async move {
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
    async fn a_thread_that_gets_no_work_is_let_go() {
        drop(Thread::new("test").unwrap());
    }

    #[tokio::test]
    async fn a_supervised_task_that_ends_unasked_is_noticed() {
        let tasks = Tasks::new(Signal::default());
        tasks.supervise("test", async {});
        tasks.lost().await;
    }

    #[tokio::test]
    async fn one_task_can_be_stopped_without_the_others() {
        let signal = Signal::default();
        let tasks = Tasks::new(signal.clone());
        let [one, other] = [signal.branch(), signal.branch()];
        for branch in [&one, &other] {
            let own = branch.clone();
            tasks.until(branch.clone()).supervise("test", async move { own.raised().await });
        }
        one.raise();
        assert!(one.is_raised() && !other.is_raised() && !signal.is_raised());
        signal.raise();
        tasks.joined().await;
        assert!(other.is_raised() && !tasks.lost.is_raised());
    }

    #[tokio::test]
    async fn a_supervised_task_that_ends_when_asked_is_not_lost() {
        let signal = Signal::default();
        let tasks = Tasks::new(signal.clone());
        let own = signal.clone();
        tasks.supervise("test", async move { own.raised().await });
        signal.raise();
        tasks.joined().await;
        assert!(!tasks.lost.is_raised());
    }
}

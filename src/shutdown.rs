//! Stopping: one signal that everybody can await, and the tasks that have to be joined.
//!
//! Only `app` hands out `Tasks`; whoever holds one can spawn, nobody else can. A background task that ends without
//! having been asked to ends the process, because something that we rely on is gone.

use std::future::Future;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

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
        let (signal, lost) = (self.signal.clone(), self.lost.clone());
        // The inner task turns a panic into a value; the outer one acts on it.
        let inner = self.tracker.spawn(work);
        self.tracker.spawn(async move {
            let ended = inner.await;
            if !signal.is_raised() {
                tracing::error!(task = name, panicked = ended.is_err(), "a background task ended by itself; stopping");
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

#[cfg(test)]
mod tests {
    use super::*;

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

//! The error of a session store, and the deadline of its operations.

use std::time::Duration;

/// Longest wait of a request for the store.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// The store did not do what it was asked for. Never a reason to believe that a session is over.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unavailable {
    /// No answer within [`DEADLINE`].
    #[error("the session store did not answer within {DEADLINE:?}")]
    Deadline,
    /// An error for an answer.
    #[error("the session store failed: {0}")]
    Failed(String),
    /// The store cannot be opened, and waiting will not help: the problem, and how to mend it.
    #[error("the session store cannot be used: {0}")]
    Unusable(String),
}

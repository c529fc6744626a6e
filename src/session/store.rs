//! What a store has to do, whatever it is made of.

use std::time::Duration;

/// How long a request waits for the store.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// The store did not do what it was asked for. Never a reason to believe that a session is over.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unavailable {
    /// It did not answer in time.
    #[error("the session store did not answer within {DEADLINE:?}")]
    Deadline,
    /// It answered with an error.
    #[error("the session store failed: {0}")]
    Failed(String),
}

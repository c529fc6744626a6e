//! What kind of failure an error is: the one vocabulary in which modules' errors meet.
//!
//! A kind decides the metric label, the log level and the status, in one table each. It must not know any module's
//! error type: those know it.

/// What an error means to the one who has to act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request is wrong; the client can mend it.
    Client,
    /// The request is understood and refused.
    Denied,
    /// The identity provider is away or answers nonsense.
    Provider,
    /// The session store is away or answers nonsense.
    Store,
    /// There is more to do than there is room for.
    Overload,
    /// A defect of ours.
    Internal,
}

//! Credentials of API clients: what comes of verifying one.
//!
//! Promises: a provider that does not answer is never taken for a credential that is refused; no text holds a credential.

use std::borrow::Cow;

use super::error::Error;
use crate::{
    clock::Timestamp,
    identity::{Identity, Tokens},
};

/// An API client's credential that has passed every check.
#[derive(Clone, Debug)]
pub struct VerifiedCredential {
    /// Whom it stands for.
    pub identity: Identity,
    /// The time from which on it is not accepted any more, leeway included; `None` where the provider does not tell.
    pub accepted_until: Option<Timestamp>,
    /// Tokens that the provider issued for it; none where it is a token itself.
    pub tokens: Tokens,
}

/// Errors of a credential that is not accepted. The texts are ends of sentences that begin with the credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// Its time is over.
    #[error("has expired")]
    Expired,
    /// It is not genuine, not in force, or for somebody else.
    #[error("{0}")]
    Refused(Cow<'static, str>),
    /// The provider does not answer, or not in a way that says anything about it.
    #[error("cannot be verified: {0}")]
    Unavailable(String),
}

impl CredentialError {
    pub(super) fn refused(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Refused(reason.into())
    }
}

/// The error of a verification with the provider's keys, or of a grant: what says nothing about the credential is
/// `Unavailable`.
impl From<Error> for CredentialError {
    fn from(error: Error) -> Self {
        match error {
            Error::GrantRefused => Self::refused("is refused by the provider"),
            Error::InvalidMessage(text) => Self::Refused(format!("does not verify: {text}").into()),
            Error::Unavailable(text)
            | Error::ClientRefused(text)
            | Error::UnreadableAnswer(text)
            | Error::ClockSkew(text) => Self::Unavailable(text),
            Error::Overloaded(text) => Self::Unavailable(text.to_owned()),
        }
    }
}

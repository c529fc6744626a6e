//! Errors of a provider. Each variant is a decision that the caller takes differently.
//!
//! Promises: no text holds a token, a code or a secret.

use crate::metrics;

/// The longest value from outside that a text quotes, in characters.
const MAX_QUOTED_CHARS: usize = 200;

/// An error of the provider, or of the way to it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// No connection, no answer in time, or a server error. Says nothing about the person or the session.
    #[error("the provider is unavailable: {0}")]
    Unavailable(String),
    /// More requests of this kind at once than the provider is asked. Says nothing about it.
    #[error("more {0} at once than the provider is asked")]
    Overloaded(&'static str),
    /// The code or the refresh token is used, expired, revoked, or was issued to another client (RFC 6749, section 5.2:
    /// `invalid_grant`).
    #[error("the provider refused the authorization code or the refresh token")]
    GrantRefused,
    /// The provider refused the gate itself: a wrong client id or secret, or a redirect URI that is not registered.
    #[error("the provider refused the gate itself: {0}")]
    ClientRefused(String),
    /// An answer to a renewal that is none of OAuth 2.0, from the provider or from something before it. Says nothing about the
    /// session, nor about how the provider is with others.
    #[error("the provider's answer cannot be read: {0}")]
    UnreadableAnswer(String),
    /// A message of the provider that fails a check: signature, issuer, audience, nonce, time, format.
    #[error("the provider sent an invalid message: {0}")]
    InvalidMessage(String),
    /// A token of another time than now, which the provider has just issued: one of the two clocks is wrong.
    #[error("clock skew between the provider and this machine: {0}")]
    ClockSkew(String),
}

impl Error {
    /// Returns the label under which a renewal that failed with this error is counted.
    #[must_use]
    pub fn renewal_result(&self) -> metrics::RenewalResult {
        match self {
            Self::Unavailable(_) | Self::Overloaded(_) | Self::ClientRefused(_) | Self::UnreadableAnswer(_) => {
                metrics::RenewalResult::Unavailable
            }
            Self::GrantRefused | Self::InvalidMessage(_) | Self::ClockSkew(_) => metrics::RenewalResult::Rejected,
        }
    }

    /// Returns the label under which a request that failed with this error is counted.
    pub(super) fn request_outcome(&self) -> metrics::ProviderResult {
        match self {
            Self::Unavailable(_) => metrics::ProviderResult::Unavailable,
            Self::Overloaded(_)
            | Self::GrantRefused
            | Self::ClientRefused(_)
            | Self::UnreadableAnswer(_)
            | Self::InvalidMessage(_)
            | Self::ClockSkew(_) => metrics::ProviderResult::Refused,
        }
    }
}

/// Returns a value from outside, shortened and without control characters, fit for a log line.
pub(super) fn printable(value: &str) -> String {
    value.chars().take(MAX_QUOTED_CHARS).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Returns `true` for a word that may be repeated in a log line as it is: an error code, a type of token.
pub(super) fn is_plain_word(word: &str) -> bool {
    !word.is_empty()
        && word.len() <= 64
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

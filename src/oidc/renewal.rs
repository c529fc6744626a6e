//! Token refresh: a session's refresh token becomes new tokens, and the person's claims are read again.
//!
//! Promises: once the token endpoint has answered, its tokens are returned even where the claims cannot be had, because a
//! rotated refresh token exists nowhere else; an identity changes only on verified claims about the same subject.

use secrecy::SecretString;

use super::{
    error::Error,
    sid_retention::{PreviousSid, RenewedSid, ToldSid},
};
use crate::{
    clock::Timestamp,
    identity::{Identity, Tokens},
};

/// A session to be renewed.
#[derive(Clone, Copy, Debug)]
pub struct RefreshRequest<'a> {
    /// The session's refresh token.
    pub refresh_token: &'a SecretString,
    /// The session's ID token.
    pub id_token: Option<&'a SecretString>,
    /// The session's identity.
    pub identity: &'a Identity,
    /// The `sid` that it was made with.
    pub sid: PreviousSid<'a>,
}

/// Result of a renewal. All of it has to be stored.
#[derive(Clone, Debug)]
pub struct Refreshed {
    /// The identity with the claims and groups of now; `None` where there is nothing new about it.
    pub identity: Option<Identity>,
    /// The complete tokens of the session: a token of which no new one came is the old one.
    pub tokens: Tokens,
    /// What the ID token says about the provider's own session.
    pub sid: RenewedSid,
}

/// Claims that came with a renewal; empty where there is nothing new.
#[derive(Default)]
pub(super) struct RefreshedClaims {
    pub(super) identity: Option<Identity>,
    pub(super) sid: Option<String>,
    /// The new ID token, verified.
    pub(super) id_token: Option<SecretString>,
    /// `exp` of the new ID token.
    pub(super) id_token_expires: Option<Timestamp>,
}

impl RefreshedClaims {
    /// Returns what the new ID token says of the `sid`.
    pub(super) fn told_sid(&self) -> ToldSid<'_> {
        match (&self.id_token, self.sid.as_deref()) {
            (None, _) => ToldSid::Nothing,
            (Some(_), None) => ToldSid::Absent,
            (Some(_), Some(sid)) => ToldSid::Given(sid),
        }
    }

    /// Keeps the claims of the session where they could not be read again: the new tokens are there, and must not be lost.
    /// `outdated` makes the identity of a session for which that has been so for too long.
    pub(super) fn or_unchanged(
        result: Result<Self, Error>,
        provider: &str,
        outdated: impl FnOnce() -> Option<Identity>,
    ) -> Result<Self, Error> {
        match result {
            Ok(claims) => Ok(claims),
            // The gate's own clock may be the one that is off: that is no reason to shut everybody out, and no measure of time.
            Err(Error::ClockSkew(reason)) => {
                warn_of_old_claims(provider, &reason);
                Ok(Self::default())
            }
            Err(Error::Unavailable(reason) | Error::ClientRefused(reason) | Error::UnreadableAnswer(reason)) => {
                warn_of_old_claims(provider, &reason);
                Ok(Self { identity: outdated(), ..Self::default() })
            }
            Err(error @ (Error::Overloaded(_) | Error::GrantRefused | Error::InvalidMessage(_))) => Err(error),
        }
    }
}

fn warn_of_old_claims(provider: &str, reason: &str) {
    tracing::warn!(
        provider,
        reason,
        "a session was renewed, and its groups and claims stay as they were: what the provider says about them cannot be had"
    );
}

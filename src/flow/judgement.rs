//! Judgement: who is asking, held against what a path requires.
//!
//! Promises: one match, for the answer from memory and for the one that may wait. It decides and admits nobody: that is
//! [`super::check`]'s.

use crate::{
    clock::Timestamp,
    edge::Reason,
    identity::{Principal, PrincipalSource},
    policy::{Denial, Requirement},
};

/// The asking party, as far as it is known.
#[derive(Clone, Copy)]
pub(super) enum Caller<'c> {
    /// Not looked up yet.
    Unknown,
    /// Authenticated.
    Principal(&'c Principal<'c>),
    /// Authenticated by an emergency password, at a host where those count.
    Emergency(&'c Principal<'c>),
    /// No session that counts here.
    Anonymous(Reason),
}

/// Outcome of holding a caller against a requirement.
#[derive(Clone, Copy)]
pub(super) enum Decision<'p, 'c> {
    /// Let in, with the identity headers of a principal or with empty ones.
    Admit(Option<&'c Principal<'c>>),
    /// The caller has to be looked up.
    LookUp,
    /// The caller has to sign in.
    Unauthenticated(Reason),
    /// The caller may not pass.
    Forbidden(Denial<'p>),
}

/// Holds a caller against a requirement: the one match on what a path requires, for both stages.
#[inline]
pub(super) fn judge<'p, 'c>(requirement: &Requirement<'p>, caller: Caller<'c>, now: Timestamp) -> Decision<'p, 'c> {
    match (requirement, caller) {
        (Requirement::Public, _) | (Requirement::Optional, Caller::Anonymous(_)) => Decision::Admit(None),
        (Requirement::Denied, _) => Decision::Forbidden(Denial::Rule),
        (Requirement::Optional | Requirement::Identity(_) | Requirement::Bearer(_), Caller::Unknown) => {
            Decision::LookUp
        }
        (Requirement::Optional, Caller::Principal(principal) | Caller::Emergency(principal)) => {
            Decision::Admit(Some(principal))
        }
        // No provider could prove it in another way. The configuration names the hosts that it is for.
        (Requirement::Identity(test), Caller::Emergency(principal)) => match test.judge_narrowing(principal.identity) {
            Ok(()) => Decision::Admit(Some(principal)),
            Err(denial) => Decision::Forbidden(denial),
        },
        (Requirement::Identity(test), Caller::Principal(principal)) => match test.judge(principal.identity, now) {
            Ok(()) => Decision::Admit(Some(principal)),
            Err(denial) => Decision::Forbidden(denial),
        },
        (Requirement::Identity(_), Caller::Anonymous(reason)) => Decision::Unauthenticated(reason),
        (Requirement::Bearer(test), Caller::Principal(principal)) if is_api_client(principal.source) => {
            match test.judge(principal.identity, now) {
                Ok(()) => Decision::Admit(Some(principal)),
                Err(denial) => Decision::Forbidden(denial),
            }
        }
        (Requirement::Bearer(_), _) => Decision::Unauthenticated(Reason::NoSession),
    }
}

/// Returns `true` for credentials that an API client sends of its own accord: no browser adds them to another site's request.
fn is_api_client(source: PrincipalSource) -> bool {
    matches!(source, PrincipalSource::Bearer | PrincipalSource::AppPassword)
}

//! Client authentication at the token endpoint (RFC 6749, section 2.3.1; `OpenID` Connect Core, section 9).
//!
//! Promises: a method that is not configured is tried only where the other was refused; only one that was accepted is
//! remembered; a refused try never decides about a session.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Client authentication as configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// What the metadata offer, and the other method where that is refused.
    #[default]
    Auto,
    /// The secret in the `Authorization` header.
    Basic,
    /// The secret in the form.
    Post,
}

/// Method of client authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientAuthMethod {
    /// `client_secret_basic`.
    Basic,
    /// `client_secret_post`.
    Post,
}

/// Use of the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenUse {
    /// An authorization code is redeemed. A code that is lost costs another trip to the provider.
    SignIn,
    /// A refresh token is redeemed. One that is lost costs the session.
    Renewal,
}

/// The methods to try in one exchange, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AuthPlan {
    pub(super) first: ClientAuthMethod,
    /// The one to try where the first is refused.
    pub(super) fallback: Option<ClientAuthMethod>,
}

/// Knowledge of the method that one provider accepts.
#[derive(Default)]
pub(super) struct AcceptedMethod {
    state: Mutex<Acceptance>,
}

#[derive(Clone, Copy, Default)]
struct Acceptance {
    /// Accepted after the other was refused.
    learned: Option<ClientAuthMethod>,
    /// Not refused where the other was, and yet nothing came of it: the refused try may have spent the code. Only the next
    /// sign-in begins with it.
    suspected: Option<ClientAuthMethod>,
}

impl ClientAuthMethod {
    fn other(self) -> Self {
        match self {
            Self::Basic => Self::Post,
            Self::Post => Self::Basic,
        }
    }

    /// Returns the method's name in provider metadata.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Basic => "client_secret_basic",
            Self::Post => "client_secret_post",
        }
    }

    /// Returns the value of `client_auth` that fixes the method.
    pub(super) fn setting(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Post => "post",
        }
    }
}

impl AcceptedMethod {
    /// Returns the methods to try. `offered` is what the metadata say; without a word from them it is Basic, as Discovery 1.0
    /// has it.
    pub(super) fn plan(&self, setting: ClientAuth, offered: Option<ClientAuthMethod>, token_use: TokenUse) -> AuthPlan {
        let only = |first| AuthPlan { first, fallback: None };
        match setting {
            ClientAuth::Basic => only(ClientAuthMethod::Basic),
            ClientAuth::Post => only(ClientAuthMethod::Post),
            ClientAuth::Auto => {
                let state = *self.state();
                let suspected = state.suspected.filter(|_| token_use == TokenUse::SignIn);
                let first = suspected.or(state.learned).or(offered).unwrap_or(ClientAuthMethod::Basic);
                AuthPlan { first, fallback: Some(first.other()) }
            }
        }
    }

    /// Remembers a method that was accepted. Returns `true` if it was not known.
    pub(super) fn learn(&self, method: ClientAuthMethod) -> bool {
        let mut state = self.state();
        let is_new = state.learned != Some(method);
        *state = Acceptance { learned: Some(method), suspected: None };
        is_new
    }

    /// Notes that the first method of a plan was accepted: a suspicion that it was is knowledge then.
    pub(super) fn confirm(&self, method: ClientAuthMethod) {
        let mut state = self.state();
        if state.suspected == Some(method) {
            *state = Acceptance { learned: Some(method), suspected: None };
        }
    }

    /// Has the next sign-in begin with a method.
    pub(super) fn suspect(&self, method: ClientAuthMethod) {
        self.state().suspected = Some(method);
    }

    fn state(&self) -> MutexGuard<'_, Acceptance> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{ClientAuthMethod::*, *};

    fn plan(first: ClientAuthMethod, fallback: Option<ClientAuthMethod>) -> AuthPlan {
        AuthPlan { first, fallback }
    }

    #[test]
    fn a_configured_method_is_the_only_one() {
        let accepted = AcceptedMethod::default();
        accepted.learn(Basic);
        assert_eq!(accepted.plan(ClientAuth::Post, Some(Basic), TokenUse::SignIn), plan(Post, None));
        assert_eq!(accepted.plan(ClientAuth::Basic, Some(Post), TokenUse::SignIn), plan(Basic, None));
    }

    #[test]
    fn what_was_accepted_comes_before_what_is_offered() {
        let accepted = AcceptedMethod::default();
        assert_eq!(accepted.plan(ClientAuth::Auto, None, TokenUse::Renewal), plan(Basic, Some(Post)));
        assert_eq!(accepted.plan(ClientAuth::Auto, Some(Post), TokenUse::Renewal), plan(Post, Some(Basic)));
        assert!(accepted.learn(Post) && !accepted.learn(Post));
        assert_eq!(accepted.plan(ClientAuth::Auto, Some(Basic), TokenUse::Renewal), plan(Post, Some(Basic)));
    }

    #[test]
    fn a_suspicion_is_tried_on_a_code_and_never_on_a_refresh_token() {
        let accepted = AcceptedMethod::default();
        accepted.suspect(Post);
        assert_eq!(accepted.plan(ClientAuth::Auto, None, TokenUse::Renewal), plan(Basic, Some(Post)));
        assert_eq!(accepted.plan(ClientAuth::Auto, None, TokenUse::SignIn), plan(Post, Some(Basic)));
        accepted.confirm(Post);
        assert_eq!(accepted.plan(ClientAuth::Auto, None, TokenUse::Renewal), plan(Post, Some(Basic)));
    }
}

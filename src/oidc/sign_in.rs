//! A sign-in at the provider: what is redeemed, and what comes of it.

use crate::identity::{Identity, Tokens};

/// An authorization response, and the parameters of the request that it answers.
#[derive(Clone, Debug)]
pub struct Redemption<'a> {
    /// The authorization code.
    pub code: &'a str,
    /// `iss` of the response, where it was sent (RFC 9207).
    pub iss: Option<&'a str>,
    /// `redirect_uri` of the request.
    pub redirect_uri: &'a str,
    /// `nonce` of the request.
    pub nonce: &'a str,
    /// PKCE code verifier of the request.
    pub code_verifier: &'a str,
}

/// Result of a sign-in.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// The person, as the provider vouches for them.
    pub identity: Identity,
    /// The tokens that the provider issued.
    pub tokens: Tokens,
    /// The provider's identifier of its session.
    pub sid: Option<String>,
}

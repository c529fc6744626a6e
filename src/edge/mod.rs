//! What edges ask and what they are told: the request as an edge describes it, and the verdict as a value.
//!
//! Pure and synchronous. It knows headers and statuses of each edge; it must not know sessions, rules or providers.

mod address;
mod answer;
mod dialect;
mod field;
mod intent;
#[cfg(test)]
mod tests;
mod trust;

use std::net::IpAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

pub use self::{
    answer::{DOORWARD_REASON, DOORWARD_REQUEST_ID, Response, write, write_direct},
    dialect::{direct_client, read},
    field::asked_host,
    intent::intent,
    trust::{TrustedPeer, TrustedProxies},
};
use crate::host::Authority;
pub use crate::metrics::Edge;

/// The original request, as the one trusted source of its edge describes it. Borrowed: reading one allocates nothing.
#[derive(Clone, Debug)]
pub struct AuthRequest<'r> {
    /// The dialect it was asked in.
    pub edge: Edge,
    /// The original method; `None` where the edge does not say.
    pub method: Option<&'r str>,
    /// The host that was asked, folded, and its port.
    pub authority: Authority<'r>,
    /// A second witness: the host that the edge routed by, folded, where it says so beside its source.
    pub routed: Option<Authority<'r>>,
    /// Path and query exactly as the edge passed them on. Begins with a slash.
    pub target: &'r str,
    /// The client's address by the last trusted hop; `None` where the edge does not say, or nobody can tell.
    pub client: Option<IpAddr>,
    /// All headers, for the cookies and the intent.
    pub headers: &'r HeaderMap,
}

impl<'r> AuthRequest<'r> {
    /// The target up to the query, still percent-encoded.
    #[must_use]
    pub fn path(&self) -> &'r str {
        self.halves().0
    }

    /// What follows the first question mark.
    #[must_use]
    pub fn query(&self) -> Option<&'r str> {
        self.halves().1
    }

    /// What the client is about to do with the answer. Whoever is let in need not be asked.
    #[must_use]
    pub fn intent(&self) -> Intent {
        intent::intent(self.method, self.headers)
    }

    fn halves(&self) -> (&'r str, Option<&'r str>) {
        let mark = memchr::memchr(b'?', self.target.as_bytes()).and_then(|at| self.target.split_at_checked(at));
        mark.map_or((self.target, None), |(path, query)| (path, query.get(1..)))
    }
}

/// What the client is about to do with the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// A page is being opened: a redirect will be followed and shown.
    Page,
    /// A form is being sent: a redirect would lose what was typed.
    Form,
    /// A script, a socket or a program: a redirect would be followed blindly.
    Fetch,
}

/// An authorization request that is not one: a missing, repeated or malformed header. Never guessed around.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{header} {problem}")]
pub struct BadRequest {
    /// The header (or part of the request) at fault.
    pub header: &'static str,
    /// What is wrong with it, as the end of a sentence.
    pub problem: &'static str,
}

/// How an authorization request ends. Every error, at any point, is a `Refuse`.
#[derive(Debug)]
pub enum Verdict {
    /// Let in.
    Allow(Admission),
    /// Sent somewhere else: to sign in, or on from one of the gate's own paths.
    Redirect(Redirect),
    /// Not let in.
    Refuse(Refusal),
}

/// The permission to pass. `flow::check` is the only caller of [`Admission::grant`]; `tests/architecture.rs` counts.
#[derive(Debug)]
pub struct Admission {
    headers: HeaderMap,
}

impl Admission {
    /// Lets a request in, with these headers and no others: every configured one, each once, and `Content-Length: 0`.
    #[must_use]
    pub fn grant(headers: HeaderMap) -> Self {
        Self { headers }
    }
}

/// A redirect that only a page being opened is given.
#[derive(Debug)]
pub struct Redirect {
    /// Why, as a stable code.
    pub reason: Reason,
    /// The absolute address.
    pub location: HeaderValue,
    /// `Set-Cookie` lines.
    pub cookies: Vec<HeaderValue>,
}

/// An answer that does not let in.
#[derive(Debug)]
pub struct Refusal {
    /// The status for edges that relay it.
    pub status: StatusCode,
    /// Why, as a stable code.
    pub reason: Reason,
    /// What is shown.
    pub body: Body,
    /// Further headers, such as `Set-Cookie`, `Retry-After`, `WWW-Authenticate`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// The body of an answer.
#[derive(Clone, Debug)]
pub enum Body {
    /// Nothing.
    Empty,
    /// A page, whole, with the policy that its `Content-Security-Policy` header states.
    Html(Bytes, HeaderValue),
    /// A JSON object.
    Json(Bytes),
    /// A script, a style or an image, with its media type. Only a direct route can carry one.
    Asset(Bytes, &'static str),
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $code:literal),+ $(,)?) => {
        /// Why an answer is what it is: the value of `Doorward-Reason`, stable across versions.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[$doc])* $variant),+ }

        impl Reason {
            /// Every reason, for the documentation and its test.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The stable code.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }
        }
    };
}

reasons! {
    /// There is no session cookie, or none that we made.
    NoSession = "no_session",
    /// The session is known to be over.
    SessionEnded = "session_ended",
    /// Signed in, but in none of the groups (nor among the users) that are allowed.
    GroupMissing = "group_missing",
    /// Signed in, but not among the users and without the claims that alone would have let in.
    NotAllowed = "not_allowed",
    /// Signed in with an e-mail address that is allowed, but that the provider does not vouch for.
    EmailUnverified = "email_unverified",
    /// A rule denies this path to everybody, or to whoever the path cannot be told apart for.
    RuleDenied = "rule_denied",
    /// No app names this host.
    UnknownHost = "unknown_host",
    /// The session store does not answer and the session is not known.
    StoreUnavailable = "store_unavailable",
    /// The identity provider does not answer.
    ProviderUnavailable = "provider_unavailable",
    /// The peer is not among `server.trusted_proxies`.
    UntrustedPeer = "untrusted_peer",
    /// The request is not one that an edge makes.
    BadRequest = "bad_request",
    /// A request's header is longer than any that an edge sends, or the app's own cookies are longer than an answer may be.
    HeadersTooLarge = "headers_too_large",
    /// This path works only over a direct route to the gate.
    NeedsRoute = "needs_route",
    /// There is nothing at this path.
    NotFound = "not_found",
    /// More requests than the gate may hold at once.
    Overloaded = "overloaded",
    /// A sign-in begins.
    SigningIn = "signing_in",
    /// A sign-in is complete.
    SignedIn = "signed_in",
    /// The provider refused the sign-in, or its answer could not be believed.
    SignInFailed = "sign_in_failed",
    /// Sign-in went round too often and was stopped.
    SignInLoop = "sign_in_loop",
    /// The session has been ended by its owner.
    SignedOut = "signed_out",
    /// Signing out was asked for by another site and awaits the person's word.
    ConfirmSignOut = "confirm_sign_out",
    /// The gate's cookies have been cleared.
    Reset = "reset",
    /// A defect of ours.
    Internal = "internal",
}

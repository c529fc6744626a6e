//! Verdict on a request: an admission, a redirect or a refusal, with its reason.
//!
//! Promises: only [`Admission::grant`] makes an [`Admission`], and no other verdict lets in.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// Outcome of an auth subrequest. Every error, at any point, is a `Refuse`.
#[derive(Debug)]
pub enum Verdict {
    /// Let in.
    Allow(Admission),
    /// Sent somewhere else: to sign in, or on from one of the gate's own endpoints.
    Redirect(Redirect),
    /// Not let in.
    Refuse(Refusal),
}

impl Verdict {
    /// Returns the reason for not letting in.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Allow(_) => None,
            Self::Redirect(redirect) => Some(redirect.reason),
            Self::Refuse(refusal) => Some(refusal.reason),
        }
    }
}

/// Permission to pass. `flow::check` is the only caller of [`Admission::grant`]; `tests/architecture.rs` counts.
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

    /// Returns a header of the answer.
    #[must_use]
    pub fn header(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.headers.get(name)
    }

    /// Returns the headers of the answer, or of the request that the gate passes on itself.
    #[must_use]
    pub fn into_headers(self) -> HeaderMap {
        self.headers
    }
}

/// Redirect, given only to pages that are being opened.
#[derive(Debug)]
pub struct Redirect {
    /// The cause, as a stable code.
    pub reason: Reason,
    /// The absolute address.
    pub location: HeaderValue,
    /// `Set-Cookie` lines.
    pub cookies: Vec<HeaderValue>,
}

/// Answer that does not let in.
#[derive(Debug)]
pub struct Refusal {
    /// The status for edges that relay it.
    pub status: StatusCode,
    /// The cause, as a stable code.
    pub reason: Reason,
    /// The page or JSON object.
    pub body: Body,
    /// Further headers, such as `Set-Cookie`, `Retry-After`, `WWW-Authenticate`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// The body of an answer.
#[derive(Clone, Debug)]
pub enum Body {
    /// No body.
    Empty,
    /// Whole page, with the value of its `Content-Security-Policy` header.
    Html(Bytes, HeaderValue, Framing),
    /// JSON object.
    Json(Bytes),
    /// Script, style or image, with its media type. Only a direct route can carry one.
    Asset(Bytes, &'static str),
    /// Body of an outpost's answer, with its media type.
    Relayed(Bytes, HeaderValue),
}

/// Whether a page may be shown inside a frame of another one (clickjacking).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Nowhere.
    Denied,
    /// Anywhere: whatever is clicked in it opens a tab of its own.
    Allowed,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $code:literal),+ $(,)?) => {
        /// Cause of an answer: the value of `Doorward-Reason`, stable across versions.
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
    /// No session cookie, or none that we made.
    NoSession = "no_session",
    /// Session that is known to be over.
    SessionEnded = "session_ended",
    /// Session whose provider has to authorize it again, and that this request cannot take there.
    Reauthorize = "reauthorize",
    /// Signed in, but in none of the groups (nor among the users) that are allowed.
    GroupMissing = "group_missing",
    /// Signed in, in none of the allowed groups that the provider told, and it did not tell all.
    GroupsIncomplete = "groups_incomplete",
    /// Signed in, but not among the users and without the claims that alone would have let in.
    NotAllowed = "not_allowed",
    /// Signed in with an e-mail address that is allowed, but that the provider has not verified.
    EmailUnverified = "email_unverified",
    /// Signed in and allowed, but not in the way or as lately as the app asks for.
    StepUp = "step_up",
    /// Request of another site's, which a session may not be used for.
    CrossSite = "cross_site",
    /// Credential that is not valid here: a bearer token, an app password or a service token.
    InvalidToken = "invalid_token",
    /// Emergency password that is wrong.
    EmergencyRefused = "emergency_refused",
    /// More attempts from one network than are allowed in the time.
    RateLimited = "rate_limited",
    /// Rule that denies this path to everybody, or a path that cannot be told apart from a denied one.
    RuleDenied = "rule_denied",
    /// No app names this host.
    UnknownHost = "unknown_host",
    /// Session store unavailable, and the session is not in memory.
    StoreUnavailable = "store_unavailable",
    /// Identity provider unavailable.
    ProviderUnavailable = "provider_unavailable",
    /// App behind the gate, or old outpost, unavailable.
    UpstreamUnavailable = "upstream_unavailable",
    /// App behind the gate, or old outpost, that does not answer in time.
    UpstreamTimeout = "upstream_timeout",
    /// The peer is not among `server.trusted_proxies`.
    UntrustedPeer = "untrusted_peer",
    /// The request is not one that an edge makes.
    BadRequest = "bad_request",
    /// A request's header is longer than any that an edge sends, or the app's own cookies are longer than an answer may be.
    HeadersTooLarge = "headers_too_large",
    /// This path works only over a direct route to the gate.
    NeedsRoute = "needs_route",
    /// No endpoint at this path.
    NotFound = "not_found",
    /// An edge's question at a path that is no edge's.
    NoSuchEdge = "no_such_edge",
    /// More concurrent requests than the gate may hold.
    Overloaded = "overloaded",
    /// A sign-in begins.
    SigningIn = "signing_in",
    /// A sign-in is complete.
    SignedIn = "signed_in",
    /// Sign-in that the provider refused, or whose answer could not be verified.
    SignInFailed = "sign_in_failed",
    /// Redirect loop of sign-ins that was stopped.
    SignInLoop = "sign_in_loop",
    /// The session has been ended by its owner.
    SignedOut = "signed_out",
    /// Sign-out that another site asked for and that the person has to confirm (CSRF).
    ConfirmSignOut = "confirm_sign_out",
    /// The gate's cookies have been cleared.
    Reset = "reset",
    /// A defect of ours.
    Internal = "internal",
}

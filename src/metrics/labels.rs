//! Label values of metrics, as closed enums.
//!
//! Promises: every value is written here and nowhere else; none comes from a request.

/// Declares an enum of label values.
macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $label:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Returns the label as it is in the metric.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label),+ }
            }
        }
    };
}

labels! {
    /// Verdict on an authorization request.
    VerdictLabel { /** Allowed. */ Allow = "allow", /** Redirected to sign in. */ Login = "login",
                   /** No session, and not a page. */ Unauthenticated = "unauthenticated", /** Signed in, not allowed. */ Forbidden = "forbidden",
                   /** Undecided: store or provider unavailable, or overload. */ Unavailable = "unavailable",
                   /** Answered by the emergency sign-in: let in, asked or refused. */ Emergency = "emergency",
                   /** A bad request. */ Rejected = "rejected" }
}
labels! {
    /// Result of looking up a session cookie.
    Lookup { /** Found in memory. */ Hit = "hit", /** Found in the store. */ Miss = "miss", /** Authentic, but over. */ Unknown = "unknown",
             /** Not made by us; no store was asked. */ Forged = "forged" }
}
labels! {
    /// Operation of the session store.
    StoreOperation { /** Read a session. */ Load = "load", /** Write a new session. */ Insert = "insert", /** End a session. */ Delete = "delete",
                     /** Acquire or release the lease of a renewal. */ Claim = "claim", /** Write a renewed session. */ Replace = "replace",
                     /** Record or forget the `jti` of a logout token (replay check). */ RecordJti = "spend",
                     /** Record the last use of sessions. */ Touch = "touch", /** Delete expired sessions. */ Purge = "purge",
                     /** Revalidate sessions in memory. */ Confirm = "confirm", /** List sessions. */ Page = "page",
                     /** Key rotation: reencrypt rows, and count those left. */ Reencrypt = "reseal",
                     /** Count sessions ended by processes without metrics. */ Count = "count", /** Check that it takes writes. */ Ping = "ping" }
}
labels! {
    /// Secret, other than the newest, that sealed a row.
    SealingSecret { /** Configured: the row will be reencrypted. */ Older = "older",
                    /** Not configured: the row cannot be opened here. */ Unknown = "unknown" }
}
labels! {
    /// Result of a sign-in.
    LoginResult { /** A session was created. */ Succeeded = "succeeded",
                  /** A session goes on: its provider has authorized it again. */ Reauthorized = "reauthorized",
                  /** Refused by the provider or by the person. */ Denied = "denied",
                  /** The callback was stale, replayed or foreign, and a new attempt began. */ Restarted = "restarted",
                  /** A redirect loop, stopped with a page. */ Looped = "looped",
                  /** The provider's answer was not valid. */ Failed = "failed", /** Provider or store unavailable. */ Unavailable = "unavailable" }
}
labels! {
    /// Reason of a session's end.
    LogoutKind { /** The person signed out. */ User = "user", /** Back-channel logout. */ Backchannel = "backchannel",
                 /** Front-channel logout. */ Frontchannel = "frontchannel",
                 /** The provider's own session has ended, or it did not authorize the session again. */ Provider = "provider",
                 /** Ended by an operator. */ Operator = "operator", /** A lifetime ran out. */ Expired = "expired" }
}
labels! {
    /// Endpoint of a provider.
    Endpoint { /** Its metadata document. */ Discovery = "discovery", /** Its signing keys. */ Jwks = "jwks",
               /** The token endpoint. */ Token = "token", /** The userinfo endpoint. */ Userinfo = "userinfo",
               /** The revocation endpoint. */ Revocation = "revocation", /** The introspection endpoint. */ Introspection = "introspection" }
}
labels! {
    /// Result of a request to a provider.
    ProviderResult { /** Answered and understood. */ Ok = "ok", /** Answered with an error that is ours or the person's. */ Refused = "refused",
                     /** Not answered in time, not reached, or answered with a server error. */ Unavailable = "unavailable" }
}
labels! {
    /// Result of a configuration reload.
    ReloadResult { /** In force, but for what needs a restart. */ Applied = "applied",
                   /** Invalid; the one before stays. */ Refused = "refused",
                   /** The same as the one in force. */ Unchanged = "unchanged" }
}
labels! {
    /// Listener of a connection.
    ListenerLabel { /** `server.listen`. */ Edges = "edges", /** `server.management`. */ Management = "management",
                    /** `server.proxy_listen`. */ Proxy = "proxy" }
}
labels! {
    /// Result of a TLS handshake.
    HandshakeResult { /** Completed. */ Ok = "ok", /** Failed, timed out or cut. */ Failed = "failed" }
}
labels! {
    /// Result of a renewal that was due.
    RenewalResult { /** The provider issued new tokens. */ Renewed = "renewed", /** Another process had renewed it meanwhile. */ Shared = "shared",
                    /** The provider will not renew it again. */ Rejected = "rejected",
                    /** The provider did not answer, or not in a way that says anything of the session. */ Unavailable = "unavailable" }
}
labels! {
    /// Answer of the emergency sign-in.
    EmergencyResult { /** Let in with a right password. */ Allowed = "allowed", /** Asked for a password. */ Challenged = "challenged",
                      /** Refused for a wrong one. */ Refused = "refused",
                      /** Not looked at: too many attempts from one network. */ Limited = "limited",
                      /** Not looked at: too many attempts at once. */ Busy = "busy" }
}
labels! {
    /// Result of asking an old outpost about its cookies.
    AdoptionResult { /** A session was made of them. */ Adopted = "adopted", /** They are no session there. */ Refused = "refused",
                     /** It did not answer. */ Unavailable = "unavailable", /** Its answer is not believed. */ Invalid = "invalid",
                     /** It was not asked: too many questions. */ Limited = "limited" }
}
labels! {
    /// State of a connection to an upstream.
    UpstreamState { /** Kept for the next request. */ Idle = "idle", /** In use by a request. */ Used = "used" }
}

//! The closed sets of values that labels take.
//!
//! Every value is written here and nowhere else; none comes from a request.

/// Declares a closed set of label values.
macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $label:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The label as it stands in the metric.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label),+ }
            }
        }
    };
}

labels! {
    /// How an authorization request ended.
    Verdict { /** Let in. */ Allow = "allow", /** Sent to sign in. */ Login = "login",
              /** No session, and not a page. */ Unauthenticated = "unauthenticated", /** Signed in, not allowed. */ Forbidden = "forbidden",
              /** Could not tell. */ Unavailable = "unavailable", /** Not a request we answer. */ Rejected = "rejected" }
}
labels! {
    /// How a session cookie was looked up.
    Lookup { /** In memory. */ Hit = "hit", /** In the store. */ Miss = "miss", /** Authentic, but over. */ Unknown = "unknown",
             /** Not made by us; no store was asked. */ Forged = "forged" }
}
labels! {
    /// What the store was asked for.
    Operation { /** Read a session. */ Load = "load", /** Write a new session. */ Insert = "insert", /** End a session. */ Delete = "delete",
                /** Take or free the lease of a renewal. */ Claim = "claim", /** Write a renewed session. */ Replace = "replace",
                /** Spend a word that counts once. */ Spend = "spend",
                /** Note when sessions were last used. */ Touch = "touch", /** Remove what has expired. */ Purge = "purge",
                /** See whether sessions are as they were. */ Confirm = "confirm", /** List sessions. */ Page = "page",
                /** Seal rows anew, and see what is left to do. */ Reseal = "reseal",
                /** Count what others ended. */ Count = "count", /** See whether it is there. */ Ping = "ping" }
}
labels! {
    /// Which secret sealed what the newest has not.
    Secret { /** One that is configured: it will be sealed anew. */ Older = "older",
             /** None that is configured: nobody can open it here. */ Unknown = "unknown" }
}
labels! {
    /// How a sign-in ended.
    Login { /** A session was made. */ Succeeded = "succeeded", /** The provider said no, or the person did. */ Denied = "denied",
            /** The callback was stale, replayed or foreign, and a new attempt began. */ Restarted = "restarted",
            /** It went round too often and was stopped with a page. */ Looped = "looped",
            /** The provider's answer could not be believed. */ Failed = "failed", /** Provider or store away. */ Unavailable = "unavailable" }
}
labels! {
    /// What ended a session.
    Logout { /** The person signed out. */ User = "user", /** The provider said so, directly. */ Backchannel = "backchannel",
             /** The provider said so, through the browser. */ Frontchannel = "frontchannel",
             /** An operator ended it. */ Operator = "operator", /** A lifetime ran out. */ Expired = "expired" }
}
labels! {
    /// Which part of the provider was asked.
    Endpoint { /** Its metadata document. */ Discovery = "discovery", /** Its signing keys. */ Jwks = "jwks",
               /** The token endpoint. */ Token = "token", /** The userinfo endpoint. */ Userinfo = "userinfo",
               /** The revocation endpoint. */ Revocation = "revocation" }
}
labels! {
    /// How a request to the provider ended.
    Outcome { /** Answered and understood. */ Ok = "ok", /** Answered with an error that is ours or the person's. */ Refused = "refused",
              /** Not answered in time, not reached, or answered with a server error. */ Unavailable = "unavailable" }
}
labels! {
    /// What became of a configuration that was read again.
    Reload { /** It is in force, but for what needs a restart. */ Applied = "applied",
             /** Something is wrong with it; the one before stays. */ Refused = "refused",
             /** It says the same as the one in force. */ Unchanged = "unchanged" }
}
labels! {
    /// Where a connection was accepted.
    Listener { /** `server.listen`. */ Edges = "edges", /** `server.management`. */ Management = "management" }
}
labels! {
    /// How a TLS handshake ended.
    Handshake { /** Something can be said. */ Ok = "ok", /** It cannot: it failed, took too long or was cut. */ Failed = "failed" }
}
labels! {
    /// How a renewal that was due ended.
    Renewal { /** The provider gave new tokens. */ Renewed = "renewed", /** Somebody else had renewed it meanwhile. */ Shared = "shared",
              /** The provider will not renew it again. */ Rejected = "rejected",
              /** The provider did not answer, or not in a way that says anything of the session. */ Unavailable = "unavailable" }
}

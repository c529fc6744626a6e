//! Paths and signatures of the gates whose place this one takes (`server.compat`), and what they are here.
//!
//! Promises: they lead to the gate's own endpoints, none of which lets in; a path is theirs only where every server reads it so.

use http::StatusCode;

use super::endpoint_path::endpoint_path;
use crate::{
    edge::{Body, Namespace, Reason, Refusal},
    pages,
};

/// Prefix of the paths of an authentik proxy outpost.
pub const AUTHENTIK_PREFIX: &str = "/outpost.goauthentik.io";
/// Path and query of its callback, as it is registered at the provider.
pub(super) const AUTHENTIK_CALLBACK: &str = "/outpost.goauthentik.io/callback?X-authentik-auth-callback=true";

/// Prefix of the paths of oauth2-proxy.
pub const OAUTH2_PROXY_PREFIX: &str = "/oauth2";
/// Path of its callback, as it is registered at the provider.
pub(super) const OAUTH2_PROXY_CALLBACK: &str = "/oauth2/callback";

/// Signature of a callback in the query of any path.
const CALLBACK_SIGNATURE: &str = "X-authentik-auth-callback=true";
/// Signature of a sign-out in the query of any path.
const SIGN_OUT_SIGNATURE: &str = "X-authentik-logout=true";

/// Gates whose place this one takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompatSettings {
    /// An authentik proxy outpost.
    pub authentik: bool,
    /// oauth2-proxy.
    pub oauth2_proxy: bool,
    /// The one whose callback is registered at the providers: the first that is named.
    pub registered: Namespace,
}

impl CompatSettings {
    /// Returns the endpoint, below the gate's prefix, that a path or a signature of another gate is.
    #[must_use]
    pub fn endpoint<'r>(self, path: &'r str, query: &str) -> Option<(Namespace, &'r str)> {
        let (authentik, oauth2_proxy) = (Namespace::Authentik, Namespace::OAuth2Proxy);
        let below = |is_on: bool, prefix, namespace| {
            is_on.then(|| endpoint_path(prefix, path)).flatten().map(|endpoint| (namespace, endpoint))
        };
        below(self.authentik, AUTHENTIK_PREFIX, authentik)
            .or_else(|| below(self.oauth2_proxy, OAUTH2_PROXY_PREFIX, oauth2_proxy))
            .or_else(|| self.authentik.then(|| signed_endpoint(query)).flatten().map(|endpoint| (authentik, endpoint)))
    }

    /// Returns the prefix of the callback that is registered at the providers, where it is another gate's.
    #[must_use]
    pub fn registered_prefix(self) -> Option<&'static str> {
        match self.registered {
            Namespace::Own => None,
            Namespace::Authentik => Some(AUTHENTIK_PREFIX),
            Namespace::OAuth2Proxy => Some(OAUTH2_PROXY_PREFIX),
        }
    }

    /// Returns the path and query of the callback that is registered at the providers, where it is another gate's.
    #[must_use]
    pub fn registered_callback(self) -> Option<&'static str> {
        match self.registered {
            Namespace::Own => None,
            Namespace::Authentik => Some(AUTHENTIK_CALLBACK),
            Namespace::OAuth2Proxy => Some(OAUTH2_PROXY_CALLBACK),
        }
    }
}

/// Turns the refusal of a host that no app names into what an outpost says of one.
pub(super) fn as_outpost(refusal: Refusal, id: &str) -> Refusal {
    if refusal.reason != Reason::UnknownHost {
        return refusal;
    }
    let body = Body::Json(pages::json("no app for hostname", "No app is set up for this host.", id, None));
    Refusal { status: StatusCode::BAD_REQUEST, body, ..refusal }
}

/// Returns the endpoint that a signature asks for. authentik's errors come with a second `?` behind it.
fn signed_endpoint(query: &str) -> Option<&'static str> {
    let has = |signature: &str| {
        query
            .split('&')
            .any(|pair| pair.strip_prefix(signature).is_some_and(|rest| rest.is_empty() || rest.starts_with('?')))
    };
    match (has(CALLBACK_SIGNATURE), has(SIGN_OUT_SIGNATURE)) {
        (true, _) => Some("/callback"),
        (false, true) => Some("/sign_out"),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paths_and_signatures_of_an_outpost_are_endpoints_where_it_is_imitated() {
        let on = CompatSettings { authentik: true, registered: Namespace::Authentik, ..CompatSettings::default() };
        for (path, query, endpoint) in [
            ("/outpost.goauthentik.io/start", "rd=/", Some("/start")),
            ("/outpost.goauthentik.io/callback", "X-authentik-auth-callback=true&code=x", Some("/callback")),
            ("/outpost.goauthentik.io/sign_out", "", Some("/sign_out")),
            ("/outpost.goauthentik.io/ping", "", Some("/ping")),
            ("/any/path", "a=b&X-authentik-auth-callback=true&code=x", Some("/callback")),
            ("/", "X-authentik-auth-callback=true?error=login_required&state=x", Some("/callback")),
            ("/any/path", "X-authentik-logout=true", Some("/sign_out")),
            ("/any/path", "X-authentik-logout=false", None),
            ("/any/path", "X-authentik-logout=truest", None),
            ("/any/path", "x-authentik-logout=true", None),
            ("/any/path", "a=X-authentik-logout=true", None),
            ("/outpost.goauthentik.io", "", None),
            ("/outpost.goauthentik.iox/start", "", None),
            ("/outpost.goauthentik.io/../admin", "", None),
            ("/outpost.goauthentik.io/%2e%2e/admin", "", None),
            ("/x/outpost.goauthentik.io/start", "", None),
        ] {
            assert_eq!(on.endpoint(path, query).map(|(_, endpoint)| endpoint), endpoint, "{path}?{query}");
            assert_eq!(CompatSettings::default().endpoint(path, query), None, "{path}?{query}");
        }
    }
    #[test]
    fn the_paths_of_oauth2_proxy_are_endpoints_where_it_is_imitated() {
        let on = CompatSettings { oauth2_proxy: true, registered: Namespace::OAuth2Proxy, ..CompatSettings::default() };
        for (path, query, endpoint) in [
            ("/oauth2/start", "rd=/", Some("/start")),
            ("/oauth2/sign_in", "", Some("/sign_in")),
            ("/oauth2/userinfo", "", Some("/userinfo")),
            ("/oauth2", "", None),
            ("/oauth2x/start", "", None),
            ("/oauth2/../admin", "", None),
            ("/oauth2/%2e%2e/admin", "", None),
            ("/oauth2//start", "", None),
            ("/OAuth2/start", "", None),
            // Signatures are authentik's.
            ("/", "X-authentik-logout=true", None),
            ("/outpost.goauthentik.io/start", "", None),
        ] {
            assert_eq!(on.endpoint(path, query).map(|(_, endpoint)| endpoint), endpoint, "{path}?{query}");
            assert_eq!(CompatSettings::default().endpoint(path, query), None, "{path}?{query}");
        }
    }
}

//! Addresses to register for the gate's client at each provider, and what else to see to there, for `doorward check`.
//!
//! They come from the configuration alone: the provider is not asked.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{known_providers::KnownProvider, settings::Config};
use crate::{
    cookie::SiteScheme,
    oidc,
    policy::{DefaultAccess, HostPattern},
};

/// Endpoints of the gate that providers know, below `server.prefix`.
const CALLBACK: &str = "/callback";
const SIGNED_OUT: &str = "/signed_out";
const BACKCHANNEL_LOGOUT: &str = "/backchannel_logout";
const FRONTCHANNEL_LOGOUT: &str = "/frontchannel_logout";

/// Hosts of a provider up to which the text lists the post-logout redirect URIs as well: beyond that they repeat a long list.
const MAX_REPEATED: usize = 20;

/// What to register at one provider. A host pattern such as `*.example.com` stands in an address as it does in `hosts`.
#[derive(Debug)]
pub(super) struct ClientAddresses<'c> {
    provider: &'c oidc::Settings,
    hosts: Vec<String>,
    scheme: SiteScheme,
    prefix: &'c str,
    /// The prefix at which sign-ins and sign-outs end.
    registered_prefix: &'c str,
    /// Path and query of the callback, where it is that of another gate.
    callback: &'c str,
    /// People sign in here at hosts that no app names, too.
    serves_other_hosts: bool,
}

/// Returns the addresses for every provider, in the order of the configuration.
pub(super) fn list(config: &Config) -> Vec<ClientAddresses<'_>> {
    let of_one = |(index, provider)| {
        let apps = config.policy.apps.iter().filter(|app| app.provider == index);
        let hosts = apps.flat_map(|app| &app.hosts).map(|pattern| match pattern {
            HostPattern::Exact(host) => host.clone(),
            HostPattern::Below(domain) => format!("*.{domain}"),
        });
        ClientAddresses {
            provider,
            hosts: hosts.collect(),
            scheme: config.gate.transport,
            prefix: &config.gate.prefix,
            registered_prefix: config.gate.compat.registered_prefix().unwrap_or(&config.gate.prefix),
            callback: config.gate.compat.registered_callback().unwrap_or_default(),
            serves_other_hosts: index == 0 && config.policy.default == DefaultAccess::Authenticated,
        }
    };
    config.providers.iter().enumerate().map(of_one).collect()
}

impl ClientAddresses<'_> {
    fn address(&self, host: &str, path: &str) -> String {
        format!("{}://{host}{}{path}", self.scheme(), self.prefix)
    }

    fn redirect_uri(&self, host: &str) -> String {
        if self.callback.is_empty() {
            return self.address(host, CALLBACK);
        }
        format!("{}://{host}{}", self.scheme(), self.callback)
    }

    fn scheme(&self) -> &'static str {
        match self.scheme {
            SiteScheme::Https => "https",
            SiteScheme::Http => "http",
        }
    }

    fn redirect_uris(&self) -> Vec<String> {
        self.hosts.iter().map(|host| self.redirect_uri(host)).collect()
    }

    fn post_logout_redirect_uris(&self) -> Vec<String> {
        let hosts = self.hosts.iter().filter(|_| self.provider.end_session);
        let address = |host: &String| format!("{}://{host}{}{SIGNED_OUT}", self.scheme(), self.registered_prefix);
        hosts.map(address).collect()
    }

    /// Returns an address at any one host, by preference at one that is no pattern; `None` where there is no host.
    fn at_one_host(&self, path: &str) -> Option<String> {
        let one = self.hosts.iter().find(|host| !is_pattern(host)).or_else(|| self.hosts.first());
        one.map(|host| self.address(host, path))
    }

    /// Returns what else to see to at the provider, or what its product does differently.
    fn notes(&self) -> Vec<&'static str> {
        let is_offline = self.provider.scopes.iter().any(|scope| scope == "offline_access");
        match KnownProvider::of(&self.provider.issuer) {
            Some(KnownProvider::Authentik) => vec![
                "choose a signing key at this provider: without one authentik signs with HS256 and the client secret, which \
                 is refused",
                "add the scope mapping offline_access, or there are no refresh tokens",
            ],
            Some(KnownProvider::Keycloak) if is_offline => vec![
                "with the scope offline_access Keycloak ends its own browser session: every host asks for the password \
                 again, and signing out at Keycloak ends nothing here; without it refresh tokens live as long as the \
                 session at Keycloak",
            ],
            Some(KnownProvider::Keycloak) => vec![
                "this is a Keycloak realm, and the scopes are without offline_access: refresh tokens come all the same, \
                 and live as long as the session at Keycloak (Realm settings → Sessions)",
            ],
            Some(KnownProvider::Google) if !self.provider.extra_authorize_params.contains_key("access_type") => vec![
                "Google gives refresh tokens only with extra_authorize_params = { access_type = \"offline\", prompt = \
                 \"consent\" }",
            ],
            Some(KnownProvider::Google | KnownProvider::Entra) | None => Vec::new(),
        }
    }

    /// Returns a block of text, ready for copying from.
    pub(super) fn text(&self) -> String {
        let oidc::Settings { name, issuer, client_id, .. } = self.provider;
        let mut text = format!("To register at {name} ({issuer}) for the client {client_id}:\n");
        if self.hosts.is_empty() && !self.serves_other_hosts {
            text.push_str("  nothing: no app uses this provider\n");
        }
        append(&mut text, "redirect URIs", &self.redirect_uris());
        match self.post_logout_redirect_uris() {
            few if few.len() <= MAX_REPEATED || self.callback.contains('?') => {
                append(&mut text, "post-logout redirect URIs", &few);
            }
            many => {
                let number = many.len();
                let _ =
                    writeln!(text, "  post-logout redirect URIs: the same {number} with {SIGNED_OUT} for {CALLBACK}");
            }
        }
        for (title, path) in [
            ("back-channel logout URI, if the provider has one: any one host", BACKCHANNEL_LOGOUT),
            ("front-channel logout URI, if it has no back channel: any one host", FRONTCHANNEL_LOGOUT),
        ] {
            append(&mut text, title, self.at_one_host(path).as_slice());
        }
        if self.hosts.iter().any(|host| is_pattern(host)) {
            text.push_str("  `*` is any host there: register a pattern, or each host that is used\n");
        }
        if self.serves_other_hosts {
            let redirect = self.redirect_uri("HOST");
            let _ = writeln!(text, "  and {redirect} for every HOST that no app names (`access.default`)");
        }
        for note in self.notes() {
            let _ = writeln!(text, "  note: {note}");
        }
        text
    }

    /// Returns the same as JSON.
    pub(super) fn json(&self) -> Value {
        json!({
            "provider": self.provider.name,
            "issuer": self.provider.issuer.as_str(),
            "client_id": self.provider.client_id,
            "redirect_uris": self.redirect_uris(),
            "post_logout_redirect_uris": self.post_logout_redirect_uris(),
            "backchannel_logout_uri": self.at_one_host(BACKCHANNEL_LOGOUT),
            "frontchannel_logout_uri": self.at_one_host(FRONTCHANNEL_LOGOUT),
            "notes": self.notes(),
        })
    }
}

fn is_pattern(host: &str) -> bool {
    host.starts_with("*.")
}

/// Appends a titled list, unless it is empty.
fn append(text: &mut String, title: &str, addresses: &[String]) {
    if !addresses.is_empty() {
        let _ = writeln!(text, "  {title}");
    }
    for address in addresses {
        let _ = writeln!(text, "    {address}");
    }
}

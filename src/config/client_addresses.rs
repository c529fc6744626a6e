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

/// Hosts of a provider up to which the text lists the post-logout redirect URIs as well: beyond that they repeat a long list.
const MAX_REPEATED: usize = 20;

/// What to register at one provider. A host pattern such as `*.example.com` stands in an address as it does in `hosts`.
#[derive(Debug)]
pub(super) struct ClientAddresses<'c> {
    provider: &'c oidc::Settings,
    redirect: Vec<String>,
    post_logout: Vec<String>,
    /// At any one host; `None` where no app uses the provider.
    logout: Option<LogoutAddresses>,
    /// Redirect URI of each host that no app names, where `access.default` lets people sign in there.
    redirect_elsewhere: Option<String>,
    has_patterns: bool,
}

/// Addresses at which the provider reports that somebody has signed out there.
#[derive(Debug)]
struct LogoutAddresses {
    back_channel: String,
    front_channel: String,
}

/// Returns the addresses for every provider, in the order of the configuration.
pub(super) fn list(config: &Config) -> Vec<ClientAddresses<'_>> {
    config.providers.iter().enumerate().map(|(index, provider)| ClientAddresses::new(config, index, provider)).collect()
}

impl<'c> ClientAddresses<'c> {
    fn new(config: &'c Config, index: usize, provider: &'c oidc::Settings) -> Self {
        let apps = config.policy.apps.iter().filter(|app| app.provider == index);
        let patterns: Vec<_> = apps.flat_map(|app| &app.hosts).collect();
        let (scheme, prefix) = (config.gate.transport, config.gate.prefix.as_str());
        let address = |pattern: &HostPattern, path: &str| {
            let scheme = match scheme {
                SiteScheme::Https => "https",
                SiteScheme::Http => "http",
            };
            match pattern {
                HostPattern::Exact(host) => format!("{scheme}://{host}{prefix}{path}"),
                HostPattern::Below(domain) => format!("{scheme}://*.{domain}{prefix}{path}"),
            }
        };
        let of_all = |path| patterns.iter().map(|pattern| address(pattern, path)).collect::<Vec<_>>();
        let is_pattern = |pattern: &&&HostPattern| matches!(pattern, HostPattern::Below(_));
        // A host that is one rather than many, if there is any.
        let one = patterns.iter().find(|pattern| !is_pattern(pattern)).or_else(|| patterns.first());
        Self {
            provider,
            redirect: of_all("/callback"),
            post_logout: if provider.end_session { of_all("/signed_out") } else { Vec::new() },
            logout: one.map(|pattern| LogoutAddresses {
                back_channel: address(pattern, "/backchannel_logout"),
                front_channel: address(pattern, "/frontchannel_logout"),
            }),
            redirect_elsewhere: (index == 0 && config.policy.default == DefaultAccess::Authenticated)
                .then(|| address(&HostPattern::Exact("HOST".to_owned()), "/callback")),
            has_patterns: patterns.iter().any(|pattern| is_pattern(&pattern)),
        }
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
        if let Some(logout) = &self.logout {
            append(&mut text, "redirect URIs", &self.redirect);
            match self.post_logout.len() {
                0 => {}
                number if number <= MAX_REPEATED => append(&mut text, "post-logout redirect URIs", &self.post_logout),
                number => {
                    let _ =
                        writeln!(text, "  post-logout redirect URIs: the same {number} with /signed_out for /callback");
                }
            }
            append(&mut text, "back-channel logout URI, if the provider has one: any one host", [&logout.back_channel]);
            append(
                &mut text,
                "front-channel logout URI, if it has no back channel: any one host",
                [&logout.front_channel],
            );
        } else if self.redirect_elsewhere.is_none() {
            text.push_str("  nothing: no app uses this provider\n");
        }
        if self.has_patterns {
            text.push_str("  `*` is any host there: register a pattern, or each host that is used\n");
        }
        if let Some(redirect) = &self.redirect_elsewhere {
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
            "redirect_uris": self.redirect,
            "post_logout_redirect_uris": self.post_logout,
            "backchannel_logout_uri": self.logout.as_ref().map(|logout| &logout.back_channel),
            "frontchannel_logout_uri": self.logout.as_ref().map(|logout| &logout.front_channel),
            "notes": self.notes(),
        })
    }
}

fn append<'a>(text: &mut String, title: &str, addresses: impl IntoIterator<Item = &'a String>) {
    let _ = writeln!(text, "  {title}");
    for address in addresses {
        let _ = writeln!(text, "    {address}");
    }
}

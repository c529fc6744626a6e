//! Providers that their issuer tells: products and services whose peculiarities an operator would otherwise meet at the
//! first sign-in.
//!
//! Promises: nothing is asked of the provider; an issuer that is not recognised gets the defaults of the schema.

use url::Url;

use super::{
    diagnostic::Origin,
    tree::{Node, TomlValue, parse_value},
};

/// The tenant of all personal Microsoft accounts, which anybody can have.
const MICROSOFT_CONSUMERS: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

/// Hosts of Entra ID: the public cloud and the national ones.
const ENTRA_HOSTS: [&str; 3] =
    ["login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn"];

/// Hosts of services where anybody can make an account, and the names of the services.
const OPEN_SERVICES: [(&str, &str); 9] = [
    ("accounts.google.com", "Google"),
    ("appleid.apple.com", "Apple"),
    ("codeberg.org", "Codeberg"),
    ("discord.com", "Discord"),
    ("github.com", "GitHub"),
    ("gitlab.com", "GitLab.com"),
    ("login.live.com", "Microsoft"),
    ("slack.com", "Slack"),
    ("www.linkedin.com", "LinkedIn"),
];

/// Scopes without `offline_access`, as TOML.
const ONLINE_SCOPES: &str = "[\"openid\", \"profile\", \"email\"]";

/// Product or service that an issuer is recognised as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KnownProvider {
    /// Path `/application/o/…`.
    Authentik,
    /// Path `/realms/NAME`, with anything in front (`/auth` up to version 16).
    Keycloak,
    /// The one host.
    Google,
    /// The hosts of Entra ID.
    Entra,
}

impl KnownProvider {
    /// Recognises an issuer.
    pub(super) fn of(issuer: &Url) -> Option<Self> {
        let host = issuer.host_str().unwrap_or_default();
        let segments: Vec<_> = issuer.path().trim_end_matches('/').split('/').collect();
        match segments.as_slice() {
            _ if host == "accounts.google.com" => Some(Self::Google),
            _ if ENTRA_HOSTS.contains(&host) => Some(Self::Entra),
            [.., "realms", _] => Some(Self::Keycloak),
            _ if issuer.path().contains("/application/o/") => Some(Self::Authentik),
            _ => None,
        }
    }

    /// Returns the scopes in force where none are written, as TOML and with the name of the provider that they are for;
    /// `None` where they are the schema's.
    fn default_scopes(self) -> Option<(&'static str, &'static str)> {
        match self {
            // With `offline_access` Keycloak ends its own browser session: no single sign-on, and signing out there is
            // not heard of. Refresh tokens come without it.
            Self::Keycloak => Some((ONLINE_SCOPES, "a Keycloak realm")),
            // Google refuses the whole request.
            Self::Google => Some((ONLINE_SCOPES, "Google")),
            Self::Authentik | Self::Entra => None,
        }
    }
}

/// Replaces the schema's defaults of every provider by those for its product, where there are others. `root` is complete.
pub(super) fn apply_defaults(root: &mut Node) {
    let TomlValue::Table(root) = &mut root.value else { return };
    let Some(Node { value: TomlValue::List(providers), .. }) = root.get_mut("providers") else { return };
    for provider in providers {
        let TomlValue::Table(keys) = &mut provider.value else { continue };
        let Some(Node { value: TomlValue::Text(issuer), .. }) = keys.get("issuer") else { continue };
        let known = Url::parse(issuer).ok().as_ref().and_then(KnownProvider::of);
        let Some((scopes, product)) = known.and_then(KnownProvider::default_scopes) else { continue };
        if keys.get("scopes").is_some_and(|node| node.origin.is_default()) {
            keys.extend(parse_value(&Origin::DefaultFor(product), scopes).map(|node| ("scopes".to_owned(), node)));
        }
    }
}

/// Returns why a product cannot satisfy rules by class of authentication (`acr`), and what to write instead; `None` if it can.
pub(super) fn without_classes(issuer: &Url) -> Option<(&'static str, &'static str)> {
    Some(match KnownProvider::of(issuer)? {
        KnownProvider::Authentik => (
            "authentik names the same class of authentication for every sign-in",
            "name the method in its place: claims = { amr = [\"mfa\"] }, and max_age for a recent sign-in",
        ),
        KnownProvider::Google => ("Google names no class of authentication", "remove it, or use another provider"),
        KnownProvider::Entra => (
            "Entra ID names no class of authentication in v2.0 tokens",
            "have Conditional Access ask for the second factor at this application",
        ),
        KnownProvider::Keycloak => return None,
    })
}

/// Returns why a product does not tell when somebody proved who they are (`auth_time`), and how to mend it; `None` if it does.
pub(super) fn without_auth_time(issuer: &Url) -> Option<(&'static str, &'static str)> {
    Some(match KnownProvider::of(issuer)? {
        KnownProvider::Google => {
            ("Google does not tell when somebody proved who they are", "remove it, or use another provider")
        }
        KnownProvider::Entra => (
            "Entra ID does not tell when somebody proved who they are unless it is asked to",
            "add the optional claim auth_time to the ID token in the app registration",
        ),
        KnownProvider::Authentik | KnownProvider::Keycloak => return None,
    })
}

/// Returns the issuer as the product's tokens name it, where this one differs from it in the slash at its end.
pub(super) fn with_slash_mended(issuer: &Url) -> Option<String> {
    let text = issuer.as_str();
    match (KnownProvider::of(issuer)?, text.strip_suffix('/')) {
        (KnownProvider::Keycloak, Some(without)) => Some(without.to_owned()),
        (KnownProvider::Authentik, None) => Some(format!("{text}/")),
        _ => None,
    }
}

/// Returns who can have an account at an issuer, as the subject of a sentence, if that is practically anybody.
pub(super) fn open_to(issuer: &Url) -> Option<String> {
    let host = issuer.host_str().unwrap_or_default();
    if let Some((_, service)) = OPEN_SERVICES.iter().find(|(known, _)| *known == host) {
        return Some(format!("anybody with a {service} account"));
    }
    if issuer.path().contains(MICROSOFT_CONSUMERS) {
        return Some("anybody with a Microsoft account".to_owned());
    }
    let tenant = match host {
        _ if host.ends_with(".auth0.com") => "Auth0 tenant",
        _ if host.starts_with("cognito-idp.") && host.ends_with(".amazonaws.com") => "Cognito user pool",
        _ => return None,
    };
    Some(format!("unless sign-up is turned off at this {tenant}, anybody who signs up there"))
}

/// Returns the problem and the hint of an issuer at Entra ID that its metadata never name, or `None` if it is one that they
/// do name.
pub(super) fn unusable_at_entra(issuer: &Url) -> Option<(String, String)> {
    if KnownProvider::of(issuer) != Some(KnownProvider::Entra) {
        return None;
    }
    let host = issuer.host_str().unwrap_or_default();
    let (tenant, rest) = issuer.path().trim_start_matches('/').split_once('/').unwrap_or_default();
    let find = format!(
        "write \"https://{host}/TENANT/v2.0\" with the tenant's ID from Entra ID → Overview in place of TENANT"
    );
    match tenant {
        "common" | "organizations" => Some((
            format!("`{tenant}` stands for many tenants, and tokens name the one that somebody signed in at"),
            format!("{find}; for several tenants write a section [[providers]] for each"),
        )),
        "consumers" => Some((
            "`consumers` is not the name that tokens have for the tenant of personal accounts".to_owned(),
            format!("write \"https://{host}/{MICROSOFT_CONSUMERS}/v2.0\""),
        )),
        id if is_tenant_id(id) && rest == "v2.0" => None,
        id if is_tenant_id(id) => Some((
            "this is not the issuer of the tenant: its metadata name another".to_owned(),
            format!("write \"https://{host}/{id}/v2.0\""),
        )),
        _ => Some(("the tenant's metadata name its ID, and not its domain".to_owned(), find)),
    }
}

fn is_tenant_id(text: &str) -> bool {
    let groups = text.split('-').map(str::len);
    groups.eq([8, 4, 4, 4, 12]) && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn a_provider_is_recognised_by_its_issuer_alone() {
        for (issuer, expected) in [
            ("https://kc.example.com/realms/main", Some(KnownProvider::Keycloak)),
            ("https://kc.example.com/auth/realms/main", Some(KnownProvider::Keycloak)),
            ("https://example.com/sso/realms/main", Some(KnownProvider::Keycloak)),
            ("http://127.0.0.1:8080/realms/main", Some(KnownProvider::Keycloak)),
            ("https://kc.example.com/realms/", None),
            ("https://kc.example.com/realms", None),
            ("https://kc.example.com/realms/main/", Some(KnownProvider::Keycloak)),
            ("https://kc.example.com/realms/main/x", None),
            ("https://auth.example.com/application/o/doorward/", Some(KnownProvider::Authentik)),
            ("https://accounts.google.com", Some(KnownProvider::Google)),
            ("https://accounts.google.com.example.com", None),
            ("https://login.microsoftonline.com/x/v2.0", Some(KnownProvider::Entra)),
            ("https://id.example.com/", None),
        ] {
            assert_eq!(KnownProvider::of(&url(issuer)), expected, "{issuer}");
        }
    }

    #[test]
    fn a_slash_too_many_or_too_few_is_mended() {
        for (issuer, mended) in [
            ("https://kc.example.com/realms/main/", Some("https://kc.example.com/realms/main")),
            ("https://kc.example.com/realms/main", None),
            ("https://auth.example.com/application/o/x", Some("https://auth.example.com/application/o/x/")),
            ("https://auth.example.com/application/o/x/", None),
            ("https://accounts.google.com", None),
            ("https://id.example.com/x/", None),
        ] {
            assert_eq!(with_slash_mended(&url(issuer)).as_deref(), mended, "{issuer}");
        }
    }

    #[test]
    fn an_issuer_at_entra_is_the_one_that_tokens_name() {
        let id = "6f1c1e0e-0d3b-4f43-9a5c-1f2e3d4c5b6a";
        for (path, mend) in [
            (format!("{id}/v2.0"), None),
            (format!("{MICROSOFT_CONSUMERS}/v2.0"), None),
            ("common/v2.0".to_owned(), Some("/TENANT/v2.0")),
            ("organizations/v2.0".to_owned(), Some("/TENANT/v2.0")),
            ("consumers/v2.0".to_owned(), Some(MICROSOFT_CONSUMERS)),
            ("example.onmicrosoft.com/v2.0".to_owned(), Some("/TENANT/v2.0")),
            (format!("{id}/v2.0/"), Some(id)),
            (format!("{id}/"), Some(id)),
            (String::new(), Some("/TENANT/v2.0")),
        ] {
            for host in ENTRA_HOSTS {
                let found = unusable_at_entra(&url(&format!("https://{host}/{path}")));
                assert_eq!(found.is_some(), mend.is_some(), "{path}");
                assert!(found.is_none_or(|(_, hint)| hint.contains(mend.unwrap()) && hint.contains(host)), "{path}");
            }
        }
        assert_eq!(unusable_at_entra(&url("https://example.com/common/v2.0")), None);
    }

    #[test]
    fn services_with_accounts_for_anybody_are_known_by_their_host() {
        for (issuer, named) in [
            ("https://accounts.google.com", Some("a Google account")),
            ("https://www.linkedin.com/oauth", Some("a LinkedIn account")),
            ("https://gitlab.com", Some("a GitLab.com account")),
            (
                "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0",
                Some("a Microsoft account"),
            ),
            ("https://example.eu.auth0.com/", Some("Auth0 tenant")),
            ("https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_x", Some("Cognito user pool")),
            ("https://gitlab.example.com", None),
            ("https://auth0.com.example.com/", None),
        ] {
            let found = open_to(&url(issuer));
            assert_eq!(found.is_some(), named.is_some(), "{issuer}");
            assert!(found.is_none_or(|who| who.contains(named.unwrap())), "{issuer}");
        }
    }
}

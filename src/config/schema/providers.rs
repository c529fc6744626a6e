//! The keys of `[[providers]]`, in the order of the reference page.

use super::spec::{
    AppliesOn::Reload,
    DefaultValue::{Absent, Is, Required},
    KeySpec, ValueKind, key,
};

const TEXTS: ValueKind = ValueKind::List(&ValueKind::Text);

/// These keys.
pub(super) const PROVIDER_KEYS: &[KeySpec] = &[
    key(
        "providers[].name",
        ValueKind::Text,
        Required,
        Reload,
        "Name of the provider in `apps[].provider`, logs, metrics and sessions. Its sessions become invalid when the \
         name changes or the provider is removed.",
    ),
    key(
        "providers[].issuer",
        ValueKind::Text,
        Required,
        Reload,
        "Issuer identifier, exactly as the provider states it; at Entra ID with the tenant's ID. `https`, except for a provider on this machine or if \
         `server.scheme` is `http`.",
    ),
    key("providers[].client_id", ValueKind::Text, Required, Reload, "The gate's client ID at the provider."),
    key(
        "providers[].client_secret",
        ValueKind::Secret,
        Absent("a public client, protected by PKCE alone"),
        Reload,
        "The gate's client secret at the provider.",
    ),
    key(
        "providers[].scopes",
        TEXTS,
        Is("[\"openid\", \"profile\", \"email\", \"offline_access\"]"),
        Reload,
        "The requested scopes; `openid` is required. Most providers issue a refresh token only with \
         `offline_access`. The default leaves it out at a Keycloak realm (an issuer with the path `/realms/NAME`), where \
         it ends the single sign-on and logout by the provider, and at Google, which refuses it.",
    ),
    key(
        "providers[].groups_claim",
        ValueKind::ClaimPath,
        Is("\"groups\""),
        Reload,
        "The dotted path of the groups in the ID token or the userinfo response, such as `realm_access.roles`; or its \
         names as a list, where a dot could be read in two ways. Lists, JSON in a text, `[a, b]`, objects with a `name` \
         and the keys of an object are read.",
    ),
    key(
        "providers[].groups_separator",
        ValueKind::Text,
        Absent("a text is one group"),
        Reload,
        "What stands between the groups where the provider sends them as one text, such as `,`.",
    ),
    key(
        "providers[].unverified_email",
        ValueKind::Choice(&["pass", "drop", "trust"]),
        Is("\"pass\""),
        Reload,
        "Treatment of an e-mail address whose `email_verified` is present and not true. `pass`: apps receive it, but \
         it matches nobody in `allow`. `drop`: ignored, as if absent. `trust`: treated as verified, for a provider \
         where nobody can choose their own address. Applies from the next sign-in or renewal of a session.",
    ),
    key(
        "providers[].ca_file",
        ValueKind::File,
        Absent("the system's certificates alone"),
        Reload,
        "Certificates, PEM, that are trusted for this provider in addition to the system's.",
    ),
    key("providers[].timeout", ValueKind::Duration, Is("\"10s\""), Reload, "Timeout of a request to the provider."),
    key(
        "providers[].extra_authorize_params",
        ValueKind::Table(&ValueKind::Text),
        Is("{}"),
        Reload,
        "Additional parameters of the authorization request, such as `{ prompt = \"select_account\" }`.",
    ),
    key(
        "providers[].end_session",
        ValueKind::Flag,
        Is("true"),
        Reload,
        "Signing out of the gate also signs out at the provider.",
    ),
    key(
        "providers[].renewals_keep_sid",
        ValueKind::Flag,
        Absent("learned"),
        Reload,
        "Whether the ID tokens of renewals repeat the `sid` of the sign-in. Where they do, one without it, or with another, \
         ends the session: the person has signed out at the provider.",
    ),
    key(
        "providers[].client_auth",
        ValueKind::Choice(&["auto", "basic", "post"]),
        Is("\"auto\""),
        Reload,
        "Client authentication at the token endpoint. `basic`: in the `Authorization` header (`client_secret_basic`). \
         `post`: in the form (`client_secret_post`). `auto`: what the provider's metadata offer; where that is refused \
         the other is tried once, and remembered if it is accepted.",
    ),
    key(
        "providers[].internal_url",
        ValueKind::Text,
        Absent("the gate asks at the issuer's address"),
        Reload,
        "Address, without a path, at which the gate itself asks whatever has the issuer's scheme, host and port: \
         metadata, keys, tokens, userinfo, revocation. The issuer's host is sent as `Host` and `X-Forwarded-Host`, its \
         scheme as `X-Forwarded-Proto`. Browsers go to the issuer's own address. It is asked without a proxy.",
    ),
    key(
        "providers[].proxy",
        ValueKind::Url,
        Absent("that of `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`"),
        Reload,
        "Proxy by way of which the provider is asked: `none`, or an address such as `http://proxy.example.com:3128`, \
         which may hold a user and a password. Without it the environment's proxies are used, but for a provider on \
         this machine only where the proxy is on it too.",
    ),
];

//! The keys of `[[providers]]` about how a provider is asked, in the order of the reference page.

use super::spec::{
    AppliesOn::Reload,
    DefaultValue::{Absent, Is},
    KeySpec, ValueKind, key,
};

/// These keys.
pub(super) const NETWORK_KEYS: &[KeySpec] = &[
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

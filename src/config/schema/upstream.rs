//! The keys of apps whose requests go further: to the app itself (reverse-proxy mode), or to an outpost that answers for them.

use super::spec::{
    AppliesOn::{Reload, Restart},
    DefaultValue::Absent,
    KeySpec, ValueKind, key,
};

/// These keys.
pub(super) const UPSTREAM_KEYS: &[KeySpec] = &[
    key(
        "apps[].delegate",
        ValueKind::Text,
        Absent("the gate answers itself"),
        Reload,
        "Address of an outpost that answers this app's checks in place of the gate, such as \
         `\"http://outpost:9000/outpost.goauthentik.io/auth/traefik\"`; the end says the dialect: `traefik`, `caddy`, `nginx` or \
         `envoy`. It is asked over persistent connections. Of the app's other keys only `name`, `hosts` and `headers` have an \
         effect then: [delegation](delegate.md).",
    ),
    key(
        "apps[].delegate_cache",
        ValueKind::Text,
        Absent("`0s`: it is asked every time"),
        Reload,
        "Time for which an outpost's admission counts for the same cookies at the same host without asking it again; at most \
         `1m`. A sign-out at the outpost shows after this time.",
    ),
    key(
        "server.proxy_listen",
        ValueKind::Address,
        Absent("no reverse proxy"),
        Restart,
        "The address at which browsers, or an edge in front, reach the apps that have an `upstream`: the gate passes on what it lets in. \
         With `server.tls` it speaks TLS, HTTP/2 included, with the same certificate. [Reverse-proxy mode](reverse-proxy.md).",
    ),
    key(
        "apps[].upstream",
        ValueKind::Upstream,
        Absent("an edge serves the app"),
        Reload,
        "Address of the app, to which `server.proxy_listen` passes on the requests that are let in: `\"http://grafana:3000\"`, or a \
         table such as `{ url = \"https://grafana:3000\", ca_file = \"…\", connect_timeout = \"5s\", first_byte_timeout = \"60s\", \
         silence_timeout = \"10m\" }`. No deadline bounds a whole body. [Reverse-proxy mode](reverse-proxy.md).",
    ),
    key(
        "apps[].rules[].cache_control",
        ValueKind::Text,
        Absent("the app's own"),
        Reload,
        "`Cache-Control` of the app's answers where this rule decides and the gate passes requests on (`apps[].upstream`), in place of \
         the app's own: `\"public, max-age=31536000, immutable\"`. It is set on answers with status 200 to `GET` and `HEAD`, and \
         never on one that sets a cookie: [rules](rules.md#caching).",
    ),
];

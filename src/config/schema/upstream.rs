//! The keys of apps whose requests go further: to an outpost that answers for them.

use super::spec::{AppliesOn::Reload, DefaultValue::Absent, KeySpec, ValueKind, key};

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
];

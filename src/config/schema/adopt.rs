//! The keys of `[adopt]`, in the order of the reference page.

use super::spec::{
    AppliesOn::Reload,
    DefaultValue::{Absent, Is, Required},
    KeySpec, ValueKind, key,
};

/// These keys.
pub(super) const ADOPT_KEYS: &[KeySpec] = &[
    key(
        "adopt.url",
        ValueKind::Url,
        Required,
        Reload,
        "Where the old outpost answers an edge: `http://old-outpost:9000/outpost.goauthentik.io/auth/traefik`. It is asked as the edge \
         that the end of it names: `traefik`, `caddy`, `nginx` or `envoy`. Over `http` whoever can answer in its place decides who is \
         signed in, so the way there has to be private.",
    ),
    key(
        "adopt.lifetime",
        ValueKind::Duration,
        Is("\"3d\""),
        Reload,
        "Lifetime of an adopted session, from its adoption; no longer than `session.lifetime`. Then the person signs in once. A changed \
         lifetime applies to existing sessions as well.",
    ),
    key(
        "adopt.provider",
        ValueKind::Text,
        Absent("the provider of the app"),
        Reload,
        "The provider at which people signed in to the old outpost: sessions are adopted at its apps alone.",
    ),
    key(
        "adopt.per_minute",
        ValueKind::Number,
        Is("120"),
        Reload,
        "How often the old outpost is asked in a minute, for all clients together. People who come while it is used up sign in.",
    ),
];

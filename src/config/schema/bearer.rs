//! The keys of `[bearer]`, in the order of the reference page.

use super::spec::{
    AppliesOn::Reload,
    DefaultValue::{Is, Required},
    KeySpec, ValueKind, key,
};

/// These keys.
pub(super) const BEARER_KEYS: &[KeySpec] = &[
    key(
        "bearer.issuers[].issuer",
        ValueKind::Text,
        Required,
        Reload,
        "Issuer identifier, exactly as its tokens state it. `https`, except for one on this machine or if `server.scheme` is \
         `http`. Its metadata say where its keys are. The issuer of a provider shares that provider's keys, and its tokens \
         count at that provider's apps; any other issuer's count at every app.",
    ),
    key(
        "bearer.issuers[].audience",
        ValueKind::TextOrList,
        Required,
        Reload,
        "The audience (`aud`) of tokens for these apps, or several of which a token has to name one.",
    ),
    key(
        "bearer.introspection",
        ValueKind::Flag,
        Is("false"),
        Reload,
        "Tokens that are no JWT of a configured issuer are asked about at the app's provider (RFC 7662). They count where it \
         calls them active, and they were issued to the gate's own client or are for it. Needs `client_secret` at that provider.",
    ),
    key(
        "bearer.app_passwords",
        ValueKind::Flag,
        Is("false"),
        Reload,
        "User names and app passwords (`Authorization: Basic`) are redeemed at the app's provider by the grant \
         `client_credentials`. For authentik: other providers do not have them.",
    ),
];

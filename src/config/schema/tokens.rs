//! The keys of `[tokens]`.

use super::spec::{AppliesOn::Reload, DefaultValue::Is, KeySpec, ValueKind, key};

/// These keys.
pub(super) const TOKEN_KEYS: &[KeySpec] = &[key(
    "tokens.header",
    ValueKind::Text,
    Is("\"Doorward-Token\""),
    Reload,
    "The header that carries a service token. The edge passes it to the gate, and the gate's answer, an empty one, to the app: the \
     files in `deploy/` do both for this name.",
)];

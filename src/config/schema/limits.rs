//! The keys of `[limits]`, in the order of the reference page.

use super::spec::{AppliesOn::Reload, DefaultValue::Is, KeySpec, ValueKind, key};

const PER_MINUTE: &str = "How often in the long run, from 1 to 1000000.";
const BURST: &str = "How often at once, from 1 to 1000000.";

const fn limit(path: &'static str, default: &'static str, doc: &'static str) -> KeySpec {
    key(path, ValueKind::Number, Is(default), Reload, doc)
}

/// These keys.
pub(super) const LIMIT_KEYS: &[KeySpec] = &[
    limit("limits.sign_in.per_minute", "600", PER_MINUTE),
    limit("limits.sign_in.burst", "300", BURST),
    limit("limits.callback.per_minute", "600", PER_MINUTE),
    limit("limits.callback.burst", "300", BURST),
    limit("limits.credentials.per_minute", "30", PER_MINUTE),
    limit("limits.credentials.burst", "30", BURST),
];

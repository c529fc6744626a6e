//! The keys of what an app gets of a person's attributes at authentik.

use super::spec::{
    AppliesOn::Reload,
    DefaultValue::{Absent, Is, Required},
    KeySpec, ValueKind, key,
};

/// These keys.
pub(super) const ATTRIBUTE_KEYS: &[KeySpec] = &[
    key(
        "apps[].additional_headers",
        ValueKind::List(&ValueKind::Text),
        Is("[]"),
        Reload,
        "Headers that `additionalHeaders` among a person's attributes at authentik may fill (`ak_proxy.user_attributes` in its tokens): \
         texts, numbers, `true` and `false`. Each of them is set on every request, empty without a value. Attributes that no key names \
         are not kept.",
    ),
    key(
        "apps[].basic_auth.user_attribute",
        ValueKind::Text,
        Absent("the e-mail address"),
        Reload,
        "Attribute with the user name; the e-mail address for people who do not have it.",
    ),
    key(
        "apps[].basic_auth.password_attribute",
        ValueKind::Text,
        Required,
        Reload,
        "Attribute with the password. For people who do not have it the header is empty.",
    ),
];

//! The keys of `[emergency]`, in the order of the reference page.

use super::spec::{
    AppliesOn::Reload,
    DefaultValue::{Is, Required},
    KeySpec, ValueKind, key,
};

const TEXTS: ValueKind = ValueKind::List(&ValueKind::Text);

/// These keys.
pub(super) const EMERGENCY_KEYS: &[KeySpec] = &[
    key(
        "emergency.users_file",
        ValueKind::File,
        Required,
        Reload,
        "The users: a name, a colon and the hash of a password on each line. `doorward hash-password` prints a hash \
         (argon2id); bcrypt, as of `htpasswd -B`, is taken too. The file is read again when it changes.",
    ),
    key(
        "emergency.hosts",
        TEXTS,
        Required,
        Reload,
        "The hosts that it is for, each of them one of an app's; `*.example.com` is every host of an app below `example.com`. \
         There an emergency password passes every `allow`, and no `deny`.",
    ),
    key("emergency.groups", TEXTS, Is("[]"), Reload, "The groups that apps are told of somebody who has signed in so."),
    key(
        "emergency.realm",
        ValueKind::Text,
        Is("\"Emergency Access\""),
        Reload,
        "The realm that browsers show when they ask, in ASCII.",
    ),
];

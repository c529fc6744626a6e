//! The sections, in the order of the reference page, and what this version does not have.

use super::{
    Presence::{self, Always, WhenWritten},
    Section,
};

const fn section(path: &'static str, presence: Presence, doc: &'static str) -> Section {
    Section { path, presence, doc }
}

/// The sections.
pub(in super::super) const SECTIONS: &[Section] = &[
    section("server", Always, "Where the gate listens and whom it believes."),
    section(
        "server.tls",
        WhenWritten,
        "TLS on `server.listen`; absent: clear text, for an edge on the same machine or in a network of its own. What is in \
         the files is read again when it changes.",
    ),
    section(
        "session",
        Always,
        "How long somebody stays signed in, and the cookie that says so. Other lifetimes count for whoever is signed in, too.",
    ),
    section("store", Always, "Where sessions are kept."),
    section("providers[]", Always, "An OpenID Connect provider to sign in at. At least one; the first is the default."),
    section("access", Always, "Hosts that no app names."),
    section("apps[]", Always, "A protected app: the hosts it answers on and who may use it."),
    section(
        "apps[].allow",
        WhenWritten,
        "Who may use the app where no rule says otherwise; any one match lets in. Absent: whoever is signed in.",
    ),
    section(
        "apps[].rules[]",
        Always,
        "An exception for some paths, methods or client networks. The first rule that matches decides, before `allow`. \
         A rule that no request can reach, because an earlier one takes all of its requests, is an error.",
    ),
    section(
        "apps[].rules[].allow",
        WhenWritten,
        "Who may pass under this rule; any one match lets in. Excludes `access`.",
    ),
    section("brand", Always, "How the gate's own pages look."),
    section("log", Always, "What is logged, and how."),
];

/// Keys that people know from elsewhere and that this version does not have: their paths and what to do about it.
pub(in super::super) const ABSENT_HERE: &[(&str, &str)] = &[
    ("bearer", "this version does not check bearer tokens; give API clients a rule by path and network"),
    ("emergency", "this version has no emergency sign-in; known sessions go on for `session.outage_grace`"),
    ("adopt", "this version does not adopt sessions of another gate; people sign in once more"),
    ("server.compat", "this version answers on its own paths only; point the middleware at `/_doorward/auth/…`"),
    ("apps[].upstream", "this version is no reverse proxy; route the app in your edge and ask the gate from there"),
    ("apps[].rules[].preset", "this version has no presets of paths; write one rule for each exact path"),
    ("apps[].rules[].path.regex", "this version has no regular expressions in paths; use an exact path or a prefix"),
];

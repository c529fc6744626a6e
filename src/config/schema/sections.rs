//! The sections, in the order of the reference page, and the keys that this version does not have.

use super::spec::{
    Presence::{self, Always, WhenWritten},
    SectionSpec,
};

const fn section(path: &'static str, presence: Presence, doc: &'static str) -> SectionSpec {
    SectionSpec { path, presence, doc }
}

/// All sections.
pub(in super::super) const SECTIONS: &[SectionSpec] = &[
    section("server", Always, "The listeners, and the proxies that the gate trusts."),
    section(
        "server.tls",
        WhenWritten,
        "TLS on `server.listen`. Absent: clear text, for an edge on the same machine or in a private network. The files are \
         read again when they change.",
    ),
    section(
        "session",
        Always,
        "Lifetimes of sessions, and the session cookie. Changed lifetimes apply to existing sessions as well.",
    ),
    section("store", Always, "The store of the sessions."),
    section("providers[]", Always, "An OpenID Connect provider. At least one is needed; the first is the default."),
    section("access", Always, "Access to hosts that no app names."),
    section("apps[]", Always, "A protected app: its hosts and who may use it."),
    section(
        "apps[].allow",
        WhenWritten,
        "Who may use the app where no rule matches. Any one match is enough. Absent: everybody who is signed in.",
    ),
    section(
        "apps[].rules[]",
        Always,
        "An exception for some paths, methods or client networks. The first matching rule decides, before `allow`. A rule \
         that no request can reach, because an earlier rule matches all of its requests, is an error.",
    ),
    section(
        "apps[].rules[].allow",
        WhenWritten,
        "Who may pass under this rule. Any one match is enough. Excludes `access`.",
    ),
    section("brand", Always, "Appearance of the gate's own pages."),
    section("log", Always, "The log."),
];

/// Keys of other gates or versions that this version does not have: path and hint.
pub(in super::super) const UNSUPPORTED: &[(&str, &str)] = &[
    ("bearer", "this version does not check bearer tokens; give API clients a rule by path and network"),
    ("emergency", "this version has no emergency sign-in; known sessions go on for `session.outage_grace`"),
    ("adopt", "this version does not adopt sessions of another gate; people sign in once more"),
    ("server.compat", "this version answers on its own paths only; point the middleware at `/_doorward/auth/…`"),
    ("apps[].upstream", "this version is no reverse proxy; route the app in your edge and ask the gate from there"),
    ("apps[].rules[].preset", "this version has no presets of paths; write one rule for each exact path"),
    ("apps[].rules[].path.regex", "this version has no regular expressions in paths; use an exact path or a prefix"),
];

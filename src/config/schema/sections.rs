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
        "apps[].basic_auth",
        WhenWritten,
        "A name and a password for the app, as `Authorization: Basic`, from attributes of the person at authentik. The edge has to copy \
         `Authorization` from the gate's answer. Absent: the app gets what the client sent.",
    ),
    section(
        "apps[].allow",
        WhenWritten,
        "Who may use the app where no rule matches: any one of `groups`, `users` and `claims` lets in, or, without them, \
         being signed in; `require`, `except`, `acr` and `max_age` come on top. Absent: everybody who is signed in. \
         [Rules](rules.md#who-is-let-in) has examples.",
    ),
    section(
        "apps[].allow.require",
        WhenWritten,
        "What has to match as well: each of `groups`, `users` and `claims` that is written, and of the claims every one.",
    ),
    section(
        "apps[].allow.except",
        WhenWritten,
        "Who is not let in: whoever any of these names, whatever else matches.",
    ),
    section(
        "apps[].rules[]",
        Always,
        "An exception for some paths, methods or client networks. The first matching rule decides, before `allow`. A rule \
         that no request can reach, because an earlier rule matches all of its requests, is an error. [Rules](rules.md) \
         has how paths are compared, and examples.",
    ),
    section(
        "apps[].rules[].allow",
        WhenWritten,
        "Who may pass under this rule, as in `apps[].allow`. Excludes `access`, but for `access = \"bearer\"`: there it is \
         about the holders of valid credentials.",
    ),
    section("apps[].rules[].allow.require", WhenWritten, "As `apps[].allow.require`."),
    section("apps[].rules[].allow.except", WhenWritten, "As `apps[].allow.except`."),
    section(
        "bearer",
        WhenWritten,
        "API clients: the credentials that count under rules with `access = \"bearer\"`, and nowhere else. Absent: there are \
         no such rules.",
    ),
    section(
        "bearer.issuers[]",
        Always,
        "An issuer whose JWTs are verified by the gate itself, with its published keys.",
    ),
    section(
        "limits",
        Always,
        "How often one network (an IPv4 address, or the /64 of an IPv6 address) may do what costs the gate, the store or the \
         provider something; beyond that it gets 429 with `Retry-After`, and 403 through nginx. Clients whose address is \
         unknown share ten times as much. Sessions, and credentials that are known to be good, are never limited: \
         [limits](limits.md).",
    ),
    section("limits.sign_in", Always, "Sign-ins that begin: redirects to the provider."),
    section("limits.callback", Always, "Sign-ins that come back from the provider, each with a code to redeem."),
    section(
        "limits.credentials",
        Always,
        "Bearer tokens, passwords and service tokens that are not known to be good yet, right ones and wrong ones.",
    ),
    section(
        "tokens",
        WhenWritten,
        "Service tokens: for programs that can send one fixed header and leave `Authorization` to the app. `doorward token new` makes \
         one for some apps; see `docs/service-tokens.md`. Absent: the header is not read.",
    ),
    section(
        "emergency",
        WhenWritten,
        "Emergency sign-in: a name and a password from a file, while the session store or the provider is unavailable and nobody \
         else can get in. Absent: there is none. [emergency.md](emergency.md) explains it.",
    ),
    section(
        "adopt",
        WhenWritten,
        "Adoption of the sessions of an old authentik outpost, so that a move signs nobody out: cookies named `authentik_proxy_*` are \
         asked about there, once for each host. Absent: they mean nothing. [adopt.md](adopt.md) has the move, step by step.",
    ),
    section("brand", Always, "Appearance of the gate's own pages."),
    section("log", Always, "The log."),
];

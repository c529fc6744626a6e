//! The keys of `[[apps]]` and their rules, in the order of the reference page.

use super::spec::{
    AppliesOn::Reload,
    DefaultValue::{Absent, Is, Required},
    KeySpec, ValueKind, key,
};

const TEXTS: ValueKind = ValueKind::List(&ValueKind::Text);
const NETWORKS: ValueKind = ValueKind::List(&ValueKind::Network);

/// These keys.
pub(super) const APP_KEYS: &[KeySpec] = &[
    key("apps[].name", ValueKind::Text, Required, Reload, "Name of the app in logs, metrics and pages."),
    key(
        "apps[].hosts",
        TEXTS,
        Required,
        Reload,
        "The app's hosts, without a port. `*.example.com` matches every host below `example.com` at any depth; an \
         exact name takes precedence over a wildcard, a longer wildcard over a shorter one.",
    ),
    key(
        "apps[].provider",
        ValueKind::Text,
        Absent("the first provider"),
        Reload,
        "Name of the provider at which its users sign in.",
    ),
    key(
        "apps[].headers",
        ValueKind::List(&ValueKind::Headers),
        Is("[\"remote\"]"),
        Reload,
        "The identity headers that the app receives: the presets `remote`, `authentik` and `oauth2-proxy`, and \
         tables of custom names such as `{ \"X-Team\" = \"{claims.department}\" }`. Each of them is set on every \
         request, empty where there is no value, provided that the edge copies it. `server.header_budget` bounds them.",
    ),
    key(
        "apps[].pass_access_token",
        ValueKind::Flag,
        Is("false"),
        Reload,
        "Passes the access token to the app, as `X-Auth-Request-Access-Token`. Needs the preset `oauth2-proxy`. It comes \
         last in `server.header_budget`.",
    ),
    key(
        "apps[].pass_id_token",
        ValueKind::Flag,
        Is("false"),
        Reload,
        "Passes the ID token to the app, as `X-authentik-jwt`. Needs the preset `authentik`. It comes last in \
         `server.header_budget`.",
    ),
    key(
        "apps[].lifetime",
        ValueKind::Duration,
        Absent("`session.lifetime`"),
        Reload,
        "Time since the person proved who they are (`auth_time`; without it the sign-in) after which a page of this app has \
         them do so again; not longer than `session.lifetime`. See [step-up](step-up.md#lifetimes-of-an-app).",
    ),
    key(
        "apps[].idle_timeout",
        ValueKind::Duration,
        Absent("`session.idle_timeout`"),
        Reload,
        "Time without a page of this app being opened after which the next one has the person prove again who they are; \
         not longer than `session.idle_timeout`. What scripts fetch does not count.",
    ),
    key("apps[].reauthorize", ValueKind::Duration, Absent("`session.reauthorize`"), Reload, "For this app alone."),
    key(
        "apps[].cross_site",
        ValueKind::Choice(&["allow", "deny"]),
        Is("\"allow\""),
        Reload,
        "Requests that change something (any method but `GET`, `HEAD` and `OPTIONS`) or open a WebSocket, come from another \
         site or from a sibling below the same domain, and would be let in by a session: `deny` refuses them with 403. \
         `docs/cross-site.md` says when to use it.",
    ),
    key(
        "apps[].resource_metadata",
        ValueKind::Flag,
        Is("false"),
        Reload,
        "Publishes protected-resource metadata (RFC 9728) at `/.well-known/oauth-protected-resource`, and names them in \
         challenges, so that MCP clients and other API clients find the issuers of `[bearer]` by themselves. Needs a rule \
         with `access = \"bearer\"`, and a direct route: `docs/mcp.md`.",
    ),
    key("apps[].allow.groups", TEXTS, Absent("nobody by group"), Reload, "Members of one of these groups."),
    key(
        "apps[].allow.users",
        TEXTS,
        Absent("nobody by name"),
        Reload,
        "People by e-mail address, in upper or lower case, or by the provider's subject; `*@example.com` matches \
         every address in that domain. Addresses that the provider calls unverified do not match \
         (`providers[].unverified_email`).",
    ),
    key(
        "apps[].allow.claims",
        ValueKind::Table(&TEXTS),
        Absent("nobody by claim"),
        Reload,
        "Dotted paths of claims and their allowed values, such as `{ department = [\"ops\"] }`. Booleans and numbers \
         are compared as text: `{ mfa = [\"true\"] }`. Of the claims about the token there are `acr`, `amr` and `auth_time`.",
    ),
    key(
        "apps[].allow.acr",
        TEXTS,
        Absent("any sign-in"),
        Reload,
        "Authentication context classes, of which the sign-in has to have one, on top of who somebody is; the preferred one \
         first. A page is sent to the provider with `acr_values` where the session has none of them: [step-up](step-up.md).",
    ),
    key(
        "apps[].allow.max_age",
        ValueKind::Duration,
        Absent("any age"),
        Reload,
        "Maximum time since the person proved who they are (`auth_time`). A page is sent to the provider with `max_age` where \
         that was longer ago or is not known: [step-up](step-up.md).",
    ),
    key(
        "apps[].allow.require.groups",
        TEXTS,
        Absent("no group is required"),
        Reload,
        "One of these groups is required, whatever else lets in.",
    ),
    key(
        "apps[].allow.require.users",
        TEXTS,
        Absent("no name is required"),
        Reload,
        "One of these names is required, as in `apps[].allow.users`: `*@example.com` requires a verified address there.",
    ),
    key(
        "apps[].allow.require.claims",
        ValueKind::Table(&TEXTS),
        Absent("no claim is required"),
        Reload,
        "Each of these claims is required, with one of its values.",
    ),
    key(
        "apps[].allow.except.groups",
        TEXTS,
        Absent("nobody by group"),
        Reload,
        "Members of these groups are not let in; nor is anybody whose groups the provider has not told completely, since \
         one of these may be missing.",
    ),
    key(
        "apps[].allow.except.users",
        TEXTS,
        Absent("nobody by name"),
        Reload,
        "These people are not let in, as in `apps[].allow.users`. Here an address counts even if it is unverified; with \
         `unverified_email = \"drop\"` there is none to compare, so name subjects.",
    ),
    key(
        "apps[].allow.except.claims",
        ValueKind::Table(&TEXTS),
        Absent("nobody by claim"),
        Reload,
        "Whoever has one of these values in one of these claims is not let in.",
    ),
    key(
        "apps[].rules[].path",
        ValueKind::Path,
        Absent("any path"),
        Reload,
        "The path that the rule matches: exactly this one, everything below with `{ prefix = \"/public/\" }`, or what an \
         expression matches from end to end with `{ regex = \"/users/[0-9]+/avatar\" }`. A path and a prefix are written as \
         on the wire, percent-encoded where a browser would; an expression is about the decoded path. Never the query.",
    ),
    key(
        "apps[].rules[].preset",
        ValueKind::Choice(&["pwa-assets"]),
        Absent("`path` decides"),
        Reload,
        "In place of `path`, `methods` and `access`: files that are fetched without cookies. `pwa-assets` opens the icons and \
         manifests of apps that can be installed, such as `/favicon.ico`, `/manifest.webmanifest` and \
         `/apple-touch-icon.png`, to `GET` and `HEAD`, with empty identity headers: [the list](rules.md#presets).",
    ),
    key(
        "apps[].rules[].methods",
        TEXTS,
        Absent("any method"),
        Reload,
        "The methods that the rule matches. Where the edge does not send the method it may be any: a rule that opens \
         (`public`, `optional`) does not apply then, every other does. Except for those that open, `GET` includes `HEAD`.",
    ),
    key(
        "apps[].rules[].networks",
        NETWORKS,
        Absent("any client"),
        Reload,
        "The client networks that the rule matches. Where the client's address is unknown it may be any: a rule that \
         opens (`public`, `optional`) does not apply then, every other does.",
    ),
    key(
        "apps[].rules[].access",
        ValueKind::Choice(&["public", "optional", "authenticated", "bearer", "deny"]),
        Absent("`allow` or `preset` decides"),
        Reload,
        "`public`: everybody, with empty identity headers. `optional`: everybody, with identity headers for those \
         who are signed in. `authenticated`: everybody who is signed in. `bearer`: API clients with a valid credential \
         (`[bearer]`), and no session; `allow` beside it says which. `deny`: nobody. Except for `bearer` it excludes \
         `allow`; one of the two is required.",
    ),
    key(
        "apps[].rules[].cross_site",
        ValueKind::Choice(&["allow", "deny"]),
        Absent("`apps[].cross_site`"),
        Reload,
        "For requests that this rule decides about. `allow` counts only where the rule matches beyond doubt: exactly this \
         path, by a method and a client that are known.",
    ),
    key("apps[].rules[].allow.groups", TEXTS, Absent("nobody by group"), Reload, "As in `apps[].allow.groups`."),
    key("apps[].rules[].allow.users", TEXTS, Absent("nobody by name"), Reload, "As in `apps[].allow.users`."),
    key(
        "apps[].rules[].allow.claims",
        ValueKind::Table(&TEXTS),
        Absent("nobody by claim"),
        Reload,
        "As in `apps[].allow.claims`.",
    ),
    key("apps[].rules[].allow.acr", TEXTS, Absent("any way of signing in"), Reload, "As `apps[].allow.acr`."),
    key(
        "apps[].rules[].allow.max_age",
        ValueKind::Duration,
        Absent("however long ago"),
        Reload,
        "As `apps[].allow.max_age`.",
    ),
    key(
        "apps[].rules[].allow.require.groups",
        TEXTS,
        Absent("no group is required"),
        Reload,
        "As `apps[].allow.require.groups`.",
    ),
    key(
        "apps[].rules[].allow.require.users",
        TEXTS,
        Absent("no name is required"),
        Reload,
        "As `apps[].allow.require.users`.",
    ),
    key(
        "apps[].rules[].allow.require.claims",
        ValueKind::Table(&TEXTS),
        Absent("no claim is required"),
        Reload,
        "As `apps[].allow.require.claims`.",
    ),
    key(
        "apps[].rules[].allow.except.groups",
        TEXTS,
        Absent("nobody by group"),
        Reload,
        "As `apps[].allow.except.groups`.",
    ),
    key(
        "apps[].rules[].allow.except.users",
        TEXTS,
        Absent("nobody by name"),
        Reload,
        "As `apps[].allow.except.users`.",
    ),
    key(
        "apps[].rules[].allow.except.claims",
        ValueKind::Table(&TEXTS),
        Absent("nobody by claim"),
        Reload,
        "As `apps[].allow.except.claims`.",
    ),
];

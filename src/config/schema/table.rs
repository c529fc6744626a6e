//! The keys themselves, in the order of the reference page.

use super::spec::{
    AppliesOn::{self, Reload, Restart},
    DefaultValue::{self, Absent, Is, Required},
    KeySpec, ValueKind,
};

const fn key(
    path: &'static str,
    kind: ValueKind,
    default: DefaultValue,
    applies_on: AppliesOn,
    doc: &'static str,
) -> KeySpec {
    KeySpec { path, kind, default, applies_on, doc }
}

const TEXTS: ValueKind = ValueKind::List(&ValueKind::Text);
const NETWORKS: ValueKind = ValueKind::List(&ValueKind::Network);

/// All keys.
pub(in super::super) const KEYS: &[KeySpec] = &[
    key(
        "server.listen",
        ValueKind::Address,
        Is("\"0.0.0.0:9000\""),
        Restart,
        "The address for the edges' subrequests and for the gate's own pages.",
    ),
    key(
        "server.management",
        ValueKind::Address,
        Is("\"127.0.0.1:9300\""),
        Restart,
        "The address of `/metrics`, `/-/health/live` and `/-/health/ready`. Not for the public.",
    ),
    key(
        "server.prefix",
        ValueKind::Text,
        Is("\"/_doorward\""),
        Reload,
        "The path prefix of the gate's own pages on every protected host. Begins with a slash and ends without one. \
         The redirect URI to register at the provider for a host is its address, this prefix and `/callback`.",
    ),
    key(
        "server.scheme",
        ValueKind::Choice(&["https", "http"]),
        Is("\"https\""),
        Reload,
        "The scheme that browsers use outside; never taken from a header. `http` is for laboratories: cookies are \
         then not `Secure`.",
    ),
    key(
        "server.trusted_proxies",
        NETWORKS,
        Is("[\"127.0.0.0/8\", \"::1/128\"]"),
        Reload,
        "The networks of the edges. Requests from other addresses are refused with 403. Has to be written if \
         `server.listen` is not on loopback.",
    ),
    key(
        "server.service_hosts",
        TEXTS,
        Is("[]"),
        Reload,
        "Names under which edges reach the gate itself, such as a Kubernetes Service, with any port. nginx and Caddy \
         send the host that they routed by as `Host`, and it has to lead to the same app as the original request. An \
         edge that cannot send it (ingress-nginx, HAProxy) sends one of these names instead. Then the gate cannot \
         detect a request in absolute form (`GET http://other.example.com/`) that was routed to another app than the \
         one it is checked for, and the edge has to refuse such requests itself.",
    ),
    key(
        "server.shutdown_grace",
        ValueKind::Duration,
        Is("\"20s\""),
        Restart,
        "Time for connections to finish after a signal to stop.",
    ),
    key("server.tls.cert", ValueKind::File, Required, Restart, "The certificate chain, PEM."),
    key("server.tls.key", ValueKind::File, Required, Restart, "The certificate's key, PEM."),
    key(
        "server.tls.client_ca",
        ValueKind::File,
        Absent("any client may connect"),
        Restart,
        "Certificates of authorities, PEM. Only clients with a certificate issued by one of them may connect.",
    ),
    key(
        "session.secrets",
        ValueKind::List(&ValueKind::Secret),
        Required,
        Reload,
        "The secrets that sessions and cookies are sealed with, at least 32 characters each. The first one seals, \
         the others only open. `docs/rotation.md` describes how to rotate them; `doorward check` says when an old \
         one can be removed. `doorward secret` prints a new one.",
    ),
    key(
        "session.cookie_name",
        ValueKind::Text,
        Is("\"doorward\""),
        Reload,
        "The name of the session cookie: up to 32 letters, digits, `-` and `_`. Over https it gets the prefix \
         `__Host-` or `__Secure-`.",
    ),
    key(
        "session.cookie_domain",
        ValueKind::Text,
        Absent("one cookie for each host"),
        Reload,
        "The domain whose hosts share one cookie: signing in on one of them is enough for all. Every app's host has \
         to be in it. Browsers refuse such cookies for public suffixes (`co.uk`, `duckdns.org`), so those are errors.",
    ),
    key("session.lifetime", ValueKind::Duration, Is("\"28d\""), Reload, "Maximum lifetime of a session, from sign-in."),
    key(
        "session.idle_timeout",
        ValueKind::Duration,
        Is("\"7d\""),
        Reload,
        "Lifetime of a session without a request. No effect if longer than `session.lifetime`.",
    ),
    key(
        "session.renew_before",
        ValueKind::Duration,
        Is("\"60s\""),
        Reload,
        "Time before the expiry of its access token at which a session in use is renewed.",
    ),
    key(
        "session.outage_grace",
        ValueKind::Duration,
        Is("\"1h\""),
        Reload,
        "How long known sessions are honoured while the provider or the store is unavailable.",
    ),
    key(
        "session.reauthorize",
        ValueKind::Duration,
        Absent("never"),
        Reload,
        "Time after which a page goes past the provider again, without a prompt: [providers](providers.md#reauthorize).",
    ),
    key(
        "session.hide_cookies",
        ValueKind::Flag,
        Is("false"),
        Reload,
        "Hides the gate's own cookies from apps. Every answer that allows a request then has a `Cookie` header with \
         the client's cookies except these. It is limited to 32 KiB; a longer one is answered with 431. `deploy/` \
         has the line with which the edge replaces the client's header. Recommended with `session.cookie_domain`, \
         where a session is valid at every app.",
    ),
    key(
        "session.legacy_cookies",
        TEXTS,
        Is("[]"),
        Reload,
        "Names of other gates' cookies that `/reset` clears too; `*` matches any characters.",
    ),
    key(
        "store.url",
        ValueKind::Url,
        Is("\"sqlite:doorward.db\""),
        Restart,
        "`postgres://user@host/database`, shared by any number of replicas; or `sqlite:` and the path of a file; or \
         `memory:`, where sessions end with the process. A relative path begins in the working directory. A \
         PostgreSQL URL may name several hosts, of which the writable one is used, and accepts `sslmode` and \
         `sslrootcert` as libpq does.",
    ),
    key(
        "store.password",
        ValueKind::Secret,
        Absent("the one in `store.url`"),
        Restart,
        "The password for PostgreSQL. A file is read again for every connection, so a rotated password needs no \
         restart.",
    ),
    key(
        "store.pool_size",
        ValueKind::Number,
        Is("8"),
        Restart,
        "Maximum number of connections to PostgreSQL. One of them listens for session invalidations of other \
         replicas; with 1 there is none to listen.",
    ),
    key(
        "store.listen_url",
        ValueKind::Url,
        Absent("`store.url`"),
        Restart,
        "A URL of the same database that bypasses a pooler in transaction mode, which does not forward \
         notifications. Without it, behind such a pooler, sessions in use are revalidated every few seconds.",
    ),
    key(
        "providers[].name",
        ValueKind::Text,
        Required,
        Reload,
        "Name of the provider in `apps[].provider`, logs, metrics and sessions. Its sessions become invalid when the \
         name changes or the provider is removed.",
    ),
    key(
        "providers[].issuer",
        ValueKind::Text,
        Required,
        Reload,
        "Issuer identifier, exactly as the provider states it; at Entra ID with the tenant's ID. `https`, except for a provider on this machine or if \
         `server.scheme` is `http`.",
    ),
    key("providers[].client_id", ValueKind::Text, Required, Reload, "The gate's client ID at the provider."),
    key(
        "providers[].client_secret",
        ValueKind::Secret,
        Absent("a public client, protected by PKCE alone"),
        Reload,
        "The gate's client secret at the provider.",
    ),
    key(
        "providers[].scopes",
        TEXTS,
        Is("[\"openid\", \"profile\", \"email\", \"offline_access\"]"),
        Reload,
        "The requested scopes; `openid` is required. Most providers issue a refresh token only with \
         `offline_access`. The default leaves it out at a Keycloak realm (an issuer with the path `/realms/NAME`), where \
         it ends the single sign-on and logout by the provider, and at Google, which refuses it.",
    ),
    key(
        "providers[].groups_claim",
        ValueKind::ClaimPath,
        Is("\"groups\""),
        Reload,
        "The dotted path of the groups in the ID token or the userinfo response, such as `realm_access.roles`; or its \
         names as a list, where a dot could be read in two ways. Lists, JSON in a text, `[a, b]`, objects with a `name` \
         and the keys of an object are read.",
    ),
    key(
        "providers[].groups_separator",
        ValueKind::Text,
        Absent("a text is one group"),
        Reload,
        "What stands between the groups where the provider sends them as one text, such as `,`.",
    ),
    key(
        "providers[].unverified_email",
        ValueKind::Choice(&["pass", "drop", "trust"]),
        Is("\"pass\""),
        Reload,
        "Treatment of an e-mail address whose `email_verified` is present and not true. `pass`: apps receive it, but \
         it matches nobody in `allow`. `drop`: ignored, as if absent. `trust`: treated as verified, for a provider \
         where nobody can choose their own address. Applies from the next sign-in or renewal of a session.",
    ),
    key(
        "providers[].ca_file",
        ValueKind::File,
        Absent("the system's certificates alone"),
        Reload,
        "Certificates, PEM, that are trusted for this provider in addition to the system's.",
    ),
    key("providers[].timeout", ValueKind::Duration, Is("\"10s\""), Reload, "Timeout of a request to the provider."),
    key(
        "providers[].extra_authorize_params",
        ValueKind::Table(&ValueKind::Text),
        Is("{}"),
        Reload,
        "Additional parameters of the authorization request, such as `{ prompt = \"select_account\" }`.",
    ),
    key(
        "providers[].end_session",
        ValueKind::Flag,
        Is("true"),
        Reload,
        "Signing out of the gate also signs out at the provider.",
    ),
    key("providers[].renewals_keep_sid", ValueKind::Flag, Absent("learned"), Reload, "Whether renewals keep `sid`."),
    key(
        "access.default",
        ValueKind::Choice(&["deny", "authenticated"]),
        Is("\"deny\""),
        Reload,
        "Access to a host that no app names: refused with 403, or allowed for everybody who is signed in at the \
         first provider.",
    ),
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
         request, empty where there is no value, provided that the edge copies it.",
    ),
    key(
        "apps[].pass_access_token",
        ValueKind::Flag,
        Is("false"),
        Reload,
        "Passes the access token to the app, as `X-Auth-Request-Access-Token`. Needs the preset `oauth2-proxy`.",
    ),
    key(
        "apps[].pass_id_token",
        ValueKind::Flag,
        Is("false"),
        Reload,
        "Passes the ID token to the app, as `X-authentik-jwt`. Needs the preset `authentik`.",
    ),
    key("apps[].reauthorize", ValueKind::Duration, Absent("`session.reauthorize`"), Reload, "For this app alone."),
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
        "apps[].rules[].path",
        ValueKind::Path,
        Absent("any path"),
        Reload,
        "The path that the rule matches: exactly this one, or everything below with `{ prefix = \"/public/\" }`. As \
         on the wire, percent-encoded where a browser would.",
    ),
    key(
        "apps[].rules[].methods",
        TEXTS,
        Absent("any method"),
        Reload,
        "The methods that the rule matches. A request whose method the edge does not send matches no rule with \
         methods.",
    ),
    key(
        "apps[].rules[].networks",
        NETWORKS,
        Absent("any client"),
        Reload,
        "The client networks that the rule matches. A request whose client address the edge does not send matches no \
         rule with networks.",
    ),
    key(
        "apps[].rules[].access",
        ValueKind::Choice(&["public", "optional", "authenticated", "deny"]),
        Absent("`allow` decides"),
        Reload,
        "`public`: everybody, with empty identity headers. `optional`: everybody, with identity headers for those \
         who are signed in. `authenticated`: everybody who is signed in. `deny`: nobody. Excludes `allow`; one of \
         the two is required.",
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
    key("brand.title", ValueKind::Text, Absent("`Doorward`"), Reload, "The name in titles and headings."),
    key(
        "brand.logo",
        ValueKind::File,
        Absent("no image"),
        Reload,
        "An image above the heading: PNG, JPEG or SVG, at most 64 KiB.",
    ),
    key("brand.accent", ValueKind::Text, Absent("the built-in colour"), Reload, "The accent colour, as `#rrggbb`."),
    key(
        "log.level",
        ValueKind::Choice(&["error", "warn", "info", "debug", "trace"]),
        Is("\"info\""),
        Reload,
        "The lowest severity that is logged. At `info` nothing is logged for an allowed request. Lines of libraries \
         are logged from `warn` on, whatever the level here.",
    ),
    key(
        "log.format",
        ValueKind::Choice(&["json", "text"]),
        Is("\"json\""),
        Restart,
        "One JSON object per line, or human-readable text.",
    ),
];

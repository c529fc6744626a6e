//! The keys themselves, in the order of the reference page.

use super::{
    Change::{self, Reload, Restart},
    Default::{self, Absent, Is, Required},
    Key, Kind,
};

const fn key(path: &'static str, kind: Kind, default: Default, change: Change, doc: &'static str) -> Key {
    Key { path, kind, default, change, doc }
}

const TEXTS: Kind = Kind::List(&Kind::Text);
const NETWORKS: Kind = Kind::List(&Kind::Network);

/// The keys.
pub(in super::super) const KEYS: &[Key] = &[
    key(
        "server.listen",
        Kind::Address,
        Is("\"0.0.0.0:9000\""),
        Restart,
        "Where edges ask, and where the gate's own pages are.",
    ),
    key(
        "server.management",
        Kind::Address,
        Is("\"127.0.0.1:9300\""),
        Restart,
        "Where `/metrics`, `/-/health/live` and `/-/health/ready` are. Not for the public.",
    ),
    key(
        "server.prefix",
        Kind::Text,
        Is("\"/_doorward\""),
        Reload,
        "Where the gate's own pages live on every protected host. Begins with a slash and ends without one. The \
         provider's redirect URI of each host is its address, this prefix and `/callback`.",
    ),
    key(
        "server.scheme",
        Kind::Choice(&["https", "http"]),
        Is("\"https\""),
        Reload,
        "What browsers outside use; never taken from a header. `http` is for a laboratory: cookies are then not `Secure`.",
    ),
    key(
        "server.trusted_proxies",
        NETWORKS,
        Is("[\"127.0.0.0/8\", \"::1/128\"]"),
        Reload,
        "The networks of the edges. Anybody else is refused with 403. Has to be written where `server.listen` is not on \
         loopback.",
    ),
    key(
        "server.service_hosts",
        TEXTS,
        Is("[]"),
        Reload,
        "Names under which edges reach the gate itself, such as a Kubernetes Service, with any port. nginx and Caddy send the \
         host that they routed by as `Host`, and it has to lead to the same app as the request that they ask about. An edge that \
         cannot send it (ingress-nginx, HAProxy) sends one of these names in its place; then nothing tells that a request in \
         absolute form (`GET http://other.example.com/`) was routed to another app than the one that is judged, and the edge has \
         to refuse such requests itself.",
    ),
    key(
        "server.shutdown_grace",
        Kind::Duration,
        Is("\"20s\""),
        Restart,
        "How long connections may take to finish after the wish to stop.",
    ),
    key("server.tls.cert", Kind::File, Required, Restart, "The certificate chain, PEM."),
    key("server.tls.key", Kind::File, Required, Restart, "The certificate's key, PEM."),
    key(
        "server.tls.client_ca",
        Kind::File,
        Absent("any client may connect"),
        Restart,
        "Certificates, PEM: only clients with a certificate of one of these authorities are heard.",
    ),
    key(
        "session.secrets",
        Kind::List(&Kind::Secret),
        Required,
        Reload,
        "What sessions and cookies are sealed with, at least 32 characters each. The first seals, the others only open: \
         `docs/rotation.md` says how to rotate them, and `doorward check` when the old one can be removed. \
         `doorward secret` prints one.",
    ),
    key(
        "session.cookie_name",
        Kind::Text,
        Is("\"doorward\""),
        Reload,
        "The session cookie's name: up to 32 letters, digits, `-` and `_`. Over https `__Host-` or `__Secure-` is put in \
         front of it.",
    ),
    key(
        "session.cookie_domain",
        Kind::Text,
        Absent("one cookie for each host"),
        Reload,
        "The domain that shares one cookie: signing in on one of its hosts is enough for all. Every app's host has to be \
         in it.",
    ),
    key("session.lifetime", Kind::Duration, Is("\"28d\""), Reload, "How long a session lasts at most, from sign-in."),
    key(
        "session.idle_timeout",
        Kind::Duration,
        Is("\"7d\""),
        Reload,
        "How long a session lasts without a request. Longer than `session.lifetime` it never comes to bear.",
    ),
    key(
        "session.renew_before",
        Kind::Duration,
        Is("\"60s\""),
        Reload,
        "How long before its access token ends a session in use is renewed.",
    ),
    key(
        "session.outage_grace",
        Kind::Duration,
        Is("\"1h\""),
        Reload,
        "How long a known session is honoured while the provider or the store is away.",
    ),
    key(
        "session.hide_cookies",
        Kind::Flag,
        Is("false"),
        Reload,
        "Whether apps are kept from seeing the gate's own cookies. Every answer that lets in then carries `Cookie` with all \
         that the client sent but them, up to 32 KiB, beyond which it is 431; `deploy/` has the line that makes the edge put it \
         in place of the client's. Of use above all with `session.cookie_domain`, where a session counts at every app.",
    ),
    key(
        "session.legacy_cookies",
        TEXTS,
        Is("[]"),
        Reload,
        "Names of other gates' cookies that `/reset` clears too; `*` stands for anything.",
    ),
    key(
        "store.url",
        Kind::Url,
        Is("\"sqlite:doorward.db\""),
        Restart,
        "`postgres://user@host/database`, which any number of replicas shares; or `sqlite:` and the path of a file; or \
         `memory:`, where sessions end with the process. A relative path begins in the working directory. A PostgreSQL \
         URL may name several hosts, of which the one that takes writes is used, and takes `sslmode` and `sslrootcert` \
         as libpq does.",
    ),
    key(
        "store.password",
        Kind::Secret,
        Absent("the one in `store.url`"),
        Restart,
        "The password for PostgreSQL. A file is read again for every connection, so that a rotated password needs no \
         restart.",
    ),
    key(
        "store.pool_size",
        Kind::Number,
        Is("8"),
        Restart,
        "The most connections to PostgreSQL, one of which listens for sessions that end elsewhere. With 1 none does.",
    ),
    key(
        "store.listen_url",
        Kind::Url,
        Absent("`store.url`"),
        Restart,
        "A way to the same database past a pooler in transaction mode, which lets no notification through. Without it, \
         behind such a pooler, sessions in use are read again every few seconds.",
    ),
    key(
        "providers[].name",
        Kind::Text,
        Required,
        Reload,
        "Its name in `apps[].provider`, logs, metrics and sessions. Sessions of a provider count for nobody when its name \
         changes or it is removed.",
    ),
    key(
        "providers[].issuer",
        Kind::Text,
        Required,
        Reload,
        "Its issuer identifier, exactly as the provider states it. `https`, but for a provider on this machine or where \
         `server.scheme` is `http`.",
    ),
    key("providers[].client_id", Kind::Text, Required, Reload, "The gate's name at the provider."),
    key(
        "providers[].client_secret",
        Kind::Secret,
        Absent("a public client, protected by PKCE alone"),
        Reload,
        "The gate's password at the provider.",
    ),
    key(
        "providers[].scopes",
        TEXTS,
        Is("[\"openid\", \"profile\", \"email\", \"offline_access\"]"),
        Reload,
        "What is asked for; has to hold `openid`. Most providers grant silent renewal only with `offline_access`.",
    ),
    key(
        "providers[].groups_claim",
        Kind::Text,
        Is("\"groups\""),
        Reload,
        "The dotted path of the groups in the ID token or the userinfo answer, such as `realm_access.roles`.",
    ),
    key(
        "providers[].unverified_email",
        Kind::Choice(&["pass", "drop", "trust"]),
        Is("\"pass\""),
        Reload,
        "What an e-mail address counts whose `email_verified` is there and not true. `pass`: apps are told it, and it matches \
         nobody in `allow`. `drop`: as if there were none. `trust`: as if it were verified, for a provider where nobody \
         chooses their own address. Counts from the next sign-in or renewal of a session on.",
    ),
    key(
        "providers[].ca_file",
        Kind::File,
        Absent("the system's certificates alone"),
        Reload,
        "Certificates, PEM, to trust at this provider in addition to the system's.",
    ),
    key("providers[].timeout", Kind::Duration, Is("\"10s\""), Reload, "How long one request to the provider may take."),
    key(
        "providers[].extra_authorize_params",
        Kind::Table(&Kind::Text),
        Is("{}"),
        Reload,
        "Further parameters of the authorization request, such as `{ prompt = \"select_account\" }`.",
    ),
    key(
        "providers[].end_session",
        Kind::Flag,
        Is("true"),
        Reload,
        "Whether signing out here signs out at the provider as well.",
    ),
    key(
        "access.default",
        Kind::Choice(&["deny", "authenticated"]),
        Is("\"deny\""),
        Reload,
        "What happens on a host that no app names: 403 for everybody, or whoever is signed in at the first provider.",
    ),
    key("apps[].name", Kind::Text, Required, Reload, "Its name in logs, metrics and pages."),
    key(
        "apps[].hosts",
        TEXTS,
        Required,
        Reload,
        "The hosts that it answers on, without a port. `*.example.com` is every host below `example.com`, however deep; \
         an exact name wins over a wildcard, a longer wildcard over a shorter one.",
    ),
    key(
        "apps[].provider",
        Kind::Text,
        Absent("the first provider"),
        Reload,
        "The name of the provider that its visitors sign in at.",
    ),
    key(
        "apps[].headers",
        Kind::List(&Kind::Headers),
        Is("[\"remote\"]"),
        Reload,
        "The identity headers that it receives: the presets `remote`, `authentik` and `oauth2-proxy`, and tables of own \
         names such as `{ \"X-Team\" = \"{claims.department}\" }`. Every one is set on every request, empty where there \
         is no value, provided the edge copies it.",
    ),
    key(
        "apps[].pass_access_token",
        Kind::Flag,
        Is("false"),
        Reload,
        "Whether the app receives the access token, as `X-Auth-Request-Access-Token`. Needs the preset `oauth2-proxy`.",
    ),
    key(
        "apps[].pass_id_token",
        Kind::Flag,
        Is("false"),
        Reload,
        "Whether the app receives the ID token, as `X-authentik-jwt`. Needs the preset `authentik`.",
    ),
    key("apps[].allow.groups", TEXTS, Absent("nobody by group"), Reload, "Members of one of these groups."),
    key(
        "apps[].allow.users",
        TEXTS,
        Absent("nobody by name"),
        Reload,
        "People by e-mail address, in upper or lower case, or by the provider's subject; `*@example.com` is everybody with \
         an address there. Only addresses count that the provider does not call unverified (`providers[].unverified_email`).",
    ),
    key(
        "apps[].allow.claims",
        Kind::Table(&TEXTS),
        Absent("nobody by claim"),
        Reload,
        "Dotted paths of claims and the values that let in, such as `{ department = [\"ops\"] }`. Booleans and numbers \
         compare by their text: `{ mfa = [\"true\"] }`.",
    ),
    key(
        "apps[].rules[].path",
        Kind::Path,
        Absent("any path"),
        Reload,
        "The path that the rule is about: exactly this one, or with `{ prefix = \"/public/\" }` everything below. As it \
         stands on the wire, percent-encoded where a browser would.",
    ),
    key(
        "apps[].rules[].methods",
        TEXTS,
        Absent("any method"),
        Reload,
        "The methods that the rule is about. A request whose edge does not tell its method matches no rule with methods.",
    ),
    key(
        "apps[].rules[].networks",
        NETWORKS,
        Absent("any client"),
        Reload,
        "The client networks that the rule is about. A request whose edge does not tell its client matches no rule with \
         networks.",
    ),
    key(
        "apps[].rules[].access",
        Kind::Choice(&["public", "optional", "authenticated", "deny"]),
        Absent("`allow` decides"),
        Reload,
        "`public`: everybody, with empty identity headers. `optional`: everybody, with identity headers where somebody is \
         signed in. `authenticated`: whoever is signed in. `deny`: nobody. Excludes `allow`; one of the two is needed.",
    ),
    key("apps[].rules[].allow.groups", TEXTS, Absent("nobody by group"), Reload, "As in `apps[].allow.groups`."),
    key("apps[].rules[].allow.users", TEXTS, Absent("nobody by name"), Reload, "As in `apps[].allow.users`."),
    key(
        "apps[].rules[].allow.claims",
        Kind::Table(&TEXTS),
        Absent("nobody by claim"),
        Reload,
        "As in `apps[].allow.claims`.",
    ),
    key("brand.title", Kind::Text, Absent("`Doorward`"), Reload, "The name in titles and headings."),
    key(
        "brand.logo",
        Kind::File,
        Absent("no image"),
        Reload,
        "An image above the heading: PNG, JPEG or SVG, at most 64 KiB.",
    ),
    key("brand.accent", Kind::Text, Absent("the built-in colour"), Reload, "The accent colour, as `#rrggbb`."),
    key(
        "log.level",
        Kind::Choice(&["error", "warn", "info", "debug", "trace"]),
        Is("\"info\""),
        Reload,
        "The least important lines that are written. At `info` nothing is written for a request that is let in. Lines of \
         the libraries that the gate is made of are written from `warn` on, whatever stands here.",
    ),
    key(
        "log.format",
        Kind::Choice(&["json", "text"]),
        Is("\"json\""),
        Restart,
        "One JSON object a line, or text for people.",
    ),
];

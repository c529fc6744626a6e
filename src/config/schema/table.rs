//! The keys themselves, in the order of the reference page.

use super::spec::{
    AppliesOn::{Reload, Restart},
    DefaultValue::{Absent, Is, Required},
    KeySpec, ValueKind, key,
};

const TEXTS: ValueKind = ValueKind::List(&ValueKind::Text);
const NETWORKS: ValueKind = ValueKind::List(&ValueKind::Network);

/// The keys, but for those in files of their own.
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
        "server.compat",
        ValueKind::List(&ValueKind::Choice(&["authentik", "oauth2-proxy"])),
        Is("[]"),
        Reload,
        "The gates whose paths answer too, so that edges and providers that are set up for them need no change: `authentik` is an \
         authentik proxy outpost, `oauth2-proxy` is that gate ([what that means](compat.md)). The redirect URI is then that of the first \
         in the list at each host, as it is registered already: `/outpost.goauthentik.io/callback?X-authentik-auth-callback=true` or \
         `/oauth2/callback`.",
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
        "server.header_budget",
        ValueKind::Size,
        Is("\"4KiB\""),
        Reload,
        "Maximum size of an admission's header, `2KiB` to `32KiB`. nginx reads 4 KiB unless `proxy_buffer_size` is set; \
         Traefik, Caddy and Envoy take 32 KiB. Names and addresses come first, then groups that the app's rules name, other \
         groups, and tokens. What does not fit is counted, and logged once for each session: lists lack members, other \
         values are empty. The `Cookie` header of `session.hide_cookies` comes on top.",
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
        ValueKind::Domains,
        Absent("one cookie for each host"),
        Reload,
        "The domain whose hosts share one cookie: signing in on one of them is enough for all. Every app's host has \
         to be in it. Or a list of domains: each host belongs to the longest that it is in, and a host in none has a \
         cookie of its own. Every provider but the first has a cookie of its own name under a domain, \
         `doorward_NAME`. Browsers refuse such cookies for public suffixes (`co.uk`, `duckdns.org`), so those are \
         errors. [Domains](domains.md) has examples.",
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
        "access.default",
        ValueKind::Choice(&["deny", "authenticated"]),
        Is("\"deny\""),
        Reload,
        "Access to a host that no app names: refused with 403, or allowed for everybody who is signed in at the \
         first provider.",
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

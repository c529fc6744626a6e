//! Reloads: every key applies on the event that the schema, and with it the reference page, says.

use std::{fs, path::Path};

use secrecy::ExposeSecret as _;

use super::{
    super::schema::{AppliesOn, KEYS},
    *,
};

/// A configuration in which every key can change.
const BASE: &str = r#"
[server]
trusted_proxies = ["10.0.0.0/8"]
[session]
secrets = ["0123456789abcdef0123456789abcdef"]
[[providers]]
name = "home"
issuer = "https://auth.example.com/o/x/"
client_id = "doorward"
[[providers]]
name = "work"
issuer = "https://work.example.com/"
client_id = "doorward"
[[apps]]
name = "grafana"
hosts = ["grafana.example.com"]
[[apps.rules]]
path = "/a"
access = "public"
"#;

type Variables = &'static [(&'static str, &'static str)];

/// For each key: the variables that a change of it needs, and the new value. `DIR` is a folder with files.
const CHANGES: &[(&str, Variables, &str)] = &[
    ("server.listen", &[], "127.0.0.1:9001"),
    ("server.management", &[], "127.0.0.1:9301"),
    ("server.prefix", &[], "/gate"),
    ("server.scheme", &[], "http"),
    ("server.trusted_proxies", &[], "['10.9.0.0/16']"),
    ("server.compat", &[], "['authentik']"),
    ("server.service_hosts", &[], "['doorward.auth.svc']"),
    ("server.shutdown_grace", &[], "7s"),
    ("server.tls.cert", TLS, "DIR/cert-2.pem"),
    ("server.tls.key", TLS, "DIR/key-2.pem"),
    ("server.tls.client_ca", TLS, "DIR/cert-2.pem"),
    ("session.secrets", &[], "['fedcba9876543210fedcba9876543210']"),
    ("session.cookie_name", &[], "other"),
    ("session.cookie_domain", &[], "example.com"),
    ("session.lifetime", &[], "1h"),
    ("session.idle_timeout", &[], "1h"),
    ("session.renew_before", &[], "1h"),
    ("session.outage_grace", &[], "2h"),
    ("session.reauthorize", &[], "1h"),
    ("session.hide_cookies", &[], "true"),
    ("session.legacy_cookies", &[], "['other_*']"),
    ("store.url", &[], "memory:"),
    ("store.password", POSTGRES, "another"),
    ("store.pool_size", POSTGRES, "3"),
    ("store.listen_url", POSTGRES, "postgres://ann@direct/x"),
    ("providers[].name", &[], "other"),
    ("providers[].issuer", &[], "https://other.example.com/"),
    ("providers[].client_id", &[], "other"),
    ("providers[].client_secret", &[], "another"),
    ("providers[].client_auth", &[("DOORWARD_PROVIDERS__0__CLIENT_SECRET", "a secret")], "post"),
    ("providers[].internal_url", &[], "http://inside:9000"),
    ("providers[].proxy", &[], "http://user:password@proxy:3128"),
    ("providers[].scopes", &[], "['openid']"),
    ("providers[].groups_claim", &[], "roles"),
    ("providers[].groups_separator", &[], ","),
    ("providers[].unverified_email", &[], "drop"),
    ("providers[].ca_file", &[], "DIR/cert.pem"),
    ("providers[].timeout", &[], "3s"),
    ("providers[].extra_authorize_params", &[], "{ prompt = 'login' }"),
    ("providers[].end_session", &[], "false"),
    ("providers[].renewals_keep_sid", &[], "true"),
    ("access.default", &[], "authenticated"),
    ("apps[].name", &[], "other"),
    ("apps[].hosts", &[], "['b.example.com']"),
    ("apps[].provider", &[], "work"),
    ("apps[].headers", &[], "['authentik']"),
    ("apps[].pass_access_token", &[("DOORWARD_APPS__0__HEADERS", "['oauth2-proxy']")], "true"),
    ("apps[].pass_id_token", &[("DOORWARD_APPS__0__HEADERS", "['authentik']")], "true"),
    ("apps[].lifetime", &[], "1h"),
    ("apps[].idle_timeout", &[], "1h"),
    ("apps[].reauthorize", &[], "1h"),
    ("apps[].delegate", DELEGATED, "http://other:9000/outpost.goauthentik.io/auth/traefik"),
    ("apps[].delegate_cache", DELEGATED, "5s"),
    ("apps[].additional_headers", &[], "['X-Team']"),
    ("apps[].basic_auth.user_attribute", BASIC, "other"),
    ("apps[].basic_auth.password_attribute", BASIC, "other"),
    ("apps[].cross_site", &[], "deny"),
    ("apps[].resource_metadata", BEARER, "true"),
    ("apps[].allow.groups", PEOPLE, "['others']"),
    ("apps[].allow.users", PEOPLE, "['other@example.com']"),
    ("apps[].allow.claims", PEOPLE, "{ team = ['other'] }"),
    ("apps[].allow.acr", PEOPLE, "['other']"),
    ("apps[].allow.max_age", PEOPLE, "2h"),
    ("apps[].allow.require.groups", PEOPLE, "['others']"),
    ("apps[].allow.require.users", PEOPLE, "['other@example.com']"),
    ("apps[].allow.require.claims", PEOPLE, "{ team = ['other'] }"),
    ("apps[].allow.except.groups", PEOPLE, "['others']"),
    ("apps[].allow.except.users", PEOPLE, "['other@example.com']"),
    ("apps[].allow.except.claims", PEOPLE, "{ team = ['other'] }"),
    ("apps[].rules[].path", &[], "/b"),
    ("apps[].rules[].preset", &[("DOORWARD_APPS__0__RULES", "[{ access = 'public' }]")], "pwa-assets"),
    ("apps[].rules[].methods", &[], "['GET']"),
    ("apps[].rules[].networks", &[], "['10.9.0.0/16']"),
    ("apps[].rules[].access", &[], "deny"),
    ("apps[].rules[].cross_site", RULE, "deny"),
    ("server.proxy_listen", UPSTREAM, "127.0.0.1:8081"),
    ("apps[].upstream", UPSTREAM, "http://other:3000"),
    ("apps[].rules[].cache_control", UPSTREAM, "no-store"),
    ("apps[].rules[].allow.groups", RULE, "['others']"),
    ("apps[].rules[].allow.users", RULE, "['other@example.com']"),
    ("apps[].rules[].allow.claims", RULE, "{ team = ['other'] }"),
    ("apps[].rules[].allow.acr", RULE, "['other']"),
    ("apps[].rules[].allow.max_age", RULE, "2h"),
    ("apps[].rules[].allow.require.groups", RULE, "['others']"),
    ("apps[].rules[].allow.require.users", RULE, "['other@example.com']"),
    ("apps[].rules[].allow.require.claims", RULE, "{ team = ['other'] }"),
    ("apps[].rules[].allow.except.groups", RULE, "['others']"),
    ("apps[].rules[].allow.except.users", RULE, "['other@example.com']"),
    ("apps[].rules[].allow.except.claims", RULE, "{ team = ['other'] }"),
    ("bearer.issuers[].issuer", BEARER, "https://other.example.com/"),
    ("bearer.issuers[].audience", BEARER, "['api', 'other']"),
    ("bearer.introspection", BEARER, "true"),
    ("bearer.app_passwords", BEARER, "true"),
    ("limits.sign_in.per_minute", &[], "1200"),
    ("limits.sign_in.burst", &[], "50"),
    ("limits.callback.per_minute", &[], "1200"),
    ("limits.callback.burst", &[], "50"),
    ("limits.credentials.per_minute", TOKENS, "1200"),
    ("limits.credentials.burst", TOKENS, "50"),
    ("tokens.header", TOKENS, "X-Device-Token"),
    ("emergency.users_file", EMERGENCY, "DIR/users-2"),
    ("emergency.hosts", EMERGENCY, "['*.example.com']"),
    ("emergency.groups", EMERGENCY, "['rescue']"),
    ("emergency.realm", EMERGENCY, "Other"),
    ("adopt.url", ADOPT, "https://old.example.com/outpost.goauthentik.io/auth/nginx"),
    ("adopt.lifetime", ADOPT, "1h"),
    ("adopt.provider", ADOPT, "home"),
    ("adopt.per_minute", ADOPT, "7"),
    ("brand.title", &[], "Other"),
    ("server.header_budget", &[], "32KiB"),
    ("brand.logo", &[], "DIR/logo.svg"),
    ("brand.accent", &[], "#123456"),
    ("log.level", &[], "debug"),
    ("log.format", &[], "text"),
];

const TLS: Variables = &[("DOORWARD_SERVER__TLS__CERT", "DIR/cert.pem"), ("DOORWARD_SERVER__TLS__KEY", "DIR/key.pem")];
const POSTGRES: Variables = &[("DOORWARD_STORE__URL", "postgres://ann@db/x")];
const EMERGENCY: Variables =
    &[("DOORWARD_EMERGENCY__USERS_FILE", "DIR/users"), ("DOORWARD_EMERGENCY__HOSTS", "['grafana.example.com']")];
const ADOPT: Variables = &[("DOORWARD_ADOPT__URL", "http://old-outpost:9000/outpost.goauthentik.io/auth/traefik")];
const PEOPLE: Variables = &[(
    "DOORWARD_APPS__0__ALLOW",
    "{ groups = ['x'], users = ['x'], claims = { x = ['x'] }, acr = ['x'], max_age = '1h', \
     require = { groups = ['x'], users = ['x'], claims = { x = ['x'] } }, \
     except = { groups = ['y'], users = ['y'], claims = { x = ['y'] } } }",
)];
const BEARER: Variables = &[
    ("DOORWARD_APPS__0__RULES", "[{ access = 'bearer' }]"),
    ("DOORWARD_PROVIDERS__0__CLIENT_SECRET", "a client secret"),
    ("DOORWARD_BEARER__ISSUERS", "[{ issuer = 'https://api.example.com/', audience = 'api' }]"),
];
const DELEGATED: Variables = &[
    ("DOORWARD_APPS__0__RULES", "[]"),
    ("DOORWARD_APPS__0__DELEGATE", "http://outpost:9000/outpost.goauthentik.io/auth/traefik"),
];
const BASIC: Variables = &[("DOORWARD_APPS__0__BASIC_AUTH", "{ user_attribute = 'u', password_attribute = 'p' }")];
const UPSTREAM: Variables = &[
    ("DOORWARD_SERVER__PROXY_LISTEN", "127.0.0.1:8080"),
    ("DOORWARD_APPS__0__UPSTREAM", "http://grafana:3000"),
    ("DOORWARD_APPS__0__RULES", "[{ path = '/a', access = 'public', cache_control = 'public' }]"),
];
const TOKENS: Variables = &[("DOORWARD_TOKENS__HEADER", "Doorward-Token")];
const RULE: Variables = &[(
    "DOORWARD_APPS__0__RULES",
    "[{ path = '/a', allow = { groups = ['x'], users = ['x'], claims = { x = ['x'] }, acr = ['x'], max_age = '1h', \
     require = { groups = ['x'], users = ['x'], claims = { x = ['x'] } }, \
     except = { groups = ['y'], users = ['y'], claims = { x = ['y'] } } } }]",
)];

/// A folder with the files that the changes name.
fn files() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["gate.example.com".to_owned()]).unwrap();
    for name in ["cert.pem", "cert-2.pem"] {
        fs::write(dir.path().join(name), made.cert.pem()).unwrap();
    }
    for name in ["key.pem", "key-2.pem"] {
        fs::write(dir.path().join(name), made.signing_key.serialize_pem()).unwrap();
    }
    fs::write(dir.path().join("logo.svg"), "<svg/>").unwrap();
    let hash = bcrypt::hash("password", 4).unwrap();
    fs::write(dir.path().join("users"), format!("ann:{hash}\n")).unwrap();
    fs::write(dir.path().join("users-2"), format!("ann:{hash}\nbob:{hash}\n")).unwrap();
    dir
}

fn made_with(dir: &Path, under: &[(&str, &str)]) -> Config {
    let text = |text: &str| text.replace("DIR", dir.to_str().unwrap());
    let variables = under.iter().map(|(name, value)| ((*name).to_owned(), text(value))).collect();
    load_from(Some(&source(BASE)), &variables).unwrap_or_else(|diagnostics| panic!("{under:?}: {diagnostics}"))
}

/// Returns all settings as text, secrets included, for comparison.
fn meaning(config: &Config) -> (String, session::Backend) {
    // Destructured, so that a new field cannot be forgotten here.
    let Config { server, gate, secrets, session, providers, policy, brand, log, effective: _, hash: _, warnings: _ } =
        config;
    let secrets: Vec<_> = secrets.iter().map(|secret| secret.expose_secret().to_owned()).collect();
    let providers: Vec<_> = providers
        .iter()
        .map(|provider| {
            let secret = provider.client_secret.as_ref().map(|secret| secret.expose_secret().to_owned());
            (provider, secret)
        })
        .collect();
    let text = format!("{server:?} {gate:?} {secrets:?} {session:?} {providers:?} {policy:?} {brand:?} {log:?}");
    // Apart, because its `Debug` hides the password.
    (text, session.backend.clone())
}

#[test]
fn every_key_changes_as_the_reference_says() {
    let dir = files();
    for key in KEYS {
        let (_, under, to) = CHANGES.iter().find(|(path, ..)| *path == key.path).expect(key.path);
        let variable = variable::name_of(key.path);
        let before = made_with(dir.path(), under);
        let after = made_with(dir.path(), &[under, [(variable.as_str(), *to)].as_slice()].concat());
        assert_ne!(meaning(&before), meaning(&after), "{}: it means something", key.path);
        let (in_force, diff) = after.clone().reloaded_over(&before);
        let (there, elsewhere, expected) = match key.applies_on {
            AppliesOn::Reload => (&diff.applied, &diff.pending_restart, &after),
            AppliesOn::Restart => (&diff.pending_restart, &diff.applied, &before),
        };
        let named: Vec<_> = there.iter().map(|key| shape::without_indices(key)).collect();
        assert!(named.iter().any(|named| named.trim_end_matches("[]") == key.path), "{}: {diff:?}", key.path);
        assert_eq!(elsewhere, &[""; 0], "{}", key.path);
        assert_eq!(meaning(&in_force), meaning(expected), "{}", key.path);
        assert_eq!(in_force.hash, after.hash, "{}: the hash is that of what was read", key.path);
    }
}

#[test]
fn a_key_that_needs_a_restart_is_reported_at_every_reload_until_it_is_reverted() {
    let dir = files();
    let (first, listen) = (made_with(dir.path(), &[]), ("DOORWARD_SERVER__LISTEN", "127.0.0.1:9001"));
    let (second, _) = made_with(dir.path(), &[listen]).reloaded_over(&first);
    let lifetime = ("DOORWARD_SESSION__LIFETIME", "1h");
    let (third, diff) = made_with(dir.path(), &[listen, lifetime]).reloaded_over(&second);
    assert_eq!((diff.applied, diff.pending_restart), (vec!["session.lifetime".into()], vec!["server.listen".into()]));
    let (_, diff) = made_with(dir.path(), &[lifetime]).reloaded_over(&third);
    assert!(diff.is_empty(), "{diff:?}");
}

#[test]
fn a_changed_file_is_a_difference_unless_its_user_reads_it_again() {
    let dir = files();
    let (secret, password) = (dir.path().join("secret"), dir.path().join("password"));
    let sealed = format!("[{{ file = {secret:?} }}]");
    let kept = format!("{{ file = {password:?} }}");
    let under = [
        TLS,
        POSTGRES,
        &[
            ("DOORWARD_SESSION__SECRETS", sealed.as_str()),
            ("DOORWARD_STORE__PASSWORD", kept.as_str()),
            ("DOORWARD_PROVIDERS__0__CA_FILE", "DIR/ca.pem"),
            ("DOORWARD_BRAND__LOGO", "DIR/logo.svg"),
        ],
    ]
    .concat();
    let write = |turn: &str| {
        fs::write(&secret, turn.repeat(32)).unwrap();
        fs::write(&password, turn).unwrap();
        let made = rcgen::generate_simple_self_signed(vec![turn.to_owned()]).unwrap();
        fs::write(dir.path().join("ca.pem"), made.cert.pem()).unwrap();
        fs::write(dir.path().join("cert.pem"), made.cert.pem()).unwrap();
        fs::write(dir.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        fs::write(dir.path().join("logo.svg"), format!("<svg>{turn}</svg>")).unwrap();
        made_with(dir.path(), &under)
    };
    let (_, diff) = write("b").reloaded_over(&write("a"));
    // The listener follows its certificates, and the store reads its password for every connection.
    assert_eq!(diff.applied, ["session.secrets[0]", "providers[0].ca_file", "brand.logo"]);
    assert_eq!(diff.pending_restart, [""; 0]);
}

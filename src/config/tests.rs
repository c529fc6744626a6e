//! Tests of the configuration as a whole: from text and variables to settings or diagnostics.

mod adopt;
mod arbitrary;
mod attributes;
mod cache_control;
mod mistakes;
mod reload;
mod reports;
mod resource_metadata;
mod shipped;
mod tokens;

use std::{io::Write as _, path::PathBuf, time::Duration};

use super::*;
use crate::{
    cookie::SiteScheme,
    identity::ClaimPath,
    oidc,
    policy::{self, Allow, HostPattern, PathPattern, People, RuleAccess},
    session,
};

/// A valid configuration, with a line for each key that the tests make invalid.
const GOOD: &str = r#"
[server]
trusted_proxies = ["10.0.0.0/8"]
[session]
secrets = ["0123456789abcdef0123456789abcdef"]
[[providers]]
name = "home"
issuer = "https://auth.example.com/o/x/"
client_id = "doorward"
[[apps]]
name = "grafana"
hosts = ["grafana.example.com", "*.graphs.example.com"]
"#;

fn source(text: &str) -> ConfigFile {
    ConfigFile { path: PathBuf::from("doorward.toml"), text: text.to_owned() }
}

fn variables(variables: &[(&str, &str)]) -> Environment {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn loaded(text: &str) -> Config {
    load_from(Some(&source(text)), &Environment::new()).unwrap_or_else(|diagnostics| panic!("{diagnostics}"))
}

fn refused(text: &str) -> Vec<String> {
    match load_from(Some(&source(text)), &Environment::new()) {
        Ok(_) => Vec::new(),
        Err(diagnostics) => diagnostics.0.iter().map(ToString::to_string).collect(),
    }
}

fn line_of(text: &str, part: &str) -> usize {
    text.lines().position(|line| line.contains(part)).unwrap() + 1
}

#[test]
fn a_small_file_becomes_settings_with_every_default() {
    let config = loaded(GOOD);
    assert_eq!(config.server.listen.to_string(), "0.0.0.0:9000");
    assert_eq!(config.server.management.to_string(), "127.0.0.1:9300");
    assert_eq!(config.server.shutdown_grace, Duration::from_secs(20));
    assert!(config.server.tls.is_none());
    assert_eq!((config.gate.prefix.as_str(), config.gate.transport), ("/_doorward", SiteScheme::Https));
    assert!(config.gate.trusted_proxies.contains("10.1.2.3".parse().unwrap()));
    assert!(!config.gate.trusted_proxies.contains("127.0.0.1".parse().unwrap()));
    assert_eq!((config.gate.cookie_name.as_str(), config.gate.cookie_domains), ("doorward", Vec::new()));
    assert_eq!(config.session.lifetime, Duration::from_hours(28 * 24));
    assert_eq!(config.session.idle_timeout, Duration::from_hours(7 * 24));
    assert_eq!(config.session.renew_before, Duration::from_mins(1));
    assert_eq!(config.session.outage_grace, Duration::from_hours(1));
    assert_eq!(config.session.backend, session::Backend::Sqlite(PathBuf::from("doorward.db")));
    assert!(!config.session.passes_tokens);
    let [provider] = config.providers.as_slice() else { panic!("one provider") };
    assert_eq!(provider.scopes, ["openid", "profile", "email", "offline_access"]);
    assert_eq!((provider.groups_claim.to_string().as_str(), provider.end_session), ("groups", true));
    assert!(provider.client_secret.is_none());
    let [app] = config.policy.apps.as_slice() else { panic!("one app") };
    assert_eq!(app.hosts[1], HostPattern::Below("graphs.example.com".to_owned()));
    assert_eq!((app.provider, &app.allow), (0, &Allow::default()));
    assert_eq!(app.headers.fields().len(), 4);
    assert_eq!(config.policy.default, policy::DefaultAccess::Deny);
    assert_eq!(config.log, Log { level: "info".to_owned(), format: LogFormat::Json });
}

#[test]
fn a_provider_knows_whose_groups_rules_need_and_for_how_long_they_count() {
    let text =
        GOOD.replace("[[apps]]", "[[providers]]\nname = 'b'\nissuer = 'https://b.example/'\nclient_id = 'x'\n[[apps]]");
    let groups_use = |apps: &str| {
        let config = loaded(&format!("{text}{apps}\n[store]\nurl = 'memory:'\n"));
        assert!(config.providers.iter().all(|provider| provider.groups_grace == Duration::from_hours(1)));
        config.providers.iter().map(|provider| provider.groups_use).collect::<Vec<_>>()
    };
    let (unused, needed) = (oidc::GroupsUse::Unused, oidc::GroupsUse::InRules);
    let app = |more: &str| format!("[[apps]]\nname = 'second'\nhosts = ['second.example.com']\n{more}");
    assert_eq!(groups_use(""), [unused, unused]);
    assert_eq!(groups_use(&app("allow = { users = ['ann@example.com'] }")), [unused, unused]);
    assert_eq!(groups_use(&app("allow = { groups = ['admins'] }")), [needed, unused]);
    assert_eq!(
        groups_use(&app("provider = 'b'\nrules = [{ path = '/a', allow = { groups = ['admins'] } }]")),
        [unused, needed]
    );
}

#[test]
fn the_path_of_groups_is_text_or_a_list_in_the_file_and_in_the_environment() {
    let path = |text: &str, variables: &[(&str, &str)]| {
        let config = load_from(Some(&source(text)), &self::variables(variables)).unwrap();
        config
            .providers
            .first()
            .map(|provider| (provider.groups_claim.clone(), provider.groups_separator.clone()))
            .unwrap()
    };
    let steps = ClaimPath::Steps(["resource_access", "app.example.com", "roles"].map(str::to_owned).to_vec());
    let dotted = ClaimPath::Dotted("realm_access.roles".to_owned());
    let list = "['resource_access', 'app.example.com', 'roles']";
    let with = |line: &str| GOOD.replace("[[apps]]", &format!("{line}\n[[apps]]"));
    assert_eq!(
        path(&with(&format!("groups_claim = {list}\ngroups_separator = ' '")), &[]),
        (steps.clone(), Some(" ".to_owned()))
    );
    assert_eq!(path(&with("groups_claim = 'realm_access.roles'"), &[]), (dotted.clone(), None));
    let (claim, separator) = ("DOORWARD_PROVIDERS__0__GROUPS_CLAIM", "DOORWARD_PROVIDERS__0__GROUPS_SEPARATOR");
    assert_eq!(path(GOOD, &[(claim, list), (separator, ";")]), (steps, Some(";".to_owned())));
    assert_eq!(path(GOOD, &[(claim, "realm_access.roles")]), (dotted, None));
}

#[test]
fn rules_and_people_are_read_in_order() {
    let config = loaded(&format!(
        "{GOOD}
        headers = ['authentik', {{ 'X-Team' = '{{claims.team}}' }}]
        pass_id_token = true
        [apps.allow]
        groups = ['admins']
        users = ['ann@example.com']
        claims = {{ team = ['ops', 'dev'] }}
        [[apps.rules]]
        path = '/health'
        methods = ['GET', 'HEAD']
        networks = ['192.168.0.0/16']
        access = 'public'
        [[apps.rules]]
        path = {{ prefix = '/admin/' }}
        allow = {{ groups = ['owners'] }}
        "
    ));
    let app = &config.policy.apps[0];
    assert_eq!(
        app.allow,
        Allow::from(People {
            groups: vec!["admins".to_owned()],
            users: vec!["ann@example.com".to_owned()],
            claims: vec![("team".to_owned(), vec!["ops".to_owned(), "dev".to_owned()])],
        })
    );
    assert_eq!(app.rules[0].path, PathPattern::exact("/health"));
    assert_eq!((app.rules[0].methods.len(), app.rules[0].networks.len()), (2, 1));
    assert_eq!(app.rules[0].access, RuleAccess::Public);
    assert_eq!(app.rules[1].path, PathPattern::prefix("/admin/"));
    assert!(matches!(app.rules[1].access, RuleAccess::Allow(Allow { any: Some(_), .. })));
    assert!(app.headers.fields().iter().any(|(name, _)| name == "x-team"));
    assert!(config.session.passes_tokens, "an app wants the ID token");
    let more = loaded(&format!(
        "{GOOD}
        [apps.allow]
        require = {{ groups = ['staff'] }}
        except = {{ users = ['eve@example.com'] }}
        acr = ['mfa']
        max_age = '15m'
        [[apps.rules]]
        preset = 'pwa-assets'
        networks = ['192.168.0.0/16']
        [[apps.rules]]
        path = {{ regex = '/users/[0-9]+' }}
        access = 'optional'
        "
    ));
    let app = &more.policy.apps[0];
    let (require, except) = (
        People { groups: vec!["staff".to_owned()], ..People::default() },
        People { users: vec!["eve@example.com".to_owned()], ..People::default() },
    );
    let max_age = Some(Duration::from_mins(15));
    assert_eq!(app.allow, Allow { any: None, require, except, acr: vec!["mfa".to_owned()], max_age });
    assert!(app.names_groups(), "somebody without groups is let in by none");
    assert_eq!((&app.rules[0].path, &app.rules[0].access), (&PathPattern::pwa_assets(), &RuleAccess::Public));
    assert_eq!((app.rules[0].methods.join(" ").as_str(), app.rules[0].networks.len()), ("GET HEAD", 1));
    assert!(matches!(&app.rules[1].path, PathPattern::Regex(expression) if expression.as_str() == "/users/[0-9]+"));
    assert!(loaded(&format!("{GOOD}\nheaders = ['oauth2-proxy']\npass_access_token = true")).session.passes_tokens);
}

#[test]
fn memory_goes_by_the_shortest_time_after_which_any_app_reauthorizes() {
    let text = |session: &str, app: &str| {
        let session = format!("[session]\n{session}");
        format!("{}\n{app}", GOOD.replacen("[session]", &session, 1))
    };
    for (session, app, shortest) in [
        ("", "", None),
        ("reauthorize = '1h'", "", Some(3_600)),
        ("", "reauthorize = '15m'", Some(900)),
        ("reauthorize = '1h'", "reauthorize = '15m'", Some(900)),
        ("reauthorize = '1h'", "reauthorize = '8h'", Some(3_600)),
    ] {
        let config = loaded(&text(session, app));
        assert_eq!(config.session.reauthorize, shortest.map(Duration::from_secs), "{session} {app}");
    }
}

#[test]
fn a_store_for_replicas_is_read_with_its_password_and_pool() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"from the file\n").unwrap();
    let store = |lines: &str| {
        let text = format!("{GOOD}[store]\nurl = 'postgres://ann:hidden@one,two/doorward?sslmode=require'\n{lines}");
        let session::Backend::Postgres(settings) = loaded(&text).session.backend else { panic!("not PostgreSQL") };
        *settings
    };
    let plain = store("");
    assert_eq!((plain.pool_size, &plain.listen_url, &plain.password_file), (8, &None, &None));
    let more = store(&format!(
        "pool_size = 3\nlisten_url = 'postgres://ann@direct/doorward'\npassword = {{ file = '{}' }}",
        file.path().display()
    ));
    assert_eq!((more.pool_size, more.listen_url.is_some()), (3, true));
    assert_eq!(more.password_file.as_deref(), Some(file.path()));
    assert_ne!(store("password = 'other'").url, plain.url);
    let report = report_text(&Ok(loaded(&format!("{GOOD}[store]\nurl = 'postgres://ann:hidden@db/x'\n"))));
    assert!(report.contains("postgres://ann:********@db/x") && !report.contains("hidden"), "{report}");
}

#[test]
fn http_is_for_loopback_and_laboratories() {
    for (server, issuer, good) in [
        ("", "http://127.0.0.1:8081/", true),
        ("", "http://localhost:8081", true),
        ("", "http://[::1]/", true),
        ("", "http://id.localhost/", true),
        ("", "http://id.lan/", false),
        ("scheme = 'http'", "http://id.lan/", true),
        ("scheme = 'http'", "ftp://id.lan/", false),
    ] {
        let text =
            GOOD.replace("https://auth.example.com/o/x/", issuer).replace("[server]", &format!("[server]\n{server}"));
        assert_eq!(refused(&text).is_empty(), good, "{server} {issuer}: {:?}", refused(&text));
    }
}

#[test]
fn a_short_lifetime_needs_no_shorter_idle_timeout() {
    assert!(refused(&GOOD.replace("[session]", "[session]\nlifetime = '2s'\nidle_timeout = '3s'")).is_empty());
}

#[test]
fn two_listeners_may_both_ask_for_any_free_port() {
    let server = "[server]\nlisten = '127.0.0.1:0'\nmanagement = '127.0.0.1:0'";
    assert!(refused(&GOOD.replace("[server]", server)).is_empty());
}

#[test]
fn on_loopback_the_trusted_proxies_are_loopback() {
    let text = GOOD.replace("trusted_proxies = [\"10.0.0.0/8\"]", "listen = '127.0.0.1:9000'");
    let config = loaded(&text);
    assert!(config.gate.trusted_proxies.contains("::1".parse().unwrap()));
}

#[test]
fn the_type_of_a_logo_is_detected_from_its_bytes() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = GOOD.replace("[session]", &format!("[brand]\nlogo = '{}'\n[session]", file.path().display()));
    for (bytes, expected) in [
        (b"\x89PNG\r\n\x1a\n".to_vec(), None),
        (b"text".to_vec(), Some("is no PNG, JPEG or SVG")),
        (vec![0xff; 64 * 1024 + 1], Some("is larger than 64 KiB")),
    ] {
        std::fs::write(file.path(), bytes).unwrap();
        match expected {
            None => assert_eq!(loaded(&text).brand.logo.unwrap().0, "image/png"),
            Some(problem) => assert!(refused(&text)[0].contains(problem)),
        }
    }
}

#[test]
fn the_environment_alone_makes_a_configuration() {
    let environment = variables(&[
        ("DOORWARD_SERVER__LISTEN", "127.0.0.1:9000"),
        ("DOORWARD_SESSION__SECRETS__0", "0123456789abcdef0123456789abcdef"),
        ("DOORWARD_PROVIDERS__0__NAME", "home"),
        ("DOORWARD_PROVIDERS__0__ISSUER", "https://auth.example.com/"),
        ("DOORWARD_PROVIDERS__0__CLIENT_ID", "doorward"),
        ("DOORWARD_PROVIDERS__0__CLIENT_SECRET__ENV", "PASSWORD"),
        ("DOORWARD_APPS__0__NAME", "a"),
        ("DOORWARD_APPS__0__HOSTS", "[\"a.example.com\"]"),
        ("DOORWARD_APPS__0__RULES__0__PATH", "/health"),
        ("DOORWARD_APPS__0__RULES__0__ACCESS", "public"),
        ("PASSWORD", "x"),
    ]);
    let config = load_from(None, &environment).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    assert_eq!(config.policy.apps[0].rules[0].path, PathPattern::exact("/health"));
    assert!(config.providers[0].client_secret.is_some());
}

//! Reports of a configuration: values with their origins, errors and warnings, the hash.

use super::*;
use crate::clock::Clock;

#[test]
fn every_value_in_force_is_listed_with_its_origin_and_no_secret_is_shown() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "hidden-hidden-hidden-hidden-hidden-hidden\n").unwrap();
    let text = GOOD
        .replace("secrets = [", &format!("secrets = [{{ file = '{}' }}, {{ env = 'OLD' }}, ", file.path().display()))
        .replace("client_id", "client_secret = 'hidden'\nclient_id");
    let environment = variables(&[
        ("OLD", "old-hidden-old-hidden-old-hidden-old-hidden"),
        ("DOORWARD_STORE__URL", "memory:"),
        ("DOORWARD_PROVIDERS__0__TIMEOUT", "3s"),
    ]);
    let config = load_from(Some(&source(&text)), &environment).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    let report = report_text(&Ok(config.clone()));
    let secret_file = format!("session.secrets[0] = ********  # secret file {}", file.path().display());
    for expected in [
        "server.listen = \"0.0.0.0:9000\"  # default",
        "server.trusted_proxies = [\"10.0.0.0/8\"]  # doorward.toml:3",
        &secret_file,
        "session.secrets[1] = ********  # environment OLD",
        "session.secrets[2] = ********  # doorward.toml:5",
        "store.url = \"memory:\"  # environment DOORWARD_STORE__URL",
        "providers[0].client_secret = ********  # doorward.toml:9",
        "providers[0].timeout = \"3s\"  # environment DOORWARD_PROVIDERS__0__TIMEOUT",
        "apps[0].headers = [\"remote\"]  # default",
    ] {
        assert!(report.lines().any(|line| line == expected), "{expected}\n{report}");
    }
    assert!(!report.contains("hidden") && !report.contains("0123456789abcdef"), "{report}");
    assert!(!format!("{config:?}").contains("hidden"));
    let json = report_json(&Ok(config.clone()));
    let value =
        |key: &str| json["values"].as_array().unwrap().iter().find(|value| value["key"] == key).unwrap().clone();
    assert_eq!((json["ok"].as_bool(), json["hash"].as_str()), (Some(true), Some(config.hash.as_str())));
    assert_eq!(value("providers[0].end_session")["value"], true);
    assert_eq!(value("session.secrets[0]")["value"], "********");
    assert_eq!(
        value("server.trusted_proxies")["origin"],
        serde_json::json!({"kind": "file", "file": "doorward.toml", "line": 3})
    );
}

#[test]
fn a_warning_is_reported_beside_the_values_and_fails_nothing() {
    let authentik = GOOD.replace("/o/x/", "/application/o/x/");
    for (lines, warned) in [
        ("allow = { users = ['ann@example.com'] }\n", true),
        ("rules = [{ path = '/a', allow = { users = ['s-1', 'ann@example.com'] } }]\n", true),
        ("allow = { users = ['s-1'] }\n", false),
        ("allow = { groups = ['a@b'] }\n", false),
    ] {
        for (text, looks_like_authentik) in [(&authentik, true), (&GOOD.to_owned(), false)] {
            let config = loaded(&format!("{text}{lines}"));
            let warned = warned && looks_like_authentik;
            assert_eq!(config.warnings.len(), usize::from(warned), "{lines}: {:?}", config.warnings);
            let (report, json) = (report_text(&Ok(config.clone())), report_json(&Ok(config)));
            assert_eq!(report.contains(": warning: apps[0]."), warned, "{report}");
            assert!(report.contains("The configuration is valid"), "{report}");
            assert_eq!(json["warnings"].as_array().unwrap().len(), usize::from(warned), "{json}");
        }
    }
}

/// Returns the keys of the warnings.
fn warned(text: &str) -> Vec<String> {
    loaded(text).warnings.into_iter().map(|warning| warning.key).collect()
}

#[test]
fn an_app_that_anybody_can_enter_and_what_its_provider_refuses_is_warned_of() {
    let google = GOOD.replace("https://auth.example.com/o/x/", "https://accounts.google.com");
    for (lines, expected) in [
        ("", vec!["apps[0]"]),
        ("allow = { users = ['*@example.com'] }", vec![]),
        ("rules = [{ path = '/a', access = 'public' }]", vec!["apps[0]"]),
        ("rules = [{ allow = { users = ['ann@example.com'] } }]", vec![]),
        (
            "allow = { users = ['ann@example.com'] }\nrules = [{ path = '/a', access = 'authenticated' }]",
            vec!["apps[0].rules[0].access"],
        ),
        ("allow = { groups = ['admins'] }", vec!["apps[0].allow.groups"]),
        ("allow = { users = ['s-1'], require = { groups = ['admins'] } }", vec!["apps[0].allow.require.groups"]),
        ("allow = { except = { users = ['eve@example.com'] } }", vec!["apps[0]"]),
        ("allow = { require = { claims = { hd = ['example.com'] } } }", vec![]),
        (
            "allow = { users = ['s-1'] }\nrules = [{ path = '/a', allow = { acr = ['mfa'] } }]",
            vec!["apps[0].rules[0].allow", "apps[0].rules[0].allow.acr"],
        ),
        ("allow = { users = ['s-1'] }\n[access]\ndefault = 'authenticated'", vec!["access.default"]),
    ] {
        assert_eq!(warned(&format!("{google}{lines}\n")), expected, "{lines}");
    }
    let elsewhere = "[access]\ndefault = 'authenticated'";
    assert_eq!(warned(&format!("{GOOD}{elsewhere}\n")), [""; 0], "the accounts are somebody's own to give");
    let second = google.replace(
        "[[apps]]",
        "[[providers]]\nname = 'own'\nissuer = 'https://own.example/'\nclient_id = 'x'\n[[apps]]\nprovider = 'own'",
    );
    assert_eq!(warned(&second), [""; 0], "its users sign in elsewhere");
    let scopes = google.replace("client_id", "scopes = ['openid', 'offline_access']\nclient_id");
    assert_eq!(warned(&format!("{scopes}allow = {{ users = ['s-1'] }}")), ["providers[0].scopes[1]"]);
    let slash = GOOD.replace("https://auth.example.com/o/x/", "https://kc.example.com/realms/main/");
    assert_eq!(warned(&slash), ["providers[0].issuer"]);
}

#[test]
fn an_app_that_asks_nobody_to_sign_in_is_warned_of() {
    for (rules, expected) in [
        ("[{ access = 'public' }]", vec!["apps[0].rules[0]"]),
        (
            "[{ path = '/a', access = 'public' }, { path = { prefix = '/' }, access = 'public' }]",
            vec!["apps[0].rules[1]"],
        ),
        ("[{ path = '/a', access = 'deny' }, { access = 'public' }]", vec![]),
        ("[{ networks = ['192.0.2.0/24'], access = 'deny' }, { access = 'public' }]", vec![]),
        ("[{ access = 'optional' }]", vec![]),
        ("[{ path = { regex = '.*' }, access = 'public' }]", vec!["apps[0].rules[0]"]),
        ("[{ path = { regex = '^/.+$' }, access = 'public' }]", vec!["apps[0].rules[0]"]),
        ("[{ path = { regex = '/public/.*' }, access = 'public' }]", vec![]),
        ("[{ preset = 'pwa-assets' }, { access = 'public' }]", vec!["apps[0].rules[1]"]),
        ("[{ preset = 'pwa-assets' }]", vec![]),
    ] {
        let found: Vec<_> =
            warned(&format!("{GOOD}rules = {rules}\n")).into_iter().filter(|key| key.starts_with("apps")).collect();
        assert_eq!(found, expected, "{rules}");
    }
}

#[test]
fn a_secret_that_is_easy_to_guess_is_warned_of_and_not_shown() {
    let text = GOOD.replace("secrets = [", &format!("secrets = ['{}', ", "y".repeat(40)));
    let config = loaded(&text);
    assert_eq!(config.warnings.len(), 1);
    assert_eq!(config.warnings[0].key, "session.secrets[0]");
    assert!(!report_text(&Ok(config)).contains("yyy"));
}

#[test]
fn a_certificate_that_ends_soon_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("tls.pem"), dir.path().join("tls.key"));
    let text = GOOD.replace("[server]", &format!("[server]\ntls = {{ cert = {cert:?}, key = {key:?} }}"));
    let now = Clock::System.now();
    for (end, problem) in [
        (now.plus(Duration::from_hours(31 * 24)), None),
        (now.plus(Duration::from_hours(29 * 24)), Some("the certificate ends at ")),
        (now.minus(Duration::from_hours(24)), Some("the certificate has been over since ")),
    ] {
        let own = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["gate.example.com".to_owned()]).unwrap();
        params.not_after = end.to_system().into();
        std::fs::write(&cert, params.self_signed(&own).unwrap().pem()).unwrap();
        std::fs::write(&key, own.serialize_pem()).unwrap();
        let warnings = loaded(&text).warnings;
        let shown: Vec<_> = warnings.iter().map(|warning| (warning.key.as_str(), warning.problem.as_str())).collect();
        match problem {
            None => assert_eq!(shown, []),
            Some(problem) => {
                assert_eq!(shown, [("server.tls.cert", format!("{problem}{end}").as_str())]);
            }
        }
    }
}

#[test]
fn the_default_scopes_of_a_keycloak_realm_are_without_offline_access_and_the_report_says_so() {
    for (issuer, scopes, shown) in [
        (
            "https://kc.example.com/realms/main",
            "",
            "[\"openid\", \"profile\", \"email\"]  # default for a Keycloak realm",
        ),
        (
            "https://kc.example.com/auth/realms/main",
            "",
            "[\"openid\", \"profile\", \"email\"]  # default for a Keycloak realm",
        ),
        ("https://accounts.google.com", "", "[\"openid\", \"profile\", \"email\"]  # default for Google"),
        (
            "https://kc.example.com/realms/main",
            "scopes = ['openid', 'offline_access']",
            "[\"openid\", \"offline_access\"]  # doorward.toml:",
        ),
        ("https://id.example.com/", "", "[\"openid\", \"profile\", \"email\", \"offline_access\"]  # default\n"),
    ] {
        let text =
            GOOD.replace("https://auth.example.com/o/x/", issuer).replace("client_id", &format!("{scopes}\nclient_id"));
        let result = Ok(loaded(&text));
        let report = report_text(&result);
        assert!(report.contains(&format!("providers[0].scopes = {shown}")), "{issuer}\n{report}");
        let is_keycloak = issuer.contains("realms");
        assert_eq!(report.contains("note: this is a Keycloak realm"), is_keycloak && scopes.is_empty(), "{report}");
        assert_eq!(report.contains("Keycloak ends its own browser session"), is_keycloak && !scopes.is_empty());
    }
    let realm = GOOD.replace("https://auth.example.com/o/x/", "https://kc.example.com/realms/main");
    let json = report_json(&Ok(loaded(&realm)));
    let scopes = json["values"].as_array().unwrap().iter().find(|value| value["key"] == "providers[0].scopes").unwrap();
    assert_eq!(scopes["origin"], serde_json::json!({ "kind": "default", "for": "a Keycloak realm" }));
}

#[test]
fn the_addresses_to_register_at_each_provider_are_listed() {
    let text = GOOD
        .replace("[server]", "[server]\nprefix = '/gate'")
        .replace("https://auth.example.com/o/x/", "https://auth.example.com/application/o/x/")
        .replace("[[apps]]", "[[providers]]\nname = 'work'\nissuer = 'https://work.example/'\nclient_id = 'w'\nend_session = false\n[[providers]]\nname = 'spare'\nissuer = 'https://spare.example/'\nclient_id = 's'\n[[apps]]");
    let wiki = "[[apps]]\nname = 'wiki'\nhosts = ['wiki.example.com']\nprovider = 'work'\n";
    let result = Ok(loaded(&format!("{text}{wiki}[access]\ndefault = 'authenticated'\n")));
    let report = report_text(&result);
    for expected in [
        "To register at home (https://auth.example.com/application/o/x/) for the client doorward:",
        "    https://grafana.example.com/gate/callback",
        "    https://*.graphs.example.com/gate/callback",
        "    https://*.graphs.example.com/gate/signed_out",
        "    https://grafana.example.com/gate/backchannel_logout",
        "    https://grafana.example.com/gate/frontchannel_logout",
        "  `*` is any host there: register a pattern, or each host that is used",
        "  and https://HOST/gate/callback for every HOST that no app names (`access.default`)",
        "    https://wiki.example.com/gate/callback",
        "  nothing: no app uses this provider",
    ] {
        assert!(report.lines().any(|line| line == expected), "{expected}\n{report}");
    }
    assert!(report.contains("choose a signing key at this provider"), "{report}");
    assert!(!report.contains("wiki.example.com/gate/signed_out"), "{report}");
    let json = report_json(&result);
    assert_eq!(
        json["register"][1],
        serde_json::json!({
            "provider": "work",
            "issuer": "https://work.example/",
            "client_id": "w",
            "redirect_uris": ["https://wiki.example.com/gate/callback"],
            "post_logout_redirect_uris": [],
            "backchannel_logout_uri": "https://wiki.example.com/gate/backchannel_logout",
            "frontchannel_logout_uri": "https://wiki.example.com/gate/frontchannel_logout",
            "notes": [],
        })
    );
}

#[test]
fn in_the_place_of_other_gates_the_addresses_of_the_first_are_registered_already() {
    let outpost =
        ["/outpost.goauthentik.io/callback?X-authentik-auth-callback=true", "/outpost.goauthentik.io/signed_out"];
    let oauth2_proxy = ["/oauth2/callback", "/oauth2/signed_out"];
    for (compat, [callback, signed_out]) in [
        ("'authentik'", outpost),
        ("'oauth2-proxy'", oauth2_proxy),
        ("'authentik', 'oauth2-proxy'", outpost),
        ("'oauth2-proxy', 'authentik'", oauth2_proxy),
    ] {
        let config = loaded(&GOOD.replace("[server]", &format!("[server]\ncompat = [{compat}]")));
        let json = report_json(&Ok(config));
        let at = |path: &str| format!("https://grafana.example.com{path}");
        assert_eq!(json["register"][0]["redirect_uris"][0], at(callback), "{compat}");
        assert_eq!(json["register"][0]["post_logout_redirect_uris"][0], at(signed_out), "{compat}");
    }
}

#[test]
fn the_addresses_of_many_hosts_are_listed_once() {
    let hosts: Vec<_> = (0..500).map(|number| format!("'h{number}.example.com'")).collect();
    let text = GOOD.replace("\"grafana.example.com\", \"*.graphs.example.com\"", &hosts.join(", "));
    let config = loaded(&text);
    let report = report_text(&Ok(config.clone()));
    assert_eq!(report.matches("/_doorward/callback\n").count(), 500);
    assert!(report.contains("post-logout redirect URIs: the same 500 with /signed_out for /callback"), "{report}");
    assert_eq!(report_json(&Ok(config))["register"][0]["post_logout_redirect_uris"].as_array().unwrap().len(), 500);
}

#[test]
fn clients_that_rules_cannot_tell_apart_are_warned_of() {
    let rule = |rest: &str| format!("rules = [{{ path = '/a', networks = ['192.168.0.0/16'], {rest} }}]\n");
    for (trusted, lines, expected) in [
        ("10.0.0.0/8", rule("access = 'deny'"), vec!["server.trusted_proxies[0]"]),
        ("10.0.0.0/8", rule("access = 'public'"), vec!["server.trusted_proxies[0]", "apps[0].rules[0].networks"]),
        ("10.1.2.0/24", rule("access = 'optional'"), vec!["apps[0].rules[0].networks"]),
        ("10.1.2.0/24", rule("access = 'deny'"), vec![]),
        ("127.0.0.0/8", rule("access = 'authenticated'"), vec![]),
        ("fd00::/8", rule("access = 'deny'"), vec!["server.trusted_proxies[0]"]),
        ("10.0.0.0/8", "rules = [{ path = '/a', access = 'public' }]\n".to_owned(), vec![]),
    ] {
        let text = GOOD.replace("10.0.0.0/8", trusted);
        let config = loaded(&format!("{text}{lines}"));
        let keys: Vec<_> = config.warnings.iter().map(|warning| warning.key.as_str()).collect();
        assert_eq!(keys, expected, "{trusted} {lines}");
    }
}

#[test]
fn the_json_report_of_an_error_has_key_place_problem_and_hint() {
    let result = load_from(Some(&source("[server]\nlistn = 'x'\n")), &Environment::new());
    let json = report_json(&result);
    assert_eq!(json["ok"], false);
    let unknown = json["errors"].as_array().unwrap().iter().find(|error| error["key"] == "server.listn").unwrap();
    assert_eq!(unknown["origin"]["line"], 2);
    assert_eq!(unknown["hint"], "did you mean `listen`?");
    assert!(
        report_text(&result)
            .contains("doorward.toml:2: server.listn: there is no such key\n    did you mean `listen`?")
    );
}

#[test]
fn the_hash_depends_on_values_but_not_on_secrets_or_origins() {
    let hash = |text: &str| loaded(text).hash;
    let spelt_out = GOOD.replace("[session]", "[session]\nlifetime = '28d'");
    assert_eq!(hash(GOOD), hash(&spelt_out));
    assert_eq!(
        hash(GOOD),
        hash(&GOOD.replace("0123456789abcdef0123456789abcdef", "abcdefabcdefabcdefabcdefabcdefabcdef"))
    );
    assert_ne!(hash(GOOD), hash(&GOOD.replace("[session]", "[session]\nlifetime = '27d'")));
}

#[test]
fn a_product_that_cannot_step_up_is_warned_of() {
    let lines = "lifetime = '8h'\nallow = { acr = ['gold'], max_age = '15m' }\n\
                 [[apps.rules]]\npath = '/a'\nallow = { acr = ['gold'] }\n";
    let all = ["apps[0].allow.acr", "apps[0].allow.max_age", "apps[0].lifetime", "apps[0].rules[0].allow.acr"];
    for (issuer, expected) in [
        ("https://auth.example.com/realms/x", [].as_slice()),
        ("https://auth.example.com/application/o/x/", &[all[0], all[3]]),
        ("https://accounts.google.com", &all),
        ("https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66da1/v2.0", &all),
    ] {
        let text = GOOD.replace("https://auth.example.com/o/x/", issuer);
        let mut keys = warned(&format!("{text}{lines}"));
        keys.retain(|key| all.contains(&key.as_str()));
        keys.sort_unstable();
        assert_eq!(keys, expected, "{issuer}");
    }
}

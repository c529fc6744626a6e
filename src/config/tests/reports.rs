//! Reports of a configuration: values with their origins, errors and warnings, the hash.

use super::*;

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

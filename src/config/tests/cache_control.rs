//! `apps[].rules[].cache_control`: where it has an effect, and what it may say.

use super::*;

/// The good configuration with a proxied app that has this rule.
fn proxied(rule: &str) -> String {
    let server = GOOD.replacen("[server]", "[server]\nproxy_listen = '127.0.0.1:8080'", 1);
    let app = format!("[[apps]]\nupstream = 'http://grafana:3000'\nrules = [{rule}]");
    server.replacen("[[apps]]", &app, 1)
}

#[test]
fn it_is_part_of_the_rule() {
    for (rule, expected) in [
        ("{ path = '/a', access = 'public', cache_control = 'public, max-age=60' }", "public, max-age=60"),
        ("{ preset = 'pwa-assets', cache_control = 'max-age=60' }", "max-age=60"),
        ("{ methods = ['POST', 'HEAD'], access = 'authenticated', cache_control = 'no-store' }", "no-store"),
    ] {
        let loaded = loaded(&proxied(rule));
        assert_eq!(loaded.policy.apps[0].rules[0].cache_control.as_ref().unwrap(), expected);
        assert!(loaded.warnings.iter().all(|warning| !warning.to_string().contains("caches")), "{:?}", loaded.warnings);
    }
}

#[test]
fn a_key_without_effect_and_a_directive_that_is_none_are_refused() {
    for (rule, problem) in [
        ("{ path = '/a', access = 'deny', cache_control = 'no-store' }", "has no effect: the rule lets nobody in"),
        ("{ methods = ['POST'], access = 'optional', cache_control = 'no-store' }", "matches neither GET nor HEAD"),
        ("{ path = '/a', access = 'public', cache_control = 'max-age: 60' }", "there is no directive `max-age: 60`"),
        ("{ path = '/a', access = 'public', cache_control = 'max-age=1m' }", "has no number of seconds"),
        ("{ path = '/a', access = 'public', cache_control = 'public, private' }", "says both"),
    ] {
        let diagnostics = refused(&proxied(rule));
        assert_eq!(diagnostics.len(), 1, "{rule}: {diagnostics:?}");
        let is_placed = diagnostics[0].contains("apps[0].rules[0].cache_control: ");
        assert!(
            is_placed && diagnostics[0].contains(problem) && diagnostics[0].contains("\n    "),
            "{}",
            diagnostics[0]
        );
    }
    let rule = "[[apps]]\nrules = [{ path = '/a', access = 'public', cache_control = 'no-store' }]";
    let diagnostics = refused(&GOOD.replacen("[[apps]]", rule, 1));
    assert!(diagnostics.len() == 1 && diagnostics[0].contains("do not pass through the gate"), "{diagnostics:?}");
}

#[test]
fn what_shared_caches_would_keep_of_signed_in_people_is_warned_of() {
    for (access, value, warns) in [
        ("public", "public, max-age=60", false),
        ("authenticated", "private, max-age=60", false),
        ("authenticated", "public, max-age=60", true),
        ("optional", "s-maxage=60", true),
    ] {
        let rule = format!("{{ path = '/a', access = '{access}', cache_control = '{value}' }}");
        let warnings = loaded(&proxied(&rule)).warnings;
        let found = warnings.iter().any(|warning| warning.to_string().contains("caches that many people share"));
        assert_eq!(found, warns, "{rule}: {warnings:?}");
    }
}

//! `[adopt]`: the old outpost, and mistakes about it.

use std::{num::NonZeroU32, time::Duration};

use super::*;
use crate::edge::Edge;

const URL: &str = "url = \"http://old-outpost:9000/outpost.goauthentik.io/auth/traefik\"";

fn with(lines: &str) -> String {
    let secret = GOOD.replace("client_id = \"doorward\"", "client_id = \"doorward\"\nclient_secret = \"a secret\"");
    format!("{secret}[adopt]\n{lines}\n")
}

#[test]
fn the_address_alone_is_enough() {
    assert!(loaded(GOOD).gate.adopt.is_none() && loaded(GOOD).session.adopted_lifetime.is_none());
    let config = loaded(&with(URL));
    let adopt = config.gate.adopt.clone().unwrap();
    assert_eq!(adopt.upstream.origin(), "http://old-outpost:9000");
    assert_eq!((adopt.path.as_str(), adopt.dialect), ("/outpost.goauthentik.io/auth/traefik", Edge::Traefik));
    assert_eq!((adopt.provider, adopt.per_minute), (None, NonZeroU32::new(120).unwrap()));
    assert_eq!(config.session.adopted_lifetime, Some(Duration::from_hours(3 * 24)));
    assert_eq!(config.gate.upstreams().count(), 1);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let config = loaded(&with(&format!("{URL}\nlifetime = \"1h\"\nprovider = \"home\"\nper_minute = 7")));
    let adopt = config.gate.adopt.unwrap();
    assert_eq!((adopt.provider, adopt.per_minute.get()), (Some(0), 7));
    assert_eq!(config.session.adopted_lifetime, Some(Duration::from_hours(1)));
}

#[test]
fn mistakes_are_errors_with_a_hint() {
    for (lines, problem) in [
        ("", "adopt.url: "),
        ("url = \"old-outpost\"", "adopt.url: `old-outpost` is no address"),
        ("url = \"http://old-outpost:9000/\"", "adopt.url: `http://old-outpost:9000/` does not say in which dialect"),
        ("url = \"ftp://old/auth/traefik\"", "adopt.url: `ftp://old/auth/traefik` is neither http nor https"),
        (&format!("{URL}\nlifetime = \"29d\""), "adopt.lifetime: is longer than session.lifetime"),
        (&format!("{URL}\nprovider = \"other\""), "adopt.provider: there is no provider `other`"),
        (&format!("{URL}\nper_minute = 0"), "adopt.per_minute: "),
        (&format!("{URL}\nper_hour = 1"), "adopt.per_hour: there is no such key"),
    ] {
        let diagnostics = refused(&with(lines));
        assert_eq!(diagnostics.len(), 1, "{lines}: {diagnostics:?}");
        assert!(diagnostics[0].contains(problem) && diagnostics[0].contains("\n    "), "{lines}: {}", diagnostics[0]);
    }
    let second = "[[providers]]\nname = \"second\"\nissuer = \"https://two.example.com/\"\nclient_id = \"x\"\nclient_secret = \"y\"\n";
    let diagnostics = refused(&format!("{second}{}", with(&format!("{URL}\nprovider = \"home\""))));
    assert!(
        diagnostics.iter().any(|text| text.contains("has no effect: no app has the provider `home`")),
        "{diagnostics:?}"
    );
}

#[test]
fn what_a_stranger_could_answer_is_warned_of() {
    for (host, is_warned) in [
        ("http://old-outpost:9000", false),
        ("http://127.0.0.1:9000", false),
        ("http://[::1]:9000", false),
        ("http://10.1.2.3", false),
        ("http://[fd00::1]", false),
        ("http://old.auth.svc.cluster.local:9000", false),
        ("http://old.internal", false),
        ("https://old.example.com", false),
        ("http://old.example.com", true),
        ("http://192.0.2.1", true),
        ("http://[2001:db8::1]", true),
    ] {
        let warnings = loaded(&with(&format!("url = \"{host}/outpost.goauthentik.io/auth/nginx\""))).warnings;
        let is_about_it = |warning: &crate::config::Diagnostic| warning.to_string().contains("is http to a host");
        assert_eq!(warnings.iter().any(is_about_it), is_warned, "{host}: {warnings:?}");
    }
    let public = loaded(&format!("{GOOD}[adopt]\n{URL}\n")).warnings;
    assert!(public.iter().any(|warning| warning.to_string().contains("has no client_secret")), "{public:?}");
}

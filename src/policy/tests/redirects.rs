//! Redirect targets, against open redirects.

use std::collections::HashSet;

use data_encoding::BASE64;
use percent_encoding::{AsciiSet, percent_decode_str, utf8_percent_encode};
use proptest::prelude::*;
use serde_json::Value;
use url::Url;

use super::{DefaultAccess, Policy, Settings, app, vectors};
use crate::{
    host::Authority,
    policy::{
        headers::HeaderBudget,
        redirect::{RedirectBase, RedirectTarget},
    },
};

fn estate() -> Policy {
    Policy::new(Settings {
        default: DefaultAccess::Authenticated,
        header_budget: HeaderBudget::default(),
        apps: vec![app("app", &["app.example.com"]), app("other", &["other.example.com", "*.wild.example.com"])],
    })
}

fn parsed(text: &str, scheme: &str, authority: &str, policy: &Policy) -> Option<String> {
    let authority = Authority::parse(authority).unwrap();
    let base = RedirectBase { scheme, authority: &authority, prefixes: &["/_doorward".to_owned()] };
    RedirectTarget::parse(text, base, policy).map(|target| {
        assert_eq!(target.location().to_str().unwrap(), target.as_str());
        target.as_str().to_owned()
    })
}

#[test]
fn what_is_taken_stays_as_it_was() {
    for (text, expected) in [
        ("/", "https://app.example.com/"),
        ("/a%2Fb/./c?x=1&y=//z&u=https://h/p?q#/r", "https://app.example.com/a%2Fb/./c?x=1&y=//z&u=https://h/p?q#/r"),
        ("/https://example.com", "https://app.example.com/https://example.com"),
        ("https://app.example.com", "https://app.example.com"),
        ("https://app.example.com//a//b", "https://app.example.com//a//b"),
        ("https://other.example.com/x?y#z", "https://other.example.com/x?y#z"),
        ("https://Other.Example.com:443/x", "https://Other.Example.com:443/x"),
        ("https://a.b.wild.example.com/x", "https://a.b.wild.example.com/x"),
    ] {
        assert_eq!(parsed(text, "https", "app.example.com", &estate()).as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn what_leaves_the_site_or_could_be_read_so_is_refused() {
    let long = format!("/{}", "a".repeat(17 << 10));
    for text in [
        "",
        "x",
        "x/y",
        "?x",
        "#x",
        "//other.example.com/",
        "///other.example.com/",
        "/\\evil.example",
        "/\t/evil.example",
        "/a?b=\\",
        "https://app.example.com/?\\",
        " /a",
        "\u{a0}/a",
        "/a\u{7f}",
        "\u{1}https://app.example.com/",
        "http://evil.example/",
        "http://evil.example:80/",
        "http://app.example.com:8080/",
        "http://app.example.com:80:80/",
        "http://app.example.com@evil.example/",
        "http:app.example.com/",
        "http:///app.example.com/",
        "http://app.example\u{3002}com/",
        "https://app.example\u{3002}com/",
        "https://app.example.com\u{ff0f}evil.example/",
        "HTTPS://app.example.com/",
        "https:app.example.com/",
        "https:/app.example.com/",
        "https:///app.example.com/",
        "https://",
        "https://evil.example/",
        "https://wild.example.com/",
        "https://badapp.example.com/",
        "https://app.example.com.evil.example/",
        "https://app.example.com./",
        "https://user@app.example.com/",
        "https://:@app.example.com/",
        "https://app.example.com:80@evil.example/",
        "https://app.example.com:8443/",
        "https://app.example.com:0/",
        "https://app.example.com:/",
        "https://app.example.com%2eevil.example/",
        "https://unnamed.example.com/",
        "javascript:alert(1)",
        "javascript://app.example.com/%0aalert(1)",
        "data:text/html,x",
        &long,
    ] {
        assert_eq!(parsed(text, "https", "app.example.com", &estate()), None, "{text}");
    }
}

#[test]
fn http_is_raised_to_the_https_of_the_site() {
    for (text, authority, expected) in [
        ("http://app.example.com/deep?x=http://y", "app.example.com", "https://app.example.com/deep?x=http://y"),
        ("http://app.example.com:80/deep", "app.example.com", "https://app.example.com/deep"),
        ("http://app.example.com", "app.example.com", "https://app.example.com"),
        ("http://other.example.com?x", "app.example.com", "https://other.example.com?x"),
        ("http://app.example.com:8443/deep", "app.example.com:8443", "https://app.example.com:8443/deep"),
        ("http://app.example.com/_doorward/sign_out", "app.example.com", "https://app.example.com/"),
    ] {
        assert_eq!(parsed(text, "https", authority, &estate()).as_deref(), Some(expected), "{text}");
    }
    assert_eq!(parsed("https://app.example.com/", "http", "app.example.com", &estate()), None);
}

#[test]
fn what_no_url_can_hold_is_percent_encoded_as_browsers_do() {
    for (text, expected) in [
        ("/caf\u{e9}/a b?q=\u{2713}", "https://app.example.com/caf%C3%A9/a%20b?q=%E2%9C%93"),
        ("https://app.example.com/?q=\u{ff0f}\u{85}", "https://app.example.com/?q=%EF%BC%8F%C2%85"),
    ] {
        assert_eq!(parsed(text, "https", "app.example.com", &estate()).as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn the_asked_host_and_port_are_known_even_where_no_app_names_them() {
    for (text, authority, expected) in [
        ("https://unnamed.example.com/x", "unnamed.example.com", true),
        ("https://app.example.com:8443/x", "app.example.com:8443", true),
        ("https://other.example.com:8443/x", "app.example.com:8443", true),
        ("https://other.example.com/x", "app.example.com:8443", true),
        ("https://other.example.com:8444/x", "app.example.com:8443", false),
        ("/x", "[::1]:8443", true),
        ("/x", "127.0.0.1:8443", true),
        // A browser reads these hosts as other ones than we do.
        ("/x", "0x7f.1", false),
        ("/x", "app.256", false),
    ] {
        assert_eq!(parsed(text, "https", authority, &estate()).is_some(), expected, "{text} from {authority}");
    }
}

#[test]
fn a_target_below_our_own_prefix_becomes_the_root() {
    for text in [
        "/_doorward",
        "/_doorward/",
        "/_doorward/start?rd=https://evil.example/",
        "/x/../_doorward/sign_out",
        "/x/%2e%2e/_doorward/sign_out",
        "/%5Fdoorward/sign_out",
        "/_DOORWARD/sign_out",
        "/.//_doorward/sign_out",
        "/_doorward?x",
    ] {
        assert_eq!(parsed(text, "https", "app.example.com", &estate()).unwrap(), "https://app.example.com/", "{text}");
    }
    let other = parsed("https://other.example.com/_doorward/sign_out", "https", "app.example.com", &estate());
    assert_eq!(other.unwrap(), "https://other.example.com/");
    let near = parsed("/_doorwardx", "https", "app.example.com", &estate());
    assert_eq!(near.unwrap(), "https://app.example.com/_doorwardx");
}

#[test]
fn the_address_that_was_asked_is_come_back_to_byte_for_byte() {
    let authority = Authority::parse("app.example.com:8443").unwrap();
    let base = RedirectBase { scheme: "https", authority: &authority, prefixes: &["/_doorward".to_owned()] };
    let long = format!("/explore?left={}", "%7B%22x%22:".repeat(1_488));
    assert_eq!(long.len(), 16_382);
    for target in [
        "/",
        "//double//slash?a=b",
        "/foo%20bar/%E2%9C%93?x=1&y=a%2Fb&z=%20q&u=https://h/p?q",
        "/q?",
        r#"/q?path=C:\Users\x&re=a\.b|c^{d}"e"<f>`'"#,
        &long,
    ] {
        let target_url = format!("https://app.example.com:8443{target}");
        let original = RedirectTarget::original(target, base, &estate()).unwrap();
        assert_eq!(original.as_str(), target_url);
        assert_eq!(RedirectTarget::again(original.as_str(), base, &estate()), Some(original.clone()));
        assert_eq!(original.location(), target_url);
    }
    for (target, expected) in
        [("/a\\b?c\\d", "/a%5Cb?c\\d"), ("/\\evil.example", "/%5Cevil.example"), ("/q?caf\u{e9}", "/q?caf%C3%A9")]
    {
        let target_url = format!("https://app.example.com:8443{expected}");
        assert_eq!(RedirectTarget::original(target, base, &estate()).unwrap().as_str(), target_url);
    }
    let too_long = format!("/?{}", "a".repeat(17 << 10));
    assert_eq!(RedirectTarget::original(&too_long, base, &estate()), None);
    assert_eq!(RedirectTarget::original("@evil.example/", base, &estate()), None);
    assert_eq!(RedirectTarget::root(base).as_str(), "https://app.example.com:8443/");
}

/// Case of the vectors: its name, the decoded `rd`, the decision of the project that it is from, and a browser's destination.
struct OpenRedirectCase {
    id: String,
    text: String,
    peer_accepts: bool,
    class: String,
}

/// All cases; those with a plus twice, with and without form decoding. What is no text is refused where the query is
/// decoded, because a target is a `&str`.
fn rows() -> Vec<OpenRedirectCase> {
    let file = vectors("redirects.jsonl");
    let lines: Vec<Value> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 308);
    let mut rows = Vec::new();
    for line in lines {
        let field = |key: &str| line[key].as_str().unwrap().to_owned();
        let decoded = BASE64.decode(field("decoded_b64").as_bytes()).unwrap();
        let wire = field("wire");
        assert_eq!(percent_decode_str(&wire.replace('+', " ")).collect::<Vec<_>>(), decoded, "{line}");
        let readings = [decoded, percent_decode_str(&wire).collect()];
        for text in readings.into_iter().filter_map(|bytes| String::from_utf8(bytes).ok()).collect::<HashSet<_>>() {
            let row = OpenRedirectCase {
                id: field("id"),
                text,
                peer_accepts: field("expect") == "accept",
                class: field("browser_class"),
            };
            rows.push(row);
        }
    }
    rows
}

fn peers_estate() -> Policy {
    let hosts = [
        "foo.bar",
        "bar.foo",
        "*.bar.foo",
        "port.bar",
        "sub.port.bar",
        "*.sub.port.bar",
        "anyport.bar",
        "sub.anyport.bar",
        "*.sub.anyport.bar",
        "www.whitelisteddomain.tld",
        "wildcard.sub.port.bar",
        "*.wildcard.sub.port.bar",
        "wildcard.sub.anyport.bar",
        "*.wildcard.sub.anyport.bar",
        "wildcard.bar",
        "*.wildcard.bar",
        "wildcard.proxy.foo.bar",
        "*.wildcard.proxy.foo.bar",
    ];
    super::policy(vec![app("app", &["app.example.com"]), app("peers", &hosts)])
}

/// Returns `true` where a browser would end at a host that no app of the estate names.
fn peers_estate_lacks(taken: &str) -> bool {
    let url = Url::parse(taken).unwrap();
    !peers_estate().names(url.host_str().unwrap())
}

#[test]
fn no_vector_leaves_an_https_site() {
    for OpenRedirectCase { id, text, peer_accepts, class } in rows() {
        let taken = parsed(&text, "https", "app.example.com", &peers_estate());
        // The peer's accepted absolute addresses are all http: here they are raised to https, or refused for their port.
        if let (true, Some(taken)) = (peer_accepts && text.starts_with("http://"), &taken) {
            assert!(taken.starts_with("https://") && !peers_estate_lacks(taken), "{id} {text:?} {taken}");
        } else if class != "same-origin" {
            assert_eq!(taken, None, "{id} {text:?}");
        } else if let Some(taken) = taken {
            assert_eq!(Url::parse(&taken).unwrap().host_str(), Some("app.example.com"), "{id} {text:?}");
        } else {
            assert!(!peer_accepts, "{id} {text:?}");
        }
    }
}

#[test]
fn on_an_http_site_the_vectors_go_where_the_peer_lets_them() {
    // Ports are not part of an app's hosts: besides the default there is the one that the gate is reached at.
    let at_8080: HashSet<&str> =
        ["o2p-table-18", "o2p-table-20", "o2p-table-22", "o2p-table-24", "o2p-table-52", "o2p-table-54"].into();
    let at_4242: HashSet<&str> = ["o2p-table-48", "o2p-table-50"].into();
    for OpenRedirectCase { id, text, peer_accepts, class } in rows() {
        for (authority, other_ports) in [
            ("app.example.com", &at_8080 | &at_4242),
            ("app.example.com:8080", at_4242.clone()),
            ("app.example.com:4242", at_8080.clone()),
        ] {
            let taken = parsed(&text, "http", authority, &peers_estate());
            if peer_accepts {
                assert_eq!(taken.is_some(), !other_ports.contains(id.as_str()), "{id} {text:?} from {authority}");
            } else if class != "same-origin" {
                assert_eq!(taken, None, "{id} {text:?} from {authority}");
            }
        }
    }
}

const SPACE: &AsciiSet = &AsciiSet::EMPTY.add(b' ');

fn nasty() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "https://",
            "http://",
            "https:",
            "//",
            "/",
            "\\",
            "@",
            ":",
            ":443",
            ":8443",
            "?",
            "#",
            "%",
            "%2f",
            "%5c",
            "%09",
            "\t",
            "\n",
            " ",
            ".",
            "..",
            "app.example.com",
            "other.example.com",
            "evil.example",
            "x.wild.example.com",
            "_doorward",
            "javascript:",
            "[::1]",
            "127.0.0.1",
            "。",
            "\u{a0}",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,3}",
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn a_browser_never_ends_anywhere_else(text in prop_oneof![nasty(), any::<String>()], port in prop_oneof![Just(""), Just(":8443")]) {
        let allowed = ["app.example.com", "other.example.com"];
        if let Some(taken) = parsed(&text, "https", &format!("app.example.com{port}"), &estate()) {
            let base = Url::parse(&format!("https://app.example.com{port}/deep/page")).unwrap();
            // As our `Location` has it, and as a page or an edge might resolve the text itself.
            for url in [Url::parse(&taken).unwrap(), base.join(&text).unwrap()] {
                let host = url.host_str().unwrap().to_owned();
                prop_assert!(allowed.contains(&host.as_str()) || host.ends_with(".wild.example.com"), "{url}");
                prop_assert!(url.scheme() == "https" || text.starts_with("http://"), "{url}");
                prop_assert!(url.port().is_none_or(|number| format!(":{number}") == port), "{url}");
                prop_assert!(url.username().is_empty() && url.password().is_none(), "{url}");
            }
            prop_assert!(!Url::parse(&taken).unwrap().path().starts_with("/_doorward/"));
            let (_, behind_scheme) = text.split_once("://").unwrap_or(("", &text));
            let behind_authority = behind_scheme.split_at(behind_scheme.find(['/', '?', '#']).unwrap_or(behind_scheme.len())).1;
            let kept: String = utf8_percent_encode(behind_authority, SPACE).collect();
            prop_assert!(taken.ends_with(&kept) || taken.ends_with('/'), "{} of {}", taken, text);
        }
    }
}

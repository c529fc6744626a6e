//! Apps by host.

use serde_json::Value;

use super::{super::HostPattern, App, DefaultAccess, Policy, Settings, app, policy, vectors};
use crate::{host::Authority, policy::headers::HeaderBudget};

fn named(policy: &Policy, host: &str) -> String {
    policy.site(host).map_or("-".to_owned(), |site| site.app.name.clone())
}

#[test]
fn the_exact_name_wins_then_the_longest_wildcard() {
    let policy = policy(vec![
        app("wide", &["*.example.com"]),
        app("narrow", &["*.b.example.com", "b.example.com"]),
        app("exact", &["a.b.example.com"]),
        app("second", &["a.b.example.com", "*.example.com", "second.example.org"]),
    ]);
    for (host, expected) in [
        ("a.b.example.com", "exact"),
        ("x.b.example.com", "narrow"),
        ("x.y.b.example.com", "narrow"),
        ("b.example.com", "narrow"),
        ("x.example.com", "wide"),
        ("x.a.b.example.com", "narrow"),
        ("example.com", "-"),
        ("badexample.com", "-"),
        ("second.example.org", "second"),
        ("com", "-"),
        ("", "-"),
        (".example.com", "wide"),
        ("[::1]", "-"),
    ] {
        assert_eq!(named(&policy, host), expected, "{host}");
    }
    assert!(policy.names("x.example.com") && !policy.names("example.com"));
}

#[test]
fn a_host_that_no_app_names_is_nobodys_or_everybodys_as_configured() {
    let apps = || vec![app("a", &["a.example"])];
    let closed =
        Policy::new(Settings { default: DefaultAccess::Deny, header_budget: HeaderBudget::default(), apps: apps() });
    assert!(closed.site("b.example").is_none());
    let open = Policy::new(Settings {
        default: DefaultAccess::Authenticated,
        header_budget: HeaderBudget::default(),
        apps: apps(),
    });
    assert_eq!(open.site("b.example").unwrap().index, None);
    assert_eq!(open.site("a.example").unwrap().index, Some(0));
    assert!(!open.names("b.example"));
    // The same headers as the app's, so one rendering serves both.
    let plan = |host| open.site(host).unwrap().app.headers.id();
    assert_eq!(plan("a.example"), plan("b.example"));
}

#[test]
fn thousands_of_hosts_are_each_found() {
    let apps: Vec<App> =
        (0..3000).map(|n| app(&format!("app{n}"), &[&format!("h{n}.example"), &format!("*.w{n}.example")])).collect();
    let policy = policy(apps);
    for n in [0, 1, 1499, 2999] {
        assert_eq!(policy.site(&format!("h{n}.example")).unwrap().index, Some(n));
        assert_eq!(policy.site(&format!("x.w{n}.example")).unwrap().index, Some(n));
    }
}

/// Returns `true` if an app names a host as it is in a request, after folding.
fn is_named(policy: &Policy, host: &str) -> bool {
    Authority::parse(host).is_ok_and(|authority| policy.names(authority.host()))
}

#[test]
fn domains_match_as_in_the_suites_of_peers() {
    let file: Value = serde_json::from_str(&vectors("domain-matching.json")).unwrap();
    let mut seen = 0;
    for case in file["groups"].as_array().unwrap().iter().flat_map(|group| group["cases"].as_array().unwrap()) {
        let text = |key: &str| case[key].as_str().map(str::to_ascii_lowercase);
        let matcher = &case["matcher"];
        if let (Some(domain), Some(suffix)) = (case["domain"].as_str(), text("suffix")) {
            // A suffix of theirs is a host and all below it: two patterns of ours, folded by the configuration.
            let suffix = suffix.trim_start_matches('.');
            let policy = policy(vec![app("a", &[suffix, &format!("*.{suffix}")])]);
            let expected = match case["name"].as_str().unwrap() {
                // `.example.com` is no host that an edge could route: refused before any app is looked for.
                "ShouldMatchPeriodPrefixedSuffixEqualToDomain" => false,
                _ => case["expect"] == true,
            };
            assert_eq!(is_named(&policy, domain), expected, "{case}");
            seen += 1;
        } else if matcher["Wildcard"] == true {
            let policy = policy(vec![app("a", &[&format!("*.{}", matcher["Name"].as_str().unwrap())])]);
            assert_eq!(is_named(&policy, case["domain"].as_str().unwrap()), case["expect"] == true, "{case}");
            seen += 1;
        } else if case["fn"] == "Matches" {
            let apps = ["vouch.github.io", "sub.test.mydomain.com", "test.mydomain.com"];
            let policy = policy(apps.map(|host| app(host, &[host, &format!("*.{host}")])).into());
            let host = case["host"].as_str().unwrap();
            let found = if is_named(&policy, host) { named(&policy, host) } else { String::new() };
            assert_eq!(found, case["expect"].as_str().unwrap(), "{case}");
            seen += 1;
        } else {
            // Names of users or groups as a label of the host, and domains of e-mail addresses: nothing of ours.
            assert!(
                matcher["UserWildcard"] == true
                    || matcher["GroupWildcard"] == true
                    || case["fn"] == "IsUnderManagement"
            );
        }
    }
    assert_eq!(seen, 27);
}

#[test]
fn patterns_overlap_where_a_host_is_one_of_both() {
    let pattern = |text: &str| match text.strip_prefix("*.") {
        Some(domain) => HostPattern::Below(domain.to_owned()),
        None => HostPattern::Exact(text.to_owned()),
    };
    for (one, other, expected) in [
        ("a.example", "a.example", true),
        ("a.example", "b.example", false),
        ("a.example", "*.example", true),
        ("example", "*.example", false),
        ("aexample", "*.example", false),
        (".example", "*.example", false),
        ("*.example", "*.example", true),
        ("*.b.example", "*.example", true),
        ("*.bexample", "*.example", false),
        ("*.a.example", "*.b.example", false),
    ] {
        assert_eq!(pattern(one).overlaps(&pattern(other)), expected, "{one} {other}");
        assert_eq!(pattern(other).overlaps(&pattern(one)), expected, "{other} {one}");
    }
}

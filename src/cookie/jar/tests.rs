//! Names, attributes and removal of the gate's cookies.

use super::*;
use crate::cookie::values;

fn request(lines: &[&str]) -> HeaderMap {
    lines.iter().map(|line| (header::COOKIE, HeaderValue::from_bytes(line.as_bytes()).unwrap())).collect()
}

#[test]
fn a_host_shares_cookies_with_its_domain_and_with_nothing_that_only_looks_like_it() {
    let (own, shared) = (cookies(&[]), cookies(&["example.com"]));
    for (host, audience) in [
        ("example.com", ".example.com"),
        ("app.example.com", ".example.com"),
        ("a.b.example.com", ".example.com"),
        ("notexample.com", "notexample.com"),
        ("example.com.evil.test", "example.com.evil.test"),
        ("com", "com"),
    ] {
        let audiences = (own.at(host, 0).audience(), shared.at(host, 0).audience());
        assert_eq!(audiences, (host, audience), "{host}");
    }
}

/// The cookies of a gate with two providers.
fn cookies(domains: &[&str]) -> GateCookies {
    with(domains, SiteScheme::Https)
}

fn with(domains: &[&str], scheme: SiteScheme) -> GateCookies {
    let domains: Vec<_> = domains.iter().map(|domain| (*domain).to_owned()).collect();
    GateCookies::new("doorward", &domains, &["home", "work"], scheme)
}

#[test]
fn foreign_cookies_are_forwarded_byte_for_byte() {
    let (ours, login) = ("__Host-doorward=secret", "__Host-doorward_login=secret");
    for (lines, expected) in [
        (vec![], ""),
        (vec!["a=1"], "a=1"),
        (vec!["a=1; b=\"x y\";c=;; d ;  e==f"], "a=1; b=\"x y\";c=;; d ;  e==f"),
        (vec![ours], ""),
        (vec![&*format!("{ours}; {login}")], ""),
        (vec![&*format!("{ours}; a=1")], "a=1"),
        (vec![&*format!("a=1; {ours}")], "a=1"),
        (vec![&*format!("a=1;{ours};b=2")], "a=1;b=2"),
        (vec![&*format!("a=1; {ours}; b=2; {login} ; c=3")], "a=1; b=2; c=3"),
        (vec![&*format!("{ours}; {ours};a=1")], "a=1"),
        (vec!["a=1", ours, " b=2 ", login, "c=3"], "a=1; b=2 ; c=3"),
        (vec![ours, "c=3"], "c=3"),
        (
            vec!["__Host-doorward2=x; x__Host-doorward=y; __host-doorward=z; doorward=w"],
            "__Host-doorward2=x; x__Host-doorward=y; __host-doorward=z; doorward=w",
        ),
        (
            vec!["__Host-doorward_login2=x; __Host-doorward_logi=y; a=__Host-doorward=z"],
            "__Host-doorward_login2=x; __Host-doorward_logi=y; a=__Host-doorward=z",
        ),
        (vec!["__Host-doorward =secret; a=1;\t__Host-doorward\t=\tsecret"], "a=1"),
        (vec!["__Host-doorward; a=1"], "a=1"),
        (vec!["utf=caf\u{e9}; \u{e9}"], "utf=caf\u{e9}; \u{e9}"),
    ] {
        let forwarded = cookies(&[]).forwarded(&request(&lines), 1_000).unwrap();
        assert_eq!(forwarded.as_bytes(), expected.as_bytes(), "{lines:?}");
    }
}

#[test]
fn cookies_that_are_too_long_are_not_cut() {
    let headers = request(&["a=12345678", "__Host-doorward=0123456789", "b=2"]);
    assert_eq!(cookies(&[]).forwarded(&headers, 15).unwrap(), "a=12345678; b=2");
    assert_eq!(cookies(&[]).forwarded(&headers, 14), None);
}

proptest::proptest! {
    #[test]
    fn our_cookies_are_never_forwarded_and_all_others_are(
        lines in proptest::collection::vec("(__Host-doorward(_login)?=s;?|[ab]=|[ab=; \t]){0,12}", 0..4),
    ) {
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        let (headers, cookies) = (request(&lines), cookies(&[]));
        let forwarded = HeaderMap::from_iter([(header::COOKIE, cookies.forwarded(&headers, usize::MAX).unwrap())]);
        for own in ["__Host-doorward", "__Host-doorward_login"] {
            proptest::prop_assert_eq!(values(&forwarded, own).count(), 0);
        }
        for name in ["a", "b"] {
            let (before, after): (Vec<_>, Vec<_>) = (values(&headers, name).collect(), values(&forwarded, name).collect());
            proptest::prop_assert_eq!(before, after);
        }
    }
}

#[test]
fn the_prefix_says_whose_cookie_it_is() {
    for (domains, scheme, name) in [
        (&[][..], SiteScheme::Https, "__Host-doorward"),
        (&["example.com"], SiteScheme::Https, "__Secure-doorward"),
        (&[], SiteScheme::Http, "doorward"),
        (&["example.com"], SiteScheme::Http, "doorward"),
    ] {
        assert_eq!(with(domains, scheme).at("app.example.com", 0).session_name(), name);
    }
}

#[test]
fn each_host_has_the_cookie_of_the_longest_domain_that_it_is_in_and_of_its_provider() {
    let cookies = cookies(&["example.com", "dev.example.com", "example.org"]);
    for (host, audience, names) in [
        ("app.example.com", ".example.com", ["__Secure-doorward", "__Secure-doorward_work", "__Secure-doorward_login"]),
        (
            "dev.example.com",
            ".dev.example.com",
            ["__Secure-doorward", "__Secure-doorward_work", "__Secure-doorward_login"],
        ),
        (
            "a.dev.example.com",
            ".dev.example.com",
            ["__Secure-doorward", "__Secure-doorward_work", "__Secure-doorward_login"],
        ),
        (
            "adev.example.com",
            ".example.com",
            ["__Secure-doorward", "__Secure-doorward_work", "__Secure-doorward_login"],
        ),
        ("example.org", ".example.org", ["__Secure-doorward", "__Secure-doorward_work", "__Secure-doorward_login"]),
        ("example.net", "example.net", ["__Host-doorward", "__Host-doorward", "__Host-doorward_login"]),
        (
            "dev.example.com.evil.test",
            "dev.example.com.evil.test",
            ["__Host-doorward", "__Host-doorward", "__Host-doorward_login"],
        ),
    ] {
        let (first, second) = (cookies.at(host, 0), cookies.at(host, 1));
        assert_eq!([first.audience(), second.audience()], [audience; 2], "{host}");
        assert_eq!([first.session_name(), second.session_name(), second.login_name()], names, "{host}");
        assert_eq!(first.login_name(), second.login_name(), "{host}: one login cookie for any number of tabs");
    }
}

#[test]
fn a_nested_domain_knows_the_domains_around_it() {
    let cookies = cookies(&["example.com", "b.example.com", "a.b.example.com", "example.org"]);
    for (host, outer) in [
        ("x.a.b.example.com", vec![".b.example.com", ".example.com"]),
        ("b.example.com", vec![".example.com"]),
        ("example.com", vec![]),
        ("example.org", vec![]),
        ("example.net", vec![]),
    ] {
        assert_eq!(cookies.at(host, 0).outer_audiences().collect::<Vec<_>>(), outer, "{host}");
    }
    let at = |host| cookies.at(host, 1).all_sessions().collect::<Vec<_>>();
    assert_eq!(at("example.net"), [("__Host-doorward", "example.net")]);
    assert_eq!(
        at("b.example.com"),
        [
            ("__Secure-doorward", ".b.example.com"),
            ("__Secure-doorward_work", ".b.example.com"),
            ("__Secure-doorward", ".example.com"),
            ("__Secure-doorward_work", ".example.com"),
        ]
    );
}

#[test]
fn a_cookie_is_removed_with_the_attributes_it_was_set_with() {
    for (host, provider, attributes) in [
        ("app.example.com", 0, ("__Secure-doorward", "; Path=/; Domain=example.com")),
        ("app.example.com", 1, ("__Secure-doorward_work", "; Path=/; Domain=example.com")),
        ("a.dev.example.com", 0, ("__Secure-doorward", "; Path=/; Domain=dev.example.com")),
        ("example.net", 1, ("__Host-doorward", "; Path=/")),
    ] {
        let cookies = cookies(&["example.com", "dev.example.com"]);
        let (cookies, (name, scope)) = (cookies.at(host, provider), attributes);
        let set = cookies.set_session("v", Duration::from_mins(1));
        assert_eq!(set, format!("{name}=v; HttpOnly; SameSite=Lax; Secure{scope}; Max-Age=60"));
        assert_eq!(cookies.clear_session(), format!("{name}=; HttpOnly; SameSite=Lax; Secure{scope}; Max-Age=0"));
        assert!(cookies.clear_login().to_str().unwrap().contains(scope), "{host}");
    }
}

#[test]
fn a_reset_removes_what_the_host_has_and_every_other_cookie_of_ours_that_was_sent() {
    let reset = |domains: &[&str], scheme, host, sent: &str| {
        let lines = with(domains, scheme).at(host, 0).clear_all(&request(&[sent]));
        let short = |line: &HeaderValue| {
            let line = line.to_str().unwrap().to_owned();
            let domain = line.split("; ").find_map(|part| part.strip_prefix("Domain="));
            format!("{} {}", line.split('=').next().unwrap(), domain.unwrap_or("-"))
        };
        lines.iter().map(short).collect::<Vec<_>>()
    };
    let (https, http) = (SiteScheme::Https, SiteScheme::Http);
    assert_eq!(reset(&[], https, "a.example.com", ""), ["__Host-doorward -", "__Host-doorward_login -"]);
    let own = ["__Secure-doorward example.com", "__Secure-doorward_login example.com"];
    assert_eq!(reset(&["example.com"], https, "a.example.com", "__Host-doorward2=x; y=z"), own);
    assert_eq!(
        reset(&["example.com"], https, "a.example.com", "__Secure-doorward_work=x; __Host-doorward=y"),
        [own[0], own[1], "__Secure-doorward_work example.com", "__Host-doorward -"]
    );
    assert_eq!(
        reset(&["example.com", "dev.example.com"], https, "a.dev.example.com", ""),
        ["__Secure-doorward dev.example.com", "__Secure-doorward_login dev.example.com", own[0], own[1]]
    );
    assert_eq!(
        reset(&["example.com"], http, "a.example.com", "doorward=x; doorward_work=y"),
        ["doorward example.com", "doorward_login example.com", "doorward_work example.com"]
    );
}

#[test]
fn no_cookie_of_any_provider_or_domain_is_forwarded() {
    let sent = request(&[
        "a=1; __Host-doorward=x; __Secure-doorward=x; __Secure-doorward_work=x; __Secure-doorward_home=theirs; \
         __Secure-doorward_login=x; __Host-doorward_login=x; b=2",
    ]);
    let forwarded = cookies(&["example.com"]).forwarded(&sent, 1_000).unwrap();
    assert_eq!(forwarded, "a=1; __Secure-doorward_home=theirs; b=2");
}

#[test]
fn a_line_that_sets_a_cookie_of_the_gate_is_told_in_every_spelling() {
    let at_one_host = with(&[], SiteScheme::Https);
    for (line, sets) in [
        ("__Host-doorward=x", true),
        ("__Host-doorward=; Max-Age=0", true),
        ("  __Host-doorward = x; Path=/", true),
        ("=__Host-doorward=x", true),
        ("__Host-doorward_login=x", true),
        ("__Secure-doorward_login_x_0=x; Path=/_doorward/callback", true),
        ("doorward=x", false),
        ("a=__Host-doorward=x", false),
        ("__Host-doorward", false),
        ("__Host-doorward2=x", false),
        ("a=1; __Host-doorward=x", false),
    ] {
        assert_eq!(at_one_host.sets_own(&HeaderValue::from_static(line)), sets, "{line}");
    }
    let of_a_domain = with(&["example.com"], SiteScheme::Https);
    assert!(of_a_domain.sets_own(&HeaderValue::from_static("__Secure-doorward=x; Domain=example.com")));
}

#[test]
fn cookies_of_a_sign_in_are_not_forwarded_wherever_they_are_sent() {
    let sent = request(&[
        "a=1; __Secure-doorward_login_x_0=sealed; __Secure-doorward_login_rounds=2; __Secure-doorward_loginx=theirs",
    ]);
    let forwarded = with(&[], SiteScheme::Https).forwarded(&sent, 1_000).unwrap();
    assert_eq!(forwarded, "a=1; __Secure-doorward_loginx=theirs");
}

#[test]
fn a_cookie_of_a_path_stays_at_its_host() {
    for (domains, scheme, expected) in [
        (
            &[][..],
            SiteScheme::Https,
            "__Secure-doorward_login_x=v; HttpOnly; SameSite=Lax; Secure; Path=/p/x; Max-Age=60",
        ),
        (&["example.com"], SiteScheme::Http, "doorward_login_x=v; HttpOnly; SameSite=Lax; Path=/p/x; Max-Age=60"),
    ] {
        let cookies = with(domains, scheme);
        let name = format!("{}_x", cookies.path_bound_name());
        assert_eq!(cookies.set_at("/p/x", &name, "v", Duration::from_mins(1)), expected);
    }
}

#[test]
fn a_foreign_cookie_is_removed_from_the_host_and_from_the_domains_that_it_is_in() {
    for (domains, scheme, expected) in [
        (&[][..], SiteScheme::Http, vec!["old=; Path=/; Max-Age=0"]),
        (&[], SiteScheme::Https, vec!["old=; Secure; Path=/; Max-Age=0"]),
        (
            &["example.com", "example.org"],
            SiteScheme::Https,
            vec!["old=; Secure; Path=/; Max-Age=0", "old=; Secure; Path=/; Domain=example.com; Max-Age=0"],
        ),
        (
            &["example.com", "dev.example.com"],
            SiteScheme::Http,
            vec![
                "old=; Path=/; Max-Age=0",
                "old=; Path=/; Domain=dev.example.com; Max-Age=0",
                "old=; Path=/; Domain=example.com; Max-Age=0",
            ],
        ),
    ] {
        assert_eq!(with(domains, scheme).at("a.dev.example.com", 1).clear_foreign("old"), expected);
    }
}

//! Heads of requests and responses as they pass, in tables, and for any head at all.

use http::{Method, Request, Response, StatusCode};
use proptest::prelude::*;

use super::{
    connection::requested_protocol,
    reserved::{Sayer, may_be_of_connection},
    *,
};
use crate::cookie::SiteScheme;

/// Headers in their order, as `name: value`.
fn lines(headers: &HeaderMap) -> Vec<String> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| format!("{name}: {}", text(value))).collect()
}

fn head(version: Version, host: &str, sent: &[(&str, &str)]) -> Parts {
    let request = Request::get("/a?b").version(version).header("host", host);
    sent.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body(()).unwrap().into_parts().0
}

/// What a plan with preset `remote`, an own header and a service token's header says of somebody.
fn identity() -> HeaderMap {
    [
        ("remote-user", "ann"),
        ("remote-groups", ""),
        ("x-team", "ops"),
        ("x-device-token", ""),
        ("doorward-emergency", ""),
        ("content-length", "0"),
        ("cookie", "left=over"),
    ]
    .into_iter()
    .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
    .collect()
}

fn jar() -> GateCookies {
    GateCookies::new("doorward", &["example.com".to_owned()], &["home", "work"], SiteScheme::Https)
}

/// Passes a head of `app.example.com` on.
fn passed(peer: Peer, sent: &Parts, identity: &HeaderMap) -> Result<HeaderMap, upstream::Error> {
    let (token, jar) = (HeaderName::from_static("x-device-token"), jar());
    let (Peer::Client(client) | Peer::Proxy(client)) = peer;
    let head = ForwardedHead {
        scheme: "https",
        authority: &Authority::parse("app.example.com").unwrap(),
        peer,
        client: Some(client),
        authorization: AuthorizationReader::App,
        service_token: Some(&token),
        upgrade: None,
        jar: &jar,
    };
    head.request(sent, identity)
}

const STRANGER: Peer = Peer::Client(IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 9)));
const PROXY: Peer = Peer::Proxy(IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)));

/// What every request of [`STRANGER`] gets: the gate's own words.
const SAID: [&str; 9] = [
    "host: app.example.com",
    "x-forwarded-host: app.example.com",
    "x-forwarded-port: 443",
    "x-forwarded-proto: https",
    "x-forwarded-for: 203.0.113.9",
    "x-real-ip: 203.0.113.9",
    "via: 1.1 doorward",
    "remote-user: ann",
    "remote-groups: ",
];

#[test]
fn of_what_a_stranger_sends_only_the_apps_own_passes() {
    let own = [
        ("accept", "text/html"),
        ("authorization", "Basic YQ=="),
        ("if-none-match", "\"a\""),
        ("range", "bytes=0-1"),
        ("x-own", "1"),
        ("x-own", "2"),
        ("content-type", "text/plain"),
        ("trailer", "x-checksum"),
        ("x-http-method-override", "PUT"),
        ("destination", "https://app.example.com/b"),
        ("x-webauth-user", "app's own affair"),
    ];
    let gone = [
        ("connection", "keep-alive, x-hop"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic YQ=="),
        ("te", "gzip"),
        ("transfer-encoding", "chunked"),
        ("transfer_encoding", "chunked"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABkAARAAAAAAAIAAAAA"),
        ("content-length", "5"),
        ("content_length", "7"),
        ("expect", "100-continue"),
        ("forwarded", "for=10.0.0.1;host=evil"),
        ("proxy", "http://evil"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x_forwarded_for", "10.0.0.1"),
        ("x-forwarded-host", "evil"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-port", "1"),
        ("x-forwarded-prefix", "/evil"),
        ("x-forwarded-server", "evil"),
        ("x-forwarded-uri", "/evil"),
        ("x-forwarded-method", "DELETE"),
        ("x-forwarded-user", "admin"),
        ("x-real-ip", "10.0.0.1"),
        ("x.real.ip", "10.0.0.1"),
        ("x-original-url", "/evil"),
        ("x-original-uri", "/evil"),
        ("x_rewrite_url", "/evil"),
        ("x-rewrite-url", "/evil"),
        ("true-client-ip", "10.0.0.1"),
        ("remote-user", "admin"),
        ("remote_user", "admin"),
        ("Remote.User", "admin"),
        ("x-authentik-username", "admin"),
        ("x_authentik_username", "admin"),
        ("X-Authentik_Meta.Anything", "admin"),
        ("x-auth-request-email", "admin@example.com"),
        ("doorward-emergency", "true"),
        ("doorward-anything", "1"),
        ("x-team", "admins"),
        ("X_Team", "admins"),
        ("x-device-token", "secret"),
        ("x_device_token", "secret"),
    ];
    let sent: Vec<_> = own.iter().chain(&gone).copied().collect();
    let passed = passed(STRANGER, &head(Version::HTTP_11, "app.example.com", &sent), &identity()).unwrap();
    let own = own.iter().map(|(name, value)| format!("{name}: {value}"));
    let expected: Vec<_> = own.chain(SAID.map(str::to_owned)).chain(["x-team: ops".to_owned()]).collect();
    assert_eq!(lines(&passed), expected);
}

#[test]
fn a_proxy_in_front_is_believed_in_the_usual_spelling_and_only_in_what_is_its_to_say() {
    let sent = [
        ("x-forwarded-for", "198.51.100.7"),
        ("x-forwarded-for", "198.51.100.8, 10.9.9.9"),
        ("x-forwarded-prefix", "/app"),
        ("x_forwarded_prefix", "/evil"),
        ("cf-connecting-ip", "198.51.100.7"),
        ("x-forwarded-host", "evil"),
        ("x-forwarded-proto", "http"),
        ("x-original-url", "/evil"),
        ("remote-user", "admin"),
        ("via", "1.1 edge, 2.0 cdn"),
    ];
    let passed = passed(PROXY, &head(Version::HTTP_2, "app.example.com", &sent), &HeaderMap::new()).unwrap();
    let expected = [
        "x-forwarded-prefix: /app",
        "cf-connecting-ip: 198.51.100.7",
        "host: app.example.com",
        "x-forwarded-host: app.example.com",
        "x-forwarded-port: 443",
        "x-forwarded-proto: https",
        "x-forwarded-for: 198.51.100.7, 198.51.100.8, 10.9.9.9, 10.0.0.1",
        "x-real-ip: 10.0.0.1",
        "via: 1.1 edge, 2.0 cdn, 2.0 doorward",
    ];
    assert_eq!(lines(&passed), expected);
}

#[test]
fn the_host_passes_as_it_was_written() {
    for (authority, host, port) in [
        (None, "App.Example.com.", "443"),
        (None, "app.example.com:8443", "443"),
        (Some("App.example.com:9443"), "app.example.com:9443", "443"),
    ] {
        let mut sent = head(Version::HTTP_11, host, &[]);
        if let Some(authority) = authority {
            sent.uri = format!("https://{authority}/").parse().unwrap();
        }
        let passed = passed(STRANGER, &sent, &HeaderMap::new()).unwrap();
        assert_eq!(passed["host"], authority.unwrap_or(host));
        assert_eq!(passed["x-forwarded-host"], authority.unwrap_or(host));
        // That of the authority which was judged.
        assert_eq!(passed["x-forwarded-port"], port);
    }
}

#[test]
fn nobody_can_call_a_connections_what_the_gate_or_a_proxy_says() {
    let names = [
        "Remote-User",
        "remote_user",
        "X-Team",
        "X-Device-Token",
        "X-Forwarded-For",
        "X-Forwarded-Prefix",
        "X-Real-IP",
        "Via",
        "Host",
        "Cookie",
        "Authorization",
        "Content-Length",
        "Content-Type",
        "Cache-Control",
        "Doorward-Emergency",
        "X-Original-URL",
    ];
    for name in names {
        for line in [name.to_owned(), format!("close, {}", name.to_uppercase()), format!(" {name} ,te")] {
            let error =
                passed(PROXY, &head(Version::HTTP_11, "app.example.com", &[("connection", &line)]), &identity());
            assert!(matches!(error, Err(upstream::Error::Request(_))), "{line}");
        }
    }
    for line in
        ["close", "keep-alive, Upgrade, HTTP2-Settings", "TE", "x-hop", "", ", ,", "\u{e9}", "transfer-encoding"]
    {
        let sent = head(Version::HTTP_11, "app.example.com", &[("connection", line), ("x-hop", "1"), ("x-end", "2")]);
        let passed = passed(STRANGER, &sent, &identity()).unwrap();
        assert_eq!((passed.contains_key("x-hop"), &passed["x-end"]), (line != "x-hop", &HeaderValue::from_static("2")));
    }
}

#[test]
fn the_gates_cookies_stay_and_the_apps_pass_in_one_line() {
    for (sent, expected) in [
        (&["a=1; __Secure-doorward=x; b=\"2\";c=3"][..], Some("a=1; b=\"2\";c=3")),
        (&["__Host-doorward=x", "a=1", "__Secure-doorward_login=y; __Secure-doorward_work=z; b=2"], Some("a=1; b=2")),
        (&["__Secure-doorward=x; __Secure-doorward_login_x_0=y"], None),
        (&[], None),
    ] {
        let sent: Vec<_> = sent.iter().map(|line| ("cookie", *line)).collect();
        let passed = passed(STRANGER, &head(Version::HTTP_11, "app.example.com", &sent), &identity()).unwrap();
        let lines: Vec<_> = passed.get_all("cookie").iter().map(|line| line.to_str().unwrap()).collect();
        assert_eq!(lines, expected.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_credential_that_was_meant_for_the_gate_goes_no_further() {
    let sent = head(Version::HTTP_11, "app.example.com", &[("authorization", "Bearer secret")]);
    let jar = jar();
    let head = ForwardedHead {
        scheme: "https",
        authority: &Authority::parse("app.example.com").unwrap(),
        peer: STRANGER,
        client: None,
        authorization: AuthorizationReader::App,
        service_token: None,
        upgrade: None,
        jar: &jar,
    };
    let of_gate = ForwardedHead { authorization: AuthorizationReader::Gate, ..head };
    let emergency =
        |value| -> HeaderMap { [(DOORWARD_EMERGENCY.clone(), HeaderValue::from_static(value))].into_iter().collect() };
    for (head, identity, passes) in [
        (head, HeaderMap::new(), true),
        (head, emergency(""), true),
        (head, emergency("true"), false),
        (of_gate, HeaderMap::new(), false),
    ] {
        let passed = head.request(&sent, &identity).unwrap();
        assert_eq!(passed.contains_key("authorization"), passes);
        assert!(!passed.contains_key("x-real-ip"), "unknown");
    }
    // An app that gets a password of its own gets that one.
    let own = [(header::AUTHORIZATION, HeaderValue::from_static("Basic own"))].into_iter().collect();
    assert_eq!(lines(&head.request(&sent, &own).unwrap()).last().unwrap(), "authorization: Basic own");
}

#[test]
fn a_request_that_goes_in_a_circle_ends() {
    let circle = ["1.1 doorward"; MAX_PASSAGES].join(", ");
    for (via, ends) in
        [("1.1 doorward, 1.1 doorward", false), (&*circle, true), ("1.1 a, 1.1 b, 1.1 c, 1.1 d, 1.1 e", false)]
    {
        let passed = passed(STRANGER, &head(Version::HTTP_11, "app.example.com", &[("via", via)]), &HeaderMap::new());
        assert_eq!(matches!(passed, Err(upstream::Error::Unavailable(_))), ends, "{via}");
    }
}

#[test]
fn trailers_are_asked_for_where_the_client_reads_them() {
    for (te, expected) in [("trailers", true), ("gzip, Trailers;q=1", false), ("gzip, trailers", true), ("gzip", false)]
    {
        let sent = head(Version::HTTP_11, "app.example.com", &[("te", te), ("connection", "te")]);
        let passed = passed(STRANGER, &sent, &HeaderMap::new()).unwrap();
        assert_eq!(passed.get("te").is_some_and(|te| te == "trailers"), expected, "{te}");
        assert_eq!(passed.get("connection").is_some_and(|options| options == "te"), expected, "{te}");
    }
}

#[test]
fn an_upgrade_is_one_that_is_asked_for_in_full_and_is_not_http() {
    let websocket = [("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")];
    for (version, sent, has_body, expected) in [
        (Version::HTTP_11, &websocket[..], false, Some("websocket")),
        (Version::HTTP_11, &[("connection", "upgrade"), ("upgrade", "tcp/1.0")], false, Some("tcp/1.0")),
        (Version::HTTP_11, &websocket, true, None),
        (Version::HTTP_10, &websocket, false, None),
        (Version::HTTP_2, &websocket, false, None),
        (Version::HTTP_11, &[("upgrade", "websocket")], false, None),
        (Version::HTTP_11, &[("connection", "upgrade")], false, None),
        (Version::HTTP_11, &[("connection", "upgrade"), ("upgrade", "h2c")], false, None),
        (Version::HTTP_11, &[("connection", "upgrade"), ("upgrade", "H2C")], false, None),
        (Version::HTTP_11, &[("connection", "upgrade"), ("upgrade", "HTTP/2.0")], false, None),
        (Version::HTTP_11, &[("connection", "upgrade"), ("upgrade", "TLS/1.2")], false, None),
        (Version::HTTP_11, &[("connection", "upgrade"), ("upgrade", "websocket, h2c")], false, None),
        (Version::HTTP_11, &[("connection", "upgrade"), ("upgrade", "websocket"), ("upgrade", "h2c")], false, None),
        (Version::HTTP_11, &[("connection", "upgrade"), ("upgrade", "")], false, None),
    ] {
        let sent = head(version, "app.example.com", sent);
        let protocol = requested_protocol(&sent, has_body).cloned();
        assert_eq!(protocol, expected.map(HeaderValue::from_static), "{sent:?}");
        let (jar, authority) = (jar(), Authority::parse("app.example.com").unwrap());
        let head = ForwardedHead {
            scheme: "https",
            authority: &authority,
            peer: STRANGER,
            client: None,
            authorization: AuthorizationReader::App,
            service_token: None,
            upgrade: protocol.as_ref(),
            jar: &jar,
        };
        let passed = head.request(&sent, &HeaderMap::new()).unwrap();
        assert_eq!(passed.get("upgrade"), protocol.as_ref());
        assert_eq!(passed.contains_key("connection"), protocol.is_some());
    }
}

/// Passes an app's response on; the error is its text.
fn relayed(upgrade: Option<&str>, status: u16, sent: &[(&str, &str)]) -> Result<Vec<String>, String> {
    let response = Response::builder().status(status);
    let response = sent.iter().fold(response, |response, (name, value)| response.header(*name, *value));
    let (mut head, ()) = response.body(()).unwrap().into_parts();
    let upgrade = upgrade.map(|protocol| HeaderValue::from_str(protocol).unwrap());
    let (jar, rule) = (jar(), HeaderValue::from_static("public, max-age=60"));
    let (upgrade, cache_control) = (upgrade.as_ref(), Some(&rule));
    let relaying = RelayedHead { method: &Method::POST, upgrade, cache_control, jar: &jar };
    relaying.relay(&mut head).map(|()| lines(&head.headers)).map_err(|error| error.to_string())
}

#[test]
fn of_a_response_everything_passes_but_the_connections_and_what_is_the_gates() {
    let sent = [
        ("server", "nginx"),
        ("connection", "x-hop, close"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-authenticate", "Basic"),
        ("upgrade", "h2,h2c"),
        ("location", "http://elsewhere/"),
        ("set-cookie", "a=1; Path=/"),
        ("set-cookie", "__Secure-doorward=stolen; Domain=example.com"),
        ("set-cookie", "b=2"),
        ("doorward-reason", "no_session"),
        ("Doorward_Request-Id", "1"),
        ("www-authenticate", "Basic"),
        ("trailer", "x-checksum"),
        ("cache-control", "no-cache"),
    ];
    let expected = [
        "server: nginx",
        "location: http://elsewhere/",
        "set-cookie: a=1; Path=/",
        "set-cookie: b=2",
        "www-authenticate: Basic",
        "trailer: x-checksum",
        "cache-control: no-cache",
    ];
    assert_eq!(relayed(None, 200, &sent).unwrap(), expected);
}

#[test]
fn a_response_whose_end_is_in_doubt_does_not_pass() {
    for (status, sent, expected) in [
        (200, &[("content-length", "5")][..], Ok(vec!["content-length: 5"])),
        (200, &[("content-length", "5"), ("content-length", "5")], Ok(vec!["content-length: 5"])),
        (200, &[("content-length", "5, 5")], Ok(vec!["content-length: 5"])),
        (200, &[("content-length", "005")], Ok(vec!["content-length: 5"])),
        (204, &[("content-length", "0")], Ok(vec![])),
        (304, &[("content-length", "5")], Ok(vec!["content-length: 5"])),
        (200, &[("transfer-encoding", "Chunked")], Ok(vec![])),
        (200, &[], Ok(vec![])),
        (200, &[("content-length", "5"), ("content-length", "6")], Err("length")),
        (200, &[("content-length", "5,6")], Err("length")),
        (200, &[("content-length", "+5")], Err("length")),
        (200, &[("content-length", "")], Err("length")),
        (200, &[("content-length", "5,")], Err("length")),
        (200, &[("content-length", "99999999999999999999")], Err("length")),
        (304, &[("content-length", "x")], Err("length")),
        (200, &[("content-length", "5"), ("transfer-encoding", "chunked")], Err("length")),
        (200, &[("transfer-encoding", "gzip, chunked")], Err("coding")),
        (200, &[("transfer-encoding", "gzip")], Err("coding")),
        (200, &[("transfer-encoding", "identity")], Err("coding")),
        (200, &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], Err("coding")),
        (101, &[("upgrade", "websocket")], Err("not asked for")),
    ] {
        match (relayed(None, status, sent), expected) {
            (Ok(passed), Ok(expected)) => assert_eq!(passed, expected, "{sent:?}"),
            (Err(error), Err(part)) => assert!(error.contains(part), "{sent:?}: {error}"),
            (passed, _) => panic!("{sent:?}: {passed:?}"),
        }
    }
}

#[test]
fn protocols_are_switched_only_to_the_one_that_was_asked_for() {
    for (asked, told, passes) in [
        (Some("websocket"), &["WebSocket"][..], true),
        (Some("websocket"), &["h2c"], false),
        (Some("websocket"), &["websocket", "websocket"], false),
        (Some("websocket"), &[], false),
        (None, &["websocket"], false),
    ] {
        let sent: Vec<_> = told.iter().map(|protocol| ("upgrade", *protocol)).collect();
        let passed = relayed(asked, 101, &sent);
        assert_eq!(passed.is_ok(), passes, "{asked:?} {told:?}");
        if let Ok(passed) = passed {
            assert_eq!(passed, ["connection: upgrade", "upgrade: websocket"]);
        }
    }
}

#[test]
fn a_rule_says_how_long_an_answer_to_a_read_is_kept_unless_it_sets_a_cookie() {
    let (jar, rule) = (jar(), HeaderValue::from_static("public, max-age=60"));
    for (method, status, cookie, is_set) in [
        (Method::GET, 200, None, true),
        (Method::HEAD, 200, None, true),
        (Method::POST, 200, None, false),
        (Method::GET, 206, None, false),
        (Method::GET, 304, None, false),
        (Method::GET, 404, None, false),
        (Method::GET, 200, Some("a=1"), false),
        // It does not reach the client.
        (Method::GET, 200, Some("__Secure-doorward=x"), true),
    ] {
        let response = Response::builder().status(status).header("expires", "0").header("pragma", "no-cache");
        let response = response.header("cache-control", "no-cache").header("cache-control", "max-age=0");
        let response = cookie.into_iter().fold(response, |response, cookie| response.header("set-cookie", cookie));
        let (mut head, ()) = response.body(()).unwrap().into_parts();
        RelayedHead { method: &method, upgrade: None, cache_control: Some(&rule), jar: &jar }.relay(&mut head).unwrap();
        let told: Vec<_> = head.headers.get_all("cache-control").iter().map(|line| line.to_str().unwrap()).collect();
        let expected = if is_set { vec!["public, max-age=60"] } else { vec!["no-cache", "max-age=0"] };
        assert_eq!(told, expected, "{method} {status} {cookie:?}");
        assert_eq!(head.headers.contains_key("expires"), !is_set);
        assert_eq!(head.status, StatusCode::from_u16(status).unwrap());
    }
}

#[test]
fn no_trailer_says_what_only_a_head_may() {
    let names = [
        "x-checksum",
        "grpc-status",
        "content-digest",
        "remote-user",
        "x_team",
        "X-Authentik.Username",
        "content-length",
        "host",
        "transfer-encoding",
        "connection",
        "authorization",
        "cookie",
        "set-cookie",
        "x-forwarded-for",
        "x-forwarded-prefix",
        "content-type",
        "cache_control",
    ];
    let trailers: HeaderMap =
        names.iter().map(|name| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_static("x"))).collect();
    let left = |filter: TrailerFilter| {
        let mut trailers = trailers.clone();
        filter.apply(&mut trailers);
        trailers.keys().map(|name| name.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(left(TrailerFilter::of_request(&identity())), ["x-checksum", "grpc-status", "content-digest"]);
    assert_eq!(left(TrailerFilter::of_response()), ["x-checksum", "grpc-status", "content-digest", "x_team"]);
}

/// Names that a client may send: those that matter, in any spelling, and others.
fn any_name() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "remote-user",
        "remote-groups",
        "x-authentik-username",
        "x-authentik-meta-app",
        "x-auth-request-email",
        "x-team",
        "x-device-token",
        "doorward-emergency",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-prefix",
        "x-real-ip",
        "x-original-url",
        "forwarded",
        "connection",
        "keep-alive",
        "te",
        "transfer-encoding",
        "upgrade",
        "content-length",
        "expect",
        "cookie",
        "via",
        "proxy",
        "authorization",
        "x-own",
        "accept",
        "if-match",
    ]);
    let spelled =
        (known, prop::collection::vec(prop::sample::select(vec!['-', '_', '.', '~']), 4)).prop_map(|(name, marks)| {
            let mut marks = marks.into_iter();
            name.chars().map(|one| if one == '-' { marks.next().unwrap_or('-') } else { one }).collect()
        });
    prop_oneof![3 => spelled, 1 => "[a-z][a-z0-9_-]{0,8}"]
}

fn any_head() -> impl Strategy<Value = Parts> {
    let value = prop_oneof!["[ -~]{0,12}", "(a=1|__Host-doorward=x|__Secure-doorward_work=y|; ?|,){0,6}"];
    let lines = prop::collection::vec((any_name(), value), 0..24);
    let options = prop::collection::vec(prop_oneof![any_name(), Just("close".to_owned())], 0..3);
    (lines, options, any::<bool>()).prop_map(|(lines, options, is_named)| {
        let mut request = Request::get("/").header("host", "app.example.com");
        for (name, value) in lines {
            if let Ok(value) = HeaderValue::from_str(value.trim()) {
                request = request.header(name, value);
            }
        }
        if is_named {
            request = request.header("connection", options.join(", "));
        }
        request.body(()).unwrap().into_parts().0
    })
}

proptest! {
    #[test]
    fn whatever_a_client_sends_it_says_nothing_that_is_the_gates_to_say(sent in any_head(), is_trusted in any::<bool>()) {
        let said = identity();
        let peer = if is_trusted { PROXY } else { STRANGER };
        let Ok(passed) = passed(peer, &sent, &said) else {
            let lines = sent.headers.get_all("connection").iter().filter_map(|line| line.to_str().ok());
            let mut options = lines.flat_map(|line| line.split(',')).map(str::trim).filter(|option| !option.is_empty());
            let is_told = |option: &str| said.keys().any(|own| is_spelling_of(option, own.as_str()));
            let is_coded = is_chunked_alone(&sent.headers) == Some(false);
            prop_assert!(is_coded || options.any(|option| !may_be_of_connection(option) || is_told(option)));
            return Ok(());
        };
        for (name, value) in &passed {
            let is_own = said.get(name).is_some_and(|own| own == value && passed.get_all(name).iter().count() == 1);
            let is_spelling = said.keys().any(|own| is_spelling_of(name.as_str(), own.as_str()));
            match Sayer::of(name.as_str()) {
                Sayer::Client => prop_assert!(is_own || !is_spelling, "{}", name),
                Sayer::Proxy => prop_assert!(is_trusted && is_usual_spelling(name.as_str()), "{}", name),
                Sayer::Connection => prop_assert!(value == "trailers" && *name == header::TE || *name == header::CONNECTION && value == "te"),
                Sayer::Gate if name == header::COOKIE => {
                    prop_assert!(!value.to_str().unwrap().split(';').any(|pair| pair.trim().starts_with("__")));
                }
                Sayer::Gate => {
                    let words = ["host", "via", "x-real-ip", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto"];
                    prop_assert!(is_own || words.contains(&name.as_str()), "{}", name);
                    prop_assert_eq!(passed.get_all(name).iter().count(), 1);
                }
            }
        }
        // The app's own survive, each with its values in their order, and the names in theirs.
        let named = |name: &HeaderName| {
            let lines = sent.headers.get_all("connection").iter().filter_map(|line| line.to_str().ok());
            lines.flat_map(|line| line.split(',')).any(|option| option.trim().eq_ignore_ascii_case(name.as_str()))
        };
        let is_apps = |name: &HeaderName| {
            let is_spelling = said.keys().any(|own| is_spelling_of(name.as_str(), own.as_str()));
            Sayer::of(name.as_str()) == Sayer::Client && !is_spelling && !named(name)
        };
        let own: Vec<_> = sent.headers.iter().filter(|(name, _)| is_apps(name)).collect();
        let left: Vec<_> = passed.iter().filter(|(name, _)| is_apps(name)).collect();
        prop_assert_eq!(left, own);
        for (name, value) in said.iter().filter(|(name, value)| !value.is_empty() && !["content-length", "cookie"].contains(&name.as_str())) {
            prop_assert_eq!(&passed[name], value);
        }
    }

    #[test]
    fn whatever_an_app_answers_nothing_of_its_connection_passes(
        lines in prop::collection::vec((any_name(), "[ -~]{0,12}"), 0..16),
        status in 200_u16..600,
    ) {
        let response = Response::builder().status(status);
        let response = lines.iter().fold(response, |response, (name, value)| response.header(name, value.trim()));
        let (mut head, ()) = response.body(()).unwrap().into_parts();
        let jar = jar();
        let relaying = RelayedHead { method: &Method::GET, upgrade: None, cache_control: None, jar: &jar };
        if relaying.relay(&mut head).is_ok() {
            for (name, value) in &head.headers {
                prop_assert!(Sayer::of(name.as_str()) != Sayer::Connection, "{}", name);
                prop_assert!(name != header::CONTENT_LENGTH || value.as_bytes().iter().all(u8::is_ascii_digit));
            }
        }
    }
}

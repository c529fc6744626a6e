//! Single subrequests: malformed lines, client addresses, intents, and the vectors of other projects.

use std::fs;

use data_encoding::BASE64;
use http::{HeaderName, Request, request::Parts};
use serde_json::{Map, Value};

use super::{LOOPBACK, fixtures, request, why};
use crate::edge::{AuthRequest, Edge, Intent, Subrequest, TrustedProxies, read, request_host};

fn vectors(file: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(fixtures("vectors").join(file)).unwrap()).unwrap()
}

/// All `cases` of a file, in whatever group.
fn cases(file: &str) -> Vec<Value> {
    let file = vectors(file);
    let groups = file["groups"].as_array().cloned().unwrap_or_else(|| vec![file.clone()]);
    groups.iter().flat_map(|group| group["cases"].as_array().unwrap().clone()).collect()
}

fn read_from<'r>(
    proxies: &'r TrustedProxies,
    edge: Edge,
    parts: &'r Parts,
    target: &'r str,
) -> Result<AuthRequest<'r>, String> {
    let subrequest =
        Subrequest { edge, namespace: crate::edge::Namespace::Own, peer: "127.0.0.1".parse().unwrap(), parts, target };
    read(proxies.admit(subrequest.peer).unwrap(), &subrequest, &[]).map_err(why)
}

fn asked_of_oauth2_proxy(lines: &[(&str, &[u8])]) -> String {
    let parts = request("GET", lines);
    let subrequest = Subrequest {
        edge: Edge::OAuth2Proxy,
        namespace: crate::edge::Namespace::OAuth2Proxy,
        peer: "127.0.0.1".parse().unwrap(),
        parts: &parts,
        target: "",
    };
    match read(LOOPBACK.admit(subrequest.peer).unwrap(), &subrequest, &["gate".to_owned()]) {
        Ok(original) => {
            let client = original.client.address().map_or("-".to_owned(), |client| client.to_string());
            assert!(original.routed.is_none());
            format!("{} {} {} {client}", original.method.unwrap_or("-"), original.authority, original.target)
        }
        Err(problem) => why(problem),
    }
}

fn outcome(edge: Edge, lines: &[(&str, &[u8])], target: &str) -> String {
    let parts = request("GET", lines);
    match read_from(&LOOPBACK, edge, &parts, target) {
        Ok(original) => format!("{} {} {}", original.method.unwrap_or("-"), original.authority, original.target),
        Err(problem) => problem,
    }
}

#[test]
fn a_line_that_is_missing_repeated_or_malformed_is_never_guessed_around() {
    const METHOD: (&str, &[u8]) = ("x-forwarded-method", b"GET");
    const HOST: (&str, &[u8]) = ("x-forwarded-host", b"a.example");
    const URI: (&str, &[u8]) = ("x-forwarded-uri", b"/x?y");
    for edge in [Edge::Traefik, Edge::Caddy] {
        for (lines, expected) in [
            (vec![METHOD, HOST, URI], "GET a.example /x?y"),
            (vec![METHOD, HOST, URI, ("x-original-url", b"https://evil.example/")], "GET a.example /x?y"),
            (vec![METHOD, HOST, URI, ("x-forwarded-proto", b"javascript")], "GET a.example /x?y"),
            (vec![HOST, URI], "X-Forwarded-Method is missing"),
            (vec![METHOD, METHOD, HOST, URI], "X-Forwarded-Method is repeated"),
            (vec![("x-forwarded-method", b"get"), HOST, URI], "X-Forwarded-Method is not a method in capitals"),
            (vec![("x-forwarded-method", b"GeT"), HOST, URI], "X-Forwarded-Method is not a method in capitals"),
            (vec![("x-forwarded-method", b""), HOST, URI], "X-Forwarded-Method is not a method in capitals"),
            (vec![("x-forwarded-method", b"GET /"), HOST, URI], "X-Forwarded-Method is not a method in capitals"),
            (vec![("x-forwarded-method", b"BASELINE-CONTROL"), HOST, URI], "BASELINE-CONTROL a.example /x?y"),
            (vec![METHOD, URI], "X-Forwarded-Host is missing"),
            (vec![METHOD, HOST, HOST, URI], "X-Forwarded-Host is repeated"),
            (
                vec![METHOD, ("x-forwarded-host", b"a.example, b.example"), URI],
                "X-Forwarded-Host holds something that no host name has",
            ),
            (
                vec![METHOD, ("x-forwarded-host", b"a.example:x"), URI],
                "X-Forwarded-Host has a port that is not a number from 1 to 65535",
            ),
            (vec![METHOD, HOST], "X-Forwarded-Uri is missing"),
            (vec![METHOD, HOST, URI, ("x-forwarded-uri", b"/public")], "X-Forwarded-Uri is repeated"),
            (vec![METHOD, HOST, ("x-forwarded-uri", b"")], "X-Forwarded-Uri does not begin with a slash"),
            (
                vec![METHOD, HOST, ("x-forwarded-uri", b"https://a.example/")],
                "X-Forwarded-Uri does not begin with a slash",
            ),
            (vec![METHOD, HOST, ("x-forwarded-uri", b"/a b")], "X-Forwarded-Uri holds a space or a control character"),
            (vec![METHOD, HOST, ("x-forwarded-uri", b"/a\tb")], "X-Forwarded-Uri holds a space or a control character"),
            (vec![METHOD, HOST, ("x-forwarded-uri", b"/caf\xe9")], "X-Forwarded-Uri is not UTF-8"),
            (vec![METHOD, HOST, ("x-forwarded-uri", "/café#x".as_bytes())], "GET a.example /café#x"),
        ] {
            // Caddy keeps the client's own line; to Traefik it is the gate's name.
            let lines = [vec![("host", b"gate".as_slice())], lines].concat();
            assert_eq!(outcome(edge, &lines, "/envoy"), expected, "{lines:?}");
        }
    }
}

#[test]
fn an_edge_that_keeps_the_host_it_routed_by_has_a_second_witness() {
    const DESCRIBED: [(&str, &[u8]); 4] = [
        ("x-forwarded-method", b"GET"),
        ("x-forwarded-host", b"a.example"),
        ("x-forwarded-uri", b"/"),
        ("x-original-url", b"https://a.example/"),
    ];
    for (edge, host, expected) in [
        (Edge::Traefik, Some("B.example.:80"), Ok(None)),
        (Edge::Traefik, None, Ok(None)),
        (Edge::Envoy, Some("b.example"), Ok(None)),
        (Edge::Caddy, Some("B.example.:80"), Ok(Some("b.example"))),
        (Edge::Nginx, Some("B.example.:80"), Ok(Some("b.example"))),
        (Edge::Caddy, None, Err("Host is missing")),
        (Edge::Nginx, None, Err("Host is missing")),
        (Edge::Caddy, Some("a b"), Err("Host holds something that no host name has")),
        (Edge::Nginx, Some("a,b"), Err("Host holds something that no host name has")),
    ] {
        let host = host.map(|host| ("host", host.as_bytes()));
        let parts = request("GET", &DESCRIBED.into_iter().chain(host).collect::<Vec<_>>());
        let read = read_from(&LOOPBACK, edge, &parts, "/");
        let routed = read.map(|original| original.routed.map(|routed| routed.host().to_owned()));
        assert_eq!(routed, expected.map(|host| host.map(str::to_owned)).map_err(str::to_owned), "{edge:?} {host:?}");
    }
}

/// Lines by which edges ask oauth2-proxy.
mod oauth2_proxy_lines {
    pub(super) const APP: (&str, &[u8]) = ("host", b"a.example");
    pub(super) const GATE: (&str, &[u8]) = ("host", b"Gate:4180");
    pub(super) const HOST: (&str, &[u8]) = ("x-forwarded-host", b"A.example");
    pub(super) const URI: (&str, &[u8]) = ("x-forwarded-uri", b"/x?y");
    pub(super) const URL: (&str, &[u8]) = ("x-original-url", b"https://a.example/x?y");
    pub(super) const CLIENT: (&str, &[u8]) = ("x-forwarded-for", b"192.0.2.7");
    pub(super) const METHOD: (&str, &[u8]) = ("x-forwarded-method", b"POST");
    pub(super) const ORIGINAL_METHOD: (&str, &[u8]) = ("x-original-method", b"POST");

    pub(super) fn line(name: &'static str, value: &'static [u8]) -> (&'static str, &'static [u8]) {
        (name, value)
    }
}

#[test]
fn oauth2_proxy_is_read_from_what_the_edge_in_question_writes_and_the_rest_has_to_agree() {
    use oauth2_proxy_lines::*;
    for (lines, expected) in [
        // nginx: method and client are what the client wrote.
        (vec![APP, URI], "- a.example /x?y -"),
        (vec![APP, URI, CLIENT, METHOD, ORIGINAL_METHOD], "- a.example /x?y -"),
        (vec![APP, URI, HOST, URL], "- a.example /x?y -"),
        (vec![APP], "X-Forwarded-Uri is missing"),
        (vec![APP, URL], "X-Forwarded-Uri is missing"),
        (vec![URI, HOST], "Host is missing"),
        (vec![APP, APP, URI], "Host is repeated"),
        (vec![APP, URI, URI], "X-Forwarded-Uri is repeated"),
        (vec![APP, line("x-forwarded-uri", b"x")], "X-Forwarded-Uri does not begin with a slash"),
        (
            vec![APP, URI, line(HOST.0, b"b.example")],
            "X-Forwarded-Host names another host than what else describes the request",
        ),
        (vec![APP, URI, HOST, HOST], "X-Forwarded-Host is repeated"),
        (
            vec![APP, URI, line("x-original-url", b"https://b.example/x?y")],
            "X-Original-URL names another address than what else describes the request",
        ),
        (
            vec![APP, URI, line("x-original-url", b"https://a.example/x")],
            "X-Original-URL names another address than what else describes the request",
        ),
        (vec![APP, URI, line("x-original-url", b"/x?y")], "X-Original-URL is not an absolute http or https address"),
        // What nobody reads there may say anything.
        (
            vec![APP, URI, line("x-original-uri", b"/public"), line("x-auth-request-redirect", b"/z")],
            "- a.example /x?y -",
        ),
    ] {
        assert_eq!(asked_of_oauth2_proxy(&lines), expected, "{lines:?}");
    }
}

#[test]
fn edges_that_ask_oauth2_proxy_by_a_name_of_the_gates_own_are_read_from_what_they_write() {
    use oauth2_proxy_lines::*;
    for (lines, expected) in [
        // Traefik.
        (vec![GATE, HOST, URI, METHOD, CLIENT], "POST a.example /x?y 192.0.2.7"),
        (vec![GATE, HOST, URI], "- a.example /x?y -"),
        (vec![GATE, HOST, URI, METHOD, URL, ORIGINAL_METHOD], "POST a.example /x?y -"),
        (
            vec![GATE, HOST, URI, METHOD, line("x-original-method", b"GET")],
            "X-Forwarded-Method and X-Original-Method differ",
        ),
        (vec![GATE, HOST, URI, line("x-forwarded-method", b"post")], "X-Forwarded-Method is not a method in capitals"),
        (
            vec![GATE, HOST, URI, line("x-original-url", b"https://a.example/public")],
            "X-Original-URL names another address than what else describes the request",
        ),
        (
            vec![GATE, HOST, URI, line("x-original-url", b"https://b.example/x?y")],
            "X-Original-URL names another address than what else describes the request",
        ),
        // ingress-nginx.
        (vec![GATE, URL, ORIGINAL_METHOD, CLIENT], "POST a.example /x?y 192.0.2.7"),
        (vec![GATE, URL, HOST], "- a.example /x?y -"),
        (
            vec![GATE, URL, line(HOST.0, b"b.example")],
            "X-Forwarded-Host names another host than what else describes the request",
        ),
        (
            vec![GATE, URL, line(URI.0, b"/public")],
            "X-Forwarded-Uri names another target than what else describes the request",
        ),
        (
            vec![GATE, URL, ORIGINAL_METHOD, line("x-forwarded-method", b"GET")],
            "X-Forwarded-Method and X-Original-Method differ",
        ),
        (vec![GATE], "X-Original-URL is missing"),
        (vec![GATE, HOST], "X-Original-URL is missing"),
        (vec![GATE, URI], "X-Original-URL is missing"),
    ] {
        assert_eq!(asked_of_oauth2_proxy(&lines), expected, "{lines:?}");
    }
}

#[test]
fn nginx_is_read_from_the_original_url_alone() {
    for (lines, expected) in [
        (vec![("x-original-url", "https://a.example:8443/x?y")], "- a.example:8443 /x?y"),
        (vec![("x-original-url", "http://a.example//b/x")], "- a.example //b/x"),
        (vec![("x-original-url", "https://a.example/"), ("x-original-method", "PUT")], "PUT a.example /"),
        (
            vec![("x-original-url", "https://a.example/"), ("x-original-method", "put")],
            "X-Original-Method is not a method in capitals",
        ),
        (
            vec![
                ("x-original-url", "https://a.example/"),
                ("x-forwarded-uri", "/public"),
                ("x-original-uri", "/public"),
            ],
            "- a.example /",
        ),
        (vec![("x-original-uri", "/_doorward/x")], "X-Original-URL is missing"),
        (
            vec![("x-original-url", "https://a.example/"), ("x-original-url", "https://b.example/")],
            "X-Original-URL is repeated",
        ),
        (vec![("x-original-url", "/x")], "X-Original-URL is not an absolute http or https address"),
        (
            vec![("x-original-url", "javascript://a.example/")],
            "X-Original-URL is not an absolute http or https address",
        ),
        (vec![("x-original-url", "https://a.example")], "X-Original-URL does not begin with a slash"),
        (vec![("x-original-url", "https://a.example?x=/")], "X-Original-URL does not begin with a slash"),
        (vec![("x-original-url", "https://a.example#/")], "X-Original-URL does not begin with a slash"),
        (vec![("x-original-url", "https://u@a.example/")], "X-Original-URL holds something that no host name has"),
        (
            vec![("x-original-url", "https://b.example\\@a.example/")],
            "X-Original-URL holds something that no host name has",
        ),
        (vec![("x-original-url", "https:///x")], "X-Original-URL names no host"),
    ] {
        let host = ("host", "gate".as_bytes());
        let bytes: Vec<_> = lines.iter().map(|(name, value)| (*name, value.as_bytes())).chain([host]).collect();
        assert_eq!(outcome(Edge::Nginx, &bytes, "/envoy"), expected, "{lines:?}");
    }
}

#[test]
fn envoy_is_read_from_the_request_line_and_the_host() {
    const HOST: (&str, &[u8]) = ("host", b"a.example");
    for (lines, target, expected) in [
        (vec![HOST], "/x?y", "GET a.example /x?y"),
        (vec![HOST], "/../../ping", "GET a.example /../../ping"),
        (vec![HOST, ("x-forwarded-host", b"b.example"), ("x-forwarded-uri", b"/public")], "/x", "GET a.example /x"),
        (vec![HOST], "", "the request line ends where the original target should stand"),
        (vec![HOST], "x", "the request line does not begin with a slash"),
        (vec![HOST], "?x=/", "the request line does not begin with a slash"),
        (vec![HOST], "/a\u{1}", "the request line holds a space or a control character"),
        (vec![], "/x", "Host is missing"),
        (vec![HOST, HOST], "/x", "Host is repeated"),
        (vec![("host", b"a.example,b.example")], "/x", "Host holds something that no host name has"),
    ] {
        assert_eq!(outcome(Edge::Envoy, &lines, target), expected, "{lines:?} {target}");
    }
    let parts = request("get", &[HOST]);
    let problem = read_from(&LOOPBACK, Edge::Envoy, &parts, "/x").unwrap_err();
    assert_eq!(problem, "the request line has a method that is not in capitals");
}

#[test]
fn the_request_host_is_the_host_line_or_the_authority_of_http_2_and_they_agree() {
    let host_of = |uri: &str, host: Option<&str>| {
        let mut request = Request::builder().uri(uri);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        request_host(&parts).map_or_else(why, |host| host.to_string())
    };
    for (uri, host, expected) in [
        ("/x", Some("A.example.:80"), "a.example:80"),
        ("https://a.example/x", None, "a.example"),
        ("https://a.example/x", Some("A.EXAMPLE"), "a.example"),
        ("https://a.example/x", Some("b.example"), "Host contradicts the request line"),
        ("https://a.example:1/x", Some("a.example"), "Host contradicts the request line"),
        ("https://u@a.example/x", None, "Host holds something that no host name has"),
        ("/x", None, "Host is missing"),
        ("/x", Some(""), "Host names no host"),
    ] {
        assert_eq!(host_of(uri, host), expected, "{uri} {host:?}");
    }
}

#[test]
fn the_client_is_the_first_from_the_right_that_is_no_trusted_proxy_or_unknown() {
    for (chain, expected) in [
        ("203.0.113.9", Some("203.0.113.9")),
        ("6.6.6.6, 203.0.113.9", Some("203.0.113.9")),
        ("6.6.6.6,203.0.113.9,10.0.0.7, 127.0.0.1", Some("203.0.113.9")),
        ("garbage, 203.0.113.9", Some("203.0.113.9")),
        ("203.0.113.9, ::ffff:10.0.0.7", Some("203.0.113.9")),
        ("::ffff:203.0.113.9", Some("203.0.113.9")),
        ("2001:db8::1", Some("2001:db8::1")),
        ("[2001:db8::1]:4711, 10.0.0.7:80", Some("2001:db8::1")),
        ("[2001:db8::1]", Some("2001:db8::1")),
        ("fe80::1%lo", Some("fe80::1")),
        ("[fe80::1%eth0.5], 10.0.0.7", Some("fe80::1")),
        ("203.0.113.9%lo", None),
        ("::ffff:203.0.113.9%eth0, 10.0.0.7", Some("203.0.113.9")),
        ("203.0.113.9, ::ffff:10.0.0.7%eth0", Some("203.0.113.9")),
        ("fe80::1%", None),
        ("fe80::1%a b", None),
        // With trusted hops alone, the leftmost is made up by the client, or a client inside the trusted networks.
        ("10.0.0.9, 10.0.0.7", None),
        ("192.168.1.1, garbage, 10.0.0.7", None),
        ("127.0.0.1", None),
        ("203.0.113.9,", None),
        ("unknown, 10.1.2.3", None),
        ("unknown", None),
        ("010.0.0.1", None),
        ("", None),
    ] {
        let parts = request("GET", &[("host", b"a.example"), ("x-forwarded-for", chain.as_bytes())]);
        let original = read_from(&LOOPBACK, Edge::Envoy, &parts, "/").unwrap();
        assert_eq!(original.client.address().map(|client| client.to_string()).as_deref(), expected, "{chain}");
    }
    let line: (&str, &[u8]) = ("x-forwarded-for", b"203.0.113.9");
    for lines in [vec![line, line], vec![("x-forwarded-for", b"203.0.113.9\xff")]] {
        let parts = request("GET", &[vec![("host", b"a.example".as_slice())], lines].concat());
        assert_eq!(read_from(&LOOPBACK, Edge::Envoy, &parts, "/").unwrap().client.address(), None);
    }
}

#[test]
fn only_a_page_being_opened_is_a_page() {
    const HTML: (&str, &str) = ("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8");
    const NAVIGATE: (&str, &str) = ("sec-fetch-mode", "navigate");
    let intent = |method: Option<&str>, lines: &[(&str, &str)]| {
        let lines: Vec<_> = lines.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        crate::edge::intent::intent(method, &request("GET", &lines).headers)
    };
    for (method, lines, expected) in [
        (Some("GET"), vec![NAVIGATE], Intent::Page),
        (Some("HEAD"), vec![NAVIGATE], Intent::Page),
        (None, vec![NAVIGATE], Intent::Page),
        (None, vec![HTML], Intent::Page),
        (None, vec![], Intent::Fetch),
        (Some("POST"), vec![NAVIGATE, HTML], Intent::Form),
        (Some("PUT"), vec![NAVIGATE], Intent::Form),
        (Some("POST"), vec![HTML], Intent::Fetch),
        (Some("GET"), vec![("sec-fetch-mode", "cors"), HTML], Intent::Fetch),
        (Some("GET"), vec![("sec-fetch-mode", "websocket"), HTML], Intent::Fetch),
        (Some("GET"), vec![NAVIGATE, ("sec-fetch-dest", "document")], Intent::Page),
        (Some("GET"), vec![NAVIGATE, ("sec-fetch-dest", "iframe")], Intent::Frame),
        (Some("HEAD"), vec![NAVIGATE, ("sec-fetch-dest", "frame")], Intent::Frame),
        (None, vec![NAVIGATE, ("sec-fetch-dest", "embed")], Intent::Frame),
        (Some("GET"), vec![HTML, ("sec-fetch-dest", "object")], Intent::Frame),
        (Some("POST"), vec![NAVIGATE, ("sec-fetch-dest", "iframe")], Intent::Form),
        (Some("GET"), vec![("sec-fetch-mode", "cors"), ("sec-fetch-dest", "iframe")], Intent::Fetch),
        (Some("GET"), vec![NAVIGATE, NAVIGATE], Intent::Fetch),
        (Some("GET"), vec![("sec-fetch-mode", "navigate, cors"), HTML], Intent::Fetch),
        (Some("GET"), vec![("accept", "application/json"), ("accept", "TEXT/HTML;q=0.1")], Intent::Page),
        (Some("GET"), vec![("accept", "text/html-sandboxed")], Intent::Fetch),
        (Some("GET"), vec![HTML, ("x-requested-with", "XMLHttpRequest")], Intent::Fetch),
        (Some("GET"), vec![HTML, ("x-requested-with", "io.homeassistant.companion.android")], Intent::Page),
        (Some("GET"), vec![HTML, ("upgrade", "websocket")], Intent::Fetch),
        (
            Some("GET"),
            vec![NAVIGATE, ("if-none-match", "\"x\""), ("range", "bytes=0-"), ("expect", "100-continue")],
            Intent::Page,
        ),
    ] {
        assert_eq!(intent(method, &lines), expected, "{method:?} {lines:?}");
    }
}

/// Header lines of a vector, those in base64 included. `None` where HTTP itself cannot carry one: hyper answers 400.
fn vector_request(case: &Value) -> Option<Parts> {
    let mut parts = request("GET", &[]);
    let plain = case["headers"].as_object().cloned().unwrap_or_default();
    let encoded = case["headers_b64"].as_object().cloned().unwrap_or_else(Map::new);
    let decode = |text: &Value| BASE64.decode(text.as_str().unwrap().as_bytes()).unwrap();
    let lines = plain.iter().map(|(name, value)| (name, value.as_str().unwrap().as_bytes().to_vec()));
    for (name, value) in lines.chain(encoded.iter().map(|(name, value)| (name, decode(value)))) {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        parts.headers.append(name, http::HeaderValue::from_bytes(&value).ok()?);
    }
    Some(parts)
}

#[test]
fn malformed_descriptions_are_refused_as_peers_refuse_them() {
    for case in cases("forwarded-header-malformed.json") {
        let name = case["name"].as_str().unwrap();
        let edge = match case["edge"].as_str().unwrap() {
            "forward-auth" => Edge::Traefik,
            "auth-request" => Edge::Nginx,
            "ext-authz" => Edge::Envoy,
            other => panic!("no dialect for {other}"),
        };
        let is_read = vector_request(&case).is_some_and(|mut parts| {
            // Their nginx sends the upstream's name; ours is told to send the host, the second witness.
            if edge == Edge::Nginx {
                parts.headers.entry("host").or_insert(http::HeaderValue::from_static("gate"));
            }
            let parts = parts;
            read_from(&LOOPBACK, edge, &parts, "/").is_ok()
        });
        let expected = match name {
            // Authelia refuses what it cannot match to a method. Here it is a request of an unknown method, which no rule
            // with methods matches: nginx in authentik's shape never says the method.
            "no X-Original-Method" => true,
            _ => case["status"] == 200,
        };
        assert_eq!(is_read, expected, "{name}");
    }
}

#[test]
fn what_peers_call_a_navigation_is_one_where_a_browser_says_so() {
    for case in cases("xhr-vs-navigation.json") {
        let mut lines: Vec<(String, String)> = Vec::new();
        if let Some(accept) = case["contentType"].as_str() {
            lines.push(("accept".to_owned(), accept.to_owned()));
        }
        for (name, value) in case["headers"].as_object().into_iter().flatten() {
            lines.push((name.clone(), value.as_str().unwrap().to_owned()));
        }
        let lines: Vec<_> = lines.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let method = case["method"].as_str().unwrap_or("GET");
        let is_page = crate::edge::intent::intent(Some(method), &request("GET", &lines).headers) == Intent::Page;
        let peer =
            case["shouldRedirect"] == true || case["capable"] == true || case["status"] == 302 || case["status"] == 303;
        let expected = match case["name"].as_str().unwrap_or("") {
            // oauth2-proxy redirects whatever is not JSON, and `Accept: html` is no media type; Authelia redirects any
            // method, and what was to be sent would be lost.
            "UI request" | "OPTIONS, Accept html" | "POST, Accept html" => false,
            // mod_auth_openidc takes `*/*` for a page; it is what programs and scripts send.
            "" if case["headers"]["Accept"] == "*/*" && case["headers"].get("Sec-Fetch-Mode").is_none() => false,
            _ => peer,
        };
        assert_eq!(is_page, expected, "{case}");
    }
}

#[test]
fn addresses_in_the_chain_are_parsed_as_peers_parse_them() {
    for case in cases("trusted-ips.json") {
        let name = case["name"].as_str().unwrap();
        let networks = case["trustedIPs"].as_array().unwrap().iter();
        let proxies = TrustedProxies::new(
            networks
                .map(|text| text.as_str().unwrap())
                .map(|text| text.parse().unwrap_or_else(|_| text.parse::<std::net::IpAddr>().unwrap().into()))
                .collect(),
        );
        // Their list says which clients need no sign-in; the test here is which address is read and whether it is listed.
        let chain = case["headers"]["X-Forwarded-For"].as_str();
        let client = match (chain, case["remote_addr"].as_str()) {
            (Some(chain), _) => {
                let lines: &[(&str, &[u8])] = &[("host", b"a.example"), ("x-forwarded-for", chain.as_bytes())];
                // A proxy from elsewhere: where it is one of the listed networks too, the client is unknown.
                let edge = TrustedProxies::new(vec!["192.0.2.0/24".parse().unwrap()]);
                let (peer, parts) = ("192.0.2.1".parse().unwrap(), request("GET", lines));
                let subrequest = Subrequest {
                    edge: Edge::Envoy,
                    namespace: crate::edge::Namespace::Own,
                    peer,
                    parts: &parts,
                    target: "/",
                };
                read(edge.admit(peer).unwrap(), &subrequest, &[]).unwrap().client.address()
            }
            // Behind a proxy the peer is the proxy and never the client.
            (None, Some(peer)) if case["reverseProxy"] == false => {
                peer.parse::<std::net::SocketAddr>().ok().map(|address| address.ip())
            }
            _ => None,
        };
        assert_eq!(client.is_some_and(|address| proxies.contains(address)), case["expectTrusted"] == true, "{name}");
    }
}

#[test]
fn cookies_are_found_wherever_a_reference_parser_finds_them() {
    let file = vectors("cookie-header-parsing.json");
    for case in file["cases"].as_array().unwrap() {
        let lines: Vec<_> =
            case["cookie_header_lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
        let Some(headers) = lines
            .iter()
            .map(|line| Some((http::header::COOKIE, http::HeaderValue::from_bytes(line.as_bytes()).ok()?)))
            .collect::<Option<http::HeaderMap>>()
        else {
            // Control characters: hyper answers 400 before any code of ours runs.
            assert!(lines.iter().any(|line| line.chars().any(char::is_control)), "{lines:?}");
            continue;
        };
        let found: Vec<_> = crate::cookie::values(&headers, "tfa_session")
            .map(|value| String::from_utf8(value.to_vec()).unwrap())
            .collect();
        let pairs = case["go_net_http_pairs"].as_array().unwrap().iter();
        let reference: Vec<_> =
            pairs.filter(|pair| pair[0] == "tfa_session").map(|pair| pair[1].as_str().unwrap().to_owned()).collect();
        let expected: Vec<&str> = match lines.as_slice() {
            // Ours never hold a quote or a space, so what Go unquotes or drops is found as it stands, and is none of ours.
            ["tfa_session=\"quoted-value\""] => vec!["\"quoted-value\""],
            ["tfa_session=\"unbalanced"] => vec!["\"unbalanced"],
            ["tfa_session=unbalanced\""] => vec!["unbalanced\""],
            ["tfa_session=back\\slash"] => vec!["back\\slash"],
            ["tfa_session=with\ttab"] => vec!["with\ttab"],
            // A name with a space behind it is another name to every browser.
            ["  tfa_session = abc123  ;  other =  2  "] => vec![],
            _ => reference.iter().map(String::as_str).collect(),
        };
        assert_eq!(found, expected, "{lines:?}");
    }
}

#[test]
fn only_a_peer_inside_the_trusted_networks_is_admitted_however_its_address_is_written() {
    for (peer, expected) in [
        ("127.0.0.1", true),
        ("::ffff:127.0.0.1", true),
        ("10.255.0.1", true),
        ("::1", true),
        ("::2", false),
        ("11.0.0.1", false),
        ("::ffff:11.0.0.1", false),
    ] {
        assert_eq!(LOOPBACK.admit(peer.parse().unwrap()).is_some(), expected, "{peer}");
    }
    assert!(TrustedProxies::new(Vec::new()).admit("127.0.0.1".parse().unwrap()).is_none());
}

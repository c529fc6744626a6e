//! What operators expect of every edge with the files of `deploy/`: uploads, event streams, sockets, many groups, the gate's pages.

mod set_ups;

use http::StatusCode;

use crate::world::{
    App, ClientConnection, EVENTS, EdgeKind, PageRouting, RequestMode, Signal, TRAEFIK, Transport, Visitor, World,
    WorldBuilder, eventually,
};

/// Size of an upload, above the default limits of all edges.
const UPLOAD: usize = 100 << 20;

#[tokio::test]
async fn traefik_passes_on_what_apps_need() {
    passes_on_what_apps_need(TRAEFIK).await;
}

#[tokio::test]
async fn nginx_passes_on_what_apps_need() {
    passes_on_what_apps_need(EdgeKind::Nginx).await;
}

#[tokio::test]
async fn caddy_passes_on_what_apps_need() {
    passes_on_what_apps_need(EdgeKind::Caddy).await;
}

#[tokio::test]
async fn envoy_passes_on_what_apps_need() {
    passes_on_what_apps_need(EdgeKind::Envoy).await;
}

#[tokio::test]
async fn haproxy_passes_on_what_apps_need() {
    passes_on_what_apps_need(EdgeKind::HaProxy).await;
}

async fn passes_on_what_apps_need(kind: EdgeKind) {
    let mut world = WorldBuilder::with(kind).relayed().start().await;
    let groups: Vec<_> = (0..400).map(|number| format!("group-{number:03}-of-a-long-name")).collect();
    world.provider.control(&format!("groups?user=alice&groups={}", groups.join(","))).await;
    let alice = world.signed_in("alice").await;
    has_whole_groups(&world, &alice, &groups).await;
    uploads(&world, &alice).await;
    receives_events(&world, &alice).await;
    talks_over_a_socket(&world, &alice).await;

    let bob = world.signed_in("bob").await;
    sees_the_gate_s_refusals(&world, &bob).await;
    signs_out(&world, &bob).await;
    has_many_cookies(&world, &alice).await;
    sees_that_the_provider_is_away(&mut world).await;

    world.gate.signal(Signal::Kill);
    world.gate.exited().await;
    let before = world.app.requests();
    let answer = alice.open(&world.at("app", "/")).await;
    let expected = match kind {
        EdgeKind::Traefik { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        EdgeKind::Caddy => StatusCode::BAD_GATEWAY,
        EdgeKind::Nginx | EdgeKind::Envoy | EdgeKind::HaProxy => StatusCode::SERVICE_UNAVAILABLE,
    };
    assert_eq!(answer.status, expected, "{kind:?}: {answer:?}");
    assert_eq!(world.app.requests(), before, "{kind:?}: without the gate nothing reaches the app");
}

async fn has_whole_groups(world: &World, alice: &Visitor, groups: &[String]) {
    let echo = alice.fetch(&world.at("app", "/")).await.echo();
    let told = echo.values_as("Remote-Groups").concat();
    let told: Vec<_> = told.split(',').collect();
    assert!(told.len() > 10 && told.iter().all(|told| groups.iter().any(|group| group == told)), "{told:?}");
    assert_eq!(echo.values_as("Remote-User"), ["alice"]);
}

async fn has_many_cookies(world: &World, alice: &Visitor) {
    let browser = alice.copied_cookies();
    for number in 0..14 {
        browser.keep(&world.at("app", "/"), &format!("tracking{number}={}; Path=/", "x".repeat(4_000)));
    }
    assert_eq!(browser.fetch(&world.at("app", "/")).await.echo().values_as("Remote-User"), ["alice"]);
    let page = browser.open(&world.at("app", "/_doorward/reset")).await;
    assert_eq!(page.status, StatusCode::OK, "over the direct route: {page:?}");
}

/// Returns the head of a request of this person for the app, without its empty line.
fn head(world: &World, person: &Visitor, line: &str) -> String {
    let place: url::Url = world.at("app", "/").parse().unwrap();
    let host = format!("app.example.test:{}", place.port().unwrap());
    format!("{line} HTTP/1.1\r\nHost: {host}\r\nSec-Fetch-Mode: cors\r\nCookie: {}\r\n", person.cookies(&place))
}

async fn uploads(world: &World, person: &Visitor) {
    let relay = world.relay.as_ref().unwrap();
    let before = relay.sent();
    let mut connection = ClientConnection::open(world, "").await;
    let head = head(world, person, "PUT /upload");
    connection.send(format!("{head}Content-Length: {UPLOAD}\r\n\r\n").as_bytes()).await;
    let half = vec![b'x'; UPLOAD / 2];
    connection.send(&half).await;
    eventually("the app reads before everything was sent", async || (world.app.received() > 0).then_some(())).await;
    connection.send(&half).await;
    connection.until(&format!("received {UPLOAD}\n")).await;
    let sent = relay.sent() - before;
    assert!(sent > 0 && sent < 16 << 10, "the gate gets {sent} bytes, and no body");
}

async fn receives_events(world: &World, person: &Visitor) {
    let mut connection = ClientConnection::open(world, "").await;
    let head = head(world, person, "GET /events");
    connection.send(format!("{head}Accept: text/event-stream\r\n\r\n").as_bytes()).await;
    connection.until(EVENTS[0].trim()).await;
    world.app.send_second_event();
    connection.until(EVENTS[1].trim()).await;
}

/// The key is that of RFC 6455, section 1.3.
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

async fn talks_over_a_socket(world: &World, person: &Visitor) {
    let mut connection = ClientConnection::open(world, "").await;
    connection.send(format!("{}{UPGRADE}", head(world, person, "GET /socket")).as_bytes()).await;
    let answer = connection.until("\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    for said in ["first", "second"] {
        connection.send(said.as_bytes()).await;
        assert_eq!(connection.until(said).await, said);
    }

    let before = world.app.requests();
    let mut stranger = ClientConnection::open(world, "").await;
    stranger.send(format!("{}{UPGRADE}", head(world, &world.visitor(), "GET /socket")).as_bytes()).await;
    let answer = stranger.until("\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 401 ") && world.app.requests() == before, "{answer}");
}

async fn sees_the_gate_s_refusals(world: &World, bob: &Visitor) {
    let admin = world.at("admin", "/");
    let page = bob.visit(&admin).await;
    assert_eq!((page.status, page.reason()), (StatusCode::FORBIDDEN, "group_missing"), "{page:?}");
    assert!(page.header("content-type").starts_with("text/html"), "{page:?}");
    assert!(page.text().contains("bob"), "the page says who is signed in: {page:?}");
    let answer = bob.fetch(&admin).await;
    assert_eq!((answer.status, answer.reason()), (StatusCode::FORBIDDEN, "group_missing"), "{answer:?}");
    assert_eq!(answer.json()["error"], "group_missing");
    assert_eq!(answer.json()["request_id"], answer.header("doorward-request-id"));

    let mut form = world.visitor().request(RequestMode::Page, &world.at("app", "/form"));
    *form.method_mut() = http::Method::POST;
    let form = world.visitor().send(form).await;
    assert_eq!((form.status, form.reason()), (StatusCode::UNAUTHORIZED, "no_session"), "{form:?}");
    let fetch = world.visitor().fetch(&world.at("app", "/")).await;
    assert_eq!((fetch.status, fetch.reason()), (StatusCode::UNAUTHORIZED, "no_session"), "{fetch:?}");
    assert!(fetch.json()["login_url"].is_string(), "{fetch:?}");
    for answer in [page, answer, form, fetch] {
        for name in ["doorward-reason", "doorward-request-id", "cache-control", "content-type", "www-authenticate"] {
            assert!(answer.headers.get_all(name).iter().count() <= 1, "{name}: {answer:?}");
        }
        assert_eq!(answer.header("cache-control"), "no-store", "{answer:?}");
        assert_eq!(answer.headers.get("remote-user"), None, "{answer:?}");
    }
}

async fn signs_out(world: &World, bob: &Visitor) {
    let asked = bob.visit(&world.at("app", "/_doorward/sign_out")).await;
    let done = bob.submit(&asked, &[("logout", "yes")]).await;
    assert!(done.url.starts_with(&world.at("app", "/_doorward/signed_out")), "{:#?}", done.trail);
    assert_eq!(done.status, StatusCode::OK, "over the direct route: {done:?}");
    let answer = bob.fetch(&world.at("app", "/")).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{answer:?}");
}

async fn sees_that_the_provider_is_away(world: &mut World) {
    let carol = world.person("bob");
    let callback = carol.up_to_the_callback(&world.at("app", "/")).await;
    world.provider.stop().await;
    carol.open(&callback).await;
    let page = eventually("a new visitor gets a page", async || {
        let page = world.visitor().open(&world.at("app", "/")).await;
        (!page.status.is_redirection()).then_some(page)
    })
    .await;
    // Envoy drops the gate's answer and shows a page of its own.
    let reason = if world.edge.kind() == EdgeKind::Envoy { "" } else { "provider_unavailable" };
    assert_eq!((page.status, page.reason()), (StatusCode::SERVICE_UNAVAILABLE, reason), "{page:?}");
    assert_eq!(page.header("cache-control"), "no-store", "{page:?}");
    assert!(page.header("content-type").starts_with("text/html") && page.text().contains("<h1"), "{page:?}");
    assert!(!page.header("retry-after").is_empty(), "{page:?}");
}

/// Headers that the gate reads. The documentation lists them for edges that pass on only what they are told to.
const READ_BY_THE_GATE: [&str; 14] = [
    "Accept",
    "Authorization",
    "Cookie",
    "Doorward-Token",
    "Origin",
    "Purpose",
    "Referer",
    "Sec-Fetch-Dest",
    "Sec-Fetch-Mode",
    "Sec-Fetch-Site",
    "Sec-Purpose",
    "Sec-WebSocket-Version",
    "Upgrade",
    "X-Requested-With",
];

#[tokio::test]
async fn every_edge_passes_on_what_the_gate_reads() {
    for kind in [
        EdgeKind::Traefik { entry: Transport::Tls, gate: Transport::Plain, pages: PageRouting::Guarded },
        EdgeKind::Nginx,
        EdgeKind::Caddy,
        EdgeKind::Envoy,
        EdgeKind::HaProxy,
    ] {
        // In place of the gate: an app that lets everything in and knows what it was asked.
        let asked = App::start().await;
        let world = WorldBuilder::with(kind).asking(asked.port).without_provider().await;
        let mut lines = String::new();
        for name in
            READ_BY_THE_GATE.iter().filter(|name| !["Cookie", "Upgrade", "Sec-WebSocket-Version"].contains(name))
        {
            lines.extend([name, ": some/value\r\n"]);
        }
        let port = world.edge.port();
        let request =
            format!("GET /socket HTTP/1.1\r\nHost: app.example.test:{port}\r\nCookie: a=1\r\n{lines}{UPGRADE}");
        let mut connection = ClientConnection::open(&world, "").await;
        connection.send(request.as_bytes()).await;
        connection.until("\r\n\r\n").await;
        let seen = asked.last();
        for name in READ_BY_THE_GATE {
            let expected = match (name, kind) {
                ("Cookie", _) => "a=1",
                ("Sec-WebSocket-Version", _) => "13",
                // Traefik takes it for a header of the connection alone.
                ("Upgrade", EdgeKind::Traefik { .. }) => "",
                ("Upgrade", _) => "websocket",
                _ => "some/value",
            };
            assert_eq!(seen.values_as(name).concat(), expected, "{kind:?}: {name}");
        }
    }
}

#[test]
fn every_list_of_what_the_gate_reads_is_the_same() {
    let read = READ_BY_THE_GATE.map(str::to_ascii_lowercase);
    let between = |text: &'static str, from: &str, to: &str| {
        text.split_once(from).and_then(|(_, rest)| rest.split_once(to)).unwrap_or_else(|| panic!("{from}")).0
    };
    let words = |text: &str, before: &str, after: &str| -> Vec<String> {
        let lines = text.split(before).skip(1).filter_map(|rest| rest.split(after).next());
        lines.map(|word| word.trim().to_ascii_lowercase()).collect()
    };
    let traefik = between(include_str!("../../deploy/traefik/dynamic/gate.yml"), "authRequestHeaders:", "#");
    assert_eq!(words(traefik, "- ", "\n"), read);
    let envoy = between(include_str!("../../deploy/envoy/envoy.yaml"), "allowed_headers:", "encode_raw_headers");
    let mut envoy = words(envoy, "exact: ", "}");
    envoy.retain(|name| name != "x-forwarded-for");
    assert_eq!(envoy, read);
    let haproxy = between(include_str!("../../deploy/haproxy/doorward.lua"), "REQUEST_HEADERS = {", "}");
    assert_eq!(words(haproxy, "\n  \"", "\""), read);
    let traefik = between(include_str!("../../src/edge/dialect/traefik.rs"), "authRequestHeaders: [", "]");
    let traefik: Vec<_> = traefik.split([',', '\\']).map(|name| name.trim().to_ascii_lowercase()).collect();
    assert_eq!(traefik.iter().filter(|name| !name.is_empty()).collect::<Vec<_>>(), read.iter().collect::<Vec<_>>());
    let envoy = between(include_str!("../../src/edge/dialect/envoy.rs"), "allowed_headers with accept", ";");
    let envoy: Vec<_> = format!("accept{envoy}").split([',', '\\']).map(|name| name.trim().to_owned()).collect();
    let envoy = envoy.iter().filter(|name| !name.is_empty() && *name != "x-forwarded-for");
    assert_eq!(envoy.collect::<Vec<_>>(), read.iter().collect::<Vec<_>>());
    for page in [include_str!("../../README.md"), include_str!("../../deploy/README.md")] {
        let list: String = READ_BY_THE_GATE.map(|name| format!("`{name}`")).join(", ");
        let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(page.contains(&list), "{list}");
    }
}

#[tokio::test]
async fn an_app_by_path_needs_a_route_for_the_gate_s_pages() {
    const RULE: &str = "rule: \"HostRegexp(`^.+\\\\.example\\\\.com$`)\"";
    const BY_PATH: &str = "rule: \"HostRegexp(`^.+\\\\.example\\\\.com$`) && PathPrefix(`/grafana`)\"";
    for (kind, file, whole, part, works) in [
        (TRAEFIK, "apps.yml", RULE, BY_PATH, true),
        (
            EdgeKind::Traefik { entry: Transport::Tls, gate: Transport::Tls, pages: PageRouting::Guarded },
            "apps.yml",
            RULE,
            BY_PATH,
            false,
        ),
        (EdgeKind::Nginx, "app.conf", "location / {", "location /grafana {", true),
        (EdgeKind::Caddy, "Caddyfile", "\t\treverse_proxy 127", "\t\treverse_proxy /grafana* 127", true),
        (EdgeKind::Envoy, "envoy.yaml", "- match: { prefix: / }", "- match: { prefix: /grafana }", true),
        (EdgeKind::HaProxy, "haproxy.cfg", "default_backend app", "use_backend app if { path_beg /grafana }", true),
    ] {
        let world = WorldBuilder::with(kind).edge(&[(file, whole, part)]).ready_at("/grafana").start().await;
        let wanted = world.at("app", "/grafana/d/1?x=2");
        let answer = world.person("alice").visit(&wanted).await;
        if works {
            assert_eq!(answer.url, wanted, "{kind:?}: {answer:?}");
            assert_eq!(answer.echo().target, "/grafana/d/1?x=2", "{kind:?}");
        } else {
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{kind:?}: {answer:?}");
            assert!(answer.url.contains("/_doorward/callback?"), "{kind:?}: {answer:?}");
        }
    }
}

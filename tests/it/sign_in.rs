//! Sign-in, and the return to the requested page.

use http::StatusCode;

use crate::world::{EDGES, EdgeKind, PageRouting, Transport, Visitor, World, WorldBuilder};

/// Target with everything that proxies and URL libraries tend to normalise.
const DEEP: &str = "/a%2Fb/c%20d/%E2%9C%93;v=1?x=1&y=a%2Bb&empty=&z=%20q&u=https%3A%2F%2Fh%2Fp%3Fq&x=2";

#[tokio::test]
async fn a_deep_link_comes_back_byte_for_byte_through_traefik_in_clear_text_and_over_tls() {
    for (entry, gate) in [
        (Transport::Plain, Transport::Plain),
        (Transport::Plain, Transport::Tls),
        (Transport::Tls, Transport::Plain),
        (Transport::Tls, Transport::Tls),
    ] {
        for pages in [PageRouting::Routed, PageRouting::Guarded] {
            deep_link(EdgeKind::Traefik { entry, gate, pages }).await;
        }
    }
}

#[tokio::test]
async fn a_deep_link_comes_back_byte_for_byte_through_nginx() {
    deep_link(EdgeKind::Nginx).await;
}

#[tokio::test]
async fn a_deep_link_comes_back_byte_for_byte_through_caddy() {
    deep_link(EdgeKind::Caddy).await;
}

#[tokio::test]
async fn a_deep_link_comes_back_byte_for_byte_through_haproxy() {
    deep_link(EdgeKind::HaProxy).await;
}

#[tokio::test]
async fn a_deep_link_comes_back_byte_for_byte_through_envoy() {
    // Envoy, as configured, refuses a path with an escaped slash without a subrequest.
    let target = DEEP.replace("/a%2Fb", "/a");
    returns_to(&WorldBuilder::with(EdgeKind::Envoy).start().await, &target).await;
}

async fn deep_link(kind: EdgeKind) {
    returns_to(&WorldBuilder::with(kind).start().await, DEEP).await;
}

async fn returns_to(world: &World, target: &str) {
    let alice = world.person("alice");
    let wanted = world.at("app", target);
    let answer = alice.visit(&wanted).await;
    assert_eq!(answer.url, wanted, "{:#?}", answer.trail);
    let echo = answer.echo();
    assert_eq!((echo.method.as_str(), echo.target.as_str()), ("GET", target));
    assert_eq!(echo.values_as("Remote-User"), ["alice"]);
    assert_eq!(echo.values_as("X-authentik-groups"), ["admins|staff"]);
    assert_eq!(world.app.requests(), 1, "nothing reached the app before");
}

#[tokio::test]
async fn a_page_is_sent_straight_to_the_provider_with_one_login_cookie() {
    let world = World::new().await;
    let answer = world.visitor().open(&world.at("app", "/page?q=1")).await;
    assert_eq!(answer.status, StatusCode::FOUND);
    assert!(answer.header("location").starts_with(&format!("{}/auth?", world.provider.issuer())), "{answer:?}");
    assert_eq!(answer.header("cache-control"), "no-store");
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().map(|line| line.to_str().unwrap()).collect();
    assert_eq!(cookies.len(), 1, "{cookies:?}");
    assert!(cookies[0].starts_with("__Host-doorward_login="), "{cookies:?}");
    for attribute in ["Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookies[0].contains(attribute), "{cookies:?} lacks {attribute}");
    }
    for parameter in ["code_challenge_method=S256", "code_challenge=", "nonce=", "state=", "offline_access"] {
        assert!(answer.header("location").contains(parameter), "{answer:?} lacks {parameter}");
    }
}

#[tokio::test]
async fn a_fetch_gets_a_login_url_and_is_never_redirected() {
    for kind in EDGES {
        let world = WorldBuilder::with(kind).start().await;
        let answer = world.visitor().fetch(&world.at("app", "/api/data")).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{kind:?}: {answer:?}");
        assert!(answer.header("content-type").starts_with("application/json"), "{kind:?}: {answer:?}");
        assert_eq!(answer.header("www-authenticate"), "Bearer", "{kind:?}");
        assert_eq!(answer.header("cache-control"), "no-store", "{kind:?}");
        assert_eq!(answer.reason(), "no_session", "{kind:?}");
        assert_eq!((answer.headers.get("set-cookie"), answer.header("location")), (None, ""), "{kind:?}");
        assert_eq!(answer.json()["error"], "login_required", "{kind:?}");
        assert!(answer.json()["request_id"].is_string(), "{kind:?}");
        sign_in_by_hand(&world, answer.json()["login_url"].as_str().unwrap()).await;
        assert_eq!(world.app.requests(), 1, "{kind:?}: only the page after signing in");
    }
}

async fn sign_in_by_hand(world: &World, login_url: &str) {
    assert!(login_url.starts_with(&world.at("app", "/_doorward/start")), "{login_url}");
    let alice = world.person("alice");
    let wanted = world.at("app", "/after");
    let separator = if login_url.contains('?') { '&' } else { '?' };
    let rd: String = url::form_urlencoded::byte_serialize(wanted.as_bytes()).collect();
    let login_url = match login_url.split_once("rd=") {
        Some((before, _)) => format!("{before}rd={rd}"),
        None => format!("{login_url}{separator}rd={rd}"),
    };
    assert_eq!(alice.visit(&login_url).await.echo().target, "/after");
}

#[tokio::test]
async fn a_websocket_or_a_form_without_a_session_is_never_redirected() {
    let world = World::new().await;
    let visitor = world.visitor();
    let socket = visitor
        .clone()
        .with("upgrade", "websocket")
        .with("connection", "Upgrade")
        .with("sec-websocket-version", "13")
        .with("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    let mut asking = socket.request(crate::world::RequestMode::Fetch, &world.at("app", "/ws"));
    asking.headers_mut().insert("sec-fetch-mode", "websocket".parse().unwrap());
    let answer = socket.send(asking).await;
    assert_eq!((answer.status, answer.reason()), (StatusCode::UNAUTHORIZED, "no_session"), "{answer:?}");

    let mut form = visitor.request(crate::world::RequestMode::Page, &world.at("app", "/submit"));
    *form.method_mut() = http::Method::POST;
    let answer = visitor.send(form).await;
    assert_eq!((answer.status, answer.reason()), (StatusCode::UNAUTHORIZED, "no_session"), "{answer:?}");
    assert!(answer.header("content-type").starts_with("text/html"), "{answer:?}");
    assert_eq!(world.app.requests(), 0);
}

#[tokio::test]
async fn a_frame_or_a_form_without_a_session_gets_a_page_that_opens_sign_in_in_a_new_tab() {
    let world = World::new().await;
    let framed = world.visitor().with("sec-fetch-dest", "iframe");
    let wanted = world.at("app", "/panel?x=1&y=2");
    let answer = framed.open(&wanted).await;
    assert_eq!((answer.status, answer.reason()), (StatusCode::UNAUTHORIZED, "no_session"), "{answer:?}");
    assert_eq!(answer.header("x-frame-options"), "", "it has to be seen in the frame");
    assert!(answer.header("content-security-policy").contains("frame-ancestors http: https:"), "{answer:?}");
    assert_eq!(answer.headers.get("set-cookie"), None, "nothing has begun");
    assert_eq!(sign_in_from_the_page(&world, &answer.text()).await, "/panel?x=1&y=2");

    let visitor = world.visitor();
    let mut form = visitor.request(crate::world::RequestMode::Page, &world.at("app", "/submit"));
    *form.method_mut() = http::Method::POST;
    let answer = visitor.send(form).await;
    assert_eq!((answer.status, answer.reason()), (StatusCode::UNAUTHORIZED, "no_session"), "{answer:?}");
    assert!(answer.text().contains("send it again"), "{answer:?}");
    assert_eq!(sign_in_from_the_page(&world, &answer.text()).await, "/");

    // With a session a frame is like any other page.
    let alice = world.signed_in("alice").await.with("sec-fetch-dest", "iframe");
    assert_eq!(alice.open(&wanted).await.echo().target, "/panel?x=1&y=2");
}

/// Opens the only link of a page, which opens a new tab, and returns the target of the app's page at its end.
async fn sign_in_from_the_page(world: &World, html: &str) -> String {
    let link = html.split("<a ").find(|link| link.contains("target=\"_blank\" rel=\"noopener\"")).expect("a link");
    let address =
        link.split_once("href=\"").unwrap().1.split_once('"').unwrap().0.replace("&amp;", "&").replace("&#38;", "&");
    world.person("alice").visit(&address).await.echo().target
}

#[tokio::test]
async fn a_frame_through_nginx_gets_the_same_page_and_no_redirect() {
    let world = WorldBuilder::with(EdgeKind::Nginx).start().await;
    let answer = world.visitor().with("sec-fetch-dest", "iframe").open(&world.at("app", "/panel")).await;
    assert_eq!((answer.status, answer.header("location")), (StatusCode::UNAUTHORIZED, ""), "{answer:?}");
    assert!(answer.text().contains("target=\"_blank\""), "{answer:?}");
}

#[tokio::test]
async fn a_link_that_an_edge_for_another_gate_wrote_with_http_is_followed_over_https() {
    let world = World::new().await;
    let wanted = world.at("app", "/deep?x=1");
    let written = wanted.replacen("https://", "http://", 1);
    let rd: String = url::form_urlencoded::byte_serialize(written.as_bytes()).collect();
    let answer = world.person("alice").visit(&world.at("app", &format!("/_doorward/start?rd={rd}"))).await;
    assert_eq!(answer.url, wanted, "{:#?}", answer.trail);
}

#[tokio::test]
async fn the_login_cookie_is_short_and_gone_a_minute_after_the_sign_in() {
    let world = World::new().await;
    let alice = world.person("alice");
    let callback = alice.up_to_the_callback(&world.at("app", "/")).await;
    let begun = alice.cookies(&world.at("app", "/").parse().unwrap());
    assert!(begun.starts_with("__Host-doorward_login=") && begun.len() <= 60, "{begun}");
    let answer = alice.open(&callback).await;
    let lines: Vec<_> = answer.headers.get_all("set-cookie").iter().map(|line| line.to_str().unwrap()).collect();
    let login = lines.iter().find(|line| line.starts_with("__Host-doorward_login=")).expect("it counts for a minute");
    assert!(login.ends_with("Max-Age=60"), "{login}");
}

#[tokio::test]
async fn ten_tabs_sign_in_in_any_order_with_one_jar_and_cookies_do_not_pile_up() {
    let world = World::new().await;
    let browser: Visitor = world.person("alice");
    let mut tabs = Vec::new();
    for tab in 0..10 {
        tabs.push((tab, browser.open(&world.at("app", &format!("/tab/{tab}"))).await));
    }
    let place = world.at("app", "/").parse().unwrap();
    let begun = browser.cookies(&place);
    assert_eq!(begun.split("; ").count(), 1, "ten sign-ins begun, one cookie: {begun}");
    // The fourth, then in reverse: tabs are not finished in the order in which they were opened.
    let fourth = tabs.remove(3);
    for (tab, answer) in std::iter::once(fourth).chain(tabs.into_iter().rev()) {
        let answer = browser.follow(answer).await;
        assert_eq!(answer.echo().target, format!("/tab/{tab}"), "{:#?}", answer.trail);
    }
    let kept = browser.cookies(&place);
    assert!(kept.split("; ").filter(|cookie| cookie.contains("doorward")).count() <= 2, "{kept}");
    assert!(kept.len() < 400, "{} bytes: {kept}", kept.len());
}

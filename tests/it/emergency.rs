//! Emergency sign-in: a password from a file while store or provider are unavailable, and never else.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use http::StatusCode;

use crate::{
    postgres::{EDGE, replica},
    world::{
        EDGES, EdgeKind, Gate, World, WorldBuilder,
        database::{ChaosProxy, Database, LinkState, name_in, url},
        eventually,
        raw::{self, DIALECTS, OriginalRequest, RawResponse},
    },
};

const APP: &str = "app.example.test";
const PAGE: &str = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nAccept: text/html\r\n";
const FETCH: &str = "Sec-Fetch-Mode: cors\r\nAccept: application/json\r\n";
const CHALLENGE: &str = r#"Basic realm="Emergency Access", charset="UTF-8""#;
const ACTIVE: &str = "doorward_emergency_active";
/// Name and password of the only user.
const RIGHT: &str = "ann:correct-horse";

/// Hosts that people have open in as many tabs.
fn many_hosts() -> Vec<String> {
    (0..45).map(|number| format!("h{number}.many.example.test")).collect()
}

fn basic(pair: &str) -> String {
    format!("Basic {}", data_encoding::BASE64.encode(pair.as_bytes()))
}

fn brings(pair: &str) -> String {
    format!("Authorization: {}\r\n", basic(pair))
}

/// Tables of a configuration with an emergency sign-in whose users file is `users` in the world's folder.
fn tables(world: &World) -> String {
    format!(
        r#"
[[apps]]
name = "many"
hosts = ["*.many.example.test"]

[emergency]
users_file = "{}"
hosts = ["{APP}", "rules.example.test", "*.many.example.test"]
groups = ["rescue"]
"#,
        world.dir().join("users").display()
    )
}

/// Gives the world's gate an emergency sign-in for `ann`.
async fn with_emergency(world: &World) {
    // The cheapest hash that there is.
    let hash = bcrypt::hash("correct-horse", 4).unwrap();
    fs::write(world.dir().join("users"), format!("# by hand\nann:{hash}\n")).unwrap();
    world.gate.configure(&format!("{}\n{}", world.config(), tables(world)));
    eventually("the configuration is in force", async || {
        world.gate.log().contains("configuration reloaded").then_some(())
    })
    .await;
}

async fn ask(world: &World, dialect: &str, host: &str, lines: &str) -> RawResponse {
    ask_for(world, dialect, host, "/", lines).await
}

async fn ask_for(world: &World, dialect: &str, host: &str, target: &str, lines: &str) -> RawResponse {
    let request = OriginalRequest { method: "GET", host, target, lines };
    raw::request(world.gate.port, &request.in_dialect(dialect)).await
}

async fn count(world: &World, result: &str) -> u64 {
    world.gate.metric(&format!("doorward_emergency_total{{result=\"{result}\"}}")).await.unwrap()
}

/// Waits until a page without credentials is asked for some, and returns the answer.
async fn asked(world: &World, lines: &str) -> RawResponse {
    eventually("a page is asked for an emergency password", async || {
        let answer = ask(world, "traefik", APP, &format!("{PAGE}{lines}")).await;
        (answer.header("www-authenticate") == CHALLENGE).then_some(answer)
    })
    .await
}

async fn closed(world: &World) {
    eventually("it closes by itself", async || (world.gate.metric(ACTIVE).await == Some(0)).then_some(())).await;
}

#[tokio::test]
async fn while_the_store_is_unavailable_a_password_opens_its_hosts_and_known_sessions_never_see_it() {
    let database = Database::shared();
    let proxy = ChaosProxy::to(database.port).await;
    let store = url(proxy.port, name_in(&database.create()));
    let world = WorldBuilder::with(EDGE).session("cookie_domain = \"example.test\"").store(&store).start().await;
    with_emergency(&world).await;
    assert_eq!(world.gate.metric(ACTIVE).await, Some(0));
    let alice = world.signed_in("alice").await;
    let cookie = format!("Cookie: {}\r\n", alice.cookies(&world.at("app", "/").parse().unwrap()));
    let right = brings(RIGHT);
    let early = ask(&world, "traefik", APP, &format!("{PAGE}{right}")).await;
    assert_eq!(early.status, StatusCode::FOUND, "closed, the header is the app's: {early:?}");
    let ordinary = ask(&world, "traefik", APP, &format!("{FETCH}{cookie}")).await;
    assert_eq!((ordinary.status, ordinary.header("doorward-emergency")), (StatusCode::OK, ""));
    assert!(ordinary.headers.contains_key("doorward-emergency"), "a client's own copy does not pass: {ordinary:?}");
    // A replica that has not seen the session.
    let cold = replica_with_emergency(&world).await;

    proxy.set(LinkState::Cut);
    let hosts = many_hosts();
    let asked_page = eventually("a page is asked for an emergency password", async || {
        // Alice's tabs go on meanwhile, with and without a password that some other site once put there.
        for (place, host) in hosts.iter().enumerate() {
            let lines = if place % 2 == 0 { format!("{PAGE}{cookie}") } else { format!("{PAGE}{cookie}{right}") };
            let answer = ask(&world, DIALECTS[place % 4], host, &lines).await;
            assert_eq!((answer.status, answer.header("remote-user")), (StatusCode::OK, "alice"), "{host}: {answer:?}");
            assert_eq!(answer.header("doorward-emergency"), "");
        }
        let answer = ask(&world, "traefik", APP, PAGE).await;
        (answer.header("www-authenticate") == CHALLENGE).then_some(answer)
    })
    .await;
    assert_eq!((asked_page.status, asked_page.reason()), (StatusCode::UNAUTHORIZED, "store_unavailable"));
    assert!(asked_page.body.contains("Emergency sign-in"), "{asked_page:?}");
    assert_eq!(asked_page.header("cache-control"), "no-store");
    assert_eq!(world.gate.metric(ACTIVE).await, Some(1));
    let series = r#"doorward_auth_requests_total{app="app",edge="traefik",verdict="emergency"}"#;
    assert_eq!(world.gate.metric(series).await, Some(1));
    assert_eq!(count(&world, "challenged").await, 1);

    for dialect in DIALECTS {
        each_answer_of_an_open_emergency(&world, dialect).await;
    }
    let log = world.gate.log();
    let uses = log.matches("let in by an emergency password").count();
    assert!((1..4).contains(&uses), "the first is told, the rest counted: {log}");
    assert!(log.contains("emergency:ann") && !log.contains("correct-horse"), "{log}");
    unknown_session(cold.port, &cookie, &right).await;

    proxy.set(LinkState::Open);
    closed(&world).await;
    let late = ask(&world, "traefik", APP, &format!("{PAGE}{right}")).await;
    assert_eq!(late.status, StatusCode::FOUND, "{late:?}");
    // The replicas of a test write into one log.
    let log = eventually("both tell its end", async || {
        let log = world.gate.log();
        (log.matches("the emergency sign-in is closed again").count() == 2).then_some(log)
    })
    .await;
    assert_eq!(log.matches("the emergency sign-in is open").count(), 2, "each tells its opening once: {log}");
    assert!(log.contains("open_seconds"), "{log}");
}

/// A replica whose gate has the emergency sign-in too.
async fn replica_with_emergency(world: &World) -> Gate {
    let gate = replica(world).await;
    gate.configure(&format!("{}\n{}", world.config_of(&gate), tables(world)));
    eventually("the configuration is in force", async || gate.log().contains("configuration reloaded").then_some(()))
        .await;
    gate
}

async fn each_answer_of_an_open_emergency(world: &World, dialect: &str) {
    let (right, wrong, unknown) = (brings(RIGHT), brings("ann:wrong"), brings("nobody:correct-horse"));
    let page = ask(world, dialect, APP, PAGE).await;
    assert_eq!((page.status, page.header("www-authenticate")), (StatusCode::UNAUTHORIZED, CHALLENGE), "{dialect}");
    assert_eq!((page.reason(), page.header("location")), ("store_unavailable", ""), "{dialect}: {page:?}");
    assert_eq!(page.body.is_empty(), dialect == "nginx", "{dialect}: {page:?}");
    for not_asked in
        [FETCH, "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n", &format!("{PAGE}Sec-Purpose: prefetch\r\n")]
    {
        let answer = ask(world, dialect, APP, not_asked).await;
        assert!(!answer.status.is_success(), "{dialect}: {answer:?}");
        assert!(!answer.header("www-authenticate").starts_with("Basic"), "{dialect}: {answer:?}");
    }
    for mode in [PAGE, FETCH] {
        let answer = ask(world, dialect, APP, &format!("{mode}{right}")).await;
        assert_eq!(
            (answer.status, answer.header("doorward-emergency")),
            (StatusCode::OK, "true"),
            "{dialect}: {answer:?}"
        );
        for (name, value) in [
            ("remote-user", "emergency:ann"),
            ("remote-groups", "rescue"),
            ("remote-email", ""),
            ("x-authentik-username", "emergency:ann"),
            ("content-length", "0"),
        ] {
            assert_eq!(answer.header(name), value, "{dialect} {name}: {answer:?}");
        }
        assert!(answer.headers.contains_key("remote-email"), "{dialect}: {answer:?}");
        for refused in [&wrong, &unknown] {
            let answer = ask(world, dialect, APP, &format!("{mode}{refused}")).await;
            let challenge = answer.header("www-authenticate") == CHALLENGE;
            assert_eq!((answer.status, answer.reason()), (StatusCode::UNAUTHORIZED, "emergency_refused"), "{dialect}");
            assert_eq!(challenge, mode == PAGE, "{dialect}: {answer:?}");
        }
    }
    // It passes every `allow` of its hosts and no `deny`; at other hosts it is nothing.
    let allowed = ask_for(world, dialect, "rules.example.test", "/admin/x", &format!("{PAGE}{right}")).await;
    assert_eq!(allowed.status, StatusCode::OK, "{dialect}: {allowed:?}");
    let denied = ask_for(world, dialect, "rules.example.test", "/never/mind", &format!("{PAGE}{right}")).await;
    assert_eq!((denied.status, denied.reason()), (StatusCode::FORBIDDEN, "rule_denied"), "{dialect}: {denied:?}");
    let elsewhere = ask(world, dialect, "admin.example.test", &format!("{PAGE}{right}")).await;
    assert!(!elsewhere.status.is_success() && elsewhere.header("www-authenticate") != CHALLENGE, "{elsewhere:?}");
}

/// A session that is not in memory: a page is asked, a fetch is not, and a password lets in without waiting for the store.
async fn unknown_session(port: u16, cookie: &str, right: &str) {
    let send = async |lines: &str| {
        let lines = format!("{lines}{cookie}");
        let request = OriginalRequest { method: "GET", host: APP, target: "/", lines: &lines };
        raw::request(port, &request.in_dialect("traefik")).await
    };
    eventually("the replica asks too", async || {
        (send(PAGE).await.header("www-authenticate") == CHALLENGE).then_some(())
    })
    .await;
    let fetch = send(FETCH).await;
    assert_eq!((fetch.status, fetch.reason()), (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable"), "{fetch:?}");
    assert_eq!(send(&format!("{FETCH}{right}")).await.header("remote-user"), "emergency:ann");
}

#[tokio::test]
async fn a_store_that_stalls_for_five_seconds_has_nobody_asked_for_a_password() {
    let database = Database::shared();
    let proxy = ChaosProxy::to(database.port).await;
    let store = url(proxy.port, name_in(&database.create()));
    let world = WorldBuilder::with(EDGE).store(&store).start().await;
    with_emergency(&world).await;
    let alice = world.signed_in("alice").await;
    let stranger = alice.copied_cookies();
    let cookie = format!("Cookie: {}\r\n", stranger.cookies(&world.at("app", "/").parse().unwrap()));
    for _ in 0..2 {
        proxy.set(LinkState::Stalled);
        let stalled = Instant::now();
        // The stall is in real time: it is what the test is about.
        while stalled.elapsed() < Duration::from_secs(5) {
            for lines in [PAGE.to_owned(), format!("{PAGE}{cookie}"), format!("{PAGE}{}", brings(RIGHT))] {
                let answer = ask(&world, "nginx", APP, &lines).await;
                assert_ne!(answer.header("www-authenticate"), CHALLENGE, "{answer:?}");
                assert_ne!(answer.header("doorward-emergency"), "true", "{answer:?}");
            }
            assert_eq!(world.gate.metric(ACTIVE).await, Some(0));
        }
        proxy.set(LinkState::Open);
        eventually("the store is available again", async || {
            (world.gate.metric("doorward_store_up{backend=\"postgres\"}").await == Some(1)).then_some(())
        })
        .await;
    }
    for result in ["allowed", "challenged", "refused", "limited", "busy"] {
        assert_eq!(count(&world, result).await, 0, "{result}");
    }
    assert!(!world.gate.log().contains("emergency sign-in is open"), "{}", world.gate.log());
}

#[tokio::test]
async fn while_the_provider_is_unavailable_people_get_in_by_a_password_until_it_is_back() {
    let mut world = WorldBuilder::with(EDGE).start().await;
    with_emergency(&world).await;
    let alice = world.signed_in("alice").await;
    world.provider.stop().await;
    let page = asked(&world, "X-Forwarded-For: 203.0.113.9\r\n").await;
    assert_eq!(page.reason(), "provider_unavailable", "{page:?}");
    assert_eq!(alice.open(&world.at("app", "/")).await.echo().values_as("Remote-User"), ["alice"]);
    let fetch = ask(&world, "traefik", APP, FETCH).await;
    assert_eq!((fetch.reason(), fetch.header("www-authenticate")), ("no_session", "Bearer"), "{fetch:?}");

    flood_of_wrong_passwords(&world).await;
    // Through the edge, as a browser that was asked.
    let ann = world.visitor().with("authorization", &basic(RIGHT)).with("doorward-emergency", "forged");
    let echo = ann.visit(&world.at("app", "/page")).await.echo();
    assert_eq!((echo.target.as_str(), echo.values_as("Remote-User")), ("/page", vec!["emergency:ann"]));
    assert_eq!(echo.values_as("Doorward-Emergency"), ["true"]);
    assert_eq!(echo.values_as("Authorization"), [basic(RIGHT)], "unless the edge drops it");
    let forger = world.visitor().with("doorward-emergency", "true");
    let answer = forger.open(&world.at("app", "/")).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{answer:?}");

    another_users_file(&world).await;

    world.start_provider().await;
    closed(&world).await;
    let answer = ask(&world, "traefik", APP, &format!("{PAGE}{}", brings("bea:second"))).await;
    assert_eq!(answer.status, StatusCode::FOUND, "{answer:?}");
    assert_eq!(alice.fetch(&world.at("app", "/")).await.echo().values_as("Doorward-Emergency").concat(), "");
}

/// One network tries passwords until it may no more; others get in, and so does whoever is known there.
async fn flood_of_wrong_passwords(world: &World) {
    let from = |client: &str, pair: &str| format!("{FETCH}X-Forwarded-For: {client}\r\n{}", brings(pair));
    let mut limited = 0;
    for number in 0..60 {
        let name = if number % 2 == 0 { "ann" } else { "nobody" };
        let answer = ask(world, "traefik", APP, &from("198.51.100.7", &format!("{name}:{number}"))).await;
        match answer.reason() {
            "emergency_refused" => assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{answer:?}"),
            "rate_limited" => {
                assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{answer:?}");
                assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
                limited += 1;
            }
            _ => panic!("{answer:?}"),
        }
    }
    assert!(limited > 20, "{limited}");
    for client in ["203.0.113.9", "198.51.100.7"] {
        let answer = ask(world, "traefik", APP, &from(client, RIGHT)).await;
        assert_eq!(answer.status, StatusCode::OK, "{client}: {answer:?}");
    }
    assert_eq!(count(world, "limited").await, limited);
}

/// The file is read again: what it says from then on counts, and a bad one changes nothing.
async fn another_users_file(world: &World) {
    let users = world.dir().join("users");
    fs::write(&users, format!("bea:{}", hash_password("second\n"))).unwrap();
    eventually("the new user gets in", async || {
        let answer = ask(world, "traefik", APP, &format!("{FETCH}{}", brings("bea:second"))).await;
        (answer.status == StatusCode::OK).then_some(())
    })
    .await;
    let gone = ask(world, "traefik", APP, &format!("{FETCH}{}", brings(RIGHT))).await;
    assert_eq!(gone.reason(), "emergency_refused", "{gone:?}");
    fs::write(&users, "bea:second\n").unwrap();
    eventually("the bad file is refused", async || {
        let log = world.gate.log();
        (log.contains("configuration reload refused") && log.contains("line 1 (bea)")).then_some(())
    })
    .await;
    let kept = ask(world, "traefik", APP, &format!("{FETCH}{}", brings("bea:second"))).await;
    assert_eq!(kept.header("remote-user"), "emergency:bea", "{kept:?}");
}

/// Returns what `doorward hash-password` prints.
fn hash_password(typed: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_doorward"));
    command.env_clear().arg("hash-password").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    process.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    let output = process.wait_with_output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.success(), !printed.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    printed
}

#[test]
fn hash_password_prints_a_hash_of_argon2id_and_nothing_for_no_password() {
    let printed = hash_password("correct horse\n");
    assert!(printed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$") && printed.lines().count() == 1, "{printed}");
    assert_ne!(printed, hash_password("correct horse"), "the salt is another");
    assert_eq!([hash_password(""), hash_password("\n"), hash_password("two\nlines\n")], ["", "", ""]);
}

#[tokio::test]
async fn every_edge_has_the_browser_ask_for_the_password_and_lets_it_in() {
    for kind in EDGES {
        let world = WorldBuilder::with(kind).edge(dropping_the_password(kind)).without_provider().await;
        with_emergency(&world).await;
        let at = world.at("app", "/page");
        let page = eventually("a page is asked for an emergency password", async || {
            let answer = world.visitor().open(&at).await;
            (answer.status == StatusCode::UNAUTHORIZED).then_some(answer)
        })
        .await;
        assert_eq!(page.header("www-authenticate"), CHALLENGE, "{kind:?}: {page:?}");
        assert!(page.text().contains("Emergency sign-in"), "{kind:?}: {page:?}");
        let wrong = world.visitor().with("authorization", &basic("ann:wrong")).open(&at).await;
        assert_eq!((wrong.status, wrong.header("www-authenticate")), (StatusCode::UNAUTHORIZED, CHALLENGE), "{kind:?}");
        assert!(wrong.text().contains("password is wrong"), "{kind:?}: {wrong:?}");
        let ann = world.visitor().with("authorization", &basic(RIGHT)).with("doorward-emergency", "forged");
        let echo = ann.open(&at).await.echo();
        assert_eq!(echo.values_as("Remote-User"), ["emergency:ann"], "{kind:?}");
        assert_eq!(echo.values_as("Doorward-Emergency"), ["true"], "{kind:?}");
        assert_eq!(echo.values_as("Authorization").concat(), "", "{kind:?}");
        let own = world.visitor().with("authorization", "Bearer own").fetch(&world.at("rules", "/health")).await.echo();
        let always = matches!(kind, EdgeKind::Traefik { .. } | EdgeKind::Envoy);
        assert_eq!(own.values_as("Authorization").concat(), if always { "" } else { "Bearer own" }, "{kind:?}");
    }
}

/// The lines of `deploy/README.md` that keep the password from the app.
fn dropping_the_password(kind: EdgeKind) -> &'static [(&'static str, &'static str, &'static str)] {
    match kind {
        EdgeKind::Traefik { .. } => &[
            (
                "apps.yml",
                "http:\n",
                "http:\n  middlewares:\n    no-authorization: { headers: { customRequestHeaders: { Authorization: \"\" } } }\n",
            ),
            ("apps.yml", "middlewares: [doorward]", "middlewares: [doorward, no-authorization]"),
        ],
        EdgeKind::Nginx => &[
            (
                "app.conf",
                "server {\n    listen 80;",
                "map $doorward_emergency $app_authorization { default $http_authorization; true \"\"; }\nserver {\n    listen 80;",
            ),
            (
                "app.conf",
                "        proxy_set_header X-Real-IP",
                "        proxy_set_header Authorization $app_authorization;\n        proxy_set_header X-Real-IP",
            ),
        ],
        EdgeKind::Caddy => &[(
            "Caddyfile",
            "\t\treverse_proxy 127",
            "\t\t@emergency header Doorward-Emergency true\n\t\trequest_header @emergency -Authorization\n\t\treverse_proxy 127",
        )],
        EdgeKind::Envoy => &[(
            "envoy.yaml",
            "                route: { cluster: app, timeout: 0s }\n",
            "                route: { cluster: app, timeout: 0s }\n                request_headers_to_remove: [authorization]\n",
        )],
        EdgeKind::HaProxy => &[(
            "haproxy.cfg",
            "    http-request lua.doorward doorward unless doorward_pages\n",
            "    http-request lua.doorward doorward unless doorward_pages\n    http-request del-header authorization if { req.hdr(doorward-emergency) -m str true }\n",
        )],
    }
}

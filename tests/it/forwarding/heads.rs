//! Heads as they reach a real app: who somebody is, where they come from, their cookies and credentials, in every spelling.

use std::fs;

use data_encoding::BASE64;
use serde_json::json;

use super::wire::{End, SeenResponse, exchange};
use crate::{
    postgres::EDGE,
    world::{
        ForwardingGate, MisbehavingProvider, WorldBuilder, eventually, free_port,
        misbehaving_provider::Script,
        raw_app::{Moment, RawApp, SeenRequest, Then},
    },
};

/// What a client says of itself that is not its to say.
const MADE_UP: &str = "Remote-User: admin\r\nremote_user: admin\r\nRemote.User: admin\r\nREMOTE-GROUPS: admins\r\nX_Team: admins\r\n\
     X-authentik-username: admin\r\nX_authentik_username: admin\r\nX-Authentik_Groups: admins\r\nX-Auth-Request-User: admin\r\n\
     X-Forwarded-User: admin\r\nDoorward-Emergency: true\r\nDoorward_Emergency: true\r\nX_Device_Token: x\r\n\
     Forwarded: for=10.0.0.1;host=evil\r\nX-Real-IP: 10.0.0.1\r\nX-Original-URL: /never/a\r\nX-Rewrite-URL: /never/a\r\n\
     X-Forwarded-Uri: /never/a\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Proto: https\r\nX_Forwarded_Proto: https\r\n\
     X-Forwarded-Port: 1\r\nProxy: http://evil\r\nProxy-Authorization: Basic eA==\r\nTransfer_Encoding: chunked\r\n";

/// What is the app's own.
const OWN: &str = "X-Own: 1\r\nAuthorization: Basic YQ==\r\nX-Own: 2\r\nRange: bytes=0-1\r\nAccept: text/html\r\n";

/// Sends a request, and returns the answer with what the app saw of it.
async fn ask(gate: &ForwardingGate, app: &RawApp, host: &str, lines: &str) -> (SeenResponse, Option<SeenRequest>) {
    ask_at(gate.port, app, &format!("GET /a HTTP/1.1\r\nHost: {host}.example.test"), lines).await
}

async fn ask_at(port: u16, app: &RawApp, head: &str, lines: &str) -> (SeenResponse, Option<SeenRequest>) {
    app.forget();
    let request = format!("{head}\r\n{lines}Connection: close\r\n\r\n");
    let mut responses = exchange(port, request.as_bytes(), End::Waits).await;
    assert_eq!(responses.len(), 1, "{responses:?}");
    (responses.remove(0), app.seen().pop())
}

/// Names of headers that an app could take for one of these.
fn like<'s>(seen: &'s SeenRequest, prefixes: &[&str]) -> Vec<&'s str> {
    let fold = |name: &str| name.to_ascii_lowercase().replace(|one: char| !one.is_ascii_alphanumeric(), "-");
    seen.names().into_iter().filter(|name| prefixes.iter().any(|prefix| fold(name).starts_with(prefix))).collect()
}

#[tokio::test]
async fn of_a_stranger_the_app_gets_its_own_headers_and_the_gates_words() {
    let app = RawApp::start().await;
    let gate = ForwardingGate::start(app.port, "192.0.2.0/24", "").await;
    let lines = format!("{OWN}{MADE_UP}X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Prefix: /evil\r\nVia: 1.1 cdn\r\n");
    let (_, seen) = ask(&gate, &app, "open", &lines).await;
    let seen = seen.unwrap();
    let expected = [
        "x-own",
        "x-own",
        "authorization",
        "range",
        "accept",
        "host",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-proto",
        "x-forwarded-for",
        "x-real-ip",
        "via",
        "remote-user",
        "remote-email",
        "remote-name",
        "remote-groups",
        "x-team",
    ];
    assert_eq!(seen.names(), expected);
    assert_eq!(seen.values("x-own"), ["1", "2"]);
    for (name, value) in [
        ("host", "open.example.test"),
        ("x-forwarded-host", "open.example.test"),
        ("x-forwarded-port", "80"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-real-ip", "127.0.0.1"),
        ("via", "1.1 cdn, 1.1 doorward"),
        ("remote-user", ""),
        ("remote-groups", ""),
        ("x-team", ""),
    ] {
        assert_eq!(seen.values(name), [value], "{name}");
    }
}

#[tokio::test]
async fn a_trusted_proxy_says_where_a_client_comes_from_and_never_who_it_is() {
    let app = RawApp::start().await;
    let gate = ForwardingGate::start(app.port, "127.0.0.0/8", "").await;
    let told =
        "X-Forwarded-For: 198.51.100.7, 203.0.113.9\r\nX-Forwarded-Prefix: /app\r\nX_Forwarded_Prefix: /evil\r\n";
    let (_, seen) = ask(&gate, &app, "open", &format!("{MADE_UP}{told}")).await;
    let seen = seen.unwrap();
    for (name, values) in [
        ("x-forwarded-for", vec!["198.51.100.7, 203.0.113.9, 127.0.0.1"]),
        ("x-real-ip", vec!["203.0.113.9"]),
        ("x-forwarded-prefix", vec!["/app"]),
        ("x-forwarded-host", vec!["open.example.test"]),
        ("x-forwarded-proto", vec!["http"]),
        ("remote-user", vec![""]),
        ("x-original-url", vec![]),
        ("forwarded", vec![]),
    ] {
        assert_eq!(seen.values(name), values, "{name}");
    }
    assert_eq!(like(&seen, &["x-authentik", "x-auth-request", "doorward", "x-device", "x-forwarded-user"]), [""; 0]);
    assert_eq!(like(&seen, &["remote-user", "x-team", "x-forwarded-prefix"]).len(), 3);
}

#[tokio::test]
async fn a_service_token_is_for_the_gate_and_the_host_passes_as_it_was_written() {
    let app = RawApp::start().await;
    let gate = ForwardingGate::start(app.port, "192.0.2.0/24", "").await;
    let token = gate.gate.command(&["token", "new", "--name", "phone", "--app", "closed"]);
    let token = format!("X-Device-Token: {}\r\n", token.trim());
    let (_, seen) = ask_at(gate.port, &app, "GET /a HTTP/1.1\r\nHost: CLOSED.example.test:8080", &token).await;
    let seen = seen.unwrap();
    assert_eq!((seen.values("remote-user"), like(&seen, &["x-device"])), (vec!["token:phone"], vec![]));
    assert_eq!(
        (seen.values("host"), seen.values("x-forwarded-port")),
        (vec!["CLOSED.example.test:8080"], vec!["8080"])
    );
    let (refused, seen) = ask(&gate, &app, "closed", "X_Device_Token: x\r\n").await;
    assert_eq!((refused.status, seen), (401, None));
}

#[tokio::test]
async fn an_upstream_that_leads_back_to_the_gate_ends_after_a_few_rounds() {
    let circle = "[[apps]]\nname = 'circle'\nhosts = ['circle.example.test']\nupstream = 'http://GATE'\n\
                  rules = [{ access = 'public' }]\n";
    let gate = ForwardingGate::start(1, "192.0.2.0/24", circle).await;
    let request = "GET /a HTTP/1.1\r\nHost: circle.example.test\r\nConnection: close\r\n\r\n";
    let told = exchange(gate.port, request.as_bytes(), End::Waits).await;
    assert_eq!((told.len(), told[0].status), (1, 502), "{told:?}");
    let passed =
        gate.gate.metric("doorward_auth_requests_total{app=\"circle\",edge=\"proxy\",verdict=\"allow\"}").await;
    assert_eq!(passed, Some(5), "the fifth goes no further");
    assert!(gate.gate.log().contains("leads back to the gate"), "{}", gate.gate.log());
}

#[tokio::test]
async fn no_trailer_says_what_only_a_head_may_in_either_direction() {
    let app = RawApp::start().await;
    let gate = ForwardingGate::start(app.port, "192.0.2.0/24", "").await;
    let names = "X-Checksum, Remote-User, remote_user, X-Team, X_Team, Content-Length, Host, Authorization, X-Forwarded-For, Cookie";
    let fields = names.replace(", ", ": 1\r\n") + ": 1\r\n";
    let head = "POST /a HTTP/1.1\r\nHost: open.example.test";
    let body = format!("5\r\nhello\r\n0\r\n{fields}\r\n");
    let request = format!(
        "{head}\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nConnection: TE, close\r\nTrailer: {names}\r\n\r\n{body}"
    );
    // The app answers alike.
    let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: {names}, Set-Cookie\r\n\r\n{body}");
    let answer = answer.replace("X-Checksum: 1\r\n", "X-Checksum: 1\r\nSet-Cookie: a=1\r\n");
    app.answers(answer.as_bytes(), Moment::AfterRequest, Then::Wait);
    let told = exchange(gate.port, request.as_bytes(), End::Waits).await.remove(0);
    assert_eq!((told.status, told.body.as_deref()), (200, Some("hello")));
    // Names of the app's own that are no identity header anywhere are the app's to say.
    assert_eq!(told.trailers, ["x-checksum", "x-team", "x_team"]);
    let seen = app.seen().pop().unwrap();
    assert_eq!((seen.body.as_deref(), seen.trailers.as_slice()), (Some("hello"), &["x-checksum".to_owned()][..]));
    assert_eq!((seen.values("te"), seen.values("connection")), (vec!["trailers"], vec!["te"]));
}

#[tokio::test]
async fn a_credential_that_lets_in_goes_no_further_and_every_other_is_the_apps() {
    let app = RawApp::start().await;
    let provider = MisbehavingProvider::start().await;
    provider.issuer("api", Script::default());
    let dir = tempfile::tempdir().unwrap();
    let users = dir.path().join("users");
    fs::write(&users, format!("ann:{}\n", bcrypt::hash("correct-horse", 4).unwrap())).unwrap();
    let tables = format!(
        "[[apps]]\nname = 'api'\nhosts = ['api.example.test']\nupstream = 'http://127.0.0.1:{}'\n\
         rules = [{{ path = {{ prefix = '/a' }}, access = 'bearer' }}, {{ path = '/open', access = 'public' }}]\n\
         [bearer]\nissuers = [{{ issuer = '{}', audience = 'things' }}]\n\
         [emergency]\nusers_file = '{}'\nhosts = ['closed.example.test']\n",
        app.port,
        provider.address("api"),
        users.display()
    )
    .replace("prefix = '/a'", "prefix = '/api/'");
    let gate = ForwardingGate::start(app.port, "192.0.2.0/24", &tables).await;
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let claims = json!({
        "iss": provider.address("api"), "sub": "subject-1", "aud": "things", "exp": now + 300, "preferred_username": "ann",
    });
    let bearer = format!("Authorization: Bearer {}\r\n", provider.signed("api", &claims));
    let head = "GET /api/x HTTP/1.1\r\nHost: api.example.test";
    let (told, seen) = ask_at(gate.port, &app, head, &bearer).await;
    let seen = seen.unwrap_or_else(|| panic!("{told:?}"));
    assert_eq!((seen.values("remote-user"), seen.values("authorization")), (vec!["ann"], vec![]));
    let (_, seen) = ask_at(gate.port, &app, "GET /open HTTP/1.1\r\nHost: api.example.test", &bearer).await;
    assert_eq!(seen.unwrap().values("authorization").len(), 1, "of a public path it is the app's");

    // Nobody can sign in at this gate's provider, so that the emergency is open.
    let password = format!("Authorization: Basic {}\r\n", BASE64.encode(b"ann:correct-horse"));
    let seen = eventually("the emergency is open", async || ask(&gate, &app, "closed", &password).await.1).await;
    assert_eq!((seen.values("remote-user"), seen.values("authorization")), (vec!["emergency:ann"], vec![]));
    assert_eq!(seen.values("doorward-emergency"), ["true"]);
    let (_, seen) = ask(&gate, &app, "open", &password).await;
    assert_eq!(seen.unwrap().values("authorization").len(), 1, "of another host it is the app's");
}

#[tokio::test]
async fn a_session_tells_the_app_who_somebody_is_and_its_cookies_stay_at_the_gate() {
    let app = RawApp::start().await;
    let port = free_port();
    let tables = format!(
        "[[apps]]\nname = 'proxied'\nhosts = ['proxied.example.test']\nheaders = ['authentik']\n\
         upstream = 'http://127.0.0.1:{}'\n",
        app.port
    );
    let world = WorldBuilder::with(EDGE)
        .server(&format!("proxy_listen = '127.0.0.1:{port}'"))
        .session("cookie_domain = 'example.test'")
        .tables(&tables)
        .start()
        .await;
    let alice = world.signed_in("alice").await;
    let cookies = alice.cookies(&world.at("app", "/").parse().unwrap());
    assert!(cookies.contains("__Secure-doorward=") && cookies.contains("__Secure-doorward_login="), "{cookies}");
    let lines = format!("{MADE_UP}{OWN}Cookie: own=1; {cookies}\r\nCookie: other=\"2\"\r\n");
    let (told, seen) = ask_at(port, &app, "GET /a HTTP/1.1\r\nHost: proxied.example.test", &lines).await;
    let seen = seen.unwrap_or_else(|| panic!("{told:?}"));
    assert_eq!(seen.values("cookie"), ["own=1; app=1; other=\"2\""]);
    assert_eq!(seen.values("x-authentik-username"), ["alice"]);
    assert_eq!(like(&seen, &["x-authentik-username"]).len(), 1);
    assert_eq!(like(&seen, &["remote", "x-auth-request", "x-forwarded-user", "doorward"]), [""; 0]);
    assert_eq!((seen.values("x-forwarded-proto"), seen.values("x-forwarded-port")), (vec!["https"], vec!["443"]));
    assert_eq!((seen.values("authorization"), seen.values("content-length")), (vec!["Basic YQ=="], vec![]));
}

//! Service tokens: the command, the header in every dialect and behind every edge, revocation at all replicas, outages, rotation.

use std::process::Command;

use http::StatusCode;
use serde_json::Value;

use crate::{
    postgres::{EDGE, replica},
    world::{
        EDGES, EdgeKind, Gate, RequestMode, Signal, TRAEFIK, WorldBuilder,
        database::{ChaosProxy, Database, LinkState, name_in, url},
        eventually,
        raw::{self, DIALECTS, OriginalRequest, RawResponse},
    },
};

const TOKENS: &str = "[tokens]\n[limits.credentials]\nper_minute = 600\nburst = 600\n";
const PAGE: &str = "Sec-Fetch-Mode: navigate\r\nAccept: text/html\r\n";
const OLD: &str = "\"the first secret of one test, which is long enough\"";
const NEW: &str = "\"the second secret of the same test, which is also long\"";

/// Makes a token and returns it.
fn made(gate: &Gate, arguments: &[&str]) -> String {
    let printed = gate.command(&[&["token", "new"], arguments].concat());
    let token = printed.strip_suffix('\n').expect("one line");
    assert!(token.starts_with("dwt_") && token.len() == 68 && !token.contains('\n'), "{printed}");
    token.to_owned()
}

/// Runs a command that has to fail, and returns its standard error.
fn failed(gate: &Gate, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_doorward"));
    let output = command.env_clear().args(arguments).arg("--config").arg(gate.path()).output().unwrap();
    assert!(!output.status.success() && output.stdout.is_empty(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn line(token: &str) -> String {
    format!("Doorward-Token: {token}\r\n")
}

async fn ask_in(dialect: &str, gate: &Gate, host: &str, target: &str, lines: &str) -> RawResponse {
    let host = format!("{host}.example.test");
    raw::request(gate.port, &OriginalRequest { method: "GET", host: &host, target, lines }.in_dialect(dialect)).await
}

async fn ask(gate: &Gate, host: &str, lines: &str) -> RawResponse {
    ask_in("traefik", gate, host, "/", lines).await
}

#[track_caller]
fn lets_in(said: &RawResponse, user: &str) {
    assert_eq!((said.status, said.header("remote-user")), (StatusCode::OK, user), "{said:?}");
    assert_eq!(said.headers.get_all("doorward-token").iter().collect::<Vec<_>>(), [""], "{said:?}");
}

#[track_caller]
fn is_invalid(said: &RawResponse) {
    assert_eq!((said.status, said.reason()), (StatusCode::UNAUTHORIZED, "invalid_token"), "{said:?}");
    assert!(!said.headers.contains_key("location") && !said.headers.contains_key("set-cookie"), "{said:?}");
    assert!(!said.headers.contains_key("remote-user") && !said.headers.contains_key("doorward-token"), "{said:?}");
    assert_eq!(said.header("cache-control"), "no-store");
    assert!(!said.header("doorward-request-id").is_empty() && !said.header("www-authenticate").is_empty(), "{said:?}");
}

/// Waits until a gate refuses a token.
async fn refused(gate: &Gate, token: &str) {
    let said = eventually("the token is refused", async || {
        let said = ask(gate, "app", &line(token)).await;
        (said.status != StatusCode::OK).then_some(said)
    })
    .await;
    is_invalid(&said);
}

async fn store_calls(gate: &Gate, operation: &str) -> u64 {
    let series = format!("doorward_store_duration_seconds_count{{operation=\"{operation}\"}}");
    gate.metric(&series).await.unwrap()
}

#[tokio::test]
async fn a_token_counts_at_its_apps_alone_in_every_dialect() {
    let tables = format!(
        "{TOKENS}[[apps]]\nname = \"named\"\nhosts = [\"named.example.test\"]\nallow = {{ users = [\"token:phone\"] }}\n"
    );
    let world = WorldBuilder::with(EDGE).tables(&tables).start().await;
    let gate = &world.gate;
    let phone = made(gate, &["--name", "phone", "--app", "app", "rules", "--app", "named", "--groups", "family,staff"]);
    let admin = made(gate, &["--name", "admin", "--app", "admin", "--groups", "admins", "--expires", "90d"]);
    let guest = made(gate, &["--name", "guest.2_x-y", "--app", "admin", "--app", "named"]);
    for dialect in DIALECTS {
        for first in [PAGE, ""] {
            let said = ask_in(dialect, gate, "app", "/a?b", &format!("{first}{}", line(&phone))).await;
            lets_in(&said, "token:phone");
            assert_eq!((said.header("remote-groups"), said.header("remote-email")), ("family,staff", ""));
            assert_eq!(
                (said.header("x-authentik-username"), said.header("x-authentik-uid")),
                ("token:phone", "token:phone")
            );
            // Never sent to a sign-in.
            is_invalid(&ask_in(dialect, gate, "admin", "/", &format!("{first}{}", line(&phone))).await);
            is_invalid(&ask_in(dialect, gate, "app", "/", &format!("{first}{}", line(&admin))).await);
        }
        lets_in(&ask_in(dialect, gate, "admin", "/", &line(&admin)).await, "token:admin");
        lets_in(&ask_in(dialect, gate, "named", "/", &line(&phone)).await, "token:phone");
        for (host, reason) in [("admin", "group_missing"), ("named", "not_allowed")] {
            let said = ask_in(dialect, gate, host, "/", &line(&guest)).await;
            assert_eq!((said.status, said.reason()), (StatusCode::FORBIDDEN, reason), "{dialect}: {said:?}");
        }
        // Rules come before, and decide as for everybody.
        lets_in(&ask_in(dialect, gate, "rules", "/open/x", &line(&phone)).await, "token:phone");
        let said = ask_in(dialect, gate, "rules", "/never/x", &line(&phone)).await;
        assert_eq!((said.status, said.reason()), (StatusCode::FORBIDDEN, "rule_denied"), "{dialect}: {said:?}");
        lets_in(&ask_in(dialect, gate, "rules", "/health", &line("dwt_wrong")).await, "");
        is_invalid(&ask_in(dialect, gate, "rules", "/open/x", &line("dwt_wrong")).await);
        lets_in(&ask_in(dialect, gate, "rules", "/open/x", "").await, "");
    }
    let said = ask(gate, "nobody", &line(&phone)).await;
    assert_eq!((said.status, said.reason()), (StatusCode::FORBIDDEN, "unknown_host"), "{said:?}");
    assert!(!world.gate.log().contains(&phone[4..12]), "no token is in the log");
}

#[tokio::test]
async fn a_wrong_token_is_refused_in_one_way_and_costs_no_look_up() {
    let world = WorldBuilder::with(EDGE).tables(TOKENS).start().await;
    let (gate, alice) = (&world.gate, world.signed_in("alice").await);
    let cookie = format!("Cookie: {}\r\n", alice.cookies(&world.at("app", "/").parse().unwrap()));
    let good = made(gate, &["--name", "phone", "--app", "app"]);
    let session = cookie.split_once("__Host-doorward=").unwrap().1[..64].to_owned();
    let before = (store_calls(gate, "load").await, store_calls(gate, "confirm").await);
    for wrong in [
        "x".to_owned(),
        "dwt_".to_owned(),
        format!("dwt_{}", "A".repeat(64)),
        format!("dwt_{session}"),
        good[..67].to_owned(),
        format!("{good}A"),
        format!("Bearer {good}"),
        good.to_uppercase(),
        good[4..].to_owned(),
        "A".repeat(8_192),
        format!("{good}, {good}"),
    ] {
        is_invalid(&ask(gate, "app", &format!("{cookie}{}", line(&wrong))).await);
    }
    is_invalid(&ask(gate, "app", &format!("{}{}", line(&good), line(&good))).await);
    is_invalid(&ask(gate, "app", &format!("{}{}", line(""), line(&good))).await);
    assert_eq!((store_calls(gate, "load").await, store_calls(gate, "confirm").await), before);

    let page = ask(gate, "app", &format!("{PAGE}{}", line("dwt_x"))).await;
    assert!(page.header("content-type").starts_with("text/html") && page.body.contains("not valid here"), "{page:?}");
    let json: Value = serde_json::from_str(&ask(gate, "app", &line("dwt_x")).await.body).unwrap();
    assert_eq!(json["error"], "invalid_token");
    assert!(json["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{json}");

    // The header decides, and an empty one is none.
    lets_in(&ask(gate, "app", &format!("{cookie}{}", line(&good))).await, "token:phone");
    lets_in(&ask(gate, "app", &format!("{cookie}{}", line(""))).await, "alice");
    let said = ask(gate, "app", &format!("Cookie: __Host-doorward={}\r\n", &good[4..])).await;
    assert_eq!((said.status, said.reason()), (StatusCode::UNAUTHORIZED, "no_session"), "{said:?}");
}

#[tokio::test]
async fn a_network_that_tries_many_tokens_is_limited_and_a_good_one_always_passes() {
    let tables = "[tokens]\n[limits.credentials]\nper_minute = 1\nburst = 5\n";
    let world = WorldBuilder::with(EDGE).tables(tables).start().await;
    let gate = &world.gate;
    let good = made(gate, &["--name", "phone", "--app", "app"]);
    let from = "X-Forwarded-For: 192.0.2.7\r\n";
    for _ in 0..5 {
        is_invalid(&ask(gate, "app", &format!("{from}{}", line("dwt_x"))).await);
    }
    let said = ask(gate, "app", &format!("{from}{}", line("dwt_x"))).await;
    assert_eq!((said.status, said.reason()), (StatusCode::TOO_MANY_REQUESTS, "rate_limited"), "{said:?}");
    assert!(said.header("retry-after").parse::<u64>().unwrap() > 0);
    for _ in 0..3 {
        lets_in(&ask(gate, "app", &format!("{from}{}", line(&good))).await, "token:phone");
    }
    is_invalid(&ask(gate, "app", &format!("X-Forwarded-For: 198.51.100.7\r\n{}", line("dwt_x"))).await);
}

#[tokio::test]
async fn without_the_section_the_header_is_not_read_and_a_reload_switches_it_on() {
    let world = WorldBuilder::with(EDGE).start().await;
    let (gate, alice) = (&world.gate, world.signed_in("alice").await);
    let cookie = format!("Cookie: {}\r\n", alice.cookies(&world.at("app", "/").parse().unwrap()));
    let token = made(gate, &["--name", "phone", "--app", "app"]);
    let said = ask(gate, "app", &format!("{cookie}{}", line(&token))).await;
    assert_eq!((said.header("remote-user"), said.headers.contains_key("doorward-token")), ("alice", false), "{said:?}");
    gate.configure(&format!("{}[tokens]\nheader = \"X-Device\"\n", world.config()));
    let said = eventually("it is on", async || {
        let said = ask(gate, "app", &format!("{cookie}X-Device: {token}\r\n")).await;
        (said.header("remote-user") == "token:phone").then_some(said)
    })
    .await;
    assert_eq!(said.headers.get_all("x-device").iter().collect::<Vec<_>>(), [""], "{said:?}");
    let said = ask(gate, "app", &cookie).await;
    assert_eq!(said.headers.get_all("x-device").iter().collect::<Vec<_>>(), [""], "on every answer: {said:?}");
}

#[tokio::test]
async fn an_operator_makes_lists_and_revokes_tokens() {
    let world = WorldBuilder::with(EDGE).tables(TOKENS).start().await;
    let gate = &world.gate;
    let phone = made(gate, &["--name", "phone", "--app", "app", "--app", "app", "--groups", "a,b", "--expires", "90d"]);
    made(gate, &["--name", "backup", "--app", "app", "rules"]);

    let error = failed(gate, &["token", "new", "--name", "phone", "--app", "app"]);
    assert!(error.contains("`phone` already") && error.contains("token revoke --name phone"), "{error}");
    let error = failed(gate, &["token", "new", "--name", "x", "--app", "app", "--app", "immich", "other"]);
    assert!(error.contains("`immich` or `other`") && error.contains("app, admin, rules"), "{error}");
    for wrong in ["", "a b", "a:b", "é", &"a".repeat(65)] {
        let error = failed(gate, &["token", "new", "--name", wrong, "--app", "app"]);
        assert!(error.contains("cannot be a token's name"), "{wrong}: {error}");
    }
    for wrong in ["0s", "soon", "-1d", "999y"] {
        let error = failed(gate, &["token", "new", "--name", "x", "--app", "app", &format!("--expires={wrong}")]);
        assert!(error.contains("--expires"), "{wrong}: {error}");
    }

    lets_in(&ask(gate, "app", &line(&phone)).await, "token:phone");
    let list = || {
        let printed = gate.command(&["token", "list", "--format", "json"]);
        assert!(!printed.contains(&phone[4..20]) && !printed.contains("dwt_"), "{printed}");
        serde_json::from_str::<Value>(&printed).unwrap()
    };
    let entries = list();
    assert_eq!(
        (entries[0]["name"].as_str(), entries[1]["name"].as_str()),
        (Some("backup"), Some("phone")),
        "{entries}"
    );
    assert_eq!(entries[1]["apps"], serde_json::json!(["app"]));
    assert_eq!(entries[1]["groups"], serde_json::json!(["a", "b"]));
    assert!(entries[0]["expires"].is_null() && entries[1]["expires"].is_string(), "{entries}");
    assert!(entries[1]["created"].is_string() && entries[0]["last_used"].is_null(), "{entries}");
    let table = gate.command(&["token", "list"]);
    assert!(table.lines().count() == 3 && table.contains("phone") && !table.contains("dwt_"), "{table}");
    eventually("the last use is written", async || list()[1]["last_used"].is_string().then_some(())).await;

    // Sessions and tokens are revoked apart.
    world.signed_in("alice").await;
    assert_eq!(gate.command(&["sessions", "revoke", "--all"]), "ended 1 session\n");
    assert_eq!(list().as_array().unwrap().len(), 2);
    assert_eq!(gate.command(&["token", "revoke", "--name", "phone"]), "revoked 1 service token\n");
    let error = failed(gate, &["token", "revoke", "--name", "phone"]);
    assert!(error.contains("no service token called `phone`"), "{error}");
    refused(gate, &phone).await;
    assert_eq!(gate.command(&["token", "revoke", "--all"]), "revoked 1 service token\n");
    assert_eq!(list(), serde_json::json!([]));
    assert_ne!(made(gate, &["--name", "phone", "--app", "app"]), phone);
}

#[tokio::test]
async fn a_token_expires_by_itself() {
    let world = WorldBuilder::with(EDGE).tables(TOKENS).start().await;
    let token = made(&world.gate, &["--name", "brief", "--app", "app", "--expires", "1s"]);
    refused(&world.gate, &token).await;
    eventually("the log says why", async || {
        let log = world.gate.log();
        (log.contains("a service token that has expired") && log.contains("token:brief")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn in_memory_the_command_says_that_it_cannot() {
    let world = WorldBuilder::with(EDGE).tables(TOKENS).store("memory:").start().await;
    for arguments in
        [["token", "new", "--name=x", "--app=app"].as_slice(), &["token", "list"], &["token", "revoke", "--all"]]
    {
        let error = failed(&world.gate, arguments);
        assert!(error.contains("store.url") && error.contains("sqlite:"), "{error}");
    }
    is_invalid(&ask(&world.gate, "app", &line("dwt_x")).await);
    assert!(world.gate.command(&["check"]).contains("no service token can be made"));
}

#[tokio::test]
async fn a_revoked_token_is_refused_by_every_replica_in_either_store() {
    for store in [Some(Database::shared().create()), None] {
        let plan = WorldBuilder::with(EDGE).tables(TOKENS);
        let world = match &store {
            Some(url) => plan.store(url).start().await,
            None => plan.start().await,
        };
        let mut other = replica(&world).await;
        let [phone, kept, unseen] =
            ["phone", "kept", "unseen"].map(|name| made(&world.gate, &["--name", name, "--app", "app"]));
        for gate in [&world.gate, &other] {
            for (token, user) in [(&phone, "token:phone"), (&kept, "token:kept")] {
                lets_in(&ask(gate, "app", &line(token)).await, user);
            }
        }
        assert_eq!(world.gate.command(&["token", "revoke", "--name", "phone"]), "revoked 1 service token\n");
        assert_eq!(world.gate.command(&["token", "revoke", "--name", "unseen"]), "revoked 1 service token\n");
        for gate in [&world.gate, &other] {
            refused(gate, &phone).await;
            is_invalid(&ask(gate, "app", &line(&unseen)).await);
            lets_in(&ask(gate, "app", &line(&kept)).await, "token:kept");
        }
        other.restart(Signal::Kill).await;
        is_invalid(&ask(&other, "app", &line(&phone)).await);
        lets_in(&ask(&other, "app", &line(&kept)).await, "token:kept");
    }
}

#[tokio::test]
async fn a_notification_makes_a_replica_refuse_a_token_before_it_would_ask_by_itself() {
    let database = Database::shared();
    let store = database.create();
    let world = WorldBuilder::with(EDGE).tables(TOKENS).store(&store).start().await;
    let token = made(&world.gate, &["--name", "phone", "--app", "app"]);
    eventually("it listens", async || world.gate.log().contains("listening for session").then_some(())).await;
    lets_in(&ask(&world.gate, "app", &line(&token)).await, "token:phone");
    let confirmed = store_calls(&world.gate, "confirm").await;
    // As somebody revokes it who notifies nobody: while the feed is connected, memory is served.
    let key = database.sql(name_in(&store), "DELETE FROM doorward_tokens RETURNING encode(key, 'hex')");
    lets_in(&ask(&world.gate, "app", &line(&token)).await, "token:phone");
    assert_eq!(store_calls(&world.gate, "confirm").await, confirmed);
    database.sql(name_in(&store), &format!("SELECT pg_notify('doorward_sessions', 'ended {key}')"));
    refused(&world.gate, &token).await;
}

// With more than one thread: commands block, and the proxy has to go on meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_store_is_away_known_tokens_go_on_and_others_wait() {
    let database = Database::shared();
    let name = name_in(&database.create()).to_owned();
    let proxy = ChaosProxy::to(database.port).await;
    let world = WorldBuilder::with(EDGE).tables(TOKENS).store(&url(proxy.port, &name)).start().await;
    let gate = &world.gate;
    let [known, other] = ["known", "other"].map(|name| made(gate, &["--name", name, "--app", "app"]));
    lets_in(&ask(gate, "app", &line(&known)).await, "token:known");
    proxy.set(LinkState::Cut);
    eventually("the outage is seen", async || {
        (gate.metric("doorward_store_up{backend=\"postgres\"}").await == Some(0)).then_some(())
    })
    .await;
    lets_in(&ask(gate, "app", &line(&known)).await, "token:known");
    for lines in [line(&other), format!("{PAGE}{}", line(&other))] {
        let said = ask(gate, "app", &lines).await;
        assert_eq!((said.status, said.reason()), (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable"), "{said:?}");
        assert!(!said.header("retry-after").is_empty() && !said.headers.contains_key("location"), "{said:?}");
    }
    is_invalid(&ask(gate, "app", &line(&format!("dwt_{}", "A".repeat(64)))).await);
    proxy.set(LinkState::Open);
    eventually("it is back", async || (ask(gate, "app", &line(&other)).await.status == StatusCode::OK).then_some(()))
        .await;
}

#[tokio::test]
async fn a_secret_is_rotated_and_dropped_and_tokens_go_on() {
    for store in [Some(Database::shared().create()), None] {
        let plan = WorldBuilder::with(EDGE).tables(TOKENS);
        let mut world = match &store {
            Some(url) => plan.store(url).start().await,
            None => plan.start().await,
        };
        let token = made(&world.gate, &["--name", "phone", "--app", "app"]);
        for secrets in [format!("{NEW}, {OLD}"), NEW.to_owned()] {
            let config = world.config().replace(&format!("secrets = [{OLD}]"), &format!("secrets = [{secrets}]"));
            world.gate.configure(&config);
            world.gate.restart(Signal::Kill).await;
            lets_in(&ask(&world.gate, "app", &line(&token)).await, "token:phone");
            eventually("nothing is left of the old secret", async || {
                let series = "doorward_session_rows_to_reseal{secret=\"older\"} 0\n";
                let is_counted = world.gate.metrics().await.contains(series);
                let report: Value = serde_json::from_str(&world.gate.command(&["check", "--format", "json"])).unwrap();
                let rotation = &report["rotation"];
                (is_counted && (rotation.is_null() || rotation["older"] == 0)).then_some(())
            })
            .await;
        }
        assert!(world.gate.command(&["token", "list"]).contains("never"), "its record opens with the new secret");
    }
}

/// Asks through an edge, with a copy of the header that the gate must not let pass.
async fn through(kind: EdgeKind) {
    let world = WorldBuilder::with(kind).tables(TOKENS).start().await;
    let token = made(&world.gate, &["--name", "phone", "--app", "app", "rules"]);
    let visitor = world.visitor();
    let get = async |host: &str, path: &str, token: &str| {
        let mut request = visitor.request(RequestMode::Fetch, &world.at(host, path));
        request.headers_mut().insert("doorward-token", token.parse().unwrap());
        visitor.send(request).await
    };
    for (host, path, sent, user) in [
        ("app", "/x", token.as_str(), "token:phone"),
        ("rules", "/health", "dwt_client", ""),
        ("rules", "/open/x", &token, "token:phone"),
    ] {
        let echo = get(host, path, sent).await.echo();
        assert_eq!(echo.values_as("Remote-User").concat(), user, "{kind:?} {path}");
        let seen = echo.values_as("Doorward-Token");
        assert!(seen.len() <= 1 && seen.concat().is_empty(), "{kind:?} {path}: {seen:?}");
        if matches!(kind, EdgeKind::Traefik { .. }) {
            assert_eq!(seen, [""], "{path}");
        }
    }
    let seen = world.app.requests();
    let answer = get("admin", "/", &token).await;
    assert_eq!((answer.status, answer.reason()), (StatusCode::UNAUTHORIZED, "invalid_token"), "{kind:?}: {answer:?}");
    assert_eq!(world.app.requests(), seen);
    let alice = world.signed_in("alice").await;
    let echo = alice.fetch(&world.at("app", "/")).await.echo();
    assert!(echo.values_as("Doorward-Token").concat().is_empty(), "{kind:?}");
}

#[tokio::test]
async fn behind_traefik_the_app_sees_an_empty_header_and_never_the_client_s() {
    through(TRAEFIK).await;
}

#[tokio::test]
async fn behind_the_other_edges_the_app_never_sees_the_client_s_header() {
    for kind in EDGES.into_iter().filter(|kind| !matches!(kind, EdgeKind::Traefik { .. })) {
        through(kind).await;
    }
}

//! Several replicas with one PostgreSQL, and operators who revoke sessions.

use http::StatusCode;

use crate::world::{
    Answer, EdgeKind, Gate, PageRouting, RequestMode, Signal, Transport, Visitor, World, WorldBuilder, answers,
    database::{ChaosProxy, Database, LinkState, name_in, url},
    eventually, get,
};

/// Edge with gates in clear text, so that a test can send subrequests too.
pub(crate) const EDGE: EdgeKind =
    EdgeKind::Traefik { entry: Transport::Tls, gate: Transport::Plain, pages: PageRouting::Routed };

/// Sends a subrequest to a gate as Traefik would, with the visitor's cookies for the app.
pub(crate) async fn ask(world: &World, gate: &Gate, visitor: &Visitor) -> Answer {
    let app = world.at("app", "/");
    let place: url::Url = app.parse().unwrap();
    let own = Visitor::new(world.dir());
    let mut request =
        own.request(RequestMode::Fetch, &format!("http://127.0.0.1:{}/_doorward/auth/traefik", gate.port));
    for (name, value) in [
        ("x-forwarded-method", "GET"),
        ("x-forwarded-host", place.host_str().unwrap()),
        ("x-forwarded-uri", "/"),
        ("cookie", &visitor.cookies(&place)),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    own.send(request).await
}

/// Starts another replica of the world's gate.
pub(crate) async fn replica(world: &World) -> Gate {
    let mut gate = Gate::new(world.dir());
    gate.configure(&world.config_of(&gate));
    gate.start().await;
    gate
}

/// Waits until every gate refuses the session.
pub(crate) async fn refused(world: &World, gates: &[&Gate], visitor: &Visitor) {
    for gate in gates {
        let answer = eventually("the session is refused", async || {
            let answer = ask(world, gate, visitor).await;
            (answer.status != StatusCode::OK).then_some(answer)
        })
        .await;
        assert_eq!((answer.status, answer.reason()), (StatusCode::UNAUTHORIZED, "session_ended"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_session_is_shared_by_all_replicas_and_ends_at_all() {
    let world = WorldBuilder::with(EDGE).store(&Database::shared().create()).start().await;
    let mut other = replica(&world).await;
    let alice = world.signed_in("alice").await;
    let stolen = alice.copied_cookies();
    for gate in [&world.gate, &other] {
        assert_eq!(ask(&world, gate, &alice).await.header("remote-user"), "alice");
    }
    // Even after all replicas have stopped, the session is in the store.
    other.restart(Signal::Kill).await;
    assert_eq!(ask(&world, &other, &alice).await.status, StatusCode::OK);
    alice.visit(&world.at("app", "/_doorward/sign_out")).await;
    refused(&world, &[&world.gate, &other], &stolen).await;
}

#[tokio::test]
async fn an_operator_lists_and_revokes_sessions_in_either_store_and_replicas_are_notified() {
    for store in [Some(Database::shared().create()), None] {
        let plan = WorldBuilder::with(EDGE);
        let world = match &store {
            Some(url) => plan.store(url).start().await,
            None => plan.start().await,
        };
        let (alice, bob) = (world.signed_in("alice").await, world.signed_in("bob").await);
        let table = world.gate.command(&["sessions", "list"]);
        assert!(table.lines().count() == 3 && table.contains("alice") && table.contains("bob"), "{table}");
        let list: serde_json::Value =
            serde_json::from_str(&world.gate.command(&["sessions", "list", "--user", "bob", "--format", "json"]))
                .unwrap();
        let [session] = list.as_array().unwrap().as_slice() else { panic!("{list}") };
        assert_eq!((session["user"].as_str(), session["provider"].as_str()), (Some("bob"), Some("neighbour")));
        let id = session["id"].as_str().unwrap();
        assert!(world.gate.command(&["sessions", "show", &id[..8]]).contains(id));
        assert_eq!(world.gate.command(&["sessions", "revoke", "--user", "alice"]), "ended 1 session\n");
        refused(&world, &[&world.gate], &alice).await;
        assert_eq!(ask(&world, &world.gate, &bob).await.status, StatusCode::OK);
        assert_eq!(world.gate.command(&["sessions", "revoke", "--id", &id[..8]]), "ended 1 session\n");
        refused(&world, &[&world.gate], &bob).await;
        eventually("they are counted as the operator's", async || {
            let metrics = world.gate.metrics().await;
            metrics.contains("doorward_logouts_total{kind=\"operator\"} 2").then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn while_the_server_is_away_known_sessions_go_on_others_wait_and_no_cookie_is_lost() {
    let database = Database::shared();
    let proxy = ChaosProxy::to(database.port).await;
    let through_proxy = url(proxy.port, name_in(&database.create()));
    let world = WorldBuilder::with(EDGE).store(&through_proxy).start().await;
    let alice = world.signed_in("alice").await;
    for weather in [LinkState::Cut, LinkState::Stalled] {
        // A replica without the session in its cache.
        let cold = replica(&world).await;
        proxy.set(weather);
        let answer = eventually("a replica that does not have the session in its cache is unavailable", async || {
            let answer = ask(&world, &cold, &alice).await;
            (answer.status != StatusCode::OK).then_some(answer)
        })
        .await;
        assert_eq!(
            (answer.status, answer.reason()),
            (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable"),
            "{weather:?}: {answer:?}"
        );
        assert!(!answer.headers.contains_key("set-cookie") && !answer.header("retry-after").is_empty(), "{answer:?}");
        eventually("the outage shows without traffic", async || {
            world.gate.metrics().await.contains("doorward_store_up{backend=\"postgres\"} 0").then_some(())
        })
        .await;
        eventually("she is served, and counted once she cannot be revalidated", async || {
            assert_eq!(ask(&world, &world.gate, &alice).await.header("remote-user"), "alice", "{weather:?}");
            let metrics = world.gate.metrics().await;
            (!metrics.contains("doorward_session_stale_served_total 0")).then_some(())
        })
        .await;
        proxy.set(LinkState::Open);
        eventually("it is known again", async || {
            (ask(&world, &cold, &alice).await.status == StatusCode::OK).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_gate_without_its_server_lives_and_is_ready_when_it_comes() {
    let database = Database::shared();
    let proxy = ChaosProxy::to(database.port).await;
    proxy.set(LinkState::Cut);
    let world = WorldBuilder::with(EDGE).start().await;
    let mut gate = Gate::new(world.dir());
    let store = url(proxy.port, name_in(&database.create()));
    let here = format!("sqlite:{}", world.dir().join("sessions.db").display());
    gate.configure(&world.config_of(&gate).replace(&here, &store));
    gate.start_to_live().await;
    let ready = gate.management_url("/-/health/ready");
    let answer = get(&ready).await.unwrap();
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    proxy.set(LinkState::Open);
    eventually("it is ready", async || answers(&ready).await.then_some(())).await;
}

//! Several replicas over one PostgreSQL, and operators who end sessions.

use http::StatusCode;

use crate::world::{
    Answer, As, Gate, Kind, Pages, Plan, Signal, Visitor, Wire as Bytes, World, answers,
    database::{Database, Weather, Wire, name_in, url},
    eventually, get,
};

/// An edge that asks gates in clear text, so that a test can ask them too.
pub(crate) const EDGE: Kind = Kind::Traefik { entry: Bytes::Tls, gate: Bytes::Plain, pages: Pages::Routed };

/// Asks a gate as Traefik would, with the cookies that the visitor has for the app.
pub(crate) async fn ask(world: &World, gate: &Gate, visitor: &Visitor) -> Answer {
    let app = world.at("app", "/");
    let place: url::Url = app.parse().unwrap();
    let own = Visitor::new(world.dir());
    let mut request = own.request(As::Fetch, &format!("http://127.0.0.1:{}/_doorward/auth/traefik", gate.port));
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

/// Another replica of the world's gate.
pub(crate) async fn replica(world: &World) -> Gate {
    let mut gate = Gate::new(world.dir());
    gate.configure(&world.config_of(&gate));
    gate.start().await;
    gate
}

/// Waits until every gate says that the session is over.
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
async fn whoever_signs_in_at_one_replica_is_known_to_all_and_signed_out_of_all() {
    let world = Plan::with(EDGE).store(&Database::shared().create()).start().await;
    let mut other = replica(&world).await;
    let alice = world.signed_in("alice").await;
    let stolen = alice.stolen();
    for gate in [&world.gate, &other] {
        assert_eq!(ask(&world, gate, &alice).await.header("remote-user"), "alice");
    }
    // All replicas may go away: the session is in the store.
    other.restart(Signal::Kill).await;
    assert_eq!(ask(&world, &other, &alice).await.status, StatusCode::OK);
    alice.visit(&world.at("app", "/_doorward/sign_out")).await;
    refused(&world, &[&world.gate, &other], &stolen).await;
}

#[tokio::test]
async fn an_operator_lists_and_ends_sessions_in_either_store_and_replicas_hear_of_it() {
    for store in [Some(Database::shared().create()), None] {
        let plan = Plan::with(EDGE);
        let world = match &store {
            Some(url) => plan.store(url).start().await,
            None => plan.start().await,
        };
        let (alice, bob) = (world.signed_in("alice").await, world.signed_in("bob").await);
        let table = world.gate.tell(&["sessions", "list"]);
        assert!(table.lines().count() == 3 && table.contains("alice") && table.contains("bob"), "{table}");
        let list: serde_json::Value =
            serde_json::from_str(&world.gate.tell(&["sessions", "list", "--user", "bob", "--format", "json"])).unwrap();
        let [session] = list.as_array().unwrap().as_slice() else { panic!("{list}") };
        assert_eq!((session["user"].as_str(), session["provider"].as_str()), (Some("bob"), Some("neighbour")));
        let id = session["id"].as_str().unwrap();
        assert!(world.gate.tell(&["sessions", "show", &id[..8]]).contains(id));
        assert_eq!(world.gate.tell(&["sessions", "revoke", "--user", "alice"]), "ended 1 session\n");
        refused(&world, &[&world.gate], &alice).await;
        assert_eq!(ask(&world, &world.gate, &bob).await.status, StatusCode::OK);
        assert_eq!(world.gate.tell(&["sessions", "revoke", "--id", &id[..8]]), "ended 1 session\n");
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
    let wire = Wire::to(database.port).await;
    let away = url(wire.port, name_in(&database.create()));
    let world = Plan::with(EDGE).store(&away).start().await;
    let alice = world.signed_in("alice").await;
    for weather in [Weather::Cut, Weather::Stalled] {
        // One that does not know her.
        let stranger = replica(&world).await;
        wire.set(weather);
        let answer = eventually("a replica that does not know the session cannot tell", async || {
            let answer = ask(&world, &stranger, &alice).await;
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
        eventually("she is served, and counted once nobody vouches for her", async || {
            assert_eq!(ask(&world, &world.gate, &alice).await.header("remote-user"), "alice", "{weather:?}");
            let metrics = world.gate.metrics().await;
            (!metrics.contains("doorward_session_stale_served_total 0")).then_some(())
        })
        .await;
        wire.set(Weather::Fair);
        eventually("it is known again", async || {
            (ask(&world, &stranger, &alice).await.status == StatusCode::OK).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_gate_without_its_server_lives_and_is_ready_when_it_comes() {
    let database = Database::shared();
    let wire = Wire::to(database.port).await;
    wire.set(Weather::Cut);
    let world = Plan::with(EDGE).start().await;
    let mut gate = Gate::new(world.dir());
    let store = url(wire.port, name_in(&database.create()));
    let here = format!("sqlite:{}", world.dir().join("sessions.db").display());
    gate.configure(&world.config_of(&gate).replace(&here, &store));
    gate.start_to_live().await;
    let ready = gate.management_url("/-/health/ready");
    let answer = get(&ready).await.unwrap();
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    wire.set(Weather::Fair);
    eventually("it is ready", async || answers(&ready).await.then_some(())).await;
}

//! Back-channel and front-channel logout: a sign-out at the provider ends the session at every replica (contract C17, lesson
//! L31).

use http::{Method, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::{
    postgres::{EDGE, ask, refused, replica},
    world::{
        Answer, RequestMode, TRAEFIK, Visitor, World, WorldBuilder,
        database::{Database, name_in},
        eventually,
    },
};

/// Plans a world whose provider sends back-channel logout requests through the edge's direct route.
fn telling(access_token_ttl: u32) -> WorldBuilder {
    WorldBuilder::with(EDGE)
        .session("renew_before = \"2s\"")
        .provider(json!({ "backchannel_logout": true, "access_token_ttl": access_token_ttl }))
}

/// Signs a visitor out at the provider, which has notified the gate when this returns.
async fn sign_out_at_the_provider(world: &World, who: &Visitor) {
    let asked = who.visit(&format!("{}/session/end", world.provider.issuer())).await;
    let done = who.submit(&asked, &[("logout", "yes")]).await;
    assert!(done.text().contains("Signed out at the provider"), "{done:?}");
}

/// Sends a logout token to the gate, as the provider does.
async fn send_logout_token(world: &World, token: &str) -> Answer {
    let visitor = world.visitor();
    let mut request = visitor.request(RequestMode::Fetch, &world.at("app", "/_doorward/backchannel_logout"));
    *request.method_mut() = Method::POST;
    request.headers_mut().insert(header::CONTENT_TYPE, "application/x-www-form-urlencoded".parse().unwrap());
    *request.body_mut() = Full::from(format!("logout_token={token}"));
    visitor.send(request).await
}

#[tokio::test]
async fn a_sign_out_at_the_provider_ends_that_session_at_every_replica_and_counts_once() {
    let world = telling(3600).store(&Database::shared().create()).start().await;
    let other = replica(&world).await;
    let (alice, bob) = (world.signed_in("alice").await, world.signed_in("bob").await);
    // The same person in another browser: the logout token names one session, not all of hers.
    let at_home = world.signed_in("alice").await;
    for gate in [&world.gate, &other] {
        assert_eq!(ask(&world, gate, &alice).await.status, StatusCode::OK);
    }
    sign_out_at_the_provider(&world, &alice).await;
    refused(&world, &[&world.gate, &other], &alice).await;
    for (gate, who) in [(&world.gate, &bob), (&other, &bob), (&world.gate, &at_home), (&other, &at_home)] {
        assert_eq!(ask(&world, gate, who).await.status, StatusCode::OK);
    }
    assert!(world.gate.metrics().await.contains("doorward_logouts_total{kind=\"backchannel\"} 1"));

    let notices = world.provider.control("grants").await["notices"].clone();
    let [Value::String(notice)] = notices.as_array().unwrap().as_slice() else { panic!("{notices}") };
    let answer = send_logout_token(&world, notice).await;
    assert_eq!((answer.status, answer.json()["error"].as_str()), (StatusCode::BAD_REQUEST, Some("bad_request")));
    assert!(answer.json()["message"].as_str().unwrap().contains("jti"), "{answer:?}");
    // A manipulated logout token ends nothing.
    let (signed, signature) = notice.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", signature.chars().rev().collect::<String>());
    assert_eq!(send_logout_token(&world, &forged).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_session_that_is_ended_while_it_is_renewed_stays_ended_at_every_replica() {
    let world = telling(6).store(&Database::shared().create()).start().await;
    let other = replica(&world).await;
    let gates = [&world.gate, &other];
    let alice = world.signed_in("alice").await;
    world.provider.control("slow?seconds=4").await;
    eventually("the provider has renewed it, and holds its answer back", async || {
        for gate in gates {
            assert_eq!(ask(&world, gate, &alice).await.status, StatusCode::OK);
        }
        (world.provider.refreshes().await > 0).then_some(())
    })
    .await;
    sign_out_at_the_provider(&world, &alice).await;
    refused(&world, &gates, &alice).await;
    eventually("the answer is there", async || {
        for gate in gates {
            let answer = ask(&world, gate, &alice).await;
            assert_eq!((answer.status, answer.reason()), (StatusCode::UNAUTHORIZED, "session_ended"), "{answer:?}");
        }
        let series = "doorward_renewals_total{provider=\"neighbour\",result=\"renewed\"} 1";
        let has_it = gates.map(async |gate| gate.metrics().await.contains(series));
        let [first, second] = has_it;
        (first.await || second.await).then_some(())
    })
    .await;
    let newcomer = replica(&world).await;
    refused(&world, &[&newcomer, gates[0], gates[1]], &alice).await;
}

#[tokio::test]
async fn a_front_channel_logout_needs_the_right_issuer_and_session() {
    let database = Database::shared();
    let store = database.create();
    let world = telling(3600).store(&store).start().await;
    let other = replica(&world).await;
    let (alice, bob) = (world.signed_in("alice").await, world.signed_in("bob").await);
    let sid = database.sql(name_in(&store), "SELECT sid FROM doorward_sessions WHERE subject = 'alice'");
    let issuer = world.provider.issuer();
    let notify = async |query: &str| {
        // In a frame of the provider's page, without our cookies.
        world.visitor().open(&world.at("app", &format!("/_doorward/frontchannel_logout{query}"))).await
    };
    for (query, status) in [
        (String::new(), StatusCode::BAD_REQUEST),
        (format!("?iss={issuer}"), StatusCode::BAD_REQUEST),
        (format!("?sid={sid}"), StatusCode::BAD_REQUEST),
        (format!("?iss=https://another.example&sid={sid}"), StatusCode::BAD_REQUEST),
        (format!("?iss={issuer}/&sid={sid}"), StatusCode::BAD_REQUEST),
        // The response does not reveal whether the session exists.
        (format!("?iss={issuer}&sid=another"), StatusCode::OK),
    ] {
        assert_eq!(notify(&query).await.status, status, "{query}");
        for gate in [&world.gate, &other] {
            assert_eq!(ask(&world, gate, &alice).await.status, StatusCode::OK, "{query}");
        }
    }
    let page = notify(&format!("?iss={issuer}&sid={sid}")).await;
    assert_eq!((page.status, page.header("cache-control")), (StatusCode::OK, "no-store"), "{page:?}");
    refused(&world, &[&world.gate, &other], &alice).await;
    assert_eq!(ask(&world, &other, &bob).await.status, StatusCode::OK);
    assert!(world.gate.metrics().await.contains("doorward_logouts_total{kind=\"frontchannel\"} 1"));
}

#[tokio::test]
async fn back_channel_logout_ends_a_session_in_sqlite_too() {
    let world = WorldBuilder::with(TRAEFIK).provider(json!({ "backchannel_logout": true })).start().await;
    let alice = world.signed_in("alice").await;
    sign_out_at_the_provider(&world, &alice).await;
    let answer = alice.fetch(&world.at("app", "/")).await;
    assert_eq!((answer.status, answer.reason()), (StatusCode::UNAUTHORIZED, "session_ended"), "{answer:?}");
    // A page begins a new sign-in, and the provider asks for the user.
    alice.keep(&world.provider.issuer(), "user=; Path=/");
    let page = alice.visit(&world.at("app", "/")).await;
    assert!(page.text().contains("Who are you?"), "{page:?}");
}

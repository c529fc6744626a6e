//! Renewals of sessions: single-flight across replicas, and robust against outages of the provider, the store or a replica
//! (contract C18, C20, lessons L13, L16, L26).

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::json;

use crate::{
    postgres::{EDGE, ask, refused, replica},
    world::{
        Gate, POLL_INTERVAL, Signal, TIMEOUT, Visitor, World, WorldBuilder,
        database::{ChaosProxy, Database, LinkState, name_in, url},
        eventually,
    },
};

/// Plans a world with access tokens of so many seconds, whose sessions are renewed two seconds before expiry.
fn renewing(seconds: u32) -> WorldBuilder {
    WorldBuilder::with(EDGE).session("renew_before = \"2s\"").provider(json!({ "access_token_ttl": seconds }))
}

/// Sends two hundred concurrent subrequests to each replica, none of which may be refused.
async fn storm(world: &World, gates: &[&Gate], who: &Visitor) {
    let answers = join_all((0..200).flat_map(|_| gates).map(|gate| ask(world, gate, who))).await;
    for answer in answers {
        assert_eq!((answer.status, answer.header("remote-user")), (StatusCode::OK, "alice"), "{answer:?}");
    }
}

/// Sends subrequests to a replica, which may not refuse, until `done`.
async fn in_use<T>(
    world: &World,
    gate: &Gate,
    who: &Visitor,
    what: &str,
    mut done: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let answer = ask(world, gate, who).await;
        assert_eq!(answer.status, StatusCode::OK, "until {what}: {answer:?}");
        if let Some(done) = done().await {
            return done;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        // A real gate: polled, with a bound.
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

#[tokio::test]
async fn a_storm_at_three_replicas_costs_one_refresh_for_each_due_renewal() {
    const SLOW: u64 = 3;
    let world = renewing(4).store(&Database::shared().create()).start().await;
    let others = [replica(&world).await, replica(&world).await];
    let gates = [&world.gate, &others[0], &others[1]];
    let alice = world.signed_in("alice").await;
    let before = world.provider.token_requests().await;
    // Longer than the remaining lifetime of the token: it expires during the renewal, and all requests wait.
    world.provider.control(&format!("slow?seconds={SLOW}")).await;
    for renewal in 1..=10 {
        eventually(&format!("renewal {renewal}"), async || {
            storm(&world, &gates, &alice).await;
            (world.provider.refreshes().await >= renewal).then_some(())
        })
        .await;
    }
    let counters = world.provider.control("grants").await;
    assert_eq!(counters["refused"], 0, "no refresh token was used twice");
    let asked: Vec<_> = counters["asked"].as_array().unwrap()[before..].iter().map(|at| at.as_u64().unwrap()).collect();
    for pair in asked.windows(2) {
        // A renewal is due when the new token is in the second half of its lifetime. Times are whole seconds.
        assert!(pair[1] - pair[0] > SLOW * 1_000 + 500, "two refreshes for one renewal: {asked:?}");
    }
    eventually("what the provider gave has been taken", async || {
        let mut renewed = 0;
        for gate in gates {
            assert_eq!(count(gate, "rejected").await + count(gate, "unavailable").await, 0);
            renewed += count(gate, "renewed").await;
        }
        (renewed == world.provider.refreshes().await).then_some(())
    })
    .await;
}

/// Returns the number of renewals of a gate with this result.
async fn count(gate: &Gate, result: &str) -> u64 {
    let series = format!("doorward_renewals_total{{provider=\"neighbour\",result=\"{result}\"}} ");
    let metrics = gate.metrics().await;
    let value = metrics.lines().find_map(|line| line.strip_prefix(&series));
    value.unwrap_or_else(|| panic!("no {series} in {metrics}")).parse().unwrap()
}

#[tokio::test]
async fn while_the_provider_is_away_sessions_go_on_within_the_grace_and_recover_by_themselves() {
    const GRACE: Duration = Duration::from_secs(12);
    let world = WorldBuilder::with(EDGE)
        .session(&format!("renew_before = \"2s\"\noutage_grace = \"{}s\"", GRACE.as_secs()))
        .provider(json!({ "access_token_ttl": 4 }))
        .start()
        .await;
    let alice = world.signed_in("alice").await;
    world.provider.control("away?is=yes").await;
    let outage = Instant::now();
    let stale = async |gate: &Gate| !gate.metrics().await.contains("doorward_session_stale_served_total 0");
    in_use(&world, &world.gate, &alice, "its token has ended", async || stale(&world.gate).await.then_some(())).await;
    let over = eventually("the grace passes", async || {
        let answer = ask(&world, &world.gate, &alice).await;
        (answer.status != StatusCode::OK).then_some(answer)
    })
    .await;
    assert_eq!((over.status, over.reason()), (StatusCode::SERVICE_UNAVAILABLE, "provider_unavailable"), "{over:?}");
    assert!(outage.elapsed() >= GRACE, "the grace runs from the end of the token");
    assert!(!over.header("retry-after").is_empty() && !over.headers.contains_key("set-cookie"), "{over:?}");
    assert!(count(&world.gate, "unavailable").await > 0);
    let page = world.visitor().open(&world.at("app", "/")).await;
    assert_eq!((page.status, page.reason()), (StatusCode::SERVICE_UNAVAILABLE, "provider_unavailable"), "{page:?}");
    assert!(
        page.text().contains("Nobody can sign in until it is back"),
        "a new visitor reads what is the matter: {page:?}"
    );

    world.provider.control("groups?user=alice&groups=staff").await;
    world.provider.control("away?is=no").await;
    let back = eventually("it is renewed by itself", async || {
        let answer = ask(&world, &world.gate, &alice).await;
        (answer.status == StatusCode::OK).then_some(answer)
    })
    .await;
    assert_eq!(back.header("remote-groups"), "staff", "with the groups of now: {back:?}");
    assert_eq!(world.signed_in("bob").await.visit(&world.at("app", "/")).await.echo().target, "/");
    assert_eq!(world.provider.control("grants").await["refused"], 0);
}

#[tokio::test]
async fn a_session_that_a_provider_cannot_renew_while_it_is_there_leads_to_sign_in_once_the_grace_is_over() {
    let world = WorldBuilder::with(EDGE)
        .session("renew_before = \"2s\"\noutage_grace = \"3s\"")
        .provider(json!({ "access_token_ttl": 4 }))
        .start()
        .await;
    let (alice, url) = (world.signed_in("alice").await, world.at("app", "/page"));
    world.provider.control("broken?status=500&at=/token").await;
    let over = eventually("the grace passes", async || {
        let answer = ask(&world, &world.gate, &alice).await;
        (answer.status != StatusCode::OK).then_some(answer)
    })
    .await;
    assert_eq!(over.reason(), "session_ended", "{over:?}");
    let page = alice.open(&url).await;
    assert!(page.status.is_redirection() && page.reason() != "provider_unavailable", "{page:?}");
    world.provider.control("broken?status=0&at=/token").await;
    assert_eq!(alice.visit(&url).await.echo().target, "/page");
}

#[tokio::test]
async fn a_lost_group_takes_effect_at_the_next_renewal() {
    let world = renewing(4).start().await;
    let alice = world.signed_in("alice").await;
    let admin = world.at("admin", "/");
    alice.visit(&admin).await.echo();
    world.provider.control("groups?user=alice&groups=staff").await;
    let answer = eventually("she is no admin any more", async || {
        let answer = alice.fetch(&admin).await;
        (answer.status != StatusCode::OK).then_some(answer)
    })
    .await;
    assert_eq!((answer.status, answer.reason()), (StatusCode::FORBIDDEN, "group_missing"), "{answer:?}");
    let elsewhere = ask(&world, &world.gate, &alice).await;
    assert_eq!(elsewhere.header("remote-user"), "alice", "she is still signed in: {elsewhere:?}");
}

#[tokio::test]
async fn a_grant_that_was_revoked_ends_the_session_and_a_page_signs_in_again() {
    let world = renewing(4).store(&Database::shared().create()).start().await;
    let other = replica(&world).await;
    let (alice, bob) = (world.signed_in("alice").await, world.signed_in("bob").await);
    for gate in [&world.gate, &other] {
        ask(&world, gate, &alice).await;
    }
    world.provider.control("revoke?user=alice").await;
    refused(&world, &[&world.gate, &other], &alice).await;
    assert_eq!(count(&world.gate, "rejected").await + count(&other, "rejected").await, 1);
    let url = world.at("app", "/page");
    let fetch = alice.fetch(&url).await;
    assert_eq!((fetch.status, fetch.reason()), (StatusCode::UNAUTHORIZED, "session_ended"), "{fetch:?}");
    assert!(fetch.json()["login_url"].as_str().unwrap().starts_with(&world.at("app", "/_doorward/start")));
    let page = alice.visit(&url).await;
    assert!(page.trail.iter().any(|url| url.starts_with(&world.provider.issuer())), "{:#?}", page.trail);
    assert_eq!(page.echo().target, "/page");
    assert_eq!(ask(&world, &other, &bob).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_replica_that_dies_with_fresh_tokens_costs_at_most_that_one_session() {
    let database = Database::shared();
    let store = database.create();
    let mut world = renewing(6).store(&store).start().await;
    let other = replica(&world).await;
    let (alice, bob) = (world.signed_in("alice").await, world.signed_in("bob").await);
    ask(&world, &other, &alice).await;
    world.provider.control("slow?seconds=3").await;
    in_use(&world, &world.gate, &alice, "the first replica redeems", async || {
        (world.provider.refreshes().await == 1).then_some(())
    })
    .await;
    world.gate.signal(Signal::Kill);
    world.gate.exited().await;
    // The dead replica still has the lease. The session goes on without waiting repeatedly.
    for _ in 0..20 {
        assert_eq!(ask(&world, &other, &alice).await.status, StatusCode::OK);
    }
    let leased = "SELECT lease > extract(epoch FROM now()) FROM doorward_sessions WHERE subject = 'alice'";
    assert_eq!(database.sql(name_in(&store), leased), "t");
    // As if the lease had expired.
    database.sql(name_in(&store), "UPDATE doorward_sessions SET lease = 0");
    refused(&world, &[&other], &alice).await;
    in_use(&world, &other, &bob, "another session is renewed", async || {
        (count(&other, "renewed").await > 0).then_some(())
    })
    .await;
    world.gate.start().await;
    assert_eq!(alice.visit(&world.at("app", "/")).await.echo().values_as("Remote-User"), ["alice"]);
}

#[tokio::test]
async fn a_store_that_takes_no_writes_for_a_while_loses_no_rotated_token() {
    let database = Database::shared();
    let store = database.create();
    let name = name_in(&store);
    let world = renewing(6).store(&store).start().await;
    let other = replica(&world).await;
    let gates = [&world.gate, &other];
    let alice = world.signed_in("alice").await;
    world.provider.control("slow?seconds=3").await;
    in_use(&world, &world.gate, &alice, "a renewal is under way", async || {
        (world.provider.refreshes().await == 1).then_some(())
    })
    .await;
    let all_anew = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() \
                    AND pid <> pg_backend_pid()";
    let read_only = |on: &str| {
        database.sql("postgres", &format!("ALTER DATABASE {name} SET default_transaction_read_only = {on}"));
        database.sql(name, all_anew);
    };
    read_only("on");
    in_use(&world, &world.gate, &alice, "the write has failed", async || {
        world.gate.log().contains("could not be written yet").then_some(())
    })
    .await;
    world.provider.control("slow?seconds=0").await;
    let failing = Instant::now();
    for seconds in [10, 20] {
        for gate in gates {
            in_use(&world, gate, &alice, "it has failed for a while", async || {
                (failing.elapsed() > Duration::from_secs(seconds)).then_some(())
            })
            .await;
        }
    }
    assert_eq!(world.provider.refreshes().await, 1, "the old token is not used again meanwhile");
    read_only("off");
    // A replica that did not redeem the token reads it from the store and goes on renewing.
    for gate in gates {
        let before = world.provider.refreshes().await;
        in_use(&world, gate, &alice, "it is renewed again", async || {
            (world.provider.refreshes().await > before).then_some(())
        })
        .await;
    }
    assert_eq!(world.provider.control("grants").await["refused"], 0, "no refresh token was used twice");
}

#[tokio::test]
async fn a_token_that_expires_while_the_store_is_unavailable_ends_no_session() {
    let database = Database::shared();
    for weather in [LinkState::Cut, LinkState::Stalled] {
        let wire = ChaosProxy::to(database.port).await;
        let world = renewing(4).store(&url(wire.port, name_in(&database.create()))).start().await;
        let alice = world.signed_in("alice").await;
        wire.set(weather);
        let signed_in = Instant::now();
        in_use(&world, &world.gate, &alice, "its token has ended", async || {
            (signed_in.elapsed() > Duration::from_secs(6)).then_some(())
        })
        .await;
        assert_eq!(world.provider.refreshes().await, 0, "{weather:?}: nothing is redeemed that could not be kept");
        wire.set(LinkState::Open);
        in_use(&world, &world.gate, &alice, "it is renewed", async || {
            (world.provider.refreshes().await > 0).then_some(())
        })
        .await;
        assert_eq!(world.provider.control("grants").await["refused"], 0, "{weather:?}");
    }
}

//! A real Keycloak as the provider, set up as `docs/providers.md` says: sign-in by its form, groups, renewals with both kinds
//! of refresh tokens, every way to end a session, new keys, and a restart (contract C9, C13, C17, C18, lessons L13, L26).

mod endings;
mod keys;
mod outage;
mod renewals;
mod sign_in;
mod step_up;

use std::time::{Duration, Instant};

use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    postgres::{EDGE, ask},
    world::{Answer, POLL_INTERVAL, Realm, TIMEOUT, Visitor, World, WorldBuilder},
};

/// Scopes that ask for an online refresh token: one that ends with the person's session at Keycloak.
const ONLINE: &[&str] = &["openid", "profile", "email"];
/// Scopes that ask for an offline refresh token: one that outlives it.
const OFFLINE: &[&str] = &["openid", "profile", "email", "offline_access"];
/// Lifetime of access tokens where a test waits for renewals, in seconds.
const TOKEN: u64 = 5;
/// Bound of a test that waits for the next renewal, which is three seconds away: twice a token's lifetime on a busy machine.
const AT_MOST: u64 = 2 * TOKEN;

/// A realm whose sessions are renewed every three seconds, with these settings.
async fn renewing(settings: Value) -> Realm {
    let mut all = json!({ "accessTokenLifespan": TOKEN });
    for (key, value) in settings.as_object().into_iter().flatten() {
        all[key] = value.clone();
    }
    Realm::with(all).await
}

/// A gate of this realm's, registered there with the documented settings but for back-channel logout.
async fn gate_of(realm: &Realm, scopes: &[&str]) -> World {
    let plan = WorldBuilder::with(EDGE).session("renew_before = \"2s\"").registered(realm.registration(scopes));
    let world = plan.start().await;
    realm.register(&world).await;
    world
}

/// A browser that has signed in at the app.
async fn signed_in(realm: &Realm, world: &World, user: &str) -> Visitor {
    let visitor = world.visitor();
    let form = visitor.visit(&world.at("app", "/")).await;
    let answer = realm.sign_in(&visitor, &form, user).await;
    assert_eq!(answer.echo().values_as("Remote-User"), [user], "{:#?}", answer.trail);
    visitor
}

/// Uses a session, which may not be refused, until `done` sees what it waits for.
async fn in_use<T>(world: &World, who: &Visitor, what: &str, mut done: impl AsyncFnMut(Answer) -> Option<T>) -> T {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let answer = ask(world, &world.gate, who).await;
        assert_eq!(answer.status, StatusCode::OK, "until {what}: {answer:?}\n{}", world.gate.log());
        if let Some(done) = done(answer).await {
            return done;
        }
        assert!(Instant::now() < deadline, "never: {what}\n{}", world.gate.log());
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Uses a session until it has been renewed this often since the gate started.
async fn renewed(world: &World, who: &Visitor, times: u64) {
    in_use(world, who, "it is renewed", async |_| (renewals(world, "renewed").await >= times).then_some(())).await;
}

/// Uses a session until it is over, and returns how long that took.
async fn over(world: &World, who: &Visitor) -> Duration {
    let begun = Instant::now();
    loop {
        let answer = ask(world, &world.gate, who).await;
        if answer.status != StatusCode::OK {
            assert_eq!((answer.status, answer.reason()), (StatusCode::UNAUTHORIZED, "session_ended"), "{answer:?}");
            return begun.elapsed();
        }
        assert!(begun.elapsed() < TIMEOUT, "never over\n{}", world.gate.log());
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Returns the number of renewals with this result.
async fn renewals(world: &World, result: &str) -> u64 {
    let series = format!("doorward_renewals_total{{provider=\"neighbour\",result=\"{result}\"}}");
    world.gate.metric(&series).await.unwrap_or_default()
}

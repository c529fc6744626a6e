//! What sessions promise, over a store that can be held, broken and counted.

mod cache;
mod contract;
mod doubles;
mod endings;
mod hints;
mod leases;
mod postgres;
mod renewal;
mod rest;
mod rotation;
mod scope;
mod sharing;
mod terms;

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::Duration,
};

use futures_util::future::join_all;
use secrecy::{ExposeSecret, SecretString};
use tokio::task::JoinSet;

use self::doubles::{HOST, House, Mode, sent, somebody};
use crate::session::{cookie::CookieValue, freshness::Freshness, *};

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

fn live(found: Result<Found, Unavailable>) -> Arc<CachedSession> {
    match found {
        Ok(Found::Live(live)) => live,
        other => panic!("not alive: {other:?}"),
    }
}

/// Drives `work` as far as it goes by itself and says whether it waits for something.
async fn is_pending(work: &mut (impl Future + Unpin)) -> bool {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *work).poll(cx).is_pending())).await
}

#[tokio::test]
async fn a_session_is_found_by_its_cookie_now_and_after_a_restart() {
    let house = House::new();
    let cookie = house.sessions.create(somebody("ann")).await.unwrap();
    assert_eq!(live(house.find(&cookie).await).who().user(), "ann");
    let found = live(house.restarted().find(&cookie).await);
    assert_eq!(found.who().user(), "ann");
    let Kept { record, .. } = house.sessions.read(&found.key()).await.unwrap().unwrap();
    assert_eq!(record.sid.as_deref(), Some("sid of ann"));
    assert_eq!(record.tokens.id.as_ref().map(SecretString::expose_secret), Some("id token of ann"));
    assert_eq!(house.metric(r#"doorward_session_lookups_total{result="hit"}"#), 1);
    assert_eq!(house.metric(r#"doorward_session_lookups_total{result="miss"}"#), 1);
}

#[tokio::test]
async fn every_sign_in_gets_a_new_cookie_and_its_own_person() {
    let house = House::new();
    let names: Vec<_> = (0..1000).map(|number| format!("person {number}")).collect();
    let cookies = join_all(names.iter().map(|name| house.sessions.create(somebody(name)))).await;
    for (name, cookie) in names.iter().zip(&cookies) {
        assert_eq!(live(house.find(cookie.as_ref().unwrap()).await).who().user(), *name);
    }
}

#[tokio::test]
async fn the_store_holds_neither_cookie_nor_claims_nor_tokens_in_clear() {
    let house = House::new();
    let cookie = house.sessions.create(somebody("ann")).await.unwrap();
    let token = Token::parse(cookie.as_bytes()).unwrap();
    let row = house.store.load(&token.key()).await.unwrap().unwrap();
    let id = crate::crypto::decode(cookie.as_bytes()).unwrap();
    for secret in [&id[..32], b"id token of ann", b"refresh token of ann", b"ann@example.com"] {
        assert!(!row.sealed.windows(secret.len()).any(|window| window == secret));
    }
    assert_ne!(row.key.0, id[..32]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_who_miss_the_same_session_cost_one_load() {
    let before = House::new();
    let cookie = before.sessions.create(somebody("ann")).await.unwrap();
    let house = before.restarted();
    house.store.set(Mode::Held);
    let mut all = JoinSet::new();
    for _ in 0..10_000 {
        let (sessions, cookie) = (Arc::clone(&house.sessions), cookie.clone());
        all.spawn(async move { live(sessions.find(sent(&cookie)).await).who().user().to_owned() });
    }
    house.store.arrived().await;
    house.store.set(Mode::Up);
    let users = all.join_all().await;
    assert!(users.iter().all(|user| user == "ann"));
    assert_eq!(house.store.loads(), 1);
}

#[tokio::test]
async fn a_hundred_thousand_made_up_cookies_cost_no_load() {
    let house = House::new();
    for _ in 0..100_000 {
        let made_up = crate::crypto::encode(&crate::crypto::random::<48>());
        assert!(matches!(house.find(&made_up).await, Ok(Found::NotOurs)));
    }
    assert_eq!(house.store.loads(), 0);
    assert_eq!(house.metric(r#"doorward_session_lookups_total{result="forged"}"#), 100_000);
}

#[tokio::test]
async fn a_cookie_with_any_character_changed_is_not_ours_cached_or_not() {
    let house = House::new();
    let cookie = house.sessions.create(somebody("ann")).await.unwrap();
    for house in [&house, &house.restarted()] {
        for at in 0..cookie.len() {
            let mut changed = cookie.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert!(
                matches!(house.sessions.find(Cookie { value: &changed, audience: HOST }).await, Ok(Found::NotOurs)),
                "character {at}"
            );
            assert!(
                house
                    .sessions
                    .revoke(Cookie { value: &changed, audience: HOST }, Logout::User)
                    .await
                    .unwrap()
                    .is_none(),
                "character {at}"
            );
        }
        assert_eq!(house.store.loads(), 0);
        live(house.find(&cookie).await);
        house.store.forget_counts();
    }
}

#[tokio::test]
async fn a_row_moved_to_another_key_does_not_open() {
    let house = House::new();
    let keyring = doubles::keyring();
    let (victim, thief) = (house.sessions.create(somebody("ann")).await.unwrap(), Token::fresh(&keyring, HOST));
    let mut row = house.store.load(&Token::parse(victim.as_bytes()).unwrap().key()).await.unwrap().unwrap();
    row.key = thief.key();
    house.store.insert(row).await.unwrap();
    assert!(matches!(house.find(&thief.encode()).await, Ok(Found::Ended)));
    live(house.find(&victim).await);
}

#[tokio::test]
async fn a_row_of_a_newer_version_is_unavailable_and_not_ended() {
    let house = House::new();
    let keyring = doubles::keyring();
    let token = Token::fresh(&keyring, HOST);
    let mut row = Record::new(somebody("ann"), house.sessions.clock.now()).seal(&keyring, token.key());
    row.sealed = keyring.seal(crate::crypto::Purpose::SessionRow, &token.key().0, &[3, b'?']);
    house.store.insert(row).await.unwrap();
    assert!(matches!(house.find(&token.encode()).await, Err(Unavailable::Failed(_))));
}

#[tokio::test]
async fn a_store_that_is_away_is_never_the_end_of_a_session() {
    for mode in [Mode::Failing, Mode::Held] {
        let before = House::impatient();
        let cookie = before.sessions.create(somebody("ann")).await.unwrap();
        let house = before.restarted();
        house.store.set(mode);
        assert!(house.find(&cookie).await.is_err(), "{mode:?}");
        assert!(house.sessions.create(somebody("bob")).await.is_err(), "{mode:?}");
        assert!(!house.sessions.is_up());
        live(before.find(&cookie).await);
        house.store.set(Mode::Up);
        live(house.find(&cookie).await);
        assert!(house.sessions.is_up());
        assert!(house.metric(r#"doorward_store_errors_total{operation="load"}"#) > 0);
    }
}

#[tokio::test]
async fn a_use_is_written_once_a_minute_and_never_by_the_request() {
    let house = House::new();
    let cookie = house.sessions.create(somebody("ann")).await.unwrap();
    let mut upkeep = Upkeep::of(&house.sessions);
    for _ in 0..600 {
        house.pass(Duration::from_secs(1));
        live(house.find(&cookie).await);
        assert_eq!(house.store.touches(), 0);
    }
    upkeep.write_uses().await;
    assert_eq!(house.store.touches(), 1, "several uses of one session are one write");
    house.pass(Duration::from_secs(5));
    live(house.find(&cookie).await);
    upkeep.write_uses().await;
    assert_eq!(house.store.touches(), 1);
    house.pass(MINUTE);
    live(house.find(&cookie).await);
    upkeep.write_uses().await;
    assert_eq!(house.store.touches(), 2);
}

#[tokio::test]
async fn uses_that_the_store_did_not_take_are_written_when_it_is_back() {
    let house = House::new();
    let cookie = house.sessions.create(somebody("ann")).await.unwrap();
    house.pass(DAY);
    live(house.find(&cookie).await);
    let mut upkeep = Upkeep::of(&house.sessions);
    house.store.set(Mode::Failing);
    upkeep.write_uses().await;
    house.store.set(Mode::Up);
    upkeep.write_uses().await;
    house.pass(6 * DAY);
    live(house.restarted().find(&cookie).await);
}

#[tokio::test]
async fn maintenance_writes_what_is_pending_before_it_stops_and_keeps_the_gauge_true() {
    let house = House::new();
    let cookie = house.sessions.create(somebody("ann")).await.unwrap();
    let (sessions, stop) = (Arc::clone(&house.sessions), shutdown::Signal::default());
    let asked = stop.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { sessions.maintain(asked).await });
    while house.metric("doorward_sessions_cached") != 1 {
        tokio::task::yield_now().await;
    }
    house.pass(DAY);
    live(house.find(&cookie).await);
    stop.raise();
    tasks.join_all().await;
    house.pass(6 * DAY);
    live(house.restarted().find(&cookie).await);
    assert_eq!(house.metric(r#"doorward_store_up{backend="memory"}"#), 1);
}

#[tokio::test]
async fn a_ping_alone_tells_an_outage_and_its_end() {
    let house = House::impatient();
    for (mode, up) in [(Mode::Up, true), (Mode::Failing, false), (Mode::Held, false), (Mode::Up, true)] {
        house.store.set(mode);
        let _ = house.sessions.store.ping().await;
        assert_eq!(house.sessions.is_up(), up, "{mode:?}");
        assert_eq!(house.metric(r#"doorward_store_up{backend="memory"}"#), u64::from(up), "{mode:?}");
    }
}

#[tokio::test]
async fn a_secret_that_is_dropped_ends_its_sessions_and_a_rotated_one_does_not() {
    let house = House::new();
    let cookie = house.sessions.create(somebody("ann")).await.unwrap();
    live(house.restarted_with(&["new", "old"]).find(&cookie).await);
    let new = house.restarted_with(&["new"]);
    new.sessions.settle().await;
    assert!(matches!(new.find(&cookie).await, Ok(Found::NotOurs)));
}

#[tokio::test]
async fn headers_are_rendered_once_for_all_who_find_the_session() {
    let house = House::new();
    let cookie = house.sessions.create(somebody("ann")).await.unwrap();
    let plan = crate::policy::headers::default_plan();
    let (one, other) = (live(house.find(&cookie).await), live(house.find(&cookie).await));
    // A value that is copied stays where it is.
    let place = |live: &CachedSession| plan.headers_for(&live.principal())["remote-user"].as_bytes().as_ptr();
    assert_eq!(place(&one), place(&other));
}

//! Tests of sessions, over a store that can be held, broken and counted.

mod adoption;
mod cache;
mod contract;
mod doubles;
mod endings;
pub(crate) mod faulty_store;
mod hints;
mod idle;
mod leases;
mod page_uses;
mod postgres;
mod reauthorization;
mod reload;
mod renewal;
mod rotation;
mod scope;
mod service_tokens;
mod sharing;

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

use self::doubles::{HOST, Mode, TestReplica, new_session, renewed_grant, sent};
use crate::session::{cookie::CookieValue, freshness::Freshness, load::StoredSession, store::Selection, *};

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

fn expect_live(found: Result<LookupOutcome, Unavailable>) -> Arc<CachedSession> {
    match found {
        Ok(LookupOutcome::Live(session)) => session,
        other => panic!("not live: {other:?}"),
    }
}

/// Polls `work` once and returns `true` if it waits for something.
async fn is_pending(work: &mut (impl Future + Unpin)) -> bool {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *work).poll(cx).is_pending())).await
}

#[tokio::test]
async fn a_session_is_found_by_its_cookie_now_and_after_a_restart() {
    let replica = TestReplica::new();
    let cookie = replica.sessions.create(new_session("ann")).await.unwrap();
    assert_eq!(expect_live(replica.find(&cookie).await).identity().user(), "ann");
    let found = expect_live(replica.restarted().find(&cookie).await);
    assert_eq!(found.identity().user(), "ann");
    let StoredSession { record, .. } = replica.sessions.loader().read(&found.id()).await.unwrap().unwrap();
    assert_eq!(record.sid.as_deref(), Some("sid of ann"));
    assert_eq!(record.tokens.id.as_ref().map(SecretString::expose_secret), Some("id token of ann"));
    assert_eq!(replica.metric(r#"doorward_session_lookups_total{result="hit"}"#), 1);
    assert_eq!(replica.metric(r#"doorward_session_lookups_total{result="miss"}"#), 1);
}

#[tokio::test]
async fn every_sign_in_gets_a_new_cookie_and_its_own_person() {
    let replica = TestReplica::new();
    let names: Vec<_> = (0..1000).map(|number| format!("person {number}")).collect();
    let cookies = join_all(names.iter().map(|name| replica.sessions.create(new_session(name)))).await;
    for (name, cookie) in names.iter().zip(&cookies) {
        assert_eq!(expect_live(replica.find(cookie.as_ref().unwrap()).await).identity().user(), *name);
    }
}

#[tokio::test]
async fn the_store_holds_neither_cookie_nor_claims_nor_tokens_in_clear() {
    let replica = TestReplica::new();
    let cookie = replica.sessions.create(new_session("ann")).await.unwrap();
    let token = Token::parse(cookie.as_bytes()).unwrap();
    let row = replica.store.load(&token.id()).await.unwrap().unwrap();
    let id = crate::crypto::decode(cookie.as_bytes()).unwrap();
    for secret in [&id[..32], b"id token of ann", b"refresh token of ann", b"ann@example.com"] {
        assert!(!row.sealed.windows(secret.len()).any(|window| window == secret));
    }
    assert_ne!(row.key.0, id[..32]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_requests_that_miss_the_same_session_cost_one_load() {
    let before = TestReplica::new();
    let cookie = before.sessions.create(new_session("ann")).await.unwrap();
    let replica = before.restarted();
    replica.store.set(Mode::Held);
    let mut all = JoinSet::new();
    for _ in 0..10_000 {
        let (sessions, cookie) = (Arc::clone(&replica.sessions), cookie.clone());
        all.spawn(async move { expect_live(sessions.find(sent(&cookie)).await).identity().user().to_owned() });
    }
    replica.store.load_began().await;
    replica.store.set(Mode::Available);
    let users = all.join_all().await;
    assert!(users.iter().all(|user| user == "ann"));
    assert_eq!(replica.store.loads(), 1);
}

#[tokio::test]
async fn however_many_sessions_are_not_in_memory_few_are_read_at_once_and_all_are_found() {
    let replica = TestReplica::new();
    let mut cookies = Vec::new();
    for number in 0..200 {
        cookies.push(replica.sessions.create(new_session(&format!("user-{number}"))).await.unwrap());
    }
    let replica = replica.restarted();
    replica.store.set(Mode::Held);
    let mut finding = Box::pin(join_all(cookies.iter().map(|cookie| replica.find(cookie))));
    // Not all are polled at once: tokio has each task yield from time to time.
    for _ in 0..cookies.len() {
        assert!(is_pending(&mut finding).await);
        tokio::task::yield_now().await;
    }
    assert_eq!(replica.store.loads(), 64, "the others leave room for those who write");
    replica.store.set(Mode::Available);
    for found in finding.await {
        expect_live(found);
    }
    assert_eq!(replica.store.loads(), 200);
}

#[tokio::test]
async fn a_hundred_thousand_made_up_cookies_cost_no_load() {
    let replica = TestReplica::new();
    for _ in 0..100_000 {
        let made_up = crate::crypto::encode(&crate::crypto::random::<48>());
        assert!(matches!(replica.find(&made_up).await, Ok(LookupOutcome::NotOurs)));
    }
    assert_eq!(replica.store.loads(), 0);
    assert_eq!(replica.metric(r#"doorward_session_lookups_total{result="forged"}"#), 100_000);
}

#[tokio::test]
async fn a_cookie_with_any_character_changed_is_not_ours_cached_or_not() {
    let replica = TestReplica::new();
    let cookie = replica.sessions.create(new_session("ann")).await.unwrap();
    for replica in [&replica, &replica.restarted()] {
        for at in 0..cookie.len() {
            let mut changed = cookie.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert!(
                matches!(
                    replica.sessions.find(Cookie { value: &changed, audience: HOST }).await,
                    Ok(LookupOutcome::NotOurs)
                ),
                "character {at}"
            );
            assert!(
                replica
                    .sessions
                    .revoke(Cookie { value: &changed, audience: HOST }, LogoutKind::User)
                    .await
                    .unwrap()
                    .is_none(),
                "character {at}"
            );
        }
        assert_eq!(replica.store.loads(), 0);
        expect_live(replica.find(&cookie).await);
        replica.store.reset_counts();
    }
}

#[tokio::test]
async fn a_row_moved_to_another_key_does_not_open() {
    let replica = TestReplica::new();
    let keyring = doubles::keyring();
    let (victim, thief) = (replica.sessions.create(new_session("ann")).await.unwrap(), Token::fresh(&keyring, HOST));
    let mut row = replica.store.load(&Token::parse(victim.as_bytes()).unwrap().id()).await.unwrap().unwrap();
    row.key = thief.id();
    replica.store.insert(row).await.unwrap();
    assert!(matches!(replica.find(&thief.encode()).await, Ok(LookupOutcome::Ended)));
    expect_live(replica.find(&victim).await);
}

#[tokio::test]
async fn a_row_of_a_newer_version_is_unavailable_and_not_ended() {
    let replica = TestReplica::new();
    let keyring = doubles::keyring();
    let token = Token::fresh(&keyring, HOST);
    let mut row = Record::new(new_session("ann"), replica.sessions.clock.now()).seal(&keyring, token.id());
    row.sealed = keyring.seal(crate::crypto::Purpose::SessionRow, &token.id().0, &[3, b'?']);
    replica.store.insert(row).await.unwrap();
    assert!(matches!(replica.find(&token.encode()).await, Err(Unavailable::Failed(_))));
}

#[tokio::test]
async fn an_unavailable_store_is_never_the_end_of_a_session() {
    for mode in [Mode::Failing, Mode::Held] {
        let before = TestReplica::with_short_deadline();
        let cookie = before.sessions.create(new_session("ann")).await.unwrap();
        let replica = before.restarted();
        replica.store.set(mode);
        assert!(replica.find(&cookie).await.is_err(), "{mode:?}");
        assert!(replica.sessions.create(new_session("bob")).await.is_err(), "{mode:?}");
        assert!(!replica.sessions.is_available());
        expect_live(before.find(&cookie).await);
        replica.store.set(Mode::Available);
        expect_live(replica.find(&cookie).await);
        assert!(replica.sessions.is_available());
        assert!(replica.metric(r#"doorward_store_errors_total{operation="load"}"#) > 0);
    }
}

#[tokio::test]
async fn a_use_is_written_once_a_minute_and_never_by_the_request() {
    let replica = TestReplica::new();
    let cookie = replica.sessions.create(new_session("ann")).await.unwrap();
    let mut upkeep = replica.sessions.upkeep();
    for _ in 0..600 {
        replica.advance(Duration::from_secs(1));
        expect_live(replica.find(&cookie).await);
        assert_eq!(replica.store.touches(), 0);
    }
    upkeep.last_uses.write().await;
    assert_eq!(replica.store.touches(), 1, "several uses of one session are one write");
    replica.advance(Duration::from_secs(5));
    expect_live(replica.find(&cookie).await);
    upkeep.last_uses.write().await;
    assert_eq!(replica.store.touches(), 1);
    replica.advance(MINUTE);
    expect_live(replica.find(&cookie).await);
    upkeep.last_uses.write().await;
    assert_eq!(replica.store.touches(), 2);
}

#[tokio::test]
async fn uses_that_the_store_did_not_take_are_written_when_it_is_back() {
    let replica = TestReplica::new();
    let cookie = replica.sessions.create(new_session("ann")).await.unwrap();
    replica.advance(DAY);
    expect_live(replica.find(&cookie).await);
    let mut upkeep = replica.sessions.upkeep();
    replica.store.set(Mode::Failing);
    upkeep.last_uses.write().await;
    replica.store.set(Mode::Available);
    upkeep.last_uses.write().await;
    replica.advance(6 * DAY);
    expect_live(replica.restarted().find(&cookie).await);
}

#[tokio::test]
async fn maintenance_writes_what_is_pending_before_it_stops_and_keeps_the_gauge_true() {
    let replica = TestReplica::new();
    let cookie = replica.sessions.create(new_session("ann")).await.unwrap();
    let (sessions, stop) = (Arc::clone(&replica.sessions), shutdown::Signal::default());
    let asked = stop.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { sessions.maintain(asked).await });
    while replica.metric("doorward_sessions_cached") != 1 {
        tokio::task::yield_now().await;
    }
    replica.advance(DAY);
    expect_live(replica.find(&cookie).await);
    stop.raise();
    tasks.join_all().await;
    replica.advance(6 * DAY);
    expect_live(replica.restarted().find(&cookie).await);
    assert_eq!(replica.metric(r#"doorward_store_up{backend="memory"}"#), 1);
}

#[tokio::test]
async fn a_ping_alone_tells_an_outage_and_its_end() {
    let replica = TestReplica::with_short_deadline();
    for (mode, up) in [(Mode::Available, true), (Mode::Failing, false), (Mode::Held, false), (Mode::Available, true)] {
        replica.store.set(mode);
        let _ = replica.sessions.store.ping().await;
        assert_eq!(replica.sessions.is_available(), up, "{mode:?}");
        assert_eq!(replica.metric(r#"doorward_store_up{backend="memory"}"#), u64::from(up), "{mode:?}");
    }
}

#[tokio::test]
async fn a_secret_that_is_dropped_ends_its_sessions_and_a_rotated_one_does_not() {
    let replica = TestReplica::new();
    let cookie = replica.sessions.create(new_session("ann")).await.unwrap();
    expect_live(replica.restarted_with(&["new", "old"]).find(&cookie).await);
    let new = replica.restarted_with(&["new"]);
    new.sessions.retired_keys().load().await;
    assert!(matches!(new.find(&cookie).await, Ok(LookupOutcome::NotOurs)));
}

#[tokio::test]
async fn headers_are_rendered_once_for_all_requests_of_a_session() {
    let replica = TestReplica::new();
    let cookie = replica.sessions.create(new_session("ann")).await.unwrap();
    let plan = crate::policy::headers::default_plan();
    let (one, other) = (expect_live(replica.find(&cookie).await), expect_live(replica.find(&cookie).await));
    // A copy of a value shares its bytes.
    let place =
        |session: &CachedSession| plan.headers_for(&session.principal(), |_| {})["remote-user"].as_bytes().as_ptr();
    assert_eq!(place(&one), place(&other));
}

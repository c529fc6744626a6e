//! Sessions over a store that other replicas change without a change feed: revalidation, and the grace in an outage.

use crate::session::{
    store::{Invalidations as _, Row},
    tests::*,
};

const SECOND: Duration = Duration::from_secs(1);

/// Two replicas over one store, and the cookie of a session that both have in memory.
async fn two() -> (TestReplica, TestReplica, String) {
    let first = TestReplica::with_short_deadline();
    first.store.share();
    let here = first.restarted();
    let cookie = here.sessions.create(new_session("ann")).await.unwrap();
    let there = here.restarted();
    expect_live(there.find(&cookie).await);
    there.store.reset_counts();
    (here, there, cookie)
}

#[tokio::test]
async fn a_session_revoked_elsewhere_is_refused_within_five_seconds_of_its_last_confirmation() {
    let (here, there, cookie) = two().await;
    here.sessions.revoke(sent(&cookie), LogoutKind::User).await.unwrap().unwrap();
    there.store.reset_counts();
    for _ in 0..4 {
        expect_live(there.find(&cookie).await);
        there.advance(SECOND);
    }
    assert!(matches!(there.find(&cookie).await, Ok(LookupOutcome::Ended)));
    assert_eq!((there.store.revalidated(), there.store.loads()), (1, 0));
    assert!(matches!(there.find(&cookie).await, Ok(LookupOutcome::Ended)));
    assert_eq!((there.store.revalidated(), there.store.loads()), (1, 0), "an ended session is remembered");
}

#[tokio::test]
async fn no_request_waits_for_a_session_that_is_in_use() {
    let (_here, there, cookie) = two().await;
    let queued = there.sessions.queued_revalidation();
    for _ in 0..60 {
        there.advance(SECOND);
        there.store.set(Mode::Held);
        expect_live(there.find(&cookie).await);
        expect_live(there.find(&cookie).await);
        there.store.set(Mode::Available);
        queued.revalidate_queued().await;
    }
    assert!(there.store.revalidated() <= 30, "{} confirmations in a minute", there.store.revalidated());
    assert_eq!(there.metric("doorward_session_stale_served_total"), 0);
}

#[tokio::test]
async fn the_upkeep_finds_a_session_in_use_that_was_revoked_elsewhere() {
    let (here, there, cookie) = two().await;
    here.sessions.revoke(sent(&cookie), LogoutKind::User).await.unwrap().unwrap();
    there.advance(2 * SECOND);
    expect_live(there.find(&cookie).await);
    there.sessions.queued_revalidation().revalidate_queued().await;
    assert!(matches!(there.find(&cookie).await, Ok(LookupOutcome::Ended)));
}

#[tokio::test]
async fn a_session_that_another_replica_has_rewritten_is_read_again() {
    let (here, there, cookie) = two().await;
    let key = Token::parse(cookie.as_bytes()).unwrap().id();
    let mut row = here.store.load(&key).await.unwrap().unwrap();
    here.store.delete(&Selection::from(key), 1).await.unwrap();
    let mut record = Record::open(&doubles::keyring(), key, &row.sealed).unwrap();
    record.identity.groups = vec!["admins".to_owned()];
    row = Row { generation: 2, ..record.seal(&doubles::keyring(), key) };
    here.store.insert(row).await.unwrap();
    for wait in [4, 2] {
        there.advance(wait * SECOND);
        expect_live(there.find(&cookie).await);
        there.sessions.queued_revalidation().revalidate_queued().await;
    }
    assert_eq!(expect_live(there.find(&cookie).await).identity().unpack().groups, ["admins"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_of_a_stale_session_ask_the_store_once() {
    let (_here, there, cookie) = two().await;
    there.advance(MINUTE);
    let all = (0..1_000).map(|_| there.find(&cookie));
    for found in join_all(all).await {
        expect_live(found);
    }
    assert_eq!((there.store.revalidated(), there.store.loads()), (1, 0));
}

#[tokio::test]
async fn known_sessions_are_served_stale_for_the_grace_while_the_store_is_unavailable_and_each_answer_is_counted() {
    for mode in [Mode::Failing, Mode::Held] {
        let (_here, there, cookie) = two().await;
        let unknown = there.sessions.create(new_session("bob")).await.unwrap();
        let stranger = there.restarted();
        there.store.set(mode);
        there.advance(MINUTE);
        for times in 1..=5 {
            expect_live(there.find(&cookie).await);
            assert_eq!(there.metric("doorward_session_stale_served_total"), times, "{mode:?}");
        }
        assert_eq!(there.store.revalidated(), 1, "{mode:?}: a known outage makes no request wait");
        assert!(stranger.find(&unknown).await.is_err(), "{mode:?}");
        there.advance(HOUR);
        assert!(there.find(&cookie).await.is_err(), "{mode:?}: the grace is over, the session is not");
        there.store.set(Mode::Available);
        let _ = there.sessions.store.ping().await;
        expect_live(there.find(&cookie).await);
    }
}

#[tokio::test]
async fn unused_sessions_are_revalidated_in_time_for_the_grace() {
    let (_here, there, cookie) = two().await;
    let upkeep = there.sessions.upkeep();
    for _ in 0..20 {
        there.advance(10 * MINUTE);
        upkeep.unused.revalidate_unused().await;
    }
    there.store.set(Mode::Failing);
    assert!(there.sessions.store.ping().await.is_err());
    there.advance(30 * MINUTE);
    expect_live(there.find(&cookie).await);
}

#[tokio::test]
async fn a_gap_in_hearing_makes_every_session_be_confirmed() {
    let (here, there, cookie) = two().await;
    InvalidationReceiver::of(&there.sessions).connected();
    there.advance(MINUTE);
    expect_live(there.find(&cookie).await);
    there.store.reset_counts();
    there.advance(DAY);
    InvalidationReceiver::of(&there.sessions).caught_up_to(InvalidationReceiver::of(&there.sessions).now());
    expect_live(there.find(&cookie).await);
    assert_eq!(there.store.revalidated(), 0, "fresh while the feed is connected");
    InvalidationReceiver::of(&there.sessions).disconnected();
    expect_live(there.find(&cookie).await);
    assert_eq!(there.store.revalidated(), 0, "confirmed up to the end of the feed");
    here.sessions.revoke(sent(&cookie), LogoutKind::User).await.unwrap().unwrap();
    there.advance(4 * SECOND);
    InvalidationReceiver::of(&there.sessions).connected();
    assert!(matches!(there.find(&cookie).await, Ok(LookupOutcome::Ended)));
}

#[tokio::test]
async fn what_others_ended_is_counted_as_the_operators() {
    let (here, there, _cookie) = two().await;
    here.store.add_uncounted(3).await.unwrap();
    for replica in [&here, &there] {
        replica.sessions.upkeep().ping.count_operator_endings().await;
    }
    assert_eq!(there.metric(r#"doorward_logouts_total{kind="operator"}"#), 3);
}

#[tokio::test]
async fn a_clock_that_is_set_back_makes_a_session_be_revalidated() {
    let (_here, there, cookie) = two().await;
    there.time.fetch_sub(60, Ordering::Relaxed);
    expect_live(there.find(&cookie).await);
    assert_eq!(there.store.revalidated(), 1);
}

#[tokio::test]
async fn a_session_that_is_on_its_way_out_is_not_served_for_the_grace() {
    let (_, there, cookie) = two().await;
    let session = expect_live(there.find(&cookie).await);
    there.store.set(Mode::Failing);
    there.advance(Duration::from_secs(10));
    expect_live(there.find(&cookie).await);
    // As `revoke` does before it waits for the store.
    there.sessions.cache.tombstone(session.id());
    for is_known_outage in [false, true] {
        if is_known_outage {
            assert!(there.sessions.store.ping().await.is_err());
        }
        assert!(matches!(there.find(&cookie).await, Ok(LookupOutcome::Ended)), "{is_known_outage}");
    }
}

//! What sessions promise where others change the rows and do not tell, over a store that can be held and counted.

use crate::session::{
    store::{Invalidations as _, Row},
    tests::*,
};

const SECOND: Duration = Duration::from_secs(1);

/// Two replicas over one store, and the cookie of a session that both have in memory.
async fn two() -> (House, House, String) {
    let first = House::impatient();
    first.store.share();
    let here = first.restarted();
    let cookie = here.sessions.create(somebody("ann")).await.unwrap();
    let there = here.restarted();
    live(there.find(&cookie).await);
    there.store.forget_counts();
    (here, there, cookie)
}

#[tokio::test]
async fn a_session_revoked_elsewhere_is_refused_within_five_seconds_of_its_last_confirmation() {
    let (here, there, cookie) = two().await;
    here.sessions.revoke(sent(&cookie), LogoutKind::User).await.unwrap().unwrap();
    there.store.forget_counts();
    for _ in 0..4 {
        live(there.find(&cookie).await);
        there.pass(SECOND);
    }
    assert!(matches!(there.find(&cookie).await, Ok(Found::Ended)));
    assert_eq!((there.store.confirmed(), there.store.loads()), (1, 0));
    assert!(matches!(there.find(&cookie).await, Ok(Found::Ended)));
    assert_eq!((there.store.confirmed(), there.store.loads()), (1, 0), "an ended session is remembered");
}

#[tokio::test]
async fn no_request_waits_for_a_session_that_is_in_use() {
    let (_here, there, cookie) = two().await;
    let upkeep = Upkeep::of(&there.sessions);
    for _ in 0..60 {
        there.pass(SECOND);
        there.store.set(Mode::Held);
        live(there.find(&cookie).await);
        live(there.find(&cookie).await);
        there.store.set(Mode::Up);
        upkeep.settle_doubts().await;
    }
    assert!(there.store.confirmed() <= 30, "{} confirmations in a minute", there.store.confirmed());
    assert_eq!(there.metric("doorward_session_stale_served_total"), 0);
}

#[tokio::test]
async fn the_upkeep_finds_a_session_in_use_that_was_revoked_elsewhere() {
    let (here, there, cookie) = two().await;
    here.sessions.revoke(sent(&cookie), LogoutKind::User).await.unwrap().unwrap();
    there.pass(2 * SECOND);
    live(there.find(&cookie).await);
    Upkeep::of(&there.sessions).settle_doubts().await;
    assert!(matches!(there.find(&cookie).await, Ok(Found::Ended)));
}

#[tokio::test]
async fn a_session_that_another_replica_has_written_anew_is_read_again() {
    let (here, there, cookie) = two().await;
    let key = Token::parse(cookie.as_bytes()).unwrap().key();
    let mut row = here.store.load(&key).await.unwrap().unwrap();
    here.store.delete(&Selection::from(key), 1).await.unwrap();
    let mut record = Record::open(&doubles::keyring(), key, &row.sealed).unwrap();
    record.identity.groups = vec!["admins".to_owned()];
    row = Row { generation: 2, ..record.seal(&doubles::keyring(), key) };
    here.store.insert(row).await.unwrap();
    for wait in [4, 2] {
        there.pass(wait * SECOND);
        live(there.find(&cookie).await);
        Upkeep::of(&there.sessions).settle_doubts().await;
    }
    assert_eq!(live(there.find(&cookie).await).who().unpack().groups, ["admins"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_meet_a_session_that_has_to_be_confirmed_ask_once() {
    let (_here, there, cookie) = two().await;
    there.pass(MINUTE);
    let all = (0..1_000).map(|_| there.find(&cookie));
    for found in join_all(all).await {
        live(found);
    }
    assert_eq!((there.store.confirmed(), there.store.loads()), (1, 0));
}

#[tokio::test]
async fn known_sessions_go_on_for_the_grace_while_the_store_is_away_and_each_answer_is_counted() {
    for mode in [Mode::Failing, Mode::Held] {
        let (_here, there, cookie) = two().await;
        let unknown = there.sessions.create(somebody("bob")).await.unwrap();
        let stranger = there.restarted();
        there.store.set(mode);
        there.pass(MINUTE);
        for times in 1..=5 {
            live(there.find(&cookie).await);
            assert_eq!(there.metric("doorward_session_stale_served_total"), times, "{mode:?}");
        }
        assert_eq!(there.store.confirmed(), 1, "{mode:?}: an outage that is known of makes nobody wait");
        assert!(stranger.find(&unknown).await.is_err(), "{mode:?}");
        there.pass(HOUR);
        assert!(there.find(&cookie).await.is_err(), "{mode:?}: the grace is over, the session is not");
        there.store.set(Mode::Up);
        let _ = there.sessions.store.ping().await;
        live(there.find(&cookie).await);
    }
}

#[tokio::test]
async fn sessions_that_nobody_uses_are_confirmed_in_time_for_the_grace() {
    let (_here, there, cookie) = two().await;
    let upkeep = Upkeep::of(&there.sessions);
    for _ in 0..20 {
        there.pass(10 * MINUTE);
        upkeep.survey().await;
    }
    there.store.set(Mode::Failing);
    assert!(there.sessions.store.ping().await.is_err());
    there.pass(30 * MINUTE);
    live(there.find(&cookie).await);
}

#[tokio::test]
async fn a_gap_in_hearing_makes_every_session_be_confirmed() {
    let (here, there, cookie) = two().await;
    there.sessions.connected();
    there.pass(MINUTE);
    live(there.find(&cookie).await);
    there.store.forget_counts();
    there.pass(DAY);
    there.sessions.caught_up_to(there.sessions.now());
    live(there.find(&cookie).await);
    assert_eq!(there.store.confirmed(), 0, "while it hears, a session is believed");
    there.sessions.disconnected();
    live(there.find(&cookie).await);
    assert_eq!(there.store.confirmed(), 0, "what was heard still vouches for it");
    here.sessions.revoke(sent(&cookie), LogoutKind::User).await.unwrap().unwrap();
    there.pass(4 * SECOND);
    there.sessions.connected();
    assert!(matches!(there.find(&cookie).await, Ok(Found::Ended)));
}

#[tokio::test]
async fn what_others_ended_is_counted_as_the_operators() {
    let (here, there, _cookie) = two().await;
    here.store.add_uncounted(3).await.unwrap();
    for house in [&here, &there] {
        Upkeep::of(&house.sessions).count_for_others().await;
    }
    assert_eq!(there.metric(r#"doorward_logouts_total{kind="operator"}"#), 3);
}

#[tokio::test]
async fn the_clock_going_back_makes_a_session_be_confirmed() {
    let (_here, there, cookie) = two().await;
    there.hand.fetch_sub(60, Ordering::Relaxed);
    live(there.find(&cookie).await);
    assert_eq!(there.store.confirmed(), 1);
}

#[tokio::test]
async fn a_session_that_is_on_its_way_out_is_not_served_for_the_grace() {
    let (_, there, cookie) = two().await;
    let session = live(there.find(&cookie).await);
    there.store.set(Mode::Failing);
    there.pass(Duration::from_secs(10));
    live(there.find(&cookie).await);
    // As `revoke` does before it waits for the store.
    there.sessions.cache.bury(session.key());
    for is_known_to_be_away in [false, true] {
        if is_known_to_be_away {
            assert!(there.sessions.store.ping().await.is_err());
        }
        assert!(matches!(there.find(&cookie).await, Ok(Found::Ended)), "{is_known_to_be_away}");
    }
}

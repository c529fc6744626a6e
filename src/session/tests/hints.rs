//! Hints that a session has changed, true ones and those that a stranger sends.

use crate::session::{
    store::{Invalidations as _, Row},
    tests::{doubles::expiring_session, *},
};

/// A replica with a connected change feed, over a store that others change, with ann's session in memory.
async fn connected() -> (TestReplica, String, SessionId) {
    let first = TestReplica::with_short_deadline();
    first.store.share();
    let replica = first.restarted();
    InvalidationReceiver::of(&replica.sessions).connected();
    let cookie = replica.sessions.create(new_session("ann")).await.unwrap();
    let id = expect_live(replica.find(&cookie).await).id();
    replica.store.reset_counts();
    (replica, cookie, id)
}

async fn delete_row(replica: &TestReplica, id: SessionId) {
    assert_eq!(replica.store.delete(&Selection::from(id), 1).await.unwrap(), [id]);
}

#[tokio::test]
async fn a_hint_that_is_not_true_ends_nothing_and_costs_one_question() {
    let (replica, cookie, id) = connected().await;
    for _ in 0..1_000 {
        InvalidationReceiver::of(&replica.sessions).notified(id);
    }
    assert!(replica.get_cached(&cookie).is_none(), "the store is asked first");
    for _ in 0..10 {
        expect_live(replica.find(&cookie).await);
    }
    assert!(replica.get_cached(&cookie).is_some());
    assert_eq!((replica.store.revalidated(), replica.store.loads()), (1, 0));
}

#[tokio::test]
async fn a_flood_of_hints_costs_one_question_a_session_and_turn_while_no_request_comes() {
    let (replica, cookie, id) = connected().await;
    for turns in 1..=3 {
        for _ in 0..10_000 {
            InvalidationReceiver::of(&replica.sessions).notified(id);
        }
        replica.sessions.queued_revalidation().revalidate_queued().await;
        assert_eq!((replica.store.revalidated(), replica.store.loads()), (turns, 0));
    }
    assert!(replica.get_cached(&cookie).is_some());
}

#[tokio::test]
async fn hints_about_what_is_not_in_memory_cost_nothing_and_are_not_kept() {
    let (replica, cookie, _) = connected().await;
    for number in 0..100_000_u32 {
        InvalidationReceiver::of(&replica.sessions).notified(SessionId(crate::crypto::digest(&number.to_be_bytes())));
    }
    replica.sessions.queued_revalidation().revalidate_queued().await;
    assert!(replica.get_cached(&cookie).is_some());
    assert_eq!((replica.store.revalidated(), replica.store.loads()), (0, 0));
}

#[tokio::test]
async fn tombstones_are_not_driven_out_by_hints() {
    let (replica, cookie, _) = connected().await;
    replica.sessions.revoke(sent(&cookie), LogoutKind::User).await.unwrap().unwrap();
    for number in 0..200_000_u32 {
        InvalidationReceiver::of(&replica.sessions).notified(SessionId(crate::crypto::digest(&number.to_be_bytes())));
    }
    replica.sessions.cache.run_maintenance();
    replica.store.reset_counts();
    assert!(matches!(replica.find(&cookie).await, Ok(LookupOutcome::Ended)));
    assert_eq!(replica.store.loads(), 0);
}

#[tokio::test]
async fn a_true_hint_is_the_end_at_the_next_use_or_the_next_turn() {
    for is_used in [true, false] {
        let (replica, cookie, id) = connected().await;
        delete_row(&replica, id).await;
        expect_live(replica.find(&cookie).await);
        InvalidationReceiver::of(&replica.sessions).notified(id);
        if !is_used {
            replica.sessions.queued_revalidation().revalidate_queued().await;
            replica.store.set(Mode::Failing);
        }
        assert!(matches!(replica.find(&cookie).await, Ok(LookupOutcome::Ended)), "{is_used}");
        assert!(matches!(replica.find(&cookie).await, Ok(LookupOutcome::Ended)), "{is_used}");
        assert_eq!((replica.store.revalidated(), replica.store.loads()), (1, 0), "{is_used}");
    }
}

#[tokio::test]
async fn a_session_that_is_said_to_have_ended_is_served_for_the_grace_only_once_it_is_confirmed_again() {
    for mode in [Mode::Failing, Mode::Held] {
        let (replica, cookie, id) = connected().await;
        replica.store.set(mode);
        expect_live(replica.find(&cookie).await);
        InvalidationReceiver::of(&replica.sessions).notified(id);
        assert!(replica.find(&cookie).await.is_err(), "{mode:?}: the store cannot tell");
        assert!(replica.find(&cookie).await.is_err(), "{mode:?}: the outage is known");
        replica.store.set(Mode::Available);
        replica.sessions.store.ping().await.unwrap();
        expect_live(replica.find(&cookie).await);
        replica.store.set(mode);
        InvalidationReceiver::of(&replica.sessions).disconnected();
        replica.advance(MINUTE);
        expect_live(replica.find(&cookie).await);
    }
}

#[tokio::test]
async fn a_load_under_way_does_not_bring_back_a_session_that_others_end_meanwhile() {
    let (before, cookie, id) = connected().await;
    let replica = before.restarted();
    InvalidationReceiver::of(&replica.sessions).connected();
    replica.store.set(Mode::AnswerHeld);
    let mut finding = Box::pin(replica.find(&cookie));
    assert!(is_pending(&mut finding).await);
    delete_row(&replica, id).await;
    InvalidationReceiver::of(&replica.sessions).notified(id);
    replica.store.set(Mode::Available);
    assert!(matches!(finding.await, Ok(LookupOutcome::Ended)));
    assert!(matches!(replica.find(&cookie).await, Ok(LookupOutcome::Ended)));
}

#[tokio::test]
async fn a_revalidation_under_way_does_not_confirm_a_session_that_others_end_meanwhile() {
    for by_upkeep in [true, false] {
        let (replica, cookie, id) = connected().await;
        InvalidationReceiver::of(&replica.sessions).notified(id);
        replica.store.set(Mode::AnswerHeld);
        let queued = replica.sessions.queued_revalidation();
        let mut asking: Pin<Box<dyn Future<Output = ()>>> = if by_upkeep {
            Box::pin(queued.revalidate_queued())
        } else {
            Box::pin(async { assert!(matches!(replica.find(&cookie).await, Ok(LookupOutcome::Ended))) })
        };
        assert!(is_pending(&mut asking).await);
        delete_row(&replica, id).await;
        InvalidationReceiver::of(&replica.sessions).notified(id);
        replica.store.set(Mode::Available);
        asking.await;
        assert!(replica.get_cached(&cookie).is_none(), "{by_upkeep}");
        assert!(matches!(replica.find(&cookie).await, Ok(LookupOutcome::Ended)), "{by_upkeep}");
    }
}

#[tokio::test]
async fn a_load_that_hints_disturb_all_the_time_gives_the_session_and_is_revalidated_soon() {
    let (before, cookie, id) = connected().await;
    let replica = before.restarted();
    InvalidationReceiver::of(&replica.sessions).connected();
    let sessions = Arc::downgrade(&replica.sessions);
    replica.store.on_load(move || InvalidationReceiver::of(&sessions.upgrade().unwrap()).notified(id));
    expect_live(replica.find(&cookie).await);
    assert!(replica.get_cached(&cookie).is_none());
    expect_live(replica.find(&cookie).await);
    assert!(replica.get_cached(&cookie).is_some());
    assert_eq!((replica.store.loads(), replica.store.revalidated()), (3, 1));
}

#[tokio::test]
async fn a_sign_in_that_is_ended_while_it_is_written_is_asked_about_before_it_counts() {
    let (replica, _, _) = connected().await;
    replica.store.set(Mode::Held);
    let mut making = Box::pin(replica.sessions.create(new_session("bob")));
    assert!(is_pending(&mut making).await);
    let watched = replica.sessions.cache.watched();
    assert_eq!(watched.len(), 1);
    InvalidationReceiver::of(&replica.sessions).notified(watched[0]);
    replica.store.set(Mode::Available);
    let cookie = making.await.unwrap();
    assert!(replica.get_cached(&cookie).is_none());
    delete_row(&replica, watched[0]).await;
    assert!(matches!(replica.find(&cookie).await, Ok(LookupOutcome::Ended)));
}

#[tokio::test]
async fn a_renewal_under_way_does_not_bring_back_a_session_that_others_end_meanwhile() {
    let (replica, _, _) = connected().await;
    let new = expiring_session(&replica, "bob", 5 * MINUTE);
    let cookie = replica.sessions.create(new.clone()).await.unwrap();
    let session = expect_live(replica.find(&cookie).await);
    let LeaseOutcome::Acquired(permit) = replica.sessions.renewal().acquire_lease(&session, MINUTE).await.unwrap()
    else {
        panic!("not ours")
    };
    delete_row(&replica, session.id()).await;
    InvalidationReceiver::of(&replica.sessions).notified(session.id());
    let renewed = replica.sessions.renewal().renew(permit, renewed_grant(new.tokens));
    assert!(replica.get_cached(&cookie).is_none());
    assert!(matches!(replica.find(&cookie).await, Ok(LookupOutcome::Ended)));
    assert!(replica.sessions.renewal().write(&renewed).await.unwrap().is_none());
}

#[tokio::test]
async fn what_another_replica_wrote_while_a_lease_was_asked_for_is_not_taken_from_before_a_hint() {
    let (replica, cookie, id) = connected().await;
    let session = expect_live(replica.find(&cookie).await);
    let row = replica.store.load(&id).await.unwrap().unwrap();
    delete_row(&replica, id).await;
    replica.store.insert(Row { generation: 2, ..row }).await.unwrap();
    replica.store.set(Mode::AnswerHeld);
    let renewal = replica.sessions.renewal();
    let mut claiming = Box::pin(renewal.acquire_lease(&session, MINUTE));
    assert!(is_pending(&mut claiming).await);
    delete_row(&replica, id).await;
    InvalidationReceiver::of(&replica.sessions).notified(id);
    replica.store.set(Mode::Available);
    assert!(matches!(claiming.await.unwrap(), LeaseOutcome::HeldElsewhere), "to be asked again");
    assert!(matches!(replica.sessions.renewal().acquire_lease(&session, MINUTE).await.unwrap(), LeaseOutcome::Ended));
}

//! What a hint does that a session is not as it was, be it true or a stranger's.

use crate::session::{
    store::{Invalidations as _, Row},
    tests::{doubles::lasting, *},
};

/// A replica that hears, over a store that others change, with ann's session in memory.
async fn hearing() -> (House, String, SessionId) {
    let first = House::impatient();
    first.store.share();
    let house = first.restarted();
    house.sessions.connected();
    let cookie = house.sessions.create(somebody("ann")).await.unwrap();
    let key = live(house.find(&cookie).await).key();
    house.store.forget_counts();
    (house, cookie, key)
}

async fn removed(house: &House, key: SessionId) {
    assert_eq!(house.store.delete(&Selection::from(key), 1).await.unwrap(), [key]);
}

#[tokio::test]
async fn a_hint_that_is_not_true_ends_nothing_and_costs_one_question() {
    let (house, cookie, key) = hearing().await;
    for _ in 0..1_000 {
        house.sessions.notified(key);
    }
    assert!(house.recalls(&cookie).is_none(), "the store is asked first");
    for _ in 0..10 {
        live(house.find(&cookie).await);
    }
    assert!(house.recalls(&cookie).is_some());
    assert_eq!((house.store.confirmed(), house.store.loads()), (1, 0));
}

#[tokio::test]
async fn a_flood_of_hints_costs_one_question_a_session_and_turn_while_nobody_comes() {
    let (house, cookie, key) = hearing().await;
    for turns in 1..=3 {
        for _ in 0..10_000 {
            house.sessions.notified(key);
        }
        Upkeep::of(&house.sessions).settle_doubts().await;
        assert_eq!((house.store.confirmed(), house.store.loads()), (turns, 0));
    }
    assert!(house.recalls(&cookie).is_some());
}

#[tokio::test]
async fn hints_about_what_is_not_in_memory_cost_nothing_and_are_not_kept() {
    let (house, cookie, _) = hearing().await;
    for number in 0..100_000_u32 {
        house.sessions.notified(SessionId(crate::crypto::digest(&number.to_be_bytes())));
    }
    Upkeep::of(&house.sessions).settle_doubts().await;
    assert!(house.recalls(&cookie).is_some());
    assert_eq!((house.store.confirmed(), house.store.loads()), (0, 0));
}

#[tokio::test]
async fn tombstones_are_not_driven_out_by_hints() {
    let (house, cookie, _) = hearing().await;
    house.sessions.revoke(sent(&cookie), LogoutKind::User).await.unwrap().unwrap();
    for number in 0..200_000_u32 {
        house.sessions.notified(SessionId(crate::crypto::digest(&number.to_be_bytes())));
    }
    house.sessions.cache.tidy();
    house.store.forget_counts();
    assert!(matches!(house.find(&cookie).await, Ok(Found::Ended)));
    assert_eq!(house.store.loads(), 0);
}

#[tokio::test]
async fn a_true_hint_is_the_end_at_the_next_use_or_the_next_turn() {
    for is_used in [true, false] {
        let (house, cookie, key) = hearing().await;
        removed(&house, key).await;
        live(house.find(&cookie).await);
        house.sessions.notified(key);
        if !is_used {
            Upkeep::of(&house.sessions).settle_doubts().await;
            house.store.set(Mode::Failing);
        }
        assert!(matches!(house.find(&cookie).await, Ok(Found::Ended)), "{is_used}");
        assert!(matches!(house.find(&cookie).await, Ok(Found::Ended)), "{is_used}");
        assert_eq!((house.store.confirmed(), house.store.loads()), (1, 0), "{is_used}");
    }
}

#[tokio::test]
async fn a_session_that_is_said_to_have_ended_is_not_served_for_the_grace_and_is_again_once_it_is_vouched_for() {
    for mode in [Mode::Failing, Mode::Held] {
        let (house, cookie, key) = hearing().await;
        house.store.set(mode);
        live(house.find(&cookie).await);
        house.sessions.notified(key);
        assert!(house.find(&cookie).await.is_err(), "{mode:?}: nobody can tell");
        assert!(house.find(&cookie).await.is_err(), "{mode:?}: it is known that nobody can tell");
        house.store.set(Mode::Up);
        house.sessions.store.ping().await.unwrap();
        live(house.find(&cookie).await);
        house.store.set(mode);
        house.sessions.disconnected();
        house.pass(MINUTE);
        live(house.find(&cookie).await);
    }
}

#[tokio::test]
async fn a_load_under_way_does_not_bring_back_a_session_that_others_end_meanwhile() {
    let (before, cookie, key) = hearing().await;
    let house = before.restarted();
    house.sessions.connected();
    house.store.set(Mode::Late);
    let mut finding = Box::pin(house.find(&cookie));
    assert!(is_pending(&mut finding).await);
    removed(&house, key).await;
    house.sessions.notified(key);
    house.store.set(Mode::Up);
    assert!(matches!(finding.await, Ok(Found::Ended)));
    assert!(matches!(house.find(&cookie).await, Ok(Found::Ended)));
}

#[tokio::test]
async fn a_confirmation_under_way_does_not_vouch_for_a_session_that_others_end_meanwhile() {
    for by_upkeep in [true, false] {
        let (house, cookie, key) = hearing().await;
        house.sessions.notified(key);
        house.store.set(Mode::Late);
        let upkeep = Upkeep::of(&house.sessions);
        let mut asking: Pin<Box<dyn Future<Output = ()>>> = if by_upkeep {
            Box::pin(upkeep.settle_doubts())
        } else {
            Box::pin(async { assert!(matches!(house.find(&cookie).await, Ok(Found::Ended))) })
        };
        assert!(is_pending(&mut asking).await);
        removed(&house, key).await;
        house.sessions.notified(key);
        house.store.set(Mode::Up);
        asking.await;
        assert!(house.recalls(&cookie).is_none(), "{by_upkeep}");
        assert!(matches!(house.find(&cookie).await, Ok(Found::Ended)), "{by_upkeep}");
    }
}

#[tokio::test]
async fn a_load_that_strangers_disturb_all_the_time_gives_the_session_and_is_not_believed_for_long() {
    let (before, cookie, key) = hearing().await;
    let house = before.restarted();
    house.sessions.connected();
    let sessions = Arc::downgrade(&house.sessions);
    house.store.meanwhile(move || sessions.upgrade().unwrap().notified(key));
    live(house.find(&cookie).await);
    assert!(house.recalls(&cookie).is_none());
    live(house.find(&cookie).await);
    assert!(house.recalls(&cookie).is_some());
    assert_eq!((house.store.loads(), house.store.confirmed()), (3, 1));
}

#[tokio::test]
async fn a_sign_in_that_is_ended_while_it_is_written_is_asked_about_before_it_counts() {
    let (house, _, _) = hearing().await;
    house.store.set(Mode::Held);
    let mut making = Box::pin(house.sessions.create(somebody("bob")));
    assert!(is_pending(&mut making).await);
    let watched = house.sessions.cache.watched();
    assert_eq!(watched.len(), 1);
    house.sessions.notified(watched[0]);
    house.store.set(Mode::Up);
    let cookie = making.await.unwrap();
    assert!(house.recalls(&cookie).is_none());
    removed(&house, watched[0]).await;
    assert!(matches!(house.find(&cookie).await, Ok(Found::Ended)));
}

#[tokio::test]
async fn a_renewal_under_way_does_not_bring_back_a_session_that_others_end_meanwhile() {
    let (house, _, _) = hearing().await;
    let new = lasting(&house, "bob", 5 * MINUTE);
    let cookie = house.sessions.create(new.clone()).await.unwrap();
    let session = live(house.find(&cookie).await);
    let Claim::Ours(permit) = house.sessions.claim(&session, MINUTE).await.unwrap() else { panic!("not ours") };
    removed(&house, session.key()).await;
    house.sessions.notified(session.key());
    let renewed = house.sessions.renewed(permit, None, new.tokens, None);
    assert!(house.recalls(&cookie).is_none());
    assert!(matches!(house.find(&cookie).await, Ok(Found::Ended)));
    assert!(house.sessions.write(&renewed).await.unwrap().is_none());
}

#[tokio::test]
async fn what_another_replica_wrote_while_its_turn_was_asked_for_is_not_taken_from_before_a_hint() {
    let (house, cookie, key) = hearing().await;
    let session = live(house.find(&cookie).await);
    let row = house.store.load(&key).await.unwrap().unwrap();
    removed(&house, key).await;
    house.store.insert(Row { generation: 2, ..row }).await.unwrap();
    house.store.set(Mode::Late);
    let mut claiming = Box::pin(house.sessions.claim(&session, MINUTE));
    assert!(is_pending(&mut claiming).await);
    removed(&house, key).await;
    house.sessions.notified(key);
    house.store.set(Mode::Up);
    assert!(matches!(claiming.await.unwrap(), Claim::Theirs), "to be asked again");
    assert!(matches!(house.sessions.claim(&session, MINUTE).await.unwrap(), Claim::Gone));
}

//! How sessions end, and that they stay ended.

use crate::session::tests::*;

#[tokio::test]
async fn a_revoked_session_is_over_here_and_after_a_restart() {
    for cached in [true, false] {
        let before = House::new();
        let cookie = before.sessions.create(somebody("ann")).await.unwrap();
        let house = if cached { before } else { before.restarted() };
        let ended = house.sessions.revoke(sent(&cookie), LogoutKind::User).await.unwrap().unwrap();
        assert_eq!(ended.identity.user, "ann");
        assert!(matches!(house.find(&cookie).await, Ok(Found::Ended)));
        house.store.forget_counts();
        assert!(matches!(house.find(&cookie).await, Ok(Found::Ended)));
        assert!(house.sessions.revoke(sent(&cookie), LogoutKind::User).await.unwrap().is_none());
        assert_eq!(house.store.loads(), 0, "an ended session is remembered");
        assert!(matches!(house.restarted().find(&cookie).await, Ok(Found::Ended)));
        assert_eq!(house.metric(r#"doorward_logouts_total{kind="user"}"#), 1);
    }
}

#[tokio::test]
async fn a_load_under_way_does_not_bring_back_a_session_revoked_meanwhile() {
    for waited_for in [true, false] {
        let before = House::new();
        let cookie = before.sessions.create(somebody("ann")).await.unwrap();
        let house = before.restarted();
        house.store.set(Mode::Held);
        let (sessions, asked) = (Arc::clone(&house.sessions), cookie.clone());
        let mut finding = JoinSet::new();
        finding.spawn(async move { sessions.find(sent(&asked)).await });
        house.store.arrived().await;
        let mut revoking = Box::pin(house.sessions.revoke(sent(&cookie), LogoutKind::User));
        assert!(is_pending(&mut revoking).await, "the revocation waits for the load");
        if waited_for {
            house.store.set(Mode::Up);
            assert!(revoking.await.unwrap().is_some());
        } else {
            drop(revoking);
            house.store.set(Mode::Up);
        }
        let found = finding.join_next().await.unwrap().unwrap();
        assert!(waited_for || matches!(found, Ok(Found::Ended)));
        assert!(matches!(house.find(&cookie).await, Ok(Found::Ended)));
        Upkeep::of(&house.sessions).finish_endings().await;
        assert!(matches!(house.restarted().find(&cookie).await, Ok(Found::Ended)));
    }
}

#[tokio::test]
async fn a_revocation_that_nobody_waits_for_is_finished_by_the_upkeep() {
    let house = House::new();
    let cookie = house.sessions.create(somebody("ann")).await.unwrap();
    house.store.set(Mode::Held);
    let mut revoking = Box::pin(house.sessions.revoke(sent(&cookie), LogoutKind::User));
    assert!(is_pending(&mut revoking).await);
    drop(revoking);
    house.store.set(Mode::Up);
    Upkeep::of(&house.sessions).finish_endings().await;
    assert!(matches!(house.find(&cookie).await, Ok(Found::Ended)));
    assert!(matches!(house.restarted().find(&cookie).await, Ok(Found::Ended)));
}

#[tokio::test]
async fn a_session_signed_out_while_the_store_is_away_is_refused_at_once_and_gone_when_it_is_back() {
    for cached in [true, false] {
        let before = House::new();
        let cookie = before.sessions.create(somebody("ann")).await.unwrap();
        let house = if cached { before } else { before.restarted() };
        house.store.set(Mode::Failing);
        assert!(house.sessions.revoke(sent(&cookie), LogoutKind::User).await.is_err());
        assert!(matches!(house.find(&cookie).await, Ok(Found::Ended)));
        let upkeep = Upkeep::of(&house.sessions);
        upkeep.finish_endings().await;
        house.store.set(Mode::Up);
        upkeep.finish_endings().await;
        assert!(matches!(house.restarted().find(&cookie).await, Ok(Found::Ended)));
        assert_eq!(house.metric(r#"doorward_logouts_total{kind="user"}"#), 1);
    }
}

#[tokio::test]
async fn an_expired_session_is_over_however_much_it_is_used() {
    let house = House::new();
    let cookie = house.sessions.create(somebody("ann")).await.unwrap();
    for _ in 0..27 {
        house.pass(DAY);
        live(house.find(&cookie).await);
    }
    house.pass(DAY);
    house.store.set(Mode::Failing);
    assert!(matches!(house.find(&cookie).await, Ok(Found::Ended)), "no store is needed to know");
    house.store.set(Mode::Up);
    assert!(matches!(house.find(&cookie).await, Ok(Found::Ended)));
    assert!(house.sessions.revoke(sent(&cookie), LogoutKind::User).await.unwrap().is_none());
    let mut upkeep = Upkeep::of(&house.sessions);
    upkeep.purge().await;
    upkeep.purge().await;
    assert_eq!(house.metric(r#"doorward_logouts_total{kind="expired"}"#), 1);
    assert!(matches!(house.restarted().find(&cookie).await, Ok(Found::Ended)));
}

#[tokio::test]
async fn an_idle_session_is_over_and_one_in_use_is_not() {
    let house = House::new();
    let (used, idle) =
        (house.sessions.create(somebody("ann")).await.unwrap(), house.sessions.create(somebody("bob")).await.unwrap());
    for _ in 0..7 {
        house.pass(DAY);
        live(house.find(&used).await);
    }
    assert!(matches!(house.find(&idle).await, Ok(Found::Ended)));
    Upkeep::of(&house.sessions).write_uses().await;
    live(house.restarted().find(&used).await);
}

#[tokio::test]
async fn a_session_idle_here_and_used_at_another_replica_lives() {
    let here = House::new();
    let cookie = here.sessions.create(somebody("ann")).await.unwrap();
    let there = here.restarted();
    here.pass(6 * DAY);
    live(there.find(&cookie).await);
    Upkeep::of(&there.sessions).write_uses().await;
    here.pass(DAY);
    here.store.set(Mode::Failing);
    assert!(here.find(&cookie).await.is_err(), "only the store can tell");
    here.store.set(Mode::Up);
    live(here.find(&cookie).await);
}

#[tokio::test]
async fn a_purge_spares_a_session_whose_last_use_may_not_be_written_yet() {
    let house = House::new();
    let cookie = house.sessions.create(somebody("ann")).await.unwrap();
    house.pass(6 * DAY + 23 * HOUR);
    live(house.find(&cookie).await);
    house.pass(HOUR + MINUTE);
    Upkeep::of(&house.sessions).purge().await;
    Upkeep::of(&house.sessions).write_uses().await;
    live(house.restarted().find(&cookie).await);
}

#[tokio::test]
async fn expired_sessions_are_removed_a_few_at_a_time_until_none_is_left() {
    let house = House::new();
    for number in 0..503 {
        house.sessions.create(somebody(&format!("person {number}"))).await.unwrap();
    }
    house.pass(28 * DAY);
    let gone = || house.metric(r#"doorward_logouts_total{kind="expired"}"#);
    Upkeep::of(&house.sessions).purge().await;
    assert_eq!(gone(), 100);
    let stop = shutdown::Signal::default();
    let all_are_gone = async {
        while gone() < 503 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        stop.raise();
    };
    tokio::join!(house.sessions.maintain(stop.clone()), all_are_gone);
}

#[tokio::test]
async fn the_clock_going_back_ends_nothing() {
    let house = House::new();
    let cookie = house.sessions.create(somebody("ann")).await.unwrap();
    house.hand.fetch_sub(3_600, Ordering::Relaxed);
    live(house.find(&cookie).await);
    live(house.restarted().find(&cookie).await);
}

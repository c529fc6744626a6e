//! Ends of sessions, and that they are final.

use crate::session::tests::*;

#[tokio::test]
async fn a_revoked_session_is_over_here_and_after_a_restart() {
    for cached in [true, false] {
        let before = TestReplica::new();
        let cookie = before.sessions.create(new_session("ann")).await.unwrap();
        let replica = if cached { before } else { before.restarted() };
        let ended = replica.sessions.revoke(sent(&cookie), LogoutKind::User).await.unwrap().unwrap();
        assert_eq!(ended.identity.user, "ann");
        assert!(matches!(replica.find(&cookie).await, Ok(LookupOutcome::Ended)));
        replica.store.reset_counts();
        assert!(matches!(replica.find(&cookie).await, Ok(LookupOutcome::Ended)));
        assert!(replica.sessions.revoke(sent(&cookie), LogoutKind::User).await.unwrap().is_none());
        assert_eq!(replica.store.loads(), 0, "it has a tombstone");
        assert!(matches!(replica.restarted().find(&cookie).await, Ok(LookupOutcome::Ended)));
        assert_eq!(replica.metric(r#"doorward_logouts_total{kind="user"}"#), 1);
    }
}

#[tokio::test]
async fn a_load_under_way_does_not_bring_back_a_session_revoked_meanwhile() {
    for waited_for in [true, false] {
        let before = TestReplica::new();
        let cookie = before.sessions.create(new_session("ann")).await.unwrap();
        let replica = before.restarted();
        replica.store.set(Mode::Held);
        let (sessions, asked) = (Arc::clone(&replica.sessions), cookie.clone());
        let mut finding = JoinSet::new();
        finding.spawn(async move { sessions.find(sent(&asked)).await });
        replica.store.load_began().await;
        let mut revoking = Box::pin(replica.sessions.revoke(sent(&cookie), LogoutKind::User));
        assert!(is_pending(&mut revoking).await, "the revocation waits for the load");
        if waited_for {
            replica.store.set(Mode::Available);
            assert!(revoking.await.unwrap().is_some());
        } else {
            drop(revoking);
            replica.store.set(Mode::Available);
        }
        let found = finding.join_next().await.unwrap().unwrap();
        assert!(waited_for || matches!(found, Ok(LookupOutcome::Ended)));
        assert!(matches!(replica.find(&cookie).await, Ok(LookupOutcome::Ended)));
        replica.sessions.ending().finish_pending().await;
        assert!(matches!(replica.restarted().find(&cookie).await, Ok(LookupOutcome::Ended)));
    }
}

#[tokio::test]
async fn a_revocation_whose_caller_has_gone_away_is_finished_by_the_upkeep() {
    let replica = TestReplica::new();
    let cookie = replica.sessions.create(new_session("ann")).await.unwrap();
    replica.store.set(Mode::Held);
    let mut revoking = Box::pin(replica.sessions.revoke(sent(&cookie), LogoutKind::User));
    assert!(is_pending(&mut revoking).await);
    drop(revoking);
    replica.store.set(Mode::Available);
    replica.sessions.ending().finish_pending().await;
    assert!(matches!(replica.find(&cookie).await, Ok(LookupOutcome::Ended)));
    assert!(matches!(replica.restarted().find(&cookie).await, Ok(LookupOutcome::Ended)));
}

#[tokio::test]
async fn a_session_signed_out_while_the_store_is_unavailable_is_refused_at_once_and_deleted_later() {
    for cached in [true, false] {
        let before = TestReplica::new();
        let cookie = before.sessions.create(new_session("ann")).await.unwrap();
        let replica = if cached { before } else { before.restarted() };
        replica.store.set(Mode::Failing);
        assert!(replica.sessions.revoke(sent(&cookie), LogoutKind::User).await.is_err());
        assert!(matches!(replica.find(&cookie).await, Ok(LookupOutcome::Ended)));
        let upkeep = replica.sessions.upkeep();
        upkeep.ending.finish_pending().await;
        replica.store.set(Mode::Available);
        upkeep.ending.finish_pending().await;
        assert!(matches!(replica.restarted().find(&cookie).await, Ok(LookupOutcome::Ended)));
        assert_eq!(replica.metric(r#"doorward_logouts_total{kind="user"}"#), 1);
    }
}

#[tokio::test]
async fn an_expired_session_is_over_however_much_it_is_used() {
    let replica = TestReplica::new();
    let cookie = replica.sessions.create(new_session("ann")).await.unwrap();
    for _ in 0..27 {
        replica.advance(DAY);
        expect_live(replica.find(&cookie).await);
    }
    replica.advance(DAY);
    replica.store.set(Mode::Failing);
    assert!(matches!(replica.find(&cookie).await, Ok(LookupOutcome::Ended)), "no store is needed to know");
    replica.store.set(Mode::Available);
    assert!(matches!(replica.find(&cookie).await, Ok(LookupOutcome::Ended)));
    assert!(replica.sessions.revoke(sent(&cookie), LogoutKind::User).await.unwrap().is_none());
    let mut upkeep = replica.sessions.upkeep();
    upkeep.purge.run_batch().await;
    upkeep.purge.run_batch().await;
    assert_eq!(replica.metric(r#"doorward_logouts_total{kind="expired"}"#), 1);
    assert!(matches!(replica.restarted().find(&cookie).await, Ok(LookupOutcome::Ended)));
}

#[tokio::test]
async fn an_idle_session_is_over_and_one_in_use_is_not() {
    let replica = TestReplica::new();
    let (used, idle) = (
        replica.sessions.create(new_session("ann")).await.unwrap(),
        replica.sessions.create(new_session("bob")).await.unwrap(),
    );
    for _ in 0..7 {
        replica.advance(DAY);
        expect_live(replica.find(&used).await);
    }
    assert!(matches!(replica.find(&idle).await, Ok(LookupOutcome::Ended)));
    replica.sessions.upkeep().last_uses.write().await;
    expect_live(replica.restarted().find(&used).await);
}

#[tokio::test]
async fn a_session_idle_here_and_used_at_another_replica_lives() {
    let here = TestReplica::new();
    let cookie = here.sessions.create(new_session("ann")).await.unwrap();
    let there = here.restarted();
    here.advance(6 * DAY);
    expect_live(there.find(&cookie).await);
    there.sessions.upkeep().last_uses.write().await;
    here.advance(DAY);
    here.store.set(Mode::Failing);
    assert!(here.find(&cookie).await.is_err(), "only the store can tell");
    here.store.set(Mode::Available);
    expect_live(here.find(&cookie).await);
}

#[tokio::test]
async fn a_purge_spares_a_session_whose_last_use_may_not_be_written_yet() {
    let replica = TestReplica::new();
    let cookie = replica.sessions.create(new_session("ann")).await.unwrap();
    replica.advance(6 * DAY + 23 * HOUR);
    expect_live(replica.find(&cookie).await);
    replica.advance(HOUR + MINUTE);
    replica.sessions.upkeep().purge.run_batch().await;
    replica.sessions.upkeep().last_uses.write().await;
    expect_live(replica.restarted().find(&cookie).await);
}

#[tokio::test]
async fn expired_sessions_are_removed_a_few_at_a_time_until_none_is_left() {
    let replica = TestReplica::new();
    for number in 0..503 {
        replica.sessions.create(new_session(&format!("person {number}"))).await.unwrap();
    }
    replica.advance(28 * DAY);
    let gone = || replica.metric(r#"doorward_logouts_total{kind="expired"}"#);
    replica.sessions.upkeep().purge.run_batch().await;
    assert_eq!(gone(), 100);
    let stop = shutdown::Signal::default();
    let all_are_gone = async {
        while gone() < 503 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        stop.raise();
    };
    tokio::join!(replica.sessions.maintain(stop.clone()), all_are_gone);
}

#[tokio::test]
async fn the_clock_going_back_ends_nothing() {
    let replica = TestReplica::new();
    let cookie = replica.sessions.create(new_session("ann")).await.unwrap();
    replica.time.fetch_sub(3_600, Ordering::Relaxed);
    expect_live(replica.find(&cookie).await);
    expect_live(replica.restarted().find(&cookie).await);
}

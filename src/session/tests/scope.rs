//! Scope of a session: its cookie is of no use at another host.

use crate::{
    identity::{Registration, SessionScope},
    session::tests::*,
};

/// Hosts and domains that ann's cookie was not made for.
const ELSEWHERE: [&str; 7] = ["admin.test", "", "test", ".test", ".app.test", "app.test.", "x.app.test"];

fn to<'a>(audience: &'a str, cookie: &'a str) -> Cookie<'a> {
    Cookie { value: cookie.as_bytes(), audience }
}

#[tokio::test]
async fn a_cookie_is_nobody_where_it_was_not_made_in_memory_or_not_and_costs_no_look_up() {
    let before = TestReplica::new();
    let cookie = before.sessions.create(new_session("ann")).await.unwrap();
    for replica in [&before, &before.restarted()] {
        for elsewhere in ELSEWHERE {
            assert!(
                matches!(replica.sessions.find(to(elsewhere, &cookie)).await, Ok(LookupOutcome::NotOurs)),
                "{elsewhere}"
            );
            assert!(replica.sessions.get_cached(to(elsewhere, &cookie), |_, _| Some(())).is_none(), "{elsewhere}");
            assert!(!replica.sessions.may_be_ours(to(elsewhere, &cookie)), "{elsewhere}");
        }
        assert_eq!(replica.store.loads(), 0);
        expect_live(replica.find(&cookie).await);
        for elsewhere in ELSEWHERE {
            assert!(
                matches!(replica.sessions.find(to(elsewhere, &cookie)).await, Ok(LookupOutcome::NotOurs)),
                "{elsewhere}"
            );
        }
        replica.store.reset_counts();
    }
}

#[tokio::test]
async fn a_cookie_ends_nothing_where_it_was_not_made() {
    let before = TestReplica::new();
    let cookie = before.sessions.create(new_session("ann")).await.unwrap();
    for replica in [&before, &before.restarted()] {
        for elsewhere in ELSEWHERE {
            assert!(replica.sessions.revoke(to(elsewhere, &cookie), LogoutKind::User).await.unwrap().is_none());
        }
        expect_live(replica.find(&cookie).await);
    }
    // Nor does another host learn that it has ended.
    before.sessions.revoke(sent(&cookie), LogoutKind::User).await.unwrap().unwrap();
    assert!(matches!(before.find(&cookie).await, Ok(LookupOutcome::Ended)));
    assert!(matches!(before.sessions.find(to("admin.test", &cookie)).await, Ok(LookupOutcome::NotOurs)));
}

#[tokio::test]
async fn cookies_of_secrets_that_are_rotated_dropped_or_inherited_count_where_they_were_made_all_the_same() {
    let old = TestReplica::new();
    let cookie = old.sessions.create(new_session("ann")).await.unwrap();
    let rotated = old.restarted_with(&["new", "old"]);
    rotated.sessions.retired_keys().load().await;
    let mut walk = rotated.sessions.upkeep().reencryption;
    walk.begin().await;
    walk.advance().await;
    let dropped = old.restarted_with(&["new"]);
    dropped.sessions.retired_keys().load().await;
    for replica in [&rotated, &dropped] {
        assert!(matches!(replica.sessions.find(to("admin.test", &cookie)).await, Ok(LookupOutcome::NotOurs)));
        expect_live(replica.find(&cookie).await);
        assert!(matches!(replica.sessions.find(to("admin.test", &cookie)).await, Ok(LookupOutcome::NotOurs)));
    }
    // What is in memory is held against other secrets for where it counts.
    old.change(&doubles::settings(), &["new", "old"]);
    assert!(old.get_cached(&cookie).is_some());
    assert!(old.sessions.get_cached(to("admin.test", &cookie), |_, _| Some(())).is_none());
}

#[tokio::test]
async fn where_a_session_counts_is_sealed_into_its_row_and_outlives_restarts_and_renewals() {
    let before = TestReplica::new();
    let scope = SessionScope { audience: ".test".to_owned(), registration: Registration([9; 8]) };
    let cookie = before.sessions.create(NewSession { scope: scope.clone(), ..new_session("ann") }).await.unwrap();
    let replica = before.restarted();
    assert!(matches!(replica.find(&cookie).await, Ok(LookupOutcome::NotOurs)));
    let session = expect_live(replica.sessions.find(to(".test", &cookie)).await);
    let LeaseOutcome::Acquired(permit) = replica.sessions.renewal().acquire_lease(&session, MINUTE).await.unwrap()
    else {
        panic!("not ours")
    };
    assert_eq!(permit.record().scope, scope);
    let renewed = replica.sessions.renewal().renew(permit, renewed_grant(new_session("ann").tokens));
    replica.sessions.renewal().write(&renewed).await.unwrap().unwrap();
    for replica in [&replica, &replica.restarted()] {
        let session = expect_live(replica.sessions.find(to(".test", &cookie)).await);
        assert!(
            session.identity().has_registration(&Registration([9; 8]))
                && !session.identity().has_registration(&Registration([7; 8]))
        );
        assert!(matches!(replica.find(&cookie).await, Ok(LookupOutcome::NotOurs)));
    }
}

#[tokio::test]
async fn a_row_of_another_scope_under_a_good_cookie_is_nobody() {
    let replica = TestReplica::new();
    let token = Token::fresh(&doubles::keyring(), HOST);
    let scope = SessionScope { audience: "admin.test".to_owned(), registration: Registration([7; 8]) };
    let record = Record::new(NewSession { scope, ..new_session("ann") }, replica.sessions.clock.now());
    replica.store.insert(record.seal(&doubles::keyring(), token.id())).await.unwrap();
    for _ in 0..2 {
        assert!(matches!(replica.find(&token.encode()).await, Ok(LookupOutcome::NotOurs)));
    }
}

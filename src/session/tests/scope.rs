//! Where a session counts, and that it is nobody elsewhere.

use crate::{
    identity::{Registration, SessionScope},
    session::tests::*,
};

/// What others may ask with ann's cookie.
const ELSEWHERE: [&str; 7] = ["admin.test", "", "test", ".test", ".app.test", "app.test.", "x.app.test"];

fn to<'a>(audience: &'a str, cookie: &'a str) -> Cookie<'a> {
    Cookie { value: cookie.as_bytes(), audience }
}

#[tokio::test]
async fn a_cookie_is_nobody_where_it_was_not_made_in_memory_or_not_and_costs_no_look_up() {
    let before = House::new();
    let cookie = before.sessions.create(somebody("ann")).await.unwrap();
    for house in [&before, &before.restarted()] {
        for elsewhere in ELSEWHERE {
            assert!(matches!(house.sessions.find(to(elsewhere, &cookie)).await, Ok(Found::NotOurs)), "{elsewhere}");
            assert!(house.sessions.recall(to(elsewhere, &cookie), |_, _| Some(())).is_none(), "{elsewhere}");
            assert!(!house.sessions.may_be_ours(to(elsewhere, &cookie)), "{elsewhere}");
        }
        assert_eq!(house.store.loads(), 0);
        live(house.find(&cookie).await);
        for elsewhere in ELSEWHERE {
            assert!(matches!(house.sessions.find(to(elsewhere, &cookie)).await, Ok(Found::NotOurs)), "{elsewhere}");
        }
        house.store.forget_counts();
    }
}

#[tokio::test]
async fn a_cookie_ends_nothing_where_it_was_not_made() {
    let before = House::new();
    let cookie = before.sessions.create(somebody("ann")).await.unwrap();
    for house in [&before, &before.restarted()] {
        for elsewhere in ELSEWHERE {
            assert!(house.sessions.revoke(to(elsewhere, &cookie), LogoutKind::User).await.unwrap().is_none());
        }
        live(house.find(&cookie).await);
    }
    // Nor is it told that it is over.
    before.sessions.revoke(sent(&cookie), LogoutKind::User).await.unwrap().unwrap();
    assert!(matches!(before.find(&cookie).await, Ok(Found::Ended)));
    assert!(matches!(before.sessions.find(to("admin.test", &cookie)).await, Ok(Found::NotOurs)));
}

#[tokio::test]
async fn cookies_of_secrets_that_are_rotated_dropped_or_inherited_count_where_they_were_made_all_the_same() {
    let old = House::new();
    let cookie = old.sessions.create(somebody("ann")).await.unwrap();
    let rotated = old.restarted_with(&["new", "old"]);
    rotated.sessions.settle().await;
    let mut walk = upkeep::reencryption::Reencryption::of(&rotated.sessions);
    walk.begin().await;
    walk.advance().await;
    let dropped = old.restarted_with(&["new"]);
    dropped.sessions.settle().await;
    for house in [&rotated, &dropped] {
        assert!(matches!(house.sessions.find(to("admin.test", &cookie)).await, Ok(Found::NotOurs)));
        live(house.find(&cookie).await);
        assert!(matches!(house.sessions.find(to("admin.test", &cookie)).await, Ok(Found::NotOurs)));
    }
    // What is in memory is held against other secrets for where it counts.
    old.change(&doubles::settings(), &["new", "old"]);
    assert!(old.recalls(&cookie).is_some());
    assert!(old.sessions.recall(to("admin.test", &cookie), |_, _| Some(())).is_none());
}

#[tokio::test]
async fn where_a_session_counts_is_sealed_into_its_row_and_outlives_restarts_and_renewals() {
    let before = House::new();
    let scope = SessionScope { audience: ".test".to_owned(), registration: Registration([9; 8]) };
    let cookie = before.sessions.create(NewSession { scope: scope.clone(), ..somebody("ann") }).await.unwrap();
    let house = before.restarted();
    assert!(matches!(house.find(&cookie).await, Ok(Found::NotOurs)));
    let session = live(house.sessions.find(to(".test", &cookie)).await);
    let Claim::Ours(permit) = house.sessions.claim(&session, MINUTE).await.unwrap() else { panic!("not ours") };
    assert_eq!(permit.record().scope, scope);
    let renewed = house.sessions.renewed(permit, None, somebody("ann").tokens, None);
    house.sessions.write(&renewed).await.unwrap().unwrap();
    for house in [&house, &house.restarted()] {
        let session = live(house.sessions.find(to(".test", &cookie)).await);
        assert!(
            session.who().has_registration(&Registration([9; 8]))
                && !session.who().has_registration(&Registration([7; 8]))
        );
        assert!(matches!(house.find(&cookie).await, Ok(Found::NotOurs)));
    }
}

#[tokio::test]
async fn a_row_of_another_scope_under_a_good_cookie_is_nobody() {
    let house = House::new();
    let token = Token::fresh(&doubles::keyring(), HOST);
    let scope = SessionScope { audience: "admin.test".to_owned(), registration: Registration([7; 8]) };
    let record = Record::new(NewSession { scope, ..somebody("ann") }, house.sessions.clock.now());
    house.store.insert(record.seal(&doubles::keyring(), token.key())).await.unwrap();
    for _ in 0..2 {
        assert!(matches!(house.find(&token.encode()).await, Ok(Found::NotOurs)));
    }
}

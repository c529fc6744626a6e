//! Contract of [`Leases`](crate::session::store::lease::Leases): leases, fencing by generation, and the replay check;
//! run against every store.

use std::time::Duration;

use crate::session::{
    cookie::SessionId,
    store::{
        Row, Selection, Store, Touch,
        lease::{Lease, LeaseHolder},
        memory::MemoryStore,
        postgres::PostgresStore,
        sqlite::SqliteStore,
    },
    tests::{
        contract::{at, every_store, row},
        postgres::TestDatabase,
    },
};

const KEY: SessionId = SessionId([1; 32]);
const SPAN: Duration = Duration::from_mins(1);

every_store!(
    a_lease_has_one_holder,
    a_holder_may_take_its_lease_again,
    a_lease_is_free_after_its_release_and_after_its_span,
    of_many_who_claim_at_once_one_gets_the_lease,
    nobody_gets_the_lease_of_another_generation_or_of_no_session,
    only_the_next_generation_replaces_a_row_and_once,
    replacing_a_row_ends_its_lease,
    a_row_that_was_removed_cannot_be_replaced,
    a_use_that_came_meanwhile_outlives_the_replacement,
    a_replaced_row_is_found_by_its_new_sid_alone,
    a_jti_is_accepted_once_until_it_is_forgotten,
    of_many_who_record_a_jti_at_once_one_succeeds,
);

fn ours(generation: u64) -> Lease {
    Lease { key: KEY, generation, holder: LeaseHolder([1; 16]) }
}

fn theirs(generation: u64) -> Lease {
    Lease { holder: LeaseHolder([2; 16]), ..ours(generation) }
}

/// The row in a later generation, as a renewal would write it.
fn later(generation: u64) -> Row {
    Row { generation, sid: Some(format!("sid {generation}")), sealed: vec![7; 10], ..row(1, 10, 20) }
}

async fn a_lease_has_one_holder(store: &dyn Store) {
    for number in [1, 2] {
        store.insert(row(number, 10, 20)).await.unwrap();
    }
    assert!(store.acquire_lease(&ours(1), SPAN).await.unwrap());
    assert!(!store.acquire_lease(&theirs(1), SPAN).await.unwrap());
    assert!(
        store.acquire_lease(&Lease { key: SessionId([2; 32]), ..ours(1) }, SPAN).await.unwrap(),
        "another session has a lease of its own"
    );
    assert_eq!(store.load(&KEY).await.unwrap(), Some(row(1, 10, 20)), "a claim changes nothing else");
}

async fn a_holder_may_take_its_lease_again(store: &dyn Store) {
    store.insert(row(1, 10, 20)).await.unwrap();
    for _ in 0..3 {
        assert!(store.acquire_lease(&ours(1), SPAN).await.unwrap(), "the answer may have been lost");
        assert!(!store.acquire_lease(&theirs(1), SPAN).await.unwrap());
    }
    store.release_lease(&ours(1)).await.unwrap();
    assert!(store.acquire_lease(&theirs(1), SPAN).await.unwrap(), "once is enough to give it back");
    assert!(!store.acquire_lease(&ours(1), SPAN).await.unwrap());
}

async fn a_lease_is_free_after_its_release_and_after_its_span(store: &dyn Store) {
    store.insert(row(1, 10, 20)).await.unwrap();
    assert!(store.acquire_lease(&ours(1), SPAN).await.unwrap());
    for not_it in [ours(2), theirs(1)] {
        store.release_lease(&not_it).await.unwrap();
        assert!(!store.acquire_lease(&theirs(1), SPAN).await.unwrap(), "{not_it:?}");
    }
    store.release_lease(&ours(1)).await.unwrap();
    assert!(store.acquire_lease(&theirs(1), Duration::ZERO).await.unwrap());
    assert!(store.acquire_lease(&ours(1), SPAN).await.unwrap(), "a span that is over holds up nobody");
    assert!(!store.acquire_lease(&theirs(1), SPAN).await.unwrap());
    store.release_lease(&Lease { key: SessionId([9; 32]), ..ours(1) }).await.unwrap();
}

async fn of_many_who_claim_at_once_one_gets_the_lease(store: &dyn Store) {
    store.insert(row(1, 10, 20)).await.unwrap();
    let leases: Vec<_> = (0..50).map(|number| Lease { holder: LeaseHolder([number; 16]), ..ours(1) }).collect();
    let claims = futures_util::future::join_all(leases.iter().map(|lease| store.acquire_lease(lease, SPAN))).await;
    assert_eq!(claims.into_iter().filter(|claim| *claim.as_ref().unwrap()).count(), 1);
}

async fn nobody_gets_the_lease_of_another_generation_or_of_no_session(store: &dyn Store) {
    store.insert(Row { generation: 5, ..row(1, 10, 20) }).await.unwrap();
    for generation in [0, 1, 4, 6, u64::MAX] {
        assert!(!store.acquire_lease(&ours(generation), SPAN).await.unwrap(), "generation {generation}");
    }
    assert!(!store.acquire_lease(&Lease { key: SessionId([9; 32]), ..ours(5) }, SPAN).await.unwrap());
    assert!(store.acquire_lease(&ours(5), SPAN).await.unwrap(), "and none of them took it");
}

async fn only_the_next_generation_replaces_a_row_and_once(store: &dyn Store) {
    store.insert(row(1, 10, 20)).await.unwrap();
    for (generation, replaces) in [(1, false), (3, false), (2, true), (2, false), (1, false), (3, true)] {
        assert_eq!(store.replace(&later(generation)).await.unwrap(), replaces, "generation {generation}");
    }
    assert_eq!(store.load(&KEY).await.unwrap(), Some(later(3)));
}

async fn replacing_a_row_ends_its_lease(store: &dyn Store) {
    store.insert(row(1, 10, 20)).await.unwrap();
    assert!(store.acquire_lease(&ours(1), SPAN).await.unwrap());
    assert!(store.replace(&later(2)).await.unwrap());
    assert!(!store.acquire_lease(&ours(1), SPAN).await.unwrap());
    assert!(store.acquire_lease(&ours(2), SPAN).await.unwrap());
}

async fn a_row_that_was_removed_cannot_be_replaced(store: &dyn Store) {
    store.insert(row(1, 10, 20)).await.unwrap();
    assert!(store.acquire_lease(&ours(1), SPAN).await.unwrap());
    store.delete(&Selection::from(KEY), 1).await.unwrap();
    assert!(!store.replace(&later(2)).await.unwrap());
    assert_eq!(store.load(&KEY).await.unwrap(), None);
}

async fn a_use_that_came_meanwhile_outlives_the_replacement(store: &dyn Store) {
    store.insert(row(1, 10, 20)).await.unwrap();
    store.touch(&[Touch { key: KEY, last_seen: at(30) }]).await.unwrap();
    assert!(store.replace(&later(2)).await.unwrap());
    assert_eq!(store.load(&KEY).await.unwrap(), Some(Row { last_seen: at(30), ..later(2) }));
}

async fn a_replaced_row_is_found_by_its_new_sid_alone(store: &dyn Store) {
    let of = |sid: &str| Selection::Sid { provider: "authentik".to_owned(), sid: sid.to_owned() };
    store.insert(Row { sid: Some("sid 1".to_owned()), ..row(1, 10, 20) }).await.unwrap();
    store.replace(&later(2)).await.unwrap();
    assert_eq!(store.delete(&of("sid 1"), 9).await.unwrap(), []);
    assert_eq!(store.delete(&of("sid 2"), 9).await.unwrap(), [KEY]);
}

async fn a_jti_is_accepted_once_until_it_is_forgotten(store: &dyn Store) {
    let until = at(4_000_000_000);
    for digest in [[1; 32], [2; 32]] {
        assert!(store.record_jti(&digest, until).await.unwrap());
        assert!(!store.record_jti(&digest, until).await.unwrap());
    }
    store.forget_jti(&[1; 32]).await.unwrap();
    assert!(store.record_jti(&[1; 32], until).await.unwrap());
    assert!(!store.record_jti(&[2; 32], until).await.unwrap(), "the other one is still recorded");
}

async fn of_many_who_record_a_jti_at_once_one_succeeds(store: &dyn Store) {
    let recorded = (0..50).map(|_| store.record_jti(&[1; 32], at(4_000_000_000)));
    let recorded = futures_util::future::join_all(recorded).await;
    assert_eq!(recorded.into_iter().filter(|recorded| *recorded.as_ref().unwrap()).count(), 1);
}

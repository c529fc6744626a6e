//! What every store has to do when a secret is rotated, and what becomes of sessions then.

use std::collections::BTreeMap;

use crate::{
    crypto::KeyId,
    session::{
        store::{
            Row, Store, Touch,
            lease::{Holder, Lease},
            memory::Memory,
            postgres::Postgres,
            rotation::{Bequest, Reseal, Rotation as _},
            sqlite::Sqlite,
        },
        tests::{
            contract::{at, every_store, row},
            doubles::expiring_session,
            postgres::Place,
            *,
        },
    },
};

const OLD: KeyId = *b"old!";
const NEW: KeyId = *b"new!";

every_store!(
    rows_are_counted_by_the_secret_that_sealed_them,
    rows_of_a_secret_are_found_in_the_order_of_their_keys,
    a_row_is_sealed_anew_and_nothing_else_of_it_changes,
    a_row_that_is_not_as_it_was_read_is_left_alone,
    what_a_secret_leaves_is_kept_while_there_are_sessions_from_its_time,
);

fn sealed(number: u8, secret: KeyId) -> Row {
    Row { sealed: [&secret[..], &[number; 500]].concat(), ..row(number, 10, 20) }
}

fn reseal(number: u8, generation: u64) -> Reseal {
    Reseal { key: SessionId([number; 32]), generation, from: OLD, sealed: [&NEW[..], b"anew"].concat() }
}

async fn rows_are_counted_by_the_secret_that_sealed_them(store: &dyn Store) {
    assert_eq!(store.count_others(NEW).await.unwrap(), []);
    for (number, secret) in [(1, OLD), (2, NEW), (3, OLD), (4, *b"a..."), (5, [0; 4]), (6, [255; 4]), (7, NEW)] {
        store.insert(sealed(number, secret)).await.unwrap();
    }
    let counts: BTreeMap<_, _> = store.count_others(NEW).await.unwrap().into_iter().collect();
    assert_eq!(counts, BTreeMap::from([(OLD, 2), (*b"a...", 1), ([0; 4], 1), ([255; 4], 1)]));
    let counts: BTreeMap<_, _> = store.count_others([255; 4]).await.unwrap().into_iter().collect();
    assert_eq!(counts, BTreeMap::from([(OLD, 2), (NEW, 2), (*b"a...", 1), ([0; 4], 1)]));
}

async fn rows_of_a_secret_are_found_in_the_order_of_their_keys(store: &dyn Store) {
    for (number, secret) in [(9, OLD), (3, OLD), (7, NEW), (5, OLD), (1, OLD)] {
        store.insert(sealed(number, secret)).await.unwrap();
    }
    for (from, limit, expected) in [(0, 9, [1, 3, 5, 9].as_slice()), (3, 2, &[3, 5]), (10, 9, &[])] {
        let rows = store.sealed_by(OLD, &SessionId([from; 32]), limit).await.unwrap();
        assert_eq!(rows, expected.iter().map(|number| sealed(*number, OLD)).collect::<Vec<_>>());
    }
    assert_eq!(store.sealed_by(*b"none", &SessionId::FIRST, 9).await.unwrap(), []);
}

async fn a_row_is_sealed_anew_and_nothing_else_of_it_changes(store: &dyn Store) {
    store.insert(Row { generation: 7, ..sealed(1, OLD) }).await.unwrap();
    let lease = Lease { key: SessionId([1; 32]), generation: 7, holder: Holder([1; 16]) };
    assert!(store.claim(&lease, MINUTE).await.unwrap());
    store.touch(&[Touch { key: SessionId([1; 32]), last_seen: at(30) }]).await.unwrap();
    assert_eq!(store.reseal(&[reseal(1, 7), reseal(2, 7)]).await.unwrap(), 1);
    let expected = Row { generation: 7, sealed: reseal(1, 7).sealed, last_seen: at(30), ..row(1, 10, 20) };
    assert_eq!(store.load(&SessionId([1; 32])).await.unwrap(), Some(expected.clone()));
    let other = Lease { holder: Holder([2; 16]), ..lease };
    assert!(!store.claim(&other, MINUTE).await.unwrap(), "whoever renews it holds its lease still");
    assert!(store.replace(&Row { generation: 8, ..expected }).await.unwrap(), "and writes what the provider gave");
    assert_eq!(store.reseal(&[]).await.unwrap(), 0);
}

async fn a_row_that_is_not_as_it_was_read_is_left_alone(store: &dyn Store) {
    let rows = [sealed(1, OLD), Row { generation: 2, ..sealed(2, OLD) }, sealed(3, NEW)];
    for row in &rows {
        store.insert(row.clone()).await.unwrap();
    }
    // Ended, renewed, sealed anew by another replica: meanwhile.
    store.delete(&Selection::from(SessionId([1; 32])), 1).await.unwrap();
    assert_eq!(store.reseal(&[1, 2, 3].map(|number| reseal(number, 1))).await.unwrap(), 0);
    assert_eq!(store.load(&SessionId([1; 32])).await.unwrap(), None);
    for row in &rows[1..] {
        assert_eq!(store.load(&row.key).await.unwrap().as_ref(), Some(row));
    }
}

async fn what_a_secret_leaves_is_kept_while_there_are_sessions_from_its_time(store: &dyn Store) {
    let left = |retired| Bequest { secret: OLD, retired: at(retired), sealed: vec![9; 80] };
    store.bequeath(&Bequest { sealed: vec![1], ..left(50) }).await.unwrap();
    store.bequeath(&left(100)).await.unwrap();
    store.bequeath(&Bequest { secret: NEW, ..left(300) }).await.unwrap();
    let kept = async || {
        let mut kept = store.bequests().await.unwrap();
        kept.sort_unstable_by_key(|bequest| bequest.secret);
        kept
    };
    assert_eq!(kept().await, [Bequest { secret: NEW, ..left(300) }, left(100)]);
    store.insert(row(1, 100, 100)).await.unwrap();
    store.insert(row(2, 200, 200)).await.unwrap();
    store.forget_bequests(at(300)).await.unwrap();
    assert_eq!(kept().await.len(), 2);
    store.delete(&Selection::from(SessionId([1; 32])), 1).await.unwrap();
    store.forget_bequests(at(100)).await.unwrap();
    assert_eq!(kept().await.len(), 2, "it may be needed yet by replicas whose clocks are behind");
    store.forget_bequests(at(300)).await.unwrap();
    assert_eq!(kept().await, [Bequest { secret: NEW, ..left(300) }]);
    store.delete(&Selection::Everything, 9).await.unwrap();
    store.forget_bequests(at(301)).await.unwrap();
    assert_eq!(kept().await, []);
}

async fn turns(replica: &TestReplica, many: usize) {
    let mut walk = replica.sessions.upkeep().reencryption;
    walk.begin().await;
    for _ in 0..many {
        walk.advance().await;
    }
}

fn left(replica: &TestReplica) -> (String, String) {
    let of = |secret| replica.text(&format!(r#"doorward_session_rows_to_reseal{{secret="{secret}"}}"#));
    (of("older"), of("unknown"))
}

fn is(older: &str, unknown: &str) -> (String, String) {
    (older.to_owned(), unknown.to_owned())
}

#[tokio::test]
async fn after_a_rotation_a_secret_can_be_dropped_and_nobody_is_signed_out() {
    let old = TestReplica::new();
    let mut cookies = Vec::new();
    for number in 0..1_000 {
        cookies.push(old.sessions.create(new_session(&format!("person {number}"))).await.unwrap());
    }
    let both = old.restarted_with(&["new", "old"]);
    assert_eq!(left(&both), is("NaN", "NaN"), "what has not been counted is not told");
    turns(&both, 0).await;
    assert_eq!(left(&both), is("1000", "0"));
    let late = both.sessions.create(new_session("late")).await.unwrap();
    turns(&both, 6).await;
    assert_eq!(left(&both), is("0", "0"));
    let new = both.restarted_with(&["new"]);
    assert!(new.find(&cookies[0]).await.is_err(), "nobody has said yet whose it is");
    assert!(new.sessions.revoke(sent(&cookies[0]), Logout::User).await.is_err(), "nor that there is nothing to end");
    assert!(new.sessions.may_be_ours(sent(&cookies[0])));
    assert_eq!(new.store.loads(), 0, "that costs no look-up");
    new.sessions.retired_keys().load().await;
    for cookie in cookies.iter().chain([&late]) {
        expect_live(new.find(cookie).await);
    }
    assert!(matches!(new.find(&"A".repeat(64)).await, Ok(LookupOutcome::NotOurs)));
}

#[tokio::test]
async fn a_dropped_secret_s_cookies_are_known_after_the_next_rotation_too() {
    let first = TestReplica::new();
    let cookie = first.sessions.create(new_session("ann")).await.unwrap();
    let mut replica = first;
    for secrets in [["new", "old"].as_slice(), &["new"], &["newer", "new"], &["newer"]] {
        replica = replica.restarted_with(secrets);
        turns(&replica, 3).await;
        expect_live(replica.find(&cookie).await);
        assert_eq!(left(&replica), is("0", "0"), "{secrets:?}");
    }
    replica.advance(28 * DAY);
    replica.sessions.upkeep().purge.run_batch().await;
    turns(&replica, 0).await;
    assert_eq!(replica.store.bequests().await.unwrap(), [], "there is nobody left who needs them");
}

#[tokio::test]
async fn a_secret_that_is_dropped_too_early_is_told_and_its_return_mends_all() {
    let old = TestReplica::new();
    let cookie = old.sessions.create(new_session("ann")).await.unwrap();
    let new = old.restarted_with(&["new"]);
    turns(&new, 3).await;
    assert_eq!(left(&new), is("0", "1"));
    assert!(matches!(new.find(&cookie).await, Ok(LookupOutcome::NotOurs)));
    let both = new.restarted_with(&["new", "old"]);
    expect_live(both.find(&cookie).await);
    turns(&both, 3).await;
    assert_eq!(left(&both), is("0", "0"));
}

#[tokio::test]
async fn what_is_in_use_is_sealed_anew_first() {
    let old = TestReplica::new();
    let cookie = old.sessions.create(new_session("ann")).await.unwrap();
    let both = old.restarted_with(&["new", "old"]);
    expect_live(both.find(&cookie).await);
    let mut walk = both.sessions.upkeep().reencryption;
    walk.advance().await;
    let sealed = both.store.load(&Token::parse(cookie.as_bytes()).unwrap().id()).await.unwrap().unwrap().sealed;
    assert_eq!(crate::crypto::sealed_by(&sealed), Some(both.sessions.settings.keyring().newest()));
}

#[tokio::test]
async fn a_renewal_seals_with_the_newest_secret_and_one_under_way_is_not_disturbed() {
    let old = TestReplica::new();
    let cookie = old.sessions.create(expiring_session(&old, "ann", 5 * MINUTE)).await.unwrap();
    let both = old.restarted_with(&["new", "old"]);
    let session = expect_live(both.find(&cookie).await);
    let LeaseOutcome::Acquired(permit) = both.sessions.acquire_lease(&session, MINUTE).await.unwrap() else {
        panic!("not ours")
    };
    turns(&both, 3).await;
    let renewed = both.sessions.renew(permit, None, new_session("ann").tokens, None);
    assert_eq!(both.sessions.write_renewed(&renewed).await.unwrap().unwrap().generation(), 2);
    expect_live(both.restarted_with(&["new", "old"]).find(&cookie).await);
    assert_eq!(left(&both), is("0", "0"));
}

#[tokio::test]
async fn what_cannot_be_opened_or_was_written_by_a_newer_version_holds_up_nothing() {
    let old = TestReplica::new();
    let keyring = doubles::keyring();
    let purpose = crate::crypto::Purpose::SessionRow;
    let token = Token::fresh(&keyring, HOST);
    let newer = keyring.seal(purpose, &token.id().0, &[2, b'?']);
    let record = Record::new(new_session("ann"), old.sessions.clock.now());
    old.store.insert(Row { sealed: newer, ..record.seal(&keyring, token.id()) }).await.unwrap();
    // Rows that were moved to keys that come first.
    for number in 0..250_u8 {
        old.store
            .insert(Row {
                key: SessionId([0, number].repeat(16).try_into().unwrap()),
                ..record.seal(&keyring, token.id())
            })
            .await
            .unwrap();
    }
    let both = old.restarted_with(&["new", "old"]);
    turns(&both, 3).await;
    assert_eq!(left(&both), is("250", "0"));
    let row = both.store.load(&token.id()).await.unwrap().unwrap();
    let plain = both.sessions.settings.keyring().open(purpose, &row.key.0, &row.sealed);
    assert_eq!(plain.as_deref(), Some([2, b'?'].as_slice()));
    assert_eq!(crate::crypto::sealed_by(&row.sealed), Some(both.sessions.settings.keyring().newest()));
}

#[tokio::test]
async fn while_the_store_is_away_nothing_is_sealed_and_nothing_is_told() {
    let old = TestReplica::new();
    old.sessions.create(new_session("ann")).await.unwrap();
    let both = old.restarted_with(&["new", "old"]);
    both.store.set(Mode::Failing);
    turns(&both, 3).await;
    assert_eq!(left(&both), is("NaN", "NaN"));
    both.store.set(Mode::Available);
    let _ = both.sessions.store.ping().await;
    turns(&both, 3).await;
    assert_eq!(left(&both), is("0", "0"));
}

#[tokio::test]
async fn a_reload_rotates_as_a_restart_does() {
    let replica = TestReplica::new();
    let (ann, bob) = (
        replica.sessions.create(new_session("ann")).await.unwrap(),
        replica.sessions.create(new_session("bob")).await.unwrap(),
    );
    turns(&replica, 1).await;
    assert_eq!(left(&replica), is("0", "0"));
    replica.change(&doubles::settings(), &["new", "old"]);
    assert_eq!(left(&replica), is("NaN", "NaN"), "what was counted was counted for another list");
    turns(&replica, 2).await;
    assert_eq!(left(&replica), is("0", "0"));
    replica.change(&doubles::settings(), &["new"]);
    assert!(replica.get_cached(&ann).is_some(), "without asking the store");
    expect_live(replica.find(&bob).await);
    for replica in [&replica, &replica.restarted_with(&["new"])] {
        turns(replica, 1).await;
        expect_live(replica.find(&ann).await);
    }
}

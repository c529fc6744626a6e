//! Key rotation: the contract of [`KeyRotation`](crate::session::store::rotation::KeyRotation), run against every
//! store, and sessions across a rotation.

use std::collections::BTreeMap;

use crate::{
    crypto::KeyId,
    session::{
        store::{
            Row, Store, Touch,
            lease::{Lease, LeaseHolder},
            memory::MemoryStore,
            postgres::PostgresStore,
            rotation::{KeyRotation as _, ReencryptedRow, RetiredCookieKey},
            sqlite::SqliteStore,
        },
        tests::{
            contract::{at, every_store, row},
            doubles::expiring_session,
            postgres::TestDatabase,
            *,
        },
    },
};

const OLD: KeyId = *b"old!";
const NEW: KeyId = *b"new!";

every_store!(
    rows_are_counted_by_the_secret_that_sealed_them,
    rows_of_a_secret_are_found_in_the_order_of_their_keys,
    a_row_is_reencrypted_and_nothing_else_of_it_changes,
    a_row_that_is_not_as_it_was_read_is_left_alone,
    a_retired_cookie_key_is_kept_while_there_are_sessions_from_its_time,
);

fn sealed(number: u8, secret: KeyId) -> Row {
    Row { sealed: [&secret[..], &[number; 500]].concat(), ..row(number, 10, 20) }
}

fn reencrypted(number: u8, generation: u64) -> ReencryptedRow {
    ReencryptedRow { key: SessionId([number; 32]), generation, from: OLD, sealed: [&NEW[..], b"anew"].concat() }
}

async fn rows_are_counted_by_the_secret_that_sealed_them(store: &dyn Store) {
    assert_eq!(store.count_rows_by_other_secrets(NEW).await.unwrap(), []);
    for (number, secret) in [(1, OLD), (2, NEW), (3, OLD), (4, *b"a..."), (5, [0; 4]), (6, [255; 4]), (7, NEW)] {
        store.insert(sealed(number, secret)).await.unwrap();
    }
    let counts: BTreeMap<_, _> = store.count_rows_by_other_secrets(NEW).await.unwrap().into_iter().collect();
    assert_eq!(counts, BTreeMap::from([(OLD, 2), (*b"a...", 1), ([0; 4], 1), ([255; 4], 1)]));
    let counts: BTreeMap<_, _> = store.count_rows_by_other_secrets([255; 4]).await.unwrap().into_iter().collect();
    assert_eq!(counts, BTreeMap::from([(OLD, 2), (NEW, 2), (*b"a...", 1), ([0; 4], 1)]));
}

async fn rows_of_a_secret_are_found_in_the_order_of_their_keys(store: &dyn Store) {
    for (number, secret) in [(9, OLD), (3, OLD), (7, NEW), (5, OLD), (1, OLD)] {
        store.insert(sealed(number, secret)).await.unwrap();
    }
    for (from, limit, expected) in [(0, 9, [1, 3, 5, 9].as_slice()), (3, 2, &[3, 5]), (10, 9, &[])] {
        let rows = store.rows_sealed_by(OLD, &SessionId([from; 32]), limit).await.unwrap();
        assert_eq!(rows, expected.iter().map(|number| sealed(*number, OLD)).collect::<Vec<_>>());
    }
    assert_eq!(store.rows_sealed_by(*b"none", &SessionId::FIRST, 9).await.unwrap(), []);
}

async fn a_row_is_reencrypted_and_nothing_else_of_it_changes(store: &dyn Store) {
    store.insert(Row { generation: 7, ..sealed(1, OLD) }).await.unwrap();
    let lease = Lease { key: SessionId([1; 32]), generation: 7, holder: LeaseHolder([1; 16]) };
    assert!(store.acquire_lease(&lease, MINUTE).await.unwrap());
    store.touch(&[Touch { key: SessionId([1; 32]), last_seen: at(30) }]).await.unwrap();
    assert_eq!(store.reencrypt(&[reencrypted(1, 7), reencrypted(2, 7)]).await.unwrap(), 1);
    let expected = Row { generation: 7, sealed: reencrypted(1, 7).sealed, last_seen: at(30), ..row(1, 10, 20) };
    assert_eq!(store.load(&SessionId([1; 32])).await.unwrap(), Some(expected.clone()));
    let other = Lease { holder: LeaseHolder([2; 16]), ..lease };
    assert!(!store.acquire_lease(&other, MINUTE).await.unwrap(), "its holder has the lease still");
    assert!(store.replace(&Row { generation: 8, ..expected }).await.unwrap(), "and writes what the provider gave");
    assert_eq!(store.reencrypt(&[]).await.unwrap(), 0);
}

async fn a_row_that_is_not_as_it_was_read_is_left_alone(store: &dyn Store) {
    let rows = [sealed(1, OLD), Row { generation: 2, ..sealed(2, OLD) }, sealed(3, NEW)];
    for row in &rows {
        store.insert(row.clone()).await.unwrap();
    }
    // Ended, renewed and reencrypted by another replica, meanwhile.
    store.delete(&Selection::from(SessionId([1; 32])), 1).await.unwrap();
    assert_eq!(store.reencrypt(&[1, 2, 3].map(|number| reencrypted(number, 1))).await.unwrap(), 0);
    assert_eq!(store.load(&SessionId([1; 32])).await.unwrap(), None);
    for row in &rows[1..] {
        assert_eq!(store.load(&row.key).await.unwrap().as_ref(), Some(row));
    }
}

async fn a_retired_cookie_key_is_kept_while_there_are_sessions_from_its_time(store: &dyn Store) {
    let retired_key = |retired| RetiredCookieKey { secret: OLD, retired: at(retired), sealed: vec![9; 80] };
    store.save_retired_key(&RetiredCookieKey { sealed: vec![1], ..retired_key(50) }).await.unwrap();
    store.save_retired_key(&retired_key(100)).await.unwrap();
    store.save_retired_key(&RetiredCookieKey { secret: NEW, ..retired_key(300) }).await.unwrap();
    let kept = async || {
        let mut kept = store.load_retired_keys().await.unwrap();
        kept.sort_unstable_by_key(|retired_key| retired_key.secret);
        kept
    };
    assert_eq!(kept().await, [RetiredCookieKey { secret: NEW, ..retired_key(300) }, retired_key(100)]);
    store.insert(row(1, 100, 100)).await.unwrap();
    store.insert(row(2, 200, 200)).await.unwrap();
    store.delete_retired_keys(at(300)).await.unwrap();
    assert_eq!(kept().await.len(), 2);
    store.delete(&Selection::from(SessionId([1; 32])), 1).await.unwrap();
    store.delete_retired_keys(at(100)).await.unwrap();
    assert_eq!(kept().await.len(), 2, "it may be needed yet by replicas whose clocks are behind");
    store.delete_retired_keys(at(300)).await.unwrap();
    assert_eq!(kept().await, [RetiredCookieKey { secret: NEW, ..retired_key(300) }]);
    store.delete(&Selection::Everything, 9).await.unwrap();
    store.delete_retired_keys(at(301)).await.unwrap();
    assert_eq!(kept().await, []);
}

async fn advance(replica: &TestReplica, many: usize) {
    let mut reencryption = replica.sessions.upkeep().reencryption;
    reencryption.begin().await;
    for _ in 0..many {
        reencryption.advance().await;
    }
}

fn rows_to_reencrypt(replica: &TestReplica) -> (String, String) {
    let of = |secret| replica.text(&format!(r#"doorward_session_rows_to_reseal{{secret="{secret}"}}"#));
    (of("older"), of("unknown"))
}

fn counts(older: &str, unknown: &str) -> (String, String) {
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
    assert_eq!(rows_to_reencrypt(&both), counts("NaN", "NaN"), "what has not been counted is not reported");
    advance(&both, 0).await;
    assert_eq!(rows_to_reencrypt(&both), counts("1000", "0"));
    let late = both.sessions.create(new_session("late")).await.unwrap();
    advance(&both, 6).await;
    assert_eq!(rows_to_reencrypt(&both), counts("0", "0"));
    let new = both.restarted_with(&["new"]);
    assert!(new.find(&cookies[0]).await.is_err(), "it is not known yet whether a secret of ours made it");
    assert!(
        new.sessions.revoke(sent(&cookies[0]), LogoutKind::User).await.is_err(),
        "nor that there is nothing to end"
    );
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
        advance(&replica, 3).await;
        expect_live(replica.find(&cookie).await);
        assert_eq!(rows_to_reencrypt(&replica), counts("0", "0"), "{secrets:?}");
    }
    replica.advance(28 * DAY);
    replica.sessions.upkeep().purge.run_batch().await;
    advance(&replica, 0).await;
    assert_eq!(replica.store.load_retired_keys().await.unwrap(), [], "there is nobody left who needs them");
}

#[tokio::test]
async fn a_secret_that_is_dropped_too_early_is_reported_and_its_return_mends_all() {
    let old = TestReplica::new();
    let cookie = old.sessions.create(new_session("ann")).await.unwrap();
    let new = old.restarted_with(&["new"]);
    advance(&new, 3).await;
    assert_eq!(rows_to_reencrypt(&new), counts("0", "1"));
    assert!(matches!(new.find(&cookie).await, Ok(LookupOutcome::NotOurs)));
    let both = new.restarted_with(&["new", "old"]);
    expect_live(both.find(&cookie).await);
    advance(&both, 3).await;
    assert_eq!(rows_to_reencrypt(&both), counts("0", "0"));
}

#[tokio::test]
async fn what_is_in_use_is_reencrypted_first() {
    let old = TestReplica::new();
    let cookie = old.sessions.create(new_session("ann")).await.unwrap();
    let both = old.restarted_with(&["new", "old"]);
    expect_live(both.find(&cookie).await);
    let mut reencryption = both.sessions.upkeep().reencryption;
    reencryption.advance().await;
    let sealed = both.store.load(&Token::parse(cookie.as_bytes()).unwrap().id()).await.unwrap().unwrap().sealed;
    assert_eq!(crate::crypto::sealed_by(&sealed), Some(both.sessions.settings.keyring().newest()));
}

#[tokio::test]
async fn a_renewal_seals_with_the_newest_secret_and_one_under_way_is_not_disturbed() {
    let old = TestReplica::new();
    let cookie = old.sessions.create(expiring_session(&old, "ann", 5 * MINUTE)).await.unwrap();
    let both = old.restarted_with(&["new", "old"]);
    let session = expect_live(both.find(&cookie).await);
    let LeaseOutcome::Acquired(permit) = both.sessions.renewal().acquire_lease(&session, MINUTE).await.unwrap() else {
        panic!("not ours")
    };
    advance(&both, 3).await;
    let renewed = both.sessions.renewal().renew(permit, renewed_grant(new_session("ann").tokens));
    assert_eq!(both.sessions.renewal().write(&renewed).await.unwrap().unwrap().generation(), 2);
    expect_live(both.restarted_with(&["new", "old"]).find(&cookie).await);
    assert_eq!(rows_to_reencrypt(&both), counts("0", "0"));
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
    advance(&both, 3).await;
    assert_eq!(rows_to_reencrypt(&both), counts("250", "0"));
    let row = both.store.load(&token.id()).await.unwrap().unwrap();
    let plain = both.sessions.settings.keyring().open(purpose, &row.key.0, &row.sealed);
    assert_eq!(plain.as_deref(), Some([2, b'?'].as_slice()));
    assert_eq!(crate::crypto::sealed_by(&row.sealed), Some(both.sessions.settings.keyring().newest()));
}

#[tokio::test]
async fn while_the_store_is_unavailable_nothing_is_reencrypted_and_nothing_is_reported() {
    let old = TestReplica::new();
    old.sessions.create(new_session("ann")).await.unwrap();
    let both = old.restarted_with(&["new", "old"]);
    both.store.set(Mode::Failing);
    advance(&both, 3).await;
    assert_eq!(rows_to_reencrypt(&both), counts("NaN", "NaN"));
    both.store.set(Mode::Available);
    let _ = both.sessions.store.ping().await;
    advance(&both, 3).await;
    assert_eq!(rows_to_reencrypt(&both), counts("0", "0"));
}

#[tokio::test]
async fn a_reload_rotates_as_a_restart_does() {
    let replica = TestReplica::new();
    let (ann, bob) = (
        replica.sessions.create(new_session("ann")).await.unwrap(),
        replica.sessions.create(new_session("bob")).await.unwrap(),
    );
    advance(&replica, 1).await;
    assert_eq!(rows_to_reencrypt(&replica), counts("0", "0"));
    replica.change(&doubles::settings(), &["new", "old"]);
    assert_eq!(rows_to_reencrypt(&replica), counts("NaN", "NaN"), "what was counted was counted for another list");
    advance(&replica, 2).await;
    assert_eq!(rows_to_reencrypt(&replica), counts("0", "0"));
    replica.change(&doubles::settings(), &["new"]);
    assert!(replica.get_cached(&ann).is_some(), "without asking the store");
    expect_live(replica.find(&bob).await);
    for replica in [&replica, &replica.restarted_with(&["new"])] {
        advance(replica, 1).await;
        expect_live(replica.find(&ann).await);
    }
}

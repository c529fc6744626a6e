//! Service tokens: the contract of [`ServiceTokenRows`], run against every store, and tokens as requests bring them.

use crate::{
    crypto::KeyId,
    session::{
        service_tokens::{CachedServiceToken, ServiceTokenOutcome, admin::NewServiceToken, upkeep::LastUses},
        store::{
            Invalidations as _, Store, Touch,
            memory::MemoryStore,
            postgres::PostgresStore,
            rotation::RetiredCookieKey,
            service_tokens::{ReencryptedToken, ServiceTokenRow, ServiceTokenRows as _, ServiceTokenSelection},
            sqlite::SqliteStore,
        },
        tests::{
            contract::{at, every_store},
            postgres::TestDatabase,
            *,
        },
    },
};

const OLD: KeyId = *b"old!";
const NEW: KeyId = *b"new!";
const SECOND: Duration = Duration::from_secs(1);

every_store!(
    a_token_is_read_as_it_was_written_and_its_name_is_taken,
    a_name_is_free_again_once_its_token_is_revoked,
    a_use_moves_forward_only_and_makes_nothing,
    pages_follow_the_keys,
    a_token_is_reencrypted_only_as_it_was_read,
    a_retired_cookie_key_is_kept_while_there_are_tokens_from_its_time,
);

fn row(number: u8, secret: KeyId) -> ServiceTokenRow {
    ServiceTokenRow {
        key: SessionId([number; 32]),
        name: format!("token-{number}"),
        created: at(10 * u64::from(number)),
        last_used: None,
        sealed: [&secret[..], &[number; 200]].concat(),
    }
}

async fn a_token_is_read_as_it_was_written_and_its_name_is_taken(store: &dyn Store) {
    assert!(store.insert_token(&row(1, OLD)).await.unwrap());
    assert!(!store.insert_token(&ServiceTokenRow { name: row(1, OLD).name, ..row(2, OLD) }).await.unwrap());
    assert_eq!(store.load_token(&SessionId([1; 32])).await.unwrap(), Some(row(1, OLD)));
    assert_eq!(store.load_token(&SessionId([2; 32])).await.unwrap(), None);
    let keys = [1, 2].map(|number| SessionId([number; 32]));
    assert_eq!(store.existing_tokens(&keys).await.unwrap(), [SessionId([1; 32])]);
    assert_eq!(store.existing_tokens(&[]).await.unwrap(), []);
}

async fn a_name_is_free_again_once_its_token_is_revoked(store: &dyn Store) {
    for number in 1..=4 {
        assert!(store.insert_token(&row(number, OLD)).await.unwrap());
    }
    let by_name = ServiceTokenSelection::Name("token-1".to_owned());
    assert_eq!(store.delete_tokens(&by_name).await.unwrap(), 1);
    assert_eq!(store.delete_tokens(&by_name).await.unwrap(), 0);
    assert!(store.insert_token(&ServiceTokenRow { name: row(1, OLD).name, ..row(5, OLD) }).await.unwrap());
    assert_eq!(store.delete_tokens(&ServiceTokenSelection::Everything).await.unwrap(), 4);
    assert_eq!(store.page_tokens(&SessionId::FIRST, 9).await.unwrap(), []);
}

async fn a_use_moves_forward_only_and_makes_nothing(store: &dyn Store) {
    store.insert_token(&row(1, OLD)).await.unwrap();
    let touch = |number, seconds| Touch { key: SessionId([number; 32]), last_seen: at(seconds) };
    store.touch_tokens(&[touch(1, 50), touch(2, 50)]).await.unwrap();
    store.touch_tokens(&[touch(1, 40)]).await.unwrap();
    let used = ServiceTokenRow { last_used: Some(at(50)), ..row(1, OLD) };
    assert_eq!(store.page_tokens(&SessionId::FIRST, 9).await.unwrap(), [used]);
}

async fn pages_follow_the_keys(store: &dyn Store) {
    for number in [9, 3, 7, 1] {
        store.insert_token(&row(number, OLD)).await.unwrap();
    }
    for (from, limit, expected) in [(0, 9, [1, 3, 7, 9].as_slice()), (3, 2, &[3, 7]), (10, 9, &[])] {
        let rows = store.page_tokens(&SessionId([from; 32]), limit).await.unwrap();
        assert_eq!(rows, expected.iter().map(|number| row(*number, OLD)).collect::<Vec<_>>());
    }
}

async fn a_token_is_reencrypted_only_as_it_was_read(store: &dyn Store) {
    for (number, secret) in [(1, OLD), (2, OLD), (3, NEW)] {
        store.insert_token(&row(number, secret)).await.unwrap();
    }
    assert_eq!(store.count_tokens_by_other_secrets(NEW).await.unwrap(), [(OLD, 2)]);
    let anew = |number, from| ReencryptedToken {
        key: SessionId([number; 32]),
        from: row(number, from).sealed,
        sealed: row(number, NEW).sealed,
    };
    store.reencrypt_tokens(&[anew(1, OLD), anew(2, *b"else"), anew(4, OLD)]).await.unwrap();
    let expected = [row(1, NEW), row(2, OLD), row(3, NEW)];
    assert_eq!(store.page_tokens(&SessionId::FIRST, 9).await.unwrap(), expected);
    assert_eq!(store.count_tokens_by_other_secrets(NEW).await.unwrap(), [(OLD, 1)]);
}

async fn a_retired_cookie_key_is_kept_while_there_are_tokens_from_its_time(store: &dyn Store) {
    let retired_key = RetiredCookieKey { secret: OLD, retired: at(100), sealed: vec![9; 80] };
    store.save_retired_key(&retired_key).await.unwrap();
    store.insert_token(&ServiceTokenRow { created: at(100), ..row(1, NEW) }).await.unwrap();
    store.insert_token(&ServiceTokenRow { created: at(101), ..row(2, NEW) }).await.unwrap();
    store.delete_retired_keys(at(1_000)).await.unwrap();
    assert_eq!(store.load_retired_keys().await.unwrap(), std::slice::from_ref(&retired_key));
    store.delete_tokens(&ServiceTokenSelection::Name("token-1".to_owned())).await.unwrap();
    store.delete_retired_keys(at(1_000)).await.unwrap();
    assert_eq!(store.load_retired_keys().await.unwrap(), []);
}

/// Makes a token and returns its text.
async fn made(replica: &TestReplica, name: &str, lifetime: Option<Duration>) -> String {
    let new = NewServiceToken {
        name: name.to_owned(),
        apps: vec!["app".to_owned()],
        groups: vec!["family".to_owned()],
        lifetime,
    };
    replica.token_admin().create(new).await.unwrap()
}

async fn find(replica: &TestReplica, token: &str) -> Result<ServiceTokenOutcome, Unavailable> {
    ServiceTokens::of(&replica.sessions).find(token.as_bytes()).await
}

fn upkeep(replica: &TestReplica) -> ServiceTokenUpkeep<'_> {
    ServiceTokenUpkeep(ServiceTokens::of(&replica.sessions))
}

fn get_cached(replica: &TestReplica, token: &str) -> Option<Arc<CachedServiceToken>> {
    ServiceTokens::of(&replica.sessions).get_cached(token.as_bytes(), |token, _| Some(Arc::clone(token)))
}

fn live(found: Result<ServiceTokenOutcome, Unavailable>) -> Arc<CachedServiceToken> {
    match found {
        Ok(ServiceTokenOutcome::Live(token)) => token,
        other => panic!("not live: {other:?}"),
    }
}

fn revoked(found: &Result<ServiceTokenOutcome, Unavailable>) -> bool {
    matches!(found, Ok(ServiceTokenOutcome::Revoked))
}

async fn last_use(replica: &TestReplica) -> Option<Timestamp> {
    replica.token_admin().list().await.unwrap()[0].last_used
}

/// Two replicas over one store, and a token that the second one has in memory.
async fn two() -> (TestReplica, TestReplica, String) {
    let first = TestReplica::with_short_deadline();
    first.store.share();
    let here = first.restarted();
    let token = made(&here, "phone", None).await;
    let there = here.restarted();
    live(find(&there, &token).await);
    there.store.reset_counts();
    (here, there, token)
}

#[tokio::test]
async fn a_token_is_read_once_and_then_answered_from_memory() {
    let replica = TestReplica::new();
    let token = made(&replica, "phone", None).await;
    assert!(get_cached(&replica, &token).is_none());
    let found = live(find(&replica, &token).await);
    assert_eq!((found.identity().user(), found.identity().subject()), ("token:phone", "token:phone"));
    assert!(found.is_for("app") && !found.is_for("App") && !found.is_for("other"));
    assert!(found.identity().is_in_group("family") && found.identity().email().is_empty());
    for _ in 0..3 {
        assert!(Arc::ptr_eq(&get_cached(&replica, &token).unwrap(), &found));
        live(find(&replica, &token).await);
    }
    assert_eq!(replica.store.loads(), 1);
    let printed = format!("{found:?} {:?}", replica.token_admin().list().await.unwrap());
    assert!(printed.contains("token:phone") && !printed.contains(&token[4..20]), "{printed}");
}

#[tokio::test]
async fn a_made_up_token_costs_no_call_to_the_store() {
    let replica = TestReplica::new();
    let token = made(&replica, "phone", None).await;
    let cookie = replica.sessions.create(new_session("ann")).await.unwrap();
    let strange = TestReplica::new().restarted_with(&["strange"]);
    let other_end = if token.ends_with('A') { 'B' } else { 'A' };
    let made_up = [
        "dwt_".to_owned(),
        "x".repeat(10_000),
        format!("dwt_{}", "A".repeat(64)),
        format!("{}{other_end}", &token[..67]),
        token.replace("dwt_", "DWT_"),
        format!("dwt_{cookie}"),
        format!("dwt_{}", Token::fresh(&strange.sessions.settings.keyring(), "service token").encode()),
    ];
    for made_up in &made_up {
        assert!(get_cached(&replica, made_up).is_none());
        assert!(matches!(find(&replica, made_up).await, Ok(ServiceTokenOutcome::NotOurs)), "{made_up}");
    }
    assert_eq!((replica.store.loads(), replica.store.revalidated()), (0, 0));
    assert!(matches!(replica.find(&token[4..]).await, Ok(LookupOutcome::NotOurs)), "it is no cookie");
    assert_eq!(replica.store.loads(), 0);
}

#[tokio::test]
async fn a_token_revoked_elsewhere_is_refused_as_soon_as_that_is_heard() {
    let (here, there, token) = two().await;
    InvalidationReceiver::of(&there.sessions).connected();
    there.advance(4 * SECOND);
    live(find(&there, &token).await);
    here.token_admin().revoke("phone").await.unwrap();
    there.advance(HOUR);
    live(find(&there, &token).await);
    InvalidationReceiver::of(&there.sessions).notified(live(find(&there, &token).await).id());
    assert!(get_cached(&there, &token).is_none());
    assert!(revoked(&find(&there, &token).await));
    there.store.reset_counts();
    assert!(revoked(&find(&there, &token).await));
    assert_eq!((there.store.loads(), there.store.revalidated()), (0, 0), "it is remembered");
}

#[tokio::test]
async fn a_token_revoked_elsewhere_is_refused_within_five_seconds_where_nothing_is_heard() {
    let (here, there, token) = two().await;
    here.token_admin().revoke("phone").await.unwrap();
    for _ in 0..4 {
        live(find(&there, &token).await);
        there.advance(SECOND);
    }
    assert!(get_cached(&there, &token).is_none());
    assert!(revoked(&find(&there, &token).await));

    // In the background, where it is in use.
    let (here, there, token) = two().await;
    here.token_admin().revoke("phone").await.unwrap();
    there.advance(2 * SECOND);
    assert!(get_cached(&there, &token).is_some());
    upkeep(&there).revalidate_due().await;
    assert!(revoked(&find(&there, &token).await));
}

#[tokio::test]
async fn a_token_in_use_makes_no_request_wait() {
    let (_here, there, token) = two().await;
    for _ in 0..60 {
        there.advance(SECOND);
        there.store.set(Mode::Held);
        assert!(get_cached(&there, &token).is_some());
        there.store.set(Mode::Available);
        upkeep(&there).revalidate_due().await;
    }
    assert!(there.store.revalidated() <= 30, "{} confirmations in a minute", there.store.revalidated());
}

#[tokio::test]
async fn a_hint_alone_revokes_nothing_and_one_that_comes_during_a_load_is_not_lost() {
    let (here, there, token) = two().await;
    let id = live(find(&there, &token).await).id();
    InvalidationReceiver::of(&there.sessions).notified(id);
    live(find(&there, &token).await);

    let fresh = here.restarted();
    let (sessions, admin) = (Arc::downgrade(&fresh.sessions), here.store.clone());
    fresh.store.on_load(move || {
        InvalidationReceiver::of(&sessions.upgrade().unwrap()).notified(id);
        let _gone = futures_util::FutureExt::now_or_never(admin.delete_tokens(&ServiceTokenSelection::Everything));
    });
    assert!(revoked(&find(&fresh, &token).await));
}

#[tokio::test]
async fn it_expires_to_the_second_and_the_store_is_not_asked() {
    let replica = TestReplica::new();
    let token = made(&replica, "phone", Some(MINUTE)).await;
    live(find(&replica, &token).await);
    replica.advance(59 * SECOND);
    assert!(get_cached(&replica, &token).is_some());
    replica.advance(SECOND);
    replica.store.set(Mode::Failing);
    assert!(get_cached(&replica, &token).is_none());
    assert!(matches!(find(&replica, &token).await, Ok(ServiceTokenOutcome::Expired(_))));
    replica.store.set(Mode::Available);
    assert!(matches!(find(&replica.restarted(), &token).await, Ok(ServiceTokenOutcome::Expired(_))));
}

#[tokio::test]
async fn while_the_store_is_unavailable_known_tokens_go_on_for_the_grace_and_others_wait() {
    let (here, there, token) = two().await;
    let other = made(&here, "other", None).await;
    there.store.set(Mode::Failing);
    assert!(there.sessions.store.ping().await.is_err());
    assert!(find(&there, &other).await.is_err(), "known to be ours, and not whether it is revoked");
    assert!(matches!(find(&there, "dwt_x").await, Ok(ServiceTokenOutcome::NotOurs)));
    there.advance(HOUR);
    live(find(&there, &token).await);
    assert_eq!(there.metric("doorward_session_stale_served_total"), 1);
    there.advance(SECOND);
    assert!(find(&there, &token).await.is_err());
    there.store.set(Mode::Available);
    there.sessions.store.ping().await.unwrap();
    live(find(&there, &token).await);

    // A hint is no outage.
    there.store.set(Mode::Failing);
    InvalidationReceiver::of(&there.sessions).notified(live(find(&there, &token).await).id());
    assert!(find(&there, &token).await.is_err());
}

#[tokio::test]
async fn an_unused_token_stays_confirmed_for_most_of_the_grace() {
    let (_here, there, token) = two().await;
    there.advance(15 * MINUTE);
    upkeep(&there).revalidate_due().await;
    assert_eq!(there.store.revalidated(), 1);
    there.store.set(Mode::Failing);
    assert!(there.sessions.store.ping().await.is_err());
    there.advance(HOUR);
    live(find(&there, &token).await);
}

#[tokio::test]
async fn the_last_use_is_written_once_a_minute_and_when_the_process_stops() {
    let replica = TestReplica::new();
    let token = made(&replica, "phone", None).await;
    let tokens = upkeep(&replica);
    live(find(&replica, &token).await);
    let first = replica.sessions.clock.now();
    for _ in 0..6 {
        tokens.write_last_uses(LastUses::Due).await;
        assert_eq!(last_use(&replica).await, Some(first));
        replica.advance(9 * SECOND);
        assert!(get_cached(&replica, &token).is_some());
    }
    assert_eq!(replica.store.touches(), 1);
    replica.advance(9 * SECOND);
    tokens.write_last_uses(LastUses::Due).await;
    let second = first.plus(54 * SECOND);
    assert_eq!((last_use(&replica).await, replica.store.touches()), (Some(second), 2));
    assert!(get_cached(&replica, &token).is_some());
    replica.store.set(Mode::Failing);
    tokens.write_last_uses(LastUses::All).await;
    replica.store.set(Mode::Available);
    tokens.write_last_uses(LastUses::All).await;
    tokens.write_last_uses(LastUses::All).await;
    assert_eq!((last_use(&replica).await, replica.store.touches()), (Some(first.plus(63 * SECOND)), 3));
}

#[tokio::test]
async fn a_secret_is_rotated_and_dropped_and_its_tokens_go_on() {
    let old = TestReplica::new();
    let token = made(&old, "phone", None).await;
    let rows = |replica: &TestReplica| replica.text(r#"doorward_session_rows_to_reseal{secret="older"}"#);
    let both = old.restarted_with(&["new", "old"]);
    let mut upkeep = both.sessions.upkeep();
    upkeep.reencryption.begin().await;
    assert_eq!(rows(&both), "1", "the row of the token; the cookie key has been stored");
    live(find(&both, &token).await);
    upkeep.service_tokens.reencrypt().await;
    upkeep.reencryption.begin().await;
    assert_eq!(rows(&both), "0");

    both.advance(365 * DAY);
    for replica in [both.restarted_with(&["new"]), both.restarted_with(&["newest", "new"])] {
        assert!(find(&replica, &token).await.is_err(), "the keys of retired secrets are not loaded yet");
        replica.sessions.upkeep().reencryption.begin().await;
        live(find(&replica, &token).await);
    }
    let strange = both.restarted_with(&["strange"]);
    strange.sessions.upkeep().reencryption.begin().await;
    assert!(matches!(find(&strange, &token).await, Ok(ServiceTokenOutcome::NotOurs)));
}

#[tokio::test]
async fn a_reload_that_drops_its_secret_reaches_a_token_in_memory() {
    let replica = TestReplica::new();
    let token = made(&replica, "phone", None).await;
    live(find(&replica, &token).await);
    replica.change(&doubles::settings(), &["new", "old"]);
    live(find(&replica, &token).await);
    assert!(get_cached(&replica, &token).is_some());
    replica.change(&doubles::settings(), &["new"]);
    assert!(get_cached(&replica, &token).is_none());
    assert!(matches!(find(&replica, &token).await, Ok(ServiceTokenOutcome::NotOurs)));
}

#[tokio::test]
async fn a_row_that_was_moved_or_changed_is_no_token() {
    let replica = TestReplica::new();
    let (one, other) = (made(&replica, "one", None).await, made(&replica, "other", None).await);
    let rows = replica.store.page_tokens(&SessionId::FIRST, 9).await.unwrap();
    replica.store.delete_tokens(&ServiceTokenSelection::Everything).await.unwrap();
    for (row, from) in rows.iter().zip(rows.iter().rev()) {
        replica.store.insert_token(&ServiceTokenRow { sealed: from.sealed.clone(), ..row.clone() }).await.unwrap();
    }
    for token in [one, other] {
        assert!(revoked(&find(&replica, &token).await));
    }
}

#[tokio::test]
async fn many_who_ask_at_once_cost_one_load() {
    let replica = TestReplica::new();
    let token = made(&replica, "phone", None).await;
    replica.store.set(Mode::Held);
    let mut asking: Vec<_> = (0..50).map(|_| Box::pin(find(&replica, &token))).collect();
    for work in &mut asking {
        assert!(is_pending(work).await);
    }
    replica.store.set(Mode::Available);
    for found in join_all(asking).await {
        live(found);
    }
    assert_eq!(replica.store.loads(), 1);
}

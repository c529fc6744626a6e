//! Use of sessions at apps with an idle timeout of their own, and the contract of
//! [`PageUseStore`](crate::session::store::page_uses::PageUseStore), run against every store.

use std::{sync::atomic::Ordering, time::Duration};

use crate::session::{
    store::{Store, memory::MemoryStore, page_uses::PageUse, postgres::PostgresStore, sqlite::SqliteStore},
    tests::{
        contract::{at, every_store},
        postgres::TestDatabase,
        *,
    },
};

every_store!(the_latest_page_counts_and_is_kept_for_its_time,);

const APP: IdleApp<'static> = IdleApp { name: "grafana", timeout: Duration::from_mins(30) };
const OTHER: IdleApp<'static> = IdleApp { name: "wiki", timeout: Duration::from_mins(30) };

async fn the_latest_page_counts_and_is_kept_for_its_time(store: &dyn Store) {
    let far = 4_000_000_000;
    let page = |key: u8, seconds: u64, until: u64| PageUse { key: [key; 32], at: at(seconds), until: at(until) };
    assert_eq!(store.last_page_use(&[1; 32]).await.unwrap(), None);
    store.record_page_uses(&[page(1, 100, far), page(2, 50, far), page(3, 70, 90)]).await.unwrap();
    store.record_page_uses(&[page(1, 90, 200), page(2, 60, far)]).await.unwrap();
    assert_eq!(store.last_page_use(&[1; 32]).await.unwrap(), Some(at(100)), "an earlier one changes nothing");
    assert_eq!(store.last_page_use(&[2; 32]).await.unwrap(), Some(at(60)));
    store.record_page_uses(&[page(4, 100, far)]).await.unwrap();
    assert_eq!(store.last_page_use(&[3; 32]).await.unwrap(), None, "its time is over");
    assert_eq!(store.last_page_use(&[1; 32]).await.unwrap(), Some(at(100)));
}

async fn in_use(replica: &TestReplica, cookie: &str, app: &IdleApp<'_>) -> bool {
    let session = expect_live(replica.sessions.find(sent(cookie)).await);
    replica.sessions.app_idleness().find_in_use(&session, app).await.unwrap()
}

async fn open_page(replica: &TestReplica, cookie: &str, app: &IdleApp<'_>) {
    let session = expect_live(replica.sessions.find(sent(cookie)).await);
    replica.sessions.app_idleness().record_page(&session, app, replica.sessions.clock.now());
}

#[tokio::test]
async fn only_pages_of_the_app_itself_keep_a_session_in_use_there() {
    let replica = TestReplica::new();
    let cookie = replica.sessions.create(new_session("ann")).await.unwrap();
    for _ in 0..4 {
        replica.advance(Duration::from_mins(20));
        assert!(in_use(&replica, &cookie, &APP).await);
        open_page(&replica, &cookie, &APP).await;
    }
    assert!(!in_use(&replica, &cookie, &OTHER).await, "it was never opened since the sign-in");
    replica.advance(Duration::from_mins(30));
    assert!(in_use(&replica, &cookie, &APP).await, "within the margin, in which another process may know better");
    replica.advance(Duration::from_mins(1));
    assert!(!in_use(&replica, &cookie, &APP).await);
}

#[tokio::test]
async fn another_replica_learns_of_pages_from_the_store_and_of_none_lets_nobody_idle_in() {
    let here = TestReplica::new();
    let cookie = here.sessions.create(new_session("ann")).await.unwrap();
    here.advance(Duration::from_mins(20));
    open_page(&here, &cookie, &APP).await;
    here.sessions.upkeep().page_uses.write().await;
    here.advance(Duration::from_mins(20));
    let there = here.restarted();
    assert!(in_use(&there, &cookie, &APP).await, "a page twenty minutes ago, told by the store");
    assert!(!in_use(&there, &cookie, &OTHER).await, "no page since the sign-in, forty minutes ago");
    let asked = || there.store.page_use_loads.load(Ordering::Relaxed);
    let before = asked();
    for _ in 0..10 {
        assert!(!in_use(&there, &cookie, &OTHER).await);
        assert!(in_use(&there, &cookie, &APP).await);
    }
    assert_eq!(asked(), before, "neither is asked about again");
    there.advance(Duration::from_mins(11));
    assert!(!in_use(&there, &cookie, &APP).await);
    // A page that the other replica still let in is heard of within seconds.
    open_page(&here, &cookie, &APP).await;
    here.sessions.upkeep().page_uses.write().await;
    there.advance(Duration::from_secs(5));
    assert!(in_use(&there, &cookie, &APP).await);
}

#[tokio::test]
async fn a_last_page_is_written_at_most_every_half_minute_and_survives_an_outage() {
    let replica = TestReplica::new();
    let cookie = replica.sessions.create(new_session("ann")).await.unwrap();
    let mut upkeep = replica.sessions.upkeep();
    let session = expect_live(replica.find(&cookie).await);
    let idleness = replica.sessions.app_idleness();
    let mut pages = Vec::new();
    for _ in 0..120 {
        replica.advance(Duration::from_secs(1));
        idleness.record_page(&session, &APP, replica.sessions.clock.now());
        replica.store.set(Mode::Failing);
        upkeep.page_uses.write().await;
        replica.store.set(Mode::Available);
        if let Some(page) = upkeep.page_uses.pending.values().next() {
            pages.push(page.at.unix());
        }
        upkeep.page_uses.write().await;
        assert!(upkeep.page_uses.pending.is_empty());
    }
    assert_eq!(pages.len(), 4, "{pages:?}");
    replica.advance(Duration::from_hours(2));
    replica.store.set(Mode::Failing);
    assert!(idleness.find_in_use(&session, &APP).await.is_err(), "nobody can tell");
    upkeep.page_uses.forget();
    replica.store.set(Mode::Available);
    assert!(!idleness.find_in_use(&session, &APP).await.unwrap());
}

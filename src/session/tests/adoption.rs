//! Adoption: the contract of [`Adoptions`](crate::session::store::adoptions::Adoptions), run against every store, and adopted
//! sessions across restarts, rotations and endings.

use crate::{
    identity::{Registration, Tokens},
    session::{
        store::{Store, memory::MemoryStore, postgres::PostgresStore, sqlite::SqliteStore},
        tests::{
            contract::{at, every_store, row},
            postgres::TestDatabase,
            *,
        },
    },
};

every_store!(a_row_is_adopted_once_for_each_mark, a_mark_stays_when_its_row_goes, of_many_who_adopt_at_once_one_does,);

async fn a_row_is_adopted_once_for_each_mark(store: &dyn Store) {
    let far = at(4_000_000_000);
    assert!(!store.is_marked(&[[1; 32], [2; 32]]).await.unwrap());
    assert!(store.adopt(row(1, 10, 20), &[1; 32], far).await.unwrap());
    assert!(!store.adopt(row(2, 10, 20), &[1; 32], far).await.unwrap());
    assert_eq!(store.load(&SessionId([1; 32])).await.unwrap(), Some(row(1, 10, 20)));
    assert_eq!(store.load(&SessionId([2; 32])).await.unwrap(), None);
    assert!(store.adopt(row(2, 10, 20), &[2; 32], far).await.unwrap());
    for marks in [[[1; 32], [9; 32]], [[9; 32], [2; 32]]] {
        assert!(store.is_marked(&marks).await.unwrap());
    }
}

async fn a_mark_stays_when_its_row_goes(store: &dyn Store) {
    let far = at(4_000_000_000);
    assert!(store.adopt(row(1, 10, 20), &[1; 32], far).await.unwrap());
    store.delete(&Selection::Everything, 9).await.unwrap();
    assert!(store.is_marked(&[[1; 32], [2; 32]]).await.unwrap());
    assert!(!store.adopt(row(1, 10, 20), &[1; 32], far).await.unwrap());
    assert_eq!(store.load(&SessionId([1; 32])).await.unwrap(), None);
    // As a sign-out sets one.
    assert!(store.record_jti(&[3; 32], far).await.unwrap());
    assert!(store.is_marked(&[[2; 32], [3; 32]]).await.unwrap());
    assert!(!store.adopt(row(3, 10, 20), &[3; 32], far).await.unwrap());
}

async fn of_many_who_adopt_at_once_one_does(store: &dyn Store) {
    let far = at(4_000_000_000);
    let adopted = join_all((1..=8).map(|number| store.adopt(row(number, 10, 20), &[1; 32], far))).await;
    assert_eq!(adopted.iter().filter(|adopted| matches!(adopted, Ok(true))).count(), 1, "{adopted:?}");
    assert_eq!(store.page(&SessionId::FIRST, &SessionId::LAST, 9).await.unwrap().len(), 1);
}

const ONE: &[(&[u8], &[u8])] = &[(b"authentik_proxy_a", b"1")];

fn cookies(host: &str) -> OldCookies {
    OldCookies::new(host, Registration([1; 8]), ONE)
}

async fn adopt(replica: &TestReplica, old: &OldCookies) -> Arc<CachedSession> {
    let new = NewSession { scope: old.scope(), tokens: Tokens::default(), ..new_session("ann") };
    live(replica.sessions.adoption().adopt(old, new).await)
}

fn live(found: Result<AdoptedSession, Unavailable>) -> Arc<CachedSession> {
    match found {
        Ok(AdoptedSession::Live(session)) => session,
        other => panic!("not live: {other:?}"),
    }
}

async fn is_over(replica: &TestReplica, old: &OldCookies) {
    let found = replica.sessions.adoption().find(old).await;
    assert!(matches!(found, Ok(AdoptedSession::Over)), "{found:?}");
    let new = NewSession { scope: old.scope(), tokens: Tokens::default(), ..new_session("ann") };
    let adopted = replica.sessions.adoption().adopt(old, new).await;
    assert!(matches!(adopted, Ok(AdoptedSession::Over)), "{adopted:?}");
    assert!(replica.sessions.adoption().get_cached(old, |_, _| Some(())).is_none());
}

#[tokio::test]
async fn an_adopted_session_is_found_by_the_same_cookies_at_the_same_host_alone() {
    let (replica, old) = (TestReplica::new(), cookies(HOST));
    assert!(matches!(replica.sessions.adoption().find(&old).await, Ok(AdoptedSession::Unknown)));
    let session = adopt(&replica, &old).await;
    assert!(session.is_adopted() && session.identity().user() == "ann");
    // The one that others have made is taken for one's own.
    assert_eq!(adopt(&replica, &old).await.id(), session.id());
    for replica in [&replica, &replica.restarted()] {
        assert_eq!(live(replica.sessions.adoption().find(&old).await).id(), session.id());
        assert_eq!(replica.sessions.adoption().get_cached(&old, |found, _| Some(found.id())), Some(session.id()));
        for other in [
            cookies("other.test"),
            OldCookies::new(HOST, Registration([2; 8]), ONE),
            OldCookies::new(HOST, Registration([1; 8]), &[(b"authentik_proxy_a", b"2")]),
        ] {
            assert!(matches!(replica.sessions.adoption().find(&other).await, Ok(AdoptedSession::Unknown)));
        }
    }
}

#[tokio::test]
async fn no_cookie_of_a_browser_passes_for_an_adopted_session() {
    let (replica, old) = (TestReplica::new(), cookies(HOST));
    let value = adopt(&replica, &old).await.token().encode();
    assert!(matches!(replica.find(&value).await, Ok(LookupOutcome::NotOurs)));
    assert!(matches!(replica.restarted().find(&value).await, Ok(LookupOutcome::NotOurs)));
}

#[tokio::test]
async fn what_has_ended_is_not_adopted_again_by_any_replica() {
    let (replica, old, elsewhere) = (TestReplica::new(), cookies(HOST), cookies("other.test"));
    let session = adopt(&replica, &old).await;
    replica.sessions.end(&session, LogoutKind::User).await.unwrap();
    is_over(&replica, &old).await;
    is_over(&replica.restarted(), &old).await;
    // At another host they are other cookies, until somebody signs out with them.
    assert!(matches!(replica.sessions.adoption().find(&elsewhere).await, Ok(AdoptedSession::Unknown)));
    replica.sessions.adoption().close_everywhere(&old).await.unwrap();
    assert!(matches!(replica.sessions.adoption().find(&elsewhere).await, Ok(AdoptedSession::Over)));
}

#[tokio::test]
async fn a_logout_of_the_person_ends_an_adopted_session_too() {
    let (replica, old) = (TestReplica::new(), cookies(HOST));
    let session = adopt(&replica, &old).await;
    let target = LogoutTarget::Subject(session.identity().subject().to_owned());
    let provider = session.identity().provider().to_owned();
    assert_eq!(replica.sessions.end_by(&provider, &target, LogoutKind::Backchannel).await.unwrap(), 1);
    is_over(&replica, &old).await;
}

#[tokio::test]
async fn an_adopted_session_has_a_lifetime_of_its_own_that_a_change_reaches() {
    let (replica, old) = (TestReplica::new(), cookies(HOST));
    let terms = |lifetime| Settings { adopted_lifetime: Some(lifetime), ..doubles::settings() };
    replica.change(&terms(3 * DAY), &["old"]);
    let session = adopt(&replica, &old).await;
    assert_eq!(replica.sessions.expires(&session), session.created().plus(3 * DAY));
    replica.advance(2 * DAY);
    live(replica.sessions.adoption().find(&old).await);
    replica.change(&terms(DAY), &["old"]);
    assert!(replica.sessions.adoption().get_cached(&old, |_, _| Some(())).is_none());
    is_over(&replica, &old).await;
    replica.change(&terms(3 * DAY), &["old"]);
    is_over(&replica, &old).await;
}

#[tokio::test]
async fn an_adopted_session_outlives_a_rotation_of_the_secrets_and_stays_over_after_it() {
    let (before, old, ended) = (TestReplica::new(), cookies(HOST), cookies("ended.test"));
    let session = adopt(&before, &old).await;
    let other = adopt(&before, &ended).await;
    before.sessions.end(&other, LogoutKind::Operator).await.unwrap();
    let during = before.restarted_with(&["new", "old"]);
    assert!(during.sessions.adoption().find(&old).await.is_err(), "an older secret may have made one");
    during.sessions.retired_keys().load().await;
    assert_eq!(live(during.sessions.adoption().find(&old).await).id(), session.id());
    is_over(&during, &ended).await;
    let mut reencryption = during.sessions.upkeep().reencryption;
    reencryption.begin().await;
    reencryption.advance().await;
    let after = during.restarted_with(&["new"]);
    after.sessions.retired_keys().load().await;
    assert_eq!(live(after.sessions.adoption().find(&old).await).id(), session.id());
    is_over(&after, &ended).await;
}

#[tokio::test]
async fn while_the_store_is_unavailable_nothing_is_known_of_new_cookies_and_known_sessions_go_on() {
    let (replica, old) = (TestReplica::with_short_deadline(), cookies(HOST));
    adopt(&replica, &old).await;
    replica.store.set(Mode::Failing);
    live(replica.sessions.adoption().find(&old).await);
    let new = cookies("other.test");
    assert!(replica.sessions.adoption().find(&new).await.is_err());
    let session = NewSession { scope: new.scope(), tokens: Tokens::default(), ..new_session("ann") };
    assert!(replica.sessions.adoption().adopt(&new, session).await.is_err());
    assert!(replica.sessions.adoption().close(&new).await.is_err());
    replica.store.set(Mode::Available);
    assert!(matches!(replica.sessions.adoption().find(&new).await, Ok(AdoptedSession::Unknown)));
}

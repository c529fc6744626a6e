//! Reauthorization of sessions: when it is due, its trips, and the writing of its result.

use crate::{
    clock::Timestamp,
    identity::Tokens,
    session::tests::{doubles::expiring_session, *},
};

const LIMIT: Duration = HOUR;

fn reauthorizing(limit: Option<Duration>) -> Settings {
    Settings { reauthorize: limit, idle_timeout: 28 * DAY, ..doubles::settings() }
}

/// A session, and its cookie, at a replica whose apps reauthorize after an hour.
async fn signed_in() -> (TestReplica, String, Arc<CachedSession>) {
    let replica = TestReplica::new();
    replica.change(&reauthorizing(Some(LIMIT)), &["old"]);
    let cookie = replica.sessions.create(new_session("ann")).await.unwrap();
    let session = expect_live(replica.find(&cookie).await);
    (replica, cookie, session)
}

fn new_grant(name: &str) -> NewGrant {
    let NewSession { mut identity, tokens, .. } = new_session(name);
    identity.groups = vec!["authorized again".to_owned()];
    NewGrant { identity, tokens, sid: Some("another sid".to_owned()) }
}

fn now(replica: &TestReplica) -> Timestamp {
    replica.sessions.clock.now()
}

#[tokio::test]
async fn an_authorization_ages() {
    let (replica, _, session) = signed_in().await;
    let mut passed = Duration::ZERO;
    for (at, age) in [
        (Duration::ZERO, AuthorizationAge::Recent),
        (LIMIT, AuthorizationAge::Recent),
        (LIMIT + Duration::from_secs(1), AuthorizationAge::Due),
        (2 * LIMIT, AuthorizationAge::Due),
        (2 * LIMIT + Duration::from_secs(1), AuthorizationAge::Overdue),
    ] {
        replica.advance(at.saturating_sub(passed));
        passed = at;
        assert_eq!(replica.sessions.reauthorization().age(&session, LIMIT), age, "{at:?}");
        assert_eq!(replica.sessions.reauthorization().is_within_grace(&session, LIMIT), at <= LIMIT + HOUR, "{at:?}");
    }
}

#[tokio::test]
async fn nothing_is_due_in_memory_before_the_first_of_renewal_and_reauthorization() {
    let (replica, cookie, _) = signed_in().await;
    assert!(!replica.get_cached(&cookie).unwrap().may_be_due(now(&replica)));
    let expiring = replica.sessions.create(expiring_session(&replica, "bob", 5 * MINUTE)).await.unwrap();
    replica.advance(4 * MINUTE);
    assert!(replica.get_cached(&expiring).unwrap().may_be_due(now(&replica)), "a minute before its token ends");
    replica.advance(LIMIT.saturating_sub(4 * MINUTE));
    assert!(!replica.get_cached(&cookie).unwrap().may_be_due(now(&replica)));
    replica.advance(Duration::from_secs(1));
    assert!(replica.get_cached(&cookie).unwrap().may_be_due(now(&replica)));
    // A reload reaches it.
    replica.change(&reauthorizing(None), &["old"]);
    assert!(!replica.get_cached(&cookie).unwrap().may_be_due(now(&replica)));
    replica.change(&reauthorizing(Some(MINUTE)), &["old"]);
    assert!(replica.get_cached(&cookie).unwrap().may_be_due(now(&replica)));
    replica.change(&reauthorizing(Some(LIMIT)), &["new", "old"]);
    assert!(replica.get_cached(&cookie).unwrap().may_be_due(now(&replica)));
}

#[tokio::test]
async fn a_reauthorized_session_keeps_its_cookie_and_its_lifetime() {
    let (replica, cookie, session) = signed_in().await;
    let created = session.created();
    replica.advance(2 * HOUR);
    let after = replica.sessions.reauthorization().write(&session, new_grant("ann")).await.unwrap().unwrap();
    for session in [after, replica.get_cached(&cookie).unwrap(), expect_live(replica.restarted().find(&cookie).await)] {
        assert_eq!((session.created(), session.authorized()), (created, now(&replica)));
        assert_eq!(session.identity().unpack().groups, ["authorized again"]);
    }
    // The provider gave no refresh token without a prompt.
    let without = NewGrant { tokens: Tokens::default(), ..new_grant("ann") };
    replica.sessions.reauthorization().write(&session, without).await.unwrap().unwrap();
    let (_, record) = replica.sessions.reauthorization().read_again(&session).await.unwrap().unwrap();
    assert_eq!(record.tokens.refresh.as_ref().map(SecretString::expose_secret), Some("refresh token of ann"));
    assert!(replica.sessions.has_sid("authentik", "another sid").await.unwrap());
    assert!(!replica.sessions.has_sid("authentik", "sid of ann").await.unwrap());
    replica.advance(27 * DAY);
    expect_live(replica.find(&cookie).await);
    replica.advance(DAY);
    assert!(matches!(replica.find(&cookie).await, Ok(LookupOutcome::Ended)), "from the sign-in on");
}

#[tokio::test]
async fn a_session_that_was_ended_meanwhile_is_not_brought_back_by_its_reauthorization() {
    let (replica, cookie, session) = signed_in().await;
    replica.sessions.end(&session, LogoutKind::Provider).await.unwrap().unwrap();
    assert!(replica.sessions.reauthorization().write(&session, new_grant("ann")).await.unwrap().is_none());
    assert!(replica.sessions.reauthorization().read_again(&session).await.unwrap().is_none());
    assert!(matches!(replica.find(&cookie).await, Ok(LookupOutcome::Ended)));
    assert_eq!(replica.metric(r#"doorward_logouts_total{kind="provider"}"#), 1);
}

#[tokio::test]
async fn a_renewal_under_way_loses_against_a_reauthorization() {
    let (replica, cookie, session) = signed_in().await;
    let within = Duration::from_secs(13);
    let LeaseOutcome::Acquired(permit) = replica.sessions.renewal().acquire_lease(&session, within).await.unwrap()
    else {
        panic!("nobody else has it");
    };
    replica.sessions.reauthorization().write(&session, new_grant("ann")).await.unwrap().unwrap();
    let renewed = replica.sessions.renewal().renew(permit, renewed_grant(new_session("ann").tokens));
    let newest = replica.sessions.renewal().write(&renewed).await.unwrap().unwrap();
    assert_eq!(newest.authorized(), session.authorized());
    for found in [newest, expect_live(replica.restarted().find(&cookie).await)] {
        assert_eq!(found.identity().unpack().groups, ["authorized again"]);
    }
}

#[tokio::test]
async fn trips_are_counted_once_for_all_replicas_and_tabs_that_open_together_are_none() {
    let (here, _, session) = signed_in().await;
    let there = here.restarted();
    // In the middle of the time in which tabs open together.
    here.advance(Duration::from_secs(5 + 10 - here.sessions.clock.now().unix() % 10));
    assert_eq!(here.sessions.reauthorization().begin_trip(&session, "/a").await.unwrap(), Trip::First);
    assert_eq!(there.sessions.reauthorization().begin_trip(&session, "/b").await.unwrap(), Trip::Parallel);
    assert_eq!(here.sessions.reauthorization().begin_trip(&session, "/c").await.unwrap(), Trip::Parallel);
    assert_eq!(
        there.sessions.reauthorization().begin_trip(&session, "/a").await.unwrap(),
        Trip::Repeated,
        "the same page"
    );
    here.advance(Duration::from_secs(10));
    assert_eq!(
        here.sessions.reauthorization().begin_trip(&session, "/d").await.unwrap(),
        Trip::Repeated,
        "some time later"
    );
    assert!(there.sessions.reauthorization().begin_second_trip(&session).await.unwrap());
    assert!(!here.sessions.reauthorization().begin_second_trip(&session).await.unwrap());
    // An authorization begins the count anew.
    let after = here.sessions.reauthorization().write(&session, new_grant("ann")).await.unwrap().unwrap();
    assert_eq!(there.sessions.reauthorization().begin_trip(&after, "/a").await.unwrap(), Trip::First);
}

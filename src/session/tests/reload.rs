//! Reloads: other lifetimes, secrets and forwarded tokens reach sessions that exist already.

use http::HeaderName;

use crate::{
    identity::Tokens,
    policy::headers::{HeaderPlan, HeaderSource},
    session::tests::*,
};

#[tokio::test]
async fn a_change_of_lifetimes_reaches_sessions_that_exist_already() {
    let replica = TestReplica::new();
    let cookie = replica.sessions.create(new_session("ann")).await.unwrap();
    let terms = |lifetime, idle| Settings {
        lifetime: Duration::from_secs(lifetime),
        adopted_lifetime: None,
        idle_timeout: Duration::from_secs(idle),
        ..doubles::settings()
    };
    replica.advance(Duration::from_mins(1));
    replica.change(&terms(3_600, 61), &["old"]);
    expect_live(replica.find(&cookie).await);
    replica.change(&terms(60, 3_600), &["old"]);
    assert!(replica.get_cached(&cookie).is_none());
    assert!(matches!(replica.find(&cookie).await, Ok(LookupOutcome::Ended)));
    replica.change(&terms(3_600, 3_600), &["old"]);
    assert!(matches!(replica.find(&cookie).await, Ok(LookupOutcome::Ended)), "what is over stays so");
    let another = replica.sessions.create(new_session("ann")).await.unwrap();
    replica.advance(Duration::from_secs(30));
    replica.change(&terms(3_600, 30), &["old"]);
    assert!(replica.get_cached(&another).is_none(), "not used for as long as that");
}

#[tokio::test]
async fn secrets_are_rotated_while_sessions_live_and_a_dropped_one_ends_them_in_memory_too() {
    let replica = TestReplica::new();
    let cookie = replica.sessions.create(new_session("ann")).await.unwrap();
    expect_live(replica.find(&cookie).await);
    replica.change(&doubles::settings(), &["new", "old"]);
    assert!(replica.get_cached(&cookie).is_some(), "without asking the store");
    let newer = replica.sessions.create(new_session("bob")).await.unwrap();
    replica.change(&doubles::settings(), &["new"]);
    assert!(replica.get_cached(&cookie).is_none());
    assert!(matches!(replica.find(&cookie).await, Ok(LookupOutcome::NotOurs)));
    assert!(replica.get_cached(&newer).is_some());
    replica.change(&doubles::settings(), &["new", "old"]);
    expect_live(replica.find(&cookie).await);
}

/// The header of an app that wants the ID token.
fn id_token_header(session: &CachedSession) -> String {
    let plan = HeaderPlan::new(vec![(HeaderName::from_static("x-id-token"), HeaderSource::IdToken)], Vec::new());
    plan.headers_for(&session.principal(), |_| {})["x-id-token"].to_str().unwrap().to_owned()
}

fn with_token(name: &str) -> NewSession {
    let tokens = Tokens { id: Some(SecretString::from(format!("{name}.s.token"))), ..Tokens::default() };
    NewSession { tokens, ..new_session(name) }
}

fn passing(passes_tokens: bool) -> Settings {
    Settings { passes_tokens, ..doubles::settings() }
}

#[tokio::test]
async fn tokens_are_in_memory_only_where_an_app_is_passed_them_and_a_reload_has_them_read() {
    let replica = TestReplica::new();
    let cookie = replica.sessions.create(with_token("ann")).await.unwrap();
    assert_eq!(id_token_header(&replica.get_cached(&cookie).unwrap()), "", "no app is passed one");
    replica.change(&passing(true), &["old"]);
    assert!(replica.get_cached(&cookie).is_none(), "it has to be read");
    assert_eq!(id_token_header(&expect_live(replica.find(&cookie).await)), "ann.s.token");
    assert_eq!(
        (id_token_header(&replica.get_cached(&cookie).unwrap()), replica.store.loads()),
        ("ann.s.token".to_owned(), 1)
    );
    let new = replica.sessions.create(with_token("bob")).await.unwrap();
    assert_eq!(id_token_header(&replica.get_cached(&new).unwrap()), "bob.s.token");
    assert_eq!(replica.store.loads(), 1, "a new session has them from the start");
    replica.change(&passing(false), &["old"]);
    assert_eq!(id_token_header(&expect_live(replica.find(&cookie).await)), "", "they leave memory again");
}

#[tokio::test]
async fn a_reload_that_wants_tokens_while_the_store_is_unavailable_signs_no_one_out() {
    let replica = TestReplica::new();
    let cookie = replica.sessions.create(with_token("ann")).await.unwrap();
    replica.store.set(Mode::Failing);
    replica.change(&passing(true), &["old"]);
    for _ in 0..2 {
        assert_eq!(id_token_header(&expect_live(replica.find(&cookie).await)), "");
    }
    replica.store.set(Mode::Available);
    replica.sessions.store.ping().await.unwrap();
    assert_eq!(id_token_header(&expect_live(replica.find(&cookie).await)), "ann.s.token");
    assert!(replica.get_cached(&cookie).is_some());
}

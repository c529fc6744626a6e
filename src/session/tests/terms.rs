//! What a reload changes for sessions that live already.

use http::HeaderName;

use crate::{
    identity::Tokens,
    policy::headers::{HeaderPlan, HeaderSource},
    session::tests::*,
};

#[tokio::test]
async fn a_change_of_lifetimes_reaches_sessions_that_live_already() {
    let house = House::new();
    let cookie = house.sessions.create(somebody("ann")).await.unwrap();
    let terms = |lifetime, idle| Settings {
        lifetime: Duration::from_secs(lifetime),
        idle_timeout: Duration::from_secs(idle),
        ..doubles::settings()
    };
    house.pass(Duration::from_mins(1));
    house.change(&terms(3_600, 61), &["old"]);
    live(house.find(&cookie).await);
    house.change(&terms(60, 3_600), &["old"]);
    assert!(house.recalls(&cookie).is_none());
    assert!(matches!(house.find(&cookie).await, Ok(Found::Ended)));
    house.change(&terms(3_600, 3_600), &["old"]);
    assert!(matches!(house.find(&cookie).await, Ok(Found::Ended)), "what is over stays so");
    let another = house.sessions.create(somebody("ann")).await.unwrap();
    house.pass(Duration::from_secs(30));
    house.change(&terms(3_600, 30), &["old"]);
    assert!(house.recalls(&another).is_none(), "not used for as long as that");
}

#[tokio::test]
async fn secrets_are_rotated_while_sessions_live_and_a_dropped_one_ends_them_in_memory_too() {
    let house = House::new();
    let cookie = house.sessions.create(somebody("ann")).await.unwrap();
    live(house.find(&cookie).await);
    house.change(&doubles::settings(), &["new", "old"]);
    assert!(house.recalls(&cookie).is_some(), "without asking the store");
    let newer = house.sessions.create(somebody("bob")).await.unwrap();
    house.change(&doubles::settings(), &["new"]);
    assert!(house.recalls(&cookie).is_none());
    assert!(matches!(house.find(&cookie).await, Ok(Found::NotOurs)));
    assert!(house.recalls(&newer).is_some());
    house.change(&doubles::settings(), &["new", "old"]);
    live(house.find(&cookie).await);
}

/// What an app is passed that wants the ID token.
fn passed(live: &CachedSession) -> String {
    let plan = HeaderPlan::new(vec![(HeaderName::from_static("x-id-token"), HeaderSource::IdToken)], Vec::new());
    plan.headers_for(&live.principal())["x-id-token"].to_str().unwrap().to_owned()
}

fn with_token(name: &str) -> NewSession {
    let tokens = Tokens { id: Some(SecretString::from(format!("{name}.s.token"))), ..Tokens::default() };
    NewSession { tokens, ..somebody(name) }
}

fn passing(passes_tokens: bool) -> Settings {
    Settings { passes_tokens, ..doubles::settings() }
}

#[tokio::test]
async fn tokens_are_in_memory_only_where_an_app_is_passed_them_and_a_reload_has_them_read() {
    let house = House::new();
    let cookie = house.sessions.create(with_token("ann")).await.unwrap();
    assert_eq!(passed(&house.recalls(&cookie).unwrap()), "", "nobody is passed one");
    house.change(&passing(true), &["old"]);
    assert!(house.recalls(&cookie).is_none(), "it has to be read");
    assert_eq!(passed(&live(house.find(&cookie).await)), "ann.s.token");
    assert_eq!((passed(&house.recalls(&cookie).unwrap()), house.store.loads()), ("ann.s.token".to_owned(), 1));
    let new = house.sessions.create(with_token("bob")).await.unwrap();
    assert_eq!(passed(&house.recalls(&new).unwrap()), "bob.s.token");
    assert_eq!(house.store.loads(), 1, "whoever signs in then has them from the start");
    house.change(&passing(false), &["old"]);
    assert_eq!(passed(&live(house.find(&cookie).await)), "", "they leave memory again");
}

#[tokio::test]
async fn nobody_is_signed_out_by_a_reload_that_wants_tokens_which_the_store_does_not_give() {
    let house = House::new();
    let cookie = house.sessions.create(with_token("ann")).await.unwrap();
    house.store.set(Mode::Failing);
    house.change(&passing(true), &["old"]);
    for _ in 0..2 {
        assert_eq!(passed(&live(house.find(&cookie).await)), "");
    }
    house.store.set(Mode::Up);
    house.sessions.store.ping().await.unwrap();
    assert_eq!(passed(&live(house.find(&cookie).await)), "ann.s.token");
    assert!(house.recalls(&cookie).is_some());
}

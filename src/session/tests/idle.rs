//! The idle sweep: sessions that are not in use take less memory, and answer as before when they are used again.

use crate::{policy::headers::default_plan, session::tests::*};

#[tokio::test]
async fn a_session_that_is_not_in_use_gives_its_headers_back_and_has_them_again_when_it_is() {
    let replica = TestReplica::new();
    let [idle, busy] =
        [replica.sessions.create(new_session("ann")).await, replica.sessions.create(new_session("bob")).await];
    let [idle, busy] = [idle.unwrap(), busy.unwrap()];
    let headers =
        |cookie: &String| default_plan().headers_for(&replica.get_cached(cookie).unwrap().principal(), |_| {});
    let before = [&idle, &busy].map(headers);
    replica.sessions.idle_sweep().sweep().await;
    let has_headers = |cookie: &str| {
        replica.sessions.cache.get(&CookieValue::of(cookie.as_bytes()).unwrap(), HOST).unwrap().has_headers()
    };
    assert!(has_headers(&idle) && has_headers(&busy), "both were used a moment ago");
    replica.advance(Duration::from_mins(3));
    assert!(replica.get_cached(&busy).is_some());
    replica.sessions.idle_sweep().sweep().await;
    assert!(!has_headers(&idle) && has_headers(&busy));
    let loads = replica.store.loads();
    assert_eq!([&idle, &busy].map(headers), before);
    assert!(has_headers(&idle));
    assert_eq!(replica.store.loads(), loads, "it has been in memory all the time");
}

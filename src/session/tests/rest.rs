//! Sessions that are not in use take less memory, and answer as before when they are asked for again.

use crate::{policy::headers::default_plan, session::tests::*};

async fn upkeep(house: &House) {
    upkeep::rest(&house.sessions).await;
}

#[tokio::test]
async fn a_session_that_is_not_in_use_gives_its_headers_back_and_has_them_again_when_it_is() {
    let house = House::new();
    let [idle, busy] = [house.sessions.create(somebody("ann")).await, house.sessions.create(somebody("bob")).await];
    let [idle, busy] = [idle.unwrap(), busy.unwrap()];
    let before = [&idle, &busy].map(|cookie| default_plan().headers_for(&house.recalls(cookie).unwrap().principal()));
    upkeep(&house).await;
    let has_headers = |cookie: &str| {
        house.sessions.cache.get(&CookieValue::of(cookie.as_bytes()).unwrap(), HOST).unwrap().has_headers()
    };
    assert!(has_headers(&idle) && has_headers(&busy), "both were used a moment ago");
    house.pass(Duration::from_mins(3));
    assert!(house.recalls(&busy).is_some());
    upkeep(&house).await;
    assert!(!has_headers(&idle) && has_headers(&busy));
    let loads = house.store.loads();
    assert_eq!(
        [&idle, &busy].map(|cookie| default_plan().headers_for(&house.recalls(cookie).unwrap().principal())),
        before
    );
    assert!(has_headers(&idle));
    assert_eq!(house.store.loads(), loads, "it has been in memory all the time");
}

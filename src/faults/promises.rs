//! What is promised of the ways, held against the answers and against what comes after them.

use std::time::Duration;

use super::{
    adopting::FORGOTTEN_AFTER,
    ways::{Promise, Scene, UNAVAILABLE, Way},
    world::{Question, Seen},
};

impl Way {
    /// Asserts what is promised of the answer. `what` says what failed.
    pub(super) fn check(self, seen: &Seen, what: &str) {
        let way = self;
        assert!(!seen.lets_in() || seen.status == 200, "{way:?}, {what}: {seen:?}");
        // Unavailable is not invalid: only who asks for it loses a cookie.
        if !matches!(way, Way::SignOut | Way::Reset) {
            assert!(!seen.deletes_the_session(), "{way:?}, {what}: {seen:?}");
        }
        match way.promise() {
            Promise::Serves(reasons) if !seen.lets_in() => {
                assert!(reasons.contains(&seen.reason()), "{way:?}, {what}: {seen:?}");
            }
            // Known, or else not let in: never as nobody.
            Promise::Serves(_) => assert_eq!(seen.header("remote-user"), way.user(), "{way:?}, {what}: {seen:?}"),
            // A page whose session has to be authorized again goes on with it during an outage.
            Promise::Answers if way == Way::Reauthorized && seen.lets_in() => {
                assert_eq!(seen.header("remote-user"), "ann", "{way:?}, {what}: {seen:?}");
            }
            Promise::Refuses | Promise::Answers | Promise::Ends | Promise::EndsOrCanBeRepeated => {
                assert!(!seen.lets_in(), "{way:?}, {what}: {seen:?}");
            }
        }
        let is_signed_in = seen.set_cookie("__Host-doorward").is_some();
        assert!(!is_signed_in || way.may_sign_in(), "{way:?}, {what}: {seen:?}");
        if way == Way::SessionPage && seen.status == 200 {
            assert!(seen.body.windows(5).any(|word| word == b"\"ann\""), "{what}: {seen:?}");
        }
    }
}

impl Scene {
    /// Asserts what is promised of the time after the answer, when nothing fails any more. `seen` is `None` where the request
    /// was given up.
    pub(super) async fn check_afterwards(&self, way: Way, seen: Option<&Seen>, what: &str) {
        let later = format!("after {what}");
        self.replica.recover().await;
        if let Way::Program(_) = way {
            // Keys that did not come are not asked for again at once.
            self.world.tick(Duration::from_mins(1));
        }
        if let Way::Adopt(_) = way {
            // Nor does anything else that was said stand for long.
            self.world.tick(FORGOTTEN_AFTER);
        }
        match way.promise() {
            Promise::Serves(reasons) => {
                let again = self.replica.ask(&self.question).await;
                way.check(&again, &later);
                // It has to be somebody's fault still: a renewal that failed a moment ago is not tried at once.
                let may_still_fail = reasons.len() > UNAVAILABLE.len() && !matches!(way, Way::Adopt(_));
                assert!(again.lets_in() || may_still_fail, "{way:?}, {later}: {again:?}");
            }
            Promise::Refuses => {
                let again = self.replica.ask(&self.question).await;
                way.check(&again, &later);
            }
            Promise::Answers => {
                if let Some(session) = seen.and_then(|seen| seen.set_cookie("__Host-doorward")) {
                    let there = self.replica.ask(&Question::fetch(way.host(), "/", &session)).await;
                    let user = if way == Way::StepUpUnmet { "" } else { "ann" };
                    assert_eq!(
                        (there.lets_in(), there.header("remote-user")),
                        (!user.is_empty(), user),
                        "{way:?}, {later}"
                    );
                }
                if way.host() == "strong.test" {
                    // Asking for more has made nothing more of the session that there was.
                    self.is_over(way, &later).await;
                }
            }
            Promise::Ends => self.is_over(way, &later).await,
            Promise::EndsOrCanBeRepeated => {
                let says_so = seen.is_some_and(|seen| {
                    (seen.status.as_u16(), seen.reason()) == {
                        let (status, reason, _) = way.undisturbed();
                        (status, reason)
                    }
                });
                if !says_so {
                    let again = self.replica.ask(&self.question).await;
                    way.check(&again, &later);
                    // A provider that has just failed is not asked for its keys at once, and is told so.
                    if UNAVAILABLE.contains(&again.reason()) {
                        return;
                    }
                }
                self.is_over(way, &later).await;
            }
        }
    }

    async fn is_over(&self, way: Way, later: &str) {
        let there = self.replica.ask(&Question::fetch(way.host(), "/", &self.session)).await;
        assert!(!there.lets_in(), "{way:?}, {later}: the session goes on: {there:?}");
    }
}

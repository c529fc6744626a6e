//! What sessions promise while they are renewed: when it is due, who does it, and what becomes of what it brings.

use crate::{
    identity::{Registration, Tokens},
    session::{
        store::lease::{Lease, Leases as _},
        tests::{doubles::lasting, *},
    },
};

const SECOND: Duration = Duration::from_secs(1);
const WITHIN: Duration = Duration::from_secs(13);

/// A session with five minutes to go, and its cookie.
async fn begun(house: &House) -> (String, Arc<CachedSession>) {
    let cookie = house.sessions.create(lasting(house, "ann", 5 * MINUTE)).await.unwrap();
    let session = live(house.find(&cookie).await);
    (cookie, session)
}

async fn ours(house: &House, session: &Arc<CachedSession>) -> RenewalPermit {
    match house.sessions.claim(session, WITHIN).await.unwrap() {
        Claim::Ours(permit) => permit,
        other => panic!("not ours: {other:?}"),
    }
}

/// What a provider gave: other groups, and tokens for another five minutes.
fn given(house: &House, permit: RenewalPermit) -> Renewed {
    let new = lasting(house, "ann", 5 * MINUTE);
    let mut identity = new.identity;
    identity.groups = vec!["renewed".to_owned()];
    house.sessions.renewed(permit, Some(identity), new.tokens, Some("another sid".to_owned()))
}

/// The lease that this replica has on a session ends.
async fn run_out(house: &House, session: &Arc<CachedSession>) {
    let lease = Lease { key: session.key(), generation: session.generation(), holder: house.sessions.holder };
    house.store.release_lease(&lease).await.unwrap();
}

async fn groups(house: &House, cookie: &str) -> Vec<String> {
    live(house.find(cookie).await).who().unpack().groups
}

async fn is_over(house: &House, cookie: &str) -> bool {
    matches!(house.find(cookie).await, Ok(Found::Ended))
}

#[tokio::test]
async fn a_session_is_due_before_its_token_ends_and_graceful_for_a_while_after() {
    let house = House::new();
    let (_, session) = begun(&house).await;
    let mut passed = Duration::ZERO;
    for (at, due) in [
        (Duration::ZERO, Due::No),
        ((4 * MINUTE).saturating_sub(SECOND), Due::No),
        // A quarter of the minute is spread over the sessions.
        (4 * MINUTE + 15 * SECOND, Due::Soon),
        ((5 * MINUTE).saturating_sub(SECOND), Due::Soon),
        (5 * MINUTE, Due::Past { graceful: true }),
        (5 * MINUTE + HOUR, Due::Past { graceful: true }),
        (5 * MINUTE + HOUR + SECOND, Due::Past { graceful: false }),
    ] {
        house.pass(at.saturating_sub(passed));
        passed = at;
        assert_eq!(house.sessions.due(&session), due, "after {at:?}");
    }
}

#[tokio::test]
async fn sessions_that_began_together_are_due_one_after_the_other() {
    let house = House::new();
    let mut sessions = Vec::new();
    for _ in 0..200 {
        sessions.push(begun(&house).await.1);
    }
    house.pass((4 * MINUTE).saturating_sub(SECOND));
    let mut due = Vec::new();
    for _ in 0..=16 {
        due.push(sessions.iter().filter(|session| house.sessions.due(session) == Due::Soon).count());
        house.pass(SECOND);
    }
    assert_eq!((due.first(), due.last()), (Some(&0), Some(&200)), "{due:?}");
    let most = due.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(most < 60, "{most} of 200 in the same second: {due:?}");
}

#[tokio::test]
async fn a_token_that_is_shorter_than_the_lead_is_kept_for_half_its_life() {
    let house = House::new();
    let cookie = house.sessions.create(lasting(&house, "ann", 20 * SECOND)).await.unwrap();
    let session = live(house.find(&cookie).await);
    house.pass(9 * SECOND);
    assert_eq!(house.sessions.due(&session), Due::No);
    house.pass(4 * SECOND);
    assert_eq!(house.sessions.due(&session), Due::Soon);
    house.pass(7 * SECOND);
    assert_eq!(house.sessions.due(&session), Due::Past { graceful: true });
}

#[tokio::test]
async fn what_cannot_be_renewed_or_never_ends_is_never_due() {
    let house = House::new();
    let endless = somebody("ann");
    let single = lasting(&house, "bob", MINUTE);
    let single = NewSession { tokens: Tokens { refresh: None, ..single.tokens }, ..single };
    for new in [endless, single] {
        let cookie = house.sessions.create(new).await.unwrap();
        let session = live(house.find(&cookie).await);
        house.pass(DAY);
        assert_eq!(house.sessions.due(&session), Due::No, "{session:?}");
    }
}

#[tokio::test]
async fn one_replica_renews_and_the_others_get_what_it_brought() {
    let here = House::new();
    let (cookie, session) = begun(&here).await;
    let there = here.restarted();
    let known = live(there.find(&cookie).await);
    let permit = ours(&here, &session).await;
    assert!(matches!(there.sessions.claim(&known, WITHIN).await.unwrap(), Claim::Theirs));
    let renewed = given(&here, permit);
    assert!(here.sessions.write(&renewed).await.unwrap().is_some());
    let Claim::Done(shared) = there.sessions.claim(&known, WITHIN).await.unwrap() else { panic!("not done") };
    assert_eq!((shared.generation(), shared.who().unpack().groups.as_slice()), (2, ["renewed".to_owned()].as_slice()));
    assert_eq!(shared.created(), session.created(), "its lifetime is what it was");
    assert_eq!(groups(&there, &cookie).await, ["renewed"], "and it is served from then on");
    // The next renewal is anybody's.
    let next = ours(&there, &shared).await;
    assert_eq!(next.record().sid.as_deref(), Some("another sid"));
}

#[tokio::test]
async fn after_a_failure_here_it_is_another_s_turn() {
    let here = House::new();
    let (cookie, session) = begun(&here).await;
    let there = here.restarted();
    let known = live(there.find(&cookie).await);
    let permit = ours(&here, &session).await;
    here.sessions.put_off(permit).await;
    assert!(!here.sessions.may_try(&session));
    assert!(there.sessions.may_try(&known));
    ours(&there, &known).await;
    here.pass(10 * SECOND);
    assert!(here.sessions.may_try(&session), "it rests for ten seconds at the most");
}

#[tokio::test]
async fn a_lease_whose_answer_was_lost_is_still_ours_and_nobody_else_s() {
    let here = House::new();
    let (cookie, session) = begun(&here).await;
    let there = here.restarted();
    let known = live(there.find(&cookie).await);
    here.store.set(Mode::Unheard);
    assert!(here.sessions.claim(&session, WITHIN).await.is_err());
    here.store.set(Mode::Up);
    assert!(matches!(there.sessions.claim(&known, WITHIN).await.unwrap(), Claim::Theirs));
    let renewed = given(&here, ours(&here, &session).await);
    assert!(here.sessions.write(&renewed).await.unwrap().is_some());
    assert!(matches!(there.sessions.claim(&known, WITHIN).await.unwrap(), Claim::Done(_)));
}

#[tokio::test]
async fn what_a_provider_gave_is_served_before_it_is_written() {
    let house = House::new();
    let (cookie, session) = begun(&house).await;
    let renewed = given(&house, ours(&house, &session).await);
    house.store.set(Mode::Failing);
    assert!(house.sessions.write(&renewed).await.is_err());
    assert_eq!(groups(&house, &cookie).await, ["renewed"]);
    house.store.set(Mode::Up);
    assert!(house.sessions.write(&renewed).await.unwrap().is_some());
    assert_eq!(groups(&house.restarted(), &cookie).await, ["renewed"]);
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_recognised() {
    let house = House::new();
    let (cookie, session) = begun(&house).await;
    let renewed = given(&house, ours(&house, &session).await);
    house.store.set(Mode::Unheard);
    assert!(house.sessions.write(&renewed).await.is_err());
    house.store.set(Mode::Up);
    let written = house.sessions.write(&renewed).await.unwrap().expect("it is what was written");
    assert_eq!((written.generation(), groups(&house, &cookie).await), (2, vec!["renewed".to_owned()]));
    assert!(house.sessions.write(&renewed).await.unwrap().is_some(), "however often");
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_yields_to_what_came_after_it() {
    let here = House::new();
    let (cookie, session) = begun(&here).await;
    let first = given(&here, ours(&here, &session).await);
    here.store.set(Mode::Unheard);
    assert!(here.sessions.write(&first).await.is_err());
    here.store.set(Mode::Up);
    let there = here.restarted();
    let known = live(there.find(&cookie).await);
    let second = given(&there, ours(&there, &known).await);
    there.sessions.write(&second).await.unwrap().unwrap();
    let newest = here.sessions.write(&first).await.unwrap().unwrap();
    assert_eq!(newest.generation(), 3);
    assert_eq!(live(here.find(&cookie).await).generation(), 3);
    there.sessions.revoke(sent(&cookie), LogoutKind::User).await.unwrap().unwrap();
    assert!(here.sessions.write(&first).await.unwrap().is_none(), "and to its end");
    assert!(is_over(&here, &cookie).await);
}

/// Ways in which a session ends.
#[derive(Clone, Copy, Debug)]
enum End {
    User,
    Sid,
    Subject,
}

async fn end(house: &House, cookie: &str, how: End) {
    let ended = match how {
        End::User => u64::from(house.sessions.revoke(sent(cookie), LogoutKind::User).await.unwrap().is_some()),
        End::Sid => {
            let whose = Whose::Sid("sid of ann".to_owned());
            house.sessions.end_by("authentik", &whose, LogoutKind::Backchannel).await.unwrap()
        }
        End::Subject => {
            let whose = Whose::Subject("subject of ann".to_owned());
            house.sessions.end_by("authentik", &whose, LogoutKind::Backchannel).await.unwrap()
        }
    };
    assert_eq!(ended, 1, "{how:?}");
}

#[tokio::test]
async fn a_session_that_was_ended_while_it_was_renewed_stays_ended() {
    for how in [End::User, End::Sid, End::Subject] {
        for elsewhere in [false, true] {
            for is_given in [false, true] {
                let here = House::new();
                let (cookie, session) = begun(&here).await;
                let there = here.restarted();
                let ending = if elsewhere { &there } else { &here };
                let permit = ours(&here, &session).await;
                let renewed = if is_given {
                    let renewed = given(&here, permit);
                    end(ending, &cookie, how).await;
                    renewed
                } else {
                    end(ending, &cookie, how).await;
                    given(&here, permit)
                };
                let case = format!("{how:?}, elsewhere: {elsewhere}, after the provider's answer: {is_given}");
                assert!(elsewhere || is_over(&here, &cookie).await, "{case}: before the write");
                assert!(here.sessions.write(&renewed).await.unwrap().is_none(), "{case}");
                assert!(here.sessions.write(&renewed).await.unwrap().is_none(), "{case}: nor later");
                for house in [&here, &there, &here.restarted()] {
                    assert!(is_over(house, &cookie).await, "{case}");
                }
                assert!(matches!(here.sessions.claim(&session, WITHIN).await.unwrap(), Claim::Gone), "{case}");
            }
        }
    }
}

#[tokio::test]
async fn a_refusal_is_believed_only_where_nobody_has_renewed_it() {
    let here = House::new();
    let (cookie, session) = begun(&here).await;
    let permit = ours(&here, &session).await;
    // Our lease has run out, and another was faster.
    run_out(&here, &session).await;
    let there = here.restarted();
    let known = live(there.find(&cookie).await);
    let renewed = given(&there, ours(&there, &known).await);
    there.sessions.write(&renewed).await.unwrap().unwrap();
    let newest = here.sessions.end_unless_renewed(permit, LogoutKind::Expired).await.unwrap().expect("it lives");
    assert_eq!(newest.generation(), 2);
    assert_eq!(groups(&here, &cookie).await, ["renewed"]);

    let permit = ours(&here, &newest).await;
    here.store.set(Mode::Failing);
    assert!(here.sessions.end_unless_renewed(permit, LogoutKind::Expired).await.is_err());
    assert_eq!(groups(&here, &cookie).await, ["renewed"], "what cannot be read again is not believed");
    here.store.set(Mode::Up);
    run_out(&here, &newest).await;
    let again = ours(&here, &newest).await;
    assert!(here.sessions.end_unless_renewed(again, LogoutKind::Expired).await.unwrap().is_none());
    for house in [&here, &here.restarted()] {
        assert!(is_over(house, &cookie).await);
    }
    assert_eq!(here.metric(r#"doorward_logouts_total{kind="expired"}"#), 1);
}

#[tokio::test]
async fn a_provider_s_word_ends_sessions_once_for_all_replicas() {
    let here = House::new();
    let (cookie, _) = begun(&here).await;
    let bob = here.sessions.create(somebody("bob")).await.unwrap();
    let there = here.restarted();
    let until = here.sessions.clock.now().plus(HOUR);
    let whose = Whose::Sid("sid of ann".to_owned());
    let once = |provider: &'static str, word| {
        let registration = Registration([provider.as_bytes()[0]; 8]);
        LogoutTokenId { provider, registration, word, until }
    };
    let told = async |house: &House, once| house.sessions.end_once(once, &whose, LogoutKind::Backchannel).await;

    here.store.set(Mode::Failing);
    assert!(told(&here, once("authentik", "a")).await.is_err());
    here.store.set(Mode::Up);
    assert_eq!(told(&here, once("authentik", "a")).await.unwrap(), Some(1), "what failed may come again");
    for house in [&here, &there] {
        assert_eq!(told(house, once("authentik", "a")).await.unwrap(), None);
        assert!(is_over(house, &cookie).await);
        live(house.find(&bob).await);
    }
    // Another word, and the same one of another provider, which may not end what is not its own.
    assert_eq!(told(&there, once("authentik", "b")).await.unwrap(), Some(0));
    let (other, bobs) = (once("other", "a"), Whose::Sid("sid of bob".to_owned()));
    assert_eq!(there.sessions.end_once(other, &bobs, LogoutKind::Backchannel).await.unwrap(), Some(0));
    live(here.find(&bob).await);
    assert_eq!(here.metric(r#"doorward_logouts_total{kind="backchannel"}"#), 1);
}

#[tokio::test]
async fn more_sessions_of_a_person_than_one_statement_ends_all_end() {
    let house = House::new();
    for _ in 0..1_001 {
        house.sessions.create(somebody("ann")).await.unwrap();
    }
    let whose = Whose::Subject("subject of ann".to_owned());
    assert_eq!(house.sessions.end_by("authentik", &whose, LogoutKind::Backchannel).await.unwrap(), 1_001);
}

//! Renewal of sessions: when it is due, which replica has the lease, and the writing of the result.

use crate::{
    identity::{Registration, Tokens},
    session::{
        store::lease::{Lease, Leases as _},
        tests::{doubles::expiring_session, *},
    },
};

const SECOND: Duration = Duration::from_secs(1);
const WITHIN: Duration = Duration::from_secs(13);

/// A session with five minutes to go, and its cookie.
async fn sign_in(replica: &TestReplica) -> (String, Arc<CachedSession>) {
    let cookie = replica.sessions.create(expiring_session(replica, "ann", 5 * MINUTE)).await.unwrap();
    let session = expect_live(replica.find(&cookie).await);
    (cookie, session)
}

async fn acquire(replica: &TestReplica, session: &Arc<CachedSession>) -> RenewalPermit {
    match replica.sessions.renewal().acquire_lease(session, WITHIN).await.unwrap() {
        LeaseOutcome::Acquired(permit) => permit,
        other => panic!("not acquired: {other:?}"),
    }
}

/// Renews with a provider's answer: other groups, and tokens for another five minutes.
fn renew(replica: &TestReplica, permit: RenewalPermit) -> RenewedSession {
    let new = expiring_session(replica, "ann", 5 * MINUTE);
    let mut identity = new.identity;
    identity.groups = vec!["renewed".to_owned()];
    let grant = RenewedGrant { identity: Some(identity), sid_repeated: true, ..renewed_grant(new.tokens) };
    replica.sessions.renewal().renew(permit, grant)
}

/// Ends the lease that this replica has on a session.
async fn end_lease(replica: &TestReplica, session: &Arc<CachedSession>) {
    let lease = Lease { key: session.id(), generation: session.generation(), holder: replica.sessions.holder };
    replica.store.release_lease(&lease).await.unwrap();
}

async fn groups(replica: &TestReplica, cookie: &str) -> Vec<String> {
    expect_live(replica.find(cookie).await).identity().unpack().groups
}

async fn has_ended(replica: &TestReplica, cookie: &str) -> bool {
    matches!(replica.find(cookie).await, Ok(LookupOutcome::Ended))
}

#[tokio::test]
async fn a_session_is_due_before_its_token_ends_and_graceful_for_a_while_after() {
    let replica = TestReplica::new();
    let (_, session) = sign_in(&replica).await;
    let mut passed = Duration::ZERO;
    for (at, due) in [
        (Duration::ZERO, RenewalDue::No),
        ((4 * MINUTE).saturating_sub(SECOND), RenewalDue::No),
        // A quarter of the minute is spread over the sessions.
        (4 * MINUTE + 15 * SECOND, RenewalDue::Soon),
        ((5 * MINUTE).saturating_sub(SECOND), RenewalDue::Soon),
        (5 * MINUTE, RenewalDue::Overdue { within_grace: true }),
        (5 * MINUTE + HOUR, RenewalDue::Overdue { within_grace: true }),
        (5 * MINUTE + HOUR + SECOND, RenewalDue::Overdue { within_grace: false }),
    ] {
        replica.advance(at.saturating_sub(passed));
        passed = at;
        assert_eq!(replica.sessions.renewal_due(&session), due, "after {at:?}");
    }
}

#[tokio::test]
async fn sessions_that_began_together_are_due_one_after_the_other() {
    let replica = TestReplica::new();
    let mut sessions = Vec::new();
    for _ in 0..200 {
        sessions.push(sign_in(&replica).await.1);
    }
    replica.advance((4 * MINUTE).saturating_sub(SECOND));
    let mut due = Vec::new();
    for _ in 0..=16 {
        due.push(sessions.iter().filter(|session| replica.sessions.renewal_due(session) == RenewalDue::Soon).count());
        replica.advance(SECOND);
    }
    assert_eq!((due.first(), due.last()), (Some(&0), Some(&200)), "{due:?}");
    let most = due.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(most < 60, "{most} of 200 in the same second: {due:?}");
}

#[tokio::test]
async fn a_token_that_is_shorter_than_the_lead_is_kept_for_half_its_life() {
    let replica = TestReplica::new();
    let cookie = replica.sessions.create(expiring_session(&replica, "ann", 20 * SECOND)).await.unwrap();
    let session = expect_live(replica.find(&cookie).await);
    replica.advance(9 * SECOND);
    assert_eq!(replica.sessions.renewal_due(&session), RenewalDue::No);
    replica.advance(4 * SECOND);
    assert_eq!(replica.sessions.renewal_due(&session), RenewalDue::Soon);
    replica.advance(7 * SECOND);
    assert_eq!(replica.sessions.renewal_due(&session), RenewalDue::Overdue { within_grace: true });
}

#[tokio::test]
async fn what_cannot_be_renewed_or_never_ends_is_never_due() {
    let replica = TestReplica::new();
    let endless = new_session("ann");
    let single = expiring_session(&replica, "bob", MINUTE);
    let single = NewSession { tokens: Tokens { refresh: None, ..single.tokens }, ..single };
    for new in [endless, single] {
        let cookie = replica.sessions.create(new).await.unwrap();
        let session = expect_live(replica.find(&cookie).await);
        replica.advance(DAY);
        assert_eq!(replica.sessions.renewal_due(&session), RenewalDue::No, "{session:?}");
    }
}

#[tokio::test]
async fn one_replica_renews_and_the_others_get_what_it_brought() {
    let here = TestReplica::new();
    let (cookie, session) = sign_in(&here).await;
    let there = here.restarted();
    let known = expect_live(there.find(&cookie).await);
    let permit = acquire(&here, &session).await;
    assert!(matches!(
        there.sessions.renewal().acquire_lease(&known, WITHIN).await.unwrap(),
        LeaseOutcome::HeldElsewhere
    ));
    let renewed = renew(&here, permit);
    assert!(here.sessions.renewal().write(&renewed).await.unwrap().is_some());
    let LeaseOutcome::AlreadyRenewed(shared) = there.sessions.renewal().acquire_lease(&known, WITHIN).await.unwrap()
    else {
        panic!("not done")
    };
    assert_eq!(
        (shared.generation(), shared.identity().unpack().groups.as_slice()),
        (2, ["renewed".to_owned()].as_slice())
    );
    assert_eq!(shared.created(), session.created(), "its lifetime is what it was");
    assert_eq!(groups(&there, &cookie).await, ["renewed"], "and it is served from then on");
    // Any replica may do the next renewal.
    let next = acquire(&there, &shared).await;
    assert_eq!((next.record().sid.as_deref(), next.record().sid_repeated), (Some("sid of ann"), true));
}

#[tokio::test]
async fn after_a_failure_here_another_replica_may_renew() {
    let here = TestReplica::new();
    let (cookie, session) = sign_in(&here).await;
    let there = here.restarted();
    let known = expect_live(there.find(&cookie).await);
    let permit = acquire(&here, &session).await;
    here.sessions.renewal().back_off(permit).await;
    assert!(!here.sessions.may_renew(&session));
    assert!(there.sessions.may_renew(&known));
    acquire(&there, &known).await;
    here.advance(10 * SECOND);
    assert!(here.sessions.may_renew(&session), "it rests for ten seconds at the most");
}

#[tokio::test]
async fn a_lease_whose_answer_was_lost_is_still_ours_and_nobody_else_s() {
    let here = TestReplica::new();
    let (cookie, session) = sign_in(&here).await;
    let there = here.restarted();
    let known = expect_live(there.find(&cookie).await);
    here.store.set(Mode::AnswerLost);
    assert!(here.sessions.renewal().acquire_lease(&session, WITHIN).await.is_err());
    here.store.set(Mode::Available);
    assert!(matches!(
        there.sessions.renewal().acquire_lease(&known, WITHIN).await.unwrap(),
        LeaseOutcome::HeldElsewhere
    ));
    let renewed = renew(&here, acquire(&here, &session).await);
    assert!(here.sessions.renewal().write(&renewed).await.unwrap().is_some());
    assert!(matches!(
        there.sessions.renewal().acquire_lease(&known, WITHIN).await.unwrap(),
        LeaseOutcome::AlreadyRenewed(_)
    ));
}

#[tokio::test]
async fn a_renewed_session_is_served_before_it_is_written() {
    let replica = TestReplica::new();
    let (cookie, session) = sign_in(&replica).await;
    let renewed = renew(&replica, acquire(&replica, &session).await);
    replica.store.set(Mode::Failing);
    assert!(replica.sessions.renewal().write(&renewed).await.is_err());
    assert_eq!(groups(&replica, &cookie).await, ["renewed"]);
    replica.store.set(Mode::Available);
    assert!(replica.sessions.renewal().write(&renewed).await.unwrap().is_some());
    assert_eq!(groups(&replica.restarted(), &cookie).await, ["renewed"]);
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_recognised() {
    let replica = TestReplica::new();
    let (cookie, session) = sign_in(&replica).await;
    let renewed = renew(&replica, acquire(&replica, &session).await);
    replica.store.set(Mode::AnswerLost);
    assert!(replica.sessions.renewal().write(&renewed).await.is_err());
    replica.store.set(Mode::Available);
    let written = replica.sessions.renewal().write(&renewed).await.unwrap().expect("it is what was written");
    assert_eq!((written.generation(), groups(&replica, &cookie).await), (2, vec!["renewed".to_owned()]));
    assert!(replica.sessions.renewal().write(&renewed).await.unwrap().is_some(), "however often");
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_yields_to_what_came_after_it() {
    let here = TestReplica::new();
    let (cookie, session) = sign_in(&here).await;
    let first = renew(&here, acquire(&here, &session).await);
    here.store.set(Mode::AnswerLost);
    assert!(here.sessions.renewal().write(&first).await.is_err());
    here.store.set(Mode::Available);
    let there = here.restarted();
    let known = expect_live(there.find(&cookie).await);
    let second = renew(&there, acquire(&there, &known).await);
    there.sessions.renewal().write(&second).await.unwrap().unwrap();
    let newest = here.sessions.renewal().write(&first).await.unwrap().unwrap();
    assert_eq!(newest.generation(), 3);
    assert_eq!(expect_live(here.find(&cookie).await).generation(), 3);
    there.sessions.revoke(sent(&cookie), LogoutKind::User).await.unwrap().unwrap();
    assert!(here.sessions.renewal().write(&first).await.unwrap().is_none(), "and to its end");
    assert!(has_ended(&here, &cookie).await);
}

/// A way in which a session ends.
#[derive(Clone, Copy, Debug)]
enum EndedBy {
    User,
    Sid,
    Subject,
}

async fn end(replica: &TestReplica, cookie: &str, how: EndedBy) {
    let ended = match how {
        EndedBy::User => u64::from(replica.sessions.revoke(sent(cookie), LogoutKind::User).await.unwrap().is_some()),
        EndedBy::Sid => {
            let target = LogoutTarget::Sid("sid of ann".to_owned());
            replica.sessions.end_by("authentik", &target, LogoutKind::Backchannel).await.unwrap()
        }
        EndedBy::Subject => {
            let target = LogoutTarget::Subject("subject of ann".to_owned());
            replica.sessions.end_by("authentik", &target, LogoutKind::Backchannel).await.unwrap()
        }
    };
    assert_eq!(ended, 1, "{how:?}");
}

#[tokio::test]
async fn a_session_that_was_ended_while_it_was_renewed_stays_ended() {
    for how in [EndedBy::User, EndedBy::Sid, EndedBy::Subject] {
        for elsewhere in [false, true] {
            for is_answered in [false, true] {
                let here = TestReplica::new();
                let (cookie, session) = sign_in(&here).await;
                let there = here.restarted();
                let ending = if elsewhere { &there } else { &here };
                let permit = acquire(&here, &session).await;
                let renewed = if is_answered {
                    let renewed = renew(&here, permit);
                    end(ending, &cookie, how).await;
                    renewed
                } else {
                    end(ending, &cookie, how).await;
                    renew(&here, permit)
                };
                let case = format!("{how:?}, elsewhere: {elsewhere}, after the provider's answer: {is_answered}");
                assert!(elsewhere || has_ended(&here, &cookie).await, "{case}: before the write");
                assert!(here.sessions.renewal().write(&renewed).await.unwrap().is_none(), "{case}");
                assert!(here.sessions.renewal().write(&renewed).await.unwrap().is_none(), "{case}: nor later");
                for replica in [&here, &there, &here.restarted()] {
                    assert!(has_ended(replica, &cookie).await, "{case}");
                }
                assert!(
                    matches!(
                        here.sessions.renewal().acquire_lease(&session, WITHIN).await.unwrap(),
                        LeaseOutcome::Ended
                    ),
                    "{case}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_refusal_ends_a_session_only_where_no_other_replica_has_renewed_it() {
    let here = TestReplica::new();
    let (cookie, session) = sign_in(&here).await;
    let permit = acquire(&here, &session).await;
    // Our lease has run out, and another was faster.
    end_lease(&here, &session).await;
    let there = here.restarted();
    let known = expect_live(there.find(&cookie).await);
    let renewed = renew(&there, acquire(&there, &known).await);
    there.sessions.renewal().write(&renewed).await.unwrap().unwrap();
    let newest =
        here.sessions.renewal().end_unless_renewed(permit, LogoutKind::Expired).await.unwrap().expect("it lives");
    assert_eq!(newest.generation(), 2);
    assert_eq!(groups(&here, &cookie).await, ["renewed"]);

    let permit = acquire(&here, &newest).await;
    here.store.set(Mode::Failing);
    assert!(here.sessions.renewal().end_unless_renewed(permit, LogoutKind::Expired).await.is_err());
    assert_eq!(
        groups(&here, &cookie).await,
        ["renewed"],
        "a refusal is not believed while the row cannot be read again"
    );
    here.store.set(Mode::Available);
    end_lease(&here, &newest).await;
    let again = acquire(&here, &newest).await;
    assert!(here.sessions.renewal().end_unless_renewed(again, LogoutKind::Expired).await.unwrap().is_none());
    for replica in [&here, &here.restarted()] {
        assert!(has_ended(replica, &cookie).await);
    }
    assert_eq!(here.metric(r#"doorward_logouts_total{kind="expired"}"#), 1);
}

#[tokio::test]
async fn a_provider_s_word_ends_sessions_once_for_all_replicas() {
    let here = TestReplica::new();
    let (cookie, _) = sign_in(&here).await;
    let bob = here.sessions.create(new_session("bob")).await.unwrap();
    let there = here.restarted();
    let until = here.sessions.clock.now().plus(HOUR);
    let target = LogoutTarget::Sid("sid of ann".to_owned());
    let logout_token = |provider: &'static str, jti| {
        let registration = Registration([provider.as_bytes()[0]; 8]);
        LogoutTokenId { provider, registration, jti, until }
    };
    let log_out =
        async |replica: &TestReplica, token| replica.sessions.end_once(token, &target, LogoutKind::Backchannel).await;

    here.store.set(Mode::Failing);
    assert!(log_out(&here, logout_token("authentik", "a")).await.is_err());
    here.store.set(Mode::Available);
    assert_eq!(log_out(&here, logout_token("authentik", "a")).await.unwrap(), Some(1), "what failed may come again");
    for replica in [&here, &there] {
        assert_eq!(log_out(replica, logout_token("authentik", "a")).await.unwrap(), None);
        assert!(has_ended(replica, &cookie).await);
        expect_live(replica.find(&bob).await);
    }
    // Another `jti`, and the same one of another provider, which may not end what is not its own.
    assert_eq!(log_out(&there, logout_token("authentik", "b")).await.unwrap(), Some(0));
    let (other, bobs) = (logout_token("other", "a"), LogoutTarget::Sid("sid of bob".to_owned()));
    assert_eq!(there.sessions.end_once(other, &bobs, LogoutKind::Backchannel).await.unwrap(), Some(0));
    expect_live(here.find(&bob).await);
    assert_eq!(here.metric(r#"doorward_logouts_total{kind="backchannel"}"#), 1);
}

#[tokio::test]
async fn more_sessions_of_a_person_than_one_statement_ends_all_end() {
    let replica = TestReplica::new();
    for _ in 0..1_001 {
        replica.sessions.create(new_session("ann")).await.unwrap();
    }
    let target = LogoutTarget::Subject("subject of ann".to_owned());
    assert_eq!(replica.sessions.end_by("authentik", &target, LogoutKind::Backchannel).await.unwrap(), 1_001);
}

//! Invalidations between replicas by `LISTEN` and `NOTIFY`, and revalidation where notifications do not arrive.

use crate::session::{
    admin::{PageCursor, SessionAdmin, SessionFilter},
    tests::postgres::{
        database::{ChaosProxy, LinkState, PgBouncer},
        *,
    },
};

#[tokio::test]
async fn a_session_revoked_at_one_replica_is_refused_by_another_that_was_notified_and_asked_once() {
    let db = TestDatabase::fresh();
    let (here, there) = (Replica::listening(&db).await, Replica::listening(&db).await);
    let cookie = here.sign_in("ann").await;
    expect_live(there.find(&cookie).await);
    here.sessions.revoke(sent(&cookie), LogoutKind::User).await.unwrap().unwrap();
    eventually("it is refused", async || matches!(there.find(&cookie).await, Ok(LookupOutcome::Ended))).await;
    // A request may ask, and the upkeep at the same time.
    assert!((1..=2).contains(&there.asked("confirm")), "{}", there.asked("confirm"));
    assert_eq!(there.asked("load"), 1);
}

#[tokio::test]
async fn without_a_connection_to_listen_with_it_is_refused_all_the_same() {
    let db = TestDatabase::fresh().pool_size(1);
    let (here, there) = (Replica::start(&db).await, Replica::start(&db).await);
    let cookie = here.sign_in("ann").await;
    expect_live(there.find(&cookie).await);
    here.sessions.revoke(sent(&cookie), LogoutKind::User).await.unwrap().unwrap();
    eventually("it is refused", async || matches!(there.find(&cookie).await, Ok(LookupOutcome::Ended))).await;
    assert!(!there.is_listening() && there.asked("confirm") > 0);
}

#[tokio::test]
async fn a_session_that_ends_while_disconnected_is_refused_after_a_reconnect() {
    let db = TestDatabase::fresh();
    let proxy = ChaosProxy::to(Database::shared().port).await;
    let there = Replica::listening(&db.through(proxy.port)).await;
    let cookie = Replica::start(&db).await.sign_in("ann").await;
    expect_live(there.find(&cookie).await);
    proxy.set(LinkState::Cut);
    eventually("it is disconnected", async || !there.is_listening()).await;
    db.sql("DELETE FROM doorward_sessions");
    expect_live(there.find(&cookie).await);
    proxy.set(LinkState::Open);
    eventually("it is refused", async || matches!(there.find(&cookie).await, Ok(LookupOutcome::Ended))).await;
    eventually("it listens again", async || there.is_listening()).await;
}

#[tokio::test]
async fn past_a_pooler_in_transaction_mode_notifications_arrive() {
    let bouncer = PgBouncer::start(Database::shared(), "transaction", 4);
    let direct = TestDatabase::fresh();
    let mut db = direct.through(bouncer.port);
    db.server.listen_url = Some(direct.server.url.clone());
    let (here, there) = (Replica::listening(&db).await, Replica::listening(&db).await);
    let cookie = here.sign_in("ann").await;
    expect_live(there.find(&cookie).await);
    here.sessions.revoke(sent(&cookie), LogoutKind::User).await.unwrap().unwrap();
    eventually("it is refused", async || matches!(there.find(&cookie).await, Ok(LookupOutcome::Ended))).await;
    assert!(there.is_listening() && there.asked("confirm") <= 2);
}

#[tokio::test]
async fn an_operator_ends_sessions_that_running_replicas_then_refuse_and_count_once() {
    let db = TestDatabase::fresh();
    let replicas = [Replica::listening(&db).await, Replica::listening(&db).await];
    let mut cookies = Vec::new();
    for name in ["ann", "ann", "bob", "eve"] {
        let cookie = replicas[0].sign_in(name).await;
        expect_live(replicas[1].find(&cookie).await);
        cookies.push(cookie);
    }
    let admin = SessionAdmin::open(settings(&db), Arc::new(keyring()), Clock::System, metrics().store).await.unwrap();
    let all = admin.next_page(&SessionFilter::All, &mut PageCursor::first()).await.unwrap().unwrap();
    assert_eq!(all.len(), 4);
    assert!(!format!("{all:?}").contains("token of"));
    let bob = all.iter().find(|entry| entry.subject == "subject of bob").unwrap();
    assert_eq!(admin.find(&bob.id[..12]).await.unwrap().owner.unwrap().email, "bob@example.com");
    assert_eq!(admin.revoke_all(&SessionFilter::User("ANN@example.com".to_owned())).await.unwrap(), 2);
    assert_eq!(admin.revoke(&bob.id[..12]).await.unwrap(), 1);
    assert!(admin.revoke(&bob.id[..12]).await.is_err());
    for (cookie, ended) in cookies.iter().zip([true, true, true, false]) {
        for replica in &replicas {
            eventually("it is as it should be", async || {
                matches!(
                    (replica.find(cookie).await, ended),
                    (Ok(LookupOutcome::Ended), true) | (Ok(LookupOutcome::Live(_)), false)
                )
            })
            .await;
        }
    }
    let operator = r#"doorward_logouts_total{kind="operator"}"#;
    let counted = || replicas.iter().map(|replica| replica.metric(operator)).sum::<u64>();
    eventually("they are counted", async || counted() == 3).await;
    assert_eq!(admin.revoke_all(&SessionFilter::All).await.unwrap(), 1);
    eventually("they are counted", async || counted() == 4).await;
}

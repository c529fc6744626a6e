//! Rows in PostgreSQL: few queries, by indexes, whole.

use crate::session::{
    store::{
        Cutoffs, Row, Touch,
        rotation::{MOST_COUNTED, Reseal, Rotation as _},
    },
    tests::postgres::*,
};

#[tokio::test]
async fn ten_thousand_who_miss_the_same_session_are_one_query_and_made_up_cookies_none() {
    let place = Place::fresh();
    let cookie = Replica::of(&place).await.sign_in("ann").await;
    let replica = Replica::of(&place).await;
    for found in join_all((0..10_000).map(|_| replica.find(&cookie))).await {
        expect_live(found);
    }
    for _ in 0..100_000 {
        let made_up = crate::crypto::encode(&crate::crypto::random::<48>());
        assert!(matches!(replica.find(&made_up).await, Ok(LookupOutcome::NotOurs)));
    }
    assert_eq!((replica.asked("load"), replica.asked("confirm")), (1, 0));
}

#[tokio::test]
async fn every_statement_that_looks_for_rows_finds_them_by_an_index() {
    let place = Place::fresh();
    drop(place.opened().await);
    Database::shared().fill(
        &place.name,
        "SELECT sha256(n::text::bytea), 'authentik', 'subject ' || n, 'sid ' || n, 1, \
         1000000 + n, 1000000 + n, 'old!' FROM generate_series(1, 1000000) AS n",
    );
    let scans = async || {
        // A backend reports what it did when it ends, at the latest.
        let gone = "SELECT count(*) FROM pg_stat_activity \
                    WHERE datname = current_database() AND application_name = 'doorward'";
        eventually("the store's connections end", async || place.sql(gone) == "0").await;
        place.sql("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'doorward_sessions'")
    };
    let before = scans().await;
    let store = place.opened().await;
    let key = SessionId([7; 32]);
    let now = Timestamp::from_unix(1_000_100);
    store.load(&key).await.unwrap();
    store.versions(&[key; 100]).await.unwrap();
    store.touch(&[Touch { key, last_seen: now }; 100]).await.unwrap();
    store.delete(&Selection::Keys(vec![key; 100]), 500).await.unwrap();
    let ann = Selection::Subject { provider: "authentik".to_owned(), subject: "subject 77".to_owned() };
    assert_eq!(store.delete(&ann, 500).await.unwrap().len(), 1);
    assert_eq!(store.purge(Cutoffs { created: now, last_seen: now }, 500).await.unwrap(), 99);
    assert_eq!(store.page(&SessionId::FIRST, &SessionId::LAST, 500).await.unwrap().len(), 500);
    assert_eq!(store.count_others(*b"new!").await.unwrap(), [(*b"old!", u64::from(MOST_COUNTED))]);
    let rows = store.sealed_by(*b"old!", &key, 200).await.unwrap();
    let reseal = |row: &Row| Reseal { key: row.key, generation: 1, from: *b"old!", sealed: b"new!".to_vec() };
    assert_eq!(store.reseal(&rows.iter().map(reseal).collect::<Vec<_>>()).await.unwrap(), 200);
    assert_eq!(store.count_others(*b"old!").await.unwrap(), [(*b"new!", 200)]);
    store.forget_bequests(now).await.unwrap();
    drop(store);
    assert_eq!(scans().await, before, "a statement has read the whole table");
}

#[tokio::test]
async fn a_row_read_while_others_write_is_whole() {
    let place = Place::fresh();
    let store = place.opened().await;
    let rows = (0..50).map(|number| Row {
        key: SessionId([number; 32]),
        provider: "authentik".to_owned(),
        subject: "it's \"quoted\" \\ and é".to_owned(),
        sid: None,
        generation: 1,
        created: Timestamp::from_unix(1),
        last_seen: Timestamp::from_unix(1),
        sealed: vec![number; 100_000],
    });
    let written = join_all(rows.map(|row| async { (store.insert(row.clone()).await, row) })).await;
    for (outcome, row) in written {
        outcome.unwrap();
        assert_eq!(store.load(&row.key).await.unwrap(), Some(row));
    }
}

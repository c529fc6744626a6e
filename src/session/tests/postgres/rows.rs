//! Rows in PostgreSQL: the number of queries, the use of indexes, and consistent reads.

use crate::session::{
    store::{
        Cutoffs, Row, Touch,
        rotation::{KeyRotation as _, MAX_COUNTED_ROWS, ReencryptedRow},
    },
    tests::postgres::*,
};

#[tokio::test]
async fn ten_thousand_who_miss_the_same_session_are_one_query_and_made_up_cookies_none() {
    let db = TestDatabase::fresh();
    let cookie = Replica::start(&db).await.sign_in("ann").await;
    let replica = Replica::start(&db).await;
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
    let db = TestDatabase::fresh();
    drop(db.opened().await);
    Database::shared().fill(
        &db.name,
        "SELECT sha256(n::text::bytea), 'authentik', 'subject ' || n, 'sid ' || n, 1, \
         1000000 + n, 1000000 + n, 'old!' FROM generate_series(1, 1000000) AS n",
    );
    let scans = async || {
        // A backend reports what it did when it ends, at the latest.
        let gone = "SELECT count(*) FROM pg_stat_activity \
                    WHERE datname = current_database() AND application_name = 'doorward'";
        eventually("the store's connections end", async || db.sql(gone) == "0").await;
        db.sql("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'doorward_sessions'")
    };
    let before = scans().await;
    let store = db.opened().await;
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
    assert_eq!(store.count_rows_by_other_secrets(*b"new!").await.unwrap(), [(*b"old!", u64::from(MAX_COUNTED_ROWS))]);
    let rows = store.rows_sealed_by(*b"old!", &key, 200).await.unwrap();
    let reencrypted =
        |row: &Row| ReencryptedRow { key: row.key, generation: 1, from: *b"old!", sealed: b"new!".to_vec() };
    assert_eq!(store.reencrypt(&rows.iter().map(reencrypted).collect::<Vec<_>>()).await.unwrap(), 200);
    assert_eq!(store.count_rows_by_other_secrets(*b"old!").await.unwrap(), [(*b"new!", 200)]);
    store.delete_retired_keys(now).await.unwrap();
    drop(store);
    assert_eq!(scans().await, before, "a statement has read the whole table");
}

#[tokio::test]
async fn a_row_read_while_others_write_is_whole() {
    let db = TestDatabase::fresh();
    let store = db.opened().await;
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

//! Contract of [`Store`], run against every store, and tests of the SQLite file.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use crate::{
    clock::Timestamp,
    session::{
        cookie::SessionId,
        store::{
            Cutoffs, Row, RowVersion, Selection, Store, Touch, Unavailable, memory::MemoryStore,
            postgres::PostgresStore, sqlite::SqliteStore,
        },
        tests::postgres::TestDatabase,
    },
};

/// Makes one test for each promise and store.
macro_rules! every_store {
    ($($promise:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test] async fn $promise() { super::$promise(&super::MemoryStore::default()).await; })+
        }
        mod sqlite {
            $(#[tokio::test] async fn $promise() {
                let directory = tempfile::tempdir().unwrap();
                super::$promise(&super::SqliteStore::open(&directory.path().join("s.db")).await.unwrap()).await;
            })+
        }
        mod postgres {
            $(#[tokio::test] async fn $promise() {
                let store: super::PostgresStore = super::TestDatabase::fresh().opened().await;
                super::$promise(&store).await;
            })+
        }
    };
}

pub(super) use every_store;

every_store!(
    what_was_written_is_read_as_it_was,
    a_row_is_never_overwritten,
    only_the_first_who_removes_a_row_gets_its_key,
    a_person_and_everybody_can_be_removed_in_small_batches,
    of_many_keys_those_with_a_row_are_returned_with_their_generation,
    pages_follow_the_keys_and_stay_within_their_bounds,
    what_was_left_to_be_counted_is_taken_once,
    a_use_moves_forward_only_and_makes_nothing,
    a_purge_removes_what_is_over_and_no_more_than_its_limit,
    a_store_that_is_there_answers_a_ping,
    many_at_once_do_not_disturb_each_other,
);

pub(super) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix(seconds)
}

pub(super) fn row(number: u8, created: u64, last_seen: u64) -> Row {
    Row {
        key: SessionId([number; 32]),
        provider: "authentik".to_owned(),
        subject: format!("subject {number}"),
        sid: number.is_multiple_of(2).then(|| "sid".to_owned()),
        generation: 1,
        created: at(created),
        last_seen: at(last_seen),
        sealed: vec![number; 5_000],
    }
}

async fn what_was_written_is_read_as_it_was(store: &dyn Store) {
    for number in [1, 2] {
        store.insert(row(number, 10, 20)).await.unwrap();
    }
    for number in [1, 2] {
        assert_eq!(store.load(&SessionId([number; 32])).await.unwrap(), Some(row(number, 10, 20)));
    }
    assert_eq!(store.load(&SessionId([3; 32])).await.unwrap(), None);
}

async fn a_row_is_never_overwritten(store: &dyn Store) {
    store.insert(row(1, 10, 20)).await.unwrap();
    assert!(matches!(store.insert(row(1, 11, 21)).await, Err(Unavailable::Failed(_))));
    assert_eq!(store.load(&SessionId([1; 32])).await.unwrap(), Some(row(1, 10, 20)));
}

async fn only_the_first_who_removes_a_row_gets_its_key(store: &dyn Store) {
    store.insert(row(1, 10, 20)).await.unwrap();
    let both = Selection::Keys(vec![SessionId([1; 32]), SessionId([2; 32])]);
    assert_eq!(store.delete(&both, 9).await.unwrap(), [SessionId([1; 32])]);
    assert_eq!(store.delete(&both, 9).await.unwrap(), []);
    assert_eq!(store.load(&SessionId([1; 32])).await.unwrap(), None);
}

async fn a_person_and_everybody_can_be_removed_in_small_batches(store: &dyn Store) {
    for number in 0..20 {
        let subject = if number < 5 { "ann" } else { "bob" }.to_owned();
        store.insert(Row { subject, ..row(number, 10, 20) }).await.unwrap();
    }
    let of = |provider: &str, subject: &str| Selection::Subject {
        provider: provider.to_owned(),
        subject: subject.to_owned(),
    };
    assert_eq!(store.delete(&of("another", "ann"), 9).await.unwrap(), []);
    assert_eq!(store.delete(&of("authentik", "ann"), 3).await.unwrap().len(), 3);
    assert_eq!(store.delete(&of("authentik", "ann"), 3).await.unwrap().len(), 2);
    assert_eq!(store.delete(&Selection::Everything, 9).await.unwrap().len(), 9);
    assert_eq!(store.delete(&Selection::Everything, 9).await.unwrap().len(), 6);
    assert_eq!(store.page(&SessionId::FIRST, &SessionId::LAST, 9).await.unwrap(), []);
}

async fn of_many_keys_those_with_a_row_are_returned_with_their_generation(store: &dyn Store) {
    store.insert(row(1, 10, 20)).await.unwrap();
    store.insert(Row { generation: 7, ..row(2, 10, 20) }).await.unwrap();
    let mut versions = store.versions(&[1, 2, 3].map(|number| SessionId([number; 32]))).await.unwrap();
    versions.sort_unstable_by_key(|version| version.key);
    let expected = [(1, 1), (2, 7)].map(|(number, generation)| RowVersion { key: SessionId([number; 32]), generation });
    assert_eq!(versions, expected);
}

async fn pages_follow_the_keys_and_stay_within_their_bounds(store: &dyn Store) {
    for number in [9, 3, 7, 5, 1] {
        store.insert(row(number, 10, 20)).await.unwrap();
    }
    for (from, to, limit, expected) in
        [(0, 255, 9, [1, 3, 5, 7, 9].as_slice()), (3, 7, 9, &[3, 5, 7]), (2, 255, 2, &[3, 5]), (10, 255, 9, &[])]
    {
        let rows = store.page(&SessionId([from; 32]), &SessionId([to; 32]), limit).await.unwrap();
        assert_eq!(rows, expected.iter().map(|number| row(*number, 10, 20)).collect::<Vec<_>>());
    }
}

async fn what_was_left_to_be_counted_is_taken_once(store: &dyn Store) {
    assert_eq!(store.take_uncounted().await.unwrap(), 0);
    store.add_uncounted(3).await.unwrap();
    store.add_uncounted(4).await.unwrap();
    assert_eq!(store.take_uncounted().await.unwrap(), 7);
    assert_eq!(store.take_uncounted().await.unwrap(), 0);
}

async fn a_use_moves_forward_only_and_makes_nothing(store: &dyn Store) {
    store.insert(row(1, 10, 20)).await.unwrap();
    for (seen, expected) in [(30, 30), (25, 30), (31, 31)] {
        let touch = |number| Touch { key: SessionId([number; 32]), last_seen: at(seen) };
        store.touch(&[touch(1), touch(9)]).await.unwrap();
        assert_eq!(store.load(&SessionId([1; 32])).await.unwrap(), Some(row(1, 10, expected)));
    }
    store.touch(&[]).await.unwrap();
    assert_eq!(store.load(&SessionId([9; 32])).await.unwrap(), None);
}

async fn a_purge_removes_what_is_over_and_no_more_than_its_limit(store: &dyn Store) {
    for (number, created, last_seen) in [(1, 10, 200), (2, 11, 200), (3, 150, 150), (4, 150, 151), (5, 10, 150)] {
        store.insert(row(number, created, last_seen)).await.unwrap();
    }
    let cutoffs = Cutoffs { created: at(10), last_seen: at(150) };
    assert_eq!(store.purge(cutoffs, 2).await.unwrap(), 2);
    assert_eq!(store.purge(cutoffs, 2).await.unwrap(), 1);
    assert_eq!(store.purge(cutoffs, 2).await.unwrap(), 0);
    for (number, stays) in [(1, false), (2, true), (3, false), (4, true), (5, false)] {
        assert_eq!(store.load(&SessionId([number; 32])).await.unwrap().is_some(), stays, "row {number}");
    }
}

async fn a_store_that_is_there_answers_a_ping(store: &dyn Store) {
    store.ping().await.unwrap();
}

async fn many_at_once_do_not_disturb_each_other(store: &dyn Store) {
    let all = (0..100).map(|number| async move {
        store.insert(row(number, 10, 20)).await.unwrap();
        store.touch(&[Touch { key: SessionId([number; 32]), last_seen: at(30) }]).await.unwrap();
        store.load(&SessionId([number; 32])).await.unwrap()
    });
    for (number, found) in (0..100).zip(futures_util::future::join_all(all).await) {
        assert_eq!(found, Some(row(number, 10, 30)));
    }
}

/// A directory that goes away with the test, and a file in it.
fn temporary_path() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sessions.db");
    (directory, path)
}

async fn refusal(path: &std::path::Path) -> String {
    match SqliteStore::open(path).await {
        Err(Unavailable::Unusable(why)) => why,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it opened"),
    }
}

#[tokio::test]
async fn what_was_written_is_in_the_file_though_nobody_closed_it() {
    let (_directory, path) = temporary_path();
    let running = SqliteStore::open(&path).await.unwrap();
    running.insert(row(1, 10, 20)).await.unwrap();
    running.insert(row(2, 10, 20)).await.unwrap();
    running.delete(&Selection::from(SessionId([2; 32])), 1).await.unwrap();
    let next = SqliteStore::open(&path).await.unwrap();
    assert_eq!(next.load(&SessionId([1; 32])).await.unwrap(), Some(row(1, 10, 20)));
    assert_eq!(next.load(&SessionId([2; 32])).await.unwrap(), None);
    drop(running);
}

#[tokio::test]
async fn a_copy_of_file_and_journal_as_a_killed_process_leaves_them_holds_everything() {
    let (_directory, path) = temporary_path();
    let (_elsewhere, copy) = temporary_path();
    let running = SqliteStore::open(&path).await.unwrap();
    running.insert(row(1, 10, 20)).await.unwrap();
    for suffix in ["", "-wal"] {
        let with = |path: &PathBuf| format!("{}{suffix}", path.display());
        fs::copy(with(&path), with(&copy)).unwrap();
    }
    let next = SqliteStore::open(&copy).await.unwrap();
    assert_eq!(next.load(&SessionId([1; 32])).await.unwrap(), Some(row(1, 10, 20)));
}

#[tokio::test]
async fn the_file_and_its_journal_are_for_their_owner_alone() {
    let (directory, path) = temporary_path();
    let store = SqliteStore::open(&path).await.unwrap();
    store.insert(row(1, 10, 20)).await.unwrap();
    for entry in fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
    }
}

#[tokio::test]
async fn a_place_that_cannot_be_a_store_is_refused_with_a_mend() {
    let (directory, path) = temporary_path();
    let missing = directory.path().join("missing").join("sessions.db");
    assert!(refusal(&missing).await.contains("create the directory"), "{}", refusal(&missing).await);
    assert!(refusal(directory.path()).await.contains("must name a file"), "{}", refusal(directory.path()).await);
    fs::write(
        &path,
        "this is a text that new_session else needs, and it is long enough to be read as a header. ".repeat(9),
    )
    .unwrap();
    let before = fs::read(&path).unwrap();
    assert!(refusal(&path).await.contains("not a SQLite database"), "{}", refusal(&path).await);
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn the_database_of_another_program_is_left_untouched() {
    let (_directory, path) = temporary_path();
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (id INTEGER)").unwrap();
    let before = fs::read(&path).unwrap();
    assert!(refusal(&path).await.contains("another program"));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_newer_schema_is_used_where_it_says_that_it_may_be() {
    for (oldest_reader, usable) in [(1, true), (99, false)] {
        let (_directory, path) = temporary_path();
        SqliteStore::open(&path).await.unwrap().insert(row(1, 10, 20)).await.unwrap();
        let newer = format!(
            "ALTER TABLE sessions ADD COLUMN purpose INTEGER; PRAGMA user_version = 99; \
             UPDATE compatibility SET oldest_reader = {oldest_reader}"
        );
        rusqlite::Connection::open(&path).unwrap().execute_batch(&newer).unwrap();
        if usable {
            let store = SqliteStore::open(&path).await.unwrap();
            assert_eq!(store.load(&SessionId([1; 32])).await.unwrap(), Some(row(1, 10, 20)));
            store.insert(row(2, 10, 20)).await.unwrap();
        } else {
            assert!(refusal(&path).await.contains("newer version"));
        }
        let version: u32 = rusqlite::Connection::open(&path)
            .unwrap()
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .unwrap();
        assert_eq!(version, 99, "nothing is ever taken back");
    }
}

#[tokio::test]
async fn a_file_that_goes_away_is_an_outage_and_is_not_created_again() {
    let (_directory, path) = temporary_path();
    let store = SqliteStore::open(&path).await.unwrap();
    fs::remove_file(&path).unwrap();
    assert!(store.ping().await.is_err());
    assert!(store.insert(row(1, 10, 20)).await.is_err());
    assert!(!path.exists());
}

#[tokio::test]
async fn a_write_waits_for_another_process_and_reads_do_not() {
    let (_directory, path) = temporary_path();
    let store = SqliteStore::open(&path).await.unwrap();
    store.insert(row(1, 10, 20)).await.unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut writing = std::pin::pin!(store.insert(row(2, 10, 20)));
    let waits = std::future::poll_fn(|cx| std::task::Poll::Ready(writing.as_mut().poll(cx).is_pending())).await;
    assert!(waits);
    assert!(store.load(&SessionId([1; 32])).await.unwrap().is_some());
    other.execute_batch("COMMIT").unwrap();
    writing.await.unwrap();
}

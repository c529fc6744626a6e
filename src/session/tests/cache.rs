//! Sessions in memory that have something in common.

use super::{
    cache::Cache,
    doubles::{keyring, somebody},
    *,
};

fn live(token: &Token) -> Arc<Live> {
    let now = Timestamp::from_unix(1_000);
    let record = Record::new(somebody("ann"), now);
    let row = record.seal(&keyring(), token.key());
    Arc::new(Live::new(&record, token, &row, Hearing::of_nobody().asking(now), None))
}

/// Two cookies that begin with the same 96 bits, as no two ever do.
fn twins() -> [Token; 2] {
    let [one, other] = [Token::fresh(&keyring()), Token::fresh(&keyring())].map(|token| token.encode());
    let twin = format!("{}{}", &one[..16], &other[16..]);
    [one, twin].map(|text| Token::parse(text.as_bytes()).unwrap())
}

#[tokio::test]
async fn of_two_sessions_with_one_handle_each_is_only_ever_found_by_its_own_cookie() {
    let (cache, [one, twin]) = (Cache::new(), twins());
    let found = |token: &Token| cache.get(&token.spelling()).map(|live| live.key());
    cache.insert(live(&one));
    assert_eq!((found(&one), found(&twin)), (Some(one.key()), None));
    cache.insert(live(&twin));
    assert_eq!((found(&one), found(&twin)), (None, Some(twin.key())), "the newer one has the place");
    assert!(cache.forget(&one.key()).is_some(), "the older one is still known by its key");
    assert_eq!(found(&twin), Some(twin.key()), "and leaves without the other");
    assert!(cache.forget(&twin.key()).is_some());
    assert_eq!((found(&one), found(&twin)), (None, None));
}

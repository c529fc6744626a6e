//! The session cache: two cookies with the same hash.

use crate::{
    crypto::{self, Purpose},
    session::tests::{
        doubles::{HOST, TestReplica, keyring, new_session, sent},
        *,
    },
};

/// A cookie of ours that begins with the same 96 bits as another one: too rare to happen by itself.
fn twin_of(cookie: &str) -> Token {
    let mut id: [u8; 32] = crypto::random();
    id[..12].copy_from_slice(&crypto::decode(&cookie.as_bytes()[..16]).unwrap());
    let tag = keyring().tag(Purpose::SessionCookie, HOST.as_bytes(), &id);
    Token::parse(crypto::encode(&[id.as_slice(), &tag].concat()).as_bytes()).unwrap()
}

#[tokio::test]
async fn two_sessions_with_the_same_cookie_hash_live_and_end_each_by_its_own_cookie() {
    let replica = TestReplica::new();
    let ann = replica.sessions.create(new_session("ann")).await.unwrap();
    let token = twin_of(&ann);
    replica
        .store
        .insert(Record::new(new_session("bob"), replica.sessions.clock.now()).seal(&keyring(), token.id()))
        .await
        .unwrap();
    let bob = token.encode();
    assert_eq!(ann[..16], bob[..16]);
    for _ in 0..2 {
        for (cookie, name) in [(&ann, "ann"), (&bob, "bob")] {
            assert_eq!(expect_live(replica.find(cookie).await).identity().user(), name);
            assert_eq!(replica.get_cached(cookie).unwrap().identity().user(), name);
        }
        assert!(replica.get_cached(&ann).is_none(), "the newer one has the place");
    }
    assert_eq!(replica.sessions.revoke(sent(&ann), LogoutKind::User).await.unwrap().unwrap().identity.user, "ann");
    assert!(matches!(replica.find(&ann).await, Ok(LookupOutcome::Ended)));
    assert_eq!(expect_live(replica.find(&bob).await).identity().user(), "bob");
    assert_eq!(replica.get_cached(&bob).unwrap().identity().user(), "bob");
    replica.sessions.revoke(sent(&bob), LogoutKind::User).await.unwrap().unwrap();
    assert!(replica.get_cached(&bob).is_none() && matches!(replica.find(&bob).await, Ok(LookupOutcome::Ended)));
}

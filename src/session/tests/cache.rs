//! Sessions in memory that have something in common.

use crate::{
    crypto::{self, Purpose},
    session::tests::{
        doubles::{HOST, House, keyring, sent, somebody},
        *,
    },
};

/// A cookie of ours that begins with the same 96 bits as another one, as no two ever do.
fn twin_of(cookie: &str) -> Token {
    let mut id: [u8; 32] = crypto::random();
    id[..12].copy_from_slice(&crypto::decode(&cookie.as_bytes()[..16]).unwrap());
    let tag = keyring().tag(Purpose::SessionCookie, HOST.as_bytes(), &id);
    Token::parse(crypto::encode(&[id.as_slice(), &tag].concat()).as_bytes()).unwrap()
}

#[tokio::test]
async fn two_sessions_with_one_handle_live_and_end_each_by_its_own_cookie() {
    let house = House::new();
    let ann = house.sessions.create(somebody("ann")).await.unwrap();
    let token = twin_of(&ann);
    house
        .store
        .insert(Record::new(somebody("bob"), house.sessions.clock.now()).seal(&keyring(), token.key()))
        .await
        .unwrap();
    let bob = token.encode();
    assert_eq!(ann[..16], bob[..16]);
    for _ in 0..2 {
        for (cookie, name) in [(&ann, "ann"), (&bob, "bob")] {
            assert_eq!(live(house.find(cookie).await).who().user(), name);
            assert_eq!(house.recalls(cookie).unwrap().who().user(), name);
        }
        assert!(house.recalls(&ann).is_none(), "the newer one has the place");
    }
    assert_eq!(house.sessions.revoke(sent(&ann), LogoutKind::User).await.unwrap().unwrap().identity.user, "ann");
    assert!(matches!(house.find(&ann).await, Ok(Found::Ended)));
    assert_eq!(live(house.find(&bob).await).who().user(), "bob");
    assert_eq!(house.recalls(&bob).unwrap().who().user(), "bob");
    house.sessions.revoke(sent(&bob), LogoutKind::User).await.unwrap().unwrap();
    assert!(house.recalls(&bob).is_none() && matches!(house.find(&bob).await, Ok(Found::Ended)));
}

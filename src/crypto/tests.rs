//! Tests of keys and of key rotation.

use proptest::prelude::*;

use super::*;

fn ring(secrets: &[&str]) -> Keyring {
    let secrets: Vec<_> = secrets.iter().map(|secret| SecretString::from(secret.repeat(32))).collect();
    Keyring::new(&secrets).unwrap()
}

#[test]
fn a_rotated_secret_still_opens_and_a_dropped_one_does_not() {
    let old = ring(&["a"]);
    let (sealed, tag) =
        (old.seal(Purpose::SessionRow, b"row", b"plain"), old.tag(Purpose::SessionCookie, b"host", b"id"));
    let rotated = ring(&["b", "a"]);
    assert_eq!(rotated.open(Purpose::SessionRow, b"row", &sealed).as_deref(), Some(b"plain".as_slice()));
    assert!(rotated.verify_tag(Purpose::SessionCookie, b"host", b"id", &tag));
    let dropped = ring(&["b"]);
    assert_eq!(dropped.open(Purpose::SessionRow, b"row", &sealed), None);
    assert!(!dropped.verify_tag(Purpose::SessionCookie, b"host", b"id", &tag));
}

#[test]
fn what_an_older_secret_sealed_is_reencrypted_and_nothing_else_is() {
    let (old, rotated, new) = (ring(&["a"]), ring(&["b", "a"]), ring(&["b"]));
    let sealed = old.seal(Purpose::SessionRow, b"row", b"plain");
    let anew = rotated.reencrypt(Purpose::SessionRow, b"row", &sealed).unwrap();
    assert_eq!(new.open(Purpose::SessionRow, b"row", &anew).as_deref(), Some(b"plain".as_slice()));
    assert_eq!((sealed_by(&sealed), sealed_by(&anew)), (Some(old.newest()), Some(new.newest())));
    assert_eq!(rotated.reencrypt(Purpose::SessionRow, b"row", &anew), None, "it is the newest already");
    assert_eq!(rotated.reencrypt(Purpose::SessionRow, b"another row", &sealed), None);
    assert_eq!(new.reencrypt(Purpose::SessionRow, b"row", &sealed), None, "its secret is not known");
    assert_eq!(rotated.reencrypt(Purpose::SessionRow, b"row", b"abc"), None);
}

#[test]
fn a_retired_cookie_key_verifies_session_cookies_and_opens_nothing() {
    let (old, rotated, new) = (ring(&["a"]), ring(&["b", "a"]), ring(&["b"]));
    let retired = rotated.older_cookie_keys();
    let [(secret, sealed)] = retired.as_slice() else { panic!("{}", retired.len()) };
    assert_eq!(*secret, old.newest());
    new.load_retired(retired.clone());
    assert!(new.verify_tag(Purpose::SessionCookie, b"host", b"id", &old.tag(Purpose::SessionCookie, b"host", b"id")));
    assert!(!new.verify_tag(
        Purpose::SessionCookie,
        b"host",
        b"id",
        &ring(&["c"]).tag(Purpose::SessionCookie, b"host", b"id")
    ));
    assert!(!new.verify_tag(Purpose::LoginCookie, b"host", b"id", &old.tag(Purpose::LoginCookie, b"host", b"id")));
    assert_eq!(new.open(Purpose::SessionRow, b"row", &old.seal(Purpose::SessionRow, b"row", b"plain")), None);
    // Under another id, sealed by another, or replaced by the next load.
    for key in [([0; KEY_ID_LENGTH], sealed.clone()), (*secret, vec![0; 90])] {
        new.load_retired(vec![key]);
        assert!(!new.verify_tag(
            Purpose::SessionCookie,
            b"host",
            b"id",
            &old.tag(Purpose::SessionCookie, b"host", b"id")
        ));
    }
}

#[test]
fn a_short_secret_and_no_secret_are_refused() {
    assert!(Keyring::new(&[]).is_err());
    assert!(Keyring::new(&[SecretString::from("x".repeat(MIN_SECRET_LENGTH - 1))]).is_err());
}

#[test]
fn purposes_do_not_share_keys() {
    let ring = ring(&["a"]);
    for one in Purpose::ALL {
        for other in Purpose::ALL.into_iter().filter(|other| *other != one) {
            assert_ne!(ring.tag(one, b"", b"m"), ring.tag(other, b"", b"m"));
            assert_eq!(ring.open(other, b"", &ring.seal(one, b"", b"m")), None);
        }
    }
}

#[test]
fn a_tag_holds_in_its_own_context_and_no_two_pairs_are_alike() {
    let ring = ring(&["a"]);
    let tag = ring.tag(Purpose::SessionCookie, b"app.test", b"id");
    for (context, message) in
        [(b"app.tes".as_slice(), b"tid".as_slice()), (b"app.testi", b"d"), (b"", b"app.testid"), (b"wiki.test", b"id")]
    {
        assert!(!ring.verify_tag(Purpose::SessionCookie, context, message, &tag));
    }
}

#[test]
fn a_short_tag_holds_in_its_own_context_for_every_configured_secret() {
    let (old, rotated, new) = (ring(&["a"]), ring(&["b", "a"]), ring(&["b"]));
    let tag = old.short_tag(Purpose::LoginCookie, b"app.test", b"id");
    assert!(rotated.verify_short_tag(Purpose::LoginCookie, b"app.test", b"id", &tag));
    assert!(!new.verify_short_tag(Purpose::LoginCookie, b"app.test", b"id", &tag));
    assert!(!old.verify_short_tag(Purpose::LoginCookie, b"wiki.test", b"id", &tag));
    assert!(!old.verify_short_tag(Purpose::SessionCookie, b"app.test", b"id", &tag));
}

proptest! {
    #[test]
    fn what_was_sealed_opens_only_in_its_own_context(plain: Vec<u8>, context: Vec<u8>, other: Vec<u8>) {
        let ring = ring(&["a"]);
        let sealed = ring.seal(Purpose::LoginAttempt, &context, &plain);
        prop_assert_eq!(ring.open(Purpose::LoginAttempt, &context, &sealed), Some(plain));
        if other != context {
            prop_assert_eq!(ring.open(Purpose::LoginAttempt, &other, &sealed), None);
        }
    }

    #[test]
    fn a_changed_byte_anywhere_spoils_it(plain: Vec<u8>, at: prop::sample::Index, flip in 1u8..) {
        let ring = ring(&["a"]);
        let mut sealed = ring.seal(Purpose::SessionRow, b"row", &plain);
        let at = at.index(sealed.len());
        sealed[at] ^= flip;
        prop_assert_eq!(ring.open(Purpose::SessionRow, b"row", &sealed), None);
    }

    #[test]
    fn arbitrary_bytes_do_not_open(bytes: Vec<u8>) {
        prop_assert_eq!(ring(&["a"]).open(Purpose::SessionRow, b"row", &bytes), None);
    }

    #[test]
    fn exact_decoding_agrees_with_decoding(text in "[A-Za-z0-9_-]{0,70}") {
        let exact = decode_exact::<48>(text.as_bytes());
        let whole = decode(text.as_bytes()).filter(|bytes| bytes.len() == 48);
        prop_assert_eq!(exact.map(|bytes| bytes.to_vec()), whole);
    }
}

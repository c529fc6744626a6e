//! Fuzz targets: session cookies and rows of the store.
//!
//! Promises, asserted for any bytes: nothing panics; a cookie or row that we did not make, or that was changed or moved, is
//! not accepted.

use std::sync::LazyLock;

use secrecy::SecretString;

pub use crate::session::store::postgres::fuzz::{notifications, postgres_urls};
use crate::{
    clock::Timestamp,
    crypto::{Keyring, Purpose},
    fuzz::{Case, mutated},
    identity::{Identity, Registration, SessionScope, Subject, Tokens},
    session::{
        cookie::{SessionId, Token},
        record::{NewSession, Record},
    },
};

const HOST: &str = "app.test";

static KEYRING: LazyLock<Keyring> =
    LazyLock::new(|| Keyring::new(&[SecretString::from("a".repeat(32))]).expect("it is long enough"));

/// Parses values of session cookies.
pub fn session_cookies(input: &[u8]) {
    static OURS: LazyLock<String> = LazyLock::new(|| Token::fresh(&KEYRING, HOST).encode());
    let Some(case) = Case::of(input) else { return };
    let value = match case {
        Case::Raw(value) | Case::Made(value) => value.to_owned(),
        Case::Mutated(edits) => mutated(OURS.as_bytes(), edits),
    };
    let Some(token) = Token::parse(&value) else { return };
    assert_eq!(token.encode().as_bytes(), value, "a value can be spelled in two ways");
    if token.is_made_by(&KEYRING, HOST) {
        assert_eq!(value, OURS.as_bytes(), "a cookie that we did not make is accepted");
        assert!(!token.is_made_by(&KEYRING, "other.test"), "a cookie is accepted at a host that it was not made for");
    }
}

/// Opens sealed rows.
pub fn rows(input: &[u8]) {
    static OURS: LazyLock<(SessionId, Vec<u8>)> = LazyLock::new(|| {
        let identity = Identity {
            provider: "authentik".to_owned(),
            subject: Subject("subject-1".to_owned()),
            user: "ann".to_owned(),
            email: String::new(),
            email_verified: false,
            name: String::new(),
            groups: vec!["users".to_owned()],
            claims: serde_json::Map::new(),
            standing: crate::identity::ClaimsStanding::default(),
        };
        let scope = SessionScope { audience: HOST.to_owned(), registration: Registration([1; 8]) };
        let record = Record::new(
            NewSession { identity, tokens: Tokens::default(), sid: None, scope },
            Timestamp::from_unix(1_800_000_000),
        );
        let id = Token::fresh(&KEYRING, HOST).id();
        (id, record.seal(&KEYRING, id).sealed)
    });
    let Some(case) = Case::of(input) else { return };
    let (id, ours) = &*OURS;
    let sealed = match case {
        Case::Raw(sealed) => sealed.to_owned(),
        Case::Made(plain) => KEYRING.seal(Purpose::SessionRow, &id.0, plain),
        Case::Mutated(edits) => mutated(ours, edits),
    };
    if let Ok(record) = Record::open(&KEYRING, *id, &sealed) {
        assert!(matches!(case, Case::Made(_)) || sealed == *ours, "a row opens that we did not seal");
        // Sealing it again loses nothing.
        let again = Record::open(&KEYRING, *id, &record.seal(&KEYRING, *id).sealed).expect("we have just sealed it");
        assert_eq!((&again.identity, &again.sid), (&record.identity, &record.sid));
    }
    let moved = Token::fresh(&KEYRING, HOST).id();
    assert!(Record::open(&KEYRING, moved, &sealed).is_err(), "a row opens under another id");
}

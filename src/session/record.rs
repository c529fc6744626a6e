//! What a session is: the record that is sealed into the store.
//!
//! Promises: tokens leave their wrapping in one function, on their way into the seal; a row that was moved, changed or
//! sealed by somebody else does not open. It must not know how rows are kept.

use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    crypto::{Keyring, Purpose},
    identity::{Identity, SessionScope, Tokens},
    session::{cookie::SessionId, store::Row},
};

/// What a sign-in yields.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Who signed in.
    pub identity: Identity,
    /// What the provider issued.
    pub tokens: Tokens,
    /// The provider's own name for its session (`sid`), for its sign-out.
    pub sid: Option<String>,
    /// Where it is to count.
    pub scope: SessionScope,
}

/// A session as it is kept.
#[derive(Clone, Debug)]
pub struct Record {
    /// Who signed in.
    pub identity: Identity,
    /// What the provider issued.
    pub tokens: Tokens,
    /// The provider's own name for its session.
    pub sid: Option<String>,
    /// Where it counts.
    pub scope: SessionScope,
    /// When it was made.
    pub created: Timestamp,
    /// When its tokens were last renewed; when it was made, before that.
    pub renewed: Timestamp,
}

/// Why a sealed record could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It does not open: changed, moved, or sealed with a secret that is configured no more. It never will.
    Sealed,
    /// A newer version of the program wrote it, and can read it.
    Newer,
    /// It opens, and does not hold a record. A defect of ours.
    Garbled,
}

/// The form of the sealed part. Readers ignore fields that they do not know and writers keep those that older readers
/// need, so the number changes only where that is impossible.
const FORM: u8 = 2;

/// The record on its way into the seal.
#[derive(Serialize)]
struct Exposed<'a> {
    identity: &'a Identity,
    scope: &'a SessionScope,
    sid: Option<&'a str>,
    created: u64,
    renewed: u64,
    access: Option<&'a str>,
    access_ends: Option<u64>,
    refresh: Option<&'a str>,
    id: Option<&'a str>,
}

/// The record on its way out of the seal. Owns its strings, because JSON may have escaped them.
#[derive(Deserialize)]
struct Opened {
    identity: Identity,
    scope: SessionScope,
    sid: Option<String>,
    created: u64,
    renewed: u64,
    access: Option<String>,
    access_ends: Option<u64>,
    refresh: Option<String>,
    id: Option<String>,
}

impl Record {
    /// A session that begins now.
    pub(super) fn new(new: NewSession, now: Timestamp) -> Self {
        let NewSession { identity, tokens, sid, scope } = new;
        Self { identity, tokens, sid, scope, created: now, renewed: now }
    }

    /// The row that keeps it under `key`.
    pub(super) fn seal(&self, keyring: &Keyring, key: SessionId) -> Row {
        Row {
            key,
            provider: self.identity.provider.clone(),
            subject: self.identity.subject.0.clone(),
            sid: self.sid.clone(),
            generation: 1,
            created: self.created,
            last_seen: self.created,
            sealed: keyring.seal(Purpose::SessionRow, &key.0, &self.expose()),
        }
    }

    /// Reads what [`Record::seal`] wrote under `key`.
    pub(super) fn open(keyring: &Keyring, key: SessionId, sealed: &[u8]) -> Result<Self, Unreadable> {
        let plain = keyring.open(Purpose::SessionRow, &key.0, sealed).ok_or(Unreadable::Sealed)?;
        let plain = Zeroizing::new(plain);
        match plain.split_first() {
            Some((&FORM, json)) => {
                serde_json::from_slice::<Opened>(json).map(Self::from).map_err(|_| Unreadable::Garbled)
            }
            Some((&form, _)) if form > FORM => Err(Unreadable::Newer),
            _ => Err(Unreadable::Garbled),
        }
    }

    /// The only place where a session's tokens leave their wrapping.
    fn expose(&self) -> Zeroizing<Vec<u8>> {
        let Tokens { access, access_ends, refresh, id } = &self.tokens;
        let exposed = Exposed {
            identity: &self.identity,
            scope: &self.scope,
            sid: self.sid.as_deref(),
            created: self.created.unix(),
            renewed: self.renewed.unix(),
            access: access.as_ref().map(ExposeSecret::expose_secret),
            access_ends: access_ends.map(Timestamp::unix),
            refresh: refresh.as_ref().map(ExposeSecret::expose_secret),
            id: id.as_ref().map(ExposeSecret::expose_secret),
        };
        let mut plain = Zeroizing::new(vec![FORM]);
        serde_json::to_writer(&mut *plain, &exposed)
            .expect("a record holds nothing that JSON cannot, and memory takes it");
        plain
    }
}

impl From<Opened> for Record {
    fn from(opened: Opened) -> Self {
        Self {
            identity: opened.identity,
            scope: opened.scope,
            sid: opened.sid,
            created: Timestamp::from_unix(opened.created),
            renewed: Timestamp::from_unix(opened.renewed),
            tokens: Tokens {
                access: opened.access.map(SecretString::from),
                access_ends: opened.access_ends.map(Timestamp::from_unix),
                refresh: opened.refresh.map(SecretString::from),
                id: opened.id.map(SecretString::from),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::{
        identity::{Registration, arbitrary::identity},
        session::cookie::Token,
    };

    fn ring() -> Keyring {
        Keyring::new(&[SecretString::from("a".repeat(32))]).unwrap()
    }

    fn record() -> impl Strategy<Value = Record> {
        let scope = (any::<String>(), any::<[u8; 8]>())
            .prop_map(|(audience, registration)| SessionScope { audience, registration: Registration(registration) });
        (identity(), any::<[Option<String>; 4]>(), any::<Option<u64>>(), any::<u64>(), scope).prop_map(
            |(identity, [access, refresh, id, sid], access_ends, created, scope)| Record {
                renewed: Timestamp::from_unix(created),
                identity,
                sid,
                scope,
                created: Timestamp::from_unix(created),
                tokens: Tokens {
                    access: access.map(SecretString::from),
                    access_ends: access_ends.map(Timestamp::from_unix),
                    refresh: refresh.map(SecretString::from),
                    id: id.map(SecretString::from),
                },
            },
        )
    }

    fn one() -> Record {
        let identity = serde_json::from_value(serde_json::json!({
            "provider": "p", "subject": "s", "user": "u", "email": "", "name": "", "groups": [], "claims": {}
        }));
        let scope = SessionScope { audience: "app.test".to_owned(), registration: Registration([1; 8]) };
        let new = NewSession { identity: identity.unwrap(), tokens: Tokens::default(), sid: None, scope };
        Record::new(new, Timestamp::from_unix(1_000))
    }

    #[test]
    fn a_record_of_a_newer_form_is_told_from_a_garbled_one() {
        let token = Token::fresh(&ring(), "app.test");
        let mut row = one().seal(&ring(), token.key());
        for (plain, expected) in [
            ([FORM + 1, b'{'].as_slice(), Unreadable::Newer),
            (&[FORM, b'{'], Unreadable::Garbled),
            (&[0], Unreadable::Garbled),
            (&[], Unreadable::Garbled),
        ] {
            row.sealed = ring().seal(Purpose::SessionRow, &token.key().0, plain);
            assert_eq!(Record::open(&ring(), row.key, &row.sealed).unwrap_err(), expected);
        }
    }

    #[test]
    fn a_field_of_a_later_version_does_not_make_a_record_unreadable() {
        let token = Token::fresh(&ring(), "app.test");
        let record = one();
        let mut row = record.seal(&ring(), token.key());
        let mut json: Value = serde_json::from_slice(&record.expose()[1..]).unwrap();
        json["added_later"] = Value::from(1);
        let plain = [&[FORM], json.to_string().as_bytes()].concat();
        row.sealed = ring().seal(Purpose::SessionRow, &token.key().0, &plain);
        assert_eq!(Record::open(&ring(), row.key, &row.sealed).unwrap().identity, record.identity);
    }

    proptest! {
        #[test]
        fn a_record_comes_back_as_it_was_under_its_own_key_alone(record in record(), other: [u8; 32]) {
            let key = Token::fresh(&ring(), "app.test").key();
            let mut row = record.seal(&ring(), key);
            let back = Record::open(&ring(), row.key, &row.sealed).unwrap();
            prop_assert_eq!(&back.identity, &record.identity);
            prop_assert_eq!(&back.sid, &record.sid);
            prop_assert_eq!(&back.scope, &record.scope);
            prop_assert_eq!(back.created, record.created);
            prop_assert_eq!(back.tokens.access_ends, record.tokens.access_ends);
            prop_assert!(back.expose() == record.expose());
            row.key = SessionId(other);
            prop_assert_eq!(Record::open(&ring(), row.key, &row.sealed).unwrap_err(), Unreadable::Sealed);
        }
    }
}

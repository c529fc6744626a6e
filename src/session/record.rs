//! A session's record: identity and tokens, as they are sealed into a row of the store.
//!
//! Promises: tokens leave their wrapping in one function, on their way into the seal; a row that was moved, changed or
//! sealed by another program does not open.

use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    crypto::{Keyring, Purpose},
    identity::{Identity, SessionScope, Tokens},
    session::{cookie::SessionId, store::Row},
};

/// The result of a sign-in.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Identity of the person who signed in.
    pub identity: Identity,
    /// Tokens that the provider issued.
    pub tokens: Tokens,
    /// The provider's own name for its session (`sid`), for its logout.
    pub sid: Option<String>,
    /// Host or domain that its cookie is for, and registration that issued its tokens.
    pub scope: SessionScope,
}

/// The sealed part of a row.
#[derive(Clone, Debug)]
pub struct Record {
    /// Identity of the person who signed in.
    pub identity: Identity,
    /// Tokens that the provider issued.
    pub tokens: Tokens,
    /// The provider's own name for its session (`sid`).
    pub sid: Option<String>,
    /// `true` once a renewed ID token has repeated that `sid`.
    pub sid_repeated: bool,
    /// Host or domain that its cookie is for, and registration that issued its tokens.
    pub scope: SessionScope,
    /// Creation time.
    pub created: Timestamp,
    /// Time at which the provider last authorized the person in their browser; the creation time before the first
    /// reauthorization.
    pub authorized: Timestamp,
    /// Time of the last renewal of its tokens; the creation time before the first.
    pub renewed: Timestamp,
}

/// The result of a reauthorization.
#[derive(Clone, Debug)]
pub struct NewGrant {
    /// Identity of the person as the provider describes it now.
    pub identity: Identity,
    /// Tokens that the provider issued.
    pub tokens: Tokens,
    /// The provider's own name for its session.
    pub sid: Option<String>,
}

/// The result of a renewal.
#[derive(Clone, Debug)]
pub struct RenewedGrant {
    /// The identity as it is now; `None` where there is nothing new about it.
    pub identity: Option<Identity>,
    /// All tokens of the session.
    pub tokens: Tokens,
    /// The provider's own name for its session, for a session that has none yet.
    pub first_sid: Option<String>,
    /// `true` where the renewed ID token repeated the session's `sid`.
    pub sid_repeated: bool,
}

/// The reason why a sealed record could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// The seal does not open, and never will: changed, moved, or sealed by a secret that is not configured any more.
    Sealed,
    /// Written by a newer version of the program, which can read it.
    Newer,
    /// The seal opens, and does not hold a record. A defect of ours.
    Garbled,
}

/// Version of the record's format. Readers ignore fields that they do not know and writers keep those that older readers
/// need, so the number changes only where that is impossible.
const FORMAT: u8 = 2;

/// The record as it is written, tokens in clear.
#[derive(Serialize)]
struct Exposed<'a> {
    identity: &'a Identity,
    scope: &'a SessionScope,
    sid: Option<&'a str>,
    sid_repeated: bool,
    created: u64,
    authorized: u64,
    renewed: u64,
    access: Option<&'a str>,
    access_ends: Option<u64>,
    refresh: Option<&'a str>,
    id: Option<&'a str>,
}

/// The record as it is read. Owns its strings, because JSON may have escaped them.
#[derive(Deserialize)]
struct Opened {
    identity: Identity,
    scope: SessionScope,
    sid: Option<String>,
    #[serde(default)]
    sid_repeated: bool,
    created: u64,
    /// Absent in records of versions that did not reauthorize.
    authorized: Option<u64>,
    renewed: u64,
    access: Option<String>,
    access_ends: Option<u64>,
    refresh: Option<String>,
    id: Option<String>,
}

impl Record {
    /// The record of a session that begins now.
    pub(super) fn new(new: NewSession, now: Timestamp) -> Self {
        let NewSession { identity, tokens, sid, scope } = new;
        Self { identity, tokens, sid, sid_repeated: false, scope, created: now, authorized: now, renewed: now }
    }

    /// The same session with what a renewal brought. Its `sid` stays the first one: that is what the provider names at logout.
    pub(super) fn renewed(self, grant: RenewedGrant, now: Timestamp) -> Self {
        Self {
            identity: grant.identity.unwrap_or(self.identity),
            tokens: grant.tokens,
            sid_repeated: self.sid_repeated || grant.sid_repeated,
            sid: self.sid.or(grant.first_sid),
            renewed: now,
            ..self
        }
    }

    /// The same session with what a reauthorization brought.
    pub(super) fn reauthorized(self, grant: NewGrant, now: Timestamp) -> Self {
        let NewGrant { identity, tokens, sid } = grant;
        // Some providers give a refresh token only with a prompt. Then the one that the session has goes on.
        let tokens = Tokens { refresh: tokens.refresh.or(self.tokens.refresh), ..tokens };
        let sid_repeated = self.sid_repeated && sid == self.sid;
        Self { identity, tokens, sid: sid.or(self.sid), sid_repeated, authorized: now, renewed: now, ..self }
    }

    /// Seals it into a row of the first generation.
    pub(super) fn seal(&self, keyring: &Keyring, id: SessionId) -> Row {
        Row {
            key: id,
            provider: self.identity.provider.clone(),
            subject: self.identity.subject.0.clone(),
            sid: self.sid.clone(),
            generation: 1,
            created: self.created,
            last_seen: self.created,
            sealed: keyring.seal(Purpose::SessionRow, &id.0, &self.expose()),
        }
    }

    /// Opens the sealed part of the row with this id.
    pub(super) fn open(keyring: &Keyring, id: SessionId, sealed: &[u8]) -> Result<Self, Unreadable> {
        let plain = keyring.open(Purpose::SessionRow, &id.0, sealed).ok_or(Unreadable::Sealed)?;
        let plain = Zeroizing::new(plain);
        match plain.split_first() {
            Some((&FORMAT, json)) => {
                serde_json::from_slice::<Opened>(json).map(Self::from).map_err(|_| Unreadable::Garbled)
            }
            Some((&format, _)) if format > FORMAT => Err(Unreadable::Newer),
            _ => Err(Unreadable::Garbled),
        }
    }

    /// Serializes it. The only place where a session's tokens leave their wrapping.
    fn expose(&self) -> Zeroizing<Vec<u8>> {
        let Tokens { access, access_ends, refresh, id } = &self.tokens;
        let exposed = Exposed {
            identity: &self.identity,
            scope: &self.scope,
            sid: self.sid.as_deref(),
            sid_repeated: self.sid_repeated,
            created: self.created.unix(),
            authorized: self.authorized.unix(),
            renewed: self.renewed.unix(),
            access: access.as_ref().map(ExposeSecret::expose_secret),
            access_ends: access_ends.map(Timestamp::unix),
            refresh: refresh.as_ref().map(ExposeSecret::expose_secret),
            id: id.as_ref().map(ExposeSecret::expose_secret),
        };
        let mut plain = Zeroizing::new(vec![FORMAT]);
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
            sid_repeated: opened.sid_repeated,
            created: Timestamp::from_unix(opened.created),
            authorized: Timestamp::from_unix(opened.authorized.unwrap_or(opened.created)),
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
                authorized: Timestamp::from_unix(created),
                identity,
                sid,
                sid_repeated: false,
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
    fn a_record_of_a_newer_format_is_told_from_a_garbled_one() {
        let token = Token::fresh(&ring(), "app.test");
        let mut row = one().seal(&ring(), token.id());
        for (plain, expected) in [
            ([FORMAT + 1, b'{'].as_slice(), Unreadable::Newer),
            (&[FORMAT, b'{'], Unreadable::Garbled),
            (&[0], Unreadable::Garbled),
            (&[], Unreadable::Garbled),
        ] {
            row.sealed = ring().seal(Purpose::SessionRow, &token.id().0, plain);
            assert_eq!(Record::open(&ring(), row.key, &row.sealed).unwrap_err(), expected);
        }
    }

    #[test]
    fn a_field_of_a_later_version_does_not_make_a_record_unreadable() {
        let token = Token::fresh(&ring(), "app.test");
        let record = one();
        let mut row = record.seal(&ring(), token.id());
        let mut json: Value = serde_json::from_slice(&record.expose()[1..]).unwrap();
        json["added_later"] = Value::from(1);
        let plain = [&[FORMAT], json.to_string().as_bytes()].concat();
        row.sealed = ring().seal(Purpose::SessionRow, &token.id().0, &plain);
        assert_eq!(Record::open(&ring(), row.key, &row.sealed).unwrap().identity, record.identity);
    }

    proptest! {
        #[test]
        fn a_record_opens_as_it_was_under_its_own_id_alone(record in record(), other: [u8; 32]) {
            let id = Token::fresh(&ring(), "app.test").id();
            let mut row = record.seal(&ring(), id);
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

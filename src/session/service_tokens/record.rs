//! A service token's record, as it is sealed into its row.
//!
//! Promises: a row that was moved, changed or sealed by another program does not open.

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    crypto::{Keyring, Purpose},
    session::{cookie::SessionId, record::Unreadable, store::service_tokens::ServiceTokenRow},
};

/// Version of the record's format. Readers ignore fields that they do not know, so the number changes only where that is not
/// enough.
const FORMAT: u8 = 1;

/// The sealed part of a row. It never changes: another token is made instead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::session) struct ServiceTokenRecord {
    pub(super) name: String,
    /// The apps at which it counts, by name.
    pub(super) apps: Vec<String>,
    pub(super) groups: Vec<String>,
    pub(super) created: Timestamp,
    /// The first moment at which it does not count any more.
    pub(super) expires: Option<Timestamp>,
}

impl ServiceTokenRecord {
    /// Seals it into the row with this key.
    pub(super) fn seal(&self, keyring: &Keyring, key: SessionId) -> ServiceTokenRow {
        let mut plain = vec![FORMAT];
        serde_json::to_writer(&mut plain, self).expect("names and times are JSON, and memory takes them");
        ServiceTokenRow {
            key,
            name: self.name.clone(),
            created: self.created,
            last_used: None,
            sealed: keyring.seal(Purpose::ServiceTokenRow, &key.0, &plain),
        }
    }

    /// Opens the sealed part of a row.
    pub(super) fn open(keyring: &Keyring, row: &ServiceTokenRow) -> Result<Self, Unreadable> {
        let plain = keyring.open(Purpose::ServiceTokenRow, &row.key.0, &row.sealed).ok_or(Unreadable::Sealed)?;
        match plain.split_first() {
            Some((&FORMAT, json)) => serde_json::from_slice(json).map_err(|_| Unreadable::Garbled),
            Some((&format, _)) if format > FORMAT => Err(Unreadable::Newer),
            _ => Err(Unreadable::Garbled),
        }
    }
}

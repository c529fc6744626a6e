//! A session cookie's value as text: compared in constant time, hashed for the look-up in memory.
//!
//! 32 bytes of id and 16 of tag are 64 characters of base64url, and only one spelling decodes to given bytes, so that two
//! values are the same exactly where their texts are. Promises: nothing here allocates.

use std::hash::BuildHasher as _;

use foldhash::fast::FixedState;

use crate::crypto::{self, TAG_LENGTH};

/// Bytes of a session's secret id.
pub(super) const ID: usize = 32;
/// Bytes of a decoded value: the id and its tag.
pub(super) const BYTES: usize = ID + TAG_LENGTH;
/// Characters of a value: four for every three bytes.
const CHARACTERS: usize = BYTES / 3 * 4;

/// The text of a cookie's value. Only its length has been checked.
#[derive(Clone, Copy)]
pub(in crate::session) struct CookieValue([u8; CHARACTERS]);

/// A 64-bit hash of the first 96 bits of a cookie's value: the key of the map that requests read. Two sessions share one so
/// rarely that the map keeps only the newer of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::session) struct CookieHash(u64);

impl CookieValue {
    /// A cookie's value; `None` unless it has the length of ours.
    pub(in crate::session) fn of(value: &[u8]) -> Option<Self> {
        value.try_into().ok().map(Self)
    }

    /// The bytes that it encodes; `None` for any text that we would not have written exactly so.
    pub(super) fn decode(&self) -> Option<[u8; BYTES]> {
        crypto::decode_exact::<BYTES>(&self.0)
    }

    /// The key under which its session stands in memory.
    pub(in crate::session) fn hash(&self) -> CookieHash {
        let (head, _) = self.0.split_first_chunk().expect("a value has 64 characters");
        CookieHash(FixedState::default().hash_one(u128::from_ne_bytes(*head)))
    }

    /// Returns `true` if both are the same, in constant time.
    pub(in crate::session) fn is(&self, other: &Self) -> bool {
        crypto::constant_time_eq(&self.0, &other.0)
    }
}

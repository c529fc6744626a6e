//! The public name of a session: the SHA-256 of its cookie's secret id.
//!
//! Promises: it is useless as a cookie, so that rows, logs and operators may know it; `Debug` prints six hex characters.

use std::fmt::{self, Write as _};

/// The SHA-256 of a session's secret id: the key of its row.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub(in crate::session) [u8; 32]);

/// The key of a session in memory: the first half of its [`SessionId`], long enough to be unique as well.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::session) struct CacheKey([u8; 16]);

impl SessionId {
    /// Sorts before every other.
    pub(in crate::session) const FIRST: Self = Self([0; 32]);
    /// Sorts after every other.
    pub(in crate::session) const LAST: Self = Self([u8::MAX; 32]);

    /// Reads 64 hexadecimal digits.
    pub(in crate::session) fn from_hex(text: &str) -> Option<Self> {
        let (first, last) = Self::range(text)?;
        (first == last).then_some(first)
    }

    /// The first and the last id that begin with these hexadecimal digits.
    pub(in crate::session) fn range(prefix: &str) -> Option<(Self, Self)> {
        let (mut first, mut last) = (Self::FIRST, Self::LAST);
        for (place, digit) in prefix.chars().enumerate() {
            let (digit, place_first) = (u8::try_from(digit.to_digit(16)?).ok()?, first.0.get_mut(place / 2)?);
            let place_last = last.0.get_mut(place / 2)?;
            let shift = if place % 2 == 0 { 4 } else { 0 };
            *place_first |= digit << shift;
            *place_last &= !(0xf << shift) | (digit << shift);
        }
        Some((first, last))
    }

    /// Its first 64 bits: enough to tell it from the others of one browser.
    #[must_use]
    pub fn short(&self) -> u64 {
        let (first, _) = self.0.split_first_chunk().expect("an id has 32 bytes");
        u64::from_be_bytes(*first)
    }

    /// The key of its session in memory.
    pub(in crate::session) fn cache_key(&self) -> CacheKey {
        let (half, _) = self.0.split_first_chunk().expect("an id has 32 bytes");
        CacheKey(*half)
    }

    /// The id after it in sorting order; `None` after the last.
    pub(in crate::session) fn next(mut self) -> Option<Self> {
        for byte in self.0.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                return Some(self);
            }
        }
        None
    }

    /// All 64 hexadecimal digits, as operators name a session.
    pub(in crate::session) fn hex(&self) -> String {
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a string never fails.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// The first six hex characters: enough to match a log line with a row.
impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(3).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_stands_for_the_ids_that_begin_with_it() {
        let (first, last) = SessionId::range("aB3").unwrap();
        assert_eq!(first.hex(), format!("ab3{}", "0".repeat(61)));
        assert_eq!(last.hex(), format!("ab3{}", "f".repeat(61)));
        assert_eq!(SessionId::range(""), Some((SessionId::FIRST, SessionId::LAST)));
        assert_eq!(SessionId::from_hex(&first.hex()), Some(first));
        for wrong in ["x", "ab ", &"a".repeat(65)] {
            assert_eq!(SessionId::range(wrong), None, "{wrong}");
        }
        assert_eq!(SessionId::from_hex("ab"), None);
    }

    #[test]
    fn after_each_id_comes_another_until_the_last() {
        let [mut one, mut carried] = [[0; 32]; 2];
        (one[31], carried[30]) = (255, 1);
        assert_eq!(SessionId(one).next(), Some(SessionId(carried)));
        assert_eq!(SessionId::LAST.next(), None);
    }
}

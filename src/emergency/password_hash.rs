//! Password hashes of the users file: bcrypt and argon2id.
//!
//! Promises: a hash that is accepted takes a bounded time and memory to verify; none is ever printed.

use std::fmt;

use argon2::{
    Argon2, Params, PasswordVerifier as _,
    password_hash::{PasswordHasher as _, phc},
};

use crate::crypto;

/// The highest cost of bcrypt: 2^14 rounds take about a second.
const MAX_BCRYPT_COST: u32 = 14;
/// The lowest cost of bcrypt that is worth anything against somebody who has the file (OWASP).
const GOOD_BCRYPT_COST: u32 = 10;
/// The most memory of argon2id in KiB. RFC 9106, section 4, recommends 64 MiB where memory is short.
const MAX_ARGON2_MEMORY: u32 = 128 << 10;
/// The most work of argon2id: memory in KiB times passes. About a second.
const MAX_ARGON2_WORK: u32 = 512 << 10;
/// The most lanes of argon2id.
const MAX_ARGON2_LANES: u32 = 16;
/// The least work of argon2id that OWASP recommends: 7 MiB, five passes.
const GOOD_ARGON2_WORK: u32 = 35 << 10;
/// Version 1.3 of argon2, which everything writes since 2016.
const ARGON2_VERSION: u32 = 0x13;

/// Hash of a password.
#[derive(Clone, PartialEq)]
pub(super) enum PasswordHash {
    /// bcrypt (`$2a$`, `$2b$`, `$2y$`), as text.
    Bcrypt(String),
    /// argon2id (`$argon2id$v=19$…`).
    Argon2id(Box<phc::PasswordHash>),
}

/// Cause of a text not being taken for a password hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HashFault {
    #[error("the hash is of no kind that is known here; write bcrypt, or what `doorward hash-password` prints")]
    Kind,
    #[error("the hash is damaged; copy the whole of it")]
    Damaged,
    #[error(
        "the hash costs too much to verify; bcrypt may cost up to {MAX_BCRYPT_COST}, argon2id take 128 MiB, and 512 MiB in all its passes"
    )]
    Cost,
}

/// Strength of a hash against somebody who has stolen the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashStrength {
    /// As recommended, or more.
    Good,
    /// Guessed too fast.
    Weak,
}

impl PasswordHash {
    /// Parses a hash within the bounds.
    pub(super) fn parse(text: &str) -> Result<Self, HashFault> {
        if ["$2a$", "$2b$", "$2y$"].iter().any(|kind| text.starts_with(kind)) {
            let parts = text.parse::<bcrypt::HashParts>().map_err(|_| HashFault::Damaged)?;
            return match parts.get_cost() {
                ..4 => Err(HashFault::Damaged),
                4..=MAX_BCRYPT_COST => Ok(Self::Bcrypt(text.to_owned())),
                _ => Err(HashFault::Cost),
            };
        }
        if !text.starts_with("$argon2id$") {
            return Err(HashFault::Kind);
        }
        let hash = phc::PasswordHash::new(text).map_err(|_| HashFault::Damaged)?;
        let params = Params::try_from(&hash).map_err(|_| HashFault::Damaged)?;
        let is_whole = hash.salt.is_some() && hash.hash.is_some() && hash.version == Some(ARGON2_VERSION);
        if !is_whole || !params.keyid().is_empty() || !params.data().is_empty() {
            return Err(HashFault::Damaged);
        }
        let (memory, lanes) = (params.m_cost(), params.p_cost());
        if memory > MAX_ARGON2_MEMORY || lanes > MAX_ARGON2_LANES || argon2_work(&params) > MAX_ARGON2_WORK {
            return Err(HashFault::Cost);
        }
        Ok(Self::Argon2id(Box::new(hash)))
    }

    /// Returns `true` if this is the hash of a password. Takes as long as the hash says; compares in constant time.
    pub(super) fn verify(&self, password: &str) -> bool {
        match self {
            Self::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Self::Argon2id(hash) => Argon2::default().verify_password(password.as_bytes(), hash.as_ref()).is_ok(),
        }
    }

    pub(super) fn strength(&self) -> HashStrength {
        let is_good = match self {
            Self::Bcrypt(hash) => {
                hash.parse::<bcrypt::HashParts>().is_ok_and(|parts| parts.get_cost() >= GOOD_BCRYPT_COST)
            }
            Self::Argon2id(hash) => {
                Params::try_from(hash.as_ref()).is_ok_and(|params| argon2_work(&params) >= GOOD_ARGON2_WORK)
            }
        };
        if is_good { HashStrength::Good } else { HashStrength::Weak }
    }
}

/// Prints nothing of the hash.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bcrypt(_) => "Bcrypt",
            Self::Argon2id(_) => "Argon2id",
        })
    }
}

/// Hashes a password with argon2id, under the parameters that OWASP recommends: 19 MiB, two passes, one lane.
#[must_use]
pub fn hash_password(password: &str) -> String {
    let salt = crypto::random::<16>();
    let hash: phc::PasswordHash = Argon2::default()
        .hash_password_with_salt(password.as_bytes(), &salt)
        .expect("the default parameters take a password of any length");
    hash.to_string()
}

/// Memory in KiB times passes.
fn argon2_work(params: &Params) -> u32 {
    params.m_cost().saturating_mul(params.t_cost())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `htpasswd -nbB ann pw` of Apache 2.4, and the same of other tools: password `pw`.
    const BCRYPT: [&str; 3] = [
        "$2y$05$abcdefghijklmnopqrstuuXABv8kbD4DdRckBvLqdHTm3rKrwRbHC",
        "$2b$05$abcdefghijklmnopqrstuuXABv8kbD4DdRckBvLqdHTm3rKrwRbHC",
        "$2a$05$abcdefghijklmnopqrstuuXABv8kbD4DdRckBvLqdHTm3rKrwRbHC",
    ];

    fn argon2(params: &str) -> String {
        format!("$argon2id$v=19${params}$c29tZXNhbHRzb21lc2FsdA$Zm9ydHktdHdvLWJ5dGVzLW9mLWhhc2gtb3V0cHV0ISE")
    }

    #[test]
    fn a_printed_hash_is_of_this_password_and_no_other_and_no_two_are_the_same() {
        let text = hash_password("correct horse");
        assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
        assert_ne!(text, hash_password("correct horse"));
        let hash = PasswordHash::parse(&text).unwrap();
        assert_eq!(hash.strength(), HashStrength::Good);
        assert!(hash.verify("correct horse") && !hash.verify("correct horse ") && !hash.verify(""));
        assert_eq!(format!("{hash:?}"), "Argon2id");
    }

    #[test]
    fn bcrypt_is_verified_whatever_its_letter() {
        let made = bcrypt::hash_with_salt("pw", 5, [7; 16]).unwrap();
        for version in [bcrypt::Version::TwoA, bcrypt::Version::TwoB, bcrypt::Version::TwoY] {
            let hash = PasswordHash::parse(&made.format_for_version(version)).unwrap();
            assert!(hash.verify("pw") && !hash.verify("pv"));
            assert_eq!((hash.strength(), format!("{hash:?}").as_str()), (HashStrength::Weak, "Bcrypt"));
        }
        for text in BCRYPT {
            assert!(PasswordHash::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_no_hash_or_costs_too_much_is_refused() {
        let dear_bcrypt = BCRYPT[0].replace("$05$", "$15$");
        let cheap_bcrypt = BCRYPT[0].replace("$05$", "$03$");
        for (text, fault) in [
            ("", HashFault::Kind),
            ("pw", HashFault::Kind),
            ("{SHA}nU4eI71bcnBGqeO0t9tXvY1u5oQ=", HashFault::Kind),
            ("$apr1$r31....$HqJZimcKQFAMYayBlzkrA/", HashFault::Kind),
            ("$5$rounds=5000$a$b", HashFault::Kind),
            ("$2x$05$abcdefghijklmnopqrstuuXABv8kbD4DdRckBvLqdHTm3rKrwRbHC", HashFault::Kind),
            ("$argon2i$v=19$m=4096,t=3,p=1$c29tZXNhbHQ$aGFzaGhhc2hoYXNo", HashFault::Kind),
            ("$2y$05$abc", HashFault::Damaged),
            (&cheap_bcrypt, HashFault::Damaged),
            (&dear_bcrypt, HashFault::Cost),
            ("$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ", HashFault::Damaged),
            ("$argon2id$v=16$m=19456,t=2,p=1$c29tZXNhbHRzb21l$aGFzaGhhc2hoYXNoaGFzaA", HashFault::Damaged),
            (&argon2("m=1,t=2,p=1"), HashFault::Damaged),
            (&argon2("m=131073,t=1,p=1"), HashFault::Cost),
            (&argon2("m=4294967295,t=4294967295,p=1"), HashFault::Cost),
            (&argon2("m=65536,t=9,p=1"), HashFault::Cost),
            (&argon2("m=19456,t=2,p=17"), HashFault::Cost),
        ] {
            assert_eq!(PasswordHash::parse(text).unwrap_err(), fault, "{text}");
        }
        for params in ["m=19456,t=2,p=1", "m=65536,t=3,p=4", "m=131072,t=4,p=1", "m=47104,t=1,p=1", "m=7168,t=5,p=1"] {
            assert_eq!(PasswordHash::parse(&argon2(params)).unwrap().strength(), HashStrength::Good, "{params}");
        }
        assert_eq!(PasswordHash::parse(&argon2("m=64,t=1,p=1")).unwrap().strength(), HashStrength::Weak);
    }
}

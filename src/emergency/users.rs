//! The users file: a name and the hash of a password on each line.
//!
//! Promises: a file with a mistake in it is refused whole, and each mistake is named by its line.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
};

use super::password_hash::{HashStrength, PasswordHash};
use crate::crypto;

/// The most users: those who hold a house together while its provider is unavailable.
const MAX_USERS: usize = 1_000;
/// The longest name, in bytes.
const MAX_NAME: usize = 128;

/// User of the file.
pub(super) struct EmergencyUser {
    pub(super) name: String,
    pub(super) hash: PasswordHash,
    /// Digest of the line: another one has another.
    pub(super) fingerprint: [u8; 32],
}

/// Users by name.
#[derive(Clone)]
pub struct Users {
    by_name: HashMap<String, Arc<EmergencyUser>>,
    /// In the order of the file.
    all: Vec<Arc<EmergencyUser>>,
    /// Chooses the decoys of unknown names.
    hasher: RandomState,
}

/// Hash that a password is verified against.
pub(super) enum Candidate {
    /// That of the user of this name.
    Known(Arc<EmergencyUser>),
    /// That of some other user, for a name that is not in the file: it takes as long, and the result does not count.
    Decoy(Arc<EmergencyUser>),
}

/// Mistake in a users file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsersFault {
    /// The line, from one on; `None` for the file as a whole.
    pub line: Option<usize>,
    /// The problem, as the end of a sentence.
    pub problem: String,
}

impl Users {
    /// Parses a users file. Blank lines and those that begin with `#` are comments, and so is all behind a second colon, as
    /// nginx and Apache have it.
    pub fn parse(content: &[u8]) -> Result<Self, Vec<UsersFault>> {
        let of_the_file = |problem: &str| vec![UsersFault { line: None, problem: problem.to_owned() }];
        let text = str::from_utf8(content).map_err(|_| of_the_file("is not UTF-8"))?;
        let (mut all, mut faults) = (Vec::new(), Vec::new());
        let mut lines: HashMap<String, usize> = HashMap::new();
        for (line, text) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
            if text.trim().is_empty() || text.starts_with('#') {
                continue;
            }
            let fault = |problem: String| UsersFault { line: Some(line), problem };
            match EmergencyUser::parse(text) {
                Err(problem) => faults.push(fault(problem)),
                Ok(user) => {
                    if let Some(earlier) = lines.insert(user.name.clone(), line) {
                        faults.push(fault(format!("has the name of line {earlier}")));
                    }
                    all.push(Arc::new(user));
                }
            }
        }
        if all.len() > MAX_USERS {
            faults.extend(of_the_file(&format!("has more than {MAX_USERS} users")));
        }
        if all.is_empty() && faults.is_empty() {
            faults.extend(of_the_file("has no user in it"));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let by_name = all.iter().map(|user: &Arc<EmergencyUser>| (user.name.clone(), Arc::clone(user))).collect();
        Ok(Self { by_name, all, hasher: RandomState::new() })
    }

    /// Returns the names whose hashes somebody who has the file would guess too fast.
    #[must_use]
    pub fn weak(&self) -> Vec<&str> {
        let weak = self.all.iter().filter(|user| user.hash.strength() == HashStrength::Weak);
        weak.map(|user| user.name.as_str()).collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<EmergencyUser>> {
        self.all.iter()
    }

    /// Returns the hash to verify a password against. A name always has the same decoy, so that its time tells nothing.
    pub(super) fn candidate(&self, name: &str) -> Option<Candidate> {
        if let Some(user) = self.by_name.get(name) {
            return Some(Candidate::Known(Arc::clone(user)));
        }
        #[expect(clippy::cast_possible_truncation, reason = "any number will do")]
        let place = (self.hasher.hash_one(name) as usize).checked_rem(self.all.len())?;
        self.all.get(place).map(|user| Candidate::Decoy(Arc::clone(user)))
    }
}

impl EmergencyUser {
    fn parse(line: &str) -> Result<Self, String> {
        let (name, rest) = line.split_once(':').ok_or("has no colon; write it as name:hash")?;
        let hash = rest.split(':').next().unwrap_or_default().trim_end();
        if name.is_empty() || name.trim() != name || name.chars().any(char::is_control) {
            return Err("has a name that is empty, has blanks around it or control characters in it".to_owned());
        }
        if name.len() > MAX_NAME {
            return Err(format!("has a name of more than {MAX_NAME} bytes"));
        }
        let fingerprint = crypto::digest(format!("{name}:{hash}").as_bytes());
        let hash = PasswordHash::parse(hash).map_err(|fault| format!("({name}): {fault}"))?;
        Ok(Self { name: name.to_owned(), hash, fingerprint })
    }
}

impl Candidate {
    pub(super) fn user(&self) -> &Arc<EmergencyUser> {
        match self {
            Self::Known(user) | Self::Decoy(user) => user,
        }
    }
}

/// Prints how many there are.
impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").field("count", &self.all.len()).finish_non_exhaustive()
    }
}

impl fmt::Display for UsersFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line} {}", self.problem),
            None => f.write_str(&self.problem),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2y$05$abcdefghijklmnopqrstuuXABv8kbD4DdRckBvLqdHTm3rKrwRbHC";

    fn faults(text: &str) -> Vec<String> {
        Users::parse(text.as_bytes()).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_are_found_whatever_stands_around_the_lines() {
        let text =
            format!("\u{feff}# by hand\r\nann:{HASH}\r\n\n  \nÄnne O’Hara:{HASH}:of the night shift\nbob:{HASH}  \n");
        let users = Users::parse(text.as_bytes()).unwrap();
        assert_eq!(users.iter().map(|user| user.name.as_str()).collect::<Vec<_>>(), ["ann", "Änne O’Hara", "bob"]);
        for name in ["ann", "Änne O’Hara", "bob"] {
            assert!(matches!(users.candidate(name), Some(Candidate::Known(user)) if user.name == name), "{name}");
        }
        assert_eq!(users.weak().len(), 3);
        assert_eq!(format!("{users:?}"), "Users { count: 3, .. }");
    }

    #[test]
    fn an_unknown_name_has_one_and_the_same_decoy_and_different_names_have_different_ones() {
        let text: Vec<_> = (0..16).map(|n| format!("user{n}:{HASH}")).collect();
        let users = Users::parse(text.join("\n").as_bytes()).unwrap();
        let decoy = |name: &str| match users.candidate(name) {
            Some(Candidate::Decoy(user)) => user.name.clone(),
            _ => panic!("{name} is in no file"),
        };
        let decoys: std::collections::HashSet<_> = (0..200).map(|n| decoy(&format!("nobody{n}"))).collect();
        assert!(decoys.len() > 8, "{decoys:?}");
        for name in ["Ann", "ANN", "user1 ", "", "user1\0"] {
            assert_eq!(decoy(name), decoy(name), "{name:?}");
        }
    }

    #[test]
    fn each_mistake_is_named_by_its_line() {
        let text = format!("ann:{HASH}\nbob\n:{HASH}\n carl:{HASH}\ndora:plain\n\nann:{HASH}\nemil:$2y$05$short\n");
        assert_eq!(
            faults(&text),
            [
                "line 2 has no colon; write it as name:hash",
                "line 3 has a name that is empty, has blanks around it or control characters in it",
                "line 4 has a name that is empty, has blanks around it or control characters in it",
                "line 5 (dora): the hash is of no kind that is known here; write bcrypt, or what `doorward hash-password` prints",
                "line 7 has the name of line 1",
                "line 8 (emil): the hash is damaged; copy the whole of it",
            ]
        );
        assert_eq!(faults(""), ["has no user in it"]);
        assert_eq!(faults("# nobody\n"), ["has no user in it"]);
        assert_eq!(faults(&format!("{}:{HASH}", "n".repeat(129))), ["line 1 has a name of more than 128 bytes"]);
        assert_eq!(Users::parse(b"ann:\xff").unwrap_err()[0].to_string(), "is not UTF-8");
        let many: Vec<_> = (0..=MAX_USERS).map(|n| format!("u{n}:{HASH}")).collect();
        assert_eq!(faults(&many.join("\n")), ["has more than 1000 users"]);
    }

    #[test]
    fn a_fault_says_nothing_of_a_hash() {
        for line in ["ann:hunter2", "ann:$2y$05$hunter2", "ann:$argon2id$v=19$hunter2"] {
            assert!(!faults(line).join(" ").contains("hunter2"), "{line}");
        }
        assert!(!faults("hunter2").join(" ").contains("hunter2"), "it may be a password alone");
    }
}

//! An identity in one piece of memory, as a session keeps it.
//!
//! A session that is asked for after a while is in no core's cache: each string of its own would be one more wait, and each
//! costs more than it holds. Promises: what was packed comes out as it was.

use std::{fmt, str, sync::Arc};

use arc_swap::ArcSwapOption;
use serde_json::{Map, Value};

use super::{Identity, Registration, Scope, Subject};

/// An [`Identity`] and the [`Scope`] in which it counts, with its claims still as text.
///
/// Pieces stand behind one another, each after its length: the scope and the groups first, because every request looks
/// at them.
pub struct Packed {
    pieces: Box<[u8]>,
    /// Read where a rule asks for claims, which few do.
    claims: ArcSwapOption<Map<String, Value>>,
}

/// What the pieces are, in their order.
#[derive(Clone, Copy)]
enum Piece {
    Audience,
    Registration,
    /// Pieces themselves, one for each group.
    Groups,
    Provider,
    Subject,
    Email,
    /// Empty where the address is not verified.
    EmailVerified,
    User,
    Name,
    /// JSON.
    Claims,
}

impl Packed {
    /// Packs an identity that counts in this scope.
    #[must_use]
    pub fn within(identity: &Identity, scope: &Scope) -> Self {
        let Identity { provider, subject, user, email, email_verified, name, groups, claims } = identity;
        let groups = join(groups.iter().map(String::as_bytes));
        let claims = serde_json::to_vec(claims).expect("claims came out of JSON");
        let pieces = [
            scope.audience.as_bytes(),
            &scope.registration.0,
            &groups,
            provider.as_bytes(),
            subject.0.as_bytes(),
            email.as_bytes(),
            if *email_verified { b"1" } else { b"" },
            user.as_bytes(),
            name.as_bytes(),
            claims.as_slice(),
        ];
        Self { pieces: join(pieces.into_iter()).into(), claims: ArcSwapOption::empty() }
    }

    /// Packs an identity that counts nowhere: to be judged, and nothing else.
    #[cfg(test)]
    #[must_use]
    pub fn new(identity: &Identity) -> Self {
        Self::within(identity, &Scope { audience: String::new(), registration: Registration([0; 8]) })
    }

    /// The identity that was packed.
    #[must_use]
    pub fn unpack(&self) -> Identity {
        Identity {
            provider: self.provider().to_owned(),
            subject: Subject(self.subject().to_owned()),
            user: self.user().to_owned(),
            email: self.email().to_owned(),
            email_verified: self.has_verified_email(),
            name: self.text(Piece::Name).to_owned(),
            groups: self.groups().map(|group| text(group).to_owned()).collect(),
            claims: self.read_claims(),
        }
    }

    /// [`Identity::provider`].
    #[must_use]
    pub fn provider(&self) -> &str {
        self.text(Piece::Provider)
    }

    /// [`Identity::subject`].
    #[must_use]
    pub fn subject(&self) -> &str {
        self.text(Piece::Subject)
    }

    /// [`Identity::email`].
    #[must_use]
    pub fn email(&self) -> &str {
        self.text(Piece::Email)
    }

    /// [`Identity::email_verified`].
    #[must_use]
    pub fn has_verified_email(&self) -> bool {
        !self.piece(Piece::EmailVerified).is_empty()
    }

    /// [`Identity::user`].
    #[must_use]
    pub fn user(&self) -> &str {
        self.text(Piece::User)
    }

    /// [`Scope::audience`].
    #[must_use]
    pub fn audience(&self) -> &str {
        self.text(Piece::Audience)
    }

    /// Whether it counts at this host or in this domain. Compared exactly.
    #[must_use]
    pub fn is_at(&self, audience: &str) -> bool {
        self.piece(Piece::Audience) == audience.as_bytes()
    }

    /// Whether it came under this registration, which vouches for all the rest.
    #[must_use]
    pub fn is_of(&self, registration: &Registration) -> bool {
        self.piece(Piece::Registration) == registration.0
    }

    /// Whether the person is in `group`; names compare exactly.
    #[must_use]
    pub fn is_in(&self, group: &str) -> bool {
        self.groups().any(|own| own == group.as_bytes())
    }

    /// [`Identity::claims`].
    #[must_use]
    pub fn claims(&self) -> Arc<Map<String, Value>> {
        self.claims.load_full().unwrap_or_else(|| {
            let claims = Arc::new(self.read_claims());
            self.claims.store(Some(Arc::clone(&claims)));
            claims
        })
    }

    /// How much is packed, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.pieces.len()
    }

    /// Gives back what was read out of it: while nobody asks, it takes no more than what was packed.
    pub fn rest(&self) {
        if self.claims.load().is_some() {
            self.claims.store(None);
        }
    }

    fn groups(&self) -> impl Iterator<Item = &[u8]> {
        Pieces(self.piece(Piece::Groups))
    }

    fn read_claims(&self) -> Map<String, Value> {
        serde_json::from_slice(self.piece(Piece::Claims)).expect("they were packed as JSON")
    }

    fn text(&self, piece: Piece) -> &str {
        text(self.piece(piece))
    }

    fn piece(&self, piece: Piece) -> &[u8] {
        Pieces(&self.pieces).nth(piece as usize).expect("every piece was packed")
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.unpack().fmt(f)
    }
}

/// Pieces one after the other, each behind its length: seven bits in a byte, the lowest first, and the eighth bit where more
/// follow. Nearly all are short, and there is a length for every group of everybody.
struct Pieces<'p>(&'p [u8]);

impl<'p> Iterator for Pieces<'p> {
    type Item = &'p [u8];

    fn next(&mut self) -> Option<&'p [u8]> {
        let (mut length, mut shift) = (0, 0);
        loop {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            length |= usize::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                break;
            }
            shift += 7;
        }
        let (piece, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(piece)
    }
}

fn join<'p>(pieces: impl Iterator<Item = &'p [u8]>) -> Vec<u8> {
    pieces.fold(Vec::new(), |mut joined, piece| {
        let mut length = piece.len();
        loop {
            let [low, ..] = length.to_le_bytes();
            length >>= 7;
            if length == 0 {
                joined.push(low);
                break;
            }
            joined.push(low | 0x80);
        }
        joined.extend_from_slice(piece);
        joined
    })
}

fn text(piece: &[u8]) -> &str {
    str::from_utf8(piece).expect("it was packed as text")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::arbitrary::identity, *};

    proptest! {
        #[test]
        fn what_was_packed_comes_out_as_it_was(
            identity in identity(), audience in ".{0,8}", registration: [u8; 8], other in ".{0,8}", another: [u8; 8],
        ) {
            let scope = Scope { audience, registration: Registration(registration) };
            let packed = Packed::within(&identity, &scope);
            prop_assert_eq!(packed.unpack(), identity.clone());
            for group in &identity.groups {
                prop_assert!(packed.is_in(group));
            }
            prop_assert_eq!(packed.is_in(&other), identity.groups.contains(&other));
            prop_assert!(packed.is_at(&scope.audience) && packed.is_of(&scope.registration));
            prop_assert_eq!(packed.is_at(&other), scope.audience == other);
            prop_assert_eq!(packed.is_of(&Registration(another)), registration == another);
            prop_assert_eq!((packed.audience(), packed.provider()), (scope.audience.as_str(), identity.provider.as_str()));
            prop_assert_eq!(&*packed.claims(), &identity.claims);
            packed.rest();
            prop_assert!(packed.claims.load().is_none());
            prop_assert_eq!(&*packed.claims(), &identity.claims);
            prop_assert_eq!([packed.subject(), packed.email(), packed.user()], [&identity.subject.0, &identity.email, &identity.user]);
        }
    }

    #[test]
    fn a_piece_may_be_of_any_length() {
        for length in [0, 1, 127, 128, 16_383, 16_384, 3_000_000] {
            let groups = vec!["g".repeat(length), "last".to_owned()];
            let packed = packed(groups.clone());
            assert_eq!((packed.unpack().groups, packed.user()), (groups, "ann"));
        }
    }

    #[test]
    fn part_of_a_group_and_two_groups_in_one_are_no_group() {
        let groups = ["ab", "c"].map(str::to_owned).to_vec();
        let packed = packed(groups);
        for other in ["a", "b", "abc", "", "ab\0c", "ann"] {
            assert!(!packed.is_in(other), "{other}");
        }
    }

    fn packed(groups: Vec<String>) -> Packed {
        let identity = Identity {
            provider: "main".to_owned(),
            subject: Subject("s".to_owned()),
            user: "ann".to_owned(),
            email: String::new(),
            email_verified: false,
            name: String::new(),
            groups,
            claims: Map::new(),
        };
        Packed::new(&identity)
    }
}

//! An identity packed into one allocation, as a session in memory keeps it.
//!
//! A session that has not been used for a while is in no CPU cache: each string of its own would be another cache miss,
//! and its allocation costs more than it holds. Promises: an identity is unpacked as it was packed.

use std::{fmt, str, sync::Arc};

use arc_swap::ArcSwapOption;
use serde_json::{Map, Value};

use super::{ClaimsStanding, Identity, Registration, SERVICE_TOKENS, SessionScope, Subject};
use crate::clock::Timestamp;

/// An [`Identity`] and its [`SessionScope`], with the claims still as JSON.
///
/// The fields follow one another, each after its length: the scope and the groups first, because every request reads
/// them.
pub struct PackedIdentity {
    fields: Box<[u8]>,
    /// Parsed claims, where a rule has asked for them, which few do.
    claims: ArcSwapOption<Map<String, Value>>,
}

/// A field, in the order of the layout.
#[derive(Clone, Copy)]
enum PackedField {
    Audience,
    Registration,
    /// Packed fields themselves, one for each group.
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
    /// [`Identity::standing`]: a byte of flags, and eight of the time.
    Standing,
}

/// Flag of [`ClaimsStanding::groups_incomplete`].
const GROUPS_INCOMPLETE: u8 = 1;
/// Flag of [`ClaimsStanding::from_userinfo`].
const FROM_USERINFO: u8 = 2;
/// Flag of [`ClaimsStanding::groups_from_userinfo`].
const GROUPS_FROM_USERINFO: u8 = 4;

impl PackedIdentity {
    /// Packs an identity with its scope.
    #[must_use]
    pub fn scoped(identity: &Identity, scope: &SessionScope) -> Self {
        let Identity { provider, subject, user, email, email_verified, name, groups, claims, standing } = identity;
        let groups = join(groups.iter().map(String::as_bytes));
        let claims = serde_json::to_vec(claims).expect("claims came out of JSON");
        let standing = pack_standing(*standing);
        let fields = [
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
            &standing,
        ];
        Self { fields: join(fields.into_iter()).into(), claims: ArcSwapOption::empty() }
    }

    /// Packs an identity with an empty scope: to be judged, and nothing else.
    #[cfg(test)]
    #[must_use]
    pub fn new(identity: &Identity) -> Self {
        Self::scoped(identity, &SessionScope { audience: String::new(), registration: Registration([0; 8]) })
    }

    /// Unpacks the identity.
    #[must_use]
    pub fn unpack(&self) -> Identity {
        Identity {
            provider: self.provider().to_owned(),
            subject: Subject(self.subject().to_owned()),
            user: self.user().to_owned(),
            email: self.email().to_owned(),
            email_verified: self.has_verified_email(),
            name: self.text(PackedField::Name).to_owned(),
            groups: self.groups().map(|group| text(group).to_owned()).collect(),
            claims: self.read_claims(),
            standing: self.standing(),
        }
    }

    /// Returns `true` if it is that of a service token, and not of a person.
    #[must_use]
    pub fn is_of_service_token(&self) -> bool {
        self.provider() == SERVICE_TOKENS
    }

    /// [`Identity::provider`].
    #[must_use]
    pub fn provider(&self) -> &str {
        self.text(PackedField::Provider)
    }

    /// [`Identity::subject`].
    #[must_use]
    pub fn subject(&self) -> &str {
        self.text(PackedField::Subject)
    }

    /// [`Identity::email`].
    #[must_use]
    pub fn email(&self) -> &str {
        self.text(PackedField::Email)
    }

    /// [`Identity::email_verified`].
    #[must_use]
    pub fn has_verified_email(&self) -> bool {
        !self.field(PackedField::EmailVerified).is_empty()
    }

    /// [`Identity::user`].
    #[must_use]
    pub fn user(&self) -> &str {
        self.text(PackedField::User)
    }

    /// [`SessionScope::audience`].
    #[must_use]
    pub fn audience(&self) -> &str {
        self.text(PackedField::Audience)
    }

    /// Returns `true` if the scope has this audience. Compared exactly.
    #[must_use]
    pub fn has_audience(&self, audience: &str) -> bool {
        self.field(PackedField::Audience) == audience.as_bytes()
    }

    /// Returns `true` if the scope has this registration, which asserts all the rest.
    #[must_use]
    pub fn has_registration(&self, registration: &Registration) -> bool {
        self.field(PackedField::Registration) == registration.0
    }

    /// Returns `true` if the person is in `group`. Names are compared exactly.
    #[must_use]
    pub fn is_in_group(&self, group: &str) -> bool {
        self.groups().any(|own| own == group.as_bytes())
    }

    /// Returns `true` if the person may be in further groups, which the provider did not tell.
    #[must_use]
    pub fn has_incomplete_groups(&self) -> bool {
        self.standing().groups_incomplete
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

    /// Returns the packed size in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.fields.len()
    }

    /// Drops the parsed claims, so that an idle session takes no more memory than its packed size.
    pub fn drop_parsed_claims(&self) {
        if self.claims.load().is_some() {
            self.claims.store(None);
        }
    }

    fn groups(&self) -> impl Iterator<Item = &[u8]> {
        PackedFields(self.field(PackedField::Groups))
    }

    fn read_claims(&self) -> Map<String, Value> {
        serde_json::from_slice(self.field(PackedField::Claims)).expect("claims were packed as JSON")
    }

    fn standing(&self) -> ClaimsStanding {
        let (flags, told) = self.field(PackedField::Standing).split_first().expect("the flags were packed");
        ClaimsStanding {
            groups_incomplete: flags & GROUPS_INCOMPLETE != 0,
            from_userinfo: flags & FROM_USERINFO != 0,
            groups_from_userinfo: flags & GROUPS_FROM_USERINFO != 0,
            told: Timestamp::from_unix(u64::from_le_bytes(
                told.try_into().expect("the time was packed in eight bytes"),
            )),
        }
    }

    fn text(&self, field: PackedField) -> &str {
        text(self.field(field))
    }

    fn field(&self, field: PackedField) -> &[u8] {
        PackedFields(&self.fields).nth(field as usize).expect("every field was packed")
    }
}

impl fmt::Debug for PackedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.unpack().fmt(f)
    }
}

/// Iterator over fields, each after its length as a LEB128 number: nearly all are short, and every group has one.
struct PackedFields<'p>(&'p [u8]);

impl<'p> Iterator for PackedFields<'p> {
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
        let (field, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(field)
    }
}

fn join<'p>(fields: impl Iterator<Item = &'p [u8]>) -> Vec<u8> {
    fields.fold(Vec::new(), |mut joined, field| {
        let mut length = field.len();
        loop {
            let [low, ..] = length.to_le_bytes();
            length >>= 7;
            if length == 0 {
                joined.push(low);
                break;
            }
            joined.push(low | 0x80);
        }
        joined.extend_from_slice(field);
        joined
    })
}

fn pack_standing(standing: ClaimsStanding) -> Vec<u8> {
    let ClaimsStanding { groups_incomplete, from_userinfo, groups_from_userinfo, told } = standing;
    let flags = u8::from(groups_incomplete) * GROUPS_INCOMPLETE
        + u8::from(from_userinfo) * FROM_USERINFO
        + u8::from(groups_from_userinfo) * GROUPS_FROM_USERINFO;
    let mut packed = vec![flags];
    packed.extend(told.unix().to_le_bytes());
    packed
}

fn text(field: &[u8]) -> &str {
    str::from_utf8(field).expect("the field was packed as text")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::arbitrary::identity, *};

    proptest! {
        #[test]
        fn an_identity_is_unpacked_as_it_was_packed(
            identity in identity(), audience in ".{0,8}", registration: [u8; 8], other in ".{0,8}", another: [u8; 8],
        ) {
            let scope = SessionScope { audience, registration: Registration(registration) };
            let packed = PackedIdentity::scoped(&identity, &scope);
            prop_assert_eq!(packed.unpack(), identity.clone());
            for group in &identity.groups {
                prop_assert!(packed.is_in_group(group));
            }
            prop_assert_eq!(packed.is_in_group(&other), identity.groups.contains(&other));
            prop_assert!(packed.has_audience(&scope.audience) && packed.has_registration(&scope.registration));
            prop_assert_eq!(packed.has_audience(&other), scope.audience == other);
            prop_assert_eq!(packed.has_registration(&Registration(another)), registration == another);
            prop_assert_eq!((packed.audience(), packed.provider()), (scope.audience.as_str(), identity.provider.as_str()));
            prop_assert_eq!(&*packed.claims(), &identity.claims);
            packed.drop_parsed_claims();
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
            assert!(!packed.is_in_group(other), "{other}");
        }
    }

    fn packed(groups: Vec<String>) -> PackedIdentity {
        let identity = Identity {
            provider: "main".to_owned(),
            subject: Subject("s".to_owned()),
            user: "ann".to_owned(),
            email: String::new(),
            email_verified: false,
            name: String::new(),
            groups,
            claims: Map::new(),
            standing: ClaimsStanding::default(),
        };
        PackedIdentity::new(&identity)
    }
}

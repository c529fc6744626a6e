//! The demo's users. There are no passwords: everybody may sign in as anybody.

/// A user who can sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum User {
    /// Member of `admins` and `staff`.
    Alice,
    /// Member of `staff`.
    Bob,
}

impl User {
    pub(super) const ALL: [Self; 2] = [Self::Alice, Self::Bob];

    /// Returns the user of a name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|user| user.name() == name)
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Alice => "alice",
            Self::Bob => "bob",
        }
    }

    pub(super) const fn full_name(self) -> &'static str {
        match self {
            Self::Alice => "Alice Archer",
            Self::Bob => "Bob Baker",
        }
    }

    pub(super) const fn email(self) -> &'static str {
        match self {
            Self::Alice => "alice@example.com",
            Self::Bob => "bob@example.com",
        }
    }

    /// Returns the `sub` claim: an opaque text, as with most providers.
    pub(super) const fn subject(self) -> &'static str {
        match self {
            Self::Alice => "5b1f0c52",
            Self::Bob => "9ac4e6d7",
        }
    }

    pub(super) const fn groups(self) -> &'static [&'static str] {
        match self {
            Self::Alice => &["admins", "staff"],
            Self::Bob => &["staff"],
        }
    }
}

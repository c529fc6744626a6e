//! The people of the demo. Everybody may be anybody: there are no passwords.

/// Somebody who can sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum User {
    /// Runs the place.
    Alice,
    /// Works there.
    Bob,
}

impl User {
    pub(super) const ALL: [Self; 2] = [Self::Alice, Self::Bob];

    /// Whose name this is.
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

    /// `sub`: nobody's name, as providers do it.
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

//! Sets of people (`allow`), and how they have to have signed in.

use std::{fmt, time::Duration};

use super::{
    narrowing::Narrowing,
    people::{Excepted, MissingGrant, People},
    step_up,
};
use crate::{clock::Timestamp, identity::PackedIdentity};

/// Cause of an identity not being let in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Denial<'p> {
    /// Not in this set of people.
    NotAllowed(&'p Allow),
    /// In this set of people, but not signed in as it asks for (`acr`, `max_age`).
    StepUp(&'p Allow),
    /// Let in by the configuration, but not met by what the edge's question asks for on top.
    Narrowed(Narrowing<'p>),
    /// Denied to everybody by a rule.
    Rule,
}

/// Set of people, and how they have to have signed in. The default is everybody who is signed in, however they did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Allow {
    /// One match lets in; `None`: everybody who is signed in.
    pub any: Option<People>,
    /// Each kind that it names has to match as well, and of the claims every one.
    pub require: People,
    /// Nobody whom it names is let in.
    pub except: People,
    /// Authentication context classes (`acr`), of which the sign-in has to have had one; empty: any.
    pub acr: Vec<String>,
    /// Maximum time since the person proved who they are (`auth_time`).
    pub max_age: Option<Duration>,
}

impl Allow {
    /// Returns the groups that it names.
    pub fn groups(&self) -> impl Iterator<Item = &String> {
        self.any.iter().chain([&self.require, &self.except]).flat_map(|people| &people.groups)
    }

    /// Judges an identity.
    pub(super) fn judge(&self, identity: &PackedIdentity, now: Timestamp) -> Result<(), Denial<'_>> {
        if !self.admits(identity) {
            Err(Denial::NotAllowed(self))
        } else if !self.is_met_by_sign_in(identity, now) {
            Err(Denial::StepUp(self))
        } else {
            Ok(())
        }
    }

    /// Returns what it asks of a sign-in beyond who somebody is: `acr` and `max_age`.
    pub(super) fn sign_in(&self) -> (&[String], Option<Duration>) {
        (&self.acr, self.max_age)
    }

    /// Returns `true` if an identity is in the set, however it signed in.
    pub(super) fn admits(&self, identity: &PackedIdentity) -> bool {
        self.any.as_ref().is_none_or(|people| people.include(identity))
            && (self.require.is_empty() || self.require.are_all_met_by(identity))
            && (self.except.is_empty() || self.except.except(identity) == Excepted::No)
    }

    /// Returns what an identity lacks that is not in the set.
    #[must_use]
    pub fn missing(&self, identity: &PackedIdentity) -> MissingGrant {
        let excepted = self.except.except(identity);
        match &self.any {
            _ if excepted == Excepted::Yes => MissingGrant::Other,
            Some(people) if !people.include(identity) => people.missing(identity),
            _ if !self.require.are_all_met_by(identity) => self.require.missing_of_all(identity),
            _ if excepted == Excepted::Perhaps => MissingGrant::AllGroups,
            _ => MissingGrant::Other,
        }
    }

    /// Returns `true` if the sign-in was of a class that is asked for, and recent enough.
    fn is_met_by_sign_in(&self, identity: &PackedIdentity, now: Timestamp) -> bool {
        if self.acr.is_empty() && self.max_age.is_none() {
            return true;
        }
        step_up::judge(&self.acr, self.max_age, &identity.claims(), now).is_ok()
    }
}

/// Everybody who is one of these people, however they signed in.
impl From<People> for Allow {
    fn from(people: People) -> Self {
        Self { any: Some(people), ..Self::default() }
    }
}

/// Prints the set as it is configured, such as `groups = ["admins"] or users = ["ann@example.com"], acr = ["mfa"]`.
impl fmt::Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.any {
            Some(people) => write!(f, "{people:#}")?,
            None => f.write_str("anybody who is signed in")?,
        }
        for (name, people) in [("require", &self.require), ("except", &self.except)] {
            if !people.is_empty() {
                write!(f, ", {name} = {{ {people} }}")?;
            }
        }
        if !self.acr.is_empty() {
            write!(f, ", acr = {:?}", self.acr)?;
        }
        if let Some(max_age) = self.max_age {
            write!(f, ", max_age = \"{}\"", humantime::format_duration(max_age))?;
        }
        Ok(())
    }
}

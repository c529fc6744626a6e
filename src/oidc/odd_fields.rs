//! Odd fields: fields of a provider's answers that could not be read and count as absent.
//!
//! Promises: each is named once in the log, by its name and never by its value, and so many at most.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use super::error::printable;

/// The most names that are logged: the provider chooses them.
const MAX_NAMES: usize = 64;

/// The odd fields of one provider that have been named.
pub(super) struct OddFields {
    provider: String,
    named: Mutex<BTreeSet<(&'static str, Cow<'static, str>)>>,
}

impl OddFields {
    /// None yet, for the provider of this name.
    pub(super) fn new(provider: &str) -> Self {
        Self { provider: provider.to_owned(), named: Mutex::default() }
    }

    /// Names a field the first time that it is odd. `expected` is what it should be, and how to mend it where that helps.
    pub(super) fn name_once(&self, source: &'static str, field: impl Into<Cow<'static, str>>, expected: &'static str) {
        let field = field.into();
        if self.is_first(source, field.clone()) {
            tracing::warn!(
                provider = self.provider,
                source,
                field = printable(&field),
                expected,
                "a field of the provider's answer could not be read and is taken as absent"
            );
        }
    }

    fn is_first(&self, source: &'static str, field: Cow<'static, str>) -> bool {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        named.len() < MAX_NAMES && named.insert((source, field))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_named_once_for_each_source_and_names_are_bounded() {
        let odd = OddFields::new("main");
        assert!(odd.is_first("ID token", "name".into()) && odd.is_first("userinfo", "name".into()));
        assert!(!odd.is_first("ID token", "name".into()));
        let named = (0..1000).filter(|number| odd.is_first("ID token", format!("claim-{number}").into())).count();
        assert_eq!(named, MAX_NAMES - 2);
    }
}

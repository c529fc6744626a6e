//! Comparison of two configurations: the keys whose values differ, and those of them that need a restart.

use std::collections::BTreeMap;

use super::{
    effective::EffectiveValue,
    schema::{self, AppliesOn},
    shape,
};

/// Keys whose values differ between two configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigDiff {
    /// Keys that apply at once.
    pub applied: Vec<String>,
    /// Keys that keep their old value until a restart.
    pub pending_restart: Vec<String>,
}

impl ConfigDiff {
    /// Compares the values in force with those of a newly loaded configuration.
    pub(super) fn between(running: &[EffectiveValue], loaded: &[EffectiveValue]) -> Self {
        let mut diff = Self::default();
        for key in differing(running, loaded) {
            match applies_on(key) {
                AppliesOn::Reload => diff.applied.push(key.to_owned()),
                AppliesOn::Restart => diff.pending_restart.push(key.to_owned()),
            }
        }
        diff
    }

    /// Returns `true` if nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.applied.is_empty() && self.pending_restart.is_empty()
    }
}

/// Returns the values in force after a reload: new ones where the key applies at once, old ones where it needs a restart.
/// Pending keys therefore differ at every reload until the restart.
pub(super) fn merge(running: &[EffectiveValue], loaded: &[EffectiveValue]) -> Vec<EffectiveValue> {
    let only = |list: &[EffectiveValue], on| {
        let of_them = list.iter().filter(|value| applies_on(&value.key) == on);
        of_them.cloned().collect::<Vec<_>>()
    };
    [only(running, AppliesOn::Restart), only(loaded, AppliesOn::Reload)].concat()
}

/// Returns the keys whose values differ, or that are in one of the two lists only.
fn differing<'e>(running: &'e [EffectiveValue], loaded: &'e [EffectiveValue]) -> Vec<&'e str> {
    let by_key = |list: &'e [EffectiveValue]| {
        let pairs = list.iter().map(|value| (value.key.as_str(), value.fingerprint));
        pairs.collect::<BTreeMap<_, _>>()
    };
    let (old, new) = (by_key(running), by_key(loaded));
    let changed = loaded.iter().filter(|value| old.get(value.key.as_str()) != Some(&value.fingerprint));
    let gone = running.iter().filter(|value| !new.contains_key(value.key.as_str()));
    changed.chain(gone).map(|value| value.key.as_str()).collect()
}

/// Looks a key up in the schema; `key` as it is listed, with indices.
fn applies_on(key: &str) -> AppliesOn {
    let path = shape::without_indices(key);
    let path = path.strip_suffix("[]").unwrap_or(&path);
    let known = schema::KEYS.iter().find(|known| known.path == path);
    known.expect("only keys of the schema are listed").applies_on
}

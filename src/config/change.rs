//! From one configuration to the next: what differs, and what of it can be in force without a restart.

use std::collections::BTreeMap;

use super::{
    Config, Effective, Log,
    schema::{self, Change},
    shape,
};
use crate::session;

/// What differs between two configurations, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// What can be in force at once.
    pub changed: Vec<String>,
    /// What stays as it is until a restart.
    pub waiting: Vec<String>,
}

impl Difference {
    /// Whether there is none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.changed.is_empty() && self.waiting.is_empty()
    }
}

impl Config {
    /// What is in force when this configuration comes after `before`: all of it but what needs a restart, which stays as it
    /// was. Says as well what differs.
    #[must_use]
    pub fn after(self, before: &Self) -> (Self, Difference) {
        let mut difference = Difference::default();
        for key in differing(&before.effective, &self.effective) {
            match change_of(key) {
                Change::Reload => difference.changed.push(key.to_owned()),
                Change::Restart => difference.waiting.push(key.to_owned()),
            }
        }
        let stays = |list: &[Effective], change| {
            let of_them = list.iter().filter(|value| change_of(&value.key) == change);
            of_them.cloned().collect::<Vec<_>>()
        };
        // What waits goes on to differ until somebody restarts.
        let effective = [stays(&before.effective, Change::Restart), stays(&self.effective, Change::Reload)].concat();
        let in_force = Self {
            server: before.server.clone(),
            session: session::Settings { backend: before.session.backend.clone(), ..self.session },
            log: Log { format: before.log.format, ..self.log },
            effective,
            ..self
        };
        (in_force, difference)
    }
}

/// The keys whose values differ, or that are in one of two lists only.
fn differing<'e>(before: &'e [Effective], after: &'e [Effective]) -> Vec<&'e str> {
    let by_key = |list: &'e [Effective]| {
        let pairs = list.iter().map(|value| (value.key.as_str(), value.print));
        pairs.collect::<BTreeMap<_, _>>()
    };
    let (old, new) = (by_key(before), by_key(after));
    let changed = after.iter().filter(|value| old.get(value.key.as_str()) != Some(&value.print));
    let gone = before.iter().filter(|value| !new.contains_key(value.key.as_str()));
    changed.chain(gone).map(|value| value.key.as_str()).collect()
}

/// What it takes for a change of a key to apply; `key` as it is listed, with places in lists.
fn change_of(key: &str) -> Change {
    let path = shape::places_removed(key);
    let path = path.strip_suffix("[]").unwrap_or(&path);
    let known = schema::KEYS.iter().find(|known| known.path == path);
    known.expect("only keys of the schema are listed").change
}

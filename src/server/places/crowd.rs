//! Strangers who share a number of places, by how long they have been quiet.
//!
//! Entering never fails: where the share of all or that of one network is used up, the one who has been quiet for longest is cut.
//! It must not know what the places are for.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use foldhash::{HashMap, HashMapExt as _};

use super::seat::{Call, Network, Seat};

/// Strangers, each under the moment at which it was last heard of.
pub(super) struct Crowd {
    most: usize,
    each: usize,
    quiet: BTreeMap<u64, Arc<Seat>>,
    of: HashMap<Network, BTreeSet<u64>>,
}

impl Crowd {
    /// Room for so many, and for so many of each network.
    pub(super) fn new(most: usize, each: usize) -> Self {
        Self { most, each, quiet: BTreeMap::new(), of: HashMap::new() }
    }

    /// Lets one in who was heard of at this moment, later than everybody else. Says whether somebody had to give way.
    pub(super) fn enter(&mut self, moment: u64, seat: &Arc<Seat>) -> bool {
        let own = self.of.get(&seat.network()).filter(|own| own.len() >= self.each).and_then(BTreeSet::first).copied();
        let any = || self.quiet.first_key_value().filter(|_| self.quiet.len() >= self.most).map(|(moment, _)| *moment);
        let gone = own.or_else(any).and_then(|moment| self.take(moment));
        self.of.entry(seat.network()).or_default().insert(moment);
        self.quiet.insert(moment, Arc::clone(seat));
        gone.inspect(|gone| gone.call(Call::CUT)).is_some()
    }

    /// Lets one go. Says whether it was there.
    pub(super) fn leave(&mut self, moment: u64) -> bool {
        self.take(moment).is_some()
    }

    /// Has the one give way who has been quiet for longest, if there is anybody.
    pub(super) fn quietest(&mut self) -> Option<()> {
        let (moment, _) = self.quiet.first_key_value()?;
        let gone = self.take(*moment)?;
        gone.call(Call::CUT);
        Some(())
    }

    /// Whether nobody is in it.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.quiet.is_empty() && self.of.is_empty()
    }

    fn take(&mut self, moment: u64) -> Option<Arc<Seat>> {
        let seat = self.quiet.remove(&moment)?;
        if let Some(own) = self.of.get_mut(&seat.network()) {
            own.remove(&moment);
            if own.is_empty() {
                self.of.remove(&seat.network());
            }
        }
        Some(seat)
    }
}

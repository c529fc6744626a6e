//! Verification of passwords: little work for all clients together, and none for passwords that are known to be right.
//!
//! Promises: the number of hashes that are computed at once, and of those that wait for it, is bounded; a network that has tried
//! without success waits behind those that have not, and neither of them before one that has brought a right password, so that a
//! flood of wrong ones keeps no right one out; a name that is in no file costs what the others cost.

use std::{net::IpAddr, sync::Arc, time::Duration};

use moka::{policy::EvictionPolicy, sync::Cache};
use secrecy::zeroize::Zeroizing;
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

use super::users::{Candidate, EmergencyUser};
use crate::{
    crypto::{EphemeralKey, Tag},
    edge::Network,
};

/// Hashes at once in each lane: a hash takes up to 128 MiB.
const SLOTS: usize = 1;
/// The most attempts at once in each lane, with those that wait.
const MAX_ATTEMPTS: usize = 32;
/// The longest wait for a slot: what an edge waits for an answer is longer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Time for which a network that brought a right password waits for no other.
const TRUSTED_FOR: Duration = Duration::from_hours(24);
/// The most networks that do not wait: only right passwords bring them in.
const MAX_TRUSTED: u64 = 1_024;
/// Time since its last use after which a right password is hashed again.
const RECOGNISED_FOR: Duration = Duration::from_mins(15);
/// The most right passwords that are recognised: more than a file has users.
const MAX_RECOGNISED: u64 = 4_096;
/// Time for which a wrong password is not hashed again. nginx asks twice about each refusal, browsers repeat what they remember.
const REFUSED_FOR: Duration = Duration::from_mins(1);
/// The most wrong passwords that are remembered.
const MAX_REFUSED: u64 = 4_096;
/// Time for which a network that brought no right password waits behind others.
const SUSPECT_FOR: Duration = Duration::from_mins(10);
/// The most networks that do.
const MAX_SUSPECTS: u64 = 4_096;

/// Verifies passwords. It lives as long as the process, whatever becomes of the file.
pub struct PasswordVerifier {
    key: EphemeralKey,
    /// Tags of passwords that were right. Only those come in, so that nobody can push them out.
    recognised: Cache<Tag, ()>,
    /// Tags of pairs of a name and a password that were wrong.
    refused: Cache<Tag, ()>,
    /// Networks with an attempt under way, or that have brought no right password since their last one. Clients that are not known
    /// are one.
    suspects: Cache<Option<Network>, ()>,
    /// Networks that a right password came from.
    trusted: Cache<Network, ()>,
    trusted_attempts: Lane,
    first_attempts: Lane,
    other_attempts: Lane,
}

/// The queue of attempts is full, or did not move in time: nothing is known about the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// Attempts that wait for each other.
struct Lane {
    places: Semaphore,
    slots: Arc<Semaphore>,
    patience: Duration,
    #[cfg(test)]
    hashed: std::sync::atomic::AtomicUsize,
}

impl Default for PasswordVerifier {
    fn default() -> Self {
        let networks = Cache::builder().max_capacity(MAX_SUSPECTS).eviction_policy(EvictionPolicy::lru());
        let refused = Cache::builder().max_capacity(MAX_REFUSED).eviction_policy(EvictionPolicy::lru());
        Self {
            refused: refused.time_to_live(REFUSED_FOR).build(),
            key: EphemeralKey::random(),
            recognised: Cache::builder().max_capacity(MAX_RECOGNISED).time_to_idle(RECOGNISED_FOR).build(),
            suspects: networks.time_to_live(SUSPECT_FOR).build(),
            trusted: Cache::builder().max_capacity(MAX_TRUSTED).time_to_live(TRUSTED_FOR).build(),
            trusted_attempts: Lane::new(),
            first_attempts: Lane::new(),
            other_attempts: Lane::new(),
        }
    }
}

impl PasswordVerifier {
    /// Returns `true` if a password was right lately. Costs no hash.
    pub(super) fn recognises(&self, candidate: &Candidate, password: &str) -> bool {
        let tag = self.tag(candidate.user(), password);
        matches!(candidate, Candidate::Known(_)) && self.recognised.get(&tag).is_some()
    }

    /// Returns `true` if a name and a password were wrong a moment ago. Costs no hash.
    pub(super) fn has_refused(&self, candidate: &Candidate, name: &str, password: &str) -> bool {
        self.refused.get(&self.tag_of_pair(candidate, name, password)).is_some()
    }

    /// Remembers that a name and a password were wrong.
    pub(super) fn remember_refused(&self, candidate: &Candidate, name: &str, password: &str) {
        self.refused.insert(self.tag_of_pair(candidate, name, password), ());
    }

    /// Returns `true` if a password is right. Hashes it, unless another request has meanwhile.
    pub(super) async fn verify(
        &self,
        candidate: &Candidate,
        password: &str,
        client: Option<IpAddr>,
    ) -> Result<bool, Busy> {
        let network = client.map(Network::of);
        let lane = self.lane(network);
        let (user, text) = (Arc::clone(candidate.user()), Zeroizing::new(password.to_owned()));
        let hashed = lane.run(|| self.recognises(candidate, password), move || user.hash.verify(&text)).await;
        let is_right = match hashed {
            Ok(is_right) => is_right && matches!(candidate, Candidate::Known(_)),
            Err(Busy) if self.recognises(candidate, password) => true,
            Err(Busy) => return Err(Busy),
        };
        if is_right {
            self.recognised.insert(self.tag(candidate.user(), password), ());
            self.suspects.invalidate(&network);
            // Clients that are not known may be anybody.
            if let Some(network) = network {
                self.trusted.insert(network, ());
            }
        }
        Ok(is_right)
    }

    /// Returns the lane of a network's attempt. From then on the network is suspect, until it brings a right password.
    fn lane(&self, network: Option<Network>) -> &Lane {
        if network.is_some_and(|network| self.trusted.get(&network).is_some()) {
            &self.trusted_attempts
        } else if self.suspects.entry(network).or_insert(()).is_fresh() {
            &self.first_attempts
        } else {
            &self.other_attempts
        }
    }

    /// Tag of a pair. The name is part of it, because a name that is in no file shares its decoy's hash with others.
    fn tag_of_pair(&self, candidate: &Candidate, name: &str, password: &str) -> Tag {
        let context = [candidate.user().fingerprint.as_slice(), name.as_bytes()].concat();
        self.key.tag(&context, password.as_bytes())
    }

    fn tag(&self, user: &EmergencyUser, password: &str) -> Tag {
        self.key.tag(&user.fingerprint, password.as_bytes())
    }
}

impl Lane {
    fn new() -> Self {
        Self {
            places: Semaphore::new(MAX_ATTEMPTS),
            slots: Arc::new(Semaphore::new(SLOTS)),
            patience: PATIENCE,
            #[cfg(test)]
            hashed: std::sync::atomic::AtomicUsize::new(0),
        }
    }

    /// Runs `hash` on a blocking thread, unless `is_known` holds once it is its turn. A hash that was begun keeps its slot even
    /// where nobody waits for it any more.
    async fn run(
        &self,
        is_known: impl Fn() -> bool,
        hash: impl FnOnce() -> bool + Send + 'static,
    ) -> Result<bool, Busy> {
        let _place = self.places.try_acquire().map_err(|_| Busy)?;
        let slot = timeout(self.patience, Arc::clone(&self.slots).acquire_owned()).await.map_err(|_| Busy)?;
        let slot = slot.map_err(|_| Busy)?;
        if is_known() {
            return Ok(true);
        }
        #[cfg(test)]
        self.hashed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let hashing = move || {
            let _slot = slot;
            hash()
        };
        spawn_blocking(hashing).await.map_err(|_| Busy)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use futures_util::FutureExt as _;

    use super::{super::users::Users, *};

    /// Users of one and the same password, by the cheapest hash that there is.
    fn users(names: &[&str]) -> Users {
        let hash = bcrypt::hash_with_salt("right", 4, [1; 16]).unwrap().format_for_version(bcrypt::Version::TwoY);
        let lines: Vec<_> = names.iter().map(|name| format!("{name}:{hash}")).collect();
        Users::parse(lines.join("\n").as_bytes()).unwrap()
    }

    fn hashes(verifier: &PasswordVerifier) -> [usize; 2] {
        [&verifier.first_attempts, &verifier.other_attempts].map(|lane| lane.hashed.load(Ordering::Relaxed))
    }

    #[expect(clippy::unnecessary_wraps, reason = "as requests have it")]
    fn client(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([203, 0, 113, last]))
    }

    #[tokio::test]
    async fn an_unknown_name_costs_as_many_hashes_as_a_known_one_and_is_never_right() {
        let (users, verifier) = (users(&["ann"]), PasswordVerifier::default());
        let mut hashed = 0;
        for (place, (name, password)) in
            [("ann", "wrong"), ("nobody", "wrong"), ("nobody", "right"), ("", ""), ("Ann", "right")]
                .into_iter()
                .enumerate()
        {
            let candidate = users.candidate(name).unwrap();
            let client = client(u8::try_from(place).unwrap());
            assert_eq!(verifier.verify(&candidate, password, client).await, Ok(false), "{name}");
            let now = hashes(&verifier)[0];
            assert_eq!(now, hashed + 1, "{name}");
            hashed = now;
        }
        let ann = users.candidate("ann").unwrap();
        assert_eq!(verifier.verify(&ann, "right", client(9)).await, Ok(true));
        let nobody = users.candidate("nobody").unwrap();
        assert!(!verifier.recognises(&nobody, "right"), "the password of its decoy is not its own");
    }

    #[tokio::test]
    async fn a_right_password_is_hashed_once_and_counts_for_its_own_line_alone() {
        let (users, verifier) = (users(&["ann", "bob"]), PasswordVerifier::default());
        let ann = users.candidate("ann").unwrap();
        assert!(!verifier.recognises(&ann, "right"));
        for _ in 0..3 {
            assert_eq!(verifier.verify(&ann, "right", client(1)).await, Ok(true));
        }
        assert_eq!(hashes(&verifier), [1, 0]);
        assert!(verifier.recognises(&ann, "right") && !verifier.recognises(&ann, "wrong"));
        assert!(!verifier.recognises(&users.candidate("bob").unwrap(), "right"));
        let other = super::super::password_hash::hash_password("other");
        let changed = Users::parse(format!("ann:{other}").as_bytes()).unwrap();
        assert!(!verifier.recognises(&changed.candidate("ann").unwrap(), "right"));
    }

    #[tokio::test]
    async fn whoever_tries_in_vain_waits_behind_those_who_have_not() {
        let (users, verifier) = (users(&["ann"]), PasswordVerifier::default());
        let ann = users.candidate("ann").unwrap();
        for _ in 0..3 {
            assert_eq!(verifier.verify(&ann, "wrong", client(1)).await, Ok(false));
        }
        assert_eq!(hashes(&verifier), [1, 2]);
        // The lane of those who have tried in vain is full; nobody else waits for it.
        let flood = verifier.other_attempts.places.acquire_many(u32::try_from(MAX_ATTEMPTS).unwrap()).await.unwrap();
        assert_eq!(verifier.verify(&ann, "right", client(1)).await, Err(Busy));
        assert_eq!(verifier.verify(&ann, "right", client(2)).await, Ok(true));
        assert_eq!(verifier.verify(&ann, "right", client(1)).await, Ok(true), "it is known by now");
        assert_eq!(hashes(&verifier), [2, 2]);
        // From then on its network waits for nobody, although it tries another one in vain.
        let _strangers =
            verifier.first_attempts.places.acquire_many(u32::try_from(MAX_ATTEMPTS).unwrap()).await.unwrap();
        for _ in 0..2 {
            assert_eq!(verifier.verify(&ann, "wrong", client(1)).await, Ok(false));
        }
        assert_eq!(verifier.verify(&ann, "wrong", client(3)).await, Err(Busy));
        assert_eq!(verifier.trusted_attempts.hashed.load(Ordering::Relaxed), 2);
        drop(flood);
    }

    #[tokio::test]
    async fn a_network_has_one_attempt_at_once_before_those_that_wait() {
        let (users, verifier) = (users(&["ann"]), PasswordVerifier::default());
        let ann = users.candidate("ann").unwrap();
        let attempts = (0..MAX_ATTEMPTS * 2).map(|_| verifier.verify(&ann, "wrong", client(1)));
        let slot = Arc::clone(&verifier.other_attempts.slots).acquire_owned().await.unwrap();
        let mut answers = futures_util::future::join_all(attempts);
        assert!((&mut answers).now_or_never().is_none(), "all have come before the first of those that wait is hashed");
        drop(slot);
        let answers = answers.await;
        let busy = answers.iter().filter(|answer| **answer == Err(Busy)).count();
        assert_eq!(busy, MAX_ATTEMPTS - 1, "one goes ahead, as many as there are places wait, the rest is turned away");
        assert_eq!(hashes(&verifier), [1, MAX_ATTEMPTS]);
    }

    #[tokio::test]
    async fn nobody_waits_for_a_slot_for_ever() {
        let (users, mut verifier) = (users(&["ann"]), PasswordVerifier::default());
        verifier.first_attempts.patience = Duration::from_millis(1);
        let _slot = Arc::clone(&verifier.first_attempts.slots).acquire_owned().await.unwrap();
        let ann = users.candidate("ann").unwrap();
        assert_eq!(verifier.verify(&ann, "right", client(1)).await, Err(Busy));
        assert_eq!(hashes(&verifier), [0, 0]);
    }
}

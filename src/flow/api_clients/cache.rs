//! Facts about API clients' credentials: whom they stand for, and for how long. Never decisions: rules judge every request.
//!
//! Promises: a fact is found by all that it depends on, and never under another configuration; memory is bounded, and what
//! strangers send pushes out nothing that is known to be good; of any number of requests with the same credential one verifies
//! it (single-flight).

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use moka::{future, notification::RemovalCause, sync};
use papaya::Equivalent;
use secrecy::zeroize::Zeroizing;

use super::{
    authorization::{Scheme, SentCredential},
    permits::Standing,
    refusal::ClientRefusal,
    settings::BearerSettings,
};
use crate::{
    clock::Timestamp,
    crypto,
    identity::{OwnedPrincipal, Registration},
    oidc,
};

/// Longest time for which a credential is taken at its last verification: a revoked one is refused by then.
pub(super) const FRESH_FOR: Duration = Duration::from_mins(1);
/// Time after its last verification for which a credential counts as known to be good, so that the next one waits for nobody.
const KNOWN_FOR: Duration = Duration::from_mins(10);
/// Time for which a refusal is repeated without verification.
const REFUSED_FOR: Duration = Duration::from_secs(5);
/// Memory for good credentials, in bytes.
const KNOWN_BYTES: u64 = 64 << 20;
/// Rough size of an entry beside the credential and the identity.
const ENTRY_BYTES: usize = 512;
/// Capacity for refused credentials.
const REFUSED: u64 = 10_000;

/// Not resistant to chosen keys, and need not be: only credentials that have been verified are in this map.
type CredentialHasher = foldhash::fast::RandomState;

/// Random name of a configuration: of the settings that a verification depends on.
pub(super) type ConfigurationKey = [u8; 16];

/// All that facts about a credential depend on.
#[derive(Clone, Copy)]
pub(super) struct FactsKey<'k> {
    pub(super) configuration: ConfigurationKey,
    /// The app's provider.
    pub(super) registration: Registration,
    /// The app's name.
    pub(super) app: &'k str,
    pub(super) credential: SentCredential<'k>,
}

/// The same, in memory.
struct StoredKey {
    configuration: ConfigurationKey,
    registration: Registration,
    app: Box<str>,
    scheme: Scheme,
    text: Zeroizing<Box<[u8]>>,
}

/// Digest of a [`FactsKey`], for what is not on the path of every request.
type KeyDigest = [u8; 32];

/// A credential that has passed verification.
pub(in crate::flow) struct KnownCredential {
    pub(in crate::flow) principal: OwnedPrincipal,
    /// The time from which on it has to be verified again.
    pub(super) fresh_until: Timestamp,
    /// The time until which it counts as known to be good.
    good_until: Timestamp,
}

impl fmt::Debug for KnownCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownCredential").field("fresh_until", &self.fresh_until).finish_non_exhaustive()
    }
}

/// A refusal that is repeated for a while.
#[derive(Clone)]
struct RecentRefusal {
    refusal: ClientRefusal,
    until: Timestamp,
}

/// Known credentials, shared by all configurations.
pub(in crate::flow) struct CredentialCache {
    /// Where requests read: moka's bookkeeping for each read costs more than the whole look-up.
    known: Arc<papaya::HashMap<Arc<StoredKey>, Arc<KnownCredential>, CredentialHasher>>,
    /// Decides what is in `known`.
    bound: sync::Cache<Arc<StoredKey>, Arc<KnownCredential>, CredentialHasher>,
    refused: sync::Cache<KeyDigest, RecentRefusal>,
    /// Verifications under way. Its capacity is 0, because only moka's single-flight is wanted.
    flights: future::Cache<KeyDigest, Arc<KnownCredential>>,
    /// The settings in force, and their name.
    configuration: Mutex<Option<(FactsSettings, ConfigurationKey)>>,
}

/// The settings that a verification depends on.
#[derive(PartialEq, Eq)]
pub(super) struct FactsSettings {
    pub(super) bearer: BearerSettings,
    pub(super) providers: Vec<oidc::Settings>,
}

impl FactsKey<'_> {
    /// Returns the digest of all parts, each behind its length.
    pub(super) fn digest(&self) -> KeyDigest {
        let Self { configuration, registration, app, credential } = self;
        let scheme = [credential.scheme as u8];
        let parts = [configuration.as_slice(), &registration.0, app.as_bytes(), &scheme, credential.text];
        let joined: Zeroizing<Vec<u8>> = Zeroizing::new(
            parts
                .iter()
                .flat_map(|part| (part.len() as u64).to_be_bytes().into_iter().chain(part.iter().copied()))
                .collect(),
        );
        crypto::digest(&joined)
    }

    fn stored(&self) -> StoredKey {
        let Self { configuration, registration, app, credential } = *self;
        let text = Zeroizing::new(credential.text.into());
        StoredKey { configuration, registration, app: app.into(), scheme: credential.scheme, text }
    }
}

// Only the credential is hashed, because little else differs; equality compares all parts, each by itself. The hash is seeded, and
// a guess is compared with a stored credential only where their hashes are equal: how long that takes tells nobody anything.
impl Hash for FactsKey<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.credential.text);
    }
}

impl Hash for StoredKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.text);
    }
}

impl Equivalent<Arc<StoredKey>> for FactsKey<'_> {
    fn equivalent(&self, stored: &Arc<StoredKey>) -> bool {
        self.configuration == stored.configuration
            && self.registration == stored.registration
            && self.credential.scheme == stored.scheme
            && *self.app == *stored.app
            && self.credential.text == &**stored.text
    }
}

impl PartialEq for StoredKey {
    fn eq(&self, other: &Self) -> bool {
        self.configuration == other.configuration
            && self.registration == other.registration
            && self.scheme == other.scheme
            && self.app == other.app
            && self.text == other.text
    }
}

impl Eq for StoredKey {}

impl KnownCredential {
    /// A credential that was verified now, and is accepted until then.
    pub(super) fn new(principal: OwnedPrincipal, accepted_until: Option<Timestamp>, now: Timestamp) -> Self {
        let end = accepted_until.unwrap_or(now.plus(KNOWN_FOR));
        Self { principal, fresh_until: fresh_until(accepted_until, now), good_until: end.min(now.plus(KNOWN_FOR)) }
    }
}

/// Returns the time from which on a credential has to be verified again.
pub(super) fn fresh_until(accepted_until: Option<Timestamp>, now: Timestamp) -> Timestamp {
    let latest = now.plus(FRESH_FOR);
    accepted_until.map_or(latest, |end| end.min(latest))
}

impl CredentialCache {
    /// An empty cache.
    pub(in crate::flow) fn new() -> Self {
        let known = Arc::new(papaya::HashMap::default());
        let evicted_from = Arc::clone(&known);
        let bound = sync::Cache::builder()
            .max_capacity(KNOWN_BYTES)
            .weigher(|key: &Arc<StoredKey>, known: &Arc<KnownCredential>| weight(key, known))
            .time_to_live(KNOWN_FOR)
            .eviction_listener(move |key: Arc<Arc<StoredKey>>, evicted: Arc<KnownCredential>, cause| {
                if cause != RemovalCause::Replaced {
                    // A newer verification that has taken its place stays.
                    let is_same = |_: &_, known: &Arc<KnownCredential>| Arc::ptr_eq(known, &evicted);
                    let _newer = evicted_from.pin().remove_if(&*key, is_same);
                }
            })
            .build_with_hasher(CredentialHasher::default());
        let refused = sync::Cache::builder().max_capacity(REFUSED).time_to_live(REFUSED_FOR).build();
        Self { known, bound, refused, flights: future::Cache::new(0), configuration: Mutex::default() }
    }

    /// Returns the name of these settings: that of before, where they are the same.
    pub(super) fn configuration_key(&self, settings: FactsSettings) -> ConfigurationKey {
        let mut current = self.configuration.lock().unwrap_or_else(PoisonError::into_inner);
        match &*current {
            Some((same, key)) if *same == settings => *key,
            _ => current.insert((settings, crypto::random())).1,
        }
    }

    /// Returns what `read` makes of a credential that need not be verified now. The hot path.
    #[inline]
    pub(super) fn with_fresh<T>(
        &self,
        key: &FactsKey<'_>,
        now: Timestamp,
        read: impl FnOnce(&KnownCredential) -> Option<T>,
    ) -> Option<T> {
        self.known.pin().get(key).filter(|known| now < known.fresh_until).and_then(|known| read(known))
    }

    /// Returns a credential that need not be verified now.
    pub(super) fn fresh(&self, key: &FactsKey<'_>, now: Timestamp) -> Option<Arc<KnownCredential>> {
        self.known.pin().get(key).filter(|known| now < known.fresh_until).cloned()
    }

    /// Returns the standing of a credential, whether or not it has to be verified again.
    pub(super) fn standing(&self, key: &FactsKey<'_>, now: Timestamp) -> Standing {
        match self.known.pin().get(key) {
            Some(known) if now < known.good_until => Standing::Known,
            _ => Standing::Stranger,
        }
    }

    /// Returns the refusal of a credential that was refused a moment ago.
    pub(super) fn recent_refusal(&self, digest: &KeyDigest, now: Timestamp) -> Option<ClientRefusal> {
        self.refused.get(digest).filter(|recent| now < recent.until).map(|recent| recent.refusal)
    }

    /// Returns the credential through `verify`. Of callers with the same one at the same time one verifies it, and the others get
    /// what comes of it.
    pub(super) async fn verify_once(
        &self,
        key: &FactsKey<'_>,
        now: Timestamp,
        verify: impl Future<Output = Result<KnownCredential, ClientRefusal>>,
    ) -> Result<Arc<KnownCredential>, ClientRefusal> {
        let digest = key.digest();
        let flight = async {
            // The flight before this one may have landed since the caller looked.
            if let Some(fresh) = self.fresh(key, now) {
                return Ok(fresh);
            }
            if let Some(refusal) = self.recent_refusal(&digest, now) {
                return Err(refusal);
            }
            match verify.await {
                Ok(known) => Ok(self.insert(key, known)),
                Err(refusal) => {
                    if refusal.is_final() {
                        self.refuse(key, digest, refusal.clone(), now);
                    }
                    Err(refusal)
                }
            }
        };
        self.flights.try_get_with(digest, flight).await.map_err(|refusal| ClientRefusal::clone(&refusal))
    }

    fn insert(&self, key: &FactsKey<'_>, known: KnownCredential) -> Arc<KnownCredential> {
        let (key, known) = (Arc::new(key.stored()), Arc::new(known));
        // In this order: an eviction from then on removes it from the map too, where it would stay for ever.
        self.known.pin().insert(Arc::clone(&key), Arc::clone(&known));
        self.bound.insert(key, Arc::clone(&known));
        known
    }

    fn refuse(&self, key: &FactsKey<'_>, digest: KeyDigest, refusal: ClientRefusal, now: Timestamp) {
        let stored = self.known.pin().get_key_value(key).map(|(stored, _)| Arc::clone(stored));
        if let Some(stored) = stored {
            self.bound.invalidate(&stored);
        }
        self.refused.insert(digest, RecentRefusal { refusal, until: now.plus(REFUSED_FOR) });
    }
}

fn weight(key: &StoredKey, known: &KnownCredential) -> u32 {
    let size = ENTRY_BYTES + 2 * key.text.len() + 2 * known.principal.identity().size();
    u32::try_from(size).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::Map;

    use super::{
        super::settings::{AppPasswords, Introspection, IssuerKeys, TrustedIssuer},
        *,
    };
    use crate::{
        identity::{ClaimsStanding, Identity, PackedIdentity, PrincipalSource, Subject},
        oidc::CredentialError,
    };

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    fn key<'k>(app: &'k str, scheme: Scheme, text: &'k str) -> FactsKey<'k> {
        let credential = SentCredential { scheme, text: text.as_bytes() };
        FactsKey { configuration: [1; 16], registration: Registration([2; 8]), app, credential }
    }

    fn known(user: &str, accepted_until: Option<Timestamp>) -> KnownCredential {
        let identity = Identity {
            provider: "main".to_owned(),
            subject: Subject("s".to_owned()),
            user: user.to_owned(),
            email: String::new(),
            email_verified: false,
            name: String::new(),
            groups: Vec::new(),
            claims: Map::new(),
            standing: ClaimsStanding::default(),
        };
        let until = Some(fresh_until(accepted_until, NOW));
        let principal = OwnedPrincipal::new(PackedIdentity::new(&identity), PrincipalSource::Bearer, NOW, until);
        KnownCredential::new(principal, accepted_until, NOW)
    }

    async fn verified(cache: &CredentialCache, key: &FactsKey<'_>, accepted_until: Option<Timestamp>) {
        cache.verify_once(key, NOW, async { Ok(known("ann", accepted_until)) }).await.unwrap();
    }

    fn after(seconds: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(seconds))
    }

    #[tokio::test]
    async fn a_fact_is_found_by_all_that_it_depends_on() {
        let (cache, here) = (CredentialCache::new(), key("app", Scheme::Bearer, "YTpiOmM="));
        verified(&cache, &here, None).await;
        assert!(cache.fresh(&here, NOW).is_some());
        for other in [
            FactsKey { configuration: [9; 16], ..here },
            FactsKey { registration: Registration([9; 8]), ..here },
            key("ap", Scheme::Bearer, "pYTpiOmM="),
            key("appY", Scheme::Bearer, "TpiOmM="),
            key("other", Scheme::Bearer, "YTpiOmM="),
            key("app", Scheme::Basic, "YTpiOmM="),
            key("app", Scheme::Bearer, "YTpiOmM"),
            key("app", Scheme::Bearer, "YTpiOmN="),
            key("app", Scheme::Bearer, "ytpiOmM="),
        ] {
            assert!(cache.fresh(&other, NOW).is_none() && cache.standing(&other, NOW) == Standing::Stranger);
            assert_ne!(here.digest(), other.digest());
        }
    }

    #[tokio::test]
    async fn a_fact_counts_for_a_minute_and_never_past_the_end_of_the_credential() {
        for (accepted_until, fresh_for, known_for) in
            [(None, 60, 600), (Some(after(3_600)), 60, 600), (Some(after(90)), 60, 90), (Some(after(20)), 20, 20)]
        {
            let (cache, key) = (CredentialCache::new(), key("app", Scheme::Bearer, "token"));
            verified(&cache, &key, accepted_until).await;
            assert!(cache.fresh(&key, after(fresh_for - 1)).is_some(), "{accepted_until:?}");
            assert!(cache.fresh(&key, after(fresh_for)).is_none(), "{accepted_until:?}");
            assert!(cache.with_fresh(&key, after(fresh_for), |_| Some(())).is_none(), "{accepted_until:?}");
            assert_eq!(cache.standing(&key, after(known_for - 1)), Standing::Known, "{accepted_until:?}");
            assert_eq!(cache.standing(&key, after(known_for)), Standing::Stranger, "{accepted_until:?}");
        }
    }

    #[tokio::test]
    async fn a_credential_that_was_revoked_is_refused_at_its_next_verification_and_forgotten() {
        let (cache, key) = (CredentialCache::new(), key("app", Scheme::Bearer, "token"));
        verified(&cache, &key, None).await;
        let later = after(60);
        let refusal = || async { Err(CredentialError::Refused("is over".into()).into()) };
        cache.verify_once(&key, later, refusal()).await.unwrap_err();
        cache.bound.run_pending_tasks();
        assert_eq!((cache.standing(&key, later), cache.known.len()), (Standing::Stranger, 0));
        assert!(cache.recent_refusal(&key.digest(), after(64)).is_some());
        assert!(cache.recent_refusal(&key.digest(), after(65)).is_none());
        // What says nothing about the credential is not repeated, and changes nothing.
        let cache = CredentialCache::new();
        verified(&cache, &key, None).await;
        cache.verify_once(&key, later, async { Err(ClientRefusal::Overloaded) }).await.unwrap_err();
        assert_eq!(cache.standing(&key, later), Standing::Known);
    }

    #[tokio::test]
    async fn of_many_with_the_same_credential_one_verifies_it() {
        let (cache, verifications) = (CredentialCache::new(), AtomicUsize::new(0));
        let verify = || async {
            verifications.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Ok(known("ann", None))
        };
        let key = key("app", Scheme::Bearer, "token");
        let all = futures_util::future::join_all((0..50).map(|_| cache.verify_once(&key, NOW, verify()))).await;
        assert!(all.iter().all(Result::is_ok));
        assert_eq!(verifications.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn memory_is_bounded_and_refusals_push_out_nothing_that_is_good() {
        let (cache, good) = (CredentialCache::new(), key("app", Scheme::Bearer, "good"));
        verified(&cache, &good, None).await;
        for number in 0..2 * REFUSED {
            let text = number.to_string();
            let refusal = async { Err(CredentialError::Refused("made up".into()).into()) };
            cache.verify_once(&key("app", Scheme::Bearer, &text), NOW, refusal).await.unwrap_err();
        }
        cache.refused.run_pending_tasks();
        assert!(cache.refused.entry_count() <= REFUSED && cache.fresh(&good, NOW).is_some());
        let long = "t".repeat(16_000);
        for number in 0..3_000 {
            verified(&cache, &key("app", Scheme::Bearer, &format!("{number}{long}")), None).await;
        }
        cache.bound.run_pending_tasks();
        assert!(cache.bound.weighted_size() <= KNOWN_BYTES);
        assert_eq!(cache.known.len() as u64, cache.bound.entry_count(), "what is dropped is dropped everywhere");
    }

    #[test]
    fn a_configuration_keeps_its_name_while_what_is_verified_by_stays_the_same() {
        let cache = CredentialCache::new();
        let settings = |audience: &str| FactsSettings {
            bearer: BearerSettings {
                issuers: vec![TrustedIssuer {
                    audience: vec![audience.to_owned()],
                    keys: IssuerKeys::Provider("https://id.example/".parse().unwrap()),
                }],
                introspection: Introspection::Off,
                app_passwords: AppPasswords::Off,
            },
            providers: Vec::new(),
        };
        let first = cache.configuration_key(settings("a"));
        assert_eq!(cache.configuration_key(settings("a")), first);
        let second = cache.configuration_key(settings("b"));
        assert_ne!(second, first);
        assert_ne!(cache.configuration_key(settings("a")), first, "not even where it comes back");
    }
}

//! JWKS: the provider's signing keys (RFC 7517).
//!
//! Promises: a set that does not arrive or holds no usable key replaces nothing; only public keys for signatures are kept,
//! so that no symmetric one can ever verify a token; strangers' tokens with unknown keys cause at most one fetch in ten
//! seconds, and take none away from sign-ins.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use data_encoding::BASE64URL_NOPAD;
use openidconnect::{
    JsonWebKey as _, JsonWebKeyUse,
    core::{CoreJsonWebKey, CoreJsonWebKeySet, CoreJsonWebKeyType},
};
use serde_json::{Value, value::RawValue};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{sleep, timeout},
};
use url::Url;

use super::{
    error::{Error, printable},
    json::{self, JsonObject, ObjectError, ReadObject},
    jwt::JwtError,
    metered::MeteredTransport,
    odd_fields::OddFields,
};
use crate::{
    clock::{Clock, Timestamp},
    metrics::Endpoint,
};

/// Age at which keys are fetched again unasked.
const MAX_AGE: Duration = Duration::from_hours(1);
/// Interval between fetches that tokens from anybody may cause.
const STRANGERS_INTERVAL: Duration = Duration::from_secs(10);
/// Interval between fetches that the provider's own responses may cause. Sign-ins wait for it: a provider may rotate its keys
/// twice in a row.
const SIGN_INS_INTERVAL: Duration = Duration::from_secs(1);
/// Longest wait for a turn, behind fetches that fail.
const MAX_WAIT: Duration = Duration::from_secs(5);
const MAX_KEYS: usize = 100;

/// The types of public keys for signatures, and the members without which one is none (RFC 7518, section 6; RFC 8037, section 2).
const KEY_TYPES: &[(&str, &[&str])] =
    &[("RSA", &["kty", "n", "e"]), ("EC", &["kty", "crv", "x", "y"]), ("OKP", &["kty", "crv", "x"])];

/// The members that say which key it is and what it is for.
const KEY_USE_MEMBERS: &[&str] = &["kid", "use", "alg"];

/// What a key should be that cannot be read.
const EXPECTED_KEY: &str = "a public key for signatures (mend: remove it from the set, or have it corrected)";
/// What a member should be that says what a key is for.
const EXPECTED_KEY_USE: &str = "text (mend: have the provider send it so, or not at all)";

/// The signing keys of one provider as they were last fetched.
pub(super) struct Jwks {
    http: Arc<MeteredTransport>,
    clock: Clock,
    odd: Arc<OddFields>,
    current: ArcSwapOption<KeySet>,
    /// Times of the last fetches that tokens caused.
    last_for_sign_ins: ArcSwapOption<Timestamp>,
    last_for_strangers: ArcSwapOption<Timestamp>,
    last_for_api_clients: ArcSwapOption<Timestamp>,
    /// Single-flight: one caller fetches at a time, and those who waited take the keys that came meanwhile.
    single_flight: Semaphore,
}

/// Sender of a token that is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenSender {
    /// The provider, in answer to a request of ours.
    Provider,
    /// Anybody, for a logout token.
    Stranger,
    /// Anybody, for an API client's token. They share nothing with the others: who makes up keys here delays no logout.
    ApiClient,
}

/// The keys of a document.
#[derive(Debug)]
pub(super) struct ParsedKeys {
    /// The usable ones.
    pub(super) keys: CoreJsonWebKeySet,
    /// What could not be read.
    odd: OddMembers,
}

/// Members of keys that could not be read, each with what it should be.
type OddMembers = Vec<(String, &'static str)>;

/// One fetched key set.
#[derive(Debug)]
struct KeySet {
    keys: CoreJsonWebKeySet,
    uri: Url,
    fetched: Timestamp,
}

impl Jwks {
    /// Keys that were never fetched.
    pub(super) fn new(http: Arc<MeteredTransport>, clock: Clock, odd: Arc<OddFields>) -> Self {
        Self {
            http,
            clock,
            odd,
            current: ArcSwapOption::empty(),
            last_for_sign_ins: ArcSwapOption::empty(),
            last_for_strangers: ArcSwapOption::empty(),
            last_for_api_clients: ArcSwapOption::empty(),
            single_flight: Semaphore::new(1),
        }
    }

    /// Takes over the keys of `previous`, which has the same issuer.
    pub(super) fn with_state_of(self, previous: &Self) -> Self {
        self.current.store(previous.current.load_full());
        self.last_for_sign_ins.store(previous.last_for_sign_ins.load_full());
        self.last_for_strangers.store(previous.last_for_strangers.load_full());
        self.last_for_api_clients.store(previous.last_for_api_clients.load_full());
        self
    }

    /// Verifies a token with the keys at `uri`. Where none of them fits, fetches them again, because the provider may have
    /// rotated them. For a stranger's token that comes too soon after another one that is the end; for the provider's it says
    /// nothing about the token.
    pub(super) async fn verify<T>(
        &self,
        uri: &Url,
        sender: TokenSender,
        check: impl Fn(&CoreJsonWebKeySet) -> Result<T, JwtError>,
    ) -> Result<T, Error> {
        let current = match self.current.load_full() {
            Some(current) => current,
            None => self.newer_keys(uri, None, sender).await?.ok_or_else(refetch_too_soon)?,
        };
        match check(&current.keys) {
            Err(error @ JwtError::NoMatchingKey(_)) => {
                match (self.newer_keys(uri, Some(&current), sender).await?, sender) {
                    (Some(newer), _) => Ok(check(&newer.keys)?),
                    (None, TokenSender::Provider) => Err(refetch_too_soon()),
                    (None, TokenSender::Stranger | TokenSender::ApiClient) => Err(error.into()),
                }
            }
            result => Ok(result?),
        }
    }

    /// Fetches the keys where there are none, their address has changed, or they are old.
    pub(super) async fn fetch_if_due(&self, uri: &Url) -> Result<(), Error> {
        let _turn = self.turn().await;
        match self.current.load_full() {
            Some(current) if !current.is_due(uri, self.clock.now()) => Ok(()),
            _ => self.fetch(uri).await.map(drop),
        }
    }

    /// Returns newer keys than `seen`: those that another caller has fetched since, or newly fetched ones; `None` where it is
    /// too soon to fetch again. The provider's own tokens wait until it is not.
    async fn newer_keys(
        &self,
        uri: &Url,
        seen: Option<&Arc<KeySet>>,
        sender: TokenSender,
    ) -> Result<Option<Arc<KeySet>>, Error> {
        let Ok(_turn) = timeout(MAX_WAIT, self.turn()).await else { return Ok(None) };
        let is_newer = |current: &Arc<KeySet>| seen.is_none_or(|seen| !Arc::ptr_eq(seen, current));
        if let Some(newer) = self.current.load_full().filter(is_newer) {
            return Ok(Some(newer));
        }
        let (last, interval) = match sender {
            TokenSender::Provider => (&self.last_for_sign_ins, SIGN_INS_INTERVAL),
            TokenSender::Stranger => (&self.last_for_strangers, STRANGERS_INTERVAL),
            TokenSender::ApiClient => (&self.last_for_api_clients, STRANGERS_INTERVAL),
        };
        let pause = self.time_until(last.load().as_deref(), interval);
        if pause > Duration::ZERO && sender != TokenSender::Provider {
            return Ok(None);
        }
        sleep(pause).await;
        last.store(Some(Arc::new(self.clock.now())));
        self.fetch(uri).await.map(Some).map_err(says_nothing_of_tokens)
    }

    async fn turn(&self) -> SemaphorePermit<'_> {
        self.single_flight.acquire().await.expect("the semaphore is never closed")
    }

    /// Returns the time until an interval has passed since `last`. A clock that was set back must not keep the gate from asking.
    fn time_until(&self, last: Option<&Timestamp>, interval: Duration) -> Duration {
        let now = self.clock.now();
        let since = last.filter(|last| now >= **last).map(|last| now.since(*last));
        since.map_or(Duration::ZERO, |since| interval.saturating_sub(since))
    }

    async fn fetch(&self, uri: &Url) -> Result<Arc<KeySet>, Error> {
        let now = self.clock.now();
        let keys = self.http.counted(Endpoint::Jwks, self.request(uri)).await?;
        let fetched = Arc::new(KeySet { keys, uri: uri.clone(), fetched: now });
        self.current.store(Some(Arc::clone(&fetched)));
        Ok(fetched)
    }

    async fn request(&self, uri: &Url) -> Result<CoreJsonWebKeySet, Error> {
        let unavailable = |error| Error::Unavailable(format!("its keys did not come: {error}"));
        let response = self.http.fetch_document(uri).await.map_err(unavailable)?;
        if !response.status().is_success() {
            return Err(Error::Unavailable(format!("status {} for its keys", response.status())));
        }
        let ParsedKeys { keys, odd } = parse(response.body())?;
        for (member, expected) in odd {
            self.odd.name_once("JWKS", member, expected);
        }
        Ok(keys)
    }
}

impl KeySet {
    fn is_due(&self, uri: &Url, now: Timestamp) -> bool {
        self.uri != *uri || now.since(self.fetched) >= MAX_AGE
    }
}

/// Returns the error for a token that no key fits while the keys may not be fetched again. It is no verdict on the token.
fn refetch_too_soon() -> Error {
    Error::Unavailable("its keys were asked for a moment ago, and did not come or did not fit".into())
}

/// Returns the error of a fetch for a token that waits for it: keys or metadata that cannot be read are no verdict on the token.
pub(super) fn says_nothing_of_tokens(error: Error) -> Error {
    match error {
        Error::InvalidMessage(text) => Error::Unavailable(text),
        other => other,
    }
}

/// Parses a JWKS document and returns its usable keys. A broken one among good ones is passed over.
pub(super) fn parse(body: &[u8]) -> Result<ParsedKeys, Error> {
    let not_a_set = |problem: &str| {
        Error::InvalidMessage(format!(
            "its keys are not a JSON Web Key Set: {problem}; mend: check jwks_uri at the provider"
        ))
    };
    let listed = json::member(body, "keys").map_err(|error| not_a_set(&format!("the document {error}")))?;
    let listed = match &listed {
        // authentik without a signing key answers `{}`.
        None => Vec::new(),
        Some(list) => json::elements(list.get()).ok_or_else(|| not_a_set("its keys are no list"))?,
    };
    let (mut usable, mut odd) = (Vec::new(), OddMembers::new());
    for (place, raw) in listed.into_iter().enumerate() {
        usable.extend(key(raw, place, &mut odd).filter(is_usable));
    }
    match usable.len() {
        0 => {
            let fault = odd.first().map(|(member, _)| format!(" ({} cannot be read)", printable(member)));
            Err(Error::InvalidMessage(format!(
                "its key set holds no public key for signatures{}; mend: choose a signing key for this client at the provider",
                fault.unwrap_or_default()
            )))
        }
        1..=MAX_KEYS => Ok(ParsedKeys { keys: CoreJsonWebKeySet::new(usable), odd }),
        many => Err(Error::InvalidMessage(format!("its key set holds {many} keys, more than {MAX_KEYS}"))),
    }
}

/// Parses the key at `place` in its set; adds what cannot be read of it to `odd`. `None` for one that cannot be read, and for one
/// of a type that takes no part here (RFC 7517, section 5).
fn key(raw: &RawValue, place: usize, odd: &mut OddMembers) -> Option<CoreJsonWebKey> {
    let json = raw.get().as_bytes();
    let Ok(ReadObject { members, odd: unreadable }) = ReadObject::parse(json, &[]) else {
        odd.push((format!("keys[{place}]"), EXPECTED_KEY));
        return None;
    };
    let text = |name: &str| members.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let named = |member: &str| {
        format!("{member} of {}", text("kid").map_or_else(|| format!("keys[{place}]"), ToOwned::to_owned))
    };
    let needed: &[&'static str] = match text("kty") {
        Some(kty) => KEY_TYPES.iter().find(|(name, _)| *name == kty)?.1,
        None => &["kty"],
    };
    let fault = match ReadObject::parse(json, needed) {
        Ok(_) => needed.iter().copied().find(|member| !text(member).is_some_and(|text| fits_member(member, text))),
        Err(ObjectError::Repeated(member) | ObjectError::Unreadable(member)) => Some(member),
        Err(ObjectError::NotAnObject) => Some("kty"),
    };
    if let Some(member) = fault {
        odd.push((named(member), EXPECTED_KEY));
        return None;
    }
    for member in KEY_USE_MEMBERS {
        let is_odd = members.get(*member).is_some_and(|value| !value.is_null() && !value.is_string());
        if is_odd || unreadable.contains(*member) {
            odd.push((named(member), EXPECTED_KEY_USE));
        }
    }
    let read =
        needed.iter().chain(KEY_USE_MEMBERS).filter_map(|name| Some(((*name).to_owned(), Value::from(text(name)?))));
    let key = serde_json::from_value(Value::from(read.collect::<JsonObject>())).ok();
    if key.is_none() {
        odd.push((named("kty"), EXPECTED_KEY));
    }
    key
}

/// Returns `true` if the text of a needed member can be part of a key.
fn fits_member(member: &str, text: &str) -> bool {
    matches!(member, "kty" | "crv") || BASE64URL_NOPAD.decode(text.as_bytes()).is_ok()
}

fn is_usable(key: &CoreJsonWebKey) -> bool {
    let asymmetric = matches!(
        key.key_type(),
        CoreJsonWebKeyType::RSA | CoreJsonWebKeyType::EllipticCurve | CoreJsonWebKeyType::OctetKeyPair
    );
    asymmetric && key.key_use().is_none_or(JsonWebKeyUse::allows_signature)
}

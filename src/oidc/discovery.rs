//! What a provider says about itself (`OpenID` Connect Discovery 1.0), and whether it answers.
//!
//! Promises: metadata of another issuer are never taken; while the provider is away the old ones go on; an outage shows
//! within 10 s and its end within 20 s without any traffic, and each is logged once. It must not know what the metadata
//! are used for.

use std::{convert::Infallible, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use openidconnect::{HttpResponse, core::CoreJwsSigningAlgorithm};
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};
use url::Url;

use super::{Error, Provider, Settings, clocks::Clocks, silence::Silence, transport::Failure};
use crate::{clock::Timestamp, metrics::Endpoint};

/// How often a provider that answers is asked. With twice `ANSWER_WITHIN` it bounds how long an outage stays unseen.
const ASK_EVERY: Duration = Duration::from_secs(4);
/// How long after the first failure a provider is asked again; doubles up to `LONGEST_PAUSE`.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// With twice `ANSWER_WITHIN` it bounds how long a recovery stays unseen.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How long one document, metadata or keys, may take.
const ANSWER_WITHIN: Duration = Duration::from_millis(2500);
/// How long a sign-in or a renewal waits for metadata that are not known yet.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// The part of the metadata document that the gate uses. The rest is not read, so that a mistake in it harms nobody.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Metadata {
    /// As the provider's tokens state it, byte for byte.
    pub(super) issuer: String,
    pub(super) authorization_endpoint: Url,
    pub(super) token_endpoint: Url,
    pub(super) jwks_uri: Url,
    pub(super) userinfo_endpoint: Option<Url>,
    pub(super) end_session_endpoint: Option<Url>,
    pub(super) revocation_endpoint: Option<Url>,
    id_token_signing_alg_values_supported: Vec<Value>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    code_challenge_methods_supported: Option<Vec<String>>,
    scopes_supported: Option<Vec<String>>,
    authorization_response_iss_parameter_supported: Option<bool>,
}

/// How the gate proves who it is at the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientAuthentication {
    /// `client_secret_basic`.
    Basic,
    /// `client_secret_post`.
    Post,
}

/// What is known of a provider, and how it was when it was last asked.
pub(super) struct Discovery {
    pub(super) clocks: Clocks,
    pub(super) silence: Silence,
    pub(super) known: ArcSwapOption<Metadata>,
    standing: watch::Sender<Standing>,
    /// One may ask at a time; whoever waited takes the answer that came meanwhile.
    turn: Semaphore,
}

/// How asking went.
#[derive(Clone, Debug, Default)]
struct Standing {
    attempts: u64,
    failures_in_a_row: u32,
    /// When the first of them was.
    failing_since: Timestamp,
    last: Option<Result<(), Error>>,
}

/// What is worth a line in the log.
#[derive(Clone, Copy, Debug)]
enum Change<'a> {
    None,
    Came,
    CameBack,
    Went(&'a Error),
}

impl<'a> Change<'a> {
    fn between(before: Option<&Result<(), Error>>, now: &'a Result<(), Error>) -> Self {
        match (before, now) {
            (None, Ok(())) => Self::Came,
            (Some(Err(_)), Ok(())) => Self::CameBack,
            (None | Some(Ok(())), Err(reason)) => Self::Went(reason),
            (Some(Ok(())), Ok(())) | (Some(Err(_)), Err(_)) => Self::None,
        }
    }
}

impl Metadata {
    pub(super) fn parse(body: &[u8], settings: &Settings) -> Result<Self, Error> {
        let metadata: Self = serde_json::from_slice(body).map_err(|error| {
            let error = printable(&error.to_string());
            Error::Unbelievable(format!("its metadata are not an OpenID provider's: {error}; mend: check the issuer"))
        })?;
        metadata.check(settings)?;
        Ok(metadata)
    }

    /// Compared as URLs, because a configured `https://id.example.com` and the provider's own spelling of it may differ
    /// in the slash of the root; tokens are compared with the provider's spelling.
    fn check(&self, settings: &Settings) -> Result<(), Error> {
        if Url::parse(&self.issuer).as_ref() != Ok(&settings.issuer) {
            let found = printable(&self.issuer);
            return Err(Error::Unbelievable(format!(
                "its metadata name the issuer `{found}` instead of `{}`; mend: write the issuer exactly so, slash included",
                settings.issuer
            )));
        }
        let browser = [Some(&self.authorization_endpoint), self.end_session_endpoint.as_ref()];
        let ours = [
            Some(&self.token_endpoint),
            Some(&self.jwks_uri),
            self.userinfo_endpoint.as_ref(),
            self.revocation_endpoint.as_ref(),
        ];
        let safe =
            |url: &Url| url.scheme() == "https" || (url.scheme() == "http" && settings.issuer.scheme() == "http");
        match browser.into_iter().chain(ours).flatten().find(|url| !safe(url)) {
            Some(url) => Err(Error::Unbelievable(format!("its metadata name an endpoint that is not https: {url}"))),
            None => Ok(()),
        }
    }

    /// The asymmetric algorithms that the provider signs with and the gate can verify.
    pub(super) fn algorithms(&self) -> Vec<CoreJwsSigningAlgorithm> {
        let known =
            self.id_token_signing_alg_values_supported.iter().filter_map(|name| Deserialize::deserialize(name).ok());
        known.filter(is_asymmetric).collect()
    }

    /// `client_secret_basic` unless only `client_secret_post` is offered (Discovery 1.0: absent means basic).
    pub(super) fn client_authentication(&self) -> ClientAuthentication {
        let offers =
            |name: &str| self.token_endpoint_auth_methods_supported.iter().flatten().any(|method| method == name);
        if offers("client_secret_post") && !offers("client_secret_basic") {
            ClientAuthentication::Post
        } else {
            ClientAuthentication::Basic
        }
    }

    /// Whether every callback of this provider carries `iss` (RFC 9207).
    pub(super) fn names_itself_in_callbacks(&self) -> bool {
        self.authorization_response_iss_parameter_supported == Some(true)
    }

    /// What an operator should know before the first person signs in.
    fn shortcomings(&self, settings: &Settings) -> Vec<&'static str> {
        let lacks =
            |list: &Option<Vec<String>>, word: &str| list.as_ref().is_some_and(|l| !l.iter().any(|w| w == word));
        let wants_refresh = settings.scopes.iter().any(|scope| scope == "offline_access");
        let all = [
            (
                wants_refresh && lacks(&self.scopes_supported, "offline_access"),
                "it does not offer the scope offline_access, so it may give no refresh token and sessions may not be \
                 renewed; mend: allow offline_access for this client at the provider",
            ),
            (
                lacks(&self.code_challenge_methods_supported, "S256"),
                "it does not list PKCE with S256; mend: enable it at the provider",
            ),
            (
                self.algorithms().is_empty(),
                "it lists no signing algorithm that can be verified with a public key, so nobody can sign in; mend: give \
                 the client a signing key (RS256, ES256 or EdDSA) at the provider",
            ),
        ];
        all.into_iter().filter_map(|(applies, text)| applies.then_some(text)).collect()
    }
}

/// Everything but `none` and the HMACs, for which anyone who knows the verifying key could sign.
fn is_asymmetric(algorithm: &CoreJwsSigningAlgorithm) -> bool {
    use CoreJwsSigningAlgorithm as Alg;
    matches!(
        algorithm,
        Alg::RsaSsaPkcs1V15Sha256
            | Alg::RsaSsaPkcs1V15Sha384
            | Alg::RsaSsaPkcs1V15Sha512
            | Alg::RsaSsaPssSha256
            | Alg::RsaSsaPssSha384
            | Alg::RsaSsaPssSha512
            | Alg::EcdsaP256Sha256
            | Alg::EcdsaP384Sha384
            | Alg::EdDsa
    )
}

impl Default for Discovery {
    fn default() -> Self {
        Self {
            clocks: Clocks::default(),
            silence: Silence::default(),
            known: ArcSwapOption::empty(),
            standing: watch::Sender::new(Standing::default()),
            turn: Semaphore::new(1),
        }
    }
}

impl Discovery {
    pub(super) fn is_up(&self) -> bool {
        matches!(self.standing.borrow().last, Some(Ok(())))
    }

    pub(super) fn known(&self) -> Option<Arc<Metadata>> {
        self.known.load_full()
    }

    /// What is known, apart from this one from now on.
    pub(super) fn copy(&self) -> Self {
        let standing = watch::Sender::new(self.standing.borrow().clone());
        Self {
            clocks: self.clocks.copy(),
            silence: self.silence.copy(),
            known: ArcSwapOption::new(self.known()),
            standing,
            turn: Semaphore::new(1),
        }
    }

    fn attempts(&self) -> u64 {
        self.standing.borrow().attempts
    }

    fn failing_since(&self) -> Timestamp {
        self.standing.borrow().failing_since
    }

    fn last(&self) -> Result<(), Error> {
        self.standing.borrow().last.clone().unwrap_or_else(|| Err(Error::Unavailable("it was never asked".into())))
    }

    /// Notes how an attempt ended; returns how the one before had.
    fn note(&self, outcome: Result<(), Error>, now: Timestamp) -> Option<Result<(), Error>> {
        let mut before = None;
        self.standing.send_modify(|standing| {
            standing.attempts += 1;
            if outcome.is_err() && standing.failures_in_a_row == 0 {
                standing.failing_since = now;
            }
            standing.failures_in_a_row = if outcome.is_ok() { 0 } else { standing.failures_in_a_row.saturating_add(1) };
            before = standing.last.replace(outcome);
        });
        before
    }

    /// Returns once the provider is (or is no longer) up.
    #[cfg(test)]
    pub(super) async fn becomes(&self, up: bool) {
        let mut standing = self.standing.subscribe();
        standing.wait_for(|standing| matches!(standing.last, Some(Ok(()))) == up).await.expect("we hold the sender");
    }
}

/// The pause after an attempt, spread by a random `jitter` from 0 to 1 so that replicas do not ask in step.
fn pause(failures_in_a_row: u32, jitter: f64) -> Duration {
    let base = match failures_in_a_row {
        0 => ASK_EVERY,
        n => SHORTEST_PAUSE.saturating_mul(2_u32.saturating_pow(n - 1)).min(LONGEST_PAUSE),
    };
    base.mul_f64(0.9 + 0.2 * jitter)
}

impl Provider {
    /// The metadata; where they are not known yet the provider is asked once, and not for long.
    pub(super) async fn metadata(&self) -> Result<Arc<Metadata>, Error> {
        if let Some(known) = self.discovery.known() {
            return Ok(known);
        }
        let late = Err(Error::Unavailable(format!("no metadata within {}", humantime::format_duration(PATIENCE))));
        let asked = timeout(PATIENCE, self.ask()).await.unwrap_or(late);
        // Metadata may have come even where the keys did not: the browser can be on its way meanwhile.
        self.discovery
            .known()
            .ok_or_else(|| asked.err().unwrap_or_else(|| Error::Unavailable("it answered without metadata".into())))
    }

    /// Asks for ever, so that an outage and its end are seen without anybody signing in.
    pub(super) async fn watch(&self) -> Infallible {
        loop {
            // Only `Standing` counts here; `ask` has logged and noted how it went.
            let _ = self.ask().await;
            let failures = self.discovery.standing.borrow().failures_in_a_row;
            sleep(pause(failures, rand::random())).await;
        }
    }

    /// Fetches the metadata, and the keys where they are due. Whoever comes while somebody asks takes that answer.
    pub(super) async fn ask(&self) -> Result<(), Error> {
        let seen = self.discovery.attempts();
        let _turn = self.discovery.turn.acquire().await.expect("the semaphore is never closed");
        if self.discovery.attempts() != seen {
            return self.discovery.last();
        }
        let outcome = self.fetch_everything().await;
        self.metrics.set_up(outcome.is_ok());
        let before = self.discovery.note(outcome.clone(), self.clock.now());
        self.report(Change::between(before.as_ref(), &outcome));
        outcome
    }

    async fn fetch_everything(&self) -> Result<(), Error> {
        let fetched = self.counted(Endpoint::Discovery, self.fetch_metadata()).await;
        self.discovery.silence.note(fetched.as_ref().err());
        let metadata = Arc::new(fetched?);
        if self.discovery.known.swap(Some(Arc::clone(&metadata))).is_none() {
            for shortcoming in metadata.shortcomings(&self.settings) {
                tracing::warn!(provider = self.settings.name, "the provider's metadata: {shortcoming}");
            }
        }
        self.fetch_due_keys(&metadata.jwks_uri).await
    }

    /// Fetches a public document, sooner given up than a request that somebody's sign-in hangs on.
    pub(super) async fn fetch(&self, url: &Url) -> Result<HttpResponse, Failure> {
        timeout(ANSWER_WITHIN, self.transport.get(url, None)).await.unwrap_or(Err(Failure::Late(ANSWER_WITHIN)))
    }

    async fn fetch_metadata(&self) -> Result<Metadata, Error> {
        let mut url = self.settings.issuer.clone();
        let path = format!("{}/.well-known/openid-configuration", url.path().trim_end_matches('/'));
        url.set_path(&path);
        let response = self.fetch(&url).await?;
        self.compare_clocks(response.headers());
        if !response.status().is_success() {
            let status = response.status();
            return Err(Error::Unavailable(format!("status {status} for {url}; mend: check the issuer")));
        }
        Metadata::parse(response.body(), &self.settings)
    }

    fn report(&self, change: Change<'_>) {
        let (provider, issuer) = (&self.settings.name, &self.settings.issuer);
        match change {
            Change::None => {}
            Change::Came => tracing::info!(provider, %issuer, "the provider answers"),
            Change::CameBack => {
                let away_seconds = self.clock.now().since(self.discovery.failing_since()).as_secs();
                tracing::info!(provider, %issuer, away_seconds, "the provider answers again");
            }
            Change::Went(reason) => tracing::warn!(
                provider,
                %issuer,
                %reason,
                "the provider is away: sessions go on, nobody new can sign in; check that the issuer is right and can be \
                 reached from here",
            ),
        }
    }
}

/// A value from outside, fit for a log line.
pub(super) fn printable(value: &str) -> String {
    value.chars().take(200).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_shows_within_ten_seconds_and_its_end_within_twenty() {
        let asked_late = pause(0, 1.0);
        assert!(asked_late + 2 * ANSWER_WITHIN < Duration::from_secs(10), "{asked_late:?}");
        for failures in 1..200 {
            let asked_late = pause(failures, 1.0);
            assert!(asked_late + 2 * ANSWER_WITHIN < Duration::from_secs(20), "{failures}: {asked_late:?}");
        }
    }

    #[test]
    fn an_outage_and_its_end_are_reported_once() {
        let away = Err(Error::Unavailable("a reason".into()));
        let discovery = Discovery::default();
        let outcomes = [away.clone(), away.clone(), Ok(()), Ok(()), away.clone(), away, Ok(())];
        let lines = outcomes.map(|now| {
            format!("{:?}", Change::between(discovery.note(now.clone(), Timestamp::default()).as_ref(), &now))
        });
        let went = r#"Went(Unavailable("a reason"))"#;
        assert_eq!(lines, [went, "None", "CameBack", "None", went, "None", "CameBack"]);
        assert!(discovery.is_up());
    }

    #[test]
    fn pauses_grow_while_the_provider_is_away() {
        let pauses: Vec<_> = (1..=6).map(|failures| pause(failures, 0.5).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 10, 10]);
    }
}

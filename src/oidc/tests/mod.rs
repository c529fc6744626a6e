//! The provider's module against a fake provider that sins.

mod addresses;
mod belief;
mod change;
mod logout;
mod provider;
mod redemption;
mod renewal;
mod standing;
mod wire;

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use secrecy::SecretString;
use url::Url;

use self::provider::{CLIENT, CODE, FakeProvider, NONCE, NOW};
use super::{Attempt, Error, Provider, Redemption, Settings, SignedIn, Transport, UnverifiedEmail};
use crate::{
    clock::{Clock, Timestamp},
    metrics::{self, Metrics},
};

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CALLBACK: &str = "https://app.example.com/_doorward/callback";

/// A provider's client, the other end of its clock, and what it counted.
struct Bench {
    provider: Arc<Provider>,
    hand: Arc<AtomicU64>,
    metrics: Metrics,
}

fn settings(issuer: &str) -> Settings {
    Settings {
        name: "authentik".into(),
        issuer: Url::parse(issuer).unwrap(),
        client_id: CLIENT.into(),
        client_secret: Some(SecretString::from("s3cret & sons")),
        scopes: ["openid", "profile", "email", "offline_access"].map(Into::into).to_vec(),
        unverified_email: UnverifiedEmail::Pass,
        groups_claim: "groups".into(),
        ca: None,
        timeout: Duration::from_secs(10),
        extra_authorize_params: BTreeMap::new(),
        end_session: true,
    }
}

impl Bench {
    fn new(settings: Settings) -> Self {
        let metrics = Metrics::new(&metrics::Settings { backend: "memory", version: "0", commit: "none" });
        let transport = Transport::new(&settings).unwrap();
        let (clock, hand) = Clock::manual(Timestamp::from_unix(NOW));
        let provider =
            Provider::new(settings, transport, clock, metrics.bind(&[], &[], &["authentik"]).providers.remove(0));
        Self { provider: Arc::new(provider), hand, metrics }
    }

    fn at(fake: &FakeProvider) -> Self {
        Self::new(settings(&fake.issuer()))
    }

    async fn redeem(&self) -> Result<SignedIn, Error> {
        self.provider.redeem(&redemption()).await
    }

    async fn authorize(&self) -> Result<Url, Error> {
        let attempt = Attempt { redirect_uri: CALLBACK, state: "a state", nonce: NONCE, verifier: VERIFIER };
        self.provider.authorize(&attempt).await
    }

    fn counts(&self, line: &str) -> bool {
        self.metrics.print().lines().any(|own| own == line)
    }
}

/// A provider whose word other modules' tests put to use.
pub(crate) struct Word {
    pub(crate) provider: Arc<Provider>,
    fake: FakeProvider,
}

impl Word {
    pub(crate) async fn of(name: &str) -> Self {
        let fake = FakeProvider::start().await;
        let provider = Bench::new(Settings { name: name.to_owned(), ..settings(&fake.issuer()) }).provider;
        Self { provider, fake }
    }

    /// The same, of a provider that does not hand out its keys.
    pub(crate) async fn without_keys(name: &str) -> Self {
        let word = Self::of(name).await;
        word.fake.sin("jwks", provider::Sin::Status(503));
        word
    }

    /// A logout token with these claims instead of its own.
    pub(crate) fn token(&self, claims: &serde_json::Value) -> String {
        self.fake.script().logout_token(&serde_json::json!({}), claims)
    }
}

fn redemption() -> Redemption<'static> {
    Redemption { code: CODE, iss: None, redirect_uri: CALLBACK, nonce: NONCE, verifier: VERIFIER }
}

/// No text that an operator or a visitor may see gives anything away.
fn assert_discreet(error: &Error) {
    let texts = format!("{error} {error:?}");
    for secret in [CODE, VERIFIER, NONCE, "s3cret", "an-access-token", "a-refresh-token", "notice-1", "eyJ"] {
        assert!(!texts.contains(secret), "{texts} holds {secret}");
    }
}

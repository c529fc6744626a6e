//! The relying party against a fake provider with fault injection.

mod access_tokens;
mod availability;
mod email;
mod fake_provider;
mod id_tokens;
mod keys;
mod logout_tokens;
mod matrix;
mod odd_claims;
mod opaque_tokens;
mod outpost_token;
mod redemption;
mod reload;
mod renewal;
mod secret_signatures;
mod transport;
mod userinfo;

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, Once, atomic::AtomicU64},
    time::Duration,
};

use secrecy::SecretString;
use url::Url;

use self::fake_provider::{CLIENT, CODE, FakeProvider, InjectedFault, NONCE, NOW, Signer, TestKey};
use super::{
    AuthorizationRequest, ClientAuth, Error, GroupsUse, HttpTransport, IssuerUse, Provider, ProxySetting, Redemption,
    Settings, SignedIn, UnverifiedEmail,
};
use crate::{
    clock::{Clock, Timestamp},
    identity::ClaimPath,
    metrics::{self, Metrics},
};

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CALLBACK: &str = "https://app.example.com/_doorward/callback";

/// A relying party under test, the other end of its clock, and its metrics.
struct RelyingParty {
    provider: Arc<Provider>,
    now: Arc<AtomicU64>,
    metrics: Metrics,
}

pub(super) fn settings(issuer: &str) -> Settings {
    Settings {
        name: "authentik".into(),
        issuer_use: IssuerUse::SignIn,
        issuer: Url::parse(issuer).unwrap(),
        client_id: CLIENT.into(),
        client_secret: Some(SecretString::from("s3cret & sons")),
        scopes: ["openid", "profile", "email", "offline_access"].map(Into::into).to_vec(),
        unverified_email: UnverifiedEmail::Pass,
        groups_claim: ClaimPath::Dotted("groups".into()),
        groups_separator: None,
        kept_attributes: crate::identity::KeptAttributes::default(),
        acr_in_rules: std::collections::BTreeSet::new(),
        groups_use: GroupsUse::InRules,
        groups_grace: Duration::from_hours(1),
        id_tokens_by_secret: false,
        client_auth: ClientAuth::Auto,
        internal_url: None,
        proxy: ProxySetting::None,
        ca: None,
        timeout: Duration::from_secs(10),
        extra_authorize_params: BTreeMap::new(),
        end_session: true,
        renewals_keep_sid: None,
    }
}

impl RelyingParty {
    fn new(settings: Settings) -> Self {
        let transport = HttpTransport::new(&settings).unwrap();
        Self::with(settings, transport)
    }

    fn with(settings: Settings, transport: HttpTransport) -> Self {
        let metrics = Metrics::new(&metrics::Settings { backend: "memory", version: "0", commit: "none" });
        let (clock, now) = Clock::manual(Timestamp::from_unix(NOW));
        let provider =
            Provider::new(settings, transport, clock, metrics.bind(&[], &[], &["authentik"]).providers.remove(0));
        Self { provider: Arc::new(provider), now, metrics }
    }

    fn of(fake: &FakeProvider) -> Self {
        Self::new(settings(&fake.issuer()))
    }

    async fn redeem(&self) -> Result<SignedIn, Error> {
        self.provider.redeem(&redemption()).await
    }

    async fn authorize(&self) -> Result<Url, Error> {
        let request = AuthorizationRequest {
            redirect_uri: CALLBACK,
            state: "a state",
            nonce: NONCE,
            code_verifier: VERIFIER,
            acr_values: &[],
            max_age: None,
            silent: None,
        };
        self.provider.authorize(&request).await
    }

    fn counts(&self, line: &str) -> bool {
        self.metrics.print().lines().any(|own| own == line)
    }
}

/// A provider and its fake, for the tests of other modules.
pub(crate) struct TestProvider {
    pub(crate) provider: Arc<Provider>,
    fake: FakeProvider,
}

impl TestProvider {
    pub(crate) async fn of(name: &str) -> Self {
        let fake = FakeProvider::start().await;
        let provider = RelyingParty::new(Settings { name: name.to_owned(), ..settings(&fake.issuer()) }).provider;
        Self { provider, fake }
    }

    /// A provider whose JWKS cannot be fetched.
    pub(crate) async fn without_keys(name: &str) -> Self {
        let provider = Self::of(name).await;
        provider.fake.inject("jwks", InjectedFault::Status(503));
        provider
    }

    /// Returns a logout token with these claims in place of its own; `null` removes one.
    pub(crate) fn token(&self, claims: &serde_json::Value) -> String {
        self.fake.script().logout_token(&serde_json::json!({}), claims)
    }
}

/// Key that an access token is signed with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AccessTokenKey {
    /// One that the provider publishes.
    Published,
    /// Another, under the name of that one.
    Forged,
    /// Another, under a name of its own.
    Unpublished,
}

/// A fake provider by itself, for tests of the whole gate.
pub(crate) struct FakeIssuer(FakeProvider);

impl FakeIssuer {
    pub(crate) async fn start() -> Self {
        Self(FakeProvider::start().await)
    }

    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.0.address
    }

    /// Has it call itself by the address of what stands in front of it, and returns its issuer identifier.
    pub(crate) fn stands_behind(&self, front: std::net::SocketAddr) -> String {
        let issuer = format!("http://{front}/o/doorward/");
        self.0.script().issuer.clone_from(&issuer);
        issuer
    }

    /// Sets claims of all ID tokens, and of those of renewals on top; `null` removes one.
    pub(crate) fn claims(&self, all: serde_json::Value, renewed: serde_json::Value) {
        let mut script = self.0.script();
        (script.claims, script.renewed) = (all, renewed);
    }

    /// Has it refuse every code and refresh token.
    pub(crate) fn refuse_grants(&self) {
        self.0.inject("token", InjectedFault::Body(400, r#"{"error":"invalid_grant"}"#.to_owned()));
    }

    /// Returns ann's access token, which lasts for ten hours.
    pub(crate) fn access_token(&self, audience: &str, key: AccessTokenKey) -> String {
        let mut script = self.0.script();
        let claims = serde_json::json!({
            "iss": script.issuer, "sub": "subject-1", "aud": audience, "exp": NOW + 36_000, "iat": NOW,
            "preferred_username": "ann", "groups": ["admins"],
        });
        let signer = match key {
            AccessTokenKey::Published => Signer::Genuine(TestKey::One),
            AccessTokenKey::Forged => Signer::As(TestKey::Two, TestKey::One),
            AccessTokenKey::Unpublished => Signer::Genuine(TestKey::Two),
        };
        let genuine = std::mem::replace(&mut script.signer, signer);
        let token = script.signed(&serde_json::json!({ "typ": "at+jwt" }), &claims);
        script.signer = genuine;
        token
    }

    /// Has it answer questions about `an-access-token`, in which ann's groups have to be asked for. The client is the one that
    /// the token was issued to.
    pub(crate) fn introspects(&self, active: bool, client: &str) {
        let mut script = self.0.script();
        script.metadata = serde_json::json!({ "introspection_endpoint": format!("{}introspect", script.issuer) });
        script.userinfo = Some(serde_json::json!({ "sub": "subject-1", "groups": ["admins"] }));
        let answer = serde_json::json!({
            "active": active, "client_id": client, "sub": "subject-1", "exp": NOW + 36_000, "username": "ann",
            "scope": "openid profile", "iss": script.issuer, "token_type": "Bearer",
        });
        script.faults.insert("introspect", InjectedFault::Body(200, answer.to_string()));
    }

    /// Returns a logout token with these claims in place of its own.
    pub(crate) fn logout_token(&self, claims: &serde_json::Value) -> String {
        self.0.script().logout_token(&serde_json::json!({}), claims)
    }
}

/// Log lines of the thread that made it, while it lives.
struct CapturedLog {
    lines: Arc<Mutex<Vec<u8>>>,
    _guard: tracing::subscriber::DefaultGuard,
}

impl CapturedLog {
    fn begin() -> Self {
        // A call site that is first reached on a thread without a subscriber is switched off for all threads where
        // there is no global one.
        static GLOBAL: Once = Once::new();
        GLOBAL.call_once(|| {
            let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry());
        });
        let lines = Arc::<Mutex<Vec<u8>>>::default();
        let writer = SharedLines(Arc::clone(&lines));
        let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
        Self { lines, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// Returns the warnings with all these words.
    fn warnings(&self, words: &[&str]) -> usize {
        let text = String::from_utf8(self.lines.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains("WARN") && words.iter().all(|word| line.contains(word))).count()
    }
}

#[derive(Clone)]
struct SharedLines(Arc<Mutex<Vec<u8>>>);

impl io::Write for SharedLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn redemption() -> Redemption<'static> {
    Redemption { code: CODE, iss: None, redirect_uri: CALLBACK, nonce: NONCE, code_verifier: VERIFIER }
}

/// Asserts that no text of an error holds a secret.
fn assert_discreet(error: &Error) {
    let texts = format!("{error} {error:?}");
    for secret in [CODE, VERIFIER, NONCE, "s3cret", "an-access-token", "a-refresh-token", "logout-1", "eyJ"] {
        assert!(!texts.contains(secret), "{texts} holds {secret}");
    }
}

//! API clients: programs that send a credential of their own instead of a session cookie, under rules with `access = "bearer"`.
//!
//! Promises: nobody but a JWT of a configured issuer, a token that the app's provider calls active and ours, or an app password
//! that it redeems is let in; a provider that does not answer lets nobody in; strangers spend nothing of what sign-ins,
//! renewals and good credentials need.

mod authorization;
mod cache;
mod permits;
mod refusal;
mod settings;

use std::{sync::Arc, time::Duration};

use http::HeaderMap;
use secrecy::SecretString;
use tokio::time::timeout;
use url::Url;

pub use self::settings::{AppPasswords, BearerSettings, Introspection, IssuerKeys, TrustedIssuer};
use self::{
    authorization::{Credential, SentAuthorization},
    cache::{ConfigurationKey, FactsKey, FactsSettings, fresh_until},
    permits::{Standing, VerificationPermits},
};
pub(super) use self::{
    cache::{CredentialCache, KnownCredential},
    refusal::{ClientRefusal, challenge_for_more, refuse},
};
use super::rate_limits::{LimitedAction, RateLimits};
use crate::{
    clock::{Clock, Timestamp},
    identity::{OwnedPrincipal, PackedIdentity, PrincipalSource, Registration, SessionScope, Tokens},
    oidc::{
        AppPassword, CredentialError, CredentialVerifier, Provider, TokenForm, UnverifiedAccessToken,
        VerifiedCredential,
    },
    policy::App,
};

/// Deadline of a verification, with the wait for a permit: edges give up soon after.
const DEADLINE: Duration = Duration::from_secs(5);

/// Authenticates API clients under one configuration.
pub(super) struct ApiClients {
    settings: BearerSettings,
    issuers: Vec<Issuer>,
    /// The providers of the apps, by place in the configuration.
    providers: Vec<Verifier>,
    cache: Arc<CredentialCache>,
    configuration: ConfigurationKey,
    limits: Arc<RateLimits>,
    clock: Clock,
}

/// An issuer whose JWTs count.
struct Issuer {
    audience: Vec<String>,
    keys: KeySource,
}

/// Where an issuer's keys come from.
enum KeySource {
    /// The app's provider, if this is its issuer.
    AppProvider(Url),
    /// Its own, for every app.
    Own(Verifier),
}

/// A provider that verifies credentials.
struct Verifier {
    provider: Arc<Provider>,
    registration: Registration,
    permits: VerificationPermits,
}

/// Parts of [`ApiClients`] that outlive a configuration.
pub(super) struct SharedClientParts {
    pub(super) cache: Arc<CredentialCache>,
    pub(super) limits: Arc<RateLimits>,
    pub(super) clock: Clock,
}

/// Verification of one credential: where, and by what.
struct Verification<'a> {
    verifier: &'a Verifier,
    kind: VerificationKind<'a>,
}

enum VerificationKind<'a> {
    Jwt(Box<UnverifiedAccessToken<'a>>, &'a [String]),
    Opaque(&'a str, &'a [String]),
    Password(AppPassword<'a>),
}

impl ApiClients {
    /// API clients under these settings. `own_issuers` are those at which nobody signs in, in the order of the settings.
    pub(super) fn new(
        settings: BearerSettings,
        providers: &[Arc<Provider>],
        own_issuers: &[Arc<Provider>],
        shared: SharedClientParts,
    ) -> Self {
        let facts = FactsSettings {
            bearer: settings.clone(),
            providers: providers.iter().map(|provider| provider.settings().clone()).collect(),
        };
        let configuration = shared.cache.configuration_key(facts);
        let mut own = own_issuers.iter();
        let issuers = settings.issuers.iter().filter_map(|issuer| {
            let keys = match &issuer.keys {
                IssuerKeys::Provider(url) => KeySource::AppProvider(url.clone()),
                IssuerKeys::Own(_) => KeySource::Own(Verifier::of(own.next()?)),
            };
            Some(Issuer { audience: issuer.audience.clone(), keys })
        });
        Self {
            issuers: issuers.collect(),
            settings,
            providers: providers.iter().map(Verifier::of).collect(),
            cache: shared.cache,
            configuration,
            limits: shared.limits,
            clock: shared.clock,
        }
    }

    /// Returns the use of app passwords.
    pub(super) fn app_passwords(&self) -> AppPasswords {
        self.settings.app_passwords
    }

    /// Returns what `read` makes of a credential that need not be verified now: without I/O, locks and allocations.
    #[inline]
    pub(super) fn with_cached<T>(
        &self,
        app: &App,
        headers: &HeaderMap,
        read: impl FnOnce(&KnownCredential, Timestamp) -> Option<T>,
    ) -> Option<T> {
        let SentAuthorization::Credential(credential) = SentAuthorization::of(headers) else { return None };
        let registration = self.providers.get(app.provider)?.registration;
        let key = FactsKey { configuration: self.configuration, registration, app: &app.name, credential };
        let now = self.clock.now();
        self.cache.with_fresh(&key, now, |known| read(known, now))
    }

    /// Authenticates the client of a request by its credential. A client's network spends one of its attempts for each credential
    /// that is not known to be good.
    pub(super) async fn authenticate(
        &self,
        app: &App,
        headers: &HeaderMap,
        client: Option<std::net::IpAddr>,
    ) -> Result<Arc<KnownCredential>, ClientRefusal> {
        let sent = match SentAuthorization::of(headers) {
            SentAuthorization::Absent => return Err(ClientRefusal::NoCredential),
            SentAuthorization::Malformed(problem) => return Err(ClientRefusal::Malformed(problem)),
            SentAuthorization::Credential(sent) => sent,
        };
        let provider = self.providers.get(app.provider).ok_or(ClientRefusal::NoCredential)?;
        let credential = sent.read().map_err(ClientRefusal::Malformed)?;
        if matches!(credential, Credential::Password(..)) && self.app_passwords() == AppPasswords::Off {
            return Err(ClientRefusal::NoCredential);
        }
        let key = FactsKey {
            configuration: self.configuration,
            registration: provider.registration,
            app: &app.name,
            credential: sent,
        };
        let now = self.clock.now();
        let standing = self.cache.standing(&key, now);
        let spend = || self.limits.check(LimitedAction::Credential, client).map_err(ClientRefusal::RateLimited);
        if let Some(refusal) = self.cache.recent_refusal(&key.digest(), now) {
            spend()?;
            return Err(refusal);
        }
        let verify = async {
            if standing == Standing::Stranger {
                spend()?;
            }
            let verification = self.verification(provider, &credential)?;
            let registration = verification.verifier.registration;
            let late = Err(ClientRefusal::Unavailable("no answer in time".to_owned()));
            // On the heap: moka keeps a flight in several places.
            let verified = timeout(DEADLINE, Box::pin(verification.run(standing))).await.unwrap_or(late)?;
            Ok(self.known(verified, registration, &credential))
        };
        self.cache.verify_once(&key, now, verify).await
    }

    /// Finds out who can verify a credential, and how.
    fn verification<'a>(
        &'a self,
        provider: &'a Verifier,
        credential: &'a Credential<'_>,
    ) -> Result<Verification<'a>, CredentialError> {
        let token = match credential {
            Credential::Password(username, password) => {
                let kind = VerificationKind::Password(AppPassword { username, password });
                return Ok(Verification { verifier: provider, kind });
            }
            Credential::Token(token) => token,
        };
        if let TokenForm::Jwt(jwt) = TokenForm::read(token)?
            && let Some((verifier, audience)) = jwt.issuer().and_then(|issuer| self.issuer(issuer, provider))
        {
            return Ok(Verification { verifier, kind: VerificationKind::Jwt(Box::new(jwt), audience) });
        }
        if self.settings.introspection == Introspection::Off {
            return Err(CredentialError::Refused("is of no issuer that is configured".into()));
        }
        let issuer = provider.provider.settings().issuer.as_str();
        let audience = self.issuer(issuer, provider).map_or(&[][..], |(_, audience)| audience);
        Ok(Verification { verifier: provider, kind: VerificationKind::Opaque(token, audience) })
    }

    /// Returns the verifier of an issuer's JWTs at apps of `provider`, and the audiences that count.
    fn issuer<'a>(&'a self, named: &str, provider: &'a Verifier) -> Option<(&'a Verifier, &'a [String])> {
        let named = Url::parse(named).ok()?;
        self.issuers.iter().find_map(|Issuer { audience, keys }| match keys {
            KeySource::Own(own) if own.provider.settings().issuer == named => Some((own, audience.as_slice())),
            // What another provider says of its people means nothing to this app.
            KeySource::AppProvider(url) if *url == named && provider.provider.settings().issuer == named => {
                Some((provider, audience.as_slice()))
            }
            KeySource::Own(_) | KeySource::AppProvider(_) => None,
        })
    }

    fn known(
        &self,
        verified: VerifiedCredential,
        registration: Registration,
        sent: &Credential<'_>,
    ) -> KnownCredential {
        let VerifiedCredential { identity, accepted_until, tokens } = verified;
        let now = self.clock.now();
        let scope = SessionScope { audience: String::new(), registration };
        let (source, tokens) = match sent {
            Credential::Token(token) => {
                let access = Some(SecretString::from(token.as_ref()));
                (PrincipalSource::Bearer, Tokens { access, ..tokens })
            }
            Credential::Password(..) => (PrincipalSource::AppPassword, tokens),
        };
        let identity = PackedIdentity::scoped(&identity, &scope);
        let principal = OwnedPrincipal::new(identity, source, now, Some(fresh_until(accepted_until, now)));
        KnownCredential::new(principal.with_tokens(tokens), accepted_until, now)
    }
}

impl Verifier {
    fn of(provider: &Arc<Provider>) -> Self {
        let registration = provider.settings().registration();
        Self { provider: Arc::clone(provider), registration, permits: VerificationPermits::new() }
    }
}

impl Verification<'_> {
    async fn run(self, standing: Standing) -> Result<VerifiedCredential, ClientRefusal> {
        let _permit = self.verifier.permits.acquire(standing).await.ok_or(ClientRefusal::Overloaded)?;
        let at_provider = CredentialVerifier::at(&self.verifier.provider);
        let verified = match self.kind {
            VerificationKind::Jwt(token, audience) => at_provider.verify(*token, audience).await,
            VerificationKind::Opaque(token, audience) => at_provider.introspect(token, audience).await,
            VerificationKind::Password(password) => at_provider.redeem(&password).await,
        };
        verified.map_err(ClientRefusal::from)
    }
}

//! Renewing a session: a refresh token becomes new tokens, and the person's claims are read again.
//!
//! Promises: once the token endpoint has answered, its tokens are given back even where nothing else could be learned,
//! because a rotated refresh token exists nowhere else; an identity changes only on a verified word about the same
//! subject; a provider that does not answer is left in peace for a while. It must not know sessions.

use std::time::Duration;

use oauth2::TokenResponse as _;
use secrecy::SecretString;
use tokio::time::timeout;

use super::{
    Error, Provider,
    answer::Answer,
    discovery::{Metadata, PATIENCE},
    id_token::Occasion,
    profile,
    token::nonce,
};
use crate::{
    clock::Timestamp,
    identity::{Identity, Tokens},
    metrics::{self, Endpoint},
};

/// How long having a token forgotten may take: nobody should wait for it.
const REVOKED_WITHIN: Duration = Duration::from_secs(3);

/// A session to be renewed.
#[derive(Clone, Copy, Debug)]
pub struct Renewal<'a> {
    /// The refresh token that it holds.
    pub refresh: &'a SecretString,
    /// The ID token that it holds.
    pub id: Option<&'a SecretString>,
    /// Who is signed in.
    pub identity: &'a Identity,
}

/// What a renewal brought. All of it has to be kept.
#[derive(Clone, Debug)]
pub struct Refreshed {
    /// Who is signed in, with the claims and groups of now; `None` where nothing new was learned.
    pub identity: Option<Identity>,
    /// What replaces the tokens that were held, complete: a token of which no new one came is the old one.
    pub tokens: Tokens,
    /// The provider's own name for its session, where it said it again.
    pub sid: Option<String>,
}

/// What was said about the person.
#[derive(Default)]
struct Learned {
    identity: Option<Identity>,
    sid: Option<String>,
    id: Option<SecretString>,
    /// When the ID token ends.
    id_ends: Option<Timestamp>,
}

impl Provider {
    /// Redeems a refresh token. To be awaited to the end: it may be spent by then, and what replaces it is in the result.
    ///
    /// `Unavailable` and `ClientRefused` say nothing about the session; the others mean that it cannot be renewed again.
    pub async fn refresh(&self, renewal: &Renewal<'_>) -> Result<Refreshed, Error> {
        let pass = self.breaker.admit(&self.clock, rand::random());
        let pass = pass.ok_or_else(|| Error::Unavailable("it has not answered lately and is left in peace".into()))?;
        let result = self.renew(renewal).await;
        if !matches!(result, Err(Error::Unavailable(_))) {
            pass.answered();
        }
        result
    }

    /// The longest that [`Provider::refresh`] takes: a claim on a renewal has to outlive it.
    #[must_use]
    pub fn refreshes_within(&self) -> Duration {
        PATIENCE + 2 * self.settings.timeout
    }

    /// Has the provider forget a refresh token where it offers that (RFC 7009). A failure changes nothing here: the token
    /// ends by itself.
    pub async fn revoke(&self, refresh: &SecretString) {
        let Some(metadata) = self.discovery.known() else { return };
        let Some(endpoint) = &metadata.revocation_endpoint else { return };
        let request = timeout(REVOKED_WITHIN, self.request_revocation(refresh, endpoint, &metadata));
        let request = async { request.await.unwrap_or_else(|_| Err(Error::Unavailable("no answer in time".into()))) };
        if let Err(error) = self.counted(Endpoint::Revocation, request).await {
            tracing::info!(provider = self.settings.name, %error, "a refresh token was not revoked and ends by itself");
        }
    }

    async fn renew(&self, renewal: &Renewal<'_>) -> Result<Refreshed, Error> {
        let metadata = self.metadata().await?;
        let answer = self.counted(Endpoint::Token, self.request_renewal(renewal.refresh, &metadata)).await?;
        let late = Err(Error::Unavailable("not everything was said in time".into()));
        let learned = timeout(self.settings.timeout, self.learn(renewal, &answer, &metadata)).await.unwrap_or(late);
        let learned = learned.or_else(|error| self.forgive(error))?;
        self.note_expiry(&answer);
        let given = self.tokens(&answer, learned.id_ends);
        let tokens = Tokens {
            refresh: given.refresh.or_else(|| Some(renewal.refresh.clone())),
            id: learned.id.or_else(|| renewal.id.cloned()),
            ..given
        };
        Ok(Refreshed { identity: learned.identity, tokens, sid: learned.sid })
    }

    /// What the provider says about the person now.
    async fn learn(&self, renewal: &Renewal<'_>, answer: &Answer, metadata: &Metadata) -> Result<Learned, Error> {
        let (access, before) = (answer.access_token(), renewal.identity);
        let Some(raw) = answer.id_token.as_deref() else {
            let Some(url) = &metadata.userinfo_endpoint else { return Ok(Learned::default()) };
            let userinfo = self.userinfo(url, access, &before.subject.0).await?;
            let identity = profile::renewed(&self.settings, before, &userinfo)?;
            return Ok(Learned { identity: Some(identity), ..Learned::default() });
        };
        let nonce = renewal.id.and_then(nonce);
        let occasion = Occasion::Renewal { subject: &before.subject.0, nonce: nonce.as_deref() };
        let verified = self.verify(raw, access, occasion, metadata).await?;
        let identity = self.identify(&verified, access, metadata, Some(before)).await?;
        let sid = verified.session().map(ToOwned::to_owned);
        let id_ends = verified.ends();
        Ok(Learned { identity: Some(identity), sid, id: Some(SecretString::from(raw)), id_ends })
    }

    /// The tokens are there: whoever could not be asked about the person does not cost them.
    fn forgive(&self, error: Error) -> Result<Learned, Error> {
        match error {
            // The gate's own clock may be the one that is off: that is no reason to sign everybody out.
            Error::Unavailable(reason) | Error::Clocks(reason) => {
                tracing::warn!(
                    provider = self.settings.name,
                    reason,
                    "a session was renewed, and its groups and claims stay as they were: what the provider says about them cannot be had"
                );
                Ok(Learned::default())
            }
            // It refuses the very token that it has just issued: it does not vouch for the person any more.
            Error::ClientRefused(_) => Err(Error::GrantRefused),
            Error::GrantRefused | Error::Unbelievable(_) => Err(error),
        }
    }
}

impl Error {
    /// How a renewal that failed so is counted.
    #[must_use]
    pub fn renewal(&self) -> metrics::RenewalResult {
        match self {
            Self::Unavailable(_) | Self::ClientRefused(_) => metrics::RenewalResult::Unavailable,
            Self::GrantRefused | Self::Unbelievable(_) | Self::Clocks(_) => metrics::RenewalResult::Rejected,
        }
    }
}

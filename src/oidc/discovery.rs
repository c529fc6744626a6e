//! Discovery of a provider's metadata (`OpenID` Connect Discovery 1.0, section 4).
//!
//! Promises: metadata of another issuer replace nothing; while the provider is unavailable the last ones stay in use; no
//! redirect is followed for them, and the log says what to write instead.

use std::{pin::pin, sync::Arc};

use arc_swap::ArcSwapOption;
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use tokio::sync::Notify;
use url::Url;

use super::{
    error::{Error, printable},
    health::ProviderHealth,
    metadata::ProviderMetadata,
    metered::MeteredTransport,
    odd_fields::OddFields,
    settings::Settings,
    transport::TransportError,
};
use crate::metrics::Endpoint;

/// Path of the metadata below an issuer.
const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// The metadata of one provider as they were last fetched.
pub(super) struct Discovery {
    settings: Arc<Settings>,
    http: Arc<MeteredTransport>,
    odd: Arc<OddFields>,
    metadata: ArcSwapOption<ProviderMetadata>,
    /// Entity tag of those metadata, where the provider gives one.
    entity_tag: ArcSwapOption<HeaderValue>,
    /// Notified when the first metadata have come.
    arrived: Notify,
}

/// Answer to a request for metadata.
enum FetchedMetadata {
    /// Others than before, with their entity tag.
    New(Arc<ProviderMetadata>, Option<HeaderValue>),
    /// The same as before.
    Unchanged(Arc<ProviderMetadata>),
}

/// The issuer of a document that a redirect leads to.
#[derive(Deserialize)]
struct NamedIssuer {
    issuer: String,
}

impl Discovery {
    /// Discovery that has fetched nothing yet.
    pub(super) fn new(settings: Arc<Settings>, http: Arc<MeteredTransport>, odd: Arc<OddFields>) -> Self {
        let (metadata, entity_tag) = (ArcSwapOption::empty(), ArcSwapOption::empty());
        Self { settings, http, odd, metadata, entity_tag, arrived: Notify::new() }
    }

    /// Takes over the metadata of `previous`, which has the same issuer. Its entity tag stays behind: other settings may read
    /// them otherwise.
    pub(super) fn with_state_of(self, previous: &Self) -> Self {
        self.metadata.store(previous.metadata());
        self
    }

    /// Returns the metadata that were last fetched, or `None` before the first.
    pub(super) fn metadata(&self) -> Option<Arc<ProviderMetadata>> {
        self.metadata.load_full()
    }

    /// Returns the first metadata, once they have come.
    pub(super) async fn first_metadata(&self) -> Arc<ProviderMetadata> {
        loop {
            let mut arrived = pin!(self.arrived.notified());
            // Before the look, so that none is missed between the two.
            arrived.as_mut().enable();
            match self.metadata() {
                Some(metadata) => return metadata,
                None => arrived.await,
            }
        }
    }

    /// Fetches the metadata, and records in `health` how that went and what time the provider has.
    pub(super) async fn fetch(&self, health: &ProviderHealth) -> Result<Arc<ProviderMetadata>, Error> {
        let fetched = self.http.counted(Endpoint::Discovery, self.request(health)).await;
        health.record_metadata_fetch(fetched.as_ref().err());
        let (metadata, tag) = match fetched? {
            FetchedMetadata::New(metadata, tag) => (metadata, tag),
            FetchedMetadata::Unchanged(metadata) => return Ok(metadata),
        };
        self.entity_tag.store(tag.map(Arc::new));
        if self.metadata.swap(Some(Arc::clone(&metadata))).is_none() {
            self.arrived.notify_waiters();
            for warning in metadata.warnings(&self.settings) {
                tracing::warn!(provider = self.settings.name, "the provider's metadata: {warning}");
            }
            self.warn_of_unlisted_acr(&metadata);
        }
        Ok(metadata)
    }

    fn warn_of_unlisted_acr(&self, metadata: &ProviderMetadata) {
        for acr in metadata.unlisted_acr(&self.settings) {
            tracing::warn!(
                provider = self.settings.name,
                acr,
                "the provider does not list a class of authentication that a rule asks for (acr_values_supported), so nobody may \
                 pass that rule; mend: name one that it lists in allow.acr, or add it at the provider"
            );
        }
    }

    async fn request(&self, health: &ProviderHealth) -> Result<FetchedMetadata, Error> {
        let url = well_known(&self.settings.issuer);
        let (known, tag) = (self.metadata(), self.entity_tag.load_full());
        let tag = tag.filter(|_| known.is_some()).map(|tag| HeaderValue::clone(&tag));
        let response = match self.http.fetch_changed_document(&url, tag).await {
            Ok(response) => response,
            Err(TransportError::Redirect { status, location }) => {
                return Err(self.redirected(&url, status, location.as_deref()).await);
            }
            Err(error) => return Err(error.into()),
        };
        health.compare_clocks(response.headers());
        let status = response.status();
        match known {
            Some(known) if status == StatusCode::NOT_MODIFIED => return Ok(FetchedMetadata::Unchanged(known)),
            _ if status.is_success() => {}
            _ => return Err(Error::Unavailable(format!("status {status} for {url}; mend: check the issuer"))),
        }
        let tag = response.headers().get(header::ETAG).cloned();
        let metadata = ProviderMetadata::parse(response.body(), &self.settings, &self.odd)?;
        Ok(FetchedMetadata::New(Arc::new(metadata), tag))
    }

    /// Returns the error for metadata that are elsewhere. What the document there calls the issuer says how to mend it; it is
    /// looked at, and not used.
    async fn redirected(&self, url: &Url, status: StatusCode, location: Option<&str>) -> Error {
        let Some(target) = location.and_then(|to| url.join(to).ok()) else {
            return Error::Unavailable(format!(
                "status {status} for {url}, a redirect to nowhere; mend: check the issuer"
            ));
        };
        // No stranger's server is asked.
        let named = if target.host() == url.host() { self.issuer_at(&target).await } else { None };
        let mend = match (named, issuer_of(&target)) {
            (Some(named), _) if Url::parse(&named).as_ref() == Ok(&self.settings.issuer) => format!(
                "the document there names this very issuer, so the issuer is right; mend: have the server answer at {url} \
                 itself (a rewrite in place of the redirect)"
            ),
            (Some(named), _) => format!("mend: write issuer = \"{}\"", printable(&named)),
            (None, Some(issuer)) => format!("mend: write issuer = \"{issuer}\""),
            (None, None) => "mend: write as issuer what the document there calls `issuer`".to_owned(),
        };
        let target = printable(target.as_str());
        Error::Unavailable(format!("status {status}: {url} redirects to {target}, which is not followed; {mend}"))
    }

    async fn issuer_at(&self, target: &Url) -> Option<String> {
        let response = self.http.fetch_document(target).await.ok()?;
        let NamedIssuer { issuer } = serde_json::from_slice(response.body()).ok()?;
        Some(issuer)
    }

    /// Stores metadata without a request.
    #[cfg(any(test, fuzzing))]
    pub(super) fn preload(&self, metadata: Option<ProviderMetadata>) {
        self.metadata.store(metadata.map(Arc::new));
    }
}

/// Returns the address of an issuer's metadata.
fn well_known(issuer: &Url) -> Url {
    let mut url = issuer.clone();
    url.set_path(&format!("{}{WELL_KNOWN}", issuer.path().trim_end_matches('/')));
    url
}

/// Returns the issuer whose metadata are at an address.
fn issuer_of(url: &Url) -> Option<Url> {
    let mut issuer = url.clone();
    issuer.set_path(url.path().strip_suffix(WELL_KNOWN)?);
    Some(issuer)
}

//! Discovery of a provider's metadata (`OpenID` Connect Discovery 1.0, section 4).
//!
//! Promises: metadata of another issuer replace nothing; while the provider is unavailable the last ones stay in use.

use std::{pin::pin, sync::Arc};

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;

use super::{
    error::Error, health::ProviderHealth, metadata::ProviderMetadata, metered::MeteredTransport, settings::Settings,
};
use crate::metrics::Endpoint;

/// The metadata of one provider as they were last fetched.
pub(super) struct Discovery {
    settings: Arc<Settings>,
    http: Arc<MeteredTransport>,
    metadata: ArcSwapOption<ProviderMetadata>,
    /// Notified when the first metadata have come.
    arrived: Notify,
}

impl Discovery {
    /// Discovery that has fetched nothing yet.
    pub(super) fn new(settings: Arc<Settings>, http: Arc<MeteredTransport>) -> Self {
        Self { settings, http, metadata: ArcSwapOption::empty(), arrived: Notify::new() }
    }

    /// Takes over the metadata of `previous`, which has the same issuer.
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
        let metadata = Arc::new(fetched?);
        if self.metadata.swap(Some(Arc::clone(&metadata))).is_none() {
            self.arrived.notify_waiters();
            for warning in metadata.warnings(&self.settings) {
                tracing::warn!(provider = self.settings.name, "the provider's metadata: {warning}");
            }
        }
        Ok(metadata)
    }

    async fn request(&self, health: &ProviderHealth) -> Result<ProviderMetadata, Error> {
        let mut url = self.settings.issuer.clone();
        let path = format!("{}/.well-known/openid-configuration", url.path().trim_end_matches('/'));
        url.set_path(&path);
        let response = self.http.fetch_document(&url).await?;
        health.compare_clocks(response.headers());
        if !response.status().is_success() {
            let status = response.status();
            return Err(Error::Unavailable(format!("status {status} for {url}; mend: check the issuer")));
        }
        ProviderMetadata::parse(response.body(), &self.settings)
    }

    /// Stores metadata without a request.
    #[cfg(any(test, fuzzing))]
    pub(super) fn preload(&self, metadata: Option<ProviderMetadata>) {
        self.metadata.store(metadata.map(Arc::new));
    }
}

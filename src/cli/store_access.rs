//! What a subcommand needs to work on the store that the configuration names.

use std::sync::Arc;

use anyhow::Context as _;

use crate::{
    config::Config,
    crypto::Keyring,
    metrics::{self, Metrics, StoreMetrics},
};

/// Keys of the store's rows, and its metrics.
pub(super) struct StoreAccess {
    pub(super) keyring: Arc<Keyring>,
    /// Never scraped: the process of a subcommand ends at once.
    pub(super) metrics: StoreMetrics,
}

impl StoreAccess {
    /// Access by the secrets of a configuration.
    pub(super) fn of(config: &Config) -> anyhow::Result<Self> {
        let keyring = Arc::new(Keyring::new(&config.secrets).context("session.secrets")?);
        let backend = config.session.backend.kind();
        let metrics = Metrics::new(&metrics::Settings { backend, version: "", commit: "" });
        Ok(Self { keyring, metrics: metrics.store })
    }
}
